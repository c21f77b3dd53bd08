"""Spinning before sleeping: a stand-in for the module `trio` that pyfuse3 runs its loop on.

Most of what a FUSE request costs is waking this process up (design/numbers.md). A client that has
just been answered usually sends its next request within microseconds, so after a request the loop
polls the descriptor for a short while before it sleeps. pyfuse3 takes everything of its loop from
its module attribute `trio`; this object has the same names, with a reader that polls, and a lock
that the task which just answered a request may take again without a trip through the scheduler.
Invariants:
- One task at a time waits for the descriptor; a task that awaits inside a handler holds nothing.
- Reading never blocks the loop, not even for a request that vanishes before it is read.
- The loop's other tasks wait at most TURN_S for a turn when no request is there, and get one after
  TURN_REQUESTS requests at most.
- Spinning stops where it does not pay: when nothing followed several times, on a single CPU, and
  while workers can use the processor.
"""

import os
import select
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

import trio

__all__ = ["SPIN_S", "SpinStatistics", "SpinningLowlevel", "SpinningTrio", "spin_is_worth_it"]

SPIN_S = 0.0002
TURN_S = 0.00003
"""A client that does not follow at once is at work itself: so may the loop's other tasks be."""
TURN_REQUESTS = 4
"""A message of the control socket takes some four turns until it is answered."""
_IDLE_SPINS_MAX = 3


class _Poller(Protocol):
    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]: ...


@dataclass(frozen=True, slots=True)
class SpinStatistics:
    """Waits for a request that found it at once, after polling, and only by sleeping."""

    at_once: int
    spun: int
    slept: int


def spin_is_worth_it() -> bool:
    """Whether the client and this process can run at the same time."""
    return len(os.sched_getaffinity(0)) > 1


class SpinningLowlevel:
    """The part of trio.lowlevel that pyfuse3 uses; wait_readable polls first.

    monotonic: seconds. spin: whether to poll at all. busy: whether others can use the processor.
    """

    def __init__(
        self, monotonic: Callable[[], float], busy: Callable[[], bool], *, spin: bool
    ) -> None:
        self._monotonic = monotonic
        self._busy = busy
        self._spin = spin
        self._pollers: dict[int, _Poller] = {}
        self._since_turn = 0
        self._idle_spins = 0
        self._at_once = 0
        self._spun = 0
        self._slept = 0
        self.current_task = trio.lowlevel.current_task
        self.current_trio_token = trio.lowlevel.current_trio_token
        self.notify_closing = trio.lowlevel.notify_closing

    async def wait_readable(self, descriptor: int) -> None:
        """Until a request can be read. ClosedResourceError as trio's own."""
        if self._since_turn >= TURN_REQUESTS:
            self._since_turn = 0
            await trio.lowlevel.checkpoint()
        self._since_turn += 1
        poller = self._pollers.get(descriptor)
        if poller is None:
            poller = self._pollers[descriptor] = select.poll()
            poller.register(descriptor, select.POLLIN)
            os.set_blocking(descriptor, False)
        if poller.poll(0):
            self._at_once += 1
            return
        if self._spin and self._idle_spins < _IDLE_SPINS_MAX and not self._busy():
            if await self._spin_for_it(poller):
                self._spun += 1
                self._idle_spins = 0
                return
            self._idle_spins += 1
        self._slept += 1
        self._since_turn = 0
        before = self._monotonic()
        await trio.lowlevel.wait_readable(descriptor)
        if self._monotonic() - before < 2 * SPIN_S:
            self._idle_spins = 0

    async def _spin_for_it(self, poller: _Poller) -> bool:
        """Whether a request came within a moment."""
        begun = self._monotonic()
        for seconds in (TURN_S, SPIN_S):
            while self._monotonic() < begun + seconds:
                if poller.poll(0):
                    return True
            await trio.lowlevel.checkpoint()
        return False

    def statistics(self) -> SpinStatistics:
        return SpinStatistics(self._at_once, self._spun, self._slept)


class _ReaderLock:
    """One reader at a time. Not fair: whoever asks first after a release gets it."""

    def __init__(self) -> None:
        self._held = False
        self._waiting = trio.lowlevel.ParkingLot()

    async def __aenter__(self) -> None:
        while self._held:
            await self._waiting.park()
        self._held = True

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._held = False
        self._waiting.unpark()


class _Readers:
    """pyfuse3's nursery: starts its readers, and starts one again that found nothing to read.

    A request may vanish between "there is one" and reading it, when its process is killed. A
    descriptor that blocks would then hold the whole daemon up until the next request, so it does
    not block, and pyfuse3's reader ends with EAGAIN.
    """

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    def start_soon(
        self, reader: Callable[..., Awaitable[None]], *arguments: object, name: object = None
    ) -> None:
        async def read() -> None:
            while True:
                try:
                    await reader(*arguments)
                except BlockingIOError:
                    continue
                return

        self._nursery.start_soon(read, name=name)


@asynccontextmanager
async def _open_readers() -> AsyncIterator[_Readers]:
    async with trio.open_nursery() as nursery:
        yield _Readers(nursery)


class SpinningTrio:
    """What pyfuse3 sees as `trio`."""

    Lock = _ReaderLock
    ClosedResourceError = trio.ClosedResourceError
    open_nursery = staticmethod(_open_readers)

    def __init__(self, lowlevel: SpinningLowlevel) -> None:
        self.lowlevel = lowlevel
