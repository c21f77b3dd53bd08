"""Which parts of which write buffers are being written ahead of their cut (volume/flights.py).

Bookkeeping alone. Invariant: the parts of one file do not overlap, and each is whole dirty blocks
of its write buffer for as long as it is here; who changes such a block takes its part out first.
"""

from collections.abc import Callable
from typing import NamedTuple

from affs_fuse.core.checksum import Buffer
from affs_fuse.volume.flights import Flight

__all__ = ["Aloft", "AloftTable"]


class Aloft(NamedTuple):
    """Blocks [first, last) of a file. data: their bytes; length: up to the last byte written.
    intent: of the place that they got."""

    first: int
    last: int
    data: Buffer
    length: int
    intent: int
    flight: Flight


class AloftTable:
    """By file number."""

    def __init__(self) -> None:
        self._parts: dict[int, list[Aloft]] = {}

    def __bool__(self) -> bool:
        return bool(self._parts)

    def numbers(self) -> list[int]:
        return list(self._parts)

    def of(self, number: int) -> list[Aloft]:
        return list(self._parts.get(number, ()))

    def ranges(self, number: int) -> list[tuple[int, int]]:
        """Blocks [first, last) of the parts, in order."""
        return sorted((part.first, part.last) for part in self._parts.get(number, ()))

    def blocks(self, number: int) -> int:
        return sum(part.last - part.first for part in self._parts.get(number, ()))

    def add(self, number: int, part: Aloft) -> None:
        self._parts.setdefault(number, []).append(part)

    def remove(self, number: int, part: Aloft) -> None:
        self._take(number, lambda other: other is part)

    def take_meeting(self, number: int, first: int, last: int) -> list[Aloft]:
        """The parts that meet blocks [first, last), which are taken out."""
        if number not in self._parts:
            return []
        return self._take(number, lambda part: part.first < last and part.last > first)

    def _take(self, number: int, wanted: Callable[[Aloft], bool]) -> list[Aloft]:
        parts = self._parts.pop(number)
        left = [part for part in parts if not wanted(part)]
        if left:
            self._parts[number] = left
        return [part for part in parts if wanted(part)]
