"""What a device is: five calls on bytes, each answering with an outcome instead of an exception.

Rules that every implementation keeps:
- A call retries what the host calls transient (EINTR, EAGAIN, a short transfer) up to ATTEMPTS_MAX
times
  and then reports it; it never retries a failed flush: Linux reports a failed writeback once, so a
  success after a failure proves nothing.
- A read past the end of the device is PERMANENT with EINVAL: nobody should ask.
- Calls may come from several threads at once; writes that overlap are the caller's mistake.
"""

import errno
import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, runtime_checkable

from affs_fuse.errors import AffsError, Category

__all__ = [
    "ATTEMPTS_MAX",
    "Buffer",
    "Device",
    "DeviceIdentity",
    "DirectDevice",
    "MediumDevice",
    "Outcome",
    "Result",
    "StreamDevice",
    "classify",
    "device_error",
]

ATTEMPTS_MAX = 8
"""Tries of one transfer before a transient failure is reported (kernel interrupts come singly)."""

Buffer = bytes | bytearray | memoryview


class Outcome(StrEnum):
    OK = "ok"
    PARTIAL = "partial"
    TRANSIENT = "transient"
    PERMANENT = "permanent"
    TIMEOUT = "timeout"
    DENIED = "denied"
    NO_SPACE = "no_space"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one call. bytes_done counts from the call's offset; errno is 0 when OK."""

    outcome: Outcome
    bytes_done: int = 0
    errno: int = 0
    attempts: int = 1

    @property
    def ok(self) -> bool:
        return self.outcome is Outcome.OK


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """What the host says the device is: for messages and for telling two names of one device
    apart.
    """

    kind: str
    path: str
    device_number: int
    inode: int


class Device(Protocol):
    """A fixed-size array of bytes that outlives the process (or pretends to, in tests)."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def read_only(self) -> bool: ...

    @property
    def identity(self) -> DeviceIdentity: ...

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        """`length` bytes at `offset`; with PARTIAL, those that could be read."""
        ...

    def try_read(self, offset: int, length: int) -> bytes | None:
        """The bytes if they can be had without waiting (page cache), else None. Never an error."""
        ...

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        """The buffers one after the other from `offset` on. Not durable before flush()."""
        ...

    def flush(self) -> Result:
        """A barrier: all writes that returned before this call are durable when it returns OK."""
        ...

    def allocate(self, offset: int, length: int) -> Result:
        """Make the host set the space aside; contents are kept. OK where the host has no such
        notion.
        """
        ...

    def close(self) -> None:
        """Release it, locks included. Nothing is flushed."""
        ...


@runtime_checkable
class StreamDevice(Device, Protocol):
    """A device with a cache of the host's behind it, which can be told what is not needed there."""

    def begin_write_out(self, offset: int, length: int) -> Result:
        """Begin to write out what was written there, without waiting for it."""
        ...

    def end_write_out(self, offset: int, length: int) -> Result:
        """Wait for that, and let the host's copy go. Not a barrier. An error is one that no later
        flush() reports again.
        """
        ...


@runtime_checkable
class DirectDevice(Device, Protocol):
    """A device with a cache of the host's behind it, which writing can go around."""

    def borrow_buffer(self) -> mmap.mmap | None:
        """Memory to fill for write_direct(); None where there is no way around the cache."""
        ...

    def give_buffer_back(self, buffer: mmap.mmap) -> None: ...

    def write_direct(self, offset: int, buffer: mmap.mmap, length: int) -> Result:
        """As write(), of the first `length` bytes of a borrowed buffer, whole blocks. What the
        device refuses is known when it returns; durable it is not before flush()."""
        ...


@runtime_checkable
class MediumDevice(Device, Protocol):
    """A device with a cache of the host's behind it, which reading can go around."""

    def read_medium(self, offset: int, length: int) -> tuple[bytes, Result]:
        """As read(), of whole blocks that nobody is writing, from below the host's page cache
        where the host can do that: `medium_path` says how it was done.
        """
        ...

    @property
    def medium_path(self) -> str:
        """Of all that read_medium() has read: "direct" (O_DIRECT: no copy of the host's was
        believed), "dropped" (for some of it the host was asked to forget its copy first, which it
        may not have done) or "memory" (the host keeps such files nowhere else). "" for nothing.
        """
        ...


_OUTCOMES = {
    errno.EINTR: Outcome.TRANSIENT,
    errno.EAGAIN: Outcome.TRANSIENT,
    errno.ENOMEM: Outcome.TRANSIENT,
    errno.ENOBUFS: Outcome.TRANSIENT,
    errno.ETIMEDOUT: Outcome.TIMEOUT,
    errno.EACCES: Outcome.DENIED,
    errno.EPERM: Outcome.DENIED,
    errno.EROFS: Outcome.DENIED,
    errno.EBADF: Outcome.DENIED,
    errno.ENOSPC: Outcome.NO_SPACE,
    errno.EDQUOT: Outcome.NO_SPACE,
    errno.EFBIG: Outcome.NO_SPACE,
}


def classify(error_number: int) -> Outcome:
    """The outcome that an errno of read, write, fsync or fallocate stands for."""
    return _OUTCOMES.get(error_number, Outcome.PERMANENT)


def device_error(what: str, identity: DeviceIdentity, offset: int, result: Result) -> AffsError:
    """The error of a failed call: `what` is "reading", "writing", "flushing" ..."""
    name = errno.errorcode.get(result.errno, str(result.errno))
    category = Category.NO_SPACE if result.outcome is Outcome.NO_SPACE else Category.IO
    code = "device.no_space" if category is Category.NO_SPACE else "device.io"
    return AffsError(
        code,
        category,
        f"{what} {identity.path} at byte {offset} failed: {result.outcome} ({name}),"
        f" {result.bytes_done} bytes done in {result.attempts} attempts",
        hint="look at the host's kernel log; the device may be failing",
        details={
            "path": identity.path,
            "offset": offset,
            "outcome": str(result.outcome),
            "errno": result.errno,
            "bytes_done": result.bytes_done,
        },
    )
