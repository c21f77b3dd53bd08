"""Data of regular files in one state: reading, writing, truncating, and giving buffered data its
place.

architecture.md, "Three walks". A file's bytes are in its write buffer, in an INLINE item (up to 2
KiB, while the whole file fits), in extents, or nowhere (holes). Invariants:

- What the write buffer holds no item holds: a write cuts the blocks it makes dirty out of the
  items at once (dropping them), and moves inline bytes into the buffer. So flushing only adds
  items.
- A block that a write covers in part gets its old bytes into the buffer first; they are loaded
  before anything changes, so that flushing never needs the device.
- Items beyond the size are what a truncation left for later steps (`tails`, and an ORPHAN item of
  a file that still has names): they are cut out before the size grows over them, and never read.
- Every dirty block is reserved in the volume; flushing, truncating and removing give that back.
- Before a dirty block changes, what is being written of it ahead of the cut is called back
  (placing.py).
- inode.blocks counts the blocks of extent items; dirty ones come on top when it is reported.

An object of this class serves one state. Between a rollback's switch and its seal there are two of
them: writes of files that differ still go to the abandoned one.
"""

from typing import NamedTuple

from affs_fuse.core.checksum import CHECKSUM_SIZE, Buffer
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    INLINE_MAX,
    ITEM_INLINE,
    ITEM_ORPHAN,
    OBJECT_ORPHANS,
)
from affs_fuse.posix import inodes
from affs_fuse.posix.extents import OFFSET_END, Edits, Piece, overlapping
from affs_fuse.posix.loaded_blocks import LoadedBlocks
from affs_fuse.posix.placing import Placing
from affs_fuse.posix.write_buffer import WriteBuffer, assemble
from affs_fuse.volume.missing import BlockRead, DataMissing
from affs_fuse.volume.reserve import RoomKind
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = ["BlockCut", "FileData", "Truncation", "WritePlan"]

TRUNCATE_ITEMS_MAX = 256
"""Extents that one operation takes away; the rest goes in later steps, so that no turn is long."""
RANGES_MAX = 1024
"""Extents that one look for data and holes passes."""
LOADED_BYTES_MAX = 64 << 20
"""Enough for every read of 1 MiB that 64 tasks may have under way; beyond it the oldest go."""
LAST_BLOCKS_BYTES_MAX = 1 << 20
"""The last blocks of 256 files: who writes a log line, syncs it and goes on needs no read."""
_MASK = BLOCK_SIZE - 1


class WritePlan(NamedTuple):
    """A write whose look-ups are done. old: (offset, bytes) to put into the buffer before the
    data.
    """

    number: int
    offset: int
    data: Buffer
    old: list[tuple[int, Buffer]]
    new_blocks: int
    edits: Edits | None
    drop_inline: bool


class Truncation(NamedTuple):
    """A change of size whose look-ups are done.

    inline: the new INLINE payload, b"" to delete the item, None to leave it. buffered: inline
    bytes that move to the write buffer because the file outgrows them. tail: whether extents
    beyond the size remain for later steps (None: as before); mark: whether to put or delete the
    ORPHAN item that says so.
    """

    number: int
    size: int
    edits: Edits | None = None
    inline: bytes | None = None
    buffered: bytes | None = None
    tail: bool | None = None
    mark: bool | None = None


class BlockCut(NamedTuple):
    """Whole blocks [start, end), as offsets, that a file is to lose. end: perhaps nearer than was
    asked for."""

    number: int
    start: int
    end: int
    edits: Edits


class FileData:
    """File data of one state. Only the engine's thread calls it."""

    def __init__(self, volume: Volume, state: WorkingState) -> None:
        self._volume = volume
        self._state = state
        self._tree = state.tree
        self._loaded = LoadedBlocks(LOADED_BYTES_MAX)
        self._last_blocks = LoadedBlocks(LAST_BLOCKS_BYTES_MAX)
        self._placing = Placing(volume, state.tree, self._last_blocks)
        self._buffers = self._placing.buffers
        self.tails: set[int] | None = None
        """Files that may have extents beyond their size; None before it is known: then any may."""

    @property
    def placing(self) -> Placing:
        """The way of what is buffered here to its place."""
        return self._placing

    # ---- figures ----

    @property
    def dirty_bytes(self) -> int:
        """Bytes of the blocks that wait in write buffers."""
        return self._placing.dirty_blocks << BLOCK_SHIFT

    def buffered_blocks(self, number: int) -> int:
        buffer = self._buffers.get(number)
        return buffer.blocks if buffer is not None else 0

    def buffered_files(self) -> list[int]:
        """Files with buffered data, the longest waiting first."""
        return list(self._buffers)

    # ---- reading ----

    def read(self, number: int, inode: Inode, offset: int, size: int) -> bytes:
        """At most `size` bytes; fewer only at the end of the file. Errors: NodeMissing,
        DataMissing.
        """
        end = min(offset + size, inode.size)
        if offset >= end:
            return b""
        buffer = self._buffers.get(number)
        known: list[tuple[int, Buffer]] = buffer.parts(offset, end) if buffer is not None else []
        if buffer is None and inode.size <= INLINE_MAX and not inode.blocks:
            inline = self._tree.get(number, ITEM_INLINE, 0)
            if inline is not None:
                known = [(offset, inline[offset:end])]
        if inode.blocks:
            known += self._read_extents(number, _gaps(known, offset, end))
            known.sort(key=_offset_of)
        return assemble(known, offset, end)

    def _read_extents(self, number: int, gaps: list[tuple[int, int]]) -> list[tuple[int, Buffer]]:
        wanted: list[tuple[int, int, int, BlockRead]] = []
        for start, end in gaps:
            for piece in overlapping(self._tree, number, start, end):
                first, last = max(start, piece.offset), min(end, piece.data_end)
                if first < last:
                    begin = (first - piece.offset) >> BLOCK_SHIFT
                    beyond = (last - piece.offset + _MASK) >> BLOCK_SHIFT
                    at = piece.offset + (begin << BLOCK_SHIFT)
                    wanted.append((first, last, at, _block_read(number, piece, begin, beyond)))
        found: list[tuple[int, Buffer]] = []
        for (first, last, at, _), data in zip(
            wanted, self.take_loaded([read for _, _, _, read in wanted]), strict=True
        ):
            whole = first == at and last - at == len(data)
            found.append((first, data if whole else memoryview(data)[first - at : last - at]))
        return found

    def take_loaded(self, reads: list[BlockRead]) -> list[bytes]:
        """The loaded blocks. Errors: DataMissing, unless all of them are there."""
        loaded, last = self._loaded, self._last_blocks
        missing = [read for read in reads if not (loaded.has(read) or last.has(read))]
        if missing:
            raise DataMissing(missing, loaded.receiver(missing), self._tree)
        return [(loaded if loaded.has(read) else last).take(read) for read in reads]

    # ---- writing ----

    def plan_write(self, number: int, inode: Inode, offset: int, data: Buffer) -> WritePlan:
        """All look-ups of a write of at least one byte. Changes nothing. Errors: NodeMissing,
        DataMissing.
        """
        end = offset + len(data)
        first, last = offset >> BLOCK_SHIFT, (end + _MASK) >> BLOCK_SHIFT
        buffer = self._buffers.get(number)
        if buffer is not None:
            clean = buffer.clean_ranges(first, last)
            if not clean:
                return WritePlan(number, offset, data, [], 0, None, False)
        else:
            clean = [(first, last)]
        new_blocks = sum(beyond - begin for begin, beyond in clean)
        if not inode.blocks:
            return self._plan_write_small(number, inode, offset, data, new_blocks)
        if offset > inode.size and self._may_have_tail(number):
            clean[0] = (min(first, (inode.size + _MASK) >> BLOCK_SHIFT), clean[0][1])
        edits = Edits()
        partial: list[BlockRead] = []
        places: list[tuple[int, int]] = []
        for begin, beyond in clean:
            start, limit = begin << BLOCK_SHIFT, beyond << BLOCK_SHIFT
            for piece in overlapping(self._tree, number, start, limit):
                valid_end = min(piece.data_end, inode.size)
                for block in _partly_covered(piece, start, limit, valid_end, offset, end):
                    index = block - (piece.offset >> BLOCK_SHIFT)
                    partial.append(_block_read(number, piece, index, index + 1))
                    at = block << BLOCK_SHIFT
                    places.append((at, min(BLOCK_SIZE, valid_end - at)))
                edits.cut(piece, start, limit)
        edits.touch(self._tree, number)
        old: list[tuple[int, Buffer]] = [
            (at, block[:valid])
            for (at, valid), block in zip(places, self.take_loaded(partial), strict=True)
        ]
        return WritePlan(number, offset, data, old, new_blocks, edits if edits else None, False)

    def _plan_write_small(
        self, number: int, inode: Inode, offset: int, data: Buffer, new_blocks: int
    ) -> WritePlan:
        """A file without extents: its inline bytes, if it has any, move to the buffer."""
        inline = None
        if 0 < inode.size <= INLINE_MAX and number not in self._buffers:
            inline = self._tree.get(number, ITEM_INLINE, 0)
        if inline is None:
            return WritePlan(number, offset, data, [], new_blocks, None, False)
        if offset >= BLOCK_SIZE:
            new_blocks += 1
        return WritePlan(number, offset, data, [(0, inline)], new_blocks, None, True)

    def _may_have_tail(self, number: int) -> bool:
        return self.tails is None or number in self.tails

    def reserve(self, blocks: int) -> None:
        """Errors: volume.no_space, volume.read_only."""
        if blocks:
            self._volume.reserve_data(blocks)

    def write(self, plan: WritePlan, append: bool) -> int:
        """Apply a plan; plan.new_blocks were reserved. How many blocks the extents lost."""
        number, new_blocks = plan.number, plan.new_blocks
        dropped = self._apply(number, plan.edits) if plan.edits is not None else 0
        if plan.drop_inline:
            self._tree.delete(number, ITEM_INLINE, 0)
        buffer = self._buffers.get(number)
        if buffer is None:
            buffer = self._buffers[number] = WriteBuffer()
        self._placing.call_back(number, plan.offset, plan.offset + len(plan.data))
        for offset, data in plan.old:
            buffer.write(offset, data, 0)
        buffer.write(plan.offset, plan.data, new_blocks)
        buffer.append |= append
        self._placing.dirty_blocks += new_blocks
        return dropped

    def _apply(self, number: int, edits: Edits) -> int:
        for address, blocks, birth in edits.apply(self._tree, number):
            self._volume.drop_blocks(address, blocks, birth, self._state)
        return edits.dropped_blocks

    # ---- holes ----

    def data_ranges(
        self, number: int, inode: Inode, start: int, end: int
    ) -> tuple[list[tuple[int, int]], int]:
        """(ranges, searched): where whole blocks of [start, end) have data, in order, up to
        `searched`: not further than the answer is short. Of a file with inline bytes alone it says
        nothing. Errors: NodeMissing.
        """
        first, beyond = start >> BLOCK_SHIFT, (end + _MASK) >> BLOCK_SHIFT
        found: list[tuple[int, int]] = []
        if inode.blocks:
            pieces = overlapping(self._tree, number, start, end, RANGES_MAX + 1)
            if len(pieces) > RANGES_MAX:
                beyond = pieces.pop().offset >> BLOCK_SHIFT
            for piece in pieces:
                found.append((piece.offset >> BLOCK_SHIFT, piece.span_end >> BLOCK_SHIFT))
        buffer = self._buffers.get(number)
        if buffer is not None:
            at = first
            for begin, clean_end in [*buffer.clean_ranges(first, beyond), (beyond, beyond)]:
                if begin > at:
                    found.append((at, begin))
                at = clean_end
            found.sort()
        ranges = [(low << BLOCK_SHIFT, high << BLOCK_SHIFT) for low, high in found]
        return ranges, beyond << BLOCK_SHIFT

    def plan_cut(self, number: int, start: int, end: int) -> BlockCut:
        """Look-ups of taking the blocks [start, end) out, or as many as one turn may. Changes
        nothing. Errors: NodeMissing.
        """
        edits = Edits()
        pieces = overlapping(self._tree, number, start, end, TRUNCATE_ITEMS_MAX + 1)
        if len(pieces) > TRUNCATE_ITEMS_MAX:
            end = pieces.pop().offset
        for piece in pieces:
            edits.cut(piece, start, end)
        edits.touch(self._tree, number)
        return BlockCut(number, start, end, edits)

    def cut(self, plan: BlockCut) -> int:
        """Apply a plan. How many blocks the extents lost."""
        dropped = self._apply(plan.number, plan.edits)
        buffer = self._buffers.get(plan.number)
        if buffer is not None:
            self._placing.call_back(plan.number, plan.start, plan.end)
            self._placing.give_back(buffer.cut(plan.start, plan.end))
            if not buffer.blocks:
                del self._buffers[plan.number]
        return dropped

    # ---- truncating ----

    def plan_truncate(
        self, number: int, inode: Inode, size: int, items_max: int = TRUNCATE_ITEMS_MAX
    ) -> Truncation:
        """All look-ups of a change of size, which takes away at most so many items. Changes
        nothing. Errors: NodeMissing."""
        if not inode.blocks:
            return self._plan_truncate_small(number, inode, size)
        edits = Edits()
        if size >= inode.size:
            if size > inode.size and self._may_have_tail(number):
                start, end = _round_up(inode.size), _round_up(size)
                for piece in overlapping(self._tree, number, start, end):
                    edits.cut(piece, start, end)
                edits.touch(self._tree, number)
            return Truncation(number, size, edits)
        start = size & ~_MASK
        pieces = overlapping(self._tree, number, start, OFFSET_END, items_max + 1)
        for piece in pieces[:items_max]:
            if piece.offset >= size:
                edits.remove(piece)
            else:
                edits.shorten(piece, size)
        edits.touch(self._tree, number)
        tail = len(pieces) > items_max
        return Truncation(number, size, edits, tail=tail, mark=self._plan_mark(number, inode, tail))

    def _plan_mark(self, number: int, inode: Inode, tail: bool) -> bool | None:
        """A file without names has its ORPHAN item for that reason already."""
        if not inode.nlink:
            return None
        marked = self._may_have_tail(number) and (
            self._tree.get(OBJECT_ORPHANS, ITEM_ORPHAN, number) is not None
        )
        if tail == marked:
            return None
        self._tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
        return tail

    def _plan_truncate_small(self, number: int, inode: Inode, size: int) -> Truncation:
        """A file without extents: inline bytes are cut, or move to the buffer."""
        if not 0 < inode.size <= INLINE_MAX or number in self._buffers:
            return Truncation(number, size)
        held = self._tree.get(number, ITEM_INLINE, 0)
        if held is not None and size > INLINE_MAX:
            return Truncation(number, size, inline=b"", buffered=held)
        if held is not None and size < len(held):
            return Truncation(number, size, inline=held[:size])
        return Truncation(number, size)

    def truncate(self, plan: Truncation) -> int:
        """Apply a plan; a block was reserved if it has `buffered`. How many blocks the extents
        lost.
        """
        number, size = plan.number, plan.size
        dropped = 0
        if plan.edits is not None:
            dropped = self._apply(number, plan.edits)
            self._set_tail(number, plan.tail, plan.mark)
        if plan.inline:
            self._tree.put(number, ITEM_INLINE, 0, plan.inline)
        elif plan.inline is not None:
            self._tree.delete(number, ITEM_INLINE, 0)
        buffer = self._buffers.get(number)
        if plan.buffered is not None:
            buffer = self._buffers[number] = WriteBuffer()
            buffer.write(0, plan.buffered, 1)
            self._placing.dirty_blocks += 1
        elif buffer is not None:
            self._placing.call_back(number, size, OFFSET_END)
            self._placing.give_back(buffer.truncate(size))
            if not buffer.blocks:
                del self._buffers[number]
        return dropped

    def _set_tail(self, number: int, tail: bool | None, mark: bool | None) -> None:
        if mark:
            self._tree.put(OBJECT_ORPHANS, ITEM_ORPHAN, number, b"")
        elif mark is not None:
            self._tree.delete(OBJECT_ORPHANS, ITEM_ORPHAN, number)
        if self.tails is not None and tail is not None:
            if tail:
                self.tails.add(number)
            else:
                self.tails.discard(number)

    def cut_tail(self, number: int) -> None:
        """Remove a bounded part of what a truncation left beyond the size, and at the end the mark.

        Errors: ESTALE; NodeMissing; volume.no_space, volume.read_only.
        """
        inode = inodes.load(self._tree, number)
        edits = Edits()
        start = _round_up(inode.size)
        pieces = overlapping(self._tree, number, start, OFFSET_END, TRUNCATE_ITEMS_MAX + 1)
        for piece in pieces[:TRUNCATE_ITEMS_MAX]:
            edits.remove(piece)
        edits.touch(self._tree, number)
        tail = len(pieces) > TRUNCATE_ITEMS_MAX
        mark = self._plan_mark(number, inode, tail)
        self._volume.reserve_metadata(RoomKind.REMOVE)
        dropped = self._apply(number, edits)
        self._set_tail(number, tail, mark)
        if dropped:
            inodes.save(self._tree, number, inode._replace(blocks=inode.blocks - dropped))

    def discard(self, number: int) -> None:
        """Forget what is buffered of a file that goes."""
        self._placing.call_back(number, 0, OFFSET_END)
        buffer = self._buffers.pop(number, None)
        if buffer is not None:
            self._placing.give_back(buffer.blocks)


def _block_read(number: int, piece: Piece, first: int, last: int) -> BlockRead:
    """Blocks [first, last) of an item of an object."""
    return BlockRead(
        piece.extent.address + first,
        last - first,
        piece.checksums[first * CHECKSUM_SIZE : last * CHECKSUM_SIZE],
        number,
    )


def _partly_covered(
    piece: Piece, start: int, limit: int, valid_end: int, offset: int, end: int
) -> list[int]:
    """Blocks of an item, in [start, limit) and with bytes before valid_end, of which a write of
    [offset, end) leaves some of these bytes as they are."""
    low, high = max(piece.offset, start), min(piece.span_end, limit)
    found = []
    first = offset & ~_MASK
    if low <= first < high and first < offset and first < valid_end:
        found.append(first >> BLOCK_SHIFT)
    last = end & ~_MASK
    if low <= last < high and last < end < valid_end and last >> BLOCK_SHIFT not in found:
        found.append(last >> BLOCK_SHIFT)
    return found


def _round_up(offset: int) -> int:
    return (offset + _MASK) & ~_MASK


def _offset_of(part: tuple[int, Buffer]) -> int:
    return part[0]


def _gaps(known: list[tuple[int, Buffer]], offset: int, end: int) -> list[tuple[int, int]]:
    """The ranges of [offset, end) that the parts, which are in order, leave open."""
    gaps = []
    for start, data in known:
        if start > offset:
            gaps.append((offset, start))
        offset = start + len(data)
    if offset < end:
        gaps.append((offset, end))
    return gaps
