"""What only reads, for the working state and for views of kept states alike.

Every function takes the tree to read and gives object numbers of that tree. Errors of all:
NodeMissing.
"""

import errno
import stat
from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_INODE, ITEM_SYMLINK
from affs_fuse.core.tree import NodeMissing, Tree
from affs_fuse.posix import directory, inodes, names
from affs_fuse.posix.directory import COOKIE_DOT, COOKIE_DOT_DOT, Listing
from affs_fuse.posix.errors import posix_error

__all__ = ["READDIR_ENTRIES", "Child", "check_file", "list_directory", "lookup", "read_link"]

READDIR_ENTRIES = 64
"""Entries that one call of readdir gives at most: about what fits the kernel's buffer."""


class Child(NamedTuple):
    """An entry of a directory with its inode; cookie: where reading goes on after it."""

    cookie: int
    name: bytes
    number: int
    inode: Inode


def lookup(tree: Tree, key: bytes, parent: int, name: bytes) -> tuple[int, Inode]:
    """(object, inode) of a name; `.` and `..` too. Errors: ENOENT, ENOTDIR, ENAMETOOLONG, EINVAL,
    ESTALE.
    """
    names.check_name(name)
    if name in names.DOTS:
        inode = inodes.load_directory(tree, parent)
        if name == b".":
            return parent, inode
        return inode.parent, inodes.load(tree, inode.parent)
    entry = directory.locate(tree, key, parent, name)[1]
    if entry is None:
        inodes.load_directory(tree, parent)
        raise posix_error(errno.ENOENT)
    return entry.object, inodes.load(tree, entry.object)


def read_link(tree: Tree, number: int) -> bytes:
    """Errors: EINVAL if it is no symbolic link, ESTALE."""
    target = tree.get(number, ITEM_SYMLINK, 0)
    if target is None:
        inodes.load(tree, number)
        raise posix_error(errno.EINVAL, "not a symbolic link")
    return target


def list_directory(
    tree: Tree, number: int, cookie: int, count: int, listing: Listing
) -> list[Child]:
    """At most `count` entries after `cookie` (0: from the start), `.` and `..` first; empty at the
    end, and for a directory that was removed. Fewer where an inode is not in memory, so that
    reading a large directory does not begin again with each node that it loads.

    listing: of the reader's handle. Errors: ENOTDIR, ESTALE.
    """
    inode = inodes.load_directory(tree, number)
    if not inode.nlink:
        return []
    found: list[Child] = []
    if cookie < COOKIE_DOT:
        found.append(Child(COOKIE_DOT, b".", number, inode))
    if cookie < COOKIE_DOT_DOT:
        parent = inode.parent
        found.append(Child(COOKIE_DOT_DOT, b"..", parent, inodes.load(tree, parent)))
    for entry in listing.after(tree, number, inode.change, cookie, count):
        try:
            payload = tree.get(entry.object, ITEM_INODE, 0)
        except NodeMissing:
            if found:
                return found  # the missing node is the first of the next call
            raise
        if payload is None:
            raise posix_error(errno.EIO, f"an entry of directory {number} names no object")
        found.append(Child(entry.cookie, entry.name, entry.object, Inode.unpack(payload)))
    return found


def check_file(inode: Inode) -> None:
    """Errors: EISDIR, ELOOP, ENXIO for what cannot be opened as a file."""
    kind = stat.S_IFMT(inode.mode)
    if kind == stat.S_IFREG:
        return
    if kind == stat.S_IFDIR:
        raise posix_error(errno.EISDIR)
    raise posix_error(errno.ELOOP if kind == stat.S_IFLNK else errno.ENXIO)
