"""Inode items: reading them, making them, and stamping them with times.

DiskLayout.md, "Inode item". An inode number that the tree does not have is ESTALE: the kernel or a
handle remembers an object that is gone (removed, or not in the state that was rolled back to).
"""

import errno
import stat
from typing import NamedTuple

from affs_fuse.clock import Entropy
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_INODE, OBJECT_BITS
from affs_fuse.core.tree import Tree
from affs_fuse.posix.errors import posix_error

__all__ = [
    "LINK_MAX", "Stamp", "changed", "load", "load_directory", "new", "object_id", "save", "type_of",
]  # fmt: skip

LINK_MAX = (1 << 31) - 1
"""Names of one object. ext4 stops at 65,000, btrfs at 65,535 in a directory, XFS at 2^31 - 1."""

_SIZE_MAX = (1 << 63) - 1
_BLOCKS_MAX = 1 << 40
_CHANGE_MAX = (1 << 64) - 1
_LINK_FIELD_MAX = (1 << 32) - 1

OBJECT_ID_RANDOM_BYTES = 16 - OBJECT_BITS // 8


def load(tree: Tree, number: int) -> Inode:
    """Errors: ESTALE; NodeMissing."""
    payload = tree.get(number, ITEM_INODE, 0)
    if payload is None:
        raise posix_error(errno.ESTALE, f"there is no object {number} in this state")
    return Inode.unpack(payload)


def load_directory(tree: Tree, number: int) -> Inode:
    """Errors: ESTALE, ENOTDIR; NodeMissing."""
    inode = load(tree, number)
    if not stat.S_ISDIR(inode.mode):
        raise posix_error(errno.ENOTDIR)
    return inode


def save(tree: Tree, number: int, inode: Inode) -> None:
    """Put the item; its size never changes, so this needs no node but those that load() saw.

    Counts that leave their range were wrong before (fsck.affs says so); they stay at its end, so
    that a damaged directory can still be emptied."""
    links = min(max(inode.nlink, 0), _LINK_FIELD_MAX)
    fitting = inode._replace(
        size=min(max(inode.size, 0), _SIZE_MAX),
        blocks=min(max(inode.blocks, 0), _BLOCKS_MAX),
        nlink=2 if links == 1 and stat.S_ISDIR(inode.mode) else links,
        change=inode.change & _CHANGE_MAX,
    )
    tree.put(number, ITEM_INODE, 0, fitting.pack())


class Stamp(NamedTuple):
    """What a change leaves in every inode that it is about: when, by whom (a number of the table of
    authors), and in which commit."""

    time_ns: int
    author: int
    commit: int


def new(
    number: int, mode: int, uid: int, gid: int, now: Stamp, entropy: Entropy, *, rdev: int = 0,
    parent: int = 0, size: int = 0,
) -> Inode:  # fmt: skip
    """A fresh object's inode, with its first name. parent: of a directory, its parent directory."""
    time_ns, author, commit = now
    return Inode(
        size, 0, time_ns, time_ns, time_ns, time_ns, mode, uid, gid, 2 if parent else 1, rdev, 0, 1,
        object_id(number, entropy), 1, parent, 0, author, commit, commit,
    )  # fmt: skip


def object_id(number: int, entropy: Entropy) -> bytes:
    """128 bits that no other object of any volume has; the last 48 are the object number."""
    return entropy(OBJECT_ID_RANDOM_BYTES) + number.to_bytes(OBJECT_BITS // 8, "big")


def number_of(object_id: bytes) -> int:
    """Of the object with this id."""
    return int.from_bytes(object_id[OBJECT_ID_RANDOM_BYTES:], "big")


def changed(inode: Inode, now: Stamp, *, links: int = 0, entries: int | None = None) -> Inode:
    """The inode after a change of its attributes (ctime), and with `entries`, of a directory's
    content (mtime, size); links: what to add to nlink.
    """
    if entries is None:
        return inode._replace(
            ctime_ns=now.time_ns, change=inode.change + 1, nlink=inode.nlink + links,
            changed_by=now.author, changed_commit=now.commit,
        )  # fmt: skip
    return inode._replace(
        size=inode.size + entries,
        mtime_ns=now.time_ns,
        ctime_ns=now.time_ns,
        nlink=inode.nlink + links,
        change=inode.change + 1,
        changed_by=now.author,
        changed_commit=now.commit,
    )


def type_of(mode: int) -> int:
    """DT_* of a mode."""
    return stat.S_IFMT(mode) >> 12
