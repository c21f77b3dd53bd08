"""Indexes held against their rules by a verification, one directory after the other.

A scan of what is new in a state meets items of an index; then all of that directory's index items
are read once more, in that state, and judged as a whole (index_check.py). Invariants:
- What was met and not judged yet stands in the cursor, or the cursor stands before it.
- A directory of which a node cannot be read, or that is removed, is not judged: that its items
  contradict each other says nothing then.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_INDEX, ITEM_INDEX_KEYS, ITEM_INODE, TREE_NAMESPACE
from affs_fuse.volume.index_check import IndexCheck
from affs_fuse.volume.scrub import Damage
from affs_fuse.volume.verify_nodes import Key

__all__ = ["INDEX", "WAITING_KEPT_MAX", "DirectoryCheck", "MetIndexes"]

INDEX = "verify.index"
WAITING_KEPT_MAX = 128
"""In a cursor, which is one item; beyond that it stands before the first that it has not."""

PROBLEMS_TOLD = 4
STEPS_AT_ONCE = 64
"""Pages of an index that are fitted together in one turn."""


@dataclass(slots=True)
class MetIndexes:
    """waiting: (state, directory) of what was met and is still to be judged."""

    waiting: deque[tuple[int, int]] = field(default_factory=deque)
    _last: tuple[int, int] = (-1, 0)

    def looker(self, state: int) -> Callable[[Key, bytes], None]:
        """Told of the items of a state in the order of their keys (TreeScan.on_item)."""

        def look_at(key: Key, payload: bytes) -> None:
            if ITEM_INDEX <= key[1] <= ITEM_INDEX_KEYS and self._last != (state, key[0]):
                self._last = state, key[0]
                self.waiting.append(self._last)

        return look_at


@dataclass(slots=True)
class DirectoryCheck:
    """One directory. ranges: of keys, still to be read. broken: a node of it is damaged."""

    state: int
    directory: int
    ranges: deque[tuple[Key, Key]] = field(default_factory=deque)
    broken: bool = False
    _there: bool = False
    _check: IndexCheck = field(default_factory=IndexCheck)

    @classmethod
    def of(cls, state: int, directory: int) -> "DirectoryCheck":
        begin, end = (directory, ITEM_INDEX, 0), (directory, ITEM_INDEX_KEYS + 1, 0)
        inode = (directory, ITEM_INODE, 0), (directory, ITEM_INODE + 1, 0)
        return cls(state, directory, deque((inode, (begin, end))))

    def take(self, key: Key, payload: bytes) -> None:
        """An item of the ranges, in order."""
        if key[1] == ITEM_INODE:
            self._there = Inode.unpack(payload).nlink > 0
        elif key[1] == ITEM_INDEX:
            self._check.take_page(key[2], payload)
        elif key[1] == ITEM_INDEX_KEYS:
            self._check.take_keys(key[2], payload)

    def verdict(self) -> Iterator[Damage | None]:
        """In steps: nothing, or at last what is wrong."""
        if self.broken or not self._there:
            return
        for count, _ in enumerate(self._check.steps()):
            if count % STEPS_AT_ONCE == 0:
                yield None
        problems = self._check.problems
        if problems:
            more = len(problems) - PROBLEMS_TOLD
            text = "; ".join(problems[:PROBLEMS_TOLD]) + (f"; and {more} more" if more > 0 else "")
            low, high = (self.directory, ITEM_INDEX, 0), (self.directory, ITEM_INDEX_KEYS + 1, 0)
            yield Damage(INDEX, text, f"object {self.directory}", TREE_NAMESPACE, low, high, -1)
