"""One verification in work, and how it reads: a few reads at a time, in a worker, with pauses."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from affs_fuse.core.constants import BLOCK_SIZE, NODE_BLOCKS
from affs_fuse.runtime.governor import Governor, RequestTimes
from affs_fuse.runtime.workers import Workers
from affs_fuse.volume.scrub import Batch, Damage, NodeRead, TreeScan
from affs_fuse.volume.scrub_pass import ScrubPass
from affs_fuse.volume.volume import Volume

__all__ = ["MediumReader", "Run"]

Plain = dict[str, Any]


@dataclass(slots=True, eq=False)
class Run:
    """One verification in work. found: its damage as plain values, for those who follow it. moved:
    set, and replaced, whenever there is something new. unnamed: damaged nodes, with their state."""

    scrub: ScrubPass
    governor: Governor
    resumed: bool = False
    found: list[Plain] = field(default_factory=list)
    unnamed: list[tuple[int, Damage]] = field(default_factory=list)
    saved_bytes: int = 0
    result: Plain | None = None
    stop: trio.Event = field(default_factory=trio.Event)
    moved: trio.Event = field(default_factory=trio.Event)

    @property
    def bytes_done(self) -> int:
        totals = self.scrub.totals
        return (totals.nodes * NODE_BLOCKS + totals.data_blocks) * BLOCK_SIZE

    def move(self) -> None:
        self.moved.set()
        self.moved = trio.Event()


class MediumReader:
    """times: of the mount's requests. Loop thread only."""

    def __init__(self, volume: Volume, workers: Workers, times: Callable[[], RequestTimes]) -> None:
        self._volume = volume
        self._workers = workers
        self.times = times

    async def batch(self, scan: TreeScan, scrub: ScrubPass | None) -> list[Damage]:
        """Read what comes next. scrub: whose totals it goes to; None for reading once more."""
        reads = scan.next_reads()
        if not reads:
            await trio.lowlevel.checkpoint()
            return []
        superblock = self._volume.superblock
        batch = Batch(self._volume.device, superblock.format_uuid, superblock.salt, reads)
        await self._workers.check(batch.execute)
        found: list[Damage] = []
        for read, outcome in zip(reads, batch.outcomes, strict=True):
            found += scan.take(read, outcome)
            if isinstance(read, NodeRead):
                await trio.lowlevel.checkpoint()
        if scrub is not None:
            totals = scrub.totals
            totals.nodes += sum(isinstance(read, NodeRead) for read in reads)
            totals.data_blocks += sum(
                read.blocks for read in reads if not isinstance(read, NodeRead)
            )
            totals.damage += len(found)
            totals.unstable += batch.rereads
            if scrub.known is not None:
                scrub.known.note(reads)
        return found

    async def pause(self, run: Run, before: RequestTimes) -> None:
        """After a slice. before: the times at its beginning."""
        between = self.times()
        if run.governor.pause_s:
            with trio.move_on_after(run.governor.pause_s):
                await run.stop.wait()
        else:
            await trio.lowlevel.checkpoint()
        run.governor.turn(between.since(before), self.times().since(between))
