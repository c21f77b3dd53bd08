"""What to do about an error that no operation has: no memory, or a fault of ours.

Operations end with errors that they name, having changed nothing. Any other error may leave half a
change in memory, and no commit must make that durable: the volume becomes read-only, and says why.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec, TypeVar

from affs_fuse.core.tree import NodeMissing
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.missing import DataMissing

__all__ = ["Change", "Contradiction", "half_done", "said"]

P = ParamSpec("P")
R = TypeVar("R")

_EXPECTED = (NodeMissing, DataMissing, AffsError, OSError)
"""What an operation may raise, with nothing changed."""


class Contradiction(AffsError):
    """What is on the device contradicts itself, seen in the middle of a change: a block is given
    back that is free, say. The format's rules were broken before; no writer of AfFS does that."""

    def __init__(self, message: str) -> None:
        super().__init__(
            "volume.contradiction",
            Category.CORRUPT,
            message,
            hint="run fsck.affs on the unmounted volume",
        )


@contextmanager
def half_done(fail: Callable[[str], None], what: str) -> Iterator[None]:
    """Call fail("what: the error") for any error that is not expected, and pass it on."""
    try:
        yield
    except Contradiction as error:
        fail(error.message)
        raise
    except _EXPECTED:
        raise
    except Exception as error:
        fail(f"{what}: {said(error)}")
        raise


class Change:
    """Knows whether the operation under way has begun to change something. fail: as above."""

    def __init__(self, fail: Callable[[str], None]) -> None:
        self._fail = fail
        self._begun = False

    def begin(self) -> None:
        """The operation has looked at all it needs; from here on it changes things."""
        self._begun = True

    def attempt(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call an operation once. Errors: its own; after an unexpected one the volume is read-only
        if the operation had begun to change something."""
        self._begun = False
        try:
            return function(*args, **kwargs)
        except Contradiction as error:
            self._fail(error.message)
            raise
        except _EXPECTED:
            raise
        except Exception as error:
            if self._begun:
                self._fail(f"a change was left half done: {said(error)}")
            raise


def said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
