"""Lies about collections and indexes: declarations that are none, lists that know more or less than
the directories, heads, pages and keys of indexes that contradict each other or the records.
"""

import struct
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from affs_fuse.auv import decode, encode_canonical
from affs_fuse.core.constants import (
    ITEM_COLLECTION,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
    OBJECT_COLLECTIONS,
)
from affs_fuse.core.tree import Item
from affs_tools.crashsim.recipes import Recipe, dropped, edit, newest, with_payload
from affs_tools.crashsim.surgeon import Surgeon

__all__ = ["record_recipes"]

PAGE_MASK = 0xFFFFFFFF
LAST = (1 << 64) - 1
Rows = list[bytes]


def _is_head(item: Item) -> bool:
    return not item[2] & PAGE_MASK


def _is_page(item: Item) -> bool:
    return not _is_head(item)


def _is_leaf(item: Item) -> bool:
    return _is_page(item) and item[3][0] == 0


def _is_inner(item: Item) -> bool:
    return _is_page(item) and item[3][0] > 0


def _any(item: Item) -> bool:
    return True


def _instead(payload: bytes) -> Callable[[bytes], bytes]:
    return lambda old: payload


def _at_offset(offset: int) -> Callable[[Item], Item]:
    return lambda item: (*item[:2], offset, item[3])


def _told(
    name: str,
    kind: int,
    change: Callable[[bytes], bytes | None],
    which: Callable[[Item], bool] = _any,
    *,
    found: bool = True,
    count: int = 1,
) -> Recipe:
    """The first `count` such items of the working state get what `change` makes of their payload;
    None: they go."""

    def tell(surgeon: Surgeon) -> None:
        left = count

        def changed(item: Item) -> Item | None:
            nonlocal left
            if not left or not which(item):
                return item
            left -= 1
            payload = change(item[3])
            return None if payload is None else with_payload(item, payload)

        edit(surgeon, newest(surgeon), changed, kind, 1000)

    return Recipe(name, tell, found)


def _moved(
    name: str, kind: int, change: Callable[[Item], Item], *, found: bool = True, count: int = 1
) -> Recipe:
    """The first items get another key; a leaf is in order afterwards."""

    def tell(surgeon: Surgeon) -> None:
        left = count
        for index in newest(surgeon):
            items = []
            for item in surgeon.items(index):
                if left and item[1] == kind and item[0] != OBJECT_COLLECTIONS:
                    left -= 1
                    item = change(item)
                items.append(item)
            surgeon.put_items(index, sorted(items, key=lambda item: item[:3]))

    return Recipe(name, tell, found)


def _added(name: str, item: Item, *, found: bool = True) -> Recipe:
    """One item more, where it belongs."""

    def tell(surgeon: Surgeon) -> None:
        leaves = newest(surgeon)
        fitting = [one for one in leaves if surgeon.items(one)[0][:3] <= item[:3]]
        index = fitting[-1] if fitting else leaves[0]
        items = [*surgeon.items(index), item]
        surgeon.put_items(index, sorted(items, key=lambda one: one[:3]))

    return Recipe(name, tell, found)


# ---- declarations ----


def _object(change: Callable[[dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """An Object in binary form, changed in place or replaced by what comes back."""

    def changed(payload: bytes) -> bytes:
        value = decode(payload)
        assert isinstance(value, dict)
        made = change(value)
        return encode_canonical(value if made is None else made)

    return changed


def _put(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda value: value.update(fields)


def _is_declaration(item: Item) -> bool:
    return item[0] != OBJECT_COLLECTIONS and b"indexes" in item[3]


def _declaration(name: str, found: bool = True, **fields: Any) -> Recipe:
    change = _object(_put(**fields))
    return _told(f"collection/{name}", ITEM_COLLECTION, change, _is_declaration, found=found)


def _row(title: str, found: bool = True, /, **fields: Any) -> Recipe:
    """Of the first index that is declared."""

    def change(value: dict[str, Any]) -> None:
        value["indexes"][0].update(fields)

    made = _object(change)
    return _told(f"collection/{title}", ITEM_COLLECTION, made, _is_declaration, found=found)


def _declarations() -> Iterator[Recipe]:
    for payload in (b"\xc1", b"\xc0", b"\x90", b"\x01", b"\x81\xa1a", b"\xde\xff\xff", bytes(40)):
        yield _told(
            f"collection/is-{payload[:4].hex()}-{len(payload)}", ITEM_COLLECTION,
            _instead(payload), _is_declaration,
        )  # fmt: skip
    for name, value in (("null", None), ("text", "x"), ("number", 7), ("array", [1, None, "x"])):
        for key in ("indexes", "schema", "version", "evolving", "next_index"):
            wrong = key in ("indexes", "next_index")
            yield _declaration(f"{key}-is-{name}", found=wrong and value != 7, **{key: value})
    for following in (-1, 0, 1, 1 << 31, 1 << 62):
        yield _declaration(f"next_index-{following}", following < 3, next_index=following)
    for number in (-1, 0, 2, 99, 1 << 31, 1 << 40, "x", None, 1.5, True):
        yield _row(f"index-id-{number}", id=number)
    for text in ("", "(", "@size", "n +", "1", "no_such(n)", "n" * 1001, "t", "[n, [n, [n]]]"):
        yield _row(f"index-expression-{text[:12]}-{len(text)}", expression=text)
    for text in ("", "x" * 5000, "\x1b[2J", "lower(t)"):
        yield _row(f"index-name-{text[:4].encode().hex()}-{len(text)}", False, name=text)
    yield _declaration("schema-deep", False, schema=_deep(100))
    pattern = {"fields": {"t": {"pattern": "(a*)*b" * 20}}}
    yield _declaration("schema-pattern", False, schema=pattern)
    yield _declaration("many-indexes", indexes=[
        {"id": number, "name": str(number), "expression": "n"} for number in range(1, 60)
    ])  # fmt: skip
    yield _declaration("evolving-nonsense", False, evolving=["rename", 7, None, "drop"])
    for kind in (0, 1):
        yield Recipe(f"collection/part-{kind}-gone", partial(_part_gone, part=kind))
    yield _moved("collection/part-7", ITEM_COLLECTION, _at_offset(7))
    yield Recipe("collection/list-gone", partial(_list, change=lambda number: None))
    yield Recipe("collection/list-of-others", partial(_list, change=lambda number: number + 1))
    for number in (0, 1, 2, 3, 1 << 40, LAST):
        item = OBJECT_COLLECTIONS, ITEM_COLLECTION, number, b""
        yield _added(f"collection/listed-{number}", item)


def _deep(levels: int) -> Any:
    return {"fields": {"a": _deep(levels - 1)}} if levels else "Int64"


def _part_gone(surgeon: Surgeon, part: int) -> None:
    """Of the declaration that has two."""
    large = {
        item[0]
        for index in newest(surgeon)
        for item in surgeon.items(index)
        if item[1] == ITEM_COLLECTION and item[2] == 1 and item[0] != OBJECT_COLLECTIONS
    }
    edit(
        surgeon, newest(surgeon),
        lambda item: None if item[0] in large and item[2] == part else item, ITEM_COLLECTION, 1000,
    )  # fmt: skip


def _list(surgeon: Surgeon, change: Callable[[int], int | None]) -> None:
    def changed(item: Item) -> Item | None:
        if item[0] != OBJECT_COLLECTIONS:
            return item
        number = change(item[2])
        return None if number is None else (item[0], item[1], number, item[3])

    edit(surgeon, newest(surgeon), changed, ITEM_COLLECTION, 1000)


# ---- heads ----


def _head(name: str, found: bool = True, **fields: Any) -> Recipe:
    return _told(f"index/head-{name}", ITEM_INDEX, _object(_put(**fields)), _is_head, found=found)


def _heads() -> Iterator[Recipe]:
    for payload in (b"", b"\xc1", b"\xc0", b"\x90", b"\x80", b"\x81\xa1a", b"\xdf" + b"\xff" * 4):
        yield _told(
            f"index/head-is-{payload[:3].hex()}", ITEM_INDEX, _instead(payload), _is_head
        )  # fmt: skip
    for root in (0, 2, 3, 7, 1 << 31, 1 << 40, -1, None, "x"):
        yield _head(f"root-{root}", root=root)
    for entries in (0, 1, 1000, 1 << 62, -1, None):
        yield _head(f"entries-{entries}", entries=entries)
    for page in (0, 1, -1, None):
        yield _head(f"next_page-{page}", next_page=page)
    yield _head("next_page-far", found=False, next_page=1 << 31)
    for built in (0, 1, (1 << 63) - 1, -1, "x"):
        yield _head(f"built-{built}", found=built in (-1, "x"), built=built)
    for dropped_to in (0, 1, 1 << 47, -1, "x"):
        yield _head(f"dropped-{dropped_to}", found=dropped_to in (-1, "x"), dropped=dropped_to)
    for text in ("", "t", "(", "n" * 2000, None, 7):
        yield _head(f"expression-{str(text)[:4]}", expression=text)
    yield _told("index/head-gone", ITEM_INDEX, lambda old: None, _is_head)
    yield _told("index/heads-gone", ITEM_INDEX, lambda old: None, _is_head, count=9)


# ---- pages ----


def _rows_of(payload: bytes) -> tuple[int, Rows]:
    level, _, count = struct.unpack_from("<BBH", payload)
    at, rows = 4 + 2 * count, []
    for length in struct.unpack_from(f"<{count}H", payload, 4):
        rows.append(payload[at : at + length])
        at += length
    return level, rows


def _with_rows(change: Callable[[Rows], Rows]) -> Callable[[bytes], bytes]:
    def changed(payload: bytes) -> bytes:
        level, rows = _rows_of(payload)
        rows = change(rows)
        lengths = struct.pack(f"<{len(rows)}H", *map(len, rows))
        return struct.pack("<BBH", level, 0, len(rows)) + lengths + b"".join(rows)

    return changed


def _bytes_at(at: int, data: bytes) -> Callable[[bytes], bytes]:
    return lambda old: old[:at] + data + old[at + len(data) :]


def _page(
    name: str, change: Callable[[bytes], bytes | None], which: Callable[[Item], bool] = _is_leaf,
    *, count: int = 1,
) -> Recipe:  # fmt: skip
    return _told(f"index/page-{name}", ITEM_INDEX, change, which, count=count)


def _cut_at(length: int) -> Callable[[bytes], bytes]:
    return lambda old: old[:length]


def _as_page(number: int) -> Callable[[Item], Item]:
    """All pages have one number; heads stay."""
    return lambda item: (
        item if _is_head(item) else (*item[:2], item[2] & ~PAGE_MASK | number, item[3])
    )


def _of_index(number: int) -> Callable[[Item], Item]:
    return lambda item: (*item[:2], number << 32 | item[2] & PAGE_MASK, item[3])


def _child(number: int) -> Callable[[bytes], bytes]:
    """Every row of an inner page leads there."""
    return _with_rows(lambda rows: [row[:-4] + number.to_bytes(4, "little") for row in rows])


def _pages() -> Iterator[Recipe]:
    for level in (1, 2, 12, 13, 255):
        yield _page(f"level-{level}", _bytes_at(0, bytes([level])))
    yield _page("inner-is-leaf", _bytes_at(0, b"\0"), _is_inner)
    yield _page("reserved", _bytes_at(1, b"\1"))
    for count in (0, 1, 1000, 65535):
        yield _page(f"count-{count}", _bytes_at(2, struct.pack("<H", count)))
    for length in (0, 1, 5, 4000, 65535):
        yield _page(f"length-{length}", _bytes_at(4, struct.pack("<H", length)))
    for cut in (0, 1, 3, 4, 9):
        yield _page(f"cut-{cut}", _cut_at(cut))
    yield _page("longer", lambda old: old + b"x")
    yield _page("gone", lambda old: None)
    yield _page("all-gone", lambda old: None, _is_page, count=99)
    yield _page("inner-gone", lambda old: None, _is_inner)
    changes: dict[str, Callable[[Rows], Rows]] = {
        "no-rows": lambda rows: [],
        "row-gone": lambda rows: rows[1:],
        "row-twice": lambda rows: [rows[0], *rows],
        "backwards": lambda rows: rows[::-1],
        "other-file": lambda rows: [rows[0][:-1] + b"\xfe", *rows[1:]],
        "no-such-file": lambda rows: [*rows[:-1], rows[-1][:-6] + b"\xff" * 6],
        "other-key": lambda rows: [*rows[:-1], b"\x70" + rows[-1][1:]],
        "no-key": lambda rows: [rows[0][-6:], *rows[1:]],
        "short-row": lambda rows: [b"\x10", *rows],
        "long-key": lambda rows: [*rows, b"\x90" * 900 + rows[-1]],
        "zero-key": lambda rows: [b"\0" + rows[0], *rows],
    }
    for name, change in changes.items():
        yield _page(name, _with_rows(change))
    for number in (0, 1, 2, 3, 4, 9, PAGE_MASK):
        yield _page(f"all-lead-to-{number}", _child(number), _is_inner)
    yield _page("inner-no-rows", _with_rows(lambda rows: []), _is_inner)
    yield _page("inner-backwards", _with_rows(lambda rows: rows[::-1]), _is_inner)
    yield _page("inner-row-gone", _with_rows(lambda rows: rows[1:]), _is_inner)
    yield _page(
        "separator-high",
        _with_rows(lambda rows: [*rows[:-1], b"\xff" * 8 + rows[-1][-4:]]), _is_inner,
    )  # fmt: skip
    yield _page(
        "separator-low", _with_rows(lambda rows: [rows[0], *(b"\1" + r[-4:] for r in rows[1:])]),
        _is_inner,
    )  # fmt: skip
    yield _page(
        "first-separator", _with_rows(lambda rows: [b"\x55" + rows[0], *rows[1:]]), _is_inner
    )
    for page in (0, 2, 77, PAGE_MASK):
        yield _moved(f"index/page-is-{page}", ITEM_INDEX, _as_page(page), count=99)
    for index in (0, 7, (1 << 31) - 1, PAGE_MASK):
        yield _moved(f"index/all-of-index-{index}", ITEM_INDEX, _of_index(index), count=99)


# ---- keys, and what waits ----


def _keys(name: str, change: Callable[[bytes], bytes | None], count: int = 1) -> Recipe:
    return _told(f"index/keys-{name}", ITEM_INDEX_KEYS, change, count=count)


def _key_row(index: int, key: bytes) -> bytes:
    return struct.pack("<IH", index, len(key)) + key


def _keys_and_pending() -> Iterator[Recipe]:
    yield _keys("gone", lambda old: None)
    yield _keys("all-gone", lambda old: None, 99)
    for index in (0, 5, (1 << 31) - 1, PAGE_MASK):
        yield _keys(f"index-{index}", _bytes_at(0, struct.pack("<I", index)))
    for length in (0, 1, 201, 65535):
        yield _keys(f"length-{length}", _bytes_at(4, struct.pack("<H", length)))
    yield _keys("cut", lambda old: old[:5])
    yield _keys("other", lambda old: old[:7] + bytes([old[7] ^ 1]) + old[8:])
    yield _keys("twice", lambda old: old + old)
    yield _keys("more", lambda old: old + _key_row(60, b"\x10"))
    yield _keys("long", lambda old: old + _key_row(60, b"\x10" * 250))
    yield _keys("exchanged", lambda old: _key_row(1, b"\x10") + _key_row(2, b"\x10"))
    for number in (0, 1, 2, 17, 1 << 47, LAST):
        yield _moved(f"index/keys-of-{number}", ITEM_INDEX_KEYS, _at_offset(number))
        yield _moved(f"index/pending-{number}", ITEM_INDEX_PENDING, _at_offset(number))
    yield Recipe("index/key-lost-with-its-entry", _lost)
    for key in ("00", "20", "2000ff", "3000", "30" + "ff" * 12, "40", "4000", "50", "50ffffff",
                "5000d800", "50ffffffffff", "60", "60ff0000", "60c3", "70", "80", "90", "ff"):
        yield Recipe(f"index/every-key-{key}", partial(_every_key, key=bytes.fromhex(key)))
    yield _told("index/pending-with-payload", ITEM_INDEX_PENDING, lambda old: b"x")
    yield dropped(ITEM_INDEX_PENDING, "pending")
    for kind, name in ((ITEM_INDEX, "index"), (ITEM_INDEX_KEYS, "keys"), (ITEM_COLLECTION, "part")):
        yield dropped(kind, name, count=1000)


def _every_key(surgeon: Surgeon, key: bytes) -> None:
    """All files stand under this one, in pages and keys alike."""

    def keys(item: Item) -> Item:
        rest, made = item[3], b""
        while rest:
            index, length = struct.unpack_from("<IH", rest)
            made += _key_row(index, key)
            rest = rest[6 + length :]
        return with_payload(item, made)

    def page(item: Item) -> Item:
        if not _is_leaf(item):
            return item
        return with_payload(
            item, _with_rows(lambda rows: sorted(key + row[-6:] for row in rows))(item[3])
        )

    edit(surgeon, newest(surgeon), keys, ITEM_INDEX_KEYS, 1000)
    edit(surgeon, newest(surgeon), page, ITEM_INDEX, 1000)


def _lost(surgeon: Surgeon) -> None:
    """A file is missing in pages and keys alike: they agree with each other, not with the file."""
    gone: list[bytes] = []

    def keys(item: Item) -> Item | None:
        if gone or item[2] in waiting:
            return item
        rest = item[3]
        while rest:
            _, length = struct.unpack_from("<IH", rest)
            gone.append(rest[6 : 6 + length] + item[2].to_bytes(6, "big"))
            rest = rest[6 + length :]
        return None

    def page(item: Item) -> Item:
        if _is_head(item):
            value = decode(item[3])
            assert isinstance(value, dict)
            return with_payload(item, encode_canonical({**value, "entries": value["entries"] - 1}))
        if not _is_leaf(item):
            return item
        return with_payload(
            item, _with_rows(lambda rows: [row for row in rows if row not in gone])(item[3])
        )

    waiting = {
        item[2]
        for index in newest(surgeon)
        for item in surgeon.items(index)
        if item[1] == ITEM_INDEX_PENDING
    }
    edit(surgeon, newest(surgeon), keys, ITEM_INDEX_KEYS, 1000)
    edit(surgeon, newest(surgeon), page, ITEM_INDEX, 1000)


def record_recipes() -> list[Recipe]:
    """All that were made by hand about collections and indexes."""
    return [*_declarations(), *_heads(), *_pages(), *_keys_and_pending()]
