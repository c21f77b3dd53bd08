"""Objects without a name: kept while somebody uses them, then removed in bounded steps.

semantics.md promise 6 and disk-layout.md, "Opening and falling back". An object whose last name
goes, or that is made without one, gets an ORPHAN item in the same operation, so that a crash at any
moment leaves it listed; the item goes with the inode. A file with names has an ORPHAN item while a
truncation's rest is still to be removed (file_data.py). An object may go when no handle is open on
it and the kernel has forgotten it.
"""

from affs_fuse.core.codec import Extent, Inode, Xattr
from affs_fuse.core.constants import (
    ITEM_EXTENT,
    ITEM_INODE,
    ITEM_ORPHAN,
    ITEM_XATTR,
    OBJECT_ORPHANS,
    XATTR_EXTENT,
)
from affs_fuse.core.tree import Item, Tree
from affs_fuse.posix.file_data import FileData
from affs_fuse.volume.reserve import RoomKind
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = ["Orphans"]

STEP_BYTES = 64 << 10
"""Of items that one step takes away: some 15 extent items of 4 MiB, or several hundred small ones.
"""


class Orphans:
    """Of one state. numbers: objects without a name; waiting: those of them that may go now."""

    def __init__(self, volume: Volume, state: WorkingState, data: FileData) -> None:
        self._volume = volume
        self._state = state
        self._tree = state.tree
        self._data = data
        self.numbers: set[int] = set()
        self._waiting: dict[int, None] = {}

    @property
    def pending(self) -> bool:
        """Is there something for step() to do?"""
        return bool(self._waiting or self._data.tails)

    def load(self) -> list[int]:
        """Read the list from the tree; the objects without a name. Errors: NodeMissing."""
        numbers: set[int] = set()
        tails: set[int] = set()
        first, end = (OBJECT_ORPHANS, ITEM_ORPHAN, 0), (OBJECT_ORPHANS, ITEM_ORPHAN + 1, 0)
        for _, _, number, _ in self._tree.iterate(first, end):
            payload = self._tree.get(number, ITEM_INODE, 0)
            linked = payload is not None and Inode.unpack(payload).nlink > 0
            (tails if linked else numbers).add(number)
        self.numbers = numbers
        self._data.tails = tails
        return sorted(numbers)

    def add(self, number: int) -> None:
        """Put the ORPHAN item, whose place was touched before."""
        self._tree.put(OBJECT_ORPHANS, ITEM_ORPHAN, number, b"")
        self.numbers.add(number)

    def is_whole(self, number: int) -> bool:
        """Whether an object without a name has all that it had."""
        return number in self.numbers and number not in self._waiting

    def take_back(self, number: int) -> None:
        """A file without a name gets one. The item, whose place was touched before, goes,
        unless it also says that a truncation's rest is to be removed.
        """
        self.numbers.discard(number)
        if self._data.tails is not None and number not in self._data.tails:
            self._tree.delete(OBJECT_ORPHANS, ITEM_ORPHAN, number)

    def release(self, number: int) -> None:
        """Nobody uses the object any more: it goes with the next steps."""
        if number in self.numbers:
            self._waiting[number] = None

    def step(self) -> bool:
        """Take away a bounded part of what may go; whether more is left.

        Errors: NodeMissing; volume.no_space, volume.read_only.
        """
        if self._waiting:
            self.remove_part(next(iter(self._waiting)))
        elif self._data.tails:
            self._data.cut_tail(next(iter(self._data.tails)))
        return self.pending

    def remove_part(self, number: int) -> None:
        """Take away a bounded part of one object. Errors: as step()."""
        tree = self._tree
        end = (number + 1, 0, 0)
        items = tree.scan((number, 0, 0), end, STEP_BYTES)
        last = _is_last(tree, items, number)
        tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
        self._volume.reserve_metadata(RoomKind.REMOVE)
        self._data.discard(number)
        freed = 0
        for _, kind, offset, payload in items:
            freed += self._drop(kind, payload)
            if last or kind != ITEM_INODE:
                tree.delete(number, kind, offset)
        if last:
            self._forget(number, bool(items))
        elif freed and items[0][1] == ITEM_INODE:
            inode = Inode.unpack(items[0][3])
            tree.put(number, ITEM_INODE, 0, inode._replace(blocks=inode.blocks - freed).pack())

    def _forget(self, number: int, existed: bool) -> None:
        self._tree.delete(OBJECT_ORPHANS, ITEM_ORPHAN, number)
        self.numbers.discard(number)
        self._waiting.pop(number, None)
        if self._data.tails is not None:
            self._data.tails.discard(number)
        if existed:
            # Never below the root directory, however wrong the count was: the record could not be
            # written, or would be refused.
            self._state.object_count = max(1, self._state.object_count - 1)

    def _drop(self, kind: int, payload: bytes) -> int:
        """Give back an item's blocks; how many of them were file data."""
        if kind == ITEM_EXTENT:
            extent = Extent.unpack(payload)
        elif kind == ITEM_XATTR and (fixed := Xattr.unpack(payload)).storage == XATTR_EXTENT:
            extent = Extent.unpack(payload, Xattr.SIZE + fixed.name_length)
        else:
            return 0
        self._volume.drop_blocks(extent.address, extent.blocks, extent.birth, self._state)
        return extent.blocks if kind == ITEM_EXTENT else 0


def _is_last(tree: Tree, items: list[Item], number: int) -> bool:
    if not items:
        return True
    _, kind, offset, _ = items[-1]
    following = tree.seek(number, kind, offset + 1)
    return following is None or following[0] != number
