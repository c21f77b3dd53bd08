"""Counters of what the runtime did, cheap enough to keep for every request."""

from bisect import bisect_left
from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import Category

__all__ = ["LATENCY_BOUNDS_S", "CommandStatistics", "RequestStatistics", "Requests"]

LATENCY_BOUNDS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 30.0)
"""Upper bounds of the latency buckets, seconds; one more bucket takes what is slower."""


@dataclass(frozen=True, slots=True)
class CommandStatistics:
    """Of one command. buckets: a count per bound of LATENCY_BOUNDS_S and one for the rest."""

    count: int
    failed: int
    seconds_total: float
    seconds_max: float
    buckets: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class RequestStatistics:
    """running: requests now in work. done: answered since the start. repeated: answered from the
    memory of idempotency keys. failed: by category."""

    running: int
    done: int
    repeated: int
    failed: dict[str, int]
    commands: dict[str, CommandStatistics]

    def to_auv(self) -> dict[str, Value]:
        """Without the buckets, which are for metrics."""
        commands = {
            name: {"count": one.count, "failed": one.failed, "seconds_max": one.seconds_max}
            for name, one in self.commands.items()
        }
        return {
            "running": self.running,
            "done": self.done,
            "repeated": self.repeated,
            "failed": dict(self.failed),
            "commands": commands,
        }


class _Counter:
    def __init__(self) -> None:
        self.count = 0
        self.failed = 0
        self.seconds_total = 0.0
        self.seconds_max = 0.0
        self.buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)


class Requests:
    """The counting side. Commands are counted by their declared name, so the number of keys is
    bounded."""

    def __init__(self) -> None:
        self._running = 0
        self._done = 0
        self._repeated = 0
        self._failed: dict[str, int] = {}
        self._commands: dict[str, _Counter] = {}

    def begin(self) -> None:
        self._running += 1

    def end(self, command: str, seconds: float, failure: Category | None) -> None:
        """command: "" when the request did not get as far as to name one."""
        self._running -= 1
        self._done += 1
        if failure is not None:
            self._failed[failure] = self._failed.get(failure, 0) + 1
        if not command:
            return
        counter = self._commands.setdefault(command, _Counter())
        counter.count += 1
        counter.failed += failure is not None
        counter.seconds_total += seconds
        counter.seconds_max = max(counter.seconds_max, seconds)
        counter.buckets[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1

    def abandoned(self) -> None:
        """The client went away before its answer."""
        self._running -= 1

    def repeated(self) -> None:
        self._repeated += 1

    def statistics(self) -> RequestStatistics:
        commands = {
            name: CommandStatistics(
                counter.count,
                counter.failed,
                counter.seconds_total,
                counter.seconds_max,
                tuple(counter.buckets),
            )
            for name, counter in sorted(self._commands.items())
        }
        return RequestStatistics(
            self._running, self._done, self._repeated, dict(self._failed), commands
        )
