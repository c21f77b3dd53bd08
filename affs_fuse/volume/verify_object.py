"""The rules that hold inside one object: its inode item against all other items under its number.

docs/specs/DiskLayout.md, "Namespace tree". The core has verified the shape of each item before;
here the items of one object are held against each other, in one pass over them in key order.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from affs_fuse.auv import AuvError, decode
from affs_fuse.core.checksum import name_hash
from affs_fuse.core.codec import Extent, Inode, Name, unpack_name, unpack_xattr
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    COLLECTION_PART_SIZE,
    ITEM_COLLECTION,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_IMPORT,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_PARENT,
    ITEM_SYMLINK,
    ITEM_XATTR,
    OBJECT_COLLECTIONS,
    OBJECT_IMPORTS,
    OBJECT_ORPHANS,
    OBJECT_ROOT,
    XATTR_EXTENT,
)
from affs_fuse.volume.index_check import IndexCheck, declared_problems
from affs_fuse.volume.verify_nodes import Item

__all__ = ["ObjectCheck", "declaration_of", "extents_of_item"]

Complain = Callable[[str, str], None]
"""(code, message) of something wrong with the object."""

DIRECTORY_KIND = stat.S_IFDIR >> 12
ORDINAL_BITS = 4


def extents_of_item(item: Item) -> tuple[Extent, bytes] | None:
    """The extent that an EXTENT or XATTR item refers to, with its checksums, if any."""
    (_, kind, _), payload = item
    if kind == ITEM_EXTENT:
        return Extent.unpack(payload), payload[Extent.SIZE :]
    if kind == ITEM_XATTR:
        fixed, _, body = unpack_xattr(payload)
        if fixed.storage == XATTR_EXTENT:
            return Extent.unpack(body), body[Extent.SIZE :]
    return None


def declaration_of(parts: list[tuple[int, bytes]]) -> bytes | None:
    """The whole of a declaration, from (index, bytes) of its parts in order; None if it cannot be
    read."""
    whole = b"".join(data for _, data in parts)
    full = all(len(data) == COLLECTION_PART_SIZE for _, data in parts[:-1])
    if [index for index, _ in parts] != list(range(len(parts))) or not full:
        return None
    return whole if is_object(whole) else None


def is_object(payload: bytes) -> bool:
    """Whether it is an Object in binary form."""
    try:
        return isinstance(decode(payload), dict)
    except AuvError:
        return False


@dataclass(slots=True)
class ObjectCheck:
    """One object. Feed its items to `take` in key order, then call `finish`.

    hash_key: the superblock's. orphan, listed: the object is in the list of orphans, of
    collections.
    """

    number: int
    hash_key: bytes
    orphan: bool
    complain: Complain
    listed: bool = False
    inode: Inode | None = None
    links: int = 0
    parent: int = 0
    entries: int = 0
    subdirectories: int = 0
    extents: int = 0
    blocks: int = 0
    data_end: int = 0
    target_length: int | None = None
    inline_length: int = 0
    parts: list[tuple[int, bytes]] = field(default_factory=list)
    indexes: IndexCheck = field(default_factory=IndexCheck)
    pending: int = 0
    _same_hash: set[bytes] = field(default_factory=set)
    _hash: tuple[int, int] = (0, 0)

    def take(self, item: Item) -> None:
        (_, kind, offset), payload = item
        if kind == ITEM_INODE:
            self.inode = Inode.unpack(payload)
        elif kind == ITEM_PARENT:
            link, name = unpack_name(payload)
            self.links += 1
            self.parent = link.object
            self._take_hashed(kind, offset, link.object, name, link.object.to_bytes(8) + name)
            if self.inode is not None and link.kind != self.inode.mode >> 12:
                self.complain("verify.link_kind", "a parent link names another file type")
        elif kind == ITEM_XATTR:
            name = unpack_xattr(payload)[1]
            self._take_hashed(kind, offset, 0, name, name)
        elif kind == ITEM_SYMLINK:
            self.target_length = len(payload)
        elif kind == ITEM_INLINE:
            self.inline_length = len(payload)
            self.data_end = max(self.data_end, len(payload))
        elif kind == ITEM_EXTENT:
            self._take_extent(offset, Extent.unpack(payload))
        elif kind == ITEM_DENTRY:
            self._take_entry(offset, payload)
        elif kind == ITEM_COLLECTION:
            self.parts.append((offset, payload))
        elif kind == ITEM_INDEX:
            self.indexes.take_page(offset, payload)
        elif kind == ITEM_INDEX_KEYS:
            self.indexes.take_keys(offset, payload)
        elif kind == ITEM_INDEX_PENDING:
            self.pending += 1
        elif kind == ITEM_IMPORT and not is_object(payload):
            self.complain("verify.import", f"the cursor of the import into {offset} is no value")

    def _take_entry(self, offset: int, payload: bytes) -> None:
        fixed = Name.unpack(payload)
        name = payload[Name.SIZE :]
        self.entries += 1
        self.subdirectories += fixed.kind == DIRECTORY_KIND
        self._take_hashed(ITEM_DENTRY, offset, 0, name, name)

    def _take_hashed(
        self, kind: int, offset: int, prefix: int, name: bytes, identity: bytes
    ) -> None:
        """An item that lies under the hash of a name: is it the right one, and there only once?"""
        hashed = offset >> ORDINAL_BITS
        if hashed != name_hash(self.hash_key, prefix, name):
            self.complain("verify.name_hash", "a name lies under the hash of another one")
        if self._hash != (kind, hashed):
            self._hash = kind, hashed
            self._same_hash.clear()
        if identity in self._same_hash:
            self.complain("verify.name_twice", "a name is there twice")
        self._same_hash.add(identity)

    def _take_extent(self, offset: int, extent: Extent) -> None:
        if offset < self.data_end:
            self.complain(
                "verify.extent_overlap", f"the data at byte {offset} lies over other data"
            )
        self.extents += 1
        self.blocks += extent.blocks
        self.data_end = offset + (extent.blocks << BLOCK_SHIFT)
        size = self.inode.size if self.inode is not None else 0
        if offset + extent.length > size and not self.orphan:
            self.complain(
                "verify.extent_beyond", f"data at byte {offset} lies beyond the size {size}"
            )

    def finish(self) -> None:
        if self.number in (OBJECT_ORPHANS, OBJECT_COLLECTIONS, OBJECT_IMPORTS):
            return
        if self.inode is None:
            self.complain("verify.no_inode", "there are items of an object that has no inode item")
            return
        for code, message in self._judge(self.inode):
            self.complain(code, message)

    def _judge(self, inode: Inode) -> Iterator[tuple[str, str]]:
        kind = stat.S_IFMT(inode.mode)
        if inode.blocks != self.blocks:
            yield "verify.blocks", f"the inode says {inode.blocks} blocks, {self.blocks} are there"
        if kind != stat.S_IFREG and (self.blocks or self.inline_length):
            yield "verify.kind", "file data under what is no regular file"
        if kind != stat.S_IFDIR and self.entries:
            yield "verify.kind", "directory entries under what is no directory"
        if kind != stat.S_IFDIR and self.parts:
            yield "verify.collection", "a declaration at what is no directory"
        else:
            yield from self._judge_declaration(inode)
        if kind != stat.S_IFDIR and (self.indexes.any or self.pending):
            yield "verify.index", "parts of an index at what is no directory"
        elif inode.nlink:  # those of a removed directory go piece by piece
            for problem in self.indexes.finish():
                yield "verify.index", problem
        if self.inline_length and self.extents:
            yield "verify.kind", "data both inline and in extents"
        if (kind == stat.S_IFLNK) != (self.target_length is not None):
            yield "verify.kind", "a symbolic link without target, or a target without link"
        if inode.nlink == 0 and not self.orphan:
            yield "verify.orphan", "no name leads to it and it is not in the list of orphans"
        if kind == stat.S_IFDIR:
            yield from self._judge_directory(inode)
            return
        if inode.nlink != self.links:
            yield "verify.links", f"the inode says {inode.nlink} links, {self.links} are there"
        if kind == stat.S_IFLNK and inode.size != self.target_length:
            yield "verify.size", f"a target of {self.target_length} bytes, size {inode.size}"
        if kind == stat.S_IFREG and self.inline_length > inode.size:
            yield "verify.size", f"{self.inline_length} bytes inline, size {inode.size}"

    def _judge_declaration(self, inode: Inode) -> Iterator[tuple[str, str]]:
        """Of a removed directory the list knows nothing any more."""
        if self.listed and not self.parts:
            yield "verify.collection", "the list of collections has it, but it has no declaration"
        elif self.parts and inode.nlink and not self.listed:
            yield "verify.collection", "it has a declaration, but the list of collections not"
        if not self.parts:
            return
        whole = declaration_of(self.parts)
        if whole is None:
            yield "verify.collection", "the declaration is no value, or a part of it is missing"
            return
        declaration = decode(whole)
        assert isinstance(declaration, dict), "declaration_of has looked"
        for problem in declared_problems(declaration):
            yield "verify.index", problem

    def _judge_directory(self, inode: Inode) -> Iterator[tuple[str, str]]:
        if inode.size != self.entries:
            yield "verify.entries", f"size {inode.size}, but {self.entries} entries"
        if inode.nlink == 0:
            if self.entries or self.links:
                yield "verify.orphan", "a removed directory still has entries or a parent link"
            return
        if inode.nlink != 2 + self.subdirectories:
            yield (
                "verify.links",
                f"{inode.nlink} links, but {self.subdirectories} directories in it",
            )
        if self.number == OBJECT_ROOT:
            if self.links or inode.parent != OBJECT_ROOT:
                yield "verify.parent", "the root directory has a parent"
        elif self.links != 1 or inode.parent != self.parent:
            yield (
                "verify.parent",
                f"parent {inode.parent}, but {self.links} parent links, the last to {self.parent}",
            )
