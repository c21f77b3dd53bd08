"""Where a file has data, and taking and giving room: lseek SEEK_DATA and SEEK_HOLE, fallocate.

Data is told in whole blocks. Invariants:
- What is told to be a hole reads as zero; so does what was punched.
- Each function does a bounded part in one turn and says where to go on.
- Room is given by writing zeros into holes: the blocks are there, and `df` counts them. As nothing
  is overwritten in place, later writes take new blocks before these come back.
"""

from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import BLOCK_SIZE, INLINE_MAX
from affs_fuse.posix import changing, inodes
from affs_fuse.posix.context import Context
from affs_fuse.posix.file_data import FileData
from affs_fuse.posix.handles import Handle
from affs_fuse.volume.reserve import RoomKind

__all__ = ["Seek", "fill_step", "punch_step", "seek_step", "whole_blocks", "zero"]

ZEROS_MAX = 1 << 20
"""Bytes that one turn of filling writes."""
_MASK = BLOCK_SIZE - 1
_ZEROS = bytes(ZEROS_MAX)


class Seek(NamedTuple):
    """offset: the answer if `found`, else where the search goes on."""

    offset: int
    found: bool


def seek_step(data: FileData, number: int, inode: Inode, offset: int, *, hole: bool) -> Seek:
    """A part of the search for a hole, or for data, from an offset below the size on. The size if
    there is none: the end of a file counts as a hole. Errors: NodeMissing.
    """
    if _is_small(inode):
        return Seek(inode.size if hole else offset, found=True)
    ranges, searched = data.data_ranges(number, inode, offset, inode.size)
    if hole:
        at = offset
        for start, end in ranges:
            if start > at:
                break
            at = end
        if at < searched or searched >= inode.size:
            return Seek(min(at, inode.size), found=True)
        return Seek(at, found=False)
    if ranges:
        return Seek(max(offset, ranges[0][0]), found=True)
    return Seek(min(searched, inode.size), found=searched >= inode.size)


def whole_blocks(inode: Inode, offset: int, end: int) -> tuple[int, int]:
    """The blocks that lie wholly in [offset, end), the file's last one too if all its bytes do; as
    offsets. (x, x) if there is none.
    """
    first = (offset + _MASK) & ~_MASK
    last = (inode.size + _MASK if end >= inode.size else end) & ~_MASK
    return first, max(first, last)


def punch_step(context: Context, handle: Handle, start: int, end: int) -> int:
    """Take the blocks [start, end) (multiples of 4 KiB) out of a file, a bounded part from the
    start on; where the rest begins. Errors: ESTALE; NodeMissing; volume.*.
    """
    number = handle.number
    inode = inodes.load(context.tree, number)
    if _is_small(inode):
        zero(context, handle, start, end)
        return end
    plan = context.data.plan_cut(number, start, end)
    indexed = context.marks.plan_content(number)
    context.volume.reserve_metadata(RoomKind.REMOVE)
    dropped = context.data.cut(plan)
    inodes.save(context.tree, number, inode._replace(blocks=inode.blocks - dropped))
    context.marks.mark(number, *indexed)
    return plan.end


def zero(context: Context, handle: Handle, start: int, end: int) -> None:
    """Let a part of one block, or of a file that has none, read as zero. Errors: as
    changing.write.
    """
    number = handle.number
    inode = inodes.load(context.tree, number)
    end = min(end, inode.size)
    if start >= end:
        return
    if not _is_small(inode):
        ranges, _ = context.data.data_ranges(number, inode, start, end)
        if not ranges:
            return
    changing.write_at(context, handle, start, _ZEROS[: end - start])


def fill_step(context: Context, handle: Handle, start: int, end: int) -> int:
    """Write zeros into a hole of [start, end), the first one, a bounded part of it; where the rest
    begins. Errors: as changing.write.
    """
    number = handle.number
    inode = inodes.load(context.tree, number)
    taken = (inode.size + _MASK) & ~_MASK
    if start < taken:
        limit = min(taken, end)
        if _is_small(inode):
            if limit > inode.size:  # its bytes move to a block, also where it has none yet
                first = max(start, inode.size)
                changing.write_at(context, handle, first, _ZEROS[: limit - first])
            return limit
        ranges, searched = context.data.data_ranges(number, inode, start, limit)
        if ranges and ranges[0][0] <= start:
            return min(ranges[0][1], end)
        end = ranges[0][0] if ranges else min(searched, end) if searched < taken else end
    end = min(end, start + ZEROS_MAX)
    changing.write_at(context, handle, start, memoryview(_ZEROS)[: end - start])
    return end


def _is_small(inode: Inode) -> bool:
    """Its bytes lie in the tree, or will: such a file has no holes."""
    return inode.size <= INLINE_MAX and not inode.blocks
