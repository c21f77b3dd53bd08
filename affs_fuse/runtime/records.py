"""Changes of records: by path or id, held to versions and to what collections demand, in one turn.

Invariant: a record is changed only if it is what it was when it was read, and its collection
demands what it did then (steps.py, admission.py); otherwise it is read again.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import trio

from affs_fuse.auv import TextError, Value, format_quick, parse_quick
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.batches import (
    Changed,
    Create,
    Move,
    Path,
    Remove,
    Replace,
    Seen,
    Step,
    StepError,
)
from affs_fuse.posix.imports import Cursor
from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.permissions import Credentials
from affs_fuse.query.editing import edited
from affs_fuse.query.opening import path_error, path_parts
from affs_fuse.query.rows import content_version
from affs_fuse.query.sources import RECORD_BYTES_MAX, record_problem, record_too_large
from affs_fuse.runtime.admission import Admission, Admitted, Member
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.steps import SLICE_OPERATIONS, Steps

__all__ = ["ATTEMPTS_MAX", "BATCH_BYTES_MAX", "BATCH_MAX", "Records", "busy"]

BATCH_MAX = 1000
"""Operations in one turn of the loop: about a tenth of a second."""

BATCH_BYTES_MAX = 16 << 20
ATTEMPTS_MAX = 20
NEW_MODE = 0o666
UMASK = 0o022


@dataclass(frozen=True, slots=True)
class _Prepared:
    """before: what the record was, None if it is new or does not parse. text: what it will be."""

    operation: Operation
    step: Step
    version: str
    before: Value = None
    after: Value = None
    text: bytes = b""


class Records:
    """Loop thread only."""

    def __init__(self, namespace: Namespace, steps: Steps, admission: Admission) -> None:
        self._files = namespace.files
        self._steps = steps
        self._run = steps.run
        self._admission = admission

    async def plan(self, operations: Sequence[Operation], identity: Identity) -> Plain:
        """What they would do: changes (one row each), basis. Errors: as `apply`."""
        credentials = _credentials(identity)
        for attempt in range(ATTEMPTS_MAX):
            admitted = Admitted(attempt)
            prepared = await self._prepare(operations, credentials, admitted)
            try:
                await self._steps.check([one.step for one in prepared], credentials)
                await self._run(self._admission.guard, admitted, credentials)
            except StepError as error:
                _demand_changed(error, prepared)
                continue
            return {"changes": [_shown(one) for one in prepared], "basis": _basis(prepared)}
        raise busy()

    async def apply(
        self,
        operations: Sequence[Operation],
        identity: Identity,
        expect: Basis = None,
        *,
        cursor: Cursor | None = None,
        durable: bool = True,
    ) -> list[Plain]:
        """One row for each, in order: action, path, id, version; with update and erase, before.
        cursor: of an import, put in the same turn. durable: otherwise the caller commits.
        Errors: record.*, plan.stale; import.directory; volume.*, device.*; `operation` (from 0)
        among the details."""
        credentials = _credentials(identity)
        for attempt in range(ATTEMPTS_MAX):
            admitted = Admitted(attempt)
            prepared = await self._prepare(operations, credentials, admitted)
            demand(expect, _basis(prepared), "change")
            try:
                changed = await self._steps.carry_out(
                    [one.step for one in prepared], credentials,
                    partial(self._admission.guard, admitted, credentials), cursor=cursor,
                    durable=durable,
                )  # fmt: skip
            except StepError as error:
                _demand_changed(error, prepared)
                continue
            return [_result(one, after) for one, after in zip(prepared, changed, strict=True)]
        raise busy()

    # ---- before ----

    async def _prepare(
        self, operations: Sequence[Operation], credentials: Credentials, admitted: Admitted
    ) -> list[_Prepared]:
        if len(operations) > BATCH_MAX:
            raise AffsError(
                "record.batch", Category.INVALID,
                f"{len(operations)} operations, a batch has at most {BATCH_MAX}",
            )  # fmt: skip
        found: list[_Prepared] = []
        size = 0
        admitted.held = await self._run(lambda: self._admission.wanted)
        for index, operation in enumerate(operations):
            if index and not index % SLICE_OPERATIONS:
                await trio.lowlevel.checkpoint()
            try:
                one = await self._prepare_one(index, operation, credentials, admitted)
            except AffsError as error:
                error.details = {**error.details, "operation": index}
                raise
            found.append(one)
            size += len(one.text)
        if size > BATCH_BYTES_MAX:
            raise AffsError(
                "record.batch", Category.INVALID,
                f"{size} bytes of records, a batch has at most {BATCH_BYTES_MAX}",
            )  # fmt: skip
        _check_apart(found)
        await self._admission.prepare(admitted)
        return found

    async def _prepare_one(
        self, index: int, operation: Operation, credentials: Credentials, admitted: Admitted
    ) -> _Prepared:
        path = await self._path(operation.path, credentials)
        if operation.verb == "create":
            value = operation.value
            if admitted.held:
                member = await self._named(index, operation.path, path, credentials, admitted)
                value = self._admission.value(member, value, new=True)
            text = _text_of(value, operation.path)
            return _Prepared(operation, Create(path, text, NEW_MODE), "", after=value, text=text)
        seen, data = await self._look(path, operation.path, credentials)
        admitted.touched.add(seen.number)
        version = content_version(data)
        if operation.if_version and operation.if_version != version:
            raise AffsError(
                "record.version", Category.CONFLICT,
                f"{operation.path} has version {version}, not {operation.if_version}",
                hint="get it again, and decide anew",
                details={"path": operation.path, "version": version},
            )  # fmt: skip
        if operation.verb == "update":
            before = _parsed(data, operation.path)
            after = edited(before, list(operation.changes))
            if admitted.held:
                members = await self._run(
                    self._admission.of, index, operation.path, seen.number
                )
                admitted.members += members
                for member in members:
                    after = self._admission.value(member, after, new=False)
            text = _text_of(after, operation.path)
            return _Prepared(operation, Replace(path, text, seen), version, before, after, text)
        if operation.verb == "erase":
            try:
                before = parse_quick(data)
            except TextError:
                before = None
            return _Prepared(operation, Remove(path, seen), version, before, text=data)
        target = _parts(operation.target)
        if admitted.held:
            member = await self._named(index, operation.target, target, credentials, admitted)
            self._admission.content(member, data)
        return _Prepared(operation, Move(path, target, seen), version, text=data)

    async def _named(
        self, index: int, shown: str, path: Path, credentials: Credentials, admitted: Admitted
    ) -> Member:
        member: Member = await self._run(
            self._admission.named, index, shown, path[:-1], credentials
        )
        admitted.members.append(member)
        return member

    async def _path(self, text: str, credentials: Credentials) -> Path:
        if text.startswith("/"):
            return _parts(text)
        path: Path | None = None
        if len(text) == 32:
            try:
                path = await self._run(self._files.path_of, bytes.fromhex(text), credentials)
            except ValueError:
                raise _no_path(text) from None
        else:
            raise _no_path(text)
        if path is None:
            raise AffsError(
                "record.not_found", Category.NOT_FOUND, f"there is no object {text}",
                details={"path": text},
            )  # fmt: skip
        return path

    async def _look(self, path: Path, shown: str, credentials: Credentials) -> tuple[Seen, bytes]:
        """The record as it is, with what the kernel holds of it where it is mapped for writing."""
        try:
            seen, data = await self._run(self._files.look_at, path, credentials)
            if await self._steps.fetch([seen.number]):
                seen, data = await self._run(self._files.look_at, path, credentials)
        except OSError as error:
            raise path_error(error, shown) from None
        if len(data) > RECORD_BYTES_MAX:
            raise record_too_large(b"/" + b"/".join(path), len(data))
        return seen, data


def _credentials(identity: Identity) -> Credentials:
    return credentials_of(identity)._replace(umask=UMASK)


def _parts(text: str) -> Path:
    parts = path_parts(text) if text.startswith("/") else ()
    if not parts:
        raise _no_path(text)
    return parts


def _no_path(text: str) -> AffsError:
    return AffsError(
        "record.path", Category.INVALID,
        f"{text!r} is neither a path that begins with '/' nor an object's id",
        details={"path": text},
    )  # fmt: skip


def _text_of(value: Value, path: str) -> bytes:
    """A record as it is stored: one line."""
    text = format_quick(value).encode() + b"\n"
    if len(text) > RECORD_BYTES_MAX:
        raise record_too_large(path.encode(), len(text))
    return text


def _parsed(data: bytes, path: str) -> Value:
    try:
        return parse_quick(data)
    except TextError as error:
        raise record_problem(path.encode(), error) from None


def _check_apart(prepared: list[_Prepared]) -> None:
    """Errors: record.twice."""
    seen: dict[Any, int] = {}
    for index, one in enumerate(prepared):
        step = one.step
        names: list[Any] = [step.path]
        if isinstance(step, Move):
            names.append(step.target)
        if not isinstance(step, Create):
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


def busy() -> AffsError:
    return AffsError(
        "record.busy", Category.BUSY, "the records keep changing while they are looked at",
        hint="try again", retryable=True,
    )  # fmt: skip


def _demand_changed(error: StepError, prepared: list[_Prepared]) -> None:
    """Errors: that of the operation, unless something has changed since it was looked at."""
    if not error.changed:
        if error.index == len(prepared):
            raise _no_directory() from None
        raise _step_error(error.error, prepared[error.index].operation, error.index) from None


def _step_error(error: OSError, operation: Operation, index: int) -> AffsError:
    number = error.errno
    moves = operation.verb == "move" and number in (errno.ENOENT, errno.ENOTDIR, errno.EEXIST)
    shown = operation.target if moves else operation.path
    made = path_error(error, shown)
    if number == errno.ENOENT:
        made.message = f"there is no directory for {shown}"
        made.hint = "make it through the mount, with mkdir"
    made.details = {**made.details, "operation": index}
    return made


def _no_directory() -> AffsError:
    return AffsError(
        "import.directory", Category.CONFLICT,
        "the directory was moved or taken away while records were imported into it",
        hint="what was imported is there; go on with --resume, from where the directory is now",
    )  # fmt: skip


_ACTIONS = {"create": "created", "update": "updated", "move": "moved", "erase": "erased"}


def _result(prepared: _Prepared, changed: Changed) -> Plain:
    operation, step = prepared.operation, prepared.step
    path = step.target if isinstance(step, Move) else step.path
    row: Plain = {
        "action": _ACTIONS[operation.verb],
        "path": (b"/" + b"/".join(path)).decode("utf-8", "replace"),
        "id": changed.inode.object_id.hex(),
        "version": content_version(prepared.text),
    }
    if operation.verb in ("update", "erase"):
        row["before"] = prepared.before
    if isinstance(step, Move):
        row["from"] = (b"/" + b"/".join(step.path)).decode("utf-8", "replace")
    return row


def _shown(prepared: _Prepared) -> Plain:
    operation = prepared.operation
    row: Plain = {"action": operation.verb, "path": operation.path}
    if operation.verb == "move":
        row["to"] = operation.target
    if operation.verb in ("update", "erase"):
        row["before"] = prepared.before
    if operation.verb in ("create", "update"):
        row["after"] = prepared.after
    return row


def _basis(prepared: list[_Prepared]) -> Value:
    return [[one.operation.verb, one.operation.path, one.version] for one in prepared]
