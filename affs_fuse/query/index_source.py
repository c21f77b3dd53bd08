"""Rows by way of an index: the records that it names, and those of which it knows nothing.

As every source these are iterators whose step may raise NodeMissing or DataMissing and is then made
again (sources.py). What an index names is only where to look: each record is read, and the stages
see it as if a walk had come by. Invariants:
- Files that are unsure or pending are always looked at.
- `IndexedFiles` gives rows in the order of a walk. `OrderedFiles` gives them by the value of the
  index, those of one value in the order of a walk, until what follows has enough.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.posix.index_keys import UNSURE, Range, key_of_entry, object_of_entry
from affs_fuse.posix.indexes import open_index, pending_files
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_choice import UNSURE_RANGE, Choice
from affs_fuse.query.index_values import key_of_row, read_expression
from affs_fuse.query.memory import Allowance
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import ENTRY_BYTES, EntryLoader
from affs_fuse.query.stages import row_size

__all__ = ["Holder", "IndexedFiles", "OrderedFiles"]

RESOLVED_AT_ONCE = 32
"""Files of which one step looks up the names."""

PHASES_AT_ONCE = 4
"""Parts of the way to the next row that one step goes."""

PENDING_BYTES = 8 << 10


class Holder(NamedTuple):
    """The directory whose files are the rows. path: without a slash in front. by_name: its order is
    that of names, else that of the directory (sources.py)."""

    number: int
    path: bytes
    by_name: bool


class _Row(NamedTuple):
    """A file under one of its names. place: in the order of a walk. entry: where it was read."""

    place: bytes | int
    name: bytes
    number: int
    inode: Inode
    entry: Entry | None = None


class _Named:
    """Finds the names of files in the directory, some at a time, and sorts them as a walk would."""

    def __init__(self, reader: StateReader, holder: Holder, memory: Allowance) -> None:
        self._reader = reader
        self._holder = holder
        self._memory = memory
        self._numbers: list[int] = []
        self._known: set[int] = set()
        self._at = 0
        self._found: list[_Row] = []

    def add(self, numbers: list[int]) -> None:
        """These files too, each once."""
        new = [number for number in numbers if number not in self._known]
        if new:
            self._memory.take(ENTRY_BYTES * len(new), "find")
            self._known.update(new)
            self._numbers += new

    def resolve(self) -> bool:
        """A part of it; whether that was all."""
        end = min(self._at + RESOLVED_AT_ONCE, len(self._numbers))
        while self._at < end:
            self._found += self.names_of(self._numbers[self._at])
            self._at += 1
        return self._at == len(self._numbers)

    def names_of(self, number: int) -> list["_Row"]:
        """Of one file, in no order; none if it is gone, as a pending one may be."""
        inode = self._reader.inode(number)
        if inode is None:
            return []
        return [
            _Row(self._place(name), name, number, inode)
            for parent, name in self._reader.places(number, inode.nlink)
            if parent == self._holder.number
        ]

    def _place(self, name: bytes) -> bytes | int:
        if self._holder.by_name:
            return name
        return self._reader.cookie(self._holder.number, name)

    def take(self) -> list["_Row"]:
        """All of them in order; it is empty afterwards."""
        found = sorted(self._found, key=lambda row: row.place)
        self._memory.give(ENTRY_BYTES * len(self._numbers))
        self._numbers, self._known, self._at, self._found = [], set(), 0, []
        return found


class _IndexSource:
    """Base: works off a list of phases, each of which gives None until it has ended."""

    def __init__(
        self, reader: StateReader, holder: Holder, choice: Choice, loader: EntryLoader,
        memory: Allowance,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._holder = holder
        self._choice = choice
        self._loader = loader
        self._memory = memory
        self._named = _Named(reader, holder, memory)
        self._pages = open_index(reader.tree, holder.number, choice.declared.id, choice.head)
        self._pending: set[int] = set()
        self._cursor = 0
        self._feeding: list[_Row] = []
        self._fed = 0
        self._phases: list[Callable[[], bool]] = []

    def __iter__(self) -> Iterator[Entry | None]:
        return self

    def __next__(self) -> Entry | None:
        for _ in range(PHASES_AT_ONCE):
            if self._fed < len(self._feeding):
                row = self._feeding[self._fed]
                found = row.entry or self._load(row)
                self._fed += 1
                return found
            if not self._phases:
                raise StopIteration
            if self._phases[0]():
                del self._phases[0]
        return None

    def _load(self, row: _Row) -> Entry | None:
        return self._loader.load(Entry(row.number, row.inode, self._holder.path, row.name))

    def _feed_all(self, found: list[_Row]) -> None:
        self._feeding, self._fed = found, 0

    def _gather_pending(self) -> bool:
        found = pending_files(self._reader.tree, self._holder.number, self._cursor, PENDING_BYTES)
        self._named.add(found)
        self._pending.update(found)
        if found:
            self._cursor = found[-1]
        return not found

    def _gather(self, wanted: Range) -> Callable[[], bool]:
        """A phase: all files that have an entry in this range."""
        at = wanted.low

        def gather() -> bool:
            nonlocal at
            chunk = self._pages.forward(at)
            inside = [entry for entry in chunk.entries if entry < wanted.high]
            self._named.add([object_of_entry(entry) for entry in inside])
            if chunk.beyond is None or chunk.beyond >= wanted.high:
                return True
            at = chunk.beyond
            return False

        return gather

    def _feed_named(self) -> bool:
        if not self._named.resolve():
            return False
        self._feed_all(self._named.take())
        return True


class IndexedFiles(_IndexSource):
    """The records whose values lie in the ranges, in the order of a walk."""

    def __init__(
        self, reader: StateReader, holder: Holder, choice: Choice, loader: EntryLoader,
        memory: Allowance,
    ) -> None:  # fmt: skip
        super().__init__(reader, holder, choice, loader, memory)
        ranges = [UNSURE_RANGE, *choice.ranges]
        self._phases = [
            self._gather_pending, *(self._gather(one) for one in ranges), self._feed_named
        ]  # fmt: skip


class OrderedFiles(_IndexSource):
    """The records in the order of the index, value by value. enough: whether what was given
    decides, so that larger values (or smaller ones, descending) cannot matter."""

    def __init__(
        self, reader: StateReader, holder: Holder, choice: Choice, loader: EntryLoader,
        memory: Allowance, enough: Callable[[], bool],
    ) -> None:  # fmt: skip
        super().__init__(reader, holder, choice, loader, memory)
        assert choice.order is not None
        self._descending = choice.order.descending
        self._enough = enough
        self._expression = read_expression(choice.declared.expression)
        self._span = choice.ranges[0]
        self._at: bytes | None = self._span.high if self._descending else self._span.low
        self._chunk: list[bytes] = []
        self._key: bytes | None = None
        self._group: list[int] = []
        self._held: dict[bytes, list[_Row]] = {}
        self._first: list[_Row] | None = None
        self._phases = [
            self._gather_pending, self._gather(UNSURE_RANGE), self._look_first, self._values
        ]  # fmt: skip

    def _look_first(self) -> bool:
        """Unsure and pending files in the order of a walk: the values of those that are records
        take their places in the order, all else is told or fails now."""
        if self._first is None:
            if not self._named.resolve():
                return False
            self._first = self._named.take()
        if not self._first:
            return True
        row = self._first[0]
        entry = self._load(row)
        del self._first[0]
        if entry is None:
            return False
        key = key_of_row(self._expression, entry)
        if key == UNSURE:
            self._feed_all([row._replace(entry=entry)])
        else:
            self._memory.take(row_size(entry), "sort")
            self._held.setdefault(key, []).append(row._replace(entry=entry))
        return False

    def _values(self) -> bool:
        """The next value's files, a step of the way to them; True if there is none."""
        if not self._collect():
            return False
        keys = [*self._held, *([self._key] if self._key is not None else [])]
        if not keys or self._enough():
            return True
        key = max(keys) if self._descending else min(keys)
        rows: list[_Row] = []
        if key == self._key:
            if len(self._group) == 1:
                rows = self._named.names_of(self._group[0])
            elif self._group:
                self._named.add(self._group)
                if not self._named.resolve():
                    return False
                rows = self._named.take()
            self._key, self._group = None, []
        rows += self._held.pop(key, [])
        self._feed_all(sorted(rows, key=lambda row: row.place))
        return False

    def _collect(self) -> bool:
        """Take in the files of the index's next value; whether that is all of them."""
        chunk = self._chunk
        while chunk:
            key = key_of_entry(chunk[-1])
            if self._key is None:
                self._key = key
            if key != self._key:
                return True
            number = object_of_entry(chunk.pop())
            if number not in self._pending:
                self._group.append(number)
        if self._at is None:
            return True
        self._read_chunk(self._at)
        return False

    def _read_chunk(self, at: bytes) -> None:
        low, high = self._span
        found = self._pages.backward(at) if self._descending else self._pages.forward(at)
        self._chunk = [entry for entry in found.entries if low <= entry < high]
        beyond = found.beyond
        if beyond is not None:
            inside = beyond > low if self._descending else beyond < high
            beyond = beyond if inside else None
        self._at = beyond
        if not self._descending:
            self._chunk.reverse()
