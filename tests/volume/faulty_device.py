"""A device that fails on demand: decorates another one."""

import errno
from collections.abc import Sequence

from affs_fuse.device.device import Buffer, DeviceIdentity, Outcome, Result, classify
from affs_fuse.device.memory import MemoryDevice

__all__ = ["FaultyDevice"]


class FaultyDevice:
    """fail_writes, fail_flushes: errno of every write or flush from now on (0: none). writes: how
    many so far. unreadable: byte ranges (offset, length) whose reads give EIO."""

    def __init__(self, inner: MemoryDevice) -> None:
        self.inner = inner
        self.fail_writes = 0
        self.fail_flushes = 0
        self.fail_allocations = 0
        self.writes = 0
        self.unreadable: list[tuple[int, int]] = []

    @property
    def size_bytes(self) -> int:
        return self.inner.size_bytes

    @property
    def read_only(self) -> bool:
        return False

    @property
    def identity(self) -> DeviceIdentity:
        return self.inner.identity

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        for start, size in self.unreadable:
            if offset < start + size and start < offset + length:
                return b"", Result(Outcome.PERMANENT, 0, errno.EIO)
        return self.inner.read(offset, length)

    def try_read(self, offset: int, length: int) -> bytes | None:
        return None

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        if self.fail_writes:
            return Result(classify(self.fail_writes), 0, self.fail_writes)
        self.writes += 1
        return self.inner.write(offset, buffers)

    def flush(self) -> Result:
        if self.fail_flushes:
            return Result(classify(self.fail_flushes), 0, self.fail_flushes)
        return self.inner.flush()

    def allocate(self, offset: int, length: int) -> Result:
        if self.fail_allocations:
            return Result(classify(self.fail_allocations), 0, self.fail_allocations)
        return self.inner.allocate(offset, length)

    def close(self) -> None:
        self.inner.close()
