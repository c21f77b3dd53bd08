"""The part of the facade for callers that are not the kernel: files by path, changed in batches."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from affs_fuse.core.codec import Inode
from affs_fuse.posix import batches, directory, imports, indexes, inodes
from affs_fuse.posix.context import Context
from affs_fuse.posix.declarations import Collections
from affs_fuse.posix.index_turn import RECORD_BYTES_MAX, KeysOf
from affs_fuse.posix.index_work import IndexWork
from affs_fuse.posix.permissions import SYSTEM, Credentials
from affs_fuse.posix.restoring import Kept, attributes_of
from affs_fuse.posix.state_reader import StateReader

__all__ = ["FilesByPath"]


class FilesByPath:
    """context: of the state that the mount shows. let_go(number): an object lost its last name."""

    def __init__(self, context: Callable[[], Context], let_go: Callable[[int], None]) -> None:
        self._context = context
        self._let_go = let_go

    def look_at(
        self, path: batches.Path, credentials: Credentials
    ) -> tuple[batches.Seen, bytes | None]:
        """A file, and its content, None where that is too large for a record. Errors: as
        batches.look."""
        return batches.look(self._context(), path, credentials, RECORD_BYTES_MAX)

    def look_at_directory(self, path: batches.Path, credentials: Credentials) -> batches.Seen:
        """A directory; path: () is the root. Errors: as batches.look_at_directory."""
        return batches.look_at_directory(self._context(), path, credentials)

    def directory_number(self, path: batches.Path, credentials: Credentials) -> int:
        """Errors: as batches.directory_number."""
        return batches.directory_number(self._context(), path, credentials)

    def look_in(self, parent: int, number: int, size_max: int) -> tuple[Inode, bytes] | None:
        """Whoever asks. Errors: as batches.look_in."""
        return batches.look_in(self._context(), parent, number, size_max)

    def parents_of(self, number: int) -> list[int]:
        """The directories in which the object has a name. Errors: NodeMissing."""
        return batches.parents_of(self._context(), number)

    def name_in(self, parent: int, number: int) -> bytes:
        """A name of the object in this directory, b"" without. Errors: NodeMissing."""
        return batches.name_in(self._context(), parent, number)

    def directory_change(self, number: int) -> int:
        """What grows with every change of the directory, a name that comes or goes among them.
        Errors: ESTALE, ENOTDIR; NodeMissing."""
        return inodes.load_directory(self._context().tree, number).change

    @property
    def collections(self) -> Collections:
        """Of the state that the mount shows now: not to be kept over a rollback."""
        return self._context().collections

    def files_between(
        self, directory: int, index: int, low: bytes, high: bytes
    ) -> list[int] | None:
        """As indexes.files_between. Errors: NodeMissing, index.damaged."""
        return indexes.files_between(self._context().tree, directory, index, low, high)

    def pending_files(self, directory: int, limit_bytes: int) -> list[int]:
        """As indexes.pending_files, from the first on. Errors: NodeMissing."""
        return indexes.pending_files(self._context().tree, directory, 0, limit_bytes)

    @property
    def index_work_pending(self) -> bool:
        """Is there something for `index_work`?"""
        return self._context().marks.any

    def index_work(self, keys_of: KeysOf) -> IndexWork:
        """Who works on the indexes of the state that the mount shows, after a rollback too."""
        return IndexWork(self._context, keys_of)

    def path_of(self, object_id: bytes, credentials: Credentials) -> batches.Path | None:
        """A path of the object with this id, if there is one that may be seen. Errors:
        NodeMissing."""
        context = self._context()
        return StateReader(context.volume, context.tree, credentials).path_of(object_id)

    def kept_of(self, seen: batches.Seen) -> Kept | None:
        """What a `Restore` of this file takes; None where its attributes are too large for that.
        Errors: NodeMissing."""
        attributes = attributes_of(self._context().tree, seen.number)
        return None if attributes is None else Kept(seen.inode, attributes)

    def look_at_object(self, object_id: bytes) -> batches.Seen | None:
        """The object with this id that has a name. Errors: NodeMissing."""
        context = self._context()
        found = StateReader(context.volume, context.tree, SYSTEM).by_id(object_id)
        return None if found is None else batches.Seen(*found)

    def look_at_nameless(self, object_id: bytes) -> batches.Seen | None:
        """The object with this id that has lost its last name, if all of it is there. Errors:
        NodeMissing."""
        context = self._context()
        number = inodes.number_of(object_id)
        if not context.orphans.is_whole(number):
            return None
        inode = inodes.load(context.tree, number)
        return batches.Seen(number, inode) if inode.object_id == object_id else None

    def content_of(self, seen: batches.Seen) -> bytes:
        """Of a regular file, of which the caller knows that it is not large. Errors: NodeMissing,
        DataMissing."""
        return self._context().data.read(seen.number, seen.inode, 0, seen.inode.size)

    def keeping_nodes(self) -> AbstractContextManager[None]:
        """Inside, no node of the namespace is evicted."""
        return self._context().volume.cache.keeping()

    def check(self, step: batches.Step, credentials: Credentials) -> None:
        """Errors: as batches.check."""
        batches.check(self._context(), step, credentials)

    def writable(self, path: batches.Path, credentials: Credentials) -> int:
        """The number of a directory in which names may be made; path: () is the root. Errors:
        ENOENT, ENOTDIR, EACCES, ENAMETOOLONG; NodeMissing."""
        return batches.writable_directory(self._context(), path, credentials)

    def names_there(self, number: int, names: list[bytes]) -> set[bytes]:
        """Which of these names a directory has. Errors: NodeMissing."""
        tree, key = self._context().tree, self._context().hash_key
        return {name for name in names if directory.locate(tree, key, number, name)[1] is not None}

    def cursor_of(self, number: int) -> bytes | None:
        """Of the import into a directory. Errors: NodeMissing."""
        return imports.cursor_of(self._context().tree, number)

    def cursors(self, credentials: Credentials) -> list[tuple[bytes, bytes]]:
        """(path, cursor) of all unfinished imports into directories within reach. Errors:
        NodeMissing."""
        context = self._context()
        reader = StateReader(context.volume, context.tree, credentials)
        found = []
        for number, payload in imports.cursors(context.tree):
            path, open_way = reader.directory_path(number)
            if open_way:
                found.append((b"/" + path, payload))
        return sorted(found)

    def apply(
        self,
        steps: list[batches.Step],
        credentials: Credentials,
        cursor: imports.Cursor | None = None,
        spare: int = 0,
    ) -> list[batches.Changed]:
        """All steps, or none. Errors: as batches.apply."""
        changed = batches.apply(self._context(), steps, credentials, cursor, spare)
        for one in changed:
            if one.gone:
                self._let_go(one.number)
        return changed
