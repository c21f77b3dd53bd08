"""Processes that end with the one that started them. Light to import: helpers begin with it."""

import ctypes
import signal

__all__ = ["end_with_parent"]

PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def end_with_parent() -> None:
    """This process is killed when its parent ends, so nothing outlives an interrupted run."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
