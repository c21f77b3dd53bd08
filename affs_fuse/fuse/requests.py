"""Requests that pyfuse3 has no handlers for: how they come here, and how they are answered.

pyfuse3 reads them from the kernel; on their way into libfuse, which would say "not implemented",
native/requests takes those with a wanted opcode off and gives them to `_take`. The answer is
written to the same descriptor as libfuse's. Invariants:
- Every request that was taken is answered once, with bytes or an errno.
- A request runs in a task of its own, in the nursery of `serve`; that outlives pyfuse3's loop.
- One server a process, as pyfuse3 has one session a process.
"""

import errno
import logging
import os
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

import trio

from affs_fuse._requests import ffi, lib
from affs_fuse.fuse.operations import Operations
from affs_fuse.fuse.translate import errno_of

__all__ = ["Header", "RequestServer"]

_log = logging.getLogger("affs.fuse")

_HEADER = struct.Struct("<IIQQIIII")
_ANSWER = struct.Struct("<IiQ")


class Header(NamedTuple):
    """Of a request: who asks for what about which inode (struct fuse_in_header)."""

    opcode: int
    unique: int
    node: int
    uid: int
    gid: int
    pid: int


Handler = Callable[[Header, bytes], Awaitable[bytes]]


class RequestServer:
    """handlers: opcode -> what answers it, from the header and the bytes after it. Its OSErrors
    and AffsErrors become errnos; anything else is a failure that becomes EIO. operations: keeps the
    figures."""

    def __init__(
        self,
        handlers: Mapping[int, Handler],
        operations: Operations,
        monotonic: Callable[[], float],
    ) -> None:
        self._handlers = dict(handlers)
        self._operations = operations
        self._monotonic = monotonic
        self._nursery: trio.Nursery | None = None

    async def serve(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Answer what is taken as long as `loop`, pyfuse3's, runs."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            _takers.append(self)
            lib.affs_requests_begin(sum(1 << opcode for opcode in self._handlers))
            try:
                await loop()
            finally:
                lib.affs_requests_begin(0)
                _takers.remove(self)

    @staticmethod
    def pass_by() -> bool:
        """Whether requests come by here at all: not if pyfuse3 was loaded before this room."""
        return lib.affs_requests_seen() > 0

    def take(self, descriptor: int, request: bytes) -> None:
        """Begin to answer one request."""
        _, opcode, unique, node, uid, gid, pid, _ = _HEADER.unpack_from(request)
        header = Header(opcode, unique, node, uid, gid, pid)
        assert self._nursery is not None
        self._nursery.start_soon(self._answer, descriptor, header, request[_HEADER.size :])

    async def _answer(self, descriptor: int, header: Header, body: bytes) -> None:
        handler = self._handlers[header.opcode]
        name = handler.__name__
        started = self._monotonic()
        answer, failed = b"", 0
        try:
            answer = await handler(header, body)
        except Exception as error:  # noqa: BLE001 - it would end the loop, and with it the mount
            number = errno_of(error)
            if number is None:
                self._operations.note_failure(name, error)
                number = errno.EIO
            failed = number
        self._operations.note_answer(name, started, failed)
        head = _ANSWER.pack(_ANSWER.size + len(answer), -failed, header.unique)
        with suppress(OSError):  # whoever asked was killed, or the mount is gone
            os.writev(descriptor, [head, answer])


_takers: list[RequestServer] = []


@ffi.def_extern()
def affs_requests_take(descriptor: int, request: Any, length: int) -> None:
    """From C, inside pyfuse3's loop. The request's memory is pyfuse3's and used again."""
    _takers[-1].take(descriptor, bytes(ffi.buffer(request, length)))
