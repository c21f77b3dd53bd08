"""Whether the items of a directory's indexes agree with each other (docs/specs/DiskLayout.md,
"Index").

Of each index: its pages follow their rules, and what they hold is what the KEYS items of the files
say. What the files themselves say is not known here (query/index_audit.py looks at that). Memory:
some hundred bytes for each page of one directory's indexes; entries and KEYS items are only
summed up.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from affs_fuse.auv import AuvError, Value, decode, encode_canonical
from affs_fuse.volume.index_pages import (
    IndexDamage,
    Shape,
    Sketch,
    check_sketches,
    sketch_page,
)

__all__ = [
    "INDEX_ID_MAX", "IndexCheck", "IndexHead", "declared_problems", "pack_keys", "page_of",
    "split_page", "unpack_keys",
]  # fmt: skip

INDEX_ID_MAX = (1 << 31) - 1
PAGE_BITS = 32
OBJECT_BYTES = 6
EMPTY = Shape()
_MASK = (1 << 64) - 1
_ID_BYTES = 4
_ROW_PREFIX = 6


def page_of(index: int, page: int) -> int:
    """Key offset of a page; page 0 is the head of the index."""
    return index << PAGE_BITS | page


def split_page(offset: int) -> tuple[int, int]:
    """(index, page)."""
    return offset >> PAGE_BITS, offset & ((1 << PAGE_BITS) - 1)


@dataclass(frozen=True, slots=True)
class IndexHead:
    """expression: as declared. built: up to which entry of the directory the files were taken in,
    None: all were. dropped: the index is going, and so far up to which object number; None: it is
    not."""

    expression: str
    shape: Shape = EMPTY
    built: int | None = 0
    dropped: int | None = None

    @property
    def usable(self) -> bool:
        """Whether every file is in it, but those that wait."""
        return self.built is None and self.dropped is None

    def pack(self) -> bytes:
        shape = self.shape
        return encode_canonical({
            "built": self.built, "dropped": self.dropped, "entries": shape.entries,
            "expression": self.expression, "next_page": shape.next_page, "root": shape.root,
        })  # fmt: skip

    @classmethod
    def unpack(cls, payload: bytes) -> "IndexHead":
        """Errors: index.damaged."""
        try:
            value: Value = decode(payload)
        except AuvError as error:
            raise IndexDamage(f"its head is no value: {error.message}") from None
        if not isinstance(value, dict):
            raise IndexDamage("its head is no Object")
        built, dropped = value.get("built"), value.get("dropped")
        shape: list[Any] = [value.get(name) for name in ("root", "next_page", "entries")]
        numbers = [*shape, *(one for one in (built, dropped) if one is not None)]
        text: Any = value.get("expression")
        if type(text) is not str or any(type(one) is not int or one < 0 for one in numbers):
            raise IndexDamage("its head lacks something")
        return cls(text, Shape(*shape), built, dropped)


def pack_keys(keys: dict[int, bytes]) -> bytes:
    """Payload of a KEYS item: the key that each index has of a file."""
    return b"".join(
        index.to_bytes(_ID_BYTES, "little") + len(key).to_bytes(2, "little") + key
        for index, key in sorted(keys.items())
    )


def unpack_keys(payload: bytes) -> dict[int, bytes]:
    """The core has verified its form."""
    found = {}
    at = 0
    while at < len(payload):
        begin = at + _ROW_PREFIX
        end = begin + int.from_bytes(payload[at + _ID_BYTES : begin], "little")
        found[int.from_bytes(payload[at : at + _ID_BYTES], "little")] = payload[begin:end]
        at = end
    return found


def declared_problems(declaration: dict[str, Value]) -> Iterator[str]:
    """What is wrong with what the declaration of a directory says of indexes."""
    if "indexes" not in declaration and "next_index" not in declaration:
        return
    rows, following = declaration.get("indexes"), declaration.get("next_index")
    if type(following) is not int or not isinstance(rows, list):
        yield "`indexes` of the declaration is no Array, or `next_index` no Int64"
        return
    seen: set[int] = set()
    for row in rows:
        number = row.get("id") if isinstance(row, dict) else None
        if not isinstance(row, dict) or type(number) is not int or not 0 < number <= INDEX_ID_MAX:
            yield "the declaration has an index without a number that an index can have"
            continue
        if not (isinstance(row.get("name"), str) and isinstance(row.get("expression"), str)):
            yield f"the declaration of index {number} lacks its name or its expression"
        if number in seen or number >= following:
            yield f"index {number} is declared twice, or was not given out yet"
        seen.add(number)


@dataclass(slots=True)
class IndexCheck:
    """Feed it the INDEX items, then the KEYS items, of one directory in the order of their keys;
    then ask `finish`, or `steps`."""

    heads: dict[int, IndexHead] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    _sketches: dict[int, dict[int, Sketch]] = field(default_factory=dict)
    _sums: dict[int, int] = field(default_factory=dict)
    _broken: set[int] = field(default_factory=set)

    @property
    def any(self) -> bool:
        return bool(self._sketches or self.heads or self.problems or self._sums)

    def take_page(self, offset: int, payload: bytes) -> None:
        index, page = split_page(offset)
        head = self.heads.get(index)
        try:
            if not page:
                self.heads[index] = IndexHead.unpack(payload)
                return
            sketches = self._sketches.setdefault(index, {})
            if head is None or head.dropped is None:
                sketches[page], entries = sketch_page(page, payload)
                for entry in entries:
                    self._add(index, entry, 1)
        except IndexDamage as damage:
            self._complain(index, damage)

    def take_keys(self, number: int, payload: bytes) -> None:
        for index, key in unpack_keys(payload).items():
            self._add(index, key + number.to_bytes(OBJECT_BYTES, "big"), -1)

    def finish(self) -> list[str]:
        """What is wrong, in words."""
        for _ in self.steps():
            pass
        return self.problems

    def steps(self) -> Iterator[None]:
        """The same in small steps; then `problems` has it."""
        for index, head in self.heads.items():
            if head.dropped is not None or index in self._broken:
                continue
            try:
                yield from check_sketches(self._sketches.get(index, {}), head.shape)
            except IndexDamage as damage:
                self._complain(index, damage)
        for index in self._sketches.keys() - self.heads.keys() - self._broken:
            self.problems.append(f"there are pages of index {index}, which has no head")
        for index, total in sorted(self._sums.items()):
            of = self.heads.get(index)
            if of is None and index not in self._sketches:
                self.problems.append(f"there are keys of index {index}, which has no head")
            elif of is not None and of.dropped is None and total and index not in self._broken:
                self.problems.append(f"index {index} and the keys of the files differ")

    def _add(self, index: int, entry: bytes, sign: int) -> None:
        """Sums are 0 exactly when both sides hold the same (but for a chance of one in 2^60)."""
        self._sums[index] = (self._sums.get(index, 0) + sign * hash(entry)) & _MASK

    def _complain(self, index: int, damage: IndexDamage) -> None:
        self._broken.add(index)
        self.problems.append(f"index {index}: {damage.message}")
