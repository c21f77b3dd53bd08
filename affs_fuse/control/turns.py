"""Reading what clients send, and beginning what they ask for, without holding the mount up.

The loop that answers the kernel also parses messages and carries requests out, and a hostile client
can send a lot that is expensive to refuse, or many requests in one piece. Invariants:
- One piece of input is parsed in a turn of the loop, whoever and however many send, and a piece is
  small unless it belongs to one large frame.
- Over a while parsing takes at most SHARE of the loop's time; when it took more, it rests.
- One request begins in a turn of the loop (two where one that had to wait meets one that need not).
  What it does later is its own affair (slices, waiting).
- Users take turns: one of them with many connections does not keep another one waiting.
"""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import TypeVar

import trio

__all__ = ["Turns", "pieces"]

R = TypeVar("R")

SHARE = 0.25
DEBT_S = 0.002
"""Parsing for so long is followed by a rest; less is not worth a sleep."""

PIECE_BYTES = 2048
"""A few milliseconds of the cheapest messages there are."""


def pieces(data: bytes, pending_bytes: int) -> Iterator[bytes]:
    """data in the parts that are parsed in one turn. pending_bytes: of the frame that is under way;
    inside of a large one there is nothing to parse before its end."""
    if pending_bytes > len(data) or len(data) <= PIECE_BYTES:
        yield data
        return
    for at in range(0, len(data), PIECE_BYTES):
        yield data[at : at + PIECE_BYTES]


class _Line:
    """Who stands in it is served one by one, users in turns."""

    def __init__(self) -> None:
        self._turn = trio.Lock()
        self._users: dict[int, trio.Lock] = {}
        self._waiting: Counter[int] = Counter()

    @property
    def empty(self) -> bool:
        return not self._waiting

    @asynccontextmanager
    async def turn_of(self, uid: int) -> AsyncIterator[bool]:
        """Inside it is this one's turn, until the end of the block. Where nobody else stands here
        it is so at once (True), without a turn of the loop."""
        lock = self._users.setdefault(uid, trio.Lock())
        self._waiting[uid] += 1
        try:
            if self._waiting.total() == 1:
                await trio.lowlevel.checkpoint_if_cancelled()
                with _held(lock), _held(self._turn):
                    yield True
            else:
                async with lock, self._turn:
                    yield False
        finally:
            self._waiting[uid] -= 1
            if not self._waiting[uid]:
                del self._waiting[uid], self._users[uid]


@contextmanager
def _held(lock: trio.Lock) -> Iterator[None]:
    """A lock that is free."""
    lock.acquire_nowait()
    try:
        yield
    finally:
        lock.release()


class Turns:
    """Of one server. Loop thread only."""

    def __init__(self) -> None:
        self._parsing = _Line()
        self._beginning = _Line()
        self._debt_s = 0.0
        self.rested_s = 0.0

    async def take(self, uid: int, function: Callable[[], R]) -> R:
        """What the function gives, in a turn of its own."""
        async with self._parsing.turn_of(uid):
            begun = trio.current_time()
            try:
                return function()
            finally:
                self._debt_s += trio.current_time() - begun
                await self._rest()

    async def begin(self, uid: int, *, alone: bool) -> None:
        """Returns in a turn of the loop in which no other request of anybody begins. alone: it was
        the only message of its piece; then that is this turn, unless others wait."""
        if alone and self._beginning.empty:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        async with self._beginning.turn_of(uid) as at_once:
            if at_once:
                await trio.lowlevel.checkpoint()

    async def _rest(self) -> None:
        if self._debt_s < DEBT_S:
            await trio.lowlevel.checkpoint()
            return
        rest_s = self._debt_s * (1 / SHARE - 1)
        self._debt_s = 0.0
        self.rested_s += rest_s
        await trio.sleep(rest_s)
