"""Directories: entries, parent links, and reading in a stable order.

DiskLayout.md, "Directory entry" and "Parent link". One item for each name, at offset hash << 4 |
ordinal; the ordinal tells apart up to 16 names of one hash. The offset is the readdir cookie: it
depends on nothing but the name (and on who of the same hash came first), so it stays when other
entries come and go.
"""

import errno
import stat
from bisect import bisect_left
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
    "Listing",
    "lies_below",
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
SCAN_BYTES = 16 << 10
"""Of entries that are read at once: some 200 with names of ordinary length."""
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


class Listing:
    """The entries that follow where somebody reads a directory, in the order of their offsets.

    Read ahead, and good as long as the directory is the same: tree and change counter tell.
    `.` and `..` are not items and not given.
    """

    __slots__ = ("_change", "_entries", "_from", "_tree")

    def __init__(self) -> None:
        self._tree: Tree | None = None
        self._change = 0
        self._from = 0
        self._entries: list[Listed] = []

    def after(self, tree: Tree, number: int, change: int, cookie: int, count: int) -> list[Listed]:
        """At most `count` entries after `cookie`, none at the end. Errors: NodeMissing."""
        entries = self._entries
        ahead = self._tree is tree and self._change == change and bool(entries)
        if not ahead or not self._from <= cookie < entries[-1].cookie:
            entries = _read(tree, number, cookie)
            self._tree, self._change, self._from = tree, change, cookie
            self._entries = entries
        index = bisect_left(entries, cookie + 1, key=_cookie_of)
        return entries[index : index + count]


def _cookie_of(entry: Listed) -> int:
    return entry.cookie


def _read(tree: Tree, number: int, cookie: int) -> list[Listed]:
    first = (number, ITEM_DENTRY, max(cookie, COOKIE_DOT_DOT) + 1)
    listed = []
    for _, _, offset, payload in tree.scan(first, (number, ITEM_DENTRY + 1, 0), SCAN_BYTES):
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
