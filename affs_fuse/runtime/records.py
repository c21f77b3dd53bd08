"""Changes of records: by path or id, held to versions, in one turn, and seen by everybody at once.

Invariants:
- All operations of a batch happen in one turn of the loop, or none does; a record is changed only
  if it is what it was when it was read (posix/batches.py), otherwise it is read again.
- When a call returns, the change is durable and the kernel knows nothing older.
- No request is held while the kernel is told (semantics.md, "Rollback on a live mount").
"""

import errno
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import trio

from affs_fuse.auv import TextError, Value, format_compact, parse_quick
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
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_operations import Operation

__all__ = ["BATCH_MAX", "Records"]

BATCH_MAX = 1000
"""Operations in one turn of the loop: about a tenth of a second."""

BATCH_BYTES_MAX = 16 << 20
ATTEMPTS_MAX = 20
SLICE_OPERATIONS = 16
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
    """run: of the engine. commit: makes durable what was done. release: while the kernel is told.
    throttle: waits while too much is in memory. Loop thread only."""

    def __init__(
        self,
        namespace: Namespace,
        kernel: KernelPort,
        run: Callable[..., Awaitable[Any]],
        commit: Callable[[], Awaitable[Any]],
        release: Callable[[], AbstractContextManager[None]],
        throttle: Callable[[], Awaitable[None]],
    ) -> None:
        self._namespace = namespace
        self._files = namespace.files
        self._kernel = kernel
        self._run = run
        self._commit = commit
        self._release = release
        self._throttle = throttle

    async def plan(self, operations: Sequence[Operation], identity: Identity) -> Plain:
        """What they would do: changes (one row each), basis. Errors: as `apply`."""
        credentials = _credentials(identity)
        for _ in range(ATTEMPTS_MAX):
            prepared = await self._prepare(operations, credentials)
            if await self._check(prepared, credentials):
                return {"changes": [_shown(one) for one in prepared], "basis": _basis(prepared)}
        raise _busy()

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
        for _ in range(ATTEMPTS_MAX):
            prepared = await self._prepare(operations, credentials)
            demand(expect, _basis(prepared), "change")
            await self._throttle()
            with self._files.keeping_nodes():
                if not await self._check(prepared, credentials):
                    continue
                changed = await self._change(prepared, credentials, cursor)
            if changed is not None:
                with trio.CancelScope(shield=True):  # it is done, whoever still waits
                    await self._tell(changed)
                    if durable:
                        await self._commit()
                return [_result(one, after) for one, after in zip(prepared, changed, strict=True)]
        raise _busy()

    async def _check(self, prepared: list[_Prepared], credentials: Credentials) -> bool:
        """Whether each step can be done, with all that it needs in memory; False if some record has
        changed since it was read."""
        for index, one in enumerate(prepared):
            try:
                await self._run(self._files.check, one.step, credentials)
            except StepError as error:
                if error.changed:
                    return False
                raise _step_error(error.error, one.operation, index) from None
            if index % SLICE_OPERATIONS == SLICE_OPERATIONS - 1:
                await trio.lowlevel.checkpoint()
        return True

    async def _change(
        self, prepared: list[_Prepared], credentials: Credentials, cursor: Cursor | None
    ) -> list[Changed] | None:
        """All steps; None, and nothing has happened, if some record has changed since."""
        steps = [one.step for one in prepared]
        with trio.CancelScope(shield=True):
            try:
                changed: list[Changed] = await self._run(
                    self._files.apply, steps, credentials, cursor
                )
            except StepError as error:
                if error.changed:
                    return None
                if error.index == len(prepared):
                    raise _no_directory() from None
                failed = prepared[error.index].operation
                raise _step_error(error.error, failed, error.index) from None
        return changed

    # ---- before ----

    async def _prepare(
        self, operations: Sequence[Operation], credentials: Credentials
    ) -> list[_Prepared]:
        if len(operations) > BATCH_MAX:
            raise AffsError(
                "record.batch", Category.INVALID,
                f"{len(operations)} operations, a batch has at most {BATCH_MAX}",
            )  # fmt: skip
        found: list[_Prepared] = []
        size = 0
        for index, operation in enumerate(operations):
            if index and not index % SLICE_OPERATIONS:
                await trio.lowlevel.checkpoint()
            try:
                one = await self._prepare_one(operation, credentials)
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
        return found

    async def _prepare_one(self, operation: Operation, credentials: Credentials) -> _Prepared:
        path = await self._path(operation.path, credentials)
        if operation.verb == "create":
            text = _text_of(operation.value, operation.path)
            step = Create(path, text, NEW_MODE)
            return _Prepared(operation, step, "", after=operation.value, text=text)
        seen, data = await self._look(path, operation.path, credentials)
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
            text = _text_of(after, operation.path)
            return _Prepared(operation, Replace(path, text, seen), version, before, after, text)
        if operation.verb == "erase":
            try:
                before = parse_quick(data)
            except TextError:
                before = None
            return _Prepared(operation, Remove(path, seen), version, before, text=data)
        target = _parts(operation.target)
        return _Prepared(operation, Move(path, target, seen), version, text=data)

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
            if seen.number in self._namespace.inodes_open_for_writing():
                with self._release():
                    await self._kernel.invalidate_inodes([seen.number])
                seen, data = await self._run(self._files.look_at, path, credentials)
        except OSError as error:
            raise path_error(error, shown) from None
        if len(data) > RECORD_BYTES_MAX:
            raise record_too_large(b"/" + b"/".join(path), len(data))
        return seen, data

    # ---- after ----

    async def _tell(self, changed: list[Changed]) -> None:
        """Let the kernel forget what it knew before."""
        numbers = [one.number for one in changed]
        self._kernel.distrust(numbers)
        parents = {parent for one in changed for parent in one.parents}
        entries = [entry for one in changed for entry in one.entries]
        with self._release():
            await self._kernel.invalidate_entries(entries)
            await self._kernel.invalidate_inodes([*numbers, *sorted(parents)])


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
    text = format_compact(value).encode() + b"\n"
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


def _busy() -> AffsError:
    return AffsError(
        "record.busy", Category.BUSY, "the records keep changing while they are looked at",
        hint="try again", retryable=True,
    )  # fmt: skip


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
