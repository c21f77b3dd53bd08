"""Data that is written ahead of its cut: in the air until its items are in the tree.

disk-layout.md, "Commit": a data write that fails before the cut is placed elsewhere. So what is
written before its cut keeps its place in the write buffer, and no item refers to it, until a worker
has written it. Invariants:
- A flight ends once: it lands (its blocks may be referred to), is adopted by a cut that comes
  while it is being written, or is given back. Who owns it puts the items, or does not.
- When a cut records the space in use, every flight has ended: the owner adopts or gives back all.
- Checksums are computed by the worker that writes; by the loop only for a flight that is adopted.
- Blocks that the device refused are not given out again until the volume is opened anew.
"""

import mmap
from collections.abc import Callable

from affs_fuse.core.checksum import CHECKSUM_SIZE, block_checksums, copy_blocks
from affs_fuse.core.constants import BLOCK_SHIFT, BLOCK_SIZE
from affs_fuse.device.device import Buffer, DirectDevice, Outcome, Result, device_error
from affs_fuse.device.direct_writer import BUFFER_BYTES
from affs_fuse.errors import AffsError
from affs_fuse.volume.data import DataStore, PendingWrite, Placed, WriteBatch, write_merged
from affs_fuse.volume.space import Space

__all__ = ["QUARANTINE_BLOCKS_MAX", "AheadBatch", "Flight", "Flights"]

DIRECT_BYTES_MIN = 256 << 10
"""Shorter runs are left to the host's cache: they are likely to be read again."""

QUARANTINE_BLOCKS_MAX = (64 << 20) // BLOCK_SIZE
"""A device that refuses more than this is failing as a whole; the volume is read-only then."""


class AheadBatch(WriteBatch):
    """Flights that one worker writes. `error` is set for what no other place would help."""

    def execute(self) -> None:
        try:
            rest = self._write_direct()
            for write in rest:
                write.checksums = block_checksums(write.data)
            try:
                write_merged(self.device, [(write.offset, write.data) for write in rest])
            except AffsError:
                for write in rest:
                    self._note(write, self.device.write(write.offset, [write.data]))
            written = [write for write in rest if write.refusal is None]
            self.behind.follow([(write.offset, write.data) for write in written])
        except Exception as error:  # noqa: BLE001 - kept, and raised by whoever ends the batch
            self.error = error
        finally:
            self.done.set()

    def _write_direct(self) -> list[PendingWrite]:
        """Long runs of neighbours, past the host's cache where that is possible; what is left."""
        rest: list[PendingWrite] = []
        for run in _neighbours(self.writes):
            device = self.device
            long = run[-1].offset + len(run[-1].data) - run[0].offset >= DIRECT_BYTES_MIN
            buffer = None
            if long and isinstance(device, DirectDevice):
                buffer = device.borrow_buffer()
            if buffer is None:
                rest += run
                continue
            assert isinstance(device, DirectDevice)
            try:
                self._write_run(device, run, buffer)
            finally:
                device.give_buffer_back(buffer)
        return rest

    def _write_run(
        self, device: DirectDevice, run: list[PendingWrite], buffer: mmap.mmap
    ) -> None:
        length = 0
        with memoryview(buffer) as view:
            for write in run:
                with view[length:] as target:
                    write.checksums = copy_blocks(write.data, target)
                length += len(write.data)
        result = device.write_direct(run[0].offset, buffer, length)
        if not result.ok and len(run) > 1:  # learn which of them the device refuses
            for write in run:
                self._write_run(device, [write], buffer)
        else:
            self._note(run[0], result)

    def _note(self, write: PendingWrite, result: Result) -> None:
        if not result.ok:
            write.refusal = device_error("writing", self.device.identity, write.offset, result)
            write.lost = result.outcome is not Outcome.NO_SPACE

    def check(self) -> None:
        super().check()
        for write in self._refused():
            assert write.refusal is not None
            raise write.refusal

    @property
    def without_room(self) -> bool:
        refused = self._refused()
        return self.error is None and bool(refused) and not any(write.lost for write in refused)

    def write_again(self) -> None:
        for write in self._refused():
            write.refusal = None
            self._note(write, self.device.write(write.offset, [write.data]))
            if write.refusal is None:
                self.behind.follow([(write.offset, write.data)])

    def _refused(self) -> list[PendingWrite]:
        """Those that a cut counts on."""
        return [write for write in self.writes if write.refusal is not None and write.adopted]


def _neighbours(writes: list[PendingWrite]) -> list[list[PendingWrite]]:
    """Runs of writes that follow each other, in order of offset, each at most BUFFER_BYTES."""
    runs: list[list[PendingWrite]] = []
    end = size = 0
    for write in sorted(writes, key=lambda write: write.offset):
        if not runs or write.offset != end or size + len(write.data) > BUFFER_BYTES:
            runs.append([])
            size = 0
        runs[-1].append(write)
        size += len(write.data)
        end = write.offset + len(write.data)
    return runs


class Flight:
    """One run of buffered data under way. birth: of its blocks."""

    __slots__ = ("batch", "birth", "ended", "writes")

    def __init__(self, writes: list[PendingWrite], birth: int) -> None:
        self.writes = writes
        self.birth = birth
        self.batch: AheadBatch | None = None
        self.ended = False

    @property
    def written(self) -> bool:
        """A worker is done with it, well or not."""
        return self.batch is not None and self.batch.done.is_set()

    @property
    def blocks(self) -> int:
        return sum(write.blocks for write in self.writes)


class Flights:
    """Of one volume; loop thread only. fail: called with the reason when the device refuses too
    much."""

    def __init__(self, data: DataStore, space: Space, fail: Callable[[str], None]) -> None:
        self._data = data
        self._space = space
        self._fail = fail
        self._launched: list[Flight] = []
        self._refusals: list[AffsError] = []
        self._blocks = 0

    @property
    def bytes(self) -> int:
        """Of flights that have not ended."""
        return self._blocks << BLOCK_SHIFT

    def launch(self, data: Buffer, intent: int, birth: int) -> Flight:
        """Give whole blocks a place; they are written by whoever takes the batch. `data` must not
        change until the flight has ended. The reservation stays the owner's. Errors:
        volume.no_space, device.no_space."""
        flight = Flight(self._data.place(data, intent, birth), birth)
        self._launched.append(flight)
        self._blocks += flight.blocks
        return flight

    def take_batch(self) -> AheadBatch | None:
        """What was launched, for a worker. Volume.end_batch() comes after its execute()."""
        flights, self._launched = self._launched, []
        if not flights:
            return None
        batch = AheadBatch(
            self._data.device, self._data.behind, [w for flight in flights for w in flight.writes]
        )
        for flight in flights:
            flight.batch = batch
        self._data.begin(batch)
        return batch

    def land(self, flight: Flight) -> list[Placed] | None:
        """It was written: where its blocks are. None where the device refused some of it: all its
        blocks are given back then, and the data has to be launched again.

        Errors: device.no_space (given back too); device.io, when the device refuses too much.
        """
        assert flight.written
        failed = [write for write in flight.writes if write.refusal is not None]
        if not failed:
            return self._end(flight)
        self.give_back(flight)
        refusal = failed[0].refusal
        assert refusal is not None
        if any(not write.lost for write in failed):
            raise refusal
        self._refusals.append(refusal)
        if self._space.quarantined_blocks > QUARANTINE_BLOCKS_MAX:
            self._fail(f"too many places refuse to be written: {refusal.message}")
            raise refusal
        return None

    def adopt(self, flight: Flight) -> list[Placed] | None:
        """A cut comes: the same without waiting for the write, which is the cut's own from here on.
        None and errors: as land()."""
        if flight.written:
            return self.land(flight)
        if flight.batch is None:
            self._launched.remove(flight)
        for write in flight.writes:
            write.adopted = True
            write.checksums = write.checksums or block_checksums(write.data)
            self._data.adopt(write, begun=flight.batch is not None)
        return self._end(flight)

    def give_back(self, flight: Flight) -> None:
        """Nobody will refer to its blocks: they are held back like freed ones, until their write
        has ended too; those that failed, until the volume is opened again."""
        assert not flight.ended
        if flight.batch is None:
            self._launched.remove(flight)
        self._end(flight)
        for write in flight.writes:
            if flight.written and write.lost:
                self._space.quarantine(write.address, write.blocks)
            else:
                self._space.free(write.address, write.blocks)

    def take_refusals(self) -> list[AffsError]:
        """What the device refused since the last call, for the log."""
        refusals, self._refusals = self._refusals, []
        return refusals

    def _end(self, flight: Flight) -> list[Placed]:
        assert not flight.ended
        flight.ended = True
        self._blocks -= flight.blocks
        for write in flight.writes:
            assert len(write.checksums) in (0, write.blocks * CHECKSUM_SIZE)
        return [
            Placed(write.address, write.blocks, flight.birth, write.checksums)
            for write in flight.writes
        ]
