"""Imports: bytes of a client become records of a directory (docs/specs/Transfer.md, "Import").

Invariants:
- The cursor changes in the same turn as the records of a batch, so every state of the namespace has
  exactly the records that its cursor says, whoever is killed when.
- A record that is refused costs itself alone, and is told before the cursor passes it.
- Memory is bounded by a batch, a record's text and a piece of input, whatever the input's size.
- One import into a directory at a time.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.posix.imports import Cursor
from affs_fuse.query.opening import path_error, path_parts
from affs_fuse.runtime.import_order import ImportOrder, cursor_value
from affs_fuse.runtime.import_run import ImportRun, Target, nothing_unfinished
from affs_fuse.runtime.inputs import Input
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Listener, Logged, Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_reversal import Trace
from affs_fuse.runtime.records import Records
from affs_fuse.runtime.session import Session

__all__ = ["Imports"]


class Imports:
    """run: of the engine. commit: makes durable what was done. log: puts an entry into the
    operation log (RecordVerbs.log). Loop thread only."""

    def __init__(
        self,
        files: FilesByPath,
        records: Records,
        run: Callable[..., Awaitable[Any]],
        commit: Callable[[], Awaitable[Any]],
        clock: Clock,
        log: Callable[[Logged, Plain, int, list[Trace] | None], None],
    ) -> None:
        self._files = files
        self._records = records
        self._run = run
        self._commit = commit
        self._clock = clock
        self._log = log
        self._at_work: set[int] = set()

    async def carry_out(
        self, order: ImportOrder, asker: Session, input: Input, listener: Listener,
        begin: Callable[[], Awaitable[None]], logged: Logged | None = None,
    ) -> Plain:  # fmt: skip
        """Import all of an input. begin: called when it is wanted. logged: makes the entry of the
        operation log. The summary (as ports.py says).
        Errors: import.*, record.*, query.*; volume.*, device.*"""
        target = await self._target(order.path, asker.identity)
        with self._alone(target, order.dry_run):
            known = await self._run(self._files.cursor_of, target.directory)
            run = ImportRun(
                order, target, known, self._files, self._records, self._run, self._commit,
                self._clock, listener, partial(self._log, logged) if logged is not None else None,
            )  # fmt: skip
            await begin()
            return await run.carry_out(input)

    async def unfinished(self, asker: Session) -> list[Plain]:
        """path, and what the cursor says."""
        found: list[Plain] = []
        credentials = credentials_of(asker.identity)
        for path, payload in await self._run(self._files.cursors, credentials):
            row: Plain = {"path": path.decode("utf-8", "replace"), "damaged": False}
            try:
                terms, progress, _, about = cursor_value(payload)
            except AffsError:
                found.append({**row, "damaged": True})
                continue
            row |= {"format": terms.format, "offset": progress.mark.offset, **progress.counts()}
            found.append({**row, **about})
        return found

    async def drop(self, path: str, asker: Session) -> Plain:
        """Forget the unfinished import into a directory; its records stay. not_found:
        import.nothing."""
        target = await self._target(path, asker.identity)
        with self._alone(target, False):
            if await self._run(self._files.cursor_of, target.directory) is None:
                raise nothing_unfinished(path)
            end = Cursor(target.path, target.directory, b"")
            await self._records.apply([], asker.identity, cursor=end)
        return {"path": path}

    async def _target(self, path: str, identity: Identity) -> Target:
        """A directory in which this user may make files. Errors: record.*"""
        parts = path_parts(path)
        try:
            number = await self._run(self._files.writable, parts, credentials_of(identity))
        except OSError as error:
            raise path_error(error, path) from None
        return Target(parts, number, identity)

    @contextmanager
    def _alone(self, target: Target, dry_run: bool) -> Iterator[None]:
        """busy: import.running."""
        if dry_run:
            yield
            return
        if target.directory in self._at_work:
            raise AffsError(
                "import.running", Category.BUSY, "another import into this directory is at work",
                hint="wait for its end; `imports` shows how far it is", retryable=True,
            )  # fmt: skip
        self._at_work.add(target.directory)
        try:
            yield
        finally:
            self._at_work.discard(target.directory)

