"""Steps of files carried out: in one turn of the loop, told to the kernel, made durable.

Invariants:
- All steps happen in one turn, or none does, and only while the files are as they were seen
  (posix/batches.py) and the guard agrees in that very turn.
- When a call returns, the change is durable and the kernel knows nothing older.
- No request is held while the kernel is told (semantics.md, "Rollback on a live mount").
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, NamedTuple

import trio

from affs_fuse.errors import AffsError
from affs_fuse.posix.batches import Changed, Path, Seen, Step, StepError
from affs_fuse.posix.imports import Cursor
from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.permissions import Credentials
from affs_fuse.query.opening import path_error
from affs_fuse.query.sources import record_too_large
from affs_fuse.runtime.kernel import KernelPort

__all__ = ["SLICE_OPERATIONS", "Guard", "Journal", "Steps"]

SLICE_OPERATIONS = 16
"""Looked at before the loop gets a turn."""

Guard = Callable[[], Callable[[Sequence[Changed]], None]]
"""Called right before the change, in its turn: looks whether it still may be, and gives what is to
be called with what was changed. May raise what the namespace does, StepError and AffsError; then
nothing happens."""


class Journal(NamedTuple):
    """What goes into the operation log in the turn of the change. spare: room that it takes, in
    operations. write(changed, whole): not whole where there is room for an entry alone; raises
    nothing."""

    spare: int
    write: Callable[[Sequence[Changed], bool], None]


class Steps:
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
        self._commit = commit
        self._release = release
        self._throttle = throttle
        self.run = run

    async def check(self, steps: Sequence[Step], credentials: Credentials) -> None:
        """Whether each step can be done, with all that it needs in memory. Errors: StepError."""
        for index, step in enumerate(steps):
            try:
                await self.run(self._files.check, step, credentials)
            except StepError as error:
                raise StepError(index, error.error, changed=error.changed) from None
            if index % SLICE_OPERATIONS == SLICE_OPERATIONS - 1:
                await trio.lowlevel.checkpoint()

    async def carry_out(
        self, steps: Sequence[Step], credentials: Credentials, guard: Guard, *,
        cursor: Cursor | None = None, durable: bool = True, journal: Journal | None = None,
    ) -> list[Changed]:  # fmt: skip
        """All steps, or none. cursor: of an import, put in the same turn. durable: otherwise the
        caller commits. journal: written in the same turn. Errors: StepError (for
        the cursor with an index behind the last step); those of the guard; volume.*, device.*"""
        await self._throttle()
        with self._files.keeping_nodes():
            await self.check(steps, credentials)
            with trio.CancelScope(shield=True):
                changed: list[Changed] = await self.run(
                    self._act, list(steps), credentials, guard, cursor, journal
                )
        with trio.CancelScope(shield=True):  # it is done, whoever still waits
            await self._tell(changed)
            if durable:
                await self._commit()
        return changed

    def _act(
        self, steps: list[Step], credentials: Credentials, guard: Guard, cursor: Cursor | None,
        journal: Journal | None,
    ) -> list[Changed]:  # fmt: skip
        note = guard()
        spare = journal.spare if journal is not None else 0
        try:
            changed = self._files.apply(steps, credentials, cursor, spare)
        except AffsError as error:
            if not spare or error.code != "volume.no_space":
                raise
            spare = 0  # a change is not refused for what an undo of it would need
            changed = self._files.apply(steps, credentials, cursor)
        note(changed)
        if journal is not None:
            journal.write(changed, bool(spare))
        return changed

    def opened(self) -> list[int]:
        """Files that somebody may be writing."""
        return self._namespace.inodes_open_for_writing()

    async def fetch(self, numbers: Sequence[int]) -> bool:
        """Get what the kernel holds of those of these files that somebody may be writing; whether
        there were any."""
        opened = set(self.opened())
        held = [number for number in numbers if number in opened]
        if held:
            with self._release():
                await self._kernel.invalidate_inodes(held)
        return bool(held)

    async def look(self, path: Path, shown: str, credentials: Credentials) -> tuple[Seen, bytes]:
        """A record as it is, with what the kernel holds of it where it is mapped for writing.
        shown: its path in messages. Errors: record.*; of loading."""
        look = partial(self._files.look_at, path, credentials)
        try:
            seen, data = await self.run(look)
            if data is not None and await self.fetch([seen.number]):
                seen, data = await self.run(look)
        except OSError as error:
            raise path_error(error, shown) from None
        if data is None:
            raise record_too_large(b"/" + b"/".join(path), seen.inode.size)
        return seen, data

    async def _tell(self, changed: list[Changed]) -> None:
        """Let the kernel forget what it knew before."""
        numbers = [one.number for one in changed]
        self._kernel.distrust(numbers)
        parents = {parent for one in changed for parent in one.parents}
        entries = [entry for one in changed for entry in one.entries]
        with self._release():
            await self._kernel.invalidate_entries(entries)
            await self._kernel.invalidate_inodes([*numbers, *sorted(parents)])
