"""A bound on how often the same thing is logged.

Whoever may connect to the socket, or read a damaged file, can cause lines; a disk full of them, or
a journal that drops others for them, is what he must not cause. Invariants: what is critical always
passes; of anything else the first BURST lines of a kind do, and then one every EVERY_S seconds,
which says how many like it were left out.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable

__all__ = ["BURST", "EVERY_S", "LogLimit"]

BURST = 50
EVERY_S = 2.0
KINDS_MAX = 512
"""Kinds that are told apart: lines are of one kind if they come from the same statement."""


class LogLimit:
    """A filter for handlers. monotonic: seconds."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._kinds: OrderedDict[tuple[str, int, str], list[float]] = OrderedDict()

    def __call__(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.CRITICAL or record.levelno <= logging.DEBUG:
            return True
        now = self._monotonic()
        key = record.name, record.levelno, str(record.msg)[:200]
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = [float(BURST), now, 0.0]
            if len(self._kinds) > KINDS_MAX:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(key)
        tokens, then, left_out = kind
        tokens = min(float(BURST), tokens + (now - then) / EVERY_S)
        if tokens < 1.0:
            kind[:] = [tokens, now, left_out + 1]
            return False
        kind[:] = [tokens - 1.0, now, 0.0]
        if left_out:
            fields = getattr(record, "fields", None)
            known = dict(fields) if isinstance(fields, dict) else {}
            record.fields = {**known, "left_out": int(left_out)}
        return True
