"""Requests that pyfuse3 has no handlers for: how they come here, and how they are answered.

pyfuse3 reads them from the kernel; on their way into libfuse, which would say "not implemented",
native/requests takes those with a wanted opcode off and gives them to `_take`. The answer is
written to the same descriptor as libfuse's. Invariants:
- Every request that was taken is answered once, with bytes or an errno; by C, if not even a task
  could be made for it.
- A request runs in a task of its own, in the nursery of `serve`, which outlives pyfuse3's loop; a
  WRITE that misses nothing is done where it comes in.
- One server a process, as pyfuse3 has one session a process.
"""

import errno
import logging
import os
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple

import trio

from affs_fuse._requests import ffi, lib
from affs_fuse.core.checksum import Buffer
from affs_fuse.fuse.operations import Operations
from affs_fuse.fuse.translate import errno_of

__all__ = ["Header", "RequestServer"]

_log = logging.getLogger("affs.fuse")

TRIM_AFTER_S = 4.0

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


Handler = Callable[[Header, Buffer], Awaitable[bytes]]


class RequestServer:
    """handlers: opcode -> what answers it, from the header and the bytes after it. Its OSErrors
    and AffsErrors become errnos; anything else is a failure that becomes EIO. take_write: the same
    for WRITE, in one turn of the loop; None where it cannot be, and `handlers` has what waits.
    operations: keeps the figures. channel: whether to read the requests here (native/requests)."""

    def __init__(
        self,
        handlers: Mapping[int, Handler],
        take_write: Callable[[Header, Buffer], int | None],
        operations: Operations,
        monotonic: Callable[[], float],
        *,
        channel: bool,
    ) -> None:
        self._handlers = dict(handlers)
        self._take_write = take_write
        self._operations = operations
        self._monotonic = monotonic
        self._nursery: trio.Nursery | None = None
        self._writes = 0
        lib.affs_requests_use_channel(channel)

    async def serve(self, loop: Callable[[], Awaitable[None]]) -> None:
        """Answer what is taken as long as `loop`, pyfuse3's, runs."""
        async with trio.open_nursery() as beside:
            beside.start_soon(self._trim)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                _takers.append(self)
                lib.affs_requests_begin(sum(1 << opcode for opcode in self._handlers))
                try:
                    await loop()
                finally:
                    lib.affs_requests_begin(0)
                    _takers.remove(self)
            beside.cancel_scope.cancel()

    async def _trim(self) -> None:
        """Free the memory of long writes when none come any more."""
        while True:
            written = self._writes
            await trio.sleep(TRIM_AFTER_S)
            if written == self._writes:
                lib.affs_requests_trim()

    @staticmethod
    def pass_by() -> bool:
        """Whether requests come by here at all: not if pyfuse3 was loaded before this room."""
        return lib.affs_requests_seen() > 0

    @staticmethod
    def channel() -> bool:
        """Whether requests are read here."""
        return lib.affs_requests_channel() != lib.AFFS_CHANNEL_NONE

    @staticmethod
    def tells_who_drops() -> bool:
        """Whether the kernel leaves taking setuid and setgid to the daemon, and tells when."""
        return lib.affs_requests_channel() == lib.AFFS_CHANNEL_KILLS

    def take(self, descriptor: int, request: Buffer) -> None:
        """Begin to answer one request."""
        header = _header(request)
        assert self._nursery is not None
        self._nursery.start_soon(self._answer, descriptor, header, request[_HEADER.size :])

    def take_write(self, descriptor: int, request: Buffer) -> int:
        """Bytes written; less than 0 where somebody else will answer."""
        started = self._monotonic()
        self._writes += 1
        written = None
        try:
            written = self._take_write(_header(request), request[_HEADER.size :])
        except Exception as error:  # noqa: BLE001 - nothing gets out into pyfuse3's C code
            self._operations.note_failure("write", error)
        if written is None:
            self.take(descriptor, request)
            return -1
        self._operations.note_answer("write", started, 0)
        return written

    async def _answer(self, descriptor: int, header: Header, body: Buffer) -> None:
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


def _header(request: Buffer) -> Header:
    _, opcode, unique, node, uid, gid, pid, _ = _HEADER.unpack_from(request)
    return Header(opcode, unique, node, uid, gid, pid)


_takers: list[RequestServer] = []


def _not_begun(kind: type[BaseException], error: BaseException, trace: TracebackType) -> None:
    """Nobody is above to be told: C answers."""
    _log.critical("a request could not be taken", exc_info=(kind, error, trace))


@ffi.def_extern(error=lib.AFFS_TAKE_FAILED, onerror=_not_begun)
def affs_requests_take(descriptor: int, request: Any, length: int) -> int:
    """From C, inside pyfuse3's loop. The request's memory is pyfuse3's and used again."""
    _takers[-1].take(descriptor, bytes(ffi.buffer(request, length)))
    return 0


@ffi.def_extern(error=lib.AFFS_TAKE_FAILED, onerror=_not_begun)
def affs_requests_take_write(
    descriptor: int, request: Any, length: int, handed_over: int
) -> int:
    """The same for a WRITE; C answers it with the bytes written, -1 where a task does it.
    handed_over: the memory is ours, to be given back."""
    if handed_over:
        owned = ffi.gc(request, lib.affs_requests_give_back)
        data: Buffer = memoryview(ffi.buffer(owned, length))
    else:
        data = bytes(ffi.buffer(request, length))
    return _takers[-1].take_write(descriptor, data)
