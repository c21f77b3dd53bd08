"""What is known of verifications, in the system tree, so that no restart and no rollback loses it.

docs/specs/DiskLayout.md, "System tree": the cursor of the one in work (JOB), results of the last
ones, the damage that is known, and when each segment was last verified (VERIFIED). Values are
encoded AUV; one that cannot be read counts as not there. Changes become durable with the next
commit.
"""

import struct
from collections.abc import Callable
from typing import Any

from affs_fuse.auv import AuvError, decode, encode_canonical
from affs_fuse.core.constants import ITEM_JOB, ITEM_MAX, ITEM_VERIFIED
from affs_fuse.core.tree import Tree

__all__ = ["DAMAGE_MAX", "RESULTS_MAX", "VerifiedStore"]

JOB_VERIFICATION = 1
RESULTS, DAMAGE, DATES = 1, 2, 3
RESULTS_MAX = 16
DAMAGE_MAX = 1000
"""Entries kept; a volume that has more of it is not put right block by block."""

DATES_PER_ITEM = 512
_LAST = (1 << 64) - 1

Plain = dict[str, Any]
_Place = tuple[Any, Any, Any]


class VerifiedStore:
    """system: the system tree, every node of which is in memory."""

    def __init__(self, system: Tree) -> None:
        self._system = system
        self._known: dict[_Place, int] | None = None

    # ---- the cursor ----

    def cursor(self) -> Plain | None:
        """Of the verification in work, as it was put."""
        return _value(self._system.get(JOB_VERIFICATION, ITEM_JOB, 0))

    def put_cursor(self, value: Plain) -> None:
        self._system.put(JOB_VERIFICATION, ITEM_JOB, 0, _payload(value))

    def clear_cursor(self) -> None:
        self._system.delete(JOB_VERIFICATION, ITEM_JOB, 0)

    # ---- results and damage ----

    def results(self) -> list[Plain]:
        """The newest first."""
        return [value for _, value in reversed(self._items(RESULTS))]

    def next_number(self) -> int:
        """For the next verification: one above all that are known."""
        numbers = [number for number, _ in self._items(RESULTS)]
        cursor = self.cursor()
        if cursor is not None and isinstance(cursor.get("number"), int):
            numbers.append(cursor["number"])
        return max(numbers, default=0) + 1

    def add_result(self, number: int, value: Plain) -> None:
        """Of a verification that has ended; the oldest give way."""
        self._system.put(RESULTS, ITEM_VERIFIED, number, _payload(value))
        for old, _ in self._items(RESULTS)[:-RESULTS_MAX]:
            self._system.delete(RESULTS, ITEM_VERIFIED, old)

    def damage(self) -> list[Plain]:
        """All that is known, in the order in which it was found."""
        return [value for _, value in self._items(DAMAGE)]

    def put_damage(self, value: Plain) -> bool:
        """Add an entry, or replace the one of the same block and state; False where there are
        too many."""
        known = self._known
        if known is None:
            known = self._known = {
                _place(other): number for number, other in self._items(DAMAGE)
            }
        number = known.get(_place(value))
        if number is None:
            if len(known) >= DAMAGE_MAX:
                return False
            number = max(known.values(), default=0) + 1
            known[_place(value)] = number
        self._system.put(DAMAGE, ITEM_VERIFIED, number, _payload(value))
        return True

    def drop_damage_before(
        self, run: int, settled: Callable[[Plain], bool] = lambda _: True
    ) -> None:
        """Forget what earlier verifications than `run` have found, and `run` has not; settled: only
        such entries."""
        self._known = None
        for number, value in self._items(DAMAGE):
            if value.get("run", 0) < run and settled(value):
                self._system.delete(DAMAGE, ITEM_VERIFIED, number)

    # ---- segments ----

    def dates(self) -> tuple[int, dict[int, int]]:
        """(seq up to which they speak, segment -> minutes since the epoch). A segment that was
        born later is another one than the date is of."""
        seq = 0
        found: dict[int, int] = {}
        for index, value in self._items(DATES):
            minutes, of = value.get("minutes"), value.get("seq")
            if not isinstance(minutes, bytes) or not isinstance(of, int) or len(minutes) % 4:
                continue
            seq = max(seq, of)
            for at, (date,) in enumerate(struct.iter_unpack("<I", minutes)):
                if date:
                    found[index * DATES_PER_ITEM + at] = date
        return seq, found

    def put_dates(self, seq: int, dates: dict[int, int]) -> None:
        """All of them: what is not among them was never verified."""
        items: dict[int, list[int]] = {}
        for segment, minutes in dates.items():
            row = items.setdefault(segment // DATES_PER_ITEM, [0] * DATES_PER_ITEM)
            row[segment % DATES_PER_ITEM] = minutes
        for index, _ in self._items(DATES):
            if index not in items:
                self._system.delete(DATES, ITEM_VERIFIED, index)
        for index, row in items.items():
            packed = struct.pack(f"<{len(row)}I", *row)
            payload = _payload({"seq": seq, "minutes": packed})
            self._system.put(DATES, ITEM_VERIFIED, index, payload)

    def _items(self, kind: int) -> list[tuple[int, Plain]]:
        found = []
        first, end = (kind, ITEM_VERIFIED, 0), (kind, ITEM_VERIFIED, _LAST)
        for _, _, number, payload in self._system.iterate(first, end):
            value = _value(payload)
            found.append((number, value if value is not None else {}))
        return found


def _place(value: Plain) -> _Place:
    """What makes two entries the same."""
    return value.get("block"), value.get("state"), value.get("code")


def _payload(value: Plain) -> bytes:
    payload = encode_canonical(value)
    assert len(payload) <= ITEM_MAX, f"{len(payload)} bytes are too many for an item"
    return payload


def _value(payload: bytes | None) -> Plain | None:
    if payload is None:
        return None
    try:
        value = decode(payload)
    except AuvError:
        return None
    return value if isinstance(value, dict) else None
