"""What leaves the loop: the few kinds of waiting that a volume does, each with threads of its own.

Python in a worker costs the loop latency (architecture.md), so workers get calls that wait for a
device or run long in C, and nothing else (but record_texts.py says what is worse). Invariants:
- Kinds do not take each other's threads: loads go on while a commit is written, and a commit never
  waits for a thread that a load holds.
- A call that was begun is always awaited, also when its caller is cancelled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

import trio

__all__ = ["WorkerStatistics", "Workers"]

P = ParamSpec("P")
R = TypeVar("R")

LOADS_MAX = 8
WRITES_MAX = 2


@dataclass(frozen=True, slots=True)
class WorkerStatistics:
    """Calls made since the start, by kind."""

    loads: int
    writes: int
    commits: int


class Workers:
    """Loop thread only; the functions that are passed in run elsewhere."""

    def __init__(self) -> None:
        self._load_limiter = trio.CapacityLimiter(LOADS_MAX)
        self._write_limiter = trio.CapacityLimiter(WRITES_MAX)
        self._commit_limiter = trio.CapacityLimiter(1)
        self._check_limiter = trio.CapacityLimiter(1)
        self._loads = 0
        self._writes = 0
        self._commits = 0

    async def load(self, function: Callable[[], R]) -> R:
        """Read what an operation misses."""
        self._loads += 1
        return await trio.to_thread.run_sync(function, limiter=self._load_limiter)

    async def write(self, function: Callable[[], R]) -> R:
        """Write data ahead of a commit."""
        self._writes += 1
        return await trio.to_thread.run_sync(function, limiter=self._write_limiter)

    async def commit(self, function: Callable[[], R]) -> R:
        """Write a commit."""
        self._commits += 1
        return await trio.to_thread.run_sync(function, limiter=self._commit_limiter)

    async def check(self, function: Callable[[], R]) -> R:
        """Read and verify in the background."""
        return await trio.to_thread.run_sync(function, limiter=self._check_limiter)

    @property
    def busy(self) -> bool:
        """Whether a worker has data to write: it can use the processor that the loop might spin
        on."""
        return self._write_limiter.borrowed_tokens > 0

    def statistics(self) -> WorkerStatistics:
        return WorkerStatistics(self._loads, self._writes, self._commits)
