"""Giving a file another content in one step, whatever it had before.

A truncation to nothing that leaves no tail for later, and a write into the empty file; a small
content becomes an INLINE item at once, without the detour of the write buffer.
"""

from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import BLOCK_SHIFT, BLOCK_SIZE, INLINE_MAX, ITEM_INLINE
from affs_fuse.core.tree import Tree
from affs_fuse.posix.file_data import FileData, Truncation, WritePlan

__all__ = ["Replacement", "plan_replace", "replace"]

ITEMS_ALL = 1 << 40


class Replacement(NamedTuple):
    """A new content whose look-ups are done. new_blocks: to reserve."""

    new_blocks: int
    truncation: Truncation | None = None
    written: WritePlan | None = None


def plan_replace(
    tree: Tree, data: FileData, number: int, inode: Inode | None, content: bytes
) -> Replacement:
    """inode None: of a file that is still to be made, whose number `replace` gets. Its cost grows
    with the extents that the file has. Changes nothing. Errors: NodeMissing, DataMissing.
    """
    blocks = (len(content) + BLOCK_SIZE - 1) >> BLOCK_SHIFT
    small = len(content) <= INLINE_MAX
    truncation: Truncation | None = None
    written: WritePlan | None = None
    if inode is not None:
        tree.touch(number, ITEM_INLINE, 0)
    if inode is not None and inode.size:
        truncation = data.plan_truncate(number, inode, 0, ITEMS_ALL)
        if small and content:
            truncation = truncation._replace(size=len(content), inline=content)
        elif content:
            written = WritePlan(number, 0, content, [], blocks, None, False)
    elif inode is not None and inode.blocks and content:
        # What a truncation has left for later lies beyond the end; the write cuts it out.
        written = data.plan_write(number, inode, 0, content)
    elif small and content:
        truncation = Truncation(number, len(content), inline=content)
    elif content:
        written = WritePlan(number, 0, content, [], blocks, None, False)
    return Replacement(written.new_blocks if written is not None else 0, truncation, written)


def replace(data: FileData, number: int, plan: Replacement) -> int:
    """Apply a plan; plan.new_blocks were reserved. How many blocks the extents lost."""
    dropped = 0
    if plan.truncation is not None:
        data.discard(number)
        dropped += data.truncate(plan.truncation._replace(number=number))
    if plan.written is not None:
        dropped += data.write(plan.written._replace(number=number), False)
    return dropped
