"""The slow-operation log: what took longer than the threshold, of commands and of the kernel's
requests.

The newest are kept in memory for the query `slow`, and each is a line of the log. Invariant: a
device that makes everything slow does not flood the log; what was left out is counted.
"""

import logging
from collections import deque
from dataclasses import dataclass

from affs_fuse.clock import Clock
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.trace import current_trace

__all__ = ["SLOW_DEFAULT_S", "SlowLog", "SlowStatistics"]

_log = logging.getLogger("affs.slow")

SLOW_DEFAULT_S = 1.0

KEPT_MAX = 256
LINES_PER_PERIOD = 20
PERIOD_S = 10.0


@dataclass(frozen=True, slots=True)
class SlowStatistics:
    """threshold_s: 0.0 when nothing counts as slow. slow: since the start. unlogged: of these, how
    many got no line because there were too many."""

    threshold_s: float
    slow: int
    unlogged: int


class SlowLog:
    """threshold_s: seconds, 0 for off. Loop thread only."""

    def __init__(self, clock: Clock, threshold_s: float = SLOW_DEFAULT_S) -> None:
        self._clock = clock
        self._threshold_s = threshold_s
        self._kept: deque[Plain] = deque(maxlen=KEPT_MAX)
        self._slow = 0
        self._unlogged = 0
        self._period_end = float("-inf")
        self._lines_left = 0

    @property
    def threshold_s(self) -> float:
        return self._threshold_s

    def request(self, name: str, seconds: float) -> None:
        """One of the kernel's requests was slow; the caller has compared."""
        self._note({"what": "fuse", "name": name, "seconds": seconds})

    def command(self, name: str, seconds: float, *, session: str, user: str) -> None:
        """A command ended; noted if it was slow."""
        if 0 < self._threshold_s <= seconds:
            fields = {"what": "command", "name": name, "seconds": seconds}
            self._note({**fields, "session": session, "user": user})

    def _note(self, fields: Plain) -> None:
        entry = {"time_ns": self._clock.now_ns(), **fields, "trace": current_trace()}
        self._kept.append(entry)
        self._slow += 1
        now = self._clock.monotonic()
        if now >= self._period_end:
            self._period_end = now + PERIOD_S
            self._lines_left = LINES_PER_PERIOD
        if not self._lines_left:
            self._unlogged += 1
            return
        self._lines_left -= 1
        _log.info(
            "slow: %s %s took %.3f s", fields["what"], fields["name"], fields["seconds"],
            extra={"fields": fields},
        )

    def newest(self, limit: int) -> list[Plain]:
        """The newest `limit`, in ascending order of time. time_ns (of the end), what ("command" or
        "fuse"), name, seconds, trace, and session and user of a command."""
        return [*self._kept][-limit:]

    def statistics(self) -> SlowStatistics:
        return SlowStatistics(self._threshold_s, self._slow, self._unlogged)
