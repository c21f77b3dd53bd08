"""Rows by way of an index: the records that it names, and those of which it knows nothing.

As every source these are iterators whose step may raise NodeMissing or DataMissing and is then made
again (sources.py). What an index names is only where to look: each record is read, and the stages
see it as if a walk had come by. Invariants:
- Files that are unsure or pending are always looked at.
- `IndexedFiles` gives rows in the order of a walk. `OrderedFiles` gives them by the value of the
  index, those of one value in the order of a walk, until what follows has enough.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.posix.found_files import FoundFile
from affs_fuse.posix.index_keys import UNSURE, Range, key_of_entry, object_of_entry
from affs_fuse.posix.indexes import open_index, pending_files
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.in_order import InOrder
from affs_fuse.query.index_choice import UNSURE_RANGE, Choice
from affs_fuse.query.index_values import key_of_row, read_expression
from affs_fuse.query.memory import Allowance
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import ENTRY_BYTES, EntryLoader
from affs_fuse.query.stages import row_size

__all__ = [
    "PENDING_BYTES", "PHASES_AT_ONCE", "Holder", "IndexSource", "IndexedFiles", "Named",
    "OrderedFiles",
]  # fmt: skip

RESOLVED_AT_ONCE = 16
"""Files of which one step looks up the names."""

PHASES_AT_ONCE = 4
"""Parts of the way to the next row that one step goes."""

PENDING_BYTES = 8 << 10
INLINE_BYTES_MAX = 1 << 20
"""Of contents that are kept from where names were looked up until the rows come; others are read
again."""


class Holder(NamedTuple):
    """The directory whose files are the rows. path: without a slash in front. by_name: its order is
    that of names, else that of the directory (sources.py)."""

    number: int
    path: bytes
    by_name: bool


class _Row(NamedTuple):
    """A file under one of its names. place: in the order of a walk. inline: its content, where that
    lies beside the inode. entry: where it was read."""

    place: bytes | int
    name: bytes
    number: int
    inode: Inode
    inline: bytes | None
    entry: Entry | None = None


class Named:
    """Finds the names of files in the directory, some at a time, and sorts them as a walk would."""

    def __init__(self, reader: StateReader, holder: Holder, memory: Allowance) -> None:
        self._reader = reader
        self._holder = holder
        self._memory = memory
        self._numbers: list[int] = []
        self._known: set[int] = set()
        self._at = 0
        self._found: list[_Row] = []
        self._inline_bytes = 0

    def add(self, numbers: list[int]) -> None:
        """These files too, each once."""
        new = [number for number in numbers if number not in self._known]
        if new:
            self._memory.take(ENTRY_BYTES * len(new), "find")
            self._known.update(new)
            self._numbers += new

    @property
    def numbers(self) -> set[int]:
        """The files whose names are looked for."""
        return set(self._numbers)

    def resolve(self) -> bool:
        """A part of it; whether that was all."""
        if self._at < len(self._numbers):
            numbers = self._numbers[self._at : self._at + RESOLVED_AT_ONCE]
            files = self._reader.files(numbers)
            rows = [self._rows_of(*one) for one in zip(numbers, files, strict=False)]
            for some in rows:
                self._found += some
            self._at += len(files)
        return self._at == len(self._numbers)

    def _rows_of(self, number: int, file: FoundFile | None) -> list["_Row"]:
        """Of one file, in no order; none if it is gone, as a pending one may be."""
        if file is None:
            return []
        inline = file.inline
        if inline is not None:
            self._inline_bytes += len(inline)
            inline = inline if self._inline_bytes <= INLINE_BYTES_MAX else None
        return [
            _Row(self._place(name), name, number, file.inode, inline)
            for parent, name in file.places
            if parent == self._holder.number
        ]

    def _place(self, name: bytes) -> bytes | int:
        if self._holder.by_name:
            return name
        return self._reader.cookie(self._holder.number, name)

    def take(self) -> list["_Row"]:
        """All of them in order; it is empty afterwards."""
        return sorted(self.take_unsorted(), key=lambda row: row.place)

    def take_unsorted(self) -> list["_Row"]:
        """The same in no order."""
        found = self._found
        self._memory.give(ENTRY_BYTES * len(self._numbers))
        self._numbers, self._known, self._at, self._found = [], set(), 0, []
        self._inline_bytes = 0
        return found


class IndexSource:
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
        self._named = Named(reader, holder, memory)
        self._pages = open_index(reader.tree, holder.number, choice.declared.id, choice.head)
        self._pending: set[int] = set()
        self._cursor = 0
        self._feeding: Iterator[_Row] = iter(())
        self._row: _Row | None = None
        self._order: InOrder[_Row] | None = None
        self._phases: list[Callable[[], bool]] = []

    def __iter__(self) -> Iterator[Entry | None]:
        return self

    def __next__(self) -> Entry | None:
        for _ in range(PHASES_AT_ONCE):
            row = self._row or next(self._feeding, None)
            if row is not None:
                self._row = row
                found = row.entry or self._load(row)
                self._row = None
                return found
            if not self._phases:
                raise StopIteration
            if self._phases[0]():
                del self._phases[0]
        return None

    def _load(self, row: _Row) -> Entry | None:
        entry = Entry(row.number, row.inode, self._holder.path, row.name)
        return self._loader.load(entry, row.inline)

    def _feed_all(self, found: Iterable[_Row]) -> None:
        self._feeding = iter(found)

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
        if self._order is None:
            if not self._named.resolve():
                return False
            self._order = InOrder([(row.place, row) for row in self._named.take_unsorted()])
        if not self._order.step():
            return False
        self._feed_all(self._order.all())
        return True


class IndexedFiles(IndexSource):
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


class OrderedFiles(IndexSource):
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
        self._singles: list[tuple[int, FoundFile]] = []
        self._held: dict[bytes, list[_Row]] = {}
        self._first: list[_Row] | None = None
        self._phases = [
            self._gather_pending, self._gather(UNSURE_RANGE), self._look_first, self._values
        ]  # fmt: skip

    def __next__(self) -> Entry | None:
        if not self._singles:
            return super().__next__()
        if self._enough():
            self._singles, self._chunk, self._at = [], [], None
            return None
        number, file = self._singles[-1]
        entry = Entry(number, file.inode, self._holder.path, file.places[0][1])
        found = self._loader.load(entry, file.inline)
        self._singles.pop()
        return found

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
        if self._singles or not self._collect():
            return False
        keys = [*self._held, *([self._key] if self._key is not None else [])]
        if not keys or self._enough():
            return True
        key = max(keys) if self._descending else min(keys)
        rows: list[_Row] = []
        if key == self._key:
            if len(self._group) == 1 and not self._held and self._take_singles():
                return False
            if self._group:
                self._named.add(self._group)
                if not self._named.resolve():
                    return False
                rows = self._named.take()
            self._key, self._group = None, []
        rows += self._held.pop(key, [])
        self._feed_all(sorted(rows, key=lambda row: row.place))
        return False

    def _take_singles(self) -> bool:
        """Look up at once the files of this value and of the next ones, as far as each value has
        one file with one name here; False if already the first one is otherwise."""
        numbers = [self._group[0], *self._next_singles()]
        holder = self._holder.number
        singles: list[tuple[int, FoundFile]] = []
        for number, file in zip(numbers, self._reader.files(numbers), strict=False):
            if file is None or len(file.places) != 1 or file.places[0][0] != holder:
                break
            singles.append((number, file))
        if not singles:
            return False
        del self._chunk[len(self._chunk) - len(singles) + 1 :]
        self._key, self._group = None, []
        singles.reverse()
        self._singles = singles
        return True

    def _next_singles(self) -> list[int]:
        """Of the entries that come next those of values that have no other entry."""
        ahead = self._chunk[: -RESOLVED_AT_ONCE : -1]
        keys = [key_of_entry(entry) for entry in ahead]
        alone = 0
        for key, next_key in pairwise(keys):
            if key == next_key:
                break
            alone += 1
        numbers = [object_of_entry(entry) for entry in ahead[:alone]]
        if not self._pending.isdisjoint(numbers):
            return []
        return numbers

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
        entries = found.entries
        if entries and not (low <= entries[0] and entries[-1] < high):
            entries = [entry for entry in entries if low <= entry < high]
        self._chunk = entries
        beyond = found.beyond
        if beyond is not None:
            inside = beyond > low if self._descending else beyond < high
            beyond = beyond if inside else None
        self._at = beyond
        if not self._descending:
            self._chunk.reverse()
