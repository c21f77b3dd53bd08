"""Histograms of how long things take: the form that every figure of latency has here.

Invariant: noting one costs less than a microsecond and no allocation, so every request is counted,
those of the kernel too. Loop thread only.
"""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["LATENCY_BOUNDS_S", "Histogram", "Latencies", "LatencyStatistics"]

LATENCY_BOUNDS_S = (
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01,
    0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0,
)  # fmt: skip
"""Upper bounds of the buckets, seconds; one more bucket takes what is slower. They begin where a
request of the kernel that misses nothing ends."""


@dataclass(frozen=True, slots=True)
class LatencyStatistics:
    """buckets: a count per bound of LATENCY_BOUNDS_S and one for the rest, not added up."""

    count: int
    seconds_total: float
    seconds_max: float
    buckets: tuple[int, ...]

    def quantile_s(self, share: float) -> float:
        """An upper bound of the quantile: that of its bucket, or the longest time; 0.0 for
        none."""
        wanted, seen = share * self.count, 0
        for bound, count in zip(LATENCY_BOUNDS_S, self.buckets, strict=False):
            seen += count
            if count and seen >= wanted:
                return min(bound, self.seconds_max)
        return self.seconds_max


class Histogram:
    """The counting side of one."""

    __slots__ = ("_buckets", "_seconds_max", "_seconds_total")

    def __init__(self) -> None:
        self._buckets = [0] * (len(LATENCY_BOUNDS_S) + 1)
        self._seconds_total = 0.0
        self._seconds_max = 0.0

    def add(self, seconds: float) -> None:
        self._buckets[bisect_left(LATENCY_BOUNDS_S, seconds)] += 1
        self._seconds_total += seconds
        if seconds > self._seconds_max:
            self._seconds_max = seconds

    def statistics(self) -> LatencyStatistics:
        return LatencyStatistics(
            sum(self._buckets), self._seconds_total, self._seconds_max, tuple(self._buckets)
        )


class Latencies:
    """Histograms by name. slow_s: what takes longer is told to `slow` (name, seconds), 0 for
    nothing. Names are declared ones, never a client's text, so their number is bounded."""

    def __init__(
        self, slow_s: float = 0.0, slow: Callable[[str, float], object] | None = None
    ) -> None:
        self._histograms: dict[str, Histogram] = {}
        self._slow_s = slow_s if slow_s > 0 and slow is not None else float("inf")
        self._slow = slow or _nobody

    def note(self, name: str, seconds: float) -> None:
        histogram = self._histograms.get(name)
        if histogram is None:
            histogram = self._histograms[name] = Histogram()
        histogram.add(seconds)
        if seconds >= self._slow_s:
            self._slow(name, seconds)

    def statistics(self) -> dict[str, LatencyStatistics]:
        """By name, in their order."""
        return {name: one.statistics() for name, one in sorted(self._histograms.items())}


def _nobody(name: str, seconds: float) -> None:
    """Nobody wants to know."""
