"""Simulated devices: one that can be set back, and one that records what is done to it.

A simulated device keeps all its bytes in one bytearray (untouched pages cost nothing) and a journal
of what every write replaced, so a crash state is made by applying writes and taken away by undoing
them; no image is ever copied.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.device.device import Buffer, DeviceIdentity, Outcome, Result
from affs_fuse.device.memory import MemoryDevice

__all__ = ["Event", "Flush", "Image", "Mark", "Recorder", "Write"]


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes written at an offset; not durable before the next Flush."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Flush:
    """A barrier that said OK."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something outside the device: kind is "cut" (commit `seq` was begun) or "durable" (the engine
    has said that it is durable)."""

    kind: str
    seq: int


Event = Write | Flush | Mark


class Image(MemoryDevice):
    """A memory device whose writes can be undone back to a mark."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(size_bytes)
        self._journal: list[tuple[int, bytes]] = []

    def mark(self) -> int:
        return len(self._journal)

    def put(self, offset: int, data: Buffer) -> None:
        end = offset + len(data)
        self._journal.append((offset, bytes(self.content[offset:end])))
        self.content[offset:end] = data

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        data = b"".join(buffers)
        if offset < 0 or offset + len(data) > len(self.content):
            return super().write(offset, [data])
        self.put(offset, data)
        return Result(Outcome.OK, len(data))

    def revert(self, mark: int) -> None:
        """Undo all writes since mark()."""
        journal = self._journal
        while len(journal) > mark:
            offset, old = journal.pop()
            self.content[offset : offset + len(old)] = old

    def digest_of(self, pages: Sequence[int]) -> int:
        """64 bits for the content of these pages: XOR of one digest each, so that the digest of the
        whole device follows from what changed."""
        total = 0
        for page in pages:
            at = page * BLOCK_SIZE
            hasher = blake2b(page.to_bytes(8, "little"), digest_size=8)
            hasher.update(self.content[at : at + BLOCK_SIZE])
            total ^= int.from_bytes(hasher.digest(), "little")
        return total


class Recorder:
    """Does everything on an image, and logs it. Rooms set aside are noted as a count only: the host
    keeps contents when it allocates, so no crash can tell."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.log: list[Event] = []
        self.allocations = 0
        self.read_only = False

    @property
    def size_bytes(self) -> int:
        return self.image.size_bytes

    @property
    def identity(self) -> DeviceIdentity:
        return self.image.identity

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        return self.image.read(offset, length)

    def try_read(self, offset: int, length: int) -> bytes | None:
        return self.image.try_read(offset, length)

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        result = self.image.write(offset, buffers)
        if result.ok:
            self.log.append(Write(offset, b"".join(buffers)))
        return result

    def flush(self) -> Result:
        self.log.append(Flush())
        return Result(Outcome.OK)

    def allocate(self, offset: int, length: int) -> Result:
        self.allocations += 1
        return Result(Outcome.OK, length)

    def close(self) -> None:
        """The image stays."""
