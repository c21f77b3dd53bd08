"""POSIX failures as the namespace raises them: OSError with an errno and one line of text."""

import os

__all__ = ["posix_error"]


def posix_error(number: int, text: str = "") -> OSError:
    """The exception of an errno; Python picks the subclass (FileNotFoundError ...)."""
    return OSError(number, text or os.strerror(number))
