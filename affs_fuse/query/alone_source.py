"""Rows by an index alone: each value that it has, with how many records have it.

An iterator of `Many`, None in between, whose step may raise NodeMissing or DataMissing and is then
made again, as every source (sources.py). Invariants:
- Files that are unsure or pending, and those whose key does not tell the value, are read.
- A file counts once for each of its names in the directory. Where none can have two, which its
  figures tell, nothing is looked up for that; else the entries of the directory are gone through.
- Where it matters which value comes up first, values come in the order of a walk's first ones.
- `NotAlone` says that it cannot be done; where rows pass on at once (Covered.streams), no row has
  been given by then.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator, Set
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

from affs_fuse.auv import Value
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_INDEX_KEYS
from affs_fuse.errors import AffsError
from affs_fuse.posix.index_keys import (
    UNTOLD,
    Range,
    entry_of,
    key_of_entry,
    object_of_entry,
    value_of_key,
)
from affs_fuse.posix.indexes import open_index, pending_files
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.alone_choice import AloneChoice
from affs_fuse.query.alone_order import FirstSeen, NamedFile
from affs_fuse.query.covering import VALUE
from affs_fuse.query.faults import Trouble
from affs_fuse.query.in_order import InOrder, Place
from affs_fuse.query.index_choice import UNSURE_RANGE
from affs_fuse.query.index_leaves import Leaves, runs_of
from affs_fuse.query.index_source import PENDING_BYTES, PHASES_AT_ONCE, Holder, Named
from affs_fuse.query.index_use import intersected
from affs_fuse.query.index_values import read_expression
from affs_fuse.query.memory import Allowance
from affs_fuse.query.ordering import size_of
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import EntryLoader
from affs_fuse.volume.index_check import unpack_keys

__all__ = ["AloneSource", "Many", "NotAlone", "WalkAmong"]

READ_MIN = 1000
"""Files that are read in any case before it is given up."""

VALUE_BYTES = 200
NOT_NULL = Range(b"\x11", b"\xff")


class NotAlone(Exception):
    """The records have to be read after all."""


WalkAmong = Callable[[Set[int]], Iterator[Entry | None]]


class Many(NamedTuple):
    """row: that stands for so many records. counted: these fulfil all conditions, and that is all
    that the query wants to know of them."""

    row: dict[str, Any]
    times: int
    counted: bool = False


class AloneSource:
    """inode: of the directory. loader: for the files that are read. walk: opens the way through
    some of the files and what lies below; None if nothing does."""

    def __init__(
        self, reader: StateReader, holder: Holder, inode: Inode, choice: AloneChoice,
        loader: EntryLoader, memory: Allowance, walk: WalkAmong | None = None,
    ) -> None:  # fmt: skip
        self.covered = choice.covered
        self._open_walk = walk
        self._walk: Iterator[Entry | None] | None = None
        self._reader = reader
        self._holder = holder
        self._inode = inode
        self._choice = choice
        self._loader = loader
        self._memory = memory
        self._expression = read_expression(choice.declared.expression)
        self._pages = open_index(reader.tree, holder.number, choice.declared.id, choice.head)
        self._leaves = Leaves(self._pages, [UNSURE_RANGE])
        self._named = Named(reader, holder, memory)
        self._ready: deque[Many] = deque()
        self._rest: Iterator[Many] = iter(())
        self._phases: list[Callable[[], bool]] = [
            self._gather_pending, self._name_pending, self._gather_unsure, self._decide
        ]  # fmt: skip
        self._cursor = 0
        self._pending: set[int] = set()
        self._stale: dict[int, bytes] = {}
        self._stale_of: Counter[bytes] = Counter()
        self._changed: list[NamedFile] = []
        self._unsure: set[int] = set()
        self._key: bytes | None = None
        self._value: Any = UNTOLD
        self._count = 0
        self._untold = 0
        self._first: FirstSeen | None = None
        self._order: InOrder[Many] | None = None
        self._to_read: list[NamedFile] = []
        self._at = 0
        self._read: list[tuple[Place, Many]] = []

    def __iter__(self) -> Iterator[Many | None]:
        return self

    def __next__(self) -> Many | None:
        for _ in range(PHASES_AT_ONCE):
            if self._ready and not (self.covered.streams and self._phases):
                return self._ready.popleft()
            if not self._phases:
                return next(self._rest)
            try:
                if self._phases[0]():
                    del self._phases[0]
            except AffsError as error:
                if error.code != "query.memory":
                    raise
                raise NotAlone(error.message) from None
        return None

    # ---- what the index does not know ----

    def _gather_pending(self) -> bool:
        tree, directory = self._reader.tree, self._holder.number
        found = pending_files(tree, directory, self._cursor, PENDING_BYTES)
        keys = [tree.get(directory, ITEM_INDEX_KEYS, number) for number in found]
        self._named.add(found)
        self._pending.update(found)
        for number, payload in zip(found, keys, strict=True):
            key = unpack_keys(payload).get(self._choice.declared.id) if payload else None
            if key is not None:
                self._stale[number] = key
        if found:
            self._cursor = found[-1]
        return not found

    def _name_pending(self) -> bool:
        if not self._named.resolve():
            return False
        self._changed = self._take_named()
        return True

    def _take_named(self) -> list[NamedFile]:
        rows = self._named.take()
        return [NamedFile(row.place, row.name, row.number, row.inode) for row in rows]

    def _gather_unsure(self) -> bool:
        entries = self._leaves.forward()
        if entries is None:
            return True
        self._unsure.update(map(object_of_entry, entries))
        return False

    def _decide(self) -> bool:
        """How the rest is done."""
        covered, ranges = self.covered, self._choice.ranges
        self._unsure -= self._pending
        self._check_read(len(self._unsure))
        self._stale_of.update(self._stale.values())
        self._leaves = Leaves(self._pages, ranges)
        if covered.ordered or not self._reader.sees_all or not self._has_single_names():
            if self._open_walk is not None:
                raise NotAlone("files may have several names, and directories lie below")
            self._first = FirstSeen(
                self._reader, self._holder, self._leaves, self._unsure | self._pending,
                self._memory, size=self._inode.size, by_value=covered.uses_value,
            )  # fmt: skip
            self._phases += [self._see_first, self._read_file, self._sort]
            return True
        self._named.add(sorted(self._unsure))
        if covered.ends:
            self._leaves = Leaves(self._pages, intersected(ranges, (NOT_NULL,)))
            self._phases += [self._find_least, self._find_greatest]
        else:
            self._phases += [self._count_files if covered.counted else self._count_values]
        if self._open_walk is None:
            self._phases += [self._name_read, self._read_file]
        else:
            self._phases += [self._walk_on]
        return True

    def _has_single_names(self) -> bool:
        """Whether each file that does not wait has one name here: each entry is a directory, of a
        file that waits, or the only one of its file."""
        known = self._choice.head.shape.entries - len(self._stale) + len(self._changed)
        return known + self._inode.nlink - 2 == self._inode.size

    def _check_read(self, files: int) -> None:
        """Errors: NotAlone. (Not for who may not read all: it would tell something.)"""
        if self.covered.stops_early and files + len(self._pending):
            raise NotAlone("files have to be read")
        if self._reader.sees_all and files > max(READ_MIN, self._inode.size // 4):
            raise NotAlone(f"more than {files} files have to be read")

    # ---- values in the order of the index ----

    def _count_files(self) -> bool:
        """All that lies in the ranges. Without conditions that is everything but what is read."""
        if self.covered.ranges is None:
            self._count = self._choice.head.shape.entries - len(self._unsure) - len(self._stale)
        else:
            entries = self._leaves.forward()
            if entries is not None:
                self._count += len(entries)
                return False
            stale = [entry_of(key, number) for number, key in self._stale.items()]
            for low, high in self._choice.ranges:
                self._count -= sum(low <= entry < high for entry in stale)
        self._ready.append(Many({VALUE: None}, self._count, counted=True))
        return True

    def _count_values(self) -> bool:
        entries = self._leaves.forward()
        if entries is None:
            self._end_value()
            return True
        for key, start, end in runs_of(entries):
            if key != self._key:
                self._end_value()
                self._key, self._value, self._count = key, value_of_key(key), 0
            if self._value is UNTOLD:
                numbers = map(object_of_entry, entries[start:end])
                self._named.add([number for number in numbers if number not in self._pending])
                self._untold += end - start
            else:
                self._count += end - start
        self._check_read(self._untold)
        return False

    def _end_value(self) -> None:
        if self._key is not None and self._value is not UNTOLD:
            self._give(self._value, self._count - self._stale_of[self._key])

    def _give(self, value: Value, times: int) -> None:
        if times:
            if self.covered.streams:
                self._memory.take(size_of(value) + VALUE_BYTES, "distinct")
            self._ready.append(Many({VALUE: value}, times))

    def _find_least(self) -> bool:
        """The least value that is not Null, which aggregates leave out."""
        entries = self._leaves.forward()
        if entries is not None and not self._found_among(entries):
            return False
        self._leaves = Leaves(self._pages, intersected(self._choice.ranges, (NOT_NULL,)))
        self._key = None
        return True

    def _find_greatest(self) -> bool:
        entries = self._leaves.backward()
        return entries is None or self._found_among(entries)

    def _found_among(self, entries: list[bytes]) -> bool:
        """Whether all files were found that have the first value among these. One does, unless its
        key does not tell the value: then they are read."""
        for entry in entries:
            key, number = key_of_entry(entry), object_of_entry(entry)
            if number in self._pending:
                continue
            if self._key not in (None, key):
                return True
            value = value_of_key(key)
            if value is not UNTOLD:
                self._give(value, 1)
                return True
            self._key = key
            self._untold += 1
            self._named.add([number])
        self._check_read(self._untold)
        return False

    # ---- values in the order of a walk ----

    def _see_first(self) -> bool:
        first = self._first
        assert first is not None
        ended = first.step()
        self._check_read(first.untold)
        if ended:
            self._to_read = sorted(first.to_read, key=_place)
        return ended

    def _sort(self) -> bool:
        """All values, and those that were read among them."""
        if self._order is None:
            assert self._first is not None
            self._order = InOrder(chain(self._read, self._many(self._first.seen)))
        if not self._order.step():
            return False
        self._rest = self._order.all()
        return True

    def _many(self, seen: dict[bytes, tuple[Place, int]]) -> Iterator[tuple[Place, Many]]:
        for key, (place, times) in seen.items():
            value = value_of_key(key) if self.covered.uses_value else None
            yield place, Many({VALUE: value}, times)

    # ---- files that are read ----

    def _name_read(self) -> bool:
        if not self._named.resolve():
            return False
        self._to_read = sorted(self._changed + self._take_named(), key=_place)
        return True

    def _read_file(self) -> bool:
        if self._at == len(self._to_read):
            return True
        file = self._to_read[self._at]
        inode = file.inode or self._reader.inode(file.number)
        if inode is None:
            raise NotAlone("an entry of the directory names no object")
        entry = self._loader.load(Entry(file.number, inode, self._holder.path, file.name))
        self._at += 1
        if entry is None:
            return False
        value = self._value_of(entry)
        if self._first is None:
            self._give(value, 1)
        else:
            self._memory.take(size_of(value) + VALUE_BYTES, "find")
            self._read.append((file.place, Many({VALUE: value}, 1)))
        return False

    def _walk_on(self) -> bool:
        """The files to be read and everything below, in the order of a walk."""
        if self._walk is None:
            assert self._open_walk is not None
            self._walk = self._open_walk(self._named.numbers | self._pending)
        try:
            entry = next(self._walk)
        except StopIteration:
            return True
        if entry is not None:
            self._give(self._value_of(entry), 1)
        return False

    def _value_of(self, entry: Entry) -> Value:
        if not self.covered.uses_value:
            return None
        try:
            return self._expression.run(entry)
        except Trouble as trouble:
            raise NotAlone(f"of a record {trouble.message}") from None


_place = attrgetter("place")
