"""Telling the kernel what it must not believe any more.

The daemon is the only writer, so the kernel caches for long; what changes by another way than the
kernel's own requests (a rollback) is announced here. Invariants:
- Notifications are sent from a worker thread, never from the loop: the kernel makes them wait for
  requests that are under way, and the loop is what answers those. Those about an open file's
  attributes alone touch no page and wait for nothing.
- The worker threads are of this object alone, so a loader or a commit never waits behind one.
- What the kernel does not know costs no notification.
"""

import errno
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import pyfuse3
import trio

from affs_fuse.fuse.lookup_counts import LookupCounts
from affs_fuse.fuse.mount_table import mount_entries

__all__ = ["InvalidationStatistics", "KernelCaches"]

_Item = TypeVar("_Item")

_log = logging.getLogger("affs.fuse")

_BATCH = 4096
# The kernel does not know it, or the mount is being taken down.
_HARMLESS = frozenset({errno.ENOENT, errno.ENOTCONN, errno.ENODEV, errno.EBADF})


@dataclass(frozen=True, slots=True)
class InvalidationStatistics:
    """inodes, entries: notifications sent. failures: those that the kernel refused."""

    inodes: int
    entries: int
    failures: int


class KernelCaches:
    """The kernel's caches of one mount (runtime.kernel.KernelPort).

    directory: absolute path of the mount. counts: what the kernel knows.
    """

    def __init__(self, directory: str, counts: LookupCounts) -> None:
        self.directory = directory
        self._counts = counts
        self._limiter = trio.CapacityLimiter(2)
        self._distrusted: set[int] = set()
        self._inodes = 0
        self._entries = 0
        self._failures = 0

    def knows(self, inode: int) -> bool:
        return inode in self._counts

    def known(self) -> list[int]:
        return [*self._counts]

    def mount_points(self) -> list[bytes]:
        prefix = os.fsencode(self.directory).rstrip(b"/") + b"/"
        return [
            entry.directory[len(prefix) :]
            for entry in mount_entries()
            if entry.directory.startswith(prefix)
        ]

    def distrust(self, inodes: Iterable[int]) -> None:
        self._distrusted.update(inode for inode in inodes if inode in self._counts)

    def trusts(self, inode: int) -> bool:
        """For an open: whether cached pages may stay. The first open after a change says no."""
        if inode not in self._distrusted:
            return True
        self._distrusted.discard(inode)
        return False

    def forget(self, inodes: Iterable[int]) -> None:
        """The kernel knows these no more."""
        self._distrusted.difference_update(inodes)

    async def invalidate_inodes(self, inodes: Sequence[int]) -> None:
        known = [inode for inode in inodes if inode in self._counts]
        self._inodes += len(known)
        await self._notify(_invalidate_inode, known)

    def invalidate_attributes(self, inode: int) -> None:
        """Of a file that is being opened: not its pages. At once, from the loop."""
        self._inodes += 1
        self._failures += _notify_batch(_invalidate_attributes, [inode])

    async def invalidate_entries(self, entries: Sequence[tuple[int, bytes]]) -> None:
        known = [entry for entry in entries if entry[0] in self._counts]
        self._entries += len(known)
        await self._notify(_invalidate_entry, known)

    async def look_up(self, paths: Sequence[bytes]) -> None:
        root = os.fsencode(self.directory)
        await self._notify(_look_up, [os.path.join(root, path) for path in paths])

    async def _notify(self, notify: Callable[[_Item], None], items: Sequence[_Item]) -> None:
        for start in range(0, len(items), _BATCH):
            self._failures += await trio.to_thread.run_sync(
                _notify_batch, notify, items[start : start + _BATCH], limiter=self._limiter
            )

    def statistics(self) -> InvalidationStatistics:
        return InvalidationStatistics(self._inodes, self._entries, self._failures)


def _notify_batch(notify: Callable[[_Item], None], items: Sequence[_Item]) -> int:
    """In a worker thread; how many the kernel refused."""
    failures = 0
    for item in items:
        try:
            notify(item)
        except OSError as error:
            if error.errno not in _HARMLESS:
                failures += 1
                _log.warning("the kernel refused an invalidation of %r: %s", item, error)
    return failures


def _invalidate_inode(inode: int) -> None:
    pyfuse3.invalidate_inode(inode)


def _invalidate_attributes(inode: int) -> None:
    pyfuse3.invalidate_inode(inode, attr_only=True)


def _invalidate_entry(entry: tuple[int, bytes]) -> None:
    pyfuse3.invalidate_entry(entry[0], entry[1])


def _look_up(path: bytes) -> None:
    os.lstat(path)
