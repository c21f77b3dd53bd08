"""What differs between two states, told by objects and paths, and by names for the kernel.

A pruned difference of two trees (core.tree.Diff) gives items in key order, so all items of an
object come together: its inode, its names (PARENT items), attributes, data, and the entries of a
directory. Here they become one ObjectChange an object. Invariants:
- Memory grows with the difference, never with the volume.
- Nothing here waits: what is not in memory raises NodeMissing, and the caller goes on after loading
  it.
"""

import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, NamedTuple

from affs_fuse.core.codec import Inode, Name
from affs_fuse.core.constants import (
    ITEM_COLLECTION,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_PARENT,
    ITEM_SYMLINK,
    ITEM_XATTR,
    OBJECT_COLLECTIONS,
    OBJECT_ROOT,
)
from affs_fuse.core.tree import Diff, DiffEvent, Tree
from affs_fuse.posix.directory import locate
from affs_fuse.query.paths import path_fields

__all__ = ["Counts", "ObjectChange", "ObjectDiff", "Paths", "Place", "Presence", "describe"]

Place = tuple[int, bytes]
"""(parent directory, name)."""

_DATA_TYPES = frozenset({ITEM_EXTENT, ITEM_INLINE, ITEM_SYMLINK})
_DT_DIRECTORY = stat.S_IFDIR >> 12
_DEPTH_MAX = 4096


class Presence(IntEnum):
    """What an object is in a state. One without a name counts as absent."""

    ABSENT = 0
    FILE = 1
    DIRECTORY = 2


class Counts(NamedTuple):
    """Changes by kind, as people count them: names, not items."""

    added: int = 0
    removed: int = 0
    changed: int = 0
    renamed: int = 0

    def plus(self, other: "Counts") -> "Counts":
        return Counts(*(mine + theirs for mine, theirs in zip(self, other, strict=True)))


@dataclass(slots=True, eq=False)
class ObjectChange:
    """All that differs in one object from state a to state b.

    inode_a, inode_b: None on the side that lacks it; both None where the inode item is the same.
    gone, come: names that only a or only b has. entries: of a directory, name -> (object in a, in
    b), 0 for none. subdirectories: those objects of entries that are directories.
    """

    number: int
    inode_a: Inode | None = None
    inode_b: Inode | None = None
    inode_differs: bool = False
    data: bool = False
    xattr: bool = False
    declaration: bool = False
    gone: list[Place] = field(default_factory=list)
    come: list[Place] = field(default_factory=list)
    entries: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    subdirectories: set[int] = field(default_factory=set)

    @property
    def added(self) -> bool:
        """In b alone. An object without a name counts as not there."""
        return self.inode_differs and not _linked(self.inode_a) and _linked(self.inode_b)

    @property
    def removed(self) -> bool:
        """In a alone."""
        return self.inode_differs and _linked(self.inode_a) and not _linked(self.inode_b)

    @property
    def presence(self) -> tuple["Presence", "Presence"]:
        """What the object is in a and in b, where the inode item differs."""
        return _presence(self.inode_a), _presence(self.inode_b)

    @property
    def counts(self) -> "Counts":
        """How many change dicts of each kind `describe` makes of it."""
        gone, come = len(self.gone), len(self.come)
        if self.added:
            return Counts(added=come)
        if self.removed:
            return Counts(removed=gone)
        if gone or come:
            moved = min(gone, come)
            return Counts(come - moved, gone - moved, 0, moved)
        return Counts(changed=1 if self.what else 0)

    @property
    def what(self) -> list[str]:
        """Which of "data", "meta", "xattr", "collection" (a directory's declaration) changed in an
        object that both states have."""
        a, b = self.inode_a, self.inode_b
        parts = []
        directory = False
        meta = False
        if a is not None and b is not None:
            directory = stat.S_ISDIR(b.mode)
            meta = _owner_and_mode(a) != _owner_and_mode(b)
            meta = meta or (not directory and a.mtime_ns != b.mtime_ns)
            if not directory and a.size != b.size:
                self.data = True
        if self.data:
            parts.append("data")
        if meta:
            parts.append("meta")
        if self.xattr:
            parts.append("xattr")
        if self.declaration:
            parts.append("collection")
        return parts

    @property
    def grown_bytes(self) -> int:
        """How much larger it is in b; of directories 0."""
        return _size(self.inode_b) - _size(self.inode_a)

    def add(self, event: DiffEvent) -> None:
        """One more difference of this object."""
        kind, a, b = event.type, event.a, event.b
        if kind == ITEM_INODE:
            self.inode_differs = True
            self.inode_a = Inode.unpack(a) if a is not None else None
            self.inode_b = Inode.unpack(b) if b is not None else None
        elif kind == ITEM_PARENT:
            self._add_names(a, b)
        elif kind == ITEM_DENTRY:
            self._add_entries(a, b)
        elif kind == ITEM_XATTR:
            self.xattr = True
        elif kind == ITEM_COLLECTION:
            self.declaration = self.number != OBJECT_COLLECTIONS  # the list is nobody's
        elif kind in _DATA_TYPES:
            self.data = True

    def _add_names(self, a: bytes | None, b: bytes | None) -> None:
        # Names of one hash may have changed places only: then both lists have it, and it stays.
        if a is not None:
            place = _place(a)
            if place in self.come:
                self.come.remove(place)
            else:
                self.gone.append(place)
        if b is not None:
            place = _place(b)
            if place in self.gone:
                self.gone.remove(place)
            else:
                self.come.append(place)

    def _add_entries(self, a: bytes | None, b: bytes | None) -> None:
        if a is not None:
            name = self._entry_name(a)
            self.entries[name] = (Name.unpack(a).object, self.entries.get(name, (0, 0))[1])
        if b is not None:
            name = self._entry_name(b)
            self.entries[name] = (self.entries.get(name, (0, 0))[0], Name.unpack(b).object)

    def _entry_name(self, payload: bytes) -> bytes:
        entry = Name.unpack(payload)
        if entry.kind == _DT_DIRECTORY:
            self.subdirectories.add(entry.object)
        return payload[Name.SIZE :]


def _presence(inode: Inode | None) -> Presence:
    if inode is None or inode.nlink == 0:
        return Presence.ABSENT
    return Presence.DIRECTORY if stat.S_ISDIR(inode.mode) else Presence.FILE


def _place(payload: bytes) -> Place:
    return Name.unpack(payload).object, payload[Name.SIZE :]


def _owner_and_mode(inode: Inode) -> tuple[int, int, int, int, int]:
    return inode.mode, inode.uid, inode.gid, inode.rdev, inode.flags


def _linked(inode: Inode | None) -> bool:
    return inode is not None and inode.nlink > 0


def _size(inode: Inode | None) -> int:
    return inode.size if inode is not None and not stat.S_ISDIR(inode.mode) else 0


class ObjectDiff:
    """Iterates over the ObjectChange records from a to b. Raises NodeMissing: load it, call
    again."""

    def __init__(self, a: Tree, b: Tree) -> None:
        self._diff = Diff(a, b)
        self._current: ObjectChange | None = None
        self._ended = False

    def __iter__(self) -> Iterator[ObjectChange]:
        return self

    def __next__(self) -> ObjectChange:
        while not self._ended:
            event = next(self._diff, None)
            if event is None:
                self._ended = True
            elif event.node is None:
                finished = self._take(event)
                if finished is not None:
                    return finished
        last, self._current = self._current, None
        if last is None:
            raise StopIteration
        return last

    def _take(self, event: DiffEvent) -> ObjectChange | None:
        current = self._current
        if current is not None and current.number == event.object:
            current.add(event)
            return None
        self._current = ObjectChange(event.object)
        self._current.add(event)
        return current


class Paths:
    """Paths of objects in one state. Raises NodeMissing with nothing changed."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._directories: dict[int, bytes] = {OBJECT_ROOT: b""}

    def of_place(self, place: Place) -> bytes:
        """Of a name in a directory, relative to the root, without a leading slash."""
        parent = self.of_directory(place[0])
        return parent + b"/" + place[1] if parent else place[1]

    def of_directory(self, number: int) -> bytes:
        """Of a directory; one whose chain of parents is broken is named by its number."""
        chain: list[tuple[int, bytes]] = []
        at = number
        while at not in self._directories and len(chain) < _DEPTH_MAX:
            place = self.first_place(at)
            if place is None:
                self._directories[at] = b"#%d" % at
                break
            chain.append((at, place[1]))
            at = place[0]
        path = self._directories.get(at, b"")
        for directory, name in reversed(chain):
            path = path + b"/" + name if path else name
            self._directories[directory] = path
        return path

    def first_place(self, number: int) -> Place | None:
        """The first name of an object, by the order of the tree; None if it has none."""
        item = self._tree.seek(number, ITEM_PARENT, 0)
        if item is None or item[:2] != (number, ITEM_PARENT):
            return None
        return _place(item[3])

    def inode(self, number: int) -> Inode | None:
        payload = self._tree.get(number, ITEM_INODE, 0)
        return Inode.unpack(payload) if payload is not None else None

    def places_on(self, path: bytes, hash_key: bytes) -> list[Place]:
        """Every name on the way to path, as far as it exists."""
        places: list[Place] = []
        at = OBJECT_ROOT
        for name in path.split(b"/"):
            places.append((at, name))
            _, entry = locate(self._tree, hash_key, at, name)
            if entry is None:
                break
            at = entry.object
        return places


def describe(change: ObjectChange, a: Paths, b: Paths) -> list[dict[str, Any]]:
    """The change dicts (runtime/ports.py) of one object: none for a directory of which only the
    entries changed. Raises NodeMissing."""
    number = change.number
    inode = change.inode_b if _linked(change.inode_b) else change.inode_a
    if inode is None:
        inode = b.inode(number) or a.inode(number)
    kind = _type_word(inode)
    base = {"what": change.what, "bytes": change.grown_bytes, "type": kind}
    gone = [a.of_place(place) for place in change.gone]
    come = [b.of_place(place) for place in change.come]
    if change.added:
        found = [_dict("added", path, base) for path in come]
    elif change.removed:
        found = [_dict("removed", path, base) for path in gone]
    else:
        found = _describe_kept(change, gone, come, base, b)
    for extra in found[1:]:
        extra["bytes"] = 0
    return found


def _describe_kept(
    change: ObjectChange, gone: list[bytes], come: list[bytes], base: dict[str, Any], b: Paths
) -> list[dict[str, Any]]:
    found = []
    moved = min(len(gone), len(come))
    for old, new in zip(gone[:moved], come[:moved], strict=True):
        entry = _dict("renamed", new, base)
        found.append({**entry, **path_fields(b"/" + old, "from")})
    found += [_dict("removed", path, base) for path in gone[moved:]]
    found += [_dict("added", path, base) for path in come[moved:]]
    if not found and base["what"]:
        place = b.first_place(change.number)
        path = b.of_place(place) if place is not None else b.of_directory(change.number)
        found.append(_dict("changed", path, base))
    return found


def _dict(kind: str, path: bytes, base: dict[str, Any]) -> dict[str, Any]:
    return {"kind": kind, **path_fields(b"/" + path), **base, "what": list(base["what"])}


def _type_word(inode: Inode | None) -> str:
    if inode is None:
        return "other"
    words = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink"}
    return words.get(stat.S_IFMT(inode.mode), "other")
