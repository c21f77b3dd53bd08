"""Bitmaps from Python against lists of truth values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affs_fuse.core import bitmap

MAPS = st.lists(st.booleans(), min_size=8, max_size=400).map(lambda bits: bits[: len(bits) & ~7])


def pack(bits: list[bool]) -> bytearray:
    packed = bytearray(len(bits) // 8)
    for index, bit in enumerate(bits):
        packed[index // 8] |= bit << (index % 8)
    return packed


def naive_find(busy: list[bool], start: int, shortest: int, longest: int) -> tuple[int, int] | None:
    for first in range(start, len(busy)):
        run = 0
        while run < longest and first + run < len(busy) and not busy[first + run]:
            run += 1
        if run >= shortest:
            return first, run
    return None


@given(MAPS, st.data())
def test_find_gives_the_first_run_that_is_long_enough(
    bits: list[bool], data: st.DataObject
) -> None:
    held = data.draw(st.one_of(st.none(), st.lists(st.booleans(), min_size=len(bits))))
    held = None if held is None else held[: len(bits)]
    start = data.draw(st.integers(0, len(bits) + 1))
    shortest = data.draw(st.integers(1, 20))
    longest = data.draw(st.integers(shortest, 300))
    count = data.draw(st.integers(0, len(bits)))
    busy = [a or b for a, b in zip(bits, held or [False] * len(bits), strict=True)]
    found = bitmap.find(pack(bits), None if held is None else pack(held), start, shortest, longest)
    assert found == naive_find(busy, start, shortest, longest)
    found = bitmap.find(pack(bits), held and pack(held), start, shortest, longest, count)
    assert found == naive_find(busy[:count], start, shortest, longest)


@given(MAPS, st.data())
def test_a_range_is_changed_whole_or_not_at_all(bits: list[bool], data: st.DataObject) -> None:
    packed = pack(bits)
    first = data.draw(st.integers(0, len(bits)))
    length = data.draw(st.integers(0, len(bits) - first))
    value = data.draw(st.booleans())
    change = bitmap.set_range if value else bitmap.clear_range
    if any(bit == value for bit in bits[first : first + length]):
        with pytest.raises(ValueError, match=r"blocks \d+"):
            change(packed, first, length)
    else:
        change(packed, first, length)
        bits[first : first + length] = [value] * length
    assert packed == pack(bits)


@given(MAPS, st.data())
def test_count(bits: list[bool], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(bits)))
    length = data.draw(st.integers(0, len(bits) - first))
    assert bitmap.count(pack(bits), first, length) == sum(bits[first : first + length])
    assert bitmap.count(pack(bits), first) == sum(bits[first:])
    assert bitmap.count(bytes(pack(bits))) == sum(bits)


@pytest.mark.parametrize("change", [bitmap.set_range, bitmap.clear_range])
def test_a_range_outside_is_refused(change: object) -> None:
    bits = bytearray(b"\xf0" * 2)
    for first, length in ((16, 1), (15, 2), (0, 1 << 63), (1 << 63, 1)):
        with pytest.raises(ValueError, match="refused"):
            change(bits, first, length)  # type: ignore[operator]
    assert bits == b"\xf0\xf0"


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        bitmap.find(bytearray(2), None, 0, 1, 1, 17)
    with pytest.raises(ValueError, match="shorter"):
        bitmap.find(bytearray(2), bytearray(1), 0, 1, 1)
    with pytest.raises(ValueError, match="refused"):
        bitmap.find(bytearray(2), None, 0, 0, 1)
    with pytest.raises(ValueError, match="outside"):
        bitmap.count(bytearray(2), 10, 7)
    with pytest.raises(ValueError, match="outside"):
        bitmap.count(bytearray(2), -1, 1)


def test_an_empty_map_has_no_room() -> None:
    assert bitmap.find(bytearray(), None, 0, 1, 1) is None
    assert bitmap.count(bytearray()) == 0
