"""Data blocks that were loaded for an operation which is about to be repeated.

Not a cache of file data (the kernel has that): an operation that needs blocks raises DataMissing,
the caller delivers them here, and the repeated operation takes them out again. A block is known by
its address and its checksums, so what was put in for one content of an address never serves for a
later one.
"""

from collections.abc import Callable, Sequence

from affs_fuse.volume.half_done import Contradiction
from affs_fuse.volume.missing import BlockRead

__all__ = ["LoadedBlocks"]

_Key = tuple[int, bytes]


class LoadedBlocks:
    """Blocks by what was asked for; beyond bytes_max the oldest go (but never the only one)."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._bytes = 0
        self._found: dict[_Key, bytes] = {}

    def has(self, read: BlockRead) -> bool:
        return (read.address, read.checksums) in self._found

    def take(self, read: BlockRead) -> bytes:
        """The blocks, which are here (has()); they are forgotten. Errors: volume.contradiction
        where one operation takes the same ones twice: a block belongs to one place of one file."""
        data = self._found.pop((read.address, read.checksums), None)
        if data is None:
            raise Contradiction("two places of files refer to the same blocks")
        self._bytes -= len(data)
        return data

    def put(self, read: BlockRead, data: bytes) -> None:
        key = (read.address, read.checksums)
        old = self._found.pop(key, b"")
        self._found[key] = data
        self._bytes += len(data) - len(old)
        while self._bytes > self._bytes_max and len(self._found) > 1:
            self._bytes -= len(self._found.pop(next(iter(self._found))))

    def receiver(self, reads: Sequence[BlockRead]) -> Callable[[list[bytes]], None]:
        """What DataMissing delivers to."""

        def deliver(found: list[bytes]) -> None:
            for read, data in zip(reads, found, strict=True):
                self.put(read, data)

        return deliver
