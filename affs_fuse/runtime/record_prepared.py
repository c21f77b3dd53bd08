"""An operation on a record that was looked at and is ready to be done; what is told of it before
and after, and what it leaves for an undo."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.batches import Changed, Create, Link, Move, Remove, Replace, Restore, Step
from affs_fuse.posix.restoring import Kept
from affs_fuse.query.paths import path_fields, path_named
from affs_fuse.query.rows import content_version
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.record_reversal import Trace, kept_fields, size_of

__all__ = [
    "Prepared", "basis_of", "check_apart", "result_of", "shown_of", "trace_of", "traces_size",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prepared:
    """before: what the record was, None if it is new or does not parse. text: what it will be.
    data: what it was, as text. kept: of one that goes; None if it cannot be brought back."""

    operation: Operation
    step: Step
    version: str
    before: Value = None
    after: Value = None
    text: bytes = b""
    data: bytes = b""
    kept: Kept | None = None


_ACTIONS = {
    "create": "created", "update": "updated", "move": "moved", "erase": "erased",
    "rewrite": "updated", "restore": "created", "link": "created",
}  # fmt: skip
_SHOWN = {"rewrite": "update", "restore": "create", "link": "create"}
"""What the verbs of an undo are to people."""


def traces_size(prepared: Sequence[Prepared]) -> int:
    return size_of([one.data for one in prepared], [one.kept for one in prepared])


def trace_of(prepared: Prepared, changed: Changed) -> Trace:
    """As record_reversal.py says."""
    step = prepared.step
    path, object_id = b"/" + b"/".join(step.path), changed.inode.object_id
    if isinstance(step, Move):
        target = b"/" + b"/".join(step.target)
        return {"did": "move", "path": target, "from": path, "id": object_id}
    if isinstance(step, Link):
        return {"did": "link", "path": path, "id": object_id}
    if isinstance(step, Remove):
        if not changed.gone:
            return {"did": "unlink", "path": path, "id": object_id}
        return {
            "did": "erase", "path": path, "before": prepared.data, **kept_fields(prepared.kept),
        }  # fmt: skip
    version = content_version(prepared.text)
    if isinstance(step, Replace):
        return {
            "did": "update", "path": path, "id": object_id, "version": version,
            "before": prepared.data,
        }  # fmt: skip
    return {"did": "create", "path": path, "id": object_id, "version": version}


def result_of(prepared: Prepared, changed: Changed) -> Plain:
    operation, step = prepared.operation, prepared.step
    path = step.target if isinstance(step, Move) else step.path
    row: Plain = {
        "action": _ACTIONS[operation.verb],
        **path_fields(b"/" + b"/".join(path)),
        "id": changed.inode.object_id.hex(),
        "version": content_version(prepared.text),
    }
    if operation.verb in ("update", "erase"):
        row["before"] = prepared.before
    if isinstance(step, Move):
        row |= path_fields(b"/" + b"/".join(step.path), "from")
    return row


def shown_of(prepared: Prepared) -> Plain:
    operation = prepared.operation
    verb = _SHOWN.get(operation.verb, operation.verb)
    step = prepared.step
    path = operation.path
    if verb != operation.verb:
        path = path_named(b"/" + b"/".join(step.path))
    row: Plain = {"action": verb, "path": path}
    if verb == "move":
        row["to"] = operation.target
    if verb in ("update", "erase"):
        row["before"] = prepared.before
    if verb in ("create", "update"):
        row["after"] = prepared.after
    return row


def basis_of(prepared: list[Prepared]) -> Value:
    return [[one.operation.verb, one.operation.path, one.version] for one in prepared]


def check_apart(prepared: list[Prepared]) -> None:
    """Errors: record.twice."""
    seen: dict[Any, int] = {}
    for index, one in enumerate(prepared):
        step = one.step
        names: list[Any] = [step.path]
        if isinstance(step, Move):
            names.append(step.target)
        if not isinstance(step, Create | Restore):
            names.append(step.seen.number)
        for name in names:
            if name in seen:
                raise AffsError(
                    "record.twice", Category.INVALID,
                    f"{one.operation.path} is in the batch twice",
                    hint="one operation for each record, and no name that another one uses",
                    details={"path": one.operation.path, "operation": index},
                )  # fmt: skip
            seen[name] = index
