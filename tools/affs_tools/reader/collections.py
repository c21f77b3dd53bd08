"""What the items of a directory say of its records: its declaration, and its indexes.

Written from docs/specs/DiskLayout.md, "Collection" and "Index". Where the items come from is
somebody else's: the namespace of an image, or whatever else has them. Nothing is trusted: what
breaks a rule is a `Damage`.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from affs_tools.reader.image import Item
from affs_tools.reader.structures import Damage, Record
from affs_tools.reader.values import read_value

__all__ = ["PART_SIZE", "Collections", "ItemsOf"]

COLLECTIONS = 3
COLLECTION_TYPE, INDEX_TYPE, INDEX_KEYS_TYPE, INDEX_PENDING_TYPE = 9, 10, 11, 12
PART_SIZE = 4096
LEVELS_MAX = 12
HEAD = {"built", "dropped", "entries", "expression", "next_page", "root"}
OBJECT_BYTES = 6

ItemsOf = Callable[[int, int], Iterable[Item]]
"""The items of one type under a number, in order."""

Entry = tuple[bytes, int]
"""(key, file)."""


class Collections:
    """Of one state. Errors of all methods: Damage."""

    def __init__(self, items_of: ItemsOf) -> None:
        self._items_of = items_of

    def directories(self) -> list[int]:
        """Those with a declaration, by the list."""
        return [item.offset for item in self._items_of(COLLECTIONS, COLLECTION_TYPE)]

    def declaration(self, number: int) -> Record | None:
        """Of a directory; None if it has none."""
        parts = [(item.offset, item.payload) for item in self._items_of(number, COLLECTION_TYPE)]
        if not parts:
            return None
        whole = all(len(data) == PART_SIZE for _, data in parts[:-1])
        if [index for index, _ in parts] != list(range(len(parts))) or not whole:
            raise Damage(f"directory {number}: a part of its declaration is missing")
        value = read_value(b"".join(data for _, data in parts))
        if not isinstance(value, dict):
            raise Damage(f"directory {number}: its declaration is no Object")
        return value

    def heads(self, number: int) -> dict[int, Record]:
        """Of the indexes that a directory has anything of, declared or not."""
        return {index: _head(number, index, pages) for index, pages in self._pages(number).items()}

    def index(self, number: int, index: int) -> list[Entry]:
        """All entries of an index of a directory, in order; its pages follow their rules."""
        pages = self._pages(number).get(index, {})
        head = _head(number, index, pages)
        del pages[0]
        if not head["entries"] and not pages:
            return []
        seen: set[int] = set()
        rows = list(_rows(pages, head["root"], None, seen))
        if seen != set(pages):
            raise Damage(f"directory {number}: index {index} has pages that nothing leads to")
        if max(seen) >= head["next_page"] or len(rows) != head["entries"]:
            raise Damage(f"directory {number}: the head of index {index} counts otherwise")
        if any(not one < other for one, other in pairwise(rows)):
            raise Damage(f"directory {number}: index {index} is out of order")
        return [(row[:-OBJECT_BYTES], int.from_bytes(row[-OBJECT_BYTES:], "big")) for row in rows]

    def _pages(self, number: int) -> dict[int, dict[int, bytes]]:
        found: dict[int, dict[int, bytes]] = {}
        for item in self._items_of(number, INDEX_TYPE):
            pages = found.setdefault(item.offset >> 32, {})
            pages[item.offset & 0xFFFFFFFF] = item.payload
        return found

    def keys(self, number: int) -> dict[int, dict[int, bytes]]:
        """What the KEYS items of a directory say: file, then index, then key."""
        found: dict[int, dict[int, bytes]] = {}
        for item in self._items_of(number, INDEX_KEYS_TYPE):
            rest = item.payload
            keys: dict[int, bytes] = {}
            while rest:
                index, length = struct.unpack_from("<IH", rest)
                keys[index], rest = rest[6 : 6 + length], rest[6 + length :]
            found[item.offset] = keys
        return found

    def pending(self, number: int) -> list[int]:
        """Files that wait to be taken in by the indexes of a directory."""
        return [item.offset for item in self._items_of(number, INDEX_PENDING_TYPE)]


def _head(number: int, index: int, pages: dict[int, bytes]) -> Record:
    if 0 not in pages:
        raise Damage(f"directory {number}: index {index} has no head")
    head = read_value(pages[0])
    if not isinstance(head, dict) or set(head) != HEAD:
        raise Damage(f"directory {number}: the head of index {index} is none")
    return head


def _rows(
    pages: dict[int, bytes], page: int, wanted: int | None, seen: set[int]
) -> Iterator[bytes]:
    """The rows of all leaves below a page, which is on the wanted level."""
    payload = pages.get(page)
    if payload is None or page in seen:
        raise Damage(f"page {page} of an index is not there, or led to twice")
    seen.add(page)
    level, zero, count = struct.unpack_from("<BBH", payload)
    if zero or level > LEVELS_MAX or (wanted is not None and level != wanted):
        raise Damage(f"page {page} of an index is on the wrong level")
    at = 4 + 2 * count
    for length in struct.unpack_from(f"<{count}H", payload, 4):
        row = payload[at : at + length]
        at += length
        if level:
            yield from _rows(pages, int.from_bytes(row[-4:], "little"), level - 1, seen)
        else:
            yield row
    if at != len(payload):
        raise Damage(f"page {page} of an index has another length than its rows")
