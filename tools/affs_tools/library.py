"""A volume without a mount: paths in, plain calls on the namespace, commits by hand.

For the benchmarks and for tests that need files in an image but no FUSE. Paths are bytes without a
leading slash; b"" is the root.
"""

import os
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

from affs_fuse.posix.attributes import Changes
from affs_fuse.posix.batches import Declare
from affs_fuse.posix.declarations import Declaration, packed
from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.permissions import SYSTEM, Credentials
from affs_fuse.volume import verbs
from affs_fuse.volume.commit import Cut, CutRequest
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.verbs import Note
from affs_fuse.volume.volume import Volume

__all__ = ["Library"]

ROOT = 1
P = ParamSpec("P")
R = TypeVar("R")


class Library:
    """An open volume. Errors of all calls: OSError, AffsError, as the namespace raises them."""

    def __init__(self, path: str, options: OpenOptions | None = None) -> None:
        self.volume = Volume.open(path, options)
        self.namespace = Namespace(self.volume)
        self.credentials: Credentials = SYSTEM
        if not self.volume.read_only:
            self.call(self.namespace.load_orphans)

    def close(self) -> None:
        """Commit what there is and close."""
        if not self.volume.read_only:
            self.tidy_up()
            if self.volume.dirty or self.namespace.dirty_bytes:
                self.commit()
        self.volume.close()

    def abandon(self) -> None:
        """Let go of the volume as a killed process would."""
        self.volume.device.close()

    def __enter__(self) -> "Library":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run an operation of the namespace, loading what it misses."""
        return self.volume.run(function, *args, **kwargs)

    # ---- paths ----

    def number(self, path: bytes) -> int:
        """The object that a path leads to; symbolic links are not followed."""
        number = ROOT
        for name in path.split(b"/") if path else ():
            number = self.call(self.namespace.lookup, number, name).number
        return number

    def _place(self, path: bytes) -> tuple[int, bytes]:
        parent, _, name = path.rpartition(b"/")
        return self.number(parent), name

    # ---- making and changing ----

    def mkdir(self, path: bytes, mode: int = 0o755) -> int:
        parent, name = self._place(path)
        return self.call(self.namespace.mkdir, parent, name, mode, self.credentials).number

    def symlink(self, path: bytes, target: bytes) -> int:
        parent, name = self._place(path)
        return self.call(self.namespace.symlink, parent, name, target, self.credentials).number

    def mknod(self, path: bytes, mode: int, rdev: int = 0) -> int:
        parent, name = self._place(path)
        return self.call(self.namespace.mknod, parent, name, mode, rdev, self.credentials).number

    def link(self, old: bytes, new: bytes) -> None:
        parent, name = self._place(new)
        self.call(self.namespace.link, self.number(old), parent, name)

    def write(self, path: bytes, data: bytes, offset: int = 0) -> int:
        """Write into a file, which is made if it is not there; its number."""
        parent, name = self._place(path)
        flags = os.O_CREAT | os.O_RDWR
        handle, attributes = self.call(
            self.namespace.create, parent, name, 0o644, flags, self.credentials
        )
        try:
            self.call(self.namespace.write, handle, offset, data)
        finally:
            self.call(self.namespace.release, handle)
        return attributes.number

    def truncate(self, path: bytes, size: int) -> None:
        self.change(path, Changes(size=size))

    def change(self, path: bytes, changes: Changes) -> None:
        """chmod, chown, truncate, utimes."""
        self.call(self.namespace.setattr, self.number(path), changes, self.credentials)

    def setxattr(self, path: bytes, name: bytes, value: bytes) -> None:
        self.call(self.namespace.setxattr, self.number(path), name, value, 0, self.credentials)

    def declare(self, path: bytes, declaration: Declaration | None) -> None:
        """Make a directory a collection, or with None no longer."""
        parts = tuple(path.split(b"/")) if path else ()
        files, data = self.namespace.files, packed(declaration) if declaration is not None else b""
        seen = self.call(files.look_at_directory, parts, self.credentials)
        self.call(files.apply, [Declare(parts, data, seen)], self.credentials)

    def unlink(self, path: bytes) -> None:
        self.call(self.namespace.unlink, *self._place(path))

    def rmdir(self, path: bytes) -> None:
        self.call(self.namespace.rmdir, *self._place(path))

    def rename(self, old: bytes, new: bytes, flags: int = 0) -> None:
        self.call(self.namespace.rename, *self._place(old), *self._place(new), flags)

    # ---- looking ----

    def read(self, path: bytes) -> bytes:
        number = self.number(path)
        handle = self.call(self.namespace.open, number, os.O_RDONLY, self.credentials)
        try:
            size = self.call(self.namespace.getattr, number).inode.size
            return self.call(self.namespace.read, handle, 0, size)
        finally:
            self.call(self.namespace.release, handle)

    # ---- verbs ----

    def flush(self) -> None:
        """What a cut calls."""
        self.call(self.namespace.flush_all)

    def tidy_up(self) -> None:
        """Take away what nobody uses any more."""
        while self.namespace.removals_pending:
            self.call(self.namespace.remove_step)

    def commit(self, request: CutRequest | None = None) -> Cut:
        return self.volume.commit(self.flush, request)

    def checkpoint(self, label: str = "", message: str = "") -> KeptState:
        kept = self.commit(verbs.checkpoint_request(self.volume, Note(label, message))).kept
        assert kept is not None
        return kept

    def publish(self, label: str = "", message: str = "") -> KeptState:
        note = Note(label, message)
        kept = self.commit(verbs.publish_request(self.volume, note, None)).kept
        assert kept is not None
        return kept

    def rollback(self, target: KeptState, *, discard: bool = False) -> None:
        """No handle may be open."""
        self.flush()
        abandoned = self.volume.begin_rollback(target)
        self.namespace.switch(self.volume.working)
        request = verbs.seal_request(self.volume, abandoned, "", discard=discard)
        self.volume.commit(self.flush, request)

    def delete(self, state: KeptState) -> None:
        """Delete a kept state and free its blocks."""
        verbs.delete(self.volume, state)
        self.commit()
        verbs.reclaim_all(self.volume, self.flush)
