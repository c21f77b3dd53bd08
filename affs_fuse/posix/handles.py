"""Open files and directories.

A handle is a number that the kernel gives back with each request. It stands for an object, not for
a state: after a rollback it goes on with what the object is in the new state, or, where there is
no such object, every operation on it gives ESTALE.
"""

import errno
import os

from affs_fuse.posix.directory import Listing
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.permissions import Credentials

__all__ = ["Handle", "Handles", "OpenObject"]


class Handle:
    """What one open(2) asked for. access_moved: opening moved the access time, which the kernel
    cannot know where it reads from its own pages only. listing: where a directory is being read."""

    __slots__ = (
        "access_moved", "append", "credentials", "listing", "noatime", "number", "object",
        "readable", "writable",
    )  # fmt: skip

    def __init__(
        self, number: int, opened: "OpenObject", flags: int, credentials: Credentials
    ) -> None:
        mode = flags & os.O_ACCMODE
        self.number = number
        self.object = opened
        self.readable = mode != os.O_WRONLY
        self.writable = mode != os.O_RDONLY
        self.append = bool(flags & os.O_APPEND)
        self.noatime = bool(flags & os.O_NOATIME)
        self.access_moved = False
        self.credentials = credentials
        self.listing = Listing() if flags & os.O_DIRECTORY else None


class OpenObject:
    """What all handles of one object share.

    size_told: the size that the kernel takes the file to have; a rollback changes the size behind
    its back, and appends then arrive at the old end. size_before: what it took it to be before the
    last correction, which may have crossed an append (-1: none). plain: known to have no
    security.capability. mode_moved: a write took setuid or setgid, and nobody has told the kernel.
    mappers: handles that a shared mapping may write through. nameless: made without a name
    (O_TMPFILE), and may still get one.
    """

    __slots__ = (
        "handles", "mappers", "mode_moved", "nameless", "plain", "size_before", "size_told",
        "writers",
    )  # fmt: skip

    def __init__(self, size: int) -> None:
        self.handles = 0
        self.writers = 0
        self.size_told = size
        self.size_before = -1
        self.plain = False
        self.mode_moved = False
        self.mappers = 0
        self.nameless = False


class Handles:
    """All handles by number; numbers are not used again."""

    def __init__(self) -> None:
        self._handles: dict[int, Handle] = {}
        self._objects: dict[int, OpenObject] = {}
        self._next = 1

    def __len__(self) -> int:
        return len(self._handles)

    def open(self, number: int, flags: int, credentials: Credentials, size: int = 0) -> int:
        """A new handle on an object. flags: as of open(2)."""
        opened = self._objects.get(number)
        if opened is None:
            opened = self._objects[number] = OpenObject(size)
        handle = Handle(number, opened, flags, credentials)
        opened.handles += 1
        opened.writers += handle.writable
        opened.mappers += handle.writable and handle.readable
        made = self._next
        self._next = made + 1
        self._handles[made] = handle
        return made

    def get(self, handle: int) -> Handle:
        """Errors: EBADF."""
        found = self._handles.get(handle)
        if found is None:
            raise posix_error(errno.EBADF, f"there is no handle {handle}")
        return found

    def close(self, handle: int) -> tuple[int, bool]:
        """(object, whether that was its last handle). Errors: EBADF."""
        closed = self.get(handle)
        del self._handles[handle]
        opened = closed.object
        opened.handles -= 1
        opened.writers -= closed.writable
        opened.mappers -= closed.writable and closed.readable
        if opened.handles:
            return closed.number, False
        del self._objects[closed.number]
        return closed.number, True

    def of(self, number: int) -> OpenObject | None:
        """What is known of an object that is open."""
        return self._objects.get(number)

    def numbers(self) -> list[int]:
        """Objects with a handle."""
        return list(self._objects)

    def doubt(self) -> None:
        """The objects have become those of another state: it may have a security.capability."""
        for opened in self._objects.values():
            opened.plain = False

    def writable(self) -> list[int]:
        """Objects with a handle that can write."""
        return [number for number, opened in self._objects.items() if opened.writers]

    def count(self, number: int) -> int:
        """Handles of one object."""
        opened = self._objects.get(number)
        return opened.handles if opened is not None else 0
