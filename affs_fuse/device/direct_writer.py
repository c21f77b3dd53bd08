"""Writing around the host's page cache: streams on their way to the medium.

O_DIRECT costs one copy into aligned memory, which checksumming makes anyway, and spares the host
its copy, its page cache and the writing out later. And what the device refuses is known when the
call returns, not at a barrier. Nothing is durable before the barrier, as ever.
"""

import errno
import mmap
import os
import threading
from typing import Self

from affs_fuse.device.device import ATTEMPTS_MAX, Outcome, Result, classify

__all__ = ["BUFFER_BYTES", "DirectWriter"]

BUFFER_BYTES = 8 << 20
BUFFERS_KEPT_MAX = 2
"""As many as workers that write ahead."""

_NO_SUCH_WAY = (errno.EINVAL, errno.EOPNOTSUPP)


class DirectWriter:
    """A second descriptor of the same file or device, opened with O_DIRECT. Several threads may
    use it at once."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._kept: list[mmap.mmap] = []

    @classmethod
    def open(cls, descriptor: int) -> Self | None:
        """Of what this descriptor has open; None where there is no such way."""
        flags = os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC
        try:
            return cls(os.open(f"/proc/self/fd/{descriptor}", flags))
        except OSError:
            return None

    def borrow(self) -> mmap.mmap:
        """BUFFER_BYTES of aligned memory, until it is given back."""
        with self._lock:
            if self._kept:
                return self._kept.pop()
        return mmap.mmap(-1, BUFFER_BYTES)

    def give_back(self, buffer: mmap.mmap) -> None:
        with self._lock:
            if len(self._kept) < BUFFERS_KEPT_MAX:
                self._kept.append(buffer)

    def write(self, offset: int, buffer: mmap.mmap, length: int) -> Result | None:
        """The first `length` bytes of a borrowed buffer, whole blocks; None if the host has no such
        way after all, with nothing promised of what was written."""
        done = attempts = 0
        with memoryview(buffer) as view:
            while done < length:
                attempts += 1
                try:
                    done += os.pwritev(self._descriptor, [view[done:length]], offset + done)
                except OSError as error:
                    number = error.errno or errno.EIO
                    if number in _NO_SUCH_WAY:
                        return None
                    outcome = classify(number)
                    if outcome is Outcome.TRANSIENT and attempts < ATTEMPTS_MAX:
                        continue
                    return Result(outcome, done, number, attempts)
        return Result(Outcome.OK, done, 0, max(attempts, 1))

    def close(self) -> None:
        os.close(self._descriptor)
