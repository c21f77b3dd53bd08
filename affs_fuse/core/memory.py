"""Memory of the core that fails on purpose, so that tests see what becomes of a volume then.

Nothing in AfFS calls this; it belongs to tools/crashsim and to the tests. It is process-wide.
"""

from affs_fuse._core import lib

__all__ = ["allocation_count", "fail_allocation", "let_allocations_succeed"]

_NEVER = (1 << 64) - 1


def fail_allocation(after: int, *, for_ever: bool) -> None:
    """After `after` more allocations of the core the next one fails; for_ever: and all later ones.
    The count begins anew."""
    lib.affs_memory_fail(after, for_ever)


def let_allocations_succeed() -> None:
    """The count begins anew."""
    lib.affs_memory_fail(_NEVER, 0)


def allocation_count() -> int:
    """Allocations since one of the above was called."""
    return int(lib.affs_memory_count())
