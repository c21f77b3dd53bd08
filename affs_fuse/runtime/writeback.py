"""Written data on its way out of memory, ahead of commits: the pre-flush, and the brake on writers.

Data waits in the namespace's write buffers, then (placed and checksummed) in the volume, then in a
worker's hands. Together they are the backlog. Invariants:
- The backlog stays below `dirty_max` plus one request for each writer: beyond it writers wait.
- Nobody waits here while the kernel is being told something (`release`): the kernel waits for
  writers.
- A write that fails makes the volume read-only; from then on writers are not held, they get the
  error.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.workers import Workers
from affs_fuse.volume.volume import Volume

__all__ = ["Writeback", "WritebackStatistics"]

_log = logging.getLogger("affs.engine")

PIECE_BYTES = 8 << 20
"""Placed and checksummed in one turn of the loop: a few milliseconds."""


@dataclass(frozen=True, slots=True)
class WritebackStatistics:
    """backlog_bytes: written, but not on the device. written_bytes: by workers, since the start.
    throttled: writers that had to wait."""

    backlog_bytes: int
    written_bytes: int
    throttled: int


class Writeback:
    """dirty_max: bytes. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        namespace: Namespace,
        loader: Loader,
        workers: Workers,
        *,
        dirty_max: int,
    ) -> None:
        self._volume = volume
        self._namespace = namespace
        self._loader = loader
        self._workers = workers
        self._dirty_max = dirty_max
        self.start_bytes = min(PIECE_BYTES, dirty_max // 4)
        self._begun_bytes = 0
        self._wanted = trio.Event()
        self._progress = trio.Event()
        self._releases = 0
        self._written = 0
        self._throttled = 0

    @property
    def backlog_bytes(self) -> int:
        return self._namespace.dirty_bytes + self._volume.waiting_bytes + self._begun_bytes

    def wake(self) -> None:
        """There is enough to write."""
        self._wanted.set()

    async def serve(self) -> None:
        """Write while there is enough to write; never returns."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await self.flush(self.start_bytes)
            except AffsError as error:
                _log.error("writing ahead of a commit failed: %s", error.message)
                self._move_on()

    async def flush(self, bytes_left: int) -> None:
        """Until at most bytes_left wait in buffers. Errors: what placing or writing raises."""
        while (
            self._namespace.dirty_bytes + self._volume.waiting_bytes > bytes_left
            and not self._volume.read_only
        ):
            await self._prepare_room()
            target = max(0, self._namespace.dirty_bytes - PIECE_BYTES)
            await self._loader.run(self._namespace.flush_some, target)
            batch = self._volume.take_batch(PIECE_BYTES)
            if batch is None:
                return
            size = batch.size_bytes
            self._begun_bytes += size
            try:
                with trio.CancelScope(shield=True):
                    await self._workers.write(batch.execute)
            finally:
                self._begun_bytes -= size
                self._written += size
                self._move_on()
                self._volume.end_batch(batch)

    async def _prepare_room(self) -> None:
        """Have the host set room aside before placing data needs it: that would be on the loop."""
        preparation = self._volume.begin_prepare()
        if preparation is None:
            return
        with trio.CancelScope(shield=True):
            await self._workers.write(preparation.execute)
        self._volume.end_prepare(preparation)

    def _move_on(self) -> None:
        self._progress.set()
        self._progress = trio.Event()

    @property
    def full(self) -> bool:
        return self.backlog_bytes > self._dirty_max

    async def throttle(self) -> None:
        """A writer waits here until there is room in memory."""
        if self._releases or not self.full:
            return
        self._throttled += 1
        while self.full and not self._releases and not self._volume.read_only:
            self._wanted.set()
            await self._progress.wait()

    @contextmanager
    def release(self) -> Iterator[None]:
        """Inside, no writer waits for memory."""
        self._releases += 1
        self._move_on()
        try:
            yield
        finally:
            self._releases -= 1

    def statistics(self) -> WritebackStatistics:
        return WritebackStatistics(self.backlog_bytes, self._written, self._throttled)
