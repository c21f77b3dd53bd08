"""The files of one directory that a choice of indexes does not rule out.

These are the pending files, those that an asked index is not sure of, and those that lie in the
ranges of every asked index: a record that lies outside of one of them cannot fulfil all conditions.
Steps raise NodeMissing with nothing lost.
"""

from collections.abc import Callable, Iterator
from itertools import islice

from affs_fuse.posix.index_keys import object_of_entry
from affs_fuse.posix.indexes import open_index, pending_files
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_choice import UNSURE_RANGE, Choice
from affs_fuse.query.index_leaves import Leaves
from affs_fuse.query.index_source import PENDING_BYTES, Holder, IndexSource
from affs_fuse.query.memory import Allowance
from affs_fuse.query.sources import EntryLoader

__all__ = ["ChosenFiles", "IntersectedFiles"]

FILE_BYTES = 60
FILES_AT_ONCE = 1000


class ChosenFiles:
    """files: complete at the end. size: what they are counted in memory; the caller gives it
    back."""

    def __init__(
        self, reader: StateReader, directory: int, choice: Choice, memory: Allowance
    ) -> None:
        self._reader = reader
        self._directory = directory
        self._memory = memory
        self._cursor = 0
        self.files: set[int] = set()
        self.size = 0
        self._phases: list[Callable[[], bool]] = [self._gather_pending]
        within: set[int] | None = None
        for one in reversed([choice.first, *choice.also]):
            pages = open_index(reader.tree, directory, one.declared.id, one.head)
            found: set[int] = set()
            self._phases.append(self._gather(Leaves(pages, [UNSURE_RANGE]), self.files, None))
            self._phases.append(self._gather(Leaves(pages, one.ranges), found, within))
            within = found
        self._within = within

    def step(self) -> bool:
        """A part of it; whether that was all. Errors: query.memory; NodeMissing, index.damaged."""
        if self._phases[0]():
            del self._phases[0]
        if self._phases:
            return False
        self.files |= self._within or set()
        return True

    def _gather_pending(self) -> bool:
        found = pending_files(self._reader.tree, self._directory, self._cursor, PENDING_BYTES)
        self._take(len(found))
        self.files.update(found)
        if found:
            self._cursor = found[-1]
        return not found

    def _gather(
        self, leaves: Leaves, into: set[int], within: set[int] | None
    ) -> Callable[[], bool]:
        """A phase: the files of these entries, where they are within others."""

        def gather() -> bool:
            entries = leaves.forward()
            if entries is None:
                return True
            numbers = map(object_of_entry, entries)
            found = set(numbers) if within is None else within.intersection(numbers)
            self._take(len(found))
            into.update(found)
            return False

        return gather

    def _take(self, files: int) -> None:
        self._memory.take(FILE_BYTES * files, "find")
        self.size += FILE_BYTES * files


class IntersectedFiles(IndexSource):
    """The records that lie in the ranges of several indexes, in the order of a walk."""

    def __init__(
        self, reader: StateReader, holder: Holder, choice: Choice, loader: EntryLoader,
        memory: Allowance,
    ) -> None:  # fmt: skip
        super().__init__(reader, holder, choice, loader, memory)
        self._chosen = ChosenFiles(reader, holder.number, choice, memory)
        self._files: Iterator[int] = iter(())
        self._phases = [self._choose, self._take_files, self._feed_named]

    def _choose(self) -> bool:
        if not self._chosen.step():
            return False
        self._files = iter(self._chosen.files)
        return True

    def _take_files(self) -> bool:
        some = list(islice(self._files, FILES_AT_ONCE))
        self._named.add(some)
        if some:
            return False
        self._memory.give(self._chosen.size)
        return True
