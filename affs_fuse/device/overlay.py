"""A device over another one: reads go through, writes stay in memory and are forgotten.

For rehearsals: what would this do? The device below is never written to. Memory grows by what is
written, in blocks of 4 KiB.
"""

import errno
from collections.abc import Sequence

from affs_fuse.device.device import Buffer, Device, DeviceIdentity, Outcome, Result

__all__ = ["OverlayDevice"]

BLOCK = 4096


class OverlayDevice:
    """written: bytes of all writes so far. Closing it leaves the device below open."""

    def __init__(self, below: Device) -> None:
        self._below = below
        self._blocks: dict[int, bytes] = {}
        self.written = 0

    @property
    def size_bytes(self) -> int:
        return self._below.size_bytes

    @property
    def read_only(self) -> bool:
        return False

    @property
    def identity(self) -> DeviceIdentity:
        return self._below.identity

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        changed = [index for index in range(first, last + 1) if index in self._blocks]
        if not changed:
            return self._below.read(offset, length)
        if len(changed) == last - first + 1:  # what is below need not even be readable
            whole = b"".join(self._blocks[index] for index in changed)
            return whole[offset - first * BLOCK :][:length], Result(Outcome.OK, length)
        data, result = self._below.read(offset, length)
        if not result.ok:
            return data, result
        merged = bytearray(data)
        for index in changed:
            start = max(index * BLOCK, offset)
            end = min((index + 1) * BLOCK, offset + length)
            piece = self._blocks[index][start - index * BLOCK : end - index * BLOCK]
            merged[start - offset : end - offset] = piece
        return bytes(merged), result

    def try_read(self, offset: int, length: int) -> bytes | None:
        data, result = self.read(offset, length)
        return data if result.ok else None

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        data = b"".join(buffers)
        if offset < 0 or offset + len(data) > self.size_bytes:
            return Result(Outcome.NO_SPACE, 0, errno.EFBIG)
        assert offset % BLOCK == 0 == len(data) % BLOCK, "the engine writes whole blocks"
        for at in range(0, len(data), BLOCK):
            self._blocks[(offset + at) // BLOCK] = data[at : at + BLOCK]
        self.written += len(data)
        return Result(Outcome.OK, len(data))

    def flush(self) -> Result:
        return Result(Outcome.OK)

    def allocate(self, offset: int, length: int) -> Result:
        return Result(Outcome.OK, length)

    def close(self) -> None:
        """Nothing to release."""
