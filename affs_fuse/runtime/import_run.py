"""One import at work: from pieces of input to batches of records (runtime/imports.py).

Records wait in a batch until it is full, or until one comes with a name that the batch has. Then
the names that the directory has already are looked up, and all is done in one turn, with the
cursor. If some record cannot be made, what stands before it goes alone, it is told, and the rest
goes on, in smaller batches for a while.
"""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

from affs_fuse.auv import Value
from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError, Category
from affs_fuse.formats import Found, Mark, Refused, make_reader
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.posix.imports import Cursor
from affs_fuse.query.editing import parse_changes
from affs_fuse.query.paths import path_named
from affs_fuse.runtime.import_names import NameProblem, Namer
from affs_fuse.runtime.import_order import ImportOrder, Progress, cursor_value, packed_cursor
from affs_fuse.runtime.import_traces import ImportTraces, LogImport
from affs_fuse.runtime.inputs import Input
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Listener, Plain
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.record_reversal import Trace
from affs_fuse.runtime.records import BATCH_MAX, Records
from affs_fuse.runtime.rehearsal import Rehearsal

__all__ = ["ImportRun", "Target", "nothing_unfinished"]

BATCH_RECORDS = 128
"""Made in one turn of the loop: some 15 ms."""

BATCH_BYTES = 2 << 20
DRY_NAMES_MAX = 100_000
"""That a dry run remembers, to tell when two records of the input have one name."""


class Target(NamedTuple):
    """path: of the directory, its names."""

    path: tuple[bytes, ...]
    directory: int
    identity: Identity


@dataclass(slots=True)
class _Waiting:
    """A record of the batch. number: in the input, from 1. mark: behind it. text: how it begins, of
    one that could not be read. refusal: why it will not be made (code, message). told: that was
    said."""

    number: int
    line: int
    column: int
    mark: Mark
    name: bytes = b""
    value: Value = None
    text: str = ""
    refusal: tuple[str, str] | None = None
    told: bool = False


class ImportRun:
    """known: the cursor of the directory. Errors of the constructor: import.*, query.*"""

    def __init__(
        self, order: ImportOrder, target: Target, known: bytes | None, files: FilesByPath,
        records: Records, run: Callable[..., Awaitable[Any]], commit: Callable[[], Awaitable[Any]],
        clock: Clock, listener: Listener, log: LogImport | None = None,
    ) -> None:  # fmt: skip
        self._order = order
        self._target = target
        self._files = files
        self._records = records
        self._run = run
        self._commit = commit
        self._listener = listener
        self._before = Progress()
        self._digest_before = b""
        self._about: Plain = {
            "source": order.source, "user": target.identity.user, "started_ns": clock.now_ns(),
        }  # fmt: skip
        if order.resume:
            if known is None:
                raise nothing_unfinished(order.path)
            self._terms, self._before, self._digest_before, self._about = cursor_value(known)
            order.check_same(self._terms)
        else:
            if known is not None and not order.dry_run:
                raise _unfinished(order.path)
            self._terms = order.terms()
        self._namer = Namer(self._terms.name, clock.now_ns())
        terms = self._terms
        self._reader = make_reader(terms.format, terms.delimiter, terms.types)
        self._reader.go_on(self._before.mark)
        self._done = self._before
        self._traces = ImportTraces(records.traces_max, log, whole=not order.resume)
        self._number = self._before.records
        self._batch: list[_Waiting] = []
        self._batch_from = 0
        self._names: set[bytes] = set()
        self._dry_names: set[bytes] = set()
        self._rehearsal = Rehearsal()
        self._batch_max = BATCH_RECORDS
        self._digest = hashlib.sha256()
        self._unhashed = b""
        self._hashed = 0
        self._keeps_cursor = not order.dry_run and not order.all_or_nothing
        if self._keeps_cursor:
            packed_cursor(self._terms, self._before, bytes(32), self._about)  # is it too long?

    async def carry_out(self, input: Input) -> Plain:
        """All of the input; the summary. Errors: import.*, record.*; volume.*, device.*"""
        received = 0
        try:
            while (data := await input.take()) is not None:
                received += len(data)
                self._take(data)
                await self._read()
                await self._listener.progress(
                    received, input.total_bytes, "bytes", f"{self._done.records} records"
                )
            if self._hashed + len(self._unhashed) < self._before.mark.offset:
                raise _changed()
            self._reader.finish()
            await self._read()
            await self._end()
        except AffsError as error:
            error.details = {**error.details, **self._summary()}
            raise
        return {**self._summary(), "exit_status": 1 if self._done.refused else 0}

    def _summary(self) -> Plain:
        before = self._before.records
        return {**self._done.counts(), "resumed_at": before, "dry_run": self._order.dry_run}

    # ---- input ----

    def _take(self, data: bytes) -> None:
        """conflict: import.changed, where the input is not the one that was imported before."""
        start = self._before.mark.offset
        if self._keeps_cursor or self._hashed < start:
            self._unhashed += data
        if self._hashed < start:
            count = min(start - self._hashed, len(self._unhashed))
            self._digest.update(self._unhashed[:count])
            self._hashed += count
            self._unhashed = self._unhashed[count:]
            if self._hashed == start and self._digest.digest() != self._digest_before:
                raise _changed()
            if not self._keeps_cursor:
                self._unhashed = b""
        self._reader.feed(data)

    async def _read(self) -> None:
        """All records that were fed; the batch is empty and durable afterwards."""
        reader = self._reader
        try:
            while (found := reader.next()) is not None:
                await self._add(found, reader.mark)
        finally:
            # What comes before a place that cannot be read is imported all the same.
            if not self._order.all_or_nothing:
                await self._flush()
                if not self._order.dry_run:
                    await self._commit()

    async def _add(self, found: Found | Refused, mark: Mark) -> None:
        self._number += 1
        one = _Waiting(self._number, found.line, found.column, mark)
        if isinstance(found, Refused):
            one.refusal, one.text = (found.code, found.message), found.text
        else:
            one.value = found.value
            try:
                one.name = self._namer.name(found.value, self._number)
            except NameProblem as problem:
                one.refusal = "import.name", str(problem)
        if self._order.all_or_nothing:
            if len(self._batch) >= BATCH_MAX:
                raise _too_many()
        elif (
            len(self._batch) >= BATCH_RECORDS
            or mark.offset - self._batch_from > BATCH_BYTES
            or one.name in self._names
        ):
            await self._flush()
        if one.refusal is None:
            if one.name in self._names:
                one.refusal = "record.twice", "another record of this input has its name"
            self._names.add(one.name)
        self._batch.append(one)

    # ---- batches ----

    async def _flush(self) -> None:
        """Do the batch."""
        batch, self._batch, self._names = self._batch, [], set()
        if not batch:
            return
        self._batch_from = batch[-1].mark.offset
        names = [one.name for one in batch if one.refusal is None]
        there = await self._run(self._files.names_there, self._target.directory, names)
        there |= self._dry_names.intersection(names)
        at = 0
        while at < len(batch):
            part = batch[at : at + self._batch_max]
            if await self._do(part, there):
                at += len(part)
                self._batch_max = min(BATCH_RECORDS, 2 * self._batch_max)
            else:
                self._batch_max = max(1, len(part) // 2)

    async def _do(self, part: list[_Waiting], there: set[bytes]) -> bool:
        """A part of the batch, in one turn. False: nothing was done, as some record (which is
        refused now) cannot be made, or all of it is too much at once."""
        operations: list[Operation] = []
        made: list[_Waiting] = []
        progress = self._done
        for one in part:
            operation = self._operation(one, there) if one.refusal is None else None
            if operation is not None:
                operations.append(operation)
                made.append(one)
            progress = self._counted(progress, one, operation)
        await self._tell(part)
        try:
            if self._order.dry_run:
                await self._rehearse(operations, made)
            else:
                await self._apply(operations, progress)
        except AffsError as error:
            at = error.details.get("operation")
            if error.code.startswith("record.") and not error.retryable and at is not None:
                made[at].refusal = error.code, error.message
            elif error.code != "volume.no_space" or len(part) == 1:
                raise
            return False
        self._done = progress
        return True

    async def _rehearse(self, operations: list[Operation], made: list[_Waiting]) -> None:
        """What stands at a name that only this input has is replaced as if it were new; what would
        be merged into it is not looked at. Errors: as of the change."""
        known, asked = self._dry_names, []
        for index, (operation, one) in enumerate(zip(operations, made, strict=True)):
            if operation.verb == "update" and one.name in known:
                if self._terms.on_conflict == "update":
                    continue
                operation = replace(operation, verb="create", value=one.value, changes=())
            asked.append((index, operation))
        try:
            await self._records.rehearse(
                [operation for _, operation in asked], self._target.identity, self._rehearsal
            )
        except AffsError as error:
            at = error.details.get("operation")
            if isinstance(at, int) and at < len(asked):
                error.details = {**error.details, "operation": asked[at][0]}
            raise
        if len(known) < DRY_NAMES_MAX:
            pairs = zip(operations, made, strict=True)
            known.update(one.name for operation, one in pairs if operation.verb == "create")

    def _operation(self, one: _Waiting, there: set[bytes]) -> Operation | None:
        """What is to be done with a record; None: it is left out, or refused."""
        path = path_named(b"/" + b"/".join((*self._target.path, one.name)))
        if one.name not in there:
            return Operation("create", path, one.value)
        policy = self._terms.on_conflict
        if policy == "refuse":
            one.refusal = "record.exists", f"there is something at {path} already"
        if policy in ("refuse", "skip"):
            return None
        change = "set" if policy == "replace" else "merge"
        return Operation(
            "update", path, changes=tuple(parse_changes([change, "$", one.value]))
        )

    @staticmethod
    def _counted(progress: Progress, one: _Waiting, operation: Operation | None) -> Progress:
        """With one record more."""
        what = "refused"
        if operation is not None:
            what = "created" if operation.verb == "create" else "replaced"
        elif one.refusal is None:
            what = "skipped"
        more = {what: getattr(progress, what) + 1}
        return replace(progress, mark=one.mark, records=one.number, **more)

    async def _tell(self, part: list[_Waiting]) -> None:
        """What is refused."""
        for one in part:
            if one.refusal is None or one.told:
                continue
            one.told = True
            code, message = one.refusal
            row: Plain = {
                "record": one.number, "line": one.line, "column": one.column, "code": code,
                "message": message,
            }  # fmt: skip
            if one.name:
                row["name"] = one.name.decode("utf-8", "replace")
            if one.text:
                row["text"] = one.text
            await self._listener.item(row)

    async def _apply(self, operations: list[Operation], progress: Progress) -> None:
        count = progress.mark.offset - self._hashed
        digest = self._digest.copy()
        digest.update(self._unhashed[:count])
        payload = packed_cursor(self._terms, progress, digest.digest(), self._about)
        cursor = Cursor(self._target.path, self._target.directory, payload)
        await self._records.apply(
            operations, self._target.identity, cursor=cursor, durable=False,
            write=self._traces.write,
        )  # fmt: skip
        self._traces.add(len(operations))
        self._digest, self._hashed = digest, progress.mark.offset
        self._unhashed = self._unhashed[count:]

    # ---- the end ----

    async def _end(self) -> None:
        """Nothing is unfinished any more."""
        if self._order.all_or_nothing:
            await self._all_at_once()
        if self._order.all_or_nothing or self._order.dry_run:
            return
        end = Cursor(self._target.path, self._target.directory, b"")
        await self._records.apply(
            [], self._target.identity, cursor=end, spare_bytes=self._traces.size,
            write=lambda _, room: self._traces.finish(self._summary(), room=room is not None),
        )  # fmt: skip

    async def _all_at_once(self) -> None:
        """Errors: import.refused; those of the first record that cannot be made."""
        names = [one.name for one in self._batch if one.refusal is None]
        there = await self._run(self._files.names_there, self._target.directory, names)
        operations: list[Operation] = []
        progress = self._done
        for one in self._batch:
            operation = self._operation(one, there) if one.refusal is None else None
            progress = self._counted(progress, one, operation)
            operations += [operation] if operation is not None else []
        await self._tell(self._batch)
        if progress.refused:
            raise _refused(progress.refused)
        if operations and self._order.dry_run:
            await self._records.rehearse(operations, self._target.identity, self._rehearsal)
        elif operations:
            await self._records.apply(
                operations, self._target.identity, write=partial(self._write_all, progress)
            )
        self._done = progress

    def _write_all(
        self, progress: Progress, rows: list[Plain], traces: list[Trace] | None
    ) -> None:
        self._traces.take(rows, traces)
        self._traces.add(len(rows))
        self._traces.finish({**self._summary(), **progress.counts()}, room=True)


def nothing_unfinished(path: str) -> AffsError:
    return AffsError(
        "import.nothing", Category.NOT_FOUND, f"there is no unfinished import into {path}",
        hint="`imports` lists them; a rollback may have taken it back, with its records",
    )  # fmt: skip


def _unfinished(path: str) -> AffsError:
    return AffsError(
        "import.unfinished", Category.CONFLICT, f"an import into {path} has not come to its end",
        hint="go on with --resume and the same input, or take it away with drop-import",
    )  # fmt: skip


def _changed() -> AffsError:
    return AffsError(
        "import.changed", Category.CONFLICT,
        "this is not the input that was imported before: what lies in front of the place where it"
        " goes on is different",
        hint="give the same file, or take the unfinished import away with drop-import",
    )  # fmt: skip


def _too_many() -> AffsError:
    return AffsError(
        "import.too_many", Category.INVALID,
        f"--all-or-nothing takes at most {BATCH_MAX} records, this input has more",
        hint="checkpoint before the import, and roll back if it is not as it should be",
    )  # fmt: skip


def _refused(count: int) -> AffsError:
    return AffsError(
        "import.refused", Category.INVALID, f"{count} records were refused, so none was imported",
        hint="see what was told about them",
    )  # fmt: skip
