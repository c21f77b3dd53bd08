"""Taking files into the indexes of a directory: some of them in one turn of the loop.

First everything is looked at and planned in memory (`refresh`), then changed at once (`apply`): so
a cut meets the files' entries, their KEYS items and what still waits in agreement. A turn may be
thrown away at any time before `apply`.
"""

import stat
from collections.abc import Callable, Sequence
from dataclasses import replace

from affs_fuse.core.codec import Inode, Name
from affs_fuse.core.constants import (
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
    ITEM_INODE,
    ITEM_PARENT,
)
from affs_fuse.core.tree import Tree
from affs_fuse.posix.context import Context
from affs_fuse.posix.index_keys import entry_of
from affs_fuse.posix.indexes import DeclaredIndex, open_index, read_head
from affs_fuse.volume.index_check import IndexHead, pack_keys, page_of, unpack_keys
from affs_fuse.volume.index_pages import IndexPages
from affs_fuse.volume.reserve import RoomKind

__all__ = ["RECORD_BYTES_MAX", "IndexTurn", "KeysOf"]

RECORD_BYTES_MAX = 1 << 20
"""Of a record's text; a larger file is none."""

KeysOf = Callable[[Sequence[str], bytes | None], Sequence[bytes]]
"""The keys of a file's content, one for each expression; content None: it cannot be a record."""


class IndexTurn:
    """indexes: what is declared for the directory. Errors of the constructor: NodeMissing,
    index.damaged."""

    def __init__(
        self, context: Context, directory: int, indexes: Sequence[DeclaredIndex], keys_of: KeysOf
    ) -> None:
        self._context = context
        self._tree = context.tree
        self._directory = directory
        self._indexes = indexes
        self._expressions = [one.expression for one in indexes]
        self._keys_of = keys_of
        self._heads: dict[int, IndexHead] = {}
        self._pages: dict[int, IndexPages] = {}
        self._keys: dict[int, bytes | None] = {}
        self._done: set[int] = set()
        self._work = 0
        for one in indexes:
            head = read_head(self._tree, directory, one.id)
            if head is None:
                head = IndexHead(one.expression)
            self._heads[one.id] = head
            self._pages[one.id] = open_index(self._tree, directory, one.id, head)

    @property
    def work(self) -> int:
        """Changes of pages that are planned."""
        return self._work

    def built(self, index: int) -> int | None:
        """How far the building of an index has come (IndexHead.built)."""
        return self._heads[index].built

    def entries(self, index: int) -> int:
        """Of an index, with what is planned."""
        return self._pages[index].shape.entries

    def advance(self, index: int, cookie: int | None) -> None:
        """The building of an index has come so far."""
        self._heads[index] = replace(self._heads[index], built=cookie)

    def refresh(self, number: int) -> None:
        """Plan to take in a file as it is now, whatever it was before. Errors: NodeMissing,
        DataMissing, index.damaged: nothing more than before is planned."""
        if number in self._done:
            return
        new = self._keys_now(number)
        payload = self._tree.get(self._directory, ITEM_INDEX_KEYS, number)
        old = unpack_keys(payload) if payload is not None else {}
        gone = {key: value for key, value in old.items() if new.get(key) != value}
        come = {key: value for key, value in new.items() if old.get(key) != value}
        for changed in (gone, come):
            for index, key in changed.items():
                if index in self._pages:
                    self._pages[index].load(entry_of(key, number))
        for index, key in gone.items():
            if index in self._pages:
                self._pages[index].delete(entry_of(key, number))
        for index, key in come.items():
            self._pages[index].insert(entry_of(key, number))
        if gone or come:
            self._keys[number] = pack_keys(new) if new else None
        self._work += len(gone) + len(come)
        self._done.add(number)

    def _keys_now(self, number: int) -> dict[int, bytes]:
        """{}: it is no file of this directory."""
        payload = self._tree.get(number, ITEM_INODE, 0)
        inode = Inode.unpack(payload) if payload is not None else None
        if inode is None or not stat.S_ISREG(inode.mode) or not self._is_member(number):
            return {}
        content = None
        if inode.size <= RECORD_BYTES_MAX:
            content = self._context.data.read(number, inode, 0, inode.size)
        keys = self._keys_of(self._expressions, content)
        return {one.id: key for one, key in zip(self._indexes, keys, strict=True)}

    def _is_member(self, number: int) -> bool:
        first, end = (number, ITEM_PARENT, 0), (number, ITEM_PARENT + 1, 0)
        return any(
            Name.unpack(payload).object == self._directory
            for _, _, _, payload in self._tree.iterate(first, end)
        )

    def apply(self) -> int:
        """Change what was planned; how many files were taken in. Errors: NodeMissing;
        volume.no_space, volume.read_only."""
        tree, directory = self._tree, self._directory
        pages = {
            page_of(index, page): payload
            for index, opened in self._pages.items()
            for page, payload in opened.changes().items()
        }
        for index, opened in self._pages.items():
            head = replace(self._heads[index], shape=opened.shape)
            payload = head.pack()
            if payload != tree.get(directory, ITEM_INDEX, page_of(index, 0)):
                pages[page_of(index, 0)] = payload
        for offset in pages:
            tree.touch(directory, ITEM_INDEX, offset)
        for number in self._keys:
            tree.touch(directory, ITEM_INDEX_KEYS, number)
        for number in self._done:
            tree.touch(directory, ITEM_INDEX_PENDING, number)
        operations = 1 + len(pages) // 2 + (len(self._keys) + len(self._done)) // 4
        self._context.volume.reserve_metadata(RoomKind.NORMAL, operations)

        for offset, new in pages.items():
            _put(tree, directory, ITEM_INDEX, offset, new)
        for number, new in self._keys.items():
            _put(tree, directory, ITEM_INDEX_KEYS, number, new)
        for number in self._done:
            tree.delete(directory, ITEM_INDEX_PENDING, number)
        return len(self._done)


def _put(tree: Tree, directory: int, kind: int, offset: int, payload: bytes | None) -> None:
    if payload is None:
        tree.delete(directory, kind, offset)
    else:
        tree.put(directory, kind, offset, payload)
