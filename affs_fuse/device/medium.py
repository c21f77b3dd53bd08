"""Reading around the host's page cache: what verification believes.

A copy in memory says nothing about the medium below it. O_DIRECT reads from the device itself (the
kernel first writes back what is dirty in the range). Invariant: a read gives all its bytes or
None, never other ones, so the caller falls back to the ordinary way and its errors. What is below
the device driver, such as a drive's own cache or a loop device's file, is out of reach.
"""

import contextlib
import mmap
import os
from typing import Self

__all__ = ["DirectReader"]

BUFFER_BYTES = 1 << 20
"""Page-aligned, as O_DIRECT wants it; longer reads go through it in pieces."""


class DirectReader:
    """A second descriptor of the same file or device, opened with O_DIRECT. One thread at a
    time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = mmap.mmap(-1, BUFFER_BYTES)

    @classmethod
    def open(cls, descriptor: int) -> Self | None:
        """Of what this descriptor has open; None where there is no such way."""
        flags = os.O_RDONLY | os.O_DIRECT | os.O_CLOEXEC
        try:
            return cls(os.open(f"/proc/self/fd/{descriptor}", flags))
        except OSError:
            return None

    def read(self, offset: int, length: int) -> bytes | None:
        """The bytes, or None if any of them cannot be had in this way."""
        parts: list[bytes] = []
        done = 0
        with memoryview(self._buffer) as view:
            while done < length:
                size = min(BUFFER_BYTES, length - done)
                try:
                    count = os.preadv(self._descriptor, [view[:size]], offset + done)
                except OSError:
                    return None
                if count != size:
                    return None
                parts.append(bytes(view[:size]))
                done += size
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            os.close(self._descriptor)
        self._buffer.close()
