"""What differs between two states: by object for the kernel's caches, by path for people.

Built on the pruned difference of two trees, so the cost follows the difference, not the volume.
Comparison is what both need; changes() makes paths of it. No clone or hard-link trick is hidden:
an object with several names gives a row for each name that came or went, and one for what changed
inside under its first name.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from affs_fuse.core.codec import Extent, Inode, unpack_name
from affs_fuse.core.constants import (
    DIFF_NODE_A,
    DIFF_NODE_B,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_PARENT,
    ITEM_SYMLINK,
    ITEM_XATTR,
    OBJECT_ROOT,
)
from affs_fuse.core.tree import Diff, DiffEvent, Tree

__all__ = ["Change", "ChangeKind", "Comparison", "ObjectChange", "changes", "path_of"]

DEPTH_MAX = 4096
EVENTS_PER_STEP = 2000
_DATA_ITEMS = (ITEM_EXTENT, ITEM_INLINE, ITEM_SYMLINK)


class ChangeKind(StrEnum):
    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"


@dataclass(slots=True, eq=False)
class ObjectChange:
    """What happened to one object from A to B. inode_a, inode_b: None where it does not exist or
    where the inode item is the same (see inode_differs). names_*: (directory, name) that only this
    side has."""

    inode_differs: bool = False
    inode_a: Inode | None = None
    inode_b: Inode | None = None
    data: bool = False
    xattrs: bool = False
    bytes_a: int = 0
    bytes_b: int = 0
    names_a: list[tuple[int, bytes]] = field(default_factory=list)
    names_b: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def only_a(self) -> bool:
        """It exists in A and not in B."""
        return self.inode_a is not None and self.inode_b is None

    @property
    def only_b(self) -> bool:
        return self.inode_b is not None and self.inode_a is None


@dataclass(frozen=True, slots=True)
class EntryChange:
    """A directory entry that differs: the child's number on each side, None where there is no such
    name.
    """

    directory: int
    name: bytes
    child_a: int | None
    child_b: int | None


@dataclass(frozen=True, slots=True)
class Change:
    """One row for people. path and old_path are bytes from the root, without a leading slash."""

    kind: ChangeKind
    path: bytes
    old_path: bytes | None
    what: tuple[str, ...]
    bytes_delta: int
    mode: int


class Comparison:
    """The difference of two trees by object. step() until it is True; then objects and entries are
    whole.

    The trees must not change meanwhile. step() raises NodeMissing: load it and call step() again.
    """

    def __init__(self, a: Tree, b: Tree) -> None:
        self.a = a
        self.b = b
        self.objects: dict[int, ObjectChange] = {}
        self._entries: dict[tuple[int, bytes], list[int | None]] = {}
        self._diff = Diff(a, b)
        self.done = False

    @property
    def entries(self) -> list[EntryChange]:
        """Names whose child differs. A name that means the same object in both is not among
        them.
        """
        return [
            EntryChange(directory, name, sides[0], sides[1])
            for (directory, name), sides in self._entries.items()
            if sides[0] != sides[1]
        ]

    def step(self, events_max: int = EVENTS_PER_STEP) -> bool:
        """Look at some more differences; True when there are no more."""
        for _ in range(events_max):
            event = next(self._diff, None)
            if event is None:
                self.done = True
                return True
            if event.kind not in (DIFF_NODE_A, DIFF_NODE_B):
                self._take(event)
        return False

    def run(self) -> "Comparison":
        """step() to the end in one go; raises NodeMissing (call again)."""
        while not self.done:
            self.step()
        return self

    def _take(self, event: DiffEvent) -> None:
        if event.type == ITEM_DENTRY:
            for side, payload in enumerate((event.a, event.b)):
                if payload is not None:
                    fixed, name = unpack_name(payload)
                    sides = self._entries.setdefault((event.object, name), [None, None])
                    sides[side] = fixed.object
            return
        change = self.objects.setdefault(event.object, ObjectChange())
        if event.type == ITEM_INODE:
            change.inode_differs = True
            change.inode_a = None if event.a is None else Inode.unpack(event.a)
            change.inode_b = None if event.b is None else Inode.unpack(event.b)
        elif event.type == ITEM_PARENT:
            for payload, names in ((event.a, change.names_a), (event.b, change.names_b)):
                if payload is not None:
                    fixed, name = unpack_name(payload)
                    names.append((fixed.object, name))
        elif event.type in _DATA_ITEMS:
            change.data = True
            change.bytes_a += _length(event.type, event.a)
            change.bytes_b += _length(event.type, event.b)
        elif event.type == ITEM_XATTR:
            change.xattrs = True


def changes(comparison: Comparison) -> Iterator[Change]:
    """Rows for every object that differs, by object number; raises NodeMissing, which ends the
    iterator (make a new one once the node is there). Directories whose only change is their own
    times or count of entries, since a name in them came or went, are left out: the name's row says
    it."""
    for number in sorted(comparison.objects):
        yield from _rows(comparison, number, comparison.objects[number])


def _rows(comparison: Comparison, number: int, change: ObjectChange) -> Iterator[Change]:
    names_a, names_b = list(change.names_a), list(change.names_b)
    mode = _mode(comparison, number, change)
    delta = change.bytes_b - change.bytes_a
    if change.only_b or change.only_a:
        names = names_b if change.only_b else names_a
        tree = comparison.b if change.only_b else comparison.a
        kind = ChangeKind.ADDED if change.only_b else ChangeKind.REMOVED
        for directory, name in sorted(names):
            path = path_of(tree, directory, name)
            yield Change(kind, path, None, _what(change, with_meta=True), delta, mode)
            delta = 0
        return
    renamed = min(len(names_a), len(names_b))
    for old, new in zip(sorted(names_a)[:renamed], sorted(names_b)[:renamed], strict=True):
        old_path, path = path_of(comparison.a, *old), path_of(comparison.b, *new)
        yield Change(ChangeKind.RENAMED, path, old_path, _content(change), delta, mode)
        delta = 0
    for directory, name in sorted(names_b)[renamed:]:
        path = path_of(comparison.b, directory, name)
        yield Change(ChangeKind.ADDED, path, None, ("link",), 0, mode)
    for directory, name in sorted(names_a)[renamed:]:
        path = path_of(comparison.a, directory, name)
        yield Change(ChangeKind.REMOVED, path, None, ("link",), 0, mode)
    if not renamed and (what := _what(change, with_meta=_meta_differs(change))):
        path = b"" if number == OBJECT_ROOT else _first_path(comparison.b, number)
        yield Change(ChangeKind.CHANGED, path, None, what, delta, mode)


def _content(change: ObjectChange) -> tuple[str, ...]:
    return ("name", *_what(change, with_meta=_meta_differs(change)))


def _what(change: ObjectChange, *, with_meta: bool) -> tuple[str, ...]:
    parts = []
    if change.data:
        parts.append("data")
    if with_meta:
        parts.append("meta")
    if change.xattrs:
        parts.append("xattr")
    return tuple(parts)


def _meta_differs(change: ObjectChange) -> bool:
    """Attributes that a person set: not times, sizes or counts that follow from other rows."""
    a, b = change.inode_a, change.inode_b
    if a is None or b is None:
        return False
    if (a.mode, a.uid, a.gid, a.rdev, a.flags) != (b.mode, b.uid, b.gid, b.rdev, b.flags):
        return True
    return not change.data and a.mtime_ns != b.mtime_ns and not _is_directory(a.mode)


def _is_directory(mode: int) -> bool:
    return mode >> 12 == 4


def _mode(comparison: Comparison, number: int, change: ObjectChange) -> int:
    inode = change.inode_b or change.inode_a
    if inode is None:
        payload = comparison.b.get(number, ITEM_INODE, 0)
        inode = Inode.unpack(payload) if payload is not None else None
    return inode.mode if inode is not None else 0


def _length(item_type: int, payload: bytes | None) -> int:
    if payload is None:
        return 0
    return Extent.unpack(payload).length if item_type == ITEM_EXTENT else len(payload)


def _first_path(tree: Tree, number: int) -> bytes:
    """A path of an object by its first parent link; `?` where it has none (an orphan)."""
    item = tree.seek(number, ITEM_PARENT, 0)
    if item is None or item[:2] != (number, ITEM_PARENT):
        return b"?"
    fixed, name = unpack_name(item[3])
    return path_of(tree, fixed.object, name)


def path_of(tree: Tree, directory: int, name: bytes) -> bytes:
    """The path of a name in a directory, from the root, without a leading slash. Raises
    NodeMissing.
    """
    parts = [name]
    current = directory
    for _ in range(DEPTH_MAX):
        if current == OBJECT_ROOT:
            return b"/".join(reversed(parts))
        item = tree.seek(current, ITEM_PARENT, 0)
        if item is None or item[:2] != (current, ITEM_PARENT):
            break
        fixed, part = unpack_name(item[3])
        parts.append(part)
        current = fixed.object
    parts.append(b"?")
    return b"/".join(reversed(parts))
