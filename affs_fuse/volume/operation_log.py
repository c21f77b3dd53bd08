"""The operation log: records in the system tree, numbered from 1, that no rollback touches.

What a record says is the runtime's business; here it is bytes. Beside a record may lie what an undo
of it needs and the record has no room for, in parts (DiskLayout.md, "System tree").
Invariants:
- A number is never used twice, so the newest record stays whatever is trimmed.
- All parts together stay within a bound; those of the oldest operations go first, and with their
  record at the latest.
"""

from collections.abc import Callable, Iterator

from affs_fuse.auv import AuvError, decode, encode
from affs_fuse.core.constants import ITEM_OPERATION
from affs_fuse.core.tree import Tree

__all__ = ["OPERATIONS", "OperationLog"]

OPERATIONS, PARTS = 1, 2
"""Objects of the keys of records, and of parts."""

_LAST = (1 << 64) - 1

TRIMMED_MAX = 16
PART_BITS = 16
"""Of a part's offset: its place among the parts of an operation; the operation's number above."""

PART_BYTES = 4096
BESIDE_MAX = 8 << 20
BESIDE_SHARE = 64
"""All parts take at most BESIDE_MAX bytes, and no more of the device than one in so many."""


class OperationLog:
    """system: the system tree, every node of which is in memory."""

    def __init__(self, system: Tree, device_bytes: int) -> None:
        self._system = system
        newest = self.newest(1, _LAST + 1)
        self._next = newest[0][0] + 1 if newest else 1
        self._beside_max = min(BESIDE_MAX, device_bytes // BESIDE_SHARE)
        self._beside = sum(len(payload) for _, payload in self._parts(0, _LAST))

    @property
    def beside_max(self) -> int:
        """Bytes that one operation may have beside its record: a quarter of the bound of all."""
        return self._beside_max // 4

    def append(self, payload: bytes, beside: bytes = b"") -> int:
        """payload: at most 4352 bytes; beside: at most beside_max. The record's number."""
        assert len(beside) <= self.beside_max
        number = self._next
        self._system.put(OPERATIONS, ITEM_OPERATION, number, payload)
        self._next += 1
        for part, at in enumerate(range(0, len(beside), PART_BYTES)):
            piece = encode(beside[at : at + PART_BYTES])
            self._system.put(PARTS, ITEM_OPERATION, number << PART_BITS | part, piece)
            self._beside += len(piece)
        while self._beside > self._beside_max:
            oldest = next(self._parts(0, _LAST))[0] >> PART_BITS
            self._drop_beside(oldest)
        return number

    def beside(self, number: int) -> bytes | None:
        """What lies beside a record, None if there is nothing (any more), or it is damaged."""
        pieces = []
        for at, (offset, payload) in enumerate(self._parts_of(number)):
            try:
                piece = decode(payload)
            except AuvError:
                return None
            if not isinstance(piece, bytes) or offset & ((1 << PART_BITS) - 1) != at:
                return None
            pieces.append(piece)
        return b"".join(pieces) if pieces else None

    def trim(self, count_max: int, is_old: Callable[[bytes], bool]) -> None:
        """Drop the oldest records: those over count_max, and those that is_old() says of by their
        payload. At most TRIMMED_MAX at once, so a call costs little however much there is."""
        for _ in range(TRIMMED_MAX):
            oldest = self._oldest()
            if oldest is None or oldest[0] == self._next - 1:
                return
            number, payload = oldest
            if self._next - number <= count_max and not is_old(payload):
                return
            self._system.delete(OPERATIONS, ITEM_OPERATION, number)
            self._drop_beside(number)

    def _drop_beside(self, number: int) -> None:
        for offset, payload in [*self._parts_of(number)]:
            self._system.delete(PARTS, ITEM_OPERATION, offset)
            self._beside -= len(payload)

    def _parts_of(self, number: int) -> Iterator[tuple[int, bytes]]:
        return self._parts(number << PART_BITS, (number + 1) << PART_BITS)

    def _parts(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """(offset, payload) of the parts from `first` up to, without, `end`."""
        items = self._system.iterate((PARTS, ITEM_OPERATION, first), (PARTS, ITEM_OPERATION, end))
        return ((offset, payload) for _, _, offset, payload in items)

    def _oldest(self) -> tuple[int, bytes] | None:
        item = self._system.seek(OPERATIONS, ITEM_OPERATION, 0)
        if item is None or item[:2] != (OPERATIONS, ITEM_OPERATION):
            return None
        return item[2], item[3]

    def newest(self, limit: int, before: int | None = None) -> list[tuple[int, bytes]]:
        """The newest `limit` records below number `before`, newest first."""
        found: list[tuple[int, bytes]] = []
        number = (before if before is not None else self._next) - 1
        while number > 0 and len(found) < limit:
            item = self._system.seek(OPERATIONS, ITEM_OPERATION, number, backward=True)
            if item is None or item[:2] != (OPERATIONS, ITEM_OPERATION):
                break
            found.append((item[2], item[3]))
            number = item[2] - 1
        return found
