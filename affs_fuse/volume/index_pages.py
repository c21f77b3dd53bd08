"""A sorted set of entries in pages: what is in an index (docs/specs/DiskLayout.md, "Index").

A small B+tree whose pages are items of the namespace tree, so that commits, kept states and
checksums cover it. An entry is bytes (posix/index_keys.py); a page has up to PAGE_MAX bytes.
Changes are made to pages in memory and taken by `changes` when all of them are planned: nothing is
changed in the tree before. Invariants:
- Inner pages: entry i stands for what is at or above its separator and below the next one's; the
  first separator is empty.
- No page but the root is empty.
- `insert` and `delete` change nothing before every page that they must have was read: what `read`
  raises leaves the index as it was.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

from affs_fuse.core.constants import INDEX_KEY_MAX
from affs_fuse.core.tree import NodeMissing
from affs_fuse.errors import AffsError, Category

__all__ = [
    "PAGE_MAX", "Chunk", "IndexDamage", "IndexPages", "Shape", "Sketch", "check_sketches",
    "sketch_page", "unpack_page",
]  # fmt: skip

PAGE_MAX = 2000
"""Bytes: eight such pages fill a node."""

ENTRY_MIN, ENTRY_MAX = 1 + 6, INDEX_KEY_MAX + 6
"""Bytes: a key, and the number of an object."""

MERGE_BELOW = PAGE_MAX // 4
MERGED_MAX = PAGE_MAX * 3 // 4
LEVELS_MAX = 12
PAGES_CACHED = 256
_PREFIX = struct.Struct("<BBH")
_CHILD = struct.Struct("<I")
_LENGTH_BYTES = 2

Read = Callable[[int], bytes | None]
"""The payload of a page by its number; may raise NodeMissing."""


class IndexDamage(AffsError):
    """The pages contradict their rules."""

    def __init__(self, what: str) -> None:
        super().__init__(
            "index.damaged", Category.CORRUPT, f"an index cannot be used: {what}",
            hint="`reindex` makes it anew from the records",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shape:
    """root: number of a page. next_page: not used so far, nor any above. entries: in all."""

    root: int = 1
    next_page: int = 2
    entries: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """Entries of one leaf, in order. beyond: where the next leaf begins (going backwards: the place
    that the leaf before ends at); None if there is none."""

    entries: list[bytes]
    beyond: bytes | None


class _Page:
    """keys: entries of a leaf, or separators. children: of an inner page, else empty."""

    __slots__ = ("children", "keys", "level", "size")

    def __init__(self, level: int, keys: list[bytes], children: list[int]) -> None:
        self.level = level
        self.keys = keys
        self.children = children
        each = _LENGTH_BYTES + (_CHILD.size if level else 0)
        self.size = _PREFIX.size + each * len(keys) + sum(map(len, keys))

    def pack(self) -> bytes:
        rows = self.keys
        if self.level:
            pack = _CHILD.pack
            rows = [key + pack(child) for key, child in zip(rows, self.children, strict=True)]
        lengths = struct.pack(f"<{len(rows)}H", *map(len, rows))
        return b"".join((_PREFIX.pack(self.level, 0, len(rows)), lengths, *rows))


def unpack_page(payload: bytes) -> tuple[int, list[bytes], list[int]]:
    """(level, entries or separators, children). Errors: index.damaged."""
    if len(payload) < _PREFIX.size:
        raise IndexDamage("a page is too short")
    level, reserved, count = _PREFIX.unpack_from(payload)
    at = _PREFIX.size + _LENGTH_BYTES * count
    if reserved or level > LEVELS_MAX or at > len(payload):
        raise IndexDamage("a page has no head that a page can have")
    rows = []
    lengths = struct.unpack_from(f"<{count}H", payload, _PREFIX.size)
    if not level and count and not (min(lengths) >= ENTRY_MIN and max(lengths) <= ENTRY_MAX):
        raise IndexDamage("an entry is shorter or longer than a key and a number")
    for length in lengths:
        rows.append(payload[at : at + length])
        at += length
    if at != len(payload):
        raise IndexDamage("a page has another length than its entries")
    if not level:
        return 0, rows, []
    if not rows or any(len(row) < _CHILD.size for row in rows):
        raise IndexDamage("an inner page has no entries, or one that is too short")
    children = [_CHILD.unpack_from(row, len(row) - _CHILD.size)[0] for row in rows]
    return level, [row[: -_CHILD.size] for row in rows], children


_unpack = lru_cache(PAGES_CACHED)(unpack_page)
"""Inner pages are read again and again; callers copy what they change."""


class IndexPages:
    """One index. shape: as it is now, with the changes that were made here."""

    def __init__(self, read: Read, shape: Shape) -> None:
        self._read = read
        self._pages: dict[int, _Page | None] = {}
        self._inner: dict[int, tuple[int, list[bytes], list[int]]] = {}
        self.shape = shape

    def changes(self) -> dict[int, bytes | None]:
        """Payloads of the pages that changed, None for those that go."""
        return {
            number: page.pack() if page is not None else None
            for number, page in self._pages.items()
        }

    # ---- reading ----

    def forward(self, at: bytes) -> Chunk:
        """The entries from `at` on in the leaf where `at` belongs. Errors: NodeMissing,
        index.damaged; so everywhere."""
        level, keys, children = self._look(self.shape.root)
        beyond: bytes | None = None
        while level:
            index = max(0, bisect_right(keys, at) - 1)
            if index + 1 < len(keys):
                beyond = keys[index + 1]
            level, keys, children = self._below(level, children[index])
        return Chunk(keys[bisect_left(keys, at) :], beyond)

    def backward(self, end: bytes) -> Chunk:
        """The entries below `end` in the leaf that has the last of them."""
        level, keys, children = self._look(self.shape.root)
        beyond: bytes | None = None
        while level:
            index = max(0, bisect_left(keys, end) - 1)
            if index:
                beyond = keys[index]
            level, keys, children = self._below(level, children[index])
        return Chunk(keys[: bisect_left(keys, end)], beyond)

    def position(self, at: bytes) -> float:
        """Which part of the entries stands below `at`, roughly: pages are taken to be equally
        full."""
        level, keys, children = self._look(self.shape.root)
        found, share = 0.0, 1.0
        while level:
            index = max(0, bisect_right(keys, at) - 1)
            share /= len(keys)
            found += index * share
            level, keys, children = self._below(level, children[index])
        return found + share * bisect_left(keys, at) / max(1, len(keys))

    def _look(self, number: int) -> tuple[int, list[bytes], list[int]]:
        page = self._pages.get(number)
        if page is not None:
            return page.level, page.keys, page.children
        inner = self._inner.get(number)
        if inner is not None:
            return inner
        payload = self._read(number)
        if payload is None:
            if number == self.shape.root and not self.shape.entries:
                return 0, [], []
            raise IndexDamage(f"page {number} is not there")
        found = _unpack(payload)
        if found[0]:
            self._inner[number] = found
        return found

    def _below(self, level: int, number: int) -> tuple[int, list[bytes], list[int]]:
        found = self._look(number)
        if found[0] != level - 1:
            raise IndexDamage(f"page {number} is on the wrong level")
        return found

    # ---- changing ----

    def load(self, entry: bytes) -> None:
        """See that `insert` and `delete` of this entry need no page that is not there."""
        self._way_to(entry)

    def insert(self, entry: bytes) -> bool:
        """False: it is there already."""
        way = self._way_to(entry)
        _, keys, _ = self._look(way[-1][0])
        at = bisect_left(keys, entry)
        if at < len(keys) and keys[at] == entry:
            return False
        rising = at == len(keys) and self._is_last(way)
        leaf = self._own(way[-1][0])
        leaf.keys.insert(at, entry)
        leaf.size += _LENGTH_BYTES + len(entry)
        self.shape = replace(self.shape, entries=self.shape.entries + 1)
        if leaf.size > PAGE_MAX:
            self._split(way, rising=rising)
        return True

    def delete(self, entry: bytes) -> bool:
        """False: it is not there."""
        way = self._way_to(entry)
        _, keys, _ = self._look(way[-1][0])
        at = bisect_left(keys, entry)
        if at == len(keys) or keys[at] != entry:
            return False
        leaf = self._own(way[-1][0])
        del leaf.keys[at]
        leaf.size -= _LENGTH_BYTES + len(entry)
        self.shape = replace(self.shape, entries=self.shape.entries - 1)
        if leaf.size < MERGE_BELOW:
            self._shrink(way)
        return True

    def _way_to(self, entry: bytes) -> list[tuple[int, int]]:
        """(page, which of its children comes next) from the root to a leaf."""
        way: list[tuple[int, int]] = []
        number = self.shape.root
        level, keys, children = self._look(number)
        while level:
            index = max(0, bisect_right(keys, entry) - 1)
            way.append((number, index))
            number = children[index]
            level, keys, children = self._below(level, number)
        way.append((number, 0))
        return way

    def _own(self, number: int) -> _Page:
        """The page, to be changed."""
        page = self._pages.get(number)
        if page is None:
            level, keys, children = self._look(number)
            page = self._pages[number] = _Page(level, keys.copy(), children.copy())
        return page

    def _new(self, page: _Page) -> int:
        number = self.shape.next_page
        self.shape = replace(self.shape, next_page=number + 1)
        self._pages[number] = page
        return number

    def _is_last(self, way: list[tuple[int, int]]) -> bool:
        """Whether the way goes down at the upper end."""
        return all(index == len(self._look(number)[2]) - 1 for number, index in way[:-1])

    def _split(self, way: list[tuple[int, int]], *, rising: bool) -> None:
        """Cut the last page of the way in two, and those above it that overflow by that. rising:
        entries come in rising order, so what is there is left full."""
        number, _ = way.pop()
        page = self._own(number)
        at = len(page.keys) - 1 if rising else _middle(page)
        separator = page.keys[at]
        if not page.level:
            separator = _shortest(page.keys[at - 1], separator)
        right = _Page(page.level, page.keys[at:], page.children[at:])
        if page.level:
            right = _Page(page.level, [b"", *right.keys[1:]], right.children)
        self._pages[number] = _Page(page.level, page.keys[:at], page.children[:at])
        made = self._new(right)
        if not way:
            root = self._new(_Page(page.level + 1, [b"", separator], [number, made]))
            self.shape = replace(self.shape, root=root)
            return
        above, index = way[-1]
        parent = self._own(above)
        parent.keys.insert(index + 1, separator)
        parent.children.insert(index + 1, made)
        parent.size += _LENGTH_BYTES + _CHILD.size + len(separator)
        if parent.size > PAGE_MAX:
            self._split(way, rising=rising)

    def _shrink(self, way: list[tuple[int, int]]) -> None:
        """The last page of the way has become small: it goes if it is empty, or takes in a
        neighbour that is in memory."""
        number, _ = way.pop()
        page = self._own(number)
        if not way:
            self._lower_root(page)
            return
        above, index = way[-1]
        parent = self._own(above)
        if page.keys:
            left = index if index + 1 < len(parent.children) else index - 1
            if left < 0 or not self._merge(parent, left):
                return
        else:
            self._pages[number] = None
            _drop_child(parent, index)
        if parent.size < MERGE_BELOW or len(parent.children) == 1:
            self._shrink(way)

    def _lower_root(self, root: _Page) -> None:
        """A root with one child gives way to it."""
        level, children = root.level, root.children
        with suppress(NodeMissing):  # it stands for now
            while level and len(children) == 1:
                self._pages[self.shape.root] = None
                self.shape = replace(self.shape, root=children[0])
                level, _, children = self._look(children[0])

    def _merge(self, parent: _Page, index: int) -> bool:
        """Put the child behind `index` into the one at it, if both fit one page."""
        one, other = parent.children[index], parent.children[index + 1]
        try:
            level, first, _ = self._look(one)
            _, second, _ = self._look(other)
        except NodeMissing:
            return False
        each = _LENGTH_BYTES + (_CHILD.size if level else 0)
        size = sum(map(len, first)) + sum(map(len, second)) + each * (len(first) + len(second))
        if size + len(parent.keys[index + 1]) > MERGED_MAX:
            return False
        left, right = self._own(one), self._own(other)
        if level:
            right.keys[0] = parent.keys[index + 1]
        self._pages[one] = _Page(level, left.keys + right.keys, left.children + right.children)
        self._pages[other] = None
        _drop_child(parent, index + 1)
        return True


def _middle(page: _Page) -> int:
    """Where to cut a page: in half by bytes."""
    half, total = page.size // 2, 0
    for index, key in enumerate(page.keys):
        total += _LENGTH_BYTES + len(key) + (_CHILD.size if page.level else 0)
        if total > half:
            return min(max(1, index), len(page.keys) - 1)
    raise AssertionError("a page that is split has entries")


def _shortest(left: bytes, right: bytes) -> bytes:
    """The shortest bytes that are above left and not above right."""
    at = 0
    while at < len(left) and left[at] == right[at]:
        at += 1
    return right[: at + 1]


def _drop_child(parent: _Page, index: int) -> None:
    """The first separator is empty and stays so."""
    key = parent.keys.pop(1 if index == 0 and len(parent.keys) > 1 else index)
    del parent.children[index]
    parent.size -= _LENGTH_BYTES + _CHILD.size + len(key)


class Sketch(NamedTuple):
    """What is left of a page once its own rules were looked at. keys, children: of an inner page.
    first, last: of a leaf's entries, b"" if it has none."""

    level: int
    entries: int
    first: bytes
    last: bytes
    keys: list[bytes]
    children: list[int]


def sketch_page(number: int, payload: bytes) -> tuple[Sketch, list[bytes]]:
    """What `check_sketches` needs of a page, and the entries of a leaf. Errors: index.damaged."""
    level, keys, children = unpack_page(payload)
    if any(not one < other for one, other in pairwise(keys)):
        raise IndexDamage(f"the entries of page {number} are out of order")
    if not level:
        first, last = (keys[0], keys[-1]) if keys else (b"", b"")
        return Sketch(0, len(keys), first, last, [], []), keys
    if not keys:
        raise IndexDamage(f"page {number} is empty")
    if keys[0]:
        raise IndexDamage(f"page {number} begins with a separator")
    return Sketch(level, 0, b"", b"", keys, children), []


def check_sketches(sketches: dict[int, Sketch], shape: Shape) -> Iterator[None]:
    """Whether the pages fit together; a step a page. Errors: index.damaged."""
    left = set(sketches)
    waiting: list[tuple[int, bytes, bytes | None, int | None]] = [(shape.root, b"", None, None)]
    last, count = b"", 0
    while waiting:
        number, low, high, wanted = waiting.pop()
        if number not in left:
            if number == shape.root and not shape.entries and not sketches:
                return
            raise IndexDamage(f"page {number} is not there, or led to twice")
        left.discard(number)
        page = sketches[number]
        if number >= shape.next_page or (wanted is not None and page.level != wanted):
            raise IndexDamage(f"page {number} is on the wrong level, or not given out yet")
        if page.level:
            bounds = [*page.keys[1:], None]
            below = zip(page.children, page.keys, bounds, strict=True)
            children_bounds = [
                (child, key or low, bound if bound is not None else high, page.level - 1)
                for child, key, bound in below
            ]
            waiting.extend(reversed(children_bounds))
        elif page.entries:
            beyond = high is not None and page.last >= high
            if page.first < low or beyond or (last and page.first <= last):
                raise IndexDamage(f"an entry of page {number} does not belong there")
            last = page.last
            count += page.entries
        elif wanted is not None:
            raise IndexDamage(f"page {number} is empty")
        yield None
    if left or count != shape.entries:
        raise IndexDamage(f"{len(left)} pages that nothing leads to, {count} entries")
