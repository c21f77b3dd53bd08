"""Bounds of what the judgement of one state, damage or image may take.

A loop that does not end and memory that grows without bound are faults like any other: they become
violations, with their replay id, instead of a campaign that stands still. Time is that of the
processor: how busy the machine is decides nothing. (A loop inside of the C core does not come back
to Python; native_hunt.py has an end for it.)
"""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

__all__ = ["SECONDS_MAX", "Violation", "in_time", "with_memory"]

SECONDS_MAX = 30
"""Of the processor. What takes longer hangs; a good one takes some hundredths of a second."""
_PAGE_BYTES = resource.getpagesize()


class Violation(Exception):
    """A promise does not hold in a state."""


class _TimeIsOver(BaseException):
    """No handler of errors may swallow it."""


def _ring(number: int, frame: FrameType | None) -> None:
    raise _TimeIsOver


@contextmanager
def in_time(seconds: float = SECONDS_MAX) -> Iterator[None]:
    """Of the main thread; not nested. Errors: Violation."""
    before = signal.signal(signal.SIGPROF, _ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    except _TimeIsOver:
        raise Violation(f"it takes more than {seconds} s of the processor") from None
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


@contextmanager
def with_memory(more_bytes: int) -> Iterator[None]:
    """Inside, this process gets no more memory than so much: then MemoryError comes."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * _PAGE_BYTES + more_bytes
    if before[1] != resource.RLIM_INFINITY:
        limit = min(limit, before[1])
    resource.setrlimit(resource.RLIMIT_AS, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
