"""`find` where directories lie below: each directory asks its own indexes where that helps.

Rows come in the order of a walk, as in sources.py, and steps are made again after NodeMissing.
Invariants:
- Of a directory that an index speaks for, those files come that it names or is not sure of, and
  all directories. What it names is known before the first of them comes.
- A directory whose index is damaged is walked, and the report says so.
"""

from collections.abc import Set

from affs_fuse.core.codec import Inode
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_choice import IndexHints, choose_index
from affs_fuse.query.index_files import ChosenFiles
from affs_fuse.query.index_source import Holder, Named
from affs_fuse.query.memory import Allowance
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import (
    SORTED_ENTRIES_MAX,
    EntryLoader,
    Frame,
    Report,
    TreeWalk,
    Wanted,
)
from affs_fuse.volume.index_pages import IndexDamage

__all__ = ["IndexedWalk", "WalkBelow"]

NAMED_SHARE = 8
"""Where no directories lie below: with fewer files named than one in so many, their names are
looked up one by one, else all entries are gone through."""


class IndexedWalk(TreeWalk):
    """wanted: has conditions that an index could be asked for."""

    def __init__(
        self, reader: StateReader, start: tuple[bytes, int, Inode], wanted: Wanted, report: Report,
        memory: Allowance,
    ) -> None:  # fmt: skip
        self._hints = IndexHints(wanted.hints.lookups)
        self._walked = EntryLoader(reader, wanted, report)
        self._indexed = EntryLoader(reader, wanted, report, by_index=True)
        super().__init__(reader, start, wanted, report, memory, deep=True)

    def _push(self, number: int, inode: Inode, path: bytes) -> None:
        self._frames.append(_IndexFrame(number, inode, path, self._hints, self._report))

    def _take(self, frame: Frame, named: tuple[bytes, int]) -> Entry | None:
        assert isinstance(frame, _IndexFrame)
        self._loader = self._indexed if frame.by_index else self._walked
        return super()._take(frame, named)


class WalkBelow(TreeWalk):
    """Everything in the directories below one, and of itself some files. For who may see all: these
    files are said to be there."""

    def __init__(
        self, reader: StateReader, start: tuple[bytes, int, Inode], wanted: Wanted, report: Report,
        memory: Allowance, files: Set[int],
    ) -> None:  # fmt: skip
        self._among: Set[int] | None = files
        super().__init__(reader, start, wanted, report, memory, deep=True)

    def _push(self, number: int, inode: Inode, path: bytes) -> None:
        if self._among is None:
            super()._push(number, inode, path)
            return
        streams = inode.size > SORTED_ENTRIES_MAX
        self._frames.append(_FrameAmong(number, path, self._among, streams=streams))
        self._among = None


class _FrameAmong(Frame):
    """Directories and some files."""

    def __init__(self, number: int, path: bytes, files: Set[int], *, streams: bool) -> None:
        super().__init__(number, path, streams=streams)
        self._files = files

    def _next_part(self, reader: StateReader) -> tuple[list[tuple[bytes, int]], int]:
        return reader.files_among(self.number, self._cookie, self._files)


class _IndexFrame(Frame):
    """by_index: whether an index says which files come."""

    def __init__(
        self, number: int, inode: Inode, path: bytes, hints: IndexHints, report: Report
    ) -> None:
        super().__init__(number, path, streams=inode.size > SORTED_ENTRIES_MAX)
        self._inode = inode
        self._hints = hints
        self._report = report
        self._chosen: ChosenFiles | None = None
        self._named: Named | None = None
        self._phases = [self._choose, self._gather, self._look_up]
        self.by_index = False

    def advance(self, reader: StateReader, memory: Allowance) -> bool:
        if not self._phases:
            return super().advance(reader, memory)
        try:
            if self._phases[0](reader, memory):
                del self._phases[0]
        except IndexDamage as damage:
            self._report.note = f"without the index of a directory: {damage.message}"
            self._walk()
        return True

    def _walk(self) -> None:
        """As if there were no index."""
        self.by_index = False
        self._phases = []

    # ---- phases: whether that was all ----

    def _choose(self, reader: StateReader, memory: Allowance) -> bool:
        choice = choose_index(reader, self.number, self._inode, self._hints)
        if choice is None:
            self._walk()
            return False
        self._chosen = ChosenFiles(reader, self.number, choice, memory)
        self.by_index = True
        for one in (choice.first, *choice.also):
            self._report.asked(one.declared.name)
        return True

    def _gather(self, reader: StateReader, memory: Allowance) -> bool:
        assert self._chosen is not None
        ended = self._chosen.step()
        self.size = self._chosen.size
        return ended

    def _look_up(self, reader: StateReader, memory: Allowance) -> bool:
        """The names of the files, unless all entries have to be gone through."""
        assert self._chosen is not None
        files = self._chosen.files
        if self._inode.nlink > 2 or len(files) * NAMED_SHARE >= self._inode.size:
            return True
        if self._named is None:
            holder = Holder(self.number, self.path, not self._streams)
            self._named = Named(reader, holder, memory)
            self._named.add(sorted(files))
        if not self._named.resolve():
            return False
        self._end_with([(row.name, row.number) for row in self._named.take()])
        return True

    def _next_part(self, reader: StateReader) -> tuple[list[tuple[bytes, int]], int]:
        if not self.by_index:
            return super()._next_part(reader)
        assert self._chosen is not None
        return reader.files_among(self.number, self._cookie, self._chosen.files)
