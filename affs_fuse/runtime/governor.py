"""How much of the device background reading may take: as much as the mount does not feel.

Reading and pausing take turns. The mean time that the mount's requests take while it reads is
compared with that while it pauses: if it rises, pauses grow, else they shrink; with no requests
there is nobody to wait for, and no pause. So there is no rate to set: a fast device is used up, a
busy one left alone. Requests that wait for a commit (fsync) and all others are compared apart,
since a few more of the former would pass for a rise. Invariant: pauses stay within PAUSE_MAX_S, so
reading always goes on.
"""

from dataclasses import dataclass, field

from affs_fuse.runtime.latency import Latencies

__all__ = ["PAUSE_MAX_S", "SLICE_S", "Governor", "RequestTimes", "request_times"]

SLICE_S = 0.02
"""Of reading between two pauses."""

PAUSE_MAX_S = 2.0
TOLERATED_RISE = 1.5
TOLERATED_S = 0.0002
"""A rise by so much is noise, whatever the ratio."""

WEIGHT_OF_NEW = 0.25
IDLE_TURNS = 4
"""Turns without any request after which nobody is waited for."""

WAITING = frozenset({"fsync", "fsyncdir"})
"""Requests of the kernel that wait for a commit."""


@dataclass(slots=True)
class RequestTimes:
    """Times of the mount's requests, summed up since the start: index 0 of those that wait for a
    commit, 1 of all others."""

    counts: list[int] = field(default_factory=lambda: [0, 0])
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])

    def since(self, before: "RequestTimes") -> "RequestTimes":
        return RequestTimes(
            [a - b for a, b in zip(self.counts, before.counts, strict=True)],
            [a - b for a, b in zip(self.seconds, before.seconds, strict=True)],
        )

    @property
    def mean_s(self) -> list[float | None]:
        """For each kind; None where there was no request."""
        return [
            seconds / count if count else None
            for count, seconds in zip(self.counts, self.seconds, strict=True)
        ]


def request_times(latencies: Latencies) -> RequestTimes:
    """As of now. latencies: by the names of fuse/operations' handlers."""
    made = RequestTimes()
    for name, one in latencies.statistics().items():
        kind = 0 if name in WAITING else 1
        made.counts[kind] += one.count
        made.seconds[kind] += one.seconds_total
    return made


class Governor:
    """turn() after each slice and its pause gives the next pause. full_speed: for whoever says
    that the mount may wait."""

    def __init__(self, *, full_speed: bool = False) -> None:
        self._full_speed = full_speed
        self._reading: list[float | None] = [None, None]
        self._pausing: list[float | None] = [None, None]
        self._idle = IDLE_TURNS
        self.pause_s = 0.0
        self.backed_off = 0

    def turn(self, reading: RequestTimes, pausing: RequestTimes) -> float:
        """Seconds to pause after the next slice. reading, pausing: what went by in the last one
        and in its pause."""
        requests = sum(reading.counts) + sum(pausing.counts)
        self._idle = 0 if requests else min(self._idle + 1, IDLE_TURNS)
        if self._full_speed or self._idle >= IDLE_TURNS:
            self.pause_s = 0.0
            return 0.0
        _mix(self._reading, reading.mean_s)
        _mix(self._pausing, pausing.mean_s)
        if self._risen():
            self.backed_off += 1
            self.pause_s = min(max(2 * self.pause_s, SLICE_S), PAUSE_MAX_S)
        else:
            # Something has to be compared with, so with requests there is always a pause.
            self.pause_s = max(self.pause_s * 0.8, SLICE_S)
        return self.pause_s

    def _risen(self) -> bool:
        return any(
            now is not None and base is not None
            and now > base * TOLERATED_RISE + TOLERATED_S
            for now, base in zip(self._reading, self._pausing, strict=True)
        )


def _mix(known: list[float | None], new: list[float | None]) -> None:
    for kind, value in enumerate(new):
        if value is not None:
            old = known[kind]
            known[kind] = value if old is None else old + WEIGHT_OF_NEW * (value - old)
