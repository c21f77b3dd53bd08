"""How the daemon's allocator treats large buffers.

The kernel reads and writes in pieces of up to 1 MiB. Left alone, glibc takes such a buffer from the
kernel and gives it back each time, and the page faults cost more than reading and checking the data
(measured on cold reads: twice to three times the time).
"""

import ctypes

__all__ = ["FREED_KEPT_BYTES_MAX", "keep_freed_buffers"]

FREED_KEPT_BYTES_MAX = 64 << 20
"""What the allocator may keep for the next buffers instead of giving it back."""

MAPPED_APART_BYTES = 32 << 20
"""Buffers from here on are mapped by themselves, as before; the most that glibc accepts."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3


def keep_freed_buffers() -> bool:
    """Tell glibc to keep them; False where the C library has no such switch."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    kept = mallopt(_M_TRIM_THRESHOLD, FREED_KEPT_BYTES_MAX)
    apart = mallopt(_M_MMAP_THRESHOLD, MAPPED_APART_BYTES)
    return bool(kept and apart)
