"""Damage with right checksums: what a faulty writer would leave."""

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_INODE
from affs_fuse.core.tree import Tree
from affs_tools.library import Library

__all__ = ["Vandal"]


class Vandal:
    """Changes items of the working state behind the namespace's back."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.tree: Tree = library.volume.working.tree

    def inode(self, path: bytes, **changes: object) -> None:
        number = self.library.number(path)
        payload = self.library.call(self.tree.get, number, ITEM_INODE, 0)
        assert payload is not None
        self.put(number, ITEM_INODE, 0, Inode.unpack(payload)._replace(**changes).pack())

    def put(self, number: int, kind: int, offset: int, payload: bytes) -> None:
        self.library.call(self.tree.put, number, kind, offset, payload)

    def delete(self, number: int, kind: int, offset: int) -> None:
        assert self.library.call(self.tree.delete, number, kind, offset)

    def first(self, path: bytes, kind: int) -> tuple[int, int, bytes]:
        """Object number, offset and payload of an object's first item of a type."""
        return self.first_of(self.library.number(path), kind)

    def first_of(self, number: int, kind: int) -> tuple[int, int, bytes]:
        item = self.library.call(self.tree.seek, number, kind, 0)
        assert item is not None
        assert item[:2] == (number, kind)
        return number, item[2], item[3]

    def move(self, path: bytes, kind: int, to_offset: int) -> None:
        number, offset, payload = self.first(path, kind)
        self.delete(number, kind, offset)
        self.put(number, kind, to_offset, payload)
