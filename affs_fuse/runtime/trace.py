"""The trace id of the request that the current task works for.

It travels by context: a task started by a request inherits it, so engine and jobs need no argument
for it. Log records and events pick it up here.
"""

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from affs_fuse.clock import Entropy

__all__ = ["TraceFilter", "current_trace", "is_trace", "new_trace", "traced"]

_TRACE: ContextVar[str] = ContextVar("affs_trace", default="")
_PATTERN = re.compile(r"[0-9A-Za-z._:-]{1,64}")


def current_trace() -> str:
    """Of the request that this task serves, or ""."""
    return _TRACE.get()


def new_trace(entropy: Entropy) -> str:
    """32 hexadecimal digits."""
    return entropy(16).hex()


def is_trace(text: str) -> bool:
    """Whether a client may use the text as its trace id: it goes into log lines, so it stays
    plain."""
    return _PATTERN.fullmatch(text) is not None


@contextmanager
def traced(trace: str) -> Iterator[None]:
    """Everything inside, and every task started inside, carries the trace."""
    token = _TRACE.set(trace)
    try:
        yield
    finally:
        _TRACE.reset(token)


class TraceFilter(logging.Filter):
    """Gives every record that passes a `trace` attribute; for the handlers that the daemon sets
    up."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not hasattr(record, "trace"):
            record.trace = _TRACE.get()
        return True
