"""The operation log: records in the system tree, numbered from 1, that no rollback touches.

What a record says is the runtime's business; here it is bytes. Invariant: a number is never used
twice, so the newest record stays whatever is trimmed.
"""

from collections.abc import Callable

from affs_fuse.core.constants import ITEM_OPERATION
from affs_fuse.core.tree import Tree

__all__ = ["OperationLog"]

OBJECT = 1
_LAST = (1 << 64) - 1

TRIMMED_MAX = 16


class OperationLog:
    """system: the system tree, every node of which is in memory."""

    def __init__(self, system: Tree) -> None:
        self._system = system
        newest = self.newest(1, _LAST + 1)
        self._next = newest[0][0] + 1 if newest else 1

    def append(self, payload: bytes) -> int:
        """At most 4352 bytes; the record's number."""
        number = self._next
        self._system.put(OBJECT, ITEM_OPERATION, number, payload)
        self._next += 1
        return number

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
            self._system.delete(OBJECT, ITEM_OPERATION, number)

    def _oldest(self) -> tuple[int, bytes] | None:
        item = self._system.seek(OBJECT, ITEM_OPERATION, 0)
        if item is None or item[:2] != (OBJECT, ITEM_OPERATION):
            return None
        return item[2], item[3]

    def newest(self, limit: int, before: int | None = None) -> list[tuple[int, bytes]]:
        """The newest `limit` records below number `before`, newest first."""
        found: list[tuple[int, bytes]] = []
        number = (before if before is not None else self._next) - 1
        while number > 0 and len(found) < limit:
            item = self._system.seek(OBJECT, ITEM_OPERATION, number, backward=True)
            if item is None or item[:2] != (OBJECT, ITEM_OPERATION):
                break
            found.append((item[2], item[3]))
            number = item[2] - 1
        return found
