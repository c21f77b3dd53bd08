"""Giving buffered data of one state its place: ahead of the cut, or in the cut's turn.

docs/internals/commit.md, "One commit"; volume/flights.py. Invariants:
- Blocks that are written ahead of the cut stay dirty until `land` has put their items; whoever
  changes one of them calls the whole part back first, and its place is given back.
- Flushing needs nothing from the device: blocks in part were completed when they were buffered.
"""

from collections.abc import Callable

from affs_fuse.core.checksum import CHECKSUM_SIZE, Buffer
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    INLINE_MAX,
    INTENT_APPEND,
    INTENT_LARGE,
    INTENT_MEDIUM,
    INTENT_SMALL,
    ITEM_EXTENT,
    ITEM_INLINE,
)
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError
from affs_fuse.posix import inodes
from affs_fuse.posix.aloft import Aloft, AloftTable
from affs_fuse.posix.extents import extent_payload
from affs_fuse.posix.loaded_blocks import LoadedBlocks
from affs_fuse.posix.write_buffer import WHOLE_BYTES_MIN, WriteBuffer, assemble
from affs_fuse.volume.data import Placed
from affs_fuse.volume.flights import Flight
from affs_fuse.volume.missing import BlockRead
from affs_fuse.volume.volume import Volume

__all__ = ["Placing"]

SMALL_FILE_BYTES = 64 << 10
MEDIUM_FILE_BYTES = 1 << 20
_MASK = BLOCK_SIZE - 1


class Placing:
    """buffers: by file number, the longest waiting first. dirty_blocks: theirs together.
    last_blocks: keeps blocks that are full in part, for an append to come."""

    def __init__(self, volume: Volume, tree: Tree, last_blocks: LoadedBlocks) -> None:
        self.buffers: dict[int, WriteBuffer] = {}
        self.dirty_blocks = 0
        self._volume = volume
        self._tree = tree
        self._last_blocks = last_blocks
        self._aloft = AloftTable()

    def give_back(self, blocks: int) -> None:
        if blocks:
            self.dirty_blocks -= blocks
            self._volume.release_data(blocks)

    # ---- writing ahead of the cut ----

    def take_off(self, number: int, bytes_max: int) -> int:
        """Launch about `bytes_max` of a file's buffered data; what fits its inode is put there. How
        many bytes that was. Errors: NodeMissing; volume.no_space, device.no_space (what was
        launched before stays so); volume.read_only; MemoryError."""
        buffer = self.buffers[number]
        if self._aloft.blocks(number) == buffer.blocks:
            return 0
        inode = inodes.load(self._tree, number)
        if inode.size <= INLINE_MAX and not inode.blocks:
            self._flush_inline(number, buffer)
            return BLOCK_SIZE
        intent = _intent(inode, buffer)
        begun = 0
        self._volume.begin_change()  # places are taken: half of that must not be gone on with
        try:
            for first, run, length in buffer.runs(self._aloft.ranges(number)):
                if begun >= bytes_max:
                    break
                data = _without_tail(run, length)
                flight = self._volume.flights.launch(data, intent, self._volume.generation)
                last = first + flight.blocks
                length = min(length, len(data))
                self._aloft.add(number, Aloft(first, last, data, length, intent, flight))
                begun += len(data)
        finally:
            buffer.settle()
        return begun

    def land(self, count_max: int) -> int:
        """Put the items of parts that were written, at most `count_max`; how many. What the device
        refused stays buffered. Errors: NodeMissing (call again); device.no_space, device.io."""
        count = 0
        for number in self._aloft.numbers():
            for part in self._aloft.of(number):
                if count >= count_max:
                    return count
                if part.flight.written:
                    self._put_down(number, part, self._volume.flights.land)
                    count += 1
        return count

    def _put_down(
        self, number: int, part: Aloft, end: Callable[[Flight], list[Placed] | None]
    ) -> None:
        inode = inodes.load(self._tree, number)
        self._tree.touch(number, ITEM_EXTENT, part.first << BLOCK_SHIFT)
        self._tree.touch(number, ITEM_EXTENT, (part.last - 1) << BLOCK_SHIFT)
        self._volume.begin_change()
        self._aloft.remove(number, part)
        placed = end(part.flight)
        if placed is None:
            return
        offset = part.first << BLOCK_SHIFT
        blocks = self._put_extents(number, offset, part.length, part.data, placed)
        inodes.save(
            self._tree, number,
            inode._replace(blocks=inode.blocks + blocks, data_kind=part.intent),
        )
        buffer = self.buffers[number]
        buffer.forget_blocks(part.first, part.last)
        self.give_back(blocks)
        if not buffer.blocks:
            del self.buffers[number]

    def call_back(self, number: int, start: int, end: int) -> None:
        """Bytes [start, end) change: what is aloft of their blocks is written in vain."""
        if not self._aloft:
            return
        first, last = start >> BLOCK_SHIFT, (end + _MASK) >> BLOCK_SHIFT
        for part in self._aloft.take_meeting(number, first, last):
            self._volume.flights.give_back(part.flight)

    # ---- flushing ----

    def flush(self, number: int) -> None:
        """Give a file's buffered data its place and put the items, for a cut.

        Errors: NodeMissing (nothing was changed; nodes that the write saw may have been evicted
        since); volume.no_space, device.no_space (what got a place has its items, the rest stays
        buffered).
        """
        for part in self._aloft.of(number):
            self._put_down(number, part, self._volume.flights.adopt)
        buffer = self.buffers.get(number)
        if buffer is None:
            return
        inode = inodes.load(self._tree, number)
        if inode.size <= INLINE_MAX and not inode.blocks:
            self._flush_inline(number, buffer)
            return
        runs = list(buffer.runs())
        for first, data, _ in runs:
            last = first + (len(data) >> BLOCK_SHIFT) - 1
            self._tree.touch(number, ITEM_EXTENT, first << BLOCK_SHIFT)
            self._tree.touch(number, ITEM_EXTENT, last << BLOCK_SHIFT)
        intent = _intent(inode, buffer)
        blocks, done = inode.blocks, 0
        try:
            for first, data, length in runs:
                placed = self._volume.store(data, intent)
                done = first + (len(data) >> BLOCK_SHIFT)
                blocks += self._put_extents(number, first << BLOCK_SHIFT, length, data, placed)
        except AffsError:
            self._keep_rest(buffer, done << BLOCK_SHIFT)
            raise
        else:
            del self.buffers[number]
            self.dirty_blocks -= buffer.blocks
        finally:
            if blocks != inode.blocks:
                inodes.save(self._tree, number, inode._replace(blocks=blocks, data_kind=intent))

    def _keep_rest(self, buffer: WriteBuffer, stored_end: int) -> None:
        """A flush stopped: what lies before stored_end has its place, the rest waits on."""
        before = buffer.blocks
        buffer.forget_below(stored_end)
        buffer.settle()
        self.dirty_blocks -= before - buffer.blocks

    def _flush_inline(self, number: int, buffer: WriteBuffer) -> None:
        data = assemble(buffer.parts(0, buffer.end), 0, buffer.end)
        self._tree.touch(number, ITEM_INLINE, 0)
        self._volume.begin_change()
        self._tree.put(number, ITEM_INLINE, 0, data)
        del self.buffers[number]
        self.give_back(buffer.blocks)

    def _put_extents(
        self, number: int, offset: int, length: int, data: Buffer, placed: list[Placed]
    ) -> int:
        """Items for what store() gave; the last block is kept for an append to come. Count of
        blocks.
        """
        total = 0
        for part in placed:
            covered = min(length, part.blocks << BLOCK_SHIFT)
            payload = extent_payload(part.address, part.birth, part.blocks, covered, part.checksums)
            self._tree.put(number, ITEM_EXTENT, offset, payload)
            total += part.blocks
            offset += part.blocks << BLOCK_SHIFT
            length -= covered
            if covered & _MASK:
                tail = BlockRead(part.address + part.blocks - 1, 1, part.checksums[-CHECKSUM_SIZE:])
                self._last_blocks.put(tail, bytes(memoryview(data)[-BLOCK_SIZE:]))
        return total


def _intent(inode: Inode, buffer: WriteBuffer) -> int:
    """What kind of segment suits a file."""
    if buffer.append:
        return INTENT_APPEND
    if inode.size < SMALL_FILE_BYTES:
        return INTENT_SMALL
    return INTENT_MEDIUM if inode.size < MEDIUM_FILE_BYTES else INTENT_LARGE


def _without_tail(data: Buffer, length: int) -> Buffer:
    """A long run without its last block, if that is not full: an append to come would change it."""
    full = length & ~_MASK
    return memoryview(data)[:full] if length != full >= WHOLE_BYTES_MIN else data
