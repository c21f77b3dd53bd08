"""A device in memory: for tests, for simulations, and as the base of devices that record or
fail.
"""

import errno
from collections.abc import Sequence

from affs_fuse.device.device import Buffer, DeviceIdentity, Outcome, Result

__all__ = ["MemoryDevice"]


class MemoryDevice:
    """Holds its bytes in `content`; durable as soon as written."""

    def __init__(self, size_bytes: int = 0, content: bytearray | None = None) -> None:
        self.content = bytearray(size_bytes) if content is None else content
        self.read_only = False

    @property
    def size_bytes(self) -> int:
        return len(self.content)

    @property
    def identity(self) -> DeviceIdentity:
        return DeviceIdentity("memory", "memory", 0, id(self.content))

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        if offset < 0 or length < 0 or offset + length > len(self.content):
            return b"", Result(Outcome.PERMANENT, 0, errno.EINVAL)
        return bytes(self.content[offset : offset + length]), Result(Outcome.OK, length)

    def try_read(self, offset: int, length: int) -> bytes | None:
        data, result = self.read(offset, length)
        return data if result.ok else None

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        total = sum(len(buffer) for buffer in buffers)
        if self.read_only:
            return Result(Outcome.DENIED, 0, errno.EBADF)
        if offset < 0 or offset + total > len(self.content):
            return Result(Outcome.NO_SPACE, 0, errno.EFBIG)
        at = offset
        for buffer in buffers:
            self.content[at : at + len(buffer)] = buffer
            at += len(buffer)
        return Result(Outcome.OK, total)

    def flush(self) -> Result:
        return Result(Outcome.OK)

    def allocate(self, offset: int, length: int) -> Result:
        return Result(Outcome.OK, length)

    def close(self) -> None:
        """Nothing to release; the content stays for the next opening."""
