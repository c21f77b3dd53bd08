"""What an inode looks like from outside, and what a caller may change about it.

Times are nanoseconds since the epoch, sizes bytes, blocks 4 KiB.
"""

import stat
from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import INLINE_MAX

__all__ = [
    "ATIME_POLICIES",
    "TIME_MAX_NS",
    "TIME_MIN_NS",
    "Attributes",
    "Changes",
    "atime_due",
    "reported",
]

ATIME_POLICIES = ("relatime", "noatime", "strictatime")
DAY_NS = 86_400 * 1_000_000_000
TIME_MIN_NS, TIME_MAX_NS = -(1 << 63), (1 << 63) - 1
"""What an inode item can hold: the years 1677 to 2262."""


class Attributes(NamedTuple):
    """One inode as callers see it.

    number: the inode number (views of kept states have the view's number above bit 48).
    inode: size and times are live, and blocks counts data that is still in the write buffer.
    """

    number: int
    inode: Inode


class Changes(NamedTuple):
    """What setattr is to change; None leaves a value as it is. mode: permission bits only."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


def reported(number: int, inode: Inode, buffered_blocks: int) -> Attributes:
    """Attributes with live blocks.

    A small file whose bytes lie in the tree counts as one block: to tar and others a file with a
    size and no blocks is one hole, and they would not read it.
    """
    blocks = inode.blocks + buffered_blocks
    if blocks == 0 and 0 < inode.size <= INLINE_MAX and stat.S_ISREG(inode.mode):
        blocks = 1
    return Attributes(number, inode if blocks == inode.blocks else inode._replace(blocks=blocks))


def atime_due(inode: Inode, now_ns: int, policy: str) -> bool:
    """Whether reading must move the access time (mount(8), relatime)."""
    if policy == "relatime":
        atime = inode.atime_ns
        return (
            atime <= inode.mtime_ns or atime <= inode.ctime_ns or now_ns - atime >= DAY_NS
        ) and now_ns != atime
    return policy == "strictatime" and now_ns != inode.atime_ns
