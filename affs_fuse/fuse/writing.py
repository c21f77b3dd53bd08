"""WRITE requests where they are answered beside pyfuse3: most of them in one step, without a task.

They tell more than pyfuse3 hands on: who writes and whether he may keep setuid and setgid, whether
the descriptor has O_APPEND now, and whether these are pages of a mapping. The structures are those
of linux/fuse.h.
"""

import errno
import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import NamedTuple

from affs_fuse.core.checksum import Buffer
from affs_fuse.fuse.invalidation import KernelCaches
from affs_fuse.fuse.operations import Operations
from affs_fuse.fuse.requests import Header
from affs_fuse.fuse.translate import credentials_from
from affs_fuse.posix.changing import Writing
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.engine import Engine
from affs_fuse.volume.authors import acting

__all__ = ["WRITE", "Writes"]

WRITE = 16
"""Opcode of the FUSE protocol."""
WRITE_CACHE, WRITE_KILL_SUIDGID = 1, 4

_WRITE_IN = struct.Struct("<QQIIQII")
_WRITE_OUT = struct.Struct("<II")


class _Request(NamedTuple):
    handle: int
    offset: int
    data: Buffer
    told: Writing


class Writes:
    """Of one mount. tells_who_drops: whether the kernel says whose write takes setuid and setgid;
    it has taken them itself otherwise, but for setgid without group execute."""

    def __init__(
        self,
        engine: Engine,
        namespace: Namespace,
        kernel: KernelCaches,
        operations: Operations,
        tells_who_drops: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._namespace = namespace
        self._kernel = kernel
        self._operations = operations
        self._tells_who_drops = tells_who_drops

    def take(self, header: Header, body: Buffer) -> int | None:
        """Bytes written; None, and nothing has happened, where it takes more than one turn."""
        request = self._request(header, body)
        with self._acting(header, request):
            written = self._engine.write_at_once(*request)
        if written is not None:
            self._note(header, request, written)
        return written

    async def write(self, header: Header, body: Buffer) -> bytes:
        """The answer. Errors: as Engine.write."""
        request = self._request(header, body)
        with self._acting(header, request):
            written = await self._engine.write(*request)
        self._note(header, request, written)
        return _WRITE_OUT.pack(written, 0)

    def _acting(self, header: Header, request: _Request) -> AbstractContextManager[None]:
        """Who wrote. Of pages of a mapping only the opener is known."""
        uid, pid = header.uid, header.pid
        if request.told.paged:
            opener = self._namespace.handle_of(request.handle).credentials
            uid, pid = opener.uid, opener.pid
        return acting(self._operations.author(uid, pid))

    def _request(self, header: Header, body: Buffer) -> _Request:
        handle, offset, size, flags, _, open_flags, _ = _WRITE_IN.unpack_from(body)
        data = body[_WRITE_IN.size :]
        if len(data) != size:
            raise posix_error(errno.EINVAL, "a write request with more or less data than it says")
        paged = bool(flags & WRITE_CACHE)
        drops = bool(flags & WRITE_KILL_SUIDGID)
        if not self._tells_who_drops():
            drops = header.uid != 0 and not paged
        writer = credentials_from(header.uid, header.gid, header.pid, 0)
        told = Writing(writer, drops, bool(open_flags & os.O_APPEND), paged)
        return _Request(handle, offset, data, told)

    def _note(self, header: Header, request: _Request, written: int) -> None:
        self._operations.note_written(written)
        if request.told.drops:
            opened = self._namespace.handle_of(request.handle).object
            if opened.mode_moved:
                opened.mode_moved = False
                self._kernel.invalidate_attributes(header.node)
