"""Changes of records: by path or id, held to versions and to what collections demand, in one turn.

Invariant: a record is changed only if it is what it was when it was read, and its collection
demands what it did then (steps.py, admission.py); otherwise it is read again.
"""

import errno
from collections.abc import Callable, Sequence
from functools import partial

import trio

from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.batches import (
    Changed,
    Create,
    Link,
    Move,
    Path,
    Remove,
    Replace,
    Restore,
    Seen,
    StepError,
)
from affs_fuse.posix.imports import Cursor
from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.permissions import Credentials
from affs_fuse.query.editing import edited
from affs_fuse.query.opening import path_error, path_parts
from affs_fuse.query.paths import is_path
from affs_fuse.query.rows import content_version
from affs_fuse.query.sources import RECORD_BYTES_MAX, record_too_large
from affs_fuse.runtime.admission import Admission, Admitted, Member
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.plans import undo_impossible, undo_possible
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.record_prepared import (
    Prepared,
    basis_of,
    check_apart,
    result_of,
    shown_of,
    trace_of,
    traces_size,
)
from affs_fuse.runtime.record_reversal import Trace
from affs_fuse.runtime.record_texts import changed_aside, parsed, text_of, value_of
from affs_fuse.runtime.rehearsal import Rehearsal
from affs_fuse.runtime.steps import SLICE_OPERATIONS, Journal, Steps

__all__ = [
    "ATTEMPTS_MAX", "BATCH_BYTES_MAX", "BATCH_MAX", "SPARE_BYTES", "Records", "Write", "busy",
    "demand_same", "no_object",
]  # fmt: skip

BATCH_MAX = 1000
"""Operations in one turn of the loop: about a tenth of a second."""

BATCH_BYTES_MAX = 16 << 20
ATTEMPTS_MAX = 20
NEW_MODE = 0o666
UMASK = 0o022


Write = Callable[[list[Plain], list[Trace] | None], None]
"""Puts an entry into the operation log: rows as `apply` gives them, and traces for an undo; None if
they are too large, or there is no room for them."""

SPARE_BYTES = 64 << 10
"""Of traces that room for one operation is enough for, pessimistically."""


class Records:
    """traces_max: bytes that an operation may leave for its undo. Loop thread only."""

    def __init__(
        self, namespace: Namespace, steps: Steps, admission: Admission, traces_max: int
    ) -> None:
        self._files = namespace.files
        self._steps = steps
        self._run = steps.run
        self._admission = admission
        self._traces_max = traces_max

    async def plan(self, operations: Sequence[Operation], identity: Identity) -> Plain:
        """What they would do: changes (one row each), basis. Errors: as `apply`."""
        prepared = await self.rehearse(operations, identity, Rehearsal())
        changes = [shown_of(one) for one in prepared]
        return {"changes": changes, "basis": basis_of(prepared), "undo": self._undo(prepared)}

    def _undo(self, prepared: Sequence[Prepared]) -> Plain:
        """Whether an undo could take it back, as plans tell it."""
        if traces_size(prepared) > self._traces_max:
            return undo_impossible("what it takes away is more than is kept for an undo")
        if any(isinstance(one.step, Remove) and one.kept is None for one in prepared):
            return undo_impossible("an extended attribute is too large to be kept for an undo")
        return undo_possible("makes them what they were, unless they were changed since", None)

    async def rehearse(
        self, operations: Sequence[Operation], identity: Identity, before: Rehearsal
    ) -> list[Prepared]:
        """Everything but the change. before: what was rehearsed before; this is added to it.
        Errors: as `apply`."""
        credentials = _credentials(identity)
        for attempt in range(ATTEMPTS_MAX):
            admitted = Admitted(attempt)
            prepared = await self._prepare(operations, credentials, admitted)
            touched = {*admitted.touched}
            admitted.touched |= before.touched
            try:
                await self._steps.check([one.step for one in prepared], credentials)
                await self._run(self._admission.guard, admitted, credentials)
            except StepError as error:
                _demand_changed(error, prepared)
                continue
            before.admit(admitted.members, touched)
            return prepared
        raise busy()

    async def apply(
        self,
        operations: Sequence[Operation],
        identity: Identity,
        expect: Basis = None,
        *,
        cursor: Cursor | None = None,
        durable: bool = True,
        write: Write | None = None,
        spare_bytes: int = 0,
    ) -> list[Plain]:
        """One row for each, in order: action, path, id, version; with update and erase, before.
        cursor: of an import, put in the same turn. durable: otherwise the caller commits. write:
        called in the same turn, and in the same commit with what it puts into the operation log.
        spare_bytes: that it puts there beside what these operations leave.
        Errors: record.*, plan.stale; import.directory; volume.*, device.*; `operation` (from 0)
        among the details."""
        credentials = _credentials(identity)
        for attempt in range(ATTEMPTS_MAX):
            admitted = Admitted(attempt)
            prepared = await self._prepare(operations, credentials, admitted)
            demand(expect, basis_of(prepared), "change")
            try:
                changed = await self._steps.carry_out(
                    [one.step for one in prepared], credentials,
                    partial(self._admission.guard, admitted, credentials), cursor=cursor,
                    durable=durable, journal=self._journal(prepared, write, spare_bytes),
                )  # fmt: skip
            except StepError as error:
                _demand_changed(error, prepared)
                continue
            return [result_of(one, after) for one, after in zip(prepared, changed, strict=True)]
        raise busy()

    @property
    def traces_max(self) -> int:
        return self._traces_max

    def _journal(
        self, prepared: list[Prepared], write: Write | None, spare_bytes: int
    ) -> Journal | None:
        if write is None:
            return None
        size = traces_size(prepared)

        def written(changed: Sequence[Changed], whole: bool) -> None:
            pairs = [*zip(prepared, changed, strict=True)]
            fits = whole and size <= self._traces_max
            traces = [trace_of(one, after) for one, after in pairs] if fits else None
            write([result_of(one, after) for one, after in pairs], traces)

        room = min(size, self._traces_max) + spare_bytes
        return Journal(1 + room // SPARE_BYTES, written)

    # ---- before ----

    async def _prepare(
        self, operations: Sequence[Operation], credentials: Credentials, admitted: Admitted
    ) -> list[Prepared]:
        if len(operations) > BATCH_MAX:
            raise AffsError(
                "record.batch", Category.INVALID,
                f"{len(operations)} operations, a batch has at most {BATCH_MAX}",
            )  # fmt: skip
        found: list[Prepared] = []
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
        check_apart(found)
        await self._admission.prepare(admitted)
        return found

    async def _prepare_one(
        self, index: int, operation: Operation, credentials: Credentials, admitted: Admitted
    ) -> Prepared:
        path = await self._path(operation.path, credentials)
        if operation.verb in ("restore", "link"):
            return await self._prepare_return(index, operation, path, credentials, admitted)
        if operation.verb == "create":
            value = operation.value
            if admitted.held:
                member = await self._named(index, operation.path, path, credentials, admitted)
                value = self._admission.value(member, value, new=True)
            text = text_of(value, operation.path)
            return Prepared(operation, Create(path, text, NEW_MODE), "", after=value, text=text)
        seen, data = await self._steps.look(path, operation.path, credentials)
        admitted.touched.add(seen.number)
        version = content_version(data)
        demand_same(operation, seen, version)
        if operation.verb == "rewrite":
            text = operation.content
            await self._admit_content(index, operation, text, seen, admitted)
            return Prepared(
                operation, Replace(path, text, seen), version, value_of(data), value_of(text),
                text, data,
            )  # fmt: skip
        if operation.verb == "update":
            before = parsed(data, operation.path)
            after = edited(before, list(operation.changes))
            if admitted.held:
                members = await self._run(
                    self._admission.of, index, operation.path, seen.number
                )
                admitted.members += members
                for member in members:
                    after = self._admission.value(member, after, new=False)
            text = await changed_aside(data, before, after, operation.path)
            step = Replace(path, text, seen)
            return Prepared(operation, step, version, before, after, text, data)
        if operation.verb == "erase":
            kept = await self._run(self._files.kept_of, seen)
            return Prepared(
                operation, Remove(path, seen), version, value_of(data), None, data, data, kept
            )
        target = _parts(operation.target)
        if admitted.held:
            member = await self._named(index, operation.target, target, credentials, admitted)
            self._admission.content(member, data)
        return Prepared(operation, Move(path, target, seen), version, text=data)

    async def _prepare_return(
        self, index: int, operation: Operation, path: Path, credentials: Credentials,
        admitted: Admitted,
    ) -> Prepared:  # fmt: skip
        """A file, or a name of one, that an undo brings back."""
        text = operation.content
        step: Restore | Link
        if operation.verb == "restore":
            step = await self._returning(path, operation)
        else:
            seen = await self._run(self._files.look_at_object, operation.object_id)
            if seen is None:
                raise no_object(operation.object_id.hex())
            if seen.inode.size > RECORD_BYTES_MAX:
                raise record_too_large(b"/" + b"/".join(path), seen.inode.size)
            admitted.touched.add(seen.number)
            text = await self._run(self._files.content_of, seen)
            step = Link(path, seen)
        if admitted.held:
            member = await self._named(index, operation.path, path, credentials, admitted)
            self._admission.content(member, text)
        return Prepared(operation, step, "", after=value_of(text), text=text)

    async def _returning(self, path: Path, operation: Operation) -> Restore | Link:
        """An erased file gets its name back where it is still there as it was. exists:
        record.exists, where it has a name (after a rollback, say)."""
        assert operation.kept is not None
        if await self._run(self._files.look_at_object, operation.kept.inode.object_id) is not None:
            raise AffsError(
                "record.exists", Category.EXISTS,
                f"what was {operation.path} is there, under another name",
                details={"path": operation.path},
            )  # fmt: skip
        seen = await self._run(self._files.look_at_nameless, operation.kept.inode.object_id)
        if seen is not None and await self._steps.fetch([seen.number]):
            seen = await self._run(
                self._files.look_at_nameless, operation.kept.inode.object_id
            )
        same = seen is not None and seen.inode.size == len(operation.content)
        if same and await self._run(self._files.content_of, seen) == operation.content:
            assert seen is not None
            return Link(path, seen)
        return Restore(path, operation.content, operation.kept)

    async def _admit_content(
        self, index: int, operation: Operation, text: bytes, seen: Seen, admitted: Admitted
    ) -> None:
        if admitted.held:
            members = await self._run(self._admission.of, index, operation.path, seen.number)
            admitted.members += members
            for member in members:
                self._admission.content(member, text)

    async def _named(
        self, index: int, shown: str, path: Path, credentials: Credentials, admitted: Admitted
    ) -> Member:
        member: Member = await self._run(
            self._admission.named, index, shown, path[:-1], credentials
        )
        admitted.members.append(member)
        return member

    async def _path(self, text: str, credentials: Credentials) -> Path:
        if is_path(text):
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
            raise no_object(text)
        return path


def demand_same(operation: Operation, seen: Seen, version: str) -> None:
    """Errors: record.version; record.not_found for another object of that name."""
    if operation.object_id and operation.object_id != seen.inode.object_id:
        raise no_object(operation.object_id.hex())
    if operation.if_version and operation.if_version != version:
        raise AffsError(
            "record.version", Category.CONFLICT,
            f"{operation.path} has version {version}, not {operation.if_version}",
            hint="get it again, and decide anew",
            details={"path": operation.path, "version": version},
        )  # fmt: skip


def no_object(text: str) -> AffsError:
    return AffsError(
        "record.not_found", Category.NOT_FOUND, f"there is no object {text}",
        details={"path": text},
    )  # fmt: skip


def _credentials(identity: Identity) -> Credentials:
    return credentials_of(identity)._replace(umask=UMASK)


def _parts(text: str) -> Path:
    parts = path_parts(text) if is_path(text) else ()
    if not parts:
        raise _no_path(text)
    return parts


def _no_path(text: str) -> AffsError:
    return AffsError(
        "record.path", Category.INVALID,
        f"{text!r} is neither a path that begins with '/' nor an object's id",
        details={"path": text},
    )  # fmt: skip


def busy() -> AffsError:
    return AffsError(
        "record.busy", Category.BUSY, "the records keep changing while they are looked at",
        hint="try again", retryable=True,
    )  # fmt: skip


def _demand_changed(error: StepError, prepared: list[Prepared]) -> None:
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
