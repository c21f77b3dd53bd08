"""Counters of what the runtime did, cheap enough to keep for every request."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import Category
from affs_fuse.runtime.latency import Histogram, LatencyStatistics

__all__ = ["CommandStatistics", "RequestStatistics", "Requests"]


@dataclass(frozen=True, slots=True)
class CommandStatistics:
    """Of one command. failed: how many of them."""

    failed: int
    latency: LatencyStatistics


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
            name: {
                "count": one.latency.count,
                "failed": one.failed,
                "seconds_max": one.latency.seconds_max,
            }
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
        self.failed = 0
        self.histogram = Histogram()


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
        counter.failed += failure is not None
        counter.histogram.add(seconds)

    def abandoned(self) -> None:
        """The client went away before its answer."""
        self._running -= 1

    def repeated(self) -> None:
        self._repeated += 1

    def statistics(self) -> RequestStatistics:
        commands = {
            name: CommandStatistics(counter.failed, counter.histogram.statistics())
            for name, counter in sorted(self._commands.items())
        }
        return RequestStatistics(
            self._running, self._done, self._repeated, dict(self._failed), commands
        )
