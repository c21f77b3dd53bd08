"""Written data on its way out of memory, ahead of commits: the pre-flush, and the brake on writers.

Data waits in the namespace's write buffers, also while a worker writes it ahead of the commit; what
a cut placed waits in the volume. Together they are the backlog. Invariants:
- The backlog stays below `dirty_max` plus one request for each writer: beyond it writers wait.
- Nobody waits here while the kernel is being told something (`release`): the kernel waits for
  writers.
- What the device refuses ahead of a commit is written elsewhere; a volume that has become read-only
  does not hold writers, they get the error. Nor does one whose host has no room for a commit.
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
from affs_fuse.volume.flights import AheadBatch
from affs_fuse.volume.volume import Volume

__all__ = ["Writeback", "WritebackStatistics"]

_log = logging.getLogger("affs.engine")

PIECE_BYTES = 8 << 20
"""Written by one worker at a time."""

TURN_FILES_MAX = 64
"""Parts of files that get their place, or their items, in one turn of the loop: a millisecond."""

WRITERS = 2
"""One is at the device while the other checksums."""

RETRY_S = 1.0


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
        self._wanted = trio.Event()
        self._progress = trio.Event()
        self._releases = 0
        self._stall: AffsError | None = None
        self._written = 0
        self._throttled = 0

    @property
    def backlog_bytes(self) -> int:
        return self._namespace.dirty_bytes + self._volume.waiting_bytes

    def wake(self) -> None:
        """There is enough to write."""
        self._wanted.set()

    def wake_if_due(self) -> None:
        """Something was written into buffers: begin to write it out if that is enough."""
        waiting = self._namespace.dirty_bytes - self._volume.flights.bytes
        if waiting > self.start_bytes:
            self.wake()

    async def serve(self) -> None:
        """Write while there is enough to write; never returns."""
        async with trio.open_nursery() as nursery:
            for _ in range(WRITERS):
                nursery.start_soon(self._serve)

    async def _serve(self) -> None:
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            try:
                await self.flush(self.start_bytes)
            except AffsError as error:
                _log.error("writing ahead of a commit failed: %s", error.message)
                self._move_on()
                await trio.sleep(RETRY_S)

    async def flush(self, bytes_left: int) -> None:
        """Until at most bytes_left wait in buffers or are still being written. Errors: what placing
        or writing raises."""
        volume, namespace = self._volume, self._namespace
        while namespace.dirty_bytes - volume.flights.bytes > bytes_left and not volume.read_only:
            await self._prepare_room()
            begun = await self._take_off()
            batch = volume.flights.take_batch()
            if batch is not None:
                await self._write(batch)
            elif not begun:
                return

    async def _take_off(self) -> int:
        """Launch a piece; in turns, since small files take longer than their bytes."""
        begun = 0
        while begun < PIECE_BYTES:
            taken = await self._loader.run(
                self._namespace.take_off, PIECE_BYTES - begun, TURN_FILES_MAX
            )
            if not taken:
                break
            begun += taken
            await trio.lowlevel.checkpoint()
        return begun

    async def _write(self, batch: AheadBatch) -> None:
        size = batch.size_bytes
        with trio.CancelScope(shield=True):
            try:
                await self._workers.write(batch.execute)
            finally:
                self._written += size
                self._volume.end_batch(batch)
            while await self._loader.run(self._namespace.land, TURN_FILES_MAX):
                self._move_on()
                await trio.lowlevel.checkpoint()
        self._move_on()
        for refusal in self._volume.flights.take_refusals():
            _log.warning("data is placed elsewhere: %s", refusal.message)
            self._loader.report(refusal)

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
        """A writer waits here until there is room in memory. Errors: what `stall` was told."""
        if self._releases or not self.full:
            return
        self._throttled += 1
        while self.full and not self._releases and not self._volume.read_only:
            if self._stall is not None:
                raise self._stall
            self._wanted.set()
            await self._progress.wait()

    def stall(self, reason: AffsError | None) -> None:
        """Nothing moves on for this reason, or again (None): writers get it instead of waiting."""
        self._stall = reason
        self._move_on()

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
