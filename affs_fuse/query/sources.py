"""Where rows come from: the files of one state (docs/specs/QueryLanguage.md, "Sources").

Sources are iterators whose next step may raise NodeMissing or DataMissing; the step is then made
again, and nothing is lost or given twice. A step looks at one file, or reads one part of a
directory, and gives None where that is no row: so none is long. Order: a directory's entries by
the bytes of their names, each directory followed by what is in it; of what changed, by object
number.
"""

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from functools import lru_cache
from heapq import merge
from typing import Protocol

from affs_fuse.auv import TextError, Value, parse_quick
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_INDEX, ITEM_INDEX_KEYS, ITEM_INDEX_PENDING
from affs_fuse.core.tree import Diff, Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.index_turn import RECORD_BYTES_MAX
from affs_fuse.posix.permissions import READ
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_choice import NO_HINTS, IndexHints
from affs_fuse.query.memory import Allowance
from affs_fuse.query.paths import path_text
from affs_fuse.query.rows import Entry, Needs

__all__ = [
    "ENTRY_BYTES", "RECORD_BYTES_MAX", "SORTED_ENTRIES_MAX", "ChangedFiles", "EntryLoader",
    "Frame", "OneFile", "Report", "RowSource", "TreeWalk", "Wanted",
    "record_problem", "record_too_large",
]  # fmt: skip

SORTED_ENTRIES_MAX = 200_000
"""Of a directory that is read whole and sorted by name; larger ones keep their own order."""

ENTRY_BYTES = 160
_NOT_OF_THE_FILE = frozenset((ITEM_INDEX, ITEM_INDEX_KEYS, ITEM_INDEX_PENDING))
"""Items of a directory that change with the files in it."""

PROBLEMS_SHOWN = 100

CACHED_BYTES_MAX = 512
CACHED_RECORDS = 4096
"""At most some ten MiB with the values."""

_parse_cached = lru_cache(CACHED_RECORDS)(parse_quick)
"""For queries by an index, which come back to the same few records: the text decides what the value
is, and nobody changes the value of a row. A walk would only push them out."""


@dataclass(slots=True)
class Report:
    """What happened on the way. files: looked at. refused: no records, for `problems` (the first of
    them). denied: files and directories that this user may not read. index: the names of indexes
    that said where to look, or "". note: what else there is to say, or ""."""

    files: int = 0
    refused: int = 0
    denied: int = 0
    problems: list[dict[str, Value]] = field(default_factory=list)
    index: str = ""
    note: str = ""

    def asked(self, index: str) -> None:
        """An index said where to look."""
        known = self.index.split(", ") if self.index else []
        if index not in known:
            self.index = ", ".join([*known, index])

    def copy(self) -> "Report":
        return replace(self, problems=list(self.problems))

    def set(self, other: "Report") -> None:
        """Back to what it was."""
        for one in fields(self):
            setattr(self, one.name, getattr(other, one.name))

    def refuse(self, problem: AffsError) -> None:
        """One file that is no record."""
        self.refused += 1
        if len(self.problems) < PROBLEMS_SHOWN:
            found = {"code": problem.code, "message": problem.message, **problem.details}
            self.problems.append(found)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a query asks of its source. early: a condition on attributes that the inode and the name
    tell; needs: what to read of files that fulfil it; hints: what an index could be asked for."""

    records: bool
    needs: Needs
    early: Callable[[Entry], bool] | None
    hints: IndexHints = NO_HINTS


class RowSource(Protocol):
    """An iterator over entries, with None in between; see the module."""

    def __next__(self) -> Entry | None: ...


def record_problem(path: bytes, error: TextError) -> AffsError:
    """A file whose content is no AJIS text."""
    text = path_text(path)
    details = {"path": text, **error.details}
    return AffsError(
        "record.syntax", Category.INVALID, f"{text}: {error.message}",
        hint="it is left as it is; mend it with an editor", details=details,
    )  # fmt: skip


def record_too_large(path: bytes, size: int) -> AffsError:
    text = path_text(path)
    return AffsError(
        "record.too_large", Category.INVALID,
        f"{text}: {size} bytes, a record has at most {RECORD_BYTES_MAX}",
        details={"path": text, "size": size, "limit": RECORD_BYTES_MAX},
    )  # fmt: skip


class EntryLoader:
    """Turns a file into an entry with what the query needs, or into nothing. by_index: it is looked
    at because of its content, so what may not be read is not even counted."""

    def __init__(
        self, reader: StateReader, wanted: Wanted, report: Report, *, by_index: bool = False
    ) -> None:
        self._reader = reader
        self._report = report
        self._silent = by_index and not reader.sees_all
        self._records = wanted.records
        self._early = wanted.early
        self._xattrs = Needs.XATTRS in wanted.needs
        self._births = Needs.BIRTHS in wanted.needs
        self._authors = Needs.AUTHORS in wanted.needs
        self._content = wanted.records and Needs.CONTENT in wanted.needs
        self._parse = _parse_cached if by_index else parse_quick

    def load(self, entry: Entry, inline: bytes | None = None) -> Entry | None:
        """The entry, filled; None if it is no row. inline: what is known of its content already.
        Errors: NodeMissing, DataMissing, before anything was counted."""
        report = self._report
        inode = entry.inode
        if self._records and not stat.S_ISREG(inode.mode):
            return None
        if self._silent and not self._reader.may(entry.number, inode, READ):
            return None
        if self._early is not None and not self._early(entry):
            report.files += 1
            return None
        if self._xattrs:
            entry.xattrs = {
                path_text(name): _xattr_value(value)
                for name, value in self._reader.xattrs(entry.number).items()
            }
        if self._births and inode.blocks:
            entry.birth = self._reader.newest_extent(entry.number)
        if self._authors:
            entry.author = self._reader.author(inode)
        if self._content and not self._read(entry, inline):
            return None
        report.files += 1
        return entry

    def _read(self, entry: Entry, inline: bytes | None) -> bool:
        """Whether the content is a record."""
        report, inode = self._report, entry.inode
        if not self._reader.may(entry.number, inode, READ):
            report.files += 1
            report.denied += 1
            return False
        if inode.size > RECORD_BYTES_MAX:
            report.files += 1
            report.refuse(record_too_large(entry.path, inode.size))
            return False
        if inline is not None and not inode.blocks and len(inline) == inode.size:
            text = inline
        else:
            text = self._reader.content(entry.number, inode)
        try:
            entry.value = self._parse(text) if len(text) <= CACHED_BYTES_MAX else parse_quick(text)
        except TextError as error:
            report.files += 1
            report.refuse(record_problem(entry.path, error))
            return False
        entry.text = text
        return True


def _xattr_value(value: bytes) -> Value:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


class Frame:
    """A directory that is being gone through: read in parts, each sorted; then the parts merged.

    current: the entry whose turn it is. size: what its entries were counted in memory. streams: it
    is too large to be sorted, and keeps its own order."""

    def __init__(self, number: int, path: bytes, *, streams: bool) -> None:
        self.number = number
        self.path = path
        self.current: tuple[bytes, int] | None = None
        self.size = 0
        self._streams = streams
        self._cookie = 0
        self._parts: list[list[tuple[bytes, int]]] = []
        self._whole = False
        self._rest: Iterator[tuple[bytes, int]] | None = None

    def advance(self, reader: StateReader, memory: Allowance) -> bool:
        """One step on: a part is read, or there is a `current` entry. False at the end."""
        if self._rest is not None:
            self.current = next(self._rest, None)
            if self.current is not None:
                return True
            if self._whole:
                return False
        self._read(reader, memory)
        return True

    def _read(self, reader: StateReader, memory: Allowance) -> None:
        part, cookie = self._next_part(reader)
        self._whole = not cookie
        self._cookie = cookie
        if self._streams:
            self._rest = iter(part)
            return
        if not cookie:
            self._rest = merge(*self._parts)
            self._parts = []
            return
        size = ENTRY_BYTES * len(part)
        memory.take(size, "find")
        self.size += size
        part.sort()
        self._parts.append(part)

    def _next_part(self, reader: StateReader) -> tuple[list[tuple[bytes, int]], int]:
        """Names and objects, and the cookie behind them; 0 if there are no more."""
        found = reader.entries(self.number, self._cookie)
        return [(name, number) for _, name, number in found], found[-1][0] if found else 0

    def _end_with(self, named: list[tuple[bytes, int]]) -> None:
        """These are all entries, in their order."""
        self._rest = iter(named)
        self._whole = True


class TreeWalk:
    """The files of a directory, and with deep all below it; a file alone if that is what the path
    names. The directory itself is no row. Errors of the constructor: those of `resolve`."""

    def __init__(
        self,
        reader: StateReader,
        start: tuple[bytes, int, Inode],
        wanted: Wanted,
        report: Report,
        memory: Allowance,
        *,
        deep: bool,
    ) -> None:
        path, number, inode = start
        self._reader = reader
        self._loader = EntryLoader(reader, wanted, report)
        self._report = report
        self._memory = memory
        self._deep = deep
        self._frames: list[Frame] = []
        self._single: Entry | None = None
        if stat.S_ISDIR(inode.mode):
            if reader.may_list(number, inode):
                self._push(number, inode, path)
            else:
                report.denied += 1
        else:
            directory, _, name = path.rpartition(b"/")
            self._single = Entry(number, inode, directory, name)

    def __iter__(self) -> Iterator[Entry | None]:
        return self

    def __next__(self) -> Entry | None:
        if self._single is not None:
            entry = self._loader.load(self._single)
            self._single = None
            return entry
        if not self._frames:
            raise StopIteration
        frame = self._frames[-1]
        if frame.current is None and not frame.advance(self._reader, self._memory):
            self._memory.give(frame.size)
            self._frames.pop()
        if frame.current is None:
            return None
        return self._take(frame, frame.current)

    def _take(self, frame: Frame, named: tuple[bytes, int]) -> Entry | None:
        """The entry whose turn it is; None if it is no row."""
        name, number = named
        inode = self._reader.inode(number)
        if inode is None:
            raise AffsError(
                "volume.structure", Category.CORRUPT,
                f"an entry of directory {frame.number} names no object",
            )  # fmt: skip
        entry = Entry(number, inode, frame.path, name)
        enters = self._deep and stat.S_ISDIR(inode.mode)
        allowed = enters and self._reader.may_list(number, inode)
        found = self._loader.load(entry)
        frame.current = None
        if allowed:
            self._push(number, inode, entry.path[1:])
        elif enters:
            self._report.denied += 1
        return found

    def _push(self, number: int, inode: Inode, path: bytes) -> None:
        streams = inode.size > SORTED_ENTRIES_MAX
        self._frames.append(Frame(number, path, streams=streams))


class OneFile:
    """`get`: one file, which has to be there, and with records has to be one."""

    def __init__(self, reader: StateReader, entry: Entry, wanted: Wanted, report: Report) -> None:
        self._entry: Entry | None = entry
        self._loader = EntryLoader(reader, wanted, report)
        self._wanted = wanted
        self._report = report

    def __iter__(self) -> Iterator[Entry | None]:
        return self

    def __next__(self) -> Entry:
        entry = self._entry
        if entry is None:
            raise StopIteration
        regular = stat.S_ISREG(entry.inode.mode)
        if self._wanted.records and not regular:
            text = path_text(entry.path)
            raise AffsError(
                "record.no_file", Category.INVALID, f"{text} is no regular file, and so no record",
                hint=f"list {text} shows what is in a directory", details={"path": text},
            )  # fmt: skip
        loaded = self._loader.load(entry)
        self._entry = None
        if loaded is not None:
            return loaded
        report = self._report
        if report.denied:
            text = path_text(entry.path)
            raise AffsError(
                "record.denied", Category.DENIED, f"{text} may not be read by this user",
                details={"path": text},
            )  # fmt: skip
        if report.problems:
            details = dict(report.problems[0])
            code, message = str(details.pop("code")), str(details.pop("message"))
            raise AffsError(code, Category.INVALID, message, details=details)
        raise StopIteration


class ChangedFiles:
    """`changed since`: the files whose own items differ from those of an older state, at the cost
    of the difference. below: the directory that they lie below, or with deep False in."""

    def __init__(
        self,
        reader: StateReader,
        since: Tree,
        below: bytes,
        wanted: Wanted,
        report: Report,
        *,
        deep: bool,
    ) -> None:
        self._reader = reader
        self._diff = Diff(since, reader.tree)
        self._before = reader.of(since)
        self._below = below
        self._loader = EntryLoader(reader, wanted, report)
        self._report = report
        self._deep = deep
        self._current = 0
        self._finished = 0
        self._waiting: list[Entry] = []

    def __iter__(self) -> Iterator[Entry | None]:
        return self

    def __next__(self) -> Entry | None:
        if self._waiting:
            entry = self._loader.load(self._waiting[0])
            del self._waiting[0]
            return entry
        if self._current <= self._finished:
            event = next(self._diff)
            if (
                event.node is None
                and event.object > self._finished
                and event.type not in _NOT_OF_THE_FILE
            ):
                self._current = event.object
            return None
        self._waiting = self._entries(self._current)
        self._finished = self._current
        return None

    def _entries(self, number: int) -> list[Entry]:
        reader = self._reader
        inode = reader.inode(number)
        if inode is None or not inode.nlink:
            return []
        before = self._before.inode(number)
        change = "changed" if before is not None and before.nlink else "added"
        entries = []
        for directory, name in reader.places(number):
            path, open_way = reader.directory_path(directory)
            parent = reader.inode(directory)
            if not self._is_below(path, name):
                continue
            if not open_way or parent is None or not reader.may_list(directory, parent):
                self._report.denied += 1
                continue
            entry = Entry(number, inode, path, name)
            entry.change = change
            entries.append(entry)
        return entries

    def _is_below(self, path: bytes, name: bytes) -> bool:
        below = self._below
        if not self._deep:
            return path == below
        return not below or path == below or path.startswith(below + b"/")
