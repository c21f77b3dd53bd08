"""The part of the facade for callers that are not the kernel: files by path, changed in batches."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from affs_fuse.posix import batches
from affs_fuse.posix.context import Context
from affs_fuse.posix.declarations import Collections
from affs_fuse.posix.index_turn import KeysOf
from affs_fuse.posix.index_work import IndexWork
from affs_fuse.posix.permissions import Credentials
from affs_fuse.posix.state_reader import StateReader

__all__ = ["FilesByPath"]


class FilesByPath:
    """context: of the state that the mount shows. let_go(number): an object lost its last name."""

    def __init__(self, context: Callable[[], Context], let_go: Callable[[int], None]) -> None:
        self._context = context
        self._let_go = let_go

    def look_at(self, path: batches.Path, credentials: Credentials) -> tuple[batches.Seen, bytes]:
        """A file, and its content. Errors: as batches.look."""
        return batches.look(self._context(), path, credentials)

    def look_at_directory(self, path: batches.Path, credentials: Credentials) -> batches.Seen:
        """A directory; path: () is the root. Errors: as batches.look_at_directory."""
        return batches.look_at_directory(self._context(), path, credentials)

    @property
    def collections(self) -> Collections:
        """Of the state that the mount shows now: not to be kept over a rollback."""
        return self._context().collections

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

    def keeping_nodes(self) -> AbstractContextManager[None]:
        """Inside, no node of the namespace is evicted."""
        return self._context().volume.cache.keeping()

    def check(self, step: batches.Step, credentials: Credentials) -> None:
        """Errors: as batches.check."""
        batches.check(self._context(), step, credentials)

    def apply(self, steps: list[batches.Step], credentials: Credentials) -> list[batches.Changed]:
        """All steps, or none. Errors: as batches.apply."""
        changed = batches.apply(self._context(), steps, credentials)
        for one in changed:
            if one.gone:
                self._let_go(one.number)
        return changed
