"""Time and chance as arguments.

Everything below the daemon takes a `Clock` and a `Entropy` instead of calling `time` or `random`,
so a test can fix both and a seeded run gives the same image bytes. House rule: no other module
imports them.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["SYSTEM_CLOCK", "Clock", "Entropy", "system_entropy"]

Entropy = Callable[[int], bytes]
"""Entropy(n) gives n random bytes."""


def system_entropy(length_bytes: int) -> bytes:
    return os.urandom(length_bytes)


@dataclass(frozen=True, slots=True)
class Clock:
    """now_ns: wall clock, nanoseconds since the epoch. monotonic: seconds, only for differences."""

    now_ns: Callable[[], int] = field(default=time.time_ns)
    monotonic: Callable[[], float] = field(default=time.monotonic)


SYSTEM_CLOCK = Clock()
