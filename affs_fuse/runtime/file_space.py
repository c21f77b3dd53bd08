"""Looking for holes, punching them, and filling them: many turns of the namespace as one request.

Each turn is an operation of its own, so other requests go on in between. Invariants:
- What a shared mapping wrote counts as data: before a search the kernel's dirty pages of a file
  that may be mapped are fetched.
- Filling is all or nothing about the size: if it fails, the file is as long as it was.
- The brake on writers holds for zeros too.
"""

import errno
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, Protocol

import trio

from affs_fuse.errors import AffsError
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.permissions import Credentials
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.writeback import Writeback

__all__ = ["FileSpace"]

TURNS_PER_BREATH = 16
"""Turns before everybody else has one."""


class _Run(Protocol):
    def __call__(
        self, function: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Coroutine[Any, Any, Any]: ...


class FileSpace:
    """run: the engine's, for one operation of the namespace."""

    def __init__(
        self, run: _Run, namespace: Namespace, writeback: Writeback, kernel: KernelPort
    ) -> None:
        self._run = run
        self._namespace = namespace
        self._writeback = writeback
        self._kernel = kernel

    async def seek(self, handle: int, offset: int, *, hole: bool) -> int:
        """Where the next hole, or the next data, begins. Errors: EBADF, ENXIO, ESTALE;
        device.*."""
        namespace = self._namespace
        if namespace.is_mapped_perhaps(handle):
            number = namespace.handle_of(handle).number
            with self._writeback.release():
                await self._kernel.invalidate_inodes([number])
        while True:
            found = await self._run(namespace.seek_step, handle, offset, hole=hole)
            if found.found:
                return int(found.offset)
            offset = found.offset
            await trio.lowlevel.checkpoint()

    async def punch(self, handle: int, offset: int, length: int, who: Credentials) -> None:
        """[offset, offset + length) reads as zero and takes no blocks; the size stays. who: takes
        setuid and setgid as with a write. Errors: EBADF, ESTALE; volume.*, device.*."""
        namespace, end = self._namespace, offset + length
        at, last = await self._run(namespace.whole_blocks, handle, offset, end)
        first = at
        while at < last:
            at = await self._run(namespace.punch_step, handle, at, last)
            await trio.lowlevel.checkpoint()
        await self._run(namespace.zero, handle, offset, min(first, end))
        await self._run(namespace.zero, handle, max(last, offset), end)
        await self.extend(handle, 0, who)

    async def extend(self, handle: int, end: int, who: Credentials) -> None:
        """Let the file have at least `end` bytes. Errors: as `punch`; EFBIG."""
        size = await self._run(self._namespace.size_of, handle)
        await self._resize(handle, max(size, end), who)

    async def _resize(self, handle: int, size: int, who: Credentials) -> None:
        await self._run(self._namespace.resize, handle, size, who)
        opened = self._namespace.handle_of(handle)
        if opened.object.mode_moved:  # the kernel thinks that the file has the old one
            opened.object.mode_moved = False
            with self._writeback.release():
                await self._kernel.invalidate_inodes([opened.number])

    async def fill(
        self, handle: int, offset: int, length: int, who: Credentials, *, grow: bool
    ) -> None:
        """Every block of [offset, offset + length) exists, the size reaches to the end of it.
        grow: or else the range must lie within the size. Errors: EOPNOTSUPP for that; as
        `extend`."""
        namespace, end = self._namespace, offset + length
        size = await self._run(namespace.size_of, handle)
        if end > size and not grow:
            raise posix_error(errno.EOPNOTSUPP, "no blocks beyond the end of a file")
        at = offset
        try:
            await self._run(namespace.require_room, end - max(offset, size))
            while at < end:
                for _ in range(TURNS_PER_BREATH):
                    if self._writeback.full:
                        await self._writeback.throttle()
                    at = await self._run(namespace.fill_step, handle, at, end)
                    if at >= end:
                        break
                self._writeback.wake_if_due()
                await trio.lowlevel.checkpoint()
            await self.extend(handle, end, who)
        except (AffsError, OSError):
            with suppress(AffsError, OSError):
                if await self._run(namespace.size_of, handle) > size:
                    await self._resize(handle, size, who)
            raise
