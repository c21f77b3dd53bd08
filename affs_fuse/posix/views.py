"""Kept states as read-only trees under `.affs` in the root directory.

semantics.md, "Browsing the past". `.affs/checkpoints/<id>` is the root of a kept state; labels,
unambiguous prefixes of ids and `.affs/published` are symbolic links to it. `.affs` is not listed,
only found by name.

Inode numbers are view << 48 | object: view 0 is the working state, DOOR_VIEW the directories of
this module, the others are given out one for each state and never again. A view that is in use
(something in it was looked up and is not forgotten, or a handle is open) holds its state, so that
its blocks stay.
"""

import errno
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field

from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import NAME_MAX, OBJECT_BITS, OBJECT_ROOT
from affs_fuse.core.tree import Tree
from affs_fuse.posix import inodes, names, reading, xattrs
from affs_fuse.posix.attributes import Attributes, reported
from affs_fuse.posix.directory import Listing
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.file_data import FileData
from affs_fuse.posix.permissions import Credentials
from affs_fuse.posix.reading import Child
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = ["DOOR", "DOOR_VIEW", "DoorOwner", "Views"]

DOOR_VIEW = 1
FIRST_VIEW = 2
VIEWS_MAX = (1 << 16) - 1
OBJECT_MASK = (1 << OBJECT_BITS) - 1

DOOR = DOOR_VIEW << OBJECT_BITS | 1
CHECKPOINTS = DOOR_VIEW << OBJECT_BITS | 2
PUBLISHED = DOOR_VIEW << OBJECT_BITS | 3
LINKS = DOOR_VIEW << OBJECT_BITS | 1 << 32
"""LINKS + number of a state: the symbolic link that labels and prefixes of its id are names of."""
FIRST_COOKIE = 16
CHECKPOINTS_NAME, PUBLISHED_NAME = b"checkpoints", b"published"
ID_DIGITS_MIN = 4
"""Of a prefix, as affsctl takes it."""


@dataclass(frozen=True, slots=True)
class DoorOwner:
    """Who may enter `.affs`: old setuid files and secrets that were once readable lie behind it."""

    uid: int = 0
    gid: int = 0
    mode: int = 0o700


@dataclass(slots=True, eq=False)
class _View:
    """One kept state. tree, data: while it is in use. known: objects that were looked up by name
    and that the kernel has not forgotten.
    """

    number: int
    state: KeptState
    tree: Tree | None = None
    data: FileData | None = None
    root: Inode | None = None
    known: set[int] = field(default_factory=set)
    handles: int = 0


class Views:
    """All views of one mount. Numbers in and out are those that the kernel sees."""

    def __init__(self, volume: Volume, owner: DoorOwner) -> None:
        self._volume = volume
        self._owner = owner
        self._made_ns = volume.clock.now_ns()
        self._views: dict[int, _View] = {}
        self._numbers: dict[int, int] = {}

    # ---- finding ----

    def door(self) -> Attributes:
        """The directory `.affs`."""
        return self._directory(DOOR)

    def lookup(self, parent: int, name: bytes) -> Attributes:
        """Errors: ENOENT, ENOTDIR, ENAMETOOLONG, EINVAL, ESTALE; NodeMissing."""
        names.check_name(name)
        if parent >> OBJECT_BITS != DOOR_VIEW:
            return self._lookup_kept(parent, name)
        if name in names.DOTS and parent in (DOOR, CHECKPOINTS):
            return self.door() if name == b".." or parent == DOOR else self._directory(CHECKPOINTS)
        if parent == DOOR and name == CHECKPOINTS_NAME:
            return self._directory(CHECKPOINTS)
        if parent == DOOR and name == PUBLISHED_NAME and self._volume.states.published is not None:
            return self._link(PUBLISHED)
        if parent == CHECKPOINTS:
            return self._lookup_state(name)
        if parent != DOOR:
            raise posix_error(errno.ENOTDIR)
        raise posix_error(errno.ENOENT)

    def getattr(self, number: int) -> Attributes:
        """Errors: ESTALE; NodeMissing."""
        if number >> OBJECT_BITS == DOOR_VIEW:
            if number in (DOOR, CHECKPOINTS):
                return self._directory(number)
            return self._link(number)
        view = self._view(number)
        return reported(number, inodes.load(self._tree(view), number & OBJECT_MASK), 0)

    def read_link(self, number: int) -> bytes:
        """Errors: EINVAL, ENOENT, ESTALE; NodeMissing."""
        if number >> OBJECT_BITS != DOOR_VIEW:
            return reading.read_link(self._tree(self._view(number)), number & OBJECT_MASK)
        if number in (DOOR, CHECKPOINTS):
            raise posix_error(errno.EINVAL, "not a symbolic link")
        return self._target(number)

    def _lookup_kept(self, parent: int, name: bytes) -> Attributes:
        view = self._view(parent)
        if name == b".." and parent & OBJECT_MASK == OBJECT_ROOT:
            return self._directory(CHECKPOINTS)
        tree = self._tree(view)
        found, inode = reading.lookup(tree, self._volume.hash_key, parent & OBJECT_MASK, name)
        view.known.add(found)
        return reported(view.number << OBJECT_BITS | found, inode, 0)

    def _lookup_state(self, name: bytes) -> Attributes:
        """A full id is the directory; a label or an unambiguous prefix is a link."""
        text = name.decode("utf-8", "replace")
        state = self._find_state(text)
        if text != state.hex_id:
            return self._link(LINKS + state.number)
        view = self._view_of(state)
        root = self._root(view)
        view.known.add(OBJECT_ROOT)
        self._tree(view)
        return reported(view.number << OBJECT_BITS | OBJECT_ROOT, root, 0)

    def _find_state(self, text: str) -> KeptState:
        """Errors: ENOENT, also for a prefix that fits several."""
        listed = self._volume.states.listed()
        matches = [state for state in listed if state.label == text and text]
        if not matches and len(text) >= ID_DIGITS_MIN:
            matches = [state for state in listed if state.hex_id.startswith(text)]
        if len(matches) != 1:
            raise posix_error(errno.ENOENT)
        return matches[0]

    # ---- directories ----

    def list_directory(self, number: int, cookie: int, count: int, listing: Listing) -> list[Child]:
        """At most `count` entries after `cookie`. Errors: ENOTDIR, ESTALE; NodeMissing."""
        view_number = number >> OBJECT_BITS
        if view_number != DOOR_VIEW:
            view = self._view(number)
            base = view_number << OBJECT_BITS
            children = reading.list_directory(
                self._tree(view), number & OBJECT_MASK, cookie, count, listing
            )
            children = [child._replace(number=base | child.number) for child in children]
            if number & OBJECT_MASK == OBJECT_ROOT:
                up = self._directory(CHECKPOINTS)
                children = [
                    Child(child.cookie, child.name, *up) if child.name == b".." else child
                    for child in children
                ]
            return children
        if number not in (DOOR, CHECKPOINTS):
            raise posix_error(errno.ENOTDIR)
        found = []
        for child in self._door_entries() if number == DOOR else self._state_entries(cookie):
            if child.cookie > cookie:
                found.append(child)
                if len(found) >= count:
                    break
        return found

    def _door_entries(self) -> Iterator[Child]:
        door = self.door()
        yield Child(1, b".", DOOR, door.inode)
        yield Child(2, b"..", DOOR, door.inode)
        yield Child(FIRST_COOKIE, CHECKPOINTS_NAME, *self._directory(CHECKPOINTS))
        if self._volume.states.published is not None:
            yield Child(FIRST_COOKIE + 1, PUBLISHED_NAME, *self._link(PUBLISHED))

    def _state_entries(self, cookie: int) -> Iterator[Child]:
        """Two cookies for each state, by its number, which is never used again."""
        yield Child(1, b".", *self._directory(CHECKPOINTS))
        yield Child(2, b"..", *self.door())
        for state in sorted(self._volume.states.listed(), key=lambda state: state.number):
            at = FIRST_COOKIE + 2 * state.number
            if at + 1 <= cookie:
                continue
            if at > cookie:
                view = self._view_of(state)
                number = view.number << OBJECT_BITS | OBJECT_ROOT
                yield Child(at, state.hex_id.encode(), number, self._root(view))
            if state.label and len(state.label.encode()) <= NAME_MAX:
                yield Child(at + 1, state.label.encode(), *self._link(LINKS + state.number))

    # ---- content ----

    def read(self, number: int, offset: int, size: int) -> bytes:
        """Errors: ESTALE; NodeMissing, DataMissing."""
        data, found, inode = self.data_of(number)
        return data.read(found, inode, offset, size)

    def data_of(self, number: int) -> tuple[FileData, int, Inode]:
        """(data, object, inode) of a file of a kept state. Errors: ESTALE; NodeMissing."""
        view = self._view(number)
        tree = self._tree(view)
        assert view.data is not None
        found = number & OBJECT_MASK
        return view.data, found, inodes.load(tree, found)

    def get_xattr(self, number: int, name: bytes, credentials: Credentials) -> bytes:
        """Errors: as xattrs.get_value."""
        if number >> OBJECT_BITS == DOOR_VIEW:
            raise posix_error(errno.ENODATA)
        view = self._view(number)
        tree = self._tree(view)
        assert view.data is not None
        key = self._volume.hash_key
        return xattrs.get_value(tree, key, number & OBJECT_MASK, name, credentials, view.data)

    def list_xattrs(self, number: int, credentials: Credentials) -> list[bytes]:
        """Errors: ESTALE; NodeMissing."""
        if number >> OBJECT_BITS == DOOR_VIEW:
            return []
        return xattrs.list_names(self._tree(self._view(number)), number & OBJECT_MASK, credentials)

    # ---- life ----

    def open(self, number: int) -> None:
        """A handle was opened on this number."""
        if number >> OBJECT_BITS != DOOR_VIEW:
            self._view(number).handles += 1

    def release(self, number: int) -> None:
        """That handle was closed."""
        view = self._views.get(number >> OBJECT_BITS)
        if view is not None:
            view.handles -= 1
            self._close_if_idle(view)

    def forget(self, number: int) -> None:
        """The kernel does not know this number any more."""
        view = self._views.get(number >> OBJECT_BITS)
        if view is not None:
            view.known.discard(number & OBJECT_MASK)
            self._close_if_idle(view)

    def close(self) -> None:
        """Give back every hold."""
        for view in self._views.values():
            view.known.clear()
            view.handles = 0
            self._close_if_idle(view)

    def _close_if_idle(self, view: _View) -> None:
        if view.tree is not None and not view.known and not view.handles:
            view.tree.close()
            view.tree = view.data = None
            self._volume.release_hold(view.state.number)

    def _view(self, number: int) -> _View:
        view = self._views.get(number >> OBJECT_BITS)
        if view is None:
            raise posix_error(errno.ESTALE)
        return view

    def _view_of(self, state: KeptState) -> _View:
        number = self._numbers.get(state.number)
        if number is None:
            number = FIRST_VIEW + len(self._numbers)
            if number > VIEWS_MAX:
                raise posix_error(errno.ENFILE, "too many kept states were looked at in this mount")
            self._numbers[state.number] = number
            self._views[number] = _View(number, state)
        return self._views[number]

    def _tree(self, view: _View) -> Tree:
        """The view's tree; from now on its state is held. Errors: ESTALE if it was deleted."""
        if view.tree is None:
            current = self._volume.states.get(view.state.number)
            if current is None or not current.listed:
                raise posix_error(errno.ESTALE, "this kept state was deleted")
            self._volume.hold(view.state.number)
            view.tree = self._volume.open_state(view.state)
            state = WorkingState(view.tree, 0, 0, view.state.object_count)
            view.data = FileData(self._volume, state)
        return view.tree

    def _root(self, view: _View) -> Inode:
        """The root directory's inode, without holding the state for it. Errors: NodeMissing."""
        if view.root is None:
            tree = view.tree or self._volume.open_state(view.state)
            try:
                view.root = inodes.load(tree, OBJECT_ROOT)
            finally:
                if tree is not view.tree:
                    tree.close()
        return view.root

    # ---- the directories and links of this module ----

    def _directory(self, number: int) -> Attributes:
        owner = self._owner
        mode = stat.S_IFDIR | (owner.mode if number == DOOR else owner.mode & 0o555)
        return Attributes(number, self._inode(number, mode, 2, 0))

    def _link(self, number: int) -> Attributes:
        target = self._target(number)
        return Attributes(number, self._inode(number, stat.S_IFLNK | 0o777, 1, len(target)))

    def _target(self, number: int) -> bytes:
        """Errors: ENOENT if nothing is published, ESTALE if the state is gone."""
        states = self._volume.states
        if number == PUBLISHED:
            published = states.published
            if published is None:
                raise posix_error(errno.ENOENT)
            return CHECKPOINTS_NAME + b"/" + published.hex_id.encode()
        state = states.get(number - LINKS)
        if state is None or not state.listed:
            raise posix_error(errno.ESTALE)
        return state.hex_id.encode()

    def _inode(self, number: int, mode: int, links: int, size: int) -> Inode:
        owner, time_ns = self._owner, self._made_ns
        return Inode(
            size, 0, time_ns, time_ns, time_ns, time_ns, mode, owner.uid, owner.gid, links, 0, 0, 1,
            bytes(10) + (number & OBJECT_MASK).to_bytes(6, "big"), 1, 0,
        )  # fmt: skip
