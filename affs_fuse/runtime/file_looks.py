"""One object as it is in one state, in a form in which states can be compared.

For `history` and `blame`. A look is taken in steps, each a turn of the loop or less, and holds no
content: data and attributes are told apart by a digest of their items, so a content that was
written anew counts as another one even where its bytes are the same.
"""

import hashlib
import stat
from collections.abc import AsyncIterator
from dataclasses import dataclass

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_DENTRY, ITEM_EXTENT, ITEM_XATTR
from affs_fuse.core.tree import ItemKey
from affs_fuse.posix.found_files import Place
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.runtime.loader import Loader

__all__ = ["Look", "changes_between", "look_at"]

SCAN_BYTES = 32 << 10


@dataclass(frozen=True, slots=True)
class Look:
    """path: with a slash in front; b"" where it is out of the asker's reach."""

    number: int
    inode: Inode
    path: bytes
    places: tuple[Place, ...]
    data: bytes
    xattrs: bytes
    entries: int


async def look_at(
    loader: Loader, reader: StateReader, object_id: bytes, newer: Look | None
) -> Look | None:
    """None: the state does not have it, or not under any name. newer: the look at a state that
    descends from this one; what has not changed since is not read again."""
    found = await loader.run(reader.by_id, object_id)
    if found is None:
        return None
    number, inode = found
    places = tuple(await loader.run(reader.places, number))
    path = await loader.run(_path, reader, places)
    if newer is not None and newer.inode.change == inode.change:
        return Look(number, inode, path, places, newer.data, newer.xattrs, newer.entries)
    data = await _digest(loader, reader, number, 4, ITEM_EXTENT)
    xattrs = await _digest(loader, reader, number, ITEM_XATTR, ITEM_XATTR)
    entries = inode.size if stat.S_ISDIR(inode.mode) else 0
    if stat.S_ISDIR(inode.mode):
        data = await _digest(loader, reader, number, ITEM_DENTRY, ITEM_DENTRY)
    return Look(number, inode, path, places, data, xattrs, entries)


def _path(reader: StateReader, places: tuple[Place, ...]) -> bytes:
    for parent, name in places:
        path, open_way = reader.directory_path(parent)
        if open_way:
            return b"/" + path + b"/" + name if path else b"/" + name
    return b""


async def _digest(
    loader: Loader, reader: StateReader, number: int, first: int, last: int
) -> bytes:
    """Of all items of these types."""
    digest = hashlib.blake2b(digest_size=16)
    async for part in _items(loader, reader, (number, first, 0), (number, last + 1, 0)):
        digest.update(part)
    return digest.digest()


async def _items(
    loader: Loader, reader: StateReader, first: ItemKey, end: ItemKey
) -> AsyncIterator[bytes]:
    start = first
    while items := await loader.run(reader.tree.scan, start, end, SCAN_BYTES):
        for _, kind, offset, payload in items:
            yield b"%d %d %d " % (kind, offset, len(payload))
            yield payload
        number, kind, offset, _ = items[-1]
        start = (number, kind, offset + 1)


def changes_between(older: Look, newer: Look) -> list[str]:
    """What differs: content, entries, name, mode, owner, links, xattrs, times; empty for nothing
    but an access."""
    a, b = older.inode, newer.inode
    what = []
    if older.data != newer.data or (a.size != b.size and not stat.S_ISDIR(b.mode)):
        what.append("entries" if stat.S_ISDIR(b.mode) else "content")
    if {*older.places} != {*newer.places}:
        what.append("name")
    if a.mode != b.mode:
        what.append("mode")
    if (a.uid, a.gid) != (b.uid, b.gid):
        what.append("owner")
    if older.xattrs != newer.xattrs:
        what.append("xattrs")
    if not what and (a.change != b.change or a.mtime_ns != b.mtime_ns):
        what.append("times")
    return what
