"""Values as keys: for sorting, grouping, joining and telling apart.

`key_of` maps a value to nested tuples whose order, equality and hash are those of the value
(docs/specs/AUV.md, "Order"): one walk instead of one for each comparison. `size_of` says about how
much memory a value takes.
"""

from typing import Any

from affs_fuse.auv import Char, Value, compare

__all__ = ["Descending", "compare_values", "key_of", "size_of", "text_type"]

Key = tuple[Any, ...]

_NULL: Key = (0,)
_TYPE_WORDS = {
    type(None): "Null", bool: "Bool", int: "Int64", float: "Float64", Char: "Char",
    str: "String", bytes: "Binary", list: "Array", dict: "Object",
}  # fmt: skip


def text_type(value: Value) -> str:
    """The name of a value's type."""
    return _TYPE_WORDS[type(value)]


def key_of(value: Value) -> Key:
    """The value's key. Values are of plain types, as the decoders give them."""
    kind = type(value)
    if kind is str:
        return (5, value)
    if kind is int:
        return (2, value)
    if value is None:
        return _NULL
    if kind is float:
        return (3, 1, 0.0) if value != value else (3, 0, value)
    if kind is bool:
        return (1, value)
    if kind is list:
        return (7, tuple([key_of(one) for one in value]))
    if kind is dict:
        keys = sorted(value)
        return (8, tuple(keys), tuple([key_of(value[key]) for key in keys]))
    if kind is bytes:
        return (6, value)
    assert kind is Char, f"no value: {kind}"
    return (4, value.text)


def compare_values(left: Value, right: Value) -> int:
    """-1, 0 or 1; scalars of one type take the short way."""
    kind = type(left)
    if kind is type(right) and (kind is int or kind is str):
        return int(left > right) - int(left < right)
    return compare(left, right)


class Descending:
    """A key that stands the other way round."""

    __slots__ = ("key",)

    def __init__(self, key: Key) -> None:
        self.key = key

    def __lt__(self, other: "Descending") -> bool:
        return other.key < self.key

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Descending) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


_SCALAR_BYTES = 32
_STRING_BYTES = 56
_ARRAY_BYTES = 64
_OBJECT_BYTES = 184
_ENTRY_BYTES = 60


def size_of(value: Value) -> int:
    """Bytes that the value takes in memory, roughly; strings count by their scalars."""
    kind = type(value)
    if kind is str or kind is bytes:
        return _STRING_BYTES + len(value)
    if kind is dict:
        total = _OBJECT_BYTES
        for member in value.values():
            total += _ENTRY_BYTES + size_of(member)
        return total
    if kind is list:
        total = _ARRAY_BYTES
        for member in value:
            total += 8 + size_of(member)
        return total
    return _SCALAR_BYTES
