"""The first rows of a sort where directories lie below: of the upper one those that can matter.

An index has its files in the order of the sort. So many of them as rows are wanted, and all that
equal the last one, are enough: any other file of the directory comes behind these. A walk then
gives them and everything below in its own order, so that equal rows come as they would without an
index. For who may see all: files that may not be read would not count.
"""

from collections.abc import Callable, Iterator, Set

from affs_fuse.posix.index_keys import key_of_entry, object_of_entry
from affs_fuse.posix.indexes import open_index, pending_files
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_choice import UNSURE_RANGE, Choice
from affs_fuse.query.index_leaves import Leaves
from affs_fuse.query.index_source import PENDING_BYTES
from affs_fuse.query.memory import Allowance
from affs_fuse.query.rows import Entry

__all__ = ["TopBelow"]

FILE_BYTES = 60


class TopBelow:
    """open_walk: through these files of the directory and everything below it."""

    def __init__(
        self, reader: StateReader, directory: int, choice: Choice, memory: Allowance,
        open_walk: Callable[[Set[int]], Iterator[Entry | None]],
    ) -> None:  # fmt: skip
        assert choice.order is not None
        self._tree = reader.tree
        self._directory = directory
        self._memory = memory
        self._open_walk = open_walk
        self._walk: Iterator[Entry | None] | None = None
        pages = open_index(reader.tree, directory, choice.declared.id, choice.head)
        self._unsure = Leaves(pages, [UNSURE_RANGE])
        values = Leaves(pages, choice.ranges)
        self._next = values.backward if choice.order.descending else values.forward
        self._wanted = choice.order.wanted
        self._last: bytes | None = None
        self._cursor = 0
        self._pending: set[int] = set()
        self._files: set[int] = set()
        self._phases = [self._gather_pending, self._gather_unsure, self._gather_first]

    def __iter__(self) -> Iterator[Entry | None]:
        return self

    def __next__(self) -> Entry | None:
        if self._phases:
            if self._phases[0]():
                del self._phases[0]
            return None
        if self._walk is None:
            self._walk = self._open_walk(self._files | self._pending)
        return next(self._walk)

    def _gather_pending(self) -> bool:
        found = pending_files(self._tree, self._directory, self._cursor, PENDING_BYTES)
        self._memory.take(FILE_BYTES * len(found), "find")
        self._pending.update(found)
        if found:
            self._cursor = found[-1]
        return not found

    def _gather_unsure(self) -> bool:
        entries = self._unsure.forward()
        if entries is None:
            return True
        self._memory.take(FILE_BYTES * len(entries), "find")
        self._files.update(map(object_of_entry, entries))
        return False

    def _gather_first(self) -> bool:
        entries = self._next()
        if entries is None:
            return True
        for entry in entries:
            key, number = key_of_entry(entry), object_of_entry(entry)
            if number in self._pending:
                continue
            if self._wanted <= 0 and key != self._last:
                return True
            self._memory.take(FILE_BYTES, "find")
            self._files.add(number)
            self._last = key
            self._wanted -= 1
        return False
