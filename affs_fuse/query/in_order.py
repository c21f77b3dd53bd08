"""Things with places, brought into order some at a time, so that no step is long."""

from collections.abc import Iterable, Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import Generic, TypeVar

__all__ = ["InOrder", "Place"]

SORTED_AT_ONCE = 512

Place = bytes | int
"""Of a name in the order of a walk: all names of a directory have one kind of it."""

Thing = TypeVar("Thing")
_place = itemgetter(0)


class InOrder(Generic[Thing]):
    """Things of one place keep their order."""

    def __init__(self, things: Iterable[tuple[Place, Thing]]) -> None:
        self._things = iter(things)
        self._runs: list[list[tuple[Place, Thing]]] = []

    def step(self) -> bool:
        """A part of it; whether that was all."""
        run = sorted(islice(self._things, SORTED_AT_ONCE), key=_place)
        self._runs.append(run)
        return len(run) < SORTED_AT_ONCE

    def all(self) -> Iterator[Thing]:
        """When there is no more to do."""
        if len(self._runs) == 1:
            return (thing for _, thing in self._runs[0])
        return (thing for _, thing in merge(*self._runs, key=_place))
