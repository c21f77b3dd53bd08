"""Keys of an index against AUV's order, and its pages against a sorted list."""

import math
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.auv import Char
from affs_fuse.core.codec import Pointer
from affs_fuse.core.tree import NodeMissing
from affs_fuse.posix import index_keys
from affs_fuse.posix.index_keys import KEY_MAX, entry_of, key_of_value
from affs_fuse.volume.index_pages import IndexDamage, IndexPages, Shape, check_sketches, sketch_page

SETTINGS = settings(max_examples=150, deadline=None, derandomize=True, database=None)

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(auv.INT64_MIN, auv.INT64_MAX), st.integers(-2, 2),
    st.floats(), st.sampled_from([0.0, -0.0, math.nan, math.inf]),
    st.characters(exclude_categories=["Cs"]).map(Char),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4), st.sampled_from(["", "\0", "a"]),
    st.binary(max_size=4),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=6,
)


@SETTINGS
@given(values, values)
def test_keys_sort_as_values_do(one: auv.Value, other: auv.Value) -> None:
    left, right = key_of_value(one), key_of_value(other)
    order = auv.compare(one, other)
    assert (left > right) - (left < right) == order
    if order:
        assert not left.startswith(right)
        assert not right.startswith(left)


@SETTINGS
@given(st.text("ab\0", min_size=150, max_size=250), st.text("ab\0", min_size=150, max_size=250))
def test_long_values_keep_their_order_as_far_as_their_keys_go(one: str, other: str) -> None:
    left, right = key_of_value(one), key_of_value(other)
    assert len(left) <= KEY_MAX
    assert (left <= right) if one <= other else (left >= right)


ranges = {
    "=": index_keys.equal_to,
    "<": lambda value: index_keys.below(value, including=False),
    "<=": lambda value: index_keys.below(value, including=True),
    ">": lambda value: index_keys.above(value, including=False),
    ">=": lambda value: index_keys.above(value, including=True),
}
TESTS = {
    "=": lambda order: order == 0, "<": lambda order: order < 0, "<=": lambda order: order <= 0,
    ">": lambda order: order > 0, ">=": lambda order: order >= 0,
}  # fmt: skip
long_texts = st.text("a\0", min_size=190, max_size=205)


@SETTINGS
@given(values | long_texts, values | long_texts, st.sampled_from(list(ranges)))
def test_a_range_has_all_that_fulfils_its_condition(one, other, operator) -> None:
    found = ranges[operator](other)
    inside = found.low <= entry_of(key_of_value(one), 77) < found.high
    holds = TESTS[operator](auv.compare(one, other))
    assert inside or not holds
    if max(map(len, map(key_of_value, (one, other)))) < KEY_MAX:
        assert inside == holds
    assert not found.low <= entry_of(index_keys.UNSURE, 5) < found.high


@SETTINGS
@given(st.text("ab\0", max_size=4) | long_texts, st.text("ab\0", max_size=3) | long_texts)
def test_the_range_of_a_prefix(text: str, prefix: str) -> None:
    found = index_keys.prefixed_by(prefix)
    inside = found.low <= entry_of(key_of_value(text), 77) < found.high
    assert inside or not text.startswith(prefix)
    if len(prefix) < KEY_MAX // 2:
        assert inside == text.startswith(prefix)


def check_pages(pages: dict[int, bytes], shape: Shape) -> list[bytes]:
    """All entries in order, if every rule holds. Errors: index.damaged."""
    sketched = {number: sketch_page(number, payload) for number, payload in pages.items()}
    for _ in check_sketches({number: one for number, (one, _) in sketched.items()}, shape):
        pass
    return sorted(entry for _, entries in sketched.values() for entry in entries)


class Store:
    """Pages of the index in a dict. missing: pages that are not in memory now."""

    def __init__(self) -> None:
        self.pages: dict[int, bytes] = {}
        self.shape = Shape()
        self.missing: set[int] = set()

    def read(self, number: int) -> bytes | None:
        if number in self.missing:
            raise NodeMissing(Pointer(number, 0, 1, bytes(16), 1, 0, 1))
        return self.pages.get(number)

    def open(self) -> IndexPages:
        return IndexPages(self.read, self.shape)

    def take(self, index: IndexPages) -> None:
        for number, payload in index.changes().items():
            if payload is None:
                self.pages.pop(number, None)
            else:
                self.pages[number] = payload
        self.shape = index.shape

    def all(self) -> list[bytes]:
        return check_pages(self.pages, self.shape)


def forward(index: IndexPages, low: bytes) -> list[bytes]:
    found: list[bytes] = []
    at: bytes | None = low
    while at is not None:
        chunk = index.forward(at)
        found += chunk.entries
        at = chunk.beyond
    return found


def backward(index: IndexPages, end: bytes) -> list[bytes]:
    found: list[bytes] = []
    at: bytes | None = end
    while at is not None:
        chunk = index.backward(at)
        found += reversed(chunk.entries)
        at = chunk.beyond
    return found


steps = st.lists(
    st.tuples(st.booleans(), st.integers(0, 60), st.integers(0, 190)), min_size=1, max_size=250
)


@SETTINGS
@given(steps, st.integers(1, 40), st.integers(0, 60))
def test_pages_are_a_sorted_set(edits, turn: int, probe: int) -> None:
    """Long entries, so that few of them make several levels."""
    store, model = Store(), set()
    index = store.open()
    for count, (adds, letter, length) in enumerate(edits):
        entry = entry_of(bytes([letter + 2]) * (1 + length), letter)
        if adds:
            assert index.insert(entry) == (entry not in model)
            model.add(entry)
        else:
            assert index.delete(entry) == (entry in model)
            model.discard(entry)
        assert (index.forward(entry).entries[:1] == [entry]) == (entry in model)
        if count % turn == 0:
            store.take(index)
            index = store.open()
    store.take(index)
    wanted = sorted(model)
    assert store.all() == wanted
    at = bytes([probe + 2]) * 3
    index = store.open()
    assert forward(index, at) == [entry for entry in wanted if entry >= at]
    assert backward(index, at) == [entry for entry in reversed(wanted) if entry < at]
    assert 0.0 <= index.position(at) <= 1.0


@SETTINGS
@given(st.integers(1, 3000), st.booleans())
def test_many_come_and_go(count: int, rising: bool) -> None:
    store = Store()
    index = store.open()
    numbers = range(count) if rising else range(count, 0, -1)
    entries = [entry_of(key_of_value(number), number) for number in numbers]
    for entry in entries:
        index.insert(entry)
    store.take(index)
    assert store.all() == sorted(entries)
    if rising and count > 1000:
        assert len(store.pages) < count * 20 / 1800  # left full
    middle = sorted(entries)[count // 2]
    assert abs(store.open().position(middle) - (count // 2) / count) < 0.3
    index = store.open()
    for entry in entries[::2] + entries[1::2]:
        assert index.delete(entry)
    store.take(index)
    assert store.all() == []
    assert len(store.pages) <= 1


@SETTINGS
@given(st.integers(0, 1999), st.integers(1, 200), st.sets(st.integers(1, 60), max_size=40))
def test_removing_a_range_with_pages_that_are_not_in_memory(at: int, count: int, gone) -> None:
    """Nothing but the way to an entry is needed, whatever would be merged."""
    store = Store()
    index = store.open()
    entries = [entry_of(key_of_value(number), number) for number in range(2000)]
    for entry in entries:
        index.insert(entry)
    store.take(index)
    wanted = set(entries)
    for entry in entries[at : at + count]:
        store.missing = gone
        with suppress(NodeMissing):
            index = store.open()
            index.delete(entry)
            store.take(index)
            wanted.discard(entry)
    assert store.all() == sorted(wanted)


@SETTINGS
@given(st.integers(0, 1999), st.booleans(), st.sets(st.integers(1, 60), max_size=20))
def test_what_is_not_in_memory_leaves_the_index_as_it_was(at: int, adds: bool, gone) -> None:
    store = Store()
    index = store.open()
    entries = [entry_of(key_of_value(number), number) for number in range(0, 2000, 2)]
    for entry in entries:
        index.insert(entry)
    store.take(index)
    store.missing = gone
    entry = entry_of(key_of_value(at), at)
    index = store.open()
    before = index.shape
    try:
        changed = index.insert(entry) if adds else index.delete(entry)
    except NodeMissing:
        assert index.shape == before
        assert index.changes() == {}
        return
    store.missing = set()
    store.take(index)
    wanted = set(entries) | {entry} if adds else set(entries) - {entry}
    assert store.all() == sorted(wanted)
    assert changed == (wanted != set(entries))


def test_damage_is_found() -> None:
    store = Store()
    index = store.open()
    for number in range(500):
        index.insert(entry_of(key_of_value(number), number))
    store.take(index)
    assert len(store.all()) == 500
    for number, payload in sorted(store.pages.items()):
        pages = {key: value for key, value in store.pages.items() if key != number}
        with pytest.raises(IndexDamage):
            check_pages(pages, store.shape)
        with pytest.raises(IndexDamage):
            check_pages(pages | {number: payload[:-1]}, store.shape)
    with pytest.raises(IndexDamage):
        check_pages(store.pages | {store.shape.next_page - 1: b""}, store.shape)
    with pytest.raises(IndexDamage):
        check_pages(store.pages, Shape(store.shape.root, store.shape.next_page, 499))
    del store.pages[store.shape.root]
    with pytest.raises(IndexDamage):
        store.open().forward(b"")
