"""File data on its way to and from the device.

store() gives data its place and checksums at once and keeps it in memory; a worker writes it with
the next commit (WriteBatch.execute), before its record. Until then reads are served from memory.
What is written ahead of a commit goes another way (flights.py). Every byte that comes from a device
is checked against its checksum here; a mismatch is an error, never data.
"""

import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from affs_fuse.core.checksum import block_checksums, first_bad_block
from affs_fuse.core.constants import BLOCK_SHIFT, BLOCK_SIZE
from affs_fuse.device.device import Buffer, Device, device_error
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.layout import block_of, logical, segment_of
from affs_fuse.volume.missing import BlockRead
from affs_fuse.volume.space import Space
from affs_fuse.volume.write_behind import WriteBehind

__all__ = ["DataStore", "Placed", "ReadPlan", "WriteBatch", "write_merged"]

WRITE_MERGED_BYTES_MAX = 8 << 20


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a run of blocks went. checksums: 4 bytes for each block."""

    address: int
    blocks: int
    birth: int
    checksums: bytes


@dataclass(slots=True, eq=False)
class PendingWrite:
    """Blocks that are not on the device yet.

    checksums: of a flight, once they are known. refusal, lost: of a flight, why the device did not
    take it, and whether another place may help. adopted: of a flight, whether a cut counts on it.
    """

    address: int
    blocks: int
    data: memoryview
    offset: int
    checksums: bytes = b""
    refusal: AffsError | None = None
    lost: bool = False
    adopted: bool = False


@dataclass(slots=True, eq=False)
class WriteBatch:
    """Pending writes that one worker writes. done is set when execute() ended, well or not."""

    device: Device
    behind: WriteBehind
    writes: list[PendingWrite]
    done: threading.Event = field(default_factory=threading.Event)
    error: Exception | None = None

    def check(self) -> None:
        """After execute(): raises what a cut that counts on this batch must not pass over."""
        if self.error is not None:
            raise self.error

    @property
    def without_room(self) -> bool:
        """After execute(): whether what a cut counts on failed for want of the host's room alone,
        so that writing it again may help."""
        return isinstance(self.error, AffsError) and self.error.code == "device.no_space"

    def write_again(self) -> None:
        """In a worker, after execute(): the same bytes to the same places."""
        self.error = None
        self.execute()

    @property
    def size_bytes(self) -> int:
        return sum(len(write.data) for write in self.writes)

    def execute(self) -> None:
        """In a worker: write all. The error, if any, is kept for whoever ends the batch: also one
        that nobody expects, since a commit may wait for this batch and must not take it for
        written."""
        try:
            writes: list[tuple[int, Buffer]] = [(write.offset, write.data) for write in self.writes]
            write_merged(self.device, writes)
            self.behind.follow(writes)
        except Exception as error:  # noqa: BLE001 - kept, and raised by whoever ends the batch
            self.error = error
        finally:
            self.done.set()


@dataclass(slots=True, eq=False)
class ReadPlan:
    """Where the blocks of some reads are: bytes at once, or a device offset."""

    device: Device
    reads: list[BlockRead]
    sources: list[bytes | int]
    reader: int

    def execute(self) -> list[bytes]:
        """In a worker: the verified bytes of each read. Errors: device.io, volume.data_corrupt."""
        return [
            source if isinstance(source, bytes) else self._read(read, source)
            for read, source in zip(self.reads, self.sources, strict=True)
        ]

    def attempt(self) -> list[bytes] | None:
        """Without waiting: the same, or None where a read would wait."""
        found: list[bytes] = []
        for read, source in zip(self.reads, self.sources, strict=True):
            if isinstance(source, int):
                data = self.device.try_read(source, read.blocks << BLOCK_SHIFT)
                if data is None:
                    return None
                _verify(self.device, read, source, data)
                found.append(data)
            else:
                found.append(source)
        return found

    def _read(self, read: BlockRead, offset: int) -> bytes:
        data, result = self.device.read(offset, read.blocks << BLOCK_SHIFT)
        if not result.ok:
            raise device_error("reading", self.device.identity, offset, result)
        _verify(self.device, read, offset, data)
        return data


class DataStore:
    """The pending writes of one volume, and the way to blocks. Only the engine's thread calls
    it.
    """

    def __init__(self, device: Device, space: Space) -> None:
        self.device = device
        self.behind = WriteBehind(device)
        self._space = space
        self._by_address: dict[int, PendingWrite] = {}
        self._addresses: list[int] = []
        self._waiting: list[PendingWrite] = []
        self._waiting_bytes = 0
        self._begun: dict[WriteBatch, int] = {}
        self._kept: list[WriteBatch] = []

    @property
    def waiting_bytes(self) -> int:
        """Bytes that no worker has been given yet."""
        return self._waiting_bytes

    @property
    def begun(self) -> Sequence[WriteBatch]:
        return list(self._begun)

    @property
    def oldest_begun(self) -> int | None:
        """cut_count of the space when the oldest batch under way was begun; None: there is none."""
        return min(self._begun.values(), default=None)

    def store(self, data: Buffer, intent: int, birth: int) -> list[Placed]:
        """Give whole blocks a place. `data` must not change afterwards. Errors: volume.no_space."""
        placed: list[Placed] = []
        for write in self.place(data, intent, birth):
            sums = block_checksums(write.data)
            self._add(write)
            placed.append(Placed(write.address, write.blocks, birth, sums))
        return placed

    def place(self, data: Buffer, intent: int, birth: int) -> list[PendingWrite]:
        """Where whole blocks go, and nothing more. Errors: volume.no_space, device.no_space."""
        view = memoryview(data).cast("B")
        assert len(view) % BLOCK_SIZE == 0, "whole blocks only"
        writes: list[PendingWrite] = []
        at = 0
        runs = self._space.allocate_data(intent, len(view) >> BLOCK_SHIFT, birth)
        for segment, first, count in runs:
            part = view[at << BLOCK_SHIFT : (at + count) << BLOCK_SHIFT]
            address = logical(segment, first)
            writes.append(PendingWrite(address, count, part, self.offset_of(address)))
            at += count
        return writes

    def adopt(self, write: PendingWrite, *, begun: bool) -> None:
        """Serve reads from this write until its batch has ended. begun: it is in a batch; else it
        joins the next one."""
        if begun:
            self._serve(write)
        else:
            self._add(write)

    def write_block(self, offset: int, image: bytes) -> None:
        """Queue one structure (a segment header) that is not read through this store."""
        self._waiting.append(PendingWrite(-1, 0, memoryview(image), offset))
        self._waiting_bytes += len(image)

    def take_batch(self, bytes_max: int | None = None) -> WriteBatch | None:
        """Waiting writes for a worker, oldest first; None if there is nothing."""
        if not self._waiting:
            return None
        count, size = 0, 0
        for write in self._waiting:
            if bytes_max is not None and count and size + len(write.data) > bytes_max:
                break
            count, size = count + 1, size + len(write.data)
        batch = WriteBatch(self.device, self.behind, self._waiting[:count])
        del self._waiting[:count]
        self._waiting_bytes -= size
        self.begin(batch)
        return batch

    def begin(self, batch: WriteBatch) -> None:
        """A worker is about to write it: cuts wait for it, and what is freed meanwhile is not used
        again before it has ended."""
        self._begun[batch] = self._space.cut_count

    def end_batch(self, batch: WriteBatch) -> None:
        """The batch was executed; its blocks are read from the device from now on. Raises its
        error. Where the host had no room it goes on: the next cut writes it again, and end_kept()
        comes after that.
        """
        if batch.without_room:
            self._kept.append(batch)
            return
        del self._begun[batch]
        batch.check()
        for write in batch.writes:
            if self._by_address.get(write.address) is write:
                del self._by_address[write.address]
        self._addresses = sorted(self._by_address)

    def end_kept(self) -> None:
        """A cut is durable, and so is what it counted on: what was kept for it has ended."""
        kept, self._kept = self._kept, []
        for batch in kept:
            self.end_batch(batch)

    def plan(self, reads: list[BlockRead]) -> ReadPlan:
        """Where these blocks are now; execute the plan in a worker, or attempt it."""
        sources = [self._source(read) for read in reads]
        return ReadPlan(self.device, reads, sources, self._space.cut_count)

    def offset_of(self, address: int) -> int:
        """Device offset of a logical address. Errors: volume.address (no such segment or block)."""
        segment = self._space.segments.get(segment_of(address))
        block = block_of(address)
        if segment is None or block >= self._space.geometry.segment_blocks:
            raise AffsError(
                "volume.address",
                Category.CORRUPT,
                f"an address names block {block} of segment {segment_of(address)}: not there",
                hint="run fsck.affs on the unmounted volume",
            )
        return self._space.geometry.place_offset(segment.place) + (block << BLOCK_SHIFT)

    def _add(self, write: PendingWrite) -> None:
        self._serve(write)
        self._waiting.append(write)
        self._waiting_bytes += len(write.data)

    def _serve(self, write: PendingWrite) -> None:
        self._by_address[write.address] = write
        if self._addresses and write.address < self._addresses[-1]:
            self._addresses.insert(bisect_right(self._addresses, write.address), write.address)
        else:
            self._addresses.append(write.address)

    def _source(self, read: BlockRead) -> bytes | int:
        index = bisect_right(self._addresses, read.address) - 1
        if index >= 0:
            write = self._by_address[self._addresses[index]]
            first = read.address - write.address
            if first + read.blocks <= write.blocks:
                return bytes(
                    write.data[first << BLOCK_SHIFT : (first + read.blocks) << BLOCK_SHIFT]
                )
        return self.offset_of(read.address)


def write_merged(device: Device, writes: list[tuple[int, Buffer]]) -> None:
    """Write all, in order of offset, neighbours in one call. Errors: device.io, device.no_space."""
    ordered = sorted(writes, key=lambda write: write[0])
    group: list[Buffer] = []
    start = end = 0
    for offset, data in ordered:
        if group and (offset != end or end - start >= WRITE_MERGED_BYTES_MAX):
            _write(device, start, group)
            group = []
        if not group:
            start = end = offset
        group.append(data)
        end += len(data)
    if group:
        _write(device, start, group)


def _write(device: Device, offset: int, buffers: list[Buffer]) -> None:
    result = device.write(offset, buffers)
    if not result.ok:
        raise device_error("writing", device.identity, offset, result)


def _verify(device: Device, read: BlockRead, offset: int, data: bytes) -> None:
    bad = first_bad_block(data, read.checksums)
    if bad is None:
        return
    block = block_of(read.address) + bad
    raise AffsError(
        "volume.data_corrupt",
        Category.CORRUPT,
        f"block {block} of segment {segment_of(read.address)} does not match its checksum"
        f" (byte {offset + (bad << BLOCK_SHIFT)} of {device.identity.path})",
        hint="restore the file from a kept state or a copy; fsck.affs --data finds all such blocks",
        details={"segment": segment_of(read.address), "block": block, "object": read.object},
    )
