"""Ctrl-C where it does no harm: while a client waits for bytes, never between reading some and
understanding them.

An exception out of a signal handler may strike between any two instructions, and bytes that were
read but not yet handed on would be lost: the connection could not go on. So within a block of
`Interrupts` the first interrupt is raised by `wait` alone, in front of or during the waiting. A
second one before that is raised at once: something else is stuck.
"""

import select
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

__all__ = ["Interrupts"]


class Interrupts:
    """A context manager around the work that may be interrupted; `wait` is given to the client."""

    def __init__(self) -> None:
        self._asked = False
        self._waiting = False
        self._previous: Any = None
        self._installed = False

    def wait(self, fileno: int, timeout_s: float | None) -> bool:
        """Whether bytes wait to be read within timeout_s (None: wait for ever); KeyboardInterrupt.
        Works outside of the block too."""
        poller = select.poll()
        poller.register(fileno, select.POLLIN)
        self._waiting = True
        try:
            if self._asked:
                self._asked = False
                raise KeyboardInterrupt
            return bool(poller.poll(None if timeout_s is None else max(0.0, timeout_s * 1000)))
        finally:
            self._waiting = False

    def __enter__(self) -> Self:
        self._asked = False
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
            self._installed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, self._previous)
            self._installed = False

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._waiting or self._asked:
            self._asked = False
            raise KeyboardInterrupt
        self._asked = True
