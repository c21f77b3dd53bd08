"""Reading one state that does not change: a kept one, or the working state as of a commit.

For those who look at many files at once (queries). Nothing is opened, no access time moves, and who
asks sees no more than through the mount. Paths are relative to the root, without a slash in front.
Every function may raise NodeMissing or DataMissing; then nothing is lost by calling it again.
"""

import errno
from collections.abc import Callable, Container, Sequence

from affs_fuse.core.codec import Extent, Inode, Name, object_of_name
from affs_fuse.core.constants import (
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_PARENT,
    OBJECT_BITS,
    OBJECT_ROOT,
)
from affs_fuse.core.tree import Tree
from affs_fuse.posix import declarations, directory, inodes, names, xattrs
from affs_fuse.posix.access import allows
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.file_data import FileData
from affs_fuse.posix.found_files import FoundFile, KnownFiles, Place
from affs_fuse.posix.permissions import EXECUTE, READ, Credentials
from affs_fuse.volume.authors import Author
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = ["StateReader"]

SCAN_BYTES = 64 << 10
DEPTH_MAX = 4096
_NAME_SIZE = Name.SIZE
_new_tuple: Callable[..., FoundFile] = tuple.__new__
"""What NamedTuple's own maker does after a call more; there is one for each row."""


class StateReader:
    """tree: of the state; the caller holds it, and closes it when it is done. known: what earlier
    readers of this state have looked up."""

    def __init__(
        self, volume: Volume, tree: Tree, credentials: Credentials, known: KnownFiles | None = None
    ) -> None:
        self._volume = volume
        self._key = volume.hash_key
        self._data = FileData(volume, WorkingState(tree, 0, 0, 0))
        self._credentials = credentials
        self._known = known if known is not None else KnownFiles()
        self._paths: dict[int, tuple[bytes, bool]] = {OBJECT_ROOT: (b"", True)}
        self.tree = tree

    def of(self, tree: Tree) -> "StateReader":
        """The same for another state of the volume."""
        return StateReader(self._volume, tree, self._credentials)

    # ---- objects ----

    def inode(self, number: int) -> Inode | None:
        """None: the state has no such object."""
        payload = self.tree.get(number, ITEM_INODE, 0)
        return Inode.unpack(payload) if payload is not None else None

    def files(self, numbers: Sequence[int]) -> list[FoundFile | None]:
        """Many objects at once, None for what the state does not have: some of them, from the first
        one on, and at least one."""
        if known := self._known.first(numbers):
            return known
        gathered = self.tree.gather(numbers, ITEM_INODE, ITEM_EXTENT)
        found = [
            _found(items) if items is not None else self._file(number)
            for number, items in zip(numbers, gathered, strict=False)
        ]
        self._known.add(
            (number, file)
            for number, file, items in zip(numbers, found, gathered, strict=False)
            if items is not None  # names without end are not kept
        )
        return found

    def _file(self, number: int) -> FoundFile | None:
        inode = self.inode(number)
        return FoundFile(inode, self.places(number), None) if inode is not None else None

    def resolve(self, path: bytes) -> tuple[int, Inode]:
        """(object, inode) of a path; symbolic links are not followed. Errors: ENOENT, ENOTDIR,
        EACCES, ENAMETOOLONG."""
        number, inode = OBJECT_ROOT, inodes.load(self.tree, OBJECT_ROOT)
        for name in path.split(b"/"):
            if name in (b"", b"."):
                continue
            names.check_name(name)
            if not self.may(number, inode, EXECUTE):
                raise posix_error(errno.EACCES)
            _, entry = directory.locate(self.tree, self._key, number, name)
            if entry is None:
                inodes.load_directory(self.tree, number)
                raise posix_error(errno.ENOENT)
            number, inode = entry.object, inodes.load(self.tree, entry.object)
        return number, inode

    def by_id(self, object_id: bytes) -> tuple[int, Inode] | None:
        """(object, inode) of a 128-bit object id, under whatever name; None if nothing has it."""
        number = int.from_bytes(object_id[-(OBJECT_BITS // 8) :], "big")
        inode = self.inode(number)
        if inode is None or inode.object_id != object_id or not inode.nlink:
            return None
        return number, inode

    @property
    def sees_all(self) -> bool:
        """Whether no file is closed to who asks."""
        return self._credentials.privileged

    def may(self, number: int, inode: Inode, wanted: int) -> bool:
        """wanted: bits of READ, WRITE, EXECUTE."""
        if self._credentials.privileged:
            return True
        return allows(self.tree, self._key, number, inode, self._credentials, wanted)

    def may_list(self, number: int, inode: Inode) -> bool:
        """Whether the entries of a directory, and what they name, may be looked at."""
        return self.may(number, inode, READ | EXECUTE)

    # ---- content ----

    def content(self, number: int, inode: Inode) -> bytes:
        """All bytes of a regular file."""
        if not inode.blocks:
            inline = self.tree.get(number, ITEM_INLINE, 0)
            if inline is not None and len(inline) == inode.size:
                return inline
        return self._data.read(number, inode, 0, inode.size)

    def xattrs(self, number: int) -> dict[bytes, bytes]:
        """Names and values of the extended attributes that may be seen, ACLs left out."""
        if not xattrs.has_any(self.tree, number):
            return {}
        found = {}
        for name in sorted(xattrs.list_names(self.tree, number, self._credentials)):
            if name not in (xattrs.ACL_ACCESS, xattrs.ACL_DEFAULT):
                found[name] = xattrs.get_value(
                    self.tree, self._key, number, name, self._credentials, self._data
                )
        return found

    def author(self, inode: Inode) -> Author | None:
        """Who changed it last; None where nobody knows."""
        return self._volume.authors.get(inode.changed_by)

    def newest_extent(self, number: int) -> int | None:
        """The commit that wrote the newest of a file's extents; None if it has none."""
        newest: int | None = None
        first, end = (number, ITEM_EXTENT, 0), (number, ITEM_EXTENT + 1, 0)
        for _, _, _, payload in self.tree.iterate(first, end):
            birth = Extent.unpack(payload).birth
            newest = birth if newest is None or birth > newest else newest
        return newest

    def path_of(self, object_id: bytes) -> tuple[bytes, ...] | None:
        """A path of the object with this id: its first name that may be reached; None without."""
        found = self.by_id(object_id)
        if found is None:
            return None
        for parent, name in self.places(found[0]):
            path, open_way = self.directory_path(parent)
            above = self.inode(parent)
            if open_way and above is not None and self.may(parent, above, EXECUTE):
                return (*path.split(b"/"), name) if path else (name,)
        return None

    # ---- collections ----

    def collections(self) -> list[int]:
        """The directories with a declaration, by number, seen or not."""
        return declarations.listed(self.tree)

    def declaration(self, number: int) -> declarations.Declaration | None:
        """Of a directory, None if it has none. Errors: collection.damaged."""
        return declarations.read(self.tree, number)

    def stored_declaration(self, number: int) -> bytes:
        """The same as it is stored, b"" for none."""
        return declarations.stored(self.tree, number)

    # ---- names ----

    def entries(self, number: int, cookie: int) -> list[tuple[int, bytes, int]]:
        """(cookie, name, object) of the next entries of a directory after a cookie (0: from the
        start), in the order of the directory; none at the end."""
        first = (number, ITEM_DENTRY, cookie + 1)
        items = self.tree.scan(first, (number, ITEM_DENTRY + 1, 0), SCAN_BYTES)
        return [
            (offset, payload[_NAME_SIZE:], object_of_name(payload))
            for _, _, offset, payload in items
        ]

    def files_among(
        self, number: int, cookie: int, files: Container[int]
    ) -> tuple[list[tuple[bytes, int]], int]:
        """(name, object) of those of the next entries that are directories or among the files, and
        the cookie behind the last one that was looked at: 0 at the end."""
        first = (number, ITEM_DENTRY, cookie + 1)
        items = self.tree.scan(first, (number, ITEM_DENTRY + 1, 0), SCAN_BYTES)
        found = []
        for _, _, _, payload in items:
            child = object_of_name(payload)
            if child in files or Name.unpack(payload).kind == directory.DT_DIRECTORY:
                found.append((payload[_NAME_SIZE:], child))
        return found, items[-1][2] if items else 0

    def cookie(self, number: int, name: bytes) -> int:
        """Where a name of a directory stands in the order of `entries`."""
        return directory.locate(self.tree, self._key, number, name)[0]

    def places(self, number: int, count: int = 0) -> list[Place]:
        """All names of an object, in the order of the tree. count: how many there are, 0 where that
        is not known."""
        if count == 1:
            item = self.tree.seek(number, ITEM_PARENT, 0)
            if item is None or item[:2] != (number, ITEM_PARENT):
                return []
            return [_place(item[3])]
        first, end = (number, ITEM_PARENT, 0), (number, ITEM_PARENT + 1, 0)
        return [_place(payload) for _, _, _, payload in self.tree.iterate(first, end)]

    def directory_path(self, number: int) -> tuple[bytes, bool]:
        """(path of a directory, whether everything on the way may be searched). Errors: EIO for a
        chain of parents that is broken."""
        chain: list[tuple[int, bytes]] = []
        at = number
        while at not in self._paths:
            places = self.places(at)
            if not places or len(chain) >= DEPTH_MAX:
                raise posix_error(errno.EIO, f"directory {number} does not lie below the root")
            chain.append((at, places[0][1]))
            at = places[0][0]
        path, open_way = self._paths[at]
        for child, name in reversed(chain):
            parent = self.inode(at)
            open_way = open_way and parent is not None and self.may(at, parent, EXECUTE)
            path = path + b"/" + name if path else name
            self._paths[child] = path, open_way
            at = child
        return path, open_way


def _place(payload: bytes) -> Place:
    return object_of_name(payload), payload[_NAME_SIZE:]


def _found(items: list[tuple[int, bytes]]) -> FoundFile | None:
    """From (type, payload) of the items of one object, in their order."""
    if not items or items[0][0] != ITEM_INODE:
        return None
    places: list[Place] = []
    inline: bytes | None = None
    for kind, payload in items:
        if kind == ITEM_PARENT:
            places.append(_place(payload))
        elif kind == ITEM_INLINE:
            inline = payload
    return _new_tuple(FoundFile, (Inode.unpack(items[0][1]), places, inline))
