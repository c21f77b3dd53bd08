"""Bitmaps of blocks: bit i is bit i % 8 of byte i // 8, set = in use (DiskLayout.md, "Bitmap").

Maps are bytearrays (a held map may be bytes); a change that would do twice what was done is refused
whole.
"""

from affs_fuse._core import ffi, lib
from affs_fuse.core.errors import check

__all__ = ["clear_range", "count", "find", "set_range"]

_FOUND = "uint64_t[2]"


def find(
    bits: bytes | bytearray,
    held: bytes | bytearray | None,
    start: int,
    shortest: int,
    longest: int,
    bit_count: int | None = None,
) -> tuple[int, int] | None:
    """First run of at least `shortest` bits that are clear in both maps, at or after start.

    Gives (first bit, number of bits, at most longest), or None. bit_count: bits of the maps that
    count, all by default. Raises ValueError for sizes that do not fit.
    """
    total = len(bits) * 8 if bit_count is None else bit_count
    if total > len(bits) * 8 or (held is not None and total > len(held) * 8):
        raise ValueError("the bitmap is shorter than its bits")
    result = ffi.new(_FOUND)
    outcome = lib.affs_bitmap_find(
        ffi.from_buffer("uint8_t[]", bits),
        ffi.NULL if held is None else ffi.from_buffer("uint8_t[]", held),
        total, start, shortest, longest, result, result + 1,
    )  # fmt: skip
    if check(outcome, "bitmap search") != lib.AFFS_OK:
        return None
    return result[0], result[1]


def set_range(bits: bytearray, first: int, count: int) -> None:
    """Mark bits as in use. ValueError, with nothing changed, if one already is or is outside."""
    check(
        lib.affs_bitmap_set(ffi.from_buffer("uint8_t[]", bits), len(bits) * 8, first, count),
        f"marking blocks {first}+{count}",
    )


def clear_range(bits: bytearray, first: int, count: int) -> None:
    """Mark bits as free. ValueError, with nothing changed, if one already is or is outside."""
    check(
        lib.affs_bitmap_clear(ffi.from_buffer("uint8_t[]", bits), len(bits) * 8, first, count),
        f"freeing blocks {first}+{count}",
    )


def count(bits: bytes | bytearray, first: int = 0, length: int | None = None) -> int:
    """How many of the bits first .. first + length (default: to the end) are in use."""
    part = len(bits) * 8 - first if length is None else length
    if first < 0 or part < 0 or first + part > len(bits) * 8:
        raise ValueError("outside of the bitmap")
    return lib.affs_bitmap_count(ffi.from_buffer("uint8_t[]", bits), first, part)
