"""Which values of an index come up in a walk, in the order of their first files, and how often.

The files of the index by number come first, then the names that the directory has of them: so a
file counts once for each name. Steps raise NodeMissing with nothing lost.
"""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.posix.index_keys import UNTOLD, object_of_entry, value_of_key
from affs_fuse.posix.permissions import READ
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.in_order import Place
from affs_fuse.query.index_leaves import Leaves, runs_of
from affs_fuse.query.index_source import Holder, Named
from affs_fuse.query.memory import Allowance

__all__ = ["FirstSeen", "NamedFile"]

NAMED_SHARE = 8
"""With fewer files wanted than one in so many, their names are looked up one by one."""

FILE_BYTES = 100
KEY_BYTES = 300
SEEN_AT_ONCE = 64


class NamedFile(NamedTuple):
    """A file under one of its names. place: in the order of a walk. inode: None if it was not
    looked at."""

    place: Place
    name: bytes
    number: int
    inode: Inode | None


class FirstSeen:
    """leaves: of the index. read: files of which it says nothing of use; files with keys that do
    not tell their value are treated likewise. by_value: whether values matter, else all files are
    of one. size: entries of the directory.

    In the end: seen has (place, how often) for each key, to_read the names of the files to be
    read."""

    def __init__(
        self, reader: StateReader, holder: Holder, leaves: Leaves, read: Iterable[int],
        memory: Allowance, *, size: int, by_value: bool,
    ) -> None:  # fmt: skip
        self._reader = reader
        self._holder = holder
        self._leaves = leaves
        self._memory = memory
        self._size = size
        self._by_value = by_value
        self._keys: dict[int, bytes | None] = dict.fromkeys(read)
        self._skipped = frozenset(self._keys)
        self._named = Named(reader, holder, memory)
        self._found: list[NamedFile] = []
        self._at = 0
        self._cookie = 0
        self._phase: _Phase | None = self._map_files
        self.untold = len(self._keys)
        self.to_read: list[NamedFile] = []
        self.seen: dict[bytes, tuple[Place, int]] = {}

    def step(self) -> bool:
        """A part of it; whether that was all. Errors: query.memory; NodeMissing, index.damaged."""
        assert self._phase is not None
        self._phase = self._phase()
        return self._phase is None

    def _map_files(self) -> "_Phase | None":
        entries = self._leaves.forward()
        if entries is None:
            if len(self._keys) * NAMED_SHARE >= self._size:
                return self._list_directory
            self._named.add(list(self._keys))
            return self._name_files
        self._memory.take(FILE_BYTES * len(entries), "find")
        for key, start, end in runs_of(entries):
            shown: bytes | None = key if self._by_value else b""
            if self._by_value and value_of_key(key) is UNTOLD:
                shown = None
                self.untold += end - start
            for number in map(object_of_entry, entries[start:end]):
                if number not in self._skipped:
                    self._keys[number] = shown
        return self._map_files

    def _name_files(self) -> "_Phase | None":
        if not self._named.resolve():
            return self._name_files
        rows = self._named.take()
        self._found = [NamedFile(row.place, row.name, row.number, row.inode) for row in rows]
        self._at = 0
        return self._see_named

    def _see_named(self) -> "_Phase | None":
        self._see_some()
        return self._see_named if self._at < len(self._found) else None

    def _list_directory(self) -> "_Phase | None":
        if self._at < len(self._found):
            self._see_some()
            return self._list_directory
        listed = self._reader.entries(self._holder.number, self._cookie)
        by_name, keys = self._holder.by_name, self._keys
        self._found = [
            NamedFile(name if by_name else cookie, name, number, None)
            for cookie, name, number in listed
            if number in keys
        ]
        self._at = 0
        if not listed:
            return None
        self._cookie = listed[-1][0]
        return self._list_directory

    def _see_some(self) -> None:
        """Some of the files that were found. Who asks may read those that count."""
        reader, keys, seen = self._reader, self._keys, self.seen
        end = min(self._at + SEEN_AT_ONCE, len(self._found))
        while self._at < end:
            file = self._found[self._at]
            key = keys[file.number]
            if key is None:
                self.to_read.append(file)
            elif reader.sees_all or self._may_read(file):
                known = seen.get(key)
                if known is None:
                    self._memory.take(KEY_BYTES, "find")
                    seen[key] = file.place, 1
                else:
                    seen[key] = min(known[0], file.place, key=_itself), known[1] + 1
            self._at += 1

    def _may_read(self, file: NamedFile) -> bool:
        inode = file.inode or self._reader.inode(file.number)
        return inode is not None and self._reader.may(file.number, inode, READ)


_Phase = Callable[[], Any]
"""A part of the way; gives the next one, None at the end."""

def _itself(place: Place) -> Any:
    return place
