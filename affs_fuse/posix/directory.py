"""Directories: entries, parent links, and reading in a stable order.

DiskLayout.md, "Directory entry" and "Parent link". One item for each name, at offset hash << 4 |
ordinal; the ordinal tells apart up to 16 names of one hash. The offset is the readdir cookie: it
depends on nothing but the name (and on who of the same hash came first), so it stays when other
entries come and go.
"""

import errno
import stat
from typing import NamedTuple

from affs_fuse.core.checksum import name_hash
from affs_fuse.core.codec import Name
from affs_fuse.core.constants import ITEM_DENTRY, ITEM_PARENT
from affs_fuse.core.tree import Tree
from affs_fuse.posix import inodes
from affs_fuse.posix.errors import posix_error

__all__ = [
    "COOKIE_DOT",
    "COOKIE_DOT_DOT",
    "DT_DIRECTORY",
    "FULL",
    "Listed",
    "lies_below",
    "list_entries",
    "locate",
    "locate_link",
    "probe",
]

ORDINAL_BITS = 4
ORDINALS = 1 << ORDINAL_BITS
COOKIE_DOT, COOKIE_DOT_DOT = 1, 2
DT_DIRECTORY = stat.S_IFDIR >> 12
FULL = -1
DEPTH_MAX = 1 << 20
"""No path is deeper: a longer chain of parents is a cycle, that is damage."""
_NAME_SIZE = Name.SIZE


class Listed(NamedTuple):
    """cookie: where to go on after this entry."""

    cookie: int
    name: bytes
    object: int
    kind: int


def locate(tree: Tree, key: bytes, directory: int, name: bytes) -> tuple[int, Name | None]:
    """(offset, entry) of a name; (offset where it would go, or FULL; None) if it is not there."""
    return probe(tree, directory, ITEM_DENTRY, name_hash(key, 0, name), name, 0)


def locate_link(
    tree: Tree, key: bytes, child: int, directory: int, name: bytes
) -> tuple[int, Name | None]:
    """The same for the parent link that says that `name` in `directory` is this child."""
    return probe(tree, child, ITEM_PARENT, name_hash(key, directory, name), name, directory)


def probe(
    tree: Tree, number: int, kind: int, hashed: int, name: bytes, owner: int
) -> tuple[int, Name | None]:
    """Look through the items of one hash. owner: the object that the item must name; 0 for any."""
    at = hashed << ORDINAL_BITS
    last = at + ORDINALS - 1
    free = FULL
    while at <= last:
        item = tree.seek(number, kind, at)
        if item is None or item[2] > last or item[1] != kind or item[0] != number:
            break
        offset, payload = item[2], item[3]
        if payload[_NAME_SIZE:] == name:
            found = Name.unpack(payload)
            if not owner or found.object == owner:
                return offset, found
        if free < 0 and offset > at:
            free = at
        at = offset + 1
    return (at if free < 0 and at <= last else free), None


def list_entries(tree: Tree, directory: int, cookie: int, limit_bytes: int) -> list[Listed]:
    """Entries after `cookie` in the order of their offsets, as many as some `limit_bytes` hold; at
    least one unless there are no more. `.` and `..` are not items and not given.
    """
    first = max(cookie, COOKIE_DOT_DOT) + 1
    items = tree.scan((directory, ITEM_DENTRY, first), (directory, ITEM_DENTRY + 1, 0), limit_bytes)
    listed = []
    for _, _, offset, payload in items:
        entry = Name.unpack(payload)
        listed.append(Listed(offset, payload[_NAME_SIZE:], entry.object, entry.kind))
    return listed


def lies_below(tree: Tree, directory: int, ancestor: int) -> bool:
    """Whether `directory` is `ancestor` or lies somewhere below it. Errors: ESTALE, EIO;
    NodeMissing.
    """
    for _ in range(DEPTH_MAX):
        if directory == ancestor:
            return True
        parent = inodes.load(tree, directory).parent
        if parent == directory:
            return False
        directory = parent
    raise posix_error(errno.EIO, f"the parents of directory {directory} form a cycle")
