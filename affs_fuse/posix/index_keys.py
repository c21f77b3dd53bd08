"""Values as bytes that sort as the values do: the keys of an index (docs/specs/Indexes.md, "Keys").

The order of the bytes is AUV's total order of the values. No key begins another one, so an entry
(a key and an object number behind it) sorts by its key first. A key has at most KEY_MAX bytes: of a
longer value it is the beginning, so different values may share a key, and who looks for a value has
to look at what it finds. UNSURE stands below all values.
"""

import math
import struct
from typing import Any, NamedTuple

from affs_fuse.auv import Char, Value
from affs_fuse.core.constants import INDEX_KEY_MAX
from affs_fuse.volume.index_pages import IndexDamage

__all__ = [
    "BEYOND", "KEY_MAX", "UNSURE", "UNTOLD", "Range", "above", "below", "entry_of", "equal_to",
    "key_of_entry", "key_of_value", "object_of_entry", "prefixed_by", "range_of_key",
    "value_of_key",
]  # fmt: skip

KEY_MAX = INDEX_KEY_MAX
"""Bytes of a key; at least nine entries fit a page."""

OBJECT_BYTES = 6
UNSURE = b"\x01"
"""The key of a file that is no record, or whose value could not be worked out: look at it."""

UNTOLD: Any = object()
"""What a key does not tell (`value_of_key`)."""

BEYOND = b"\xff" * (OBJECT_BYTES + 1)
"""Behind a key, above every entry that has it."""

_NULL, _BOOL, _INT64, _FLOAT64, _CHAR, _STRING, _BINARY, _ARRAY, _OBJECT = range(0x10, 0xA0, 0x10)
_END = 0
_SIGN = 1 << 63
_pack_u64 = struct.Struct(">Q").pack
_pack_double = struct.Struct(">d").pack
_unpack_double = struct.Struct(">d").unpack
_unpack_u64 = struct.Struct(">Q").unpack
_NAN = b"\xff" * 8


class Range(NamedTuple):
    """Entries from low up to, not including, high. It has every value that it is the range of;
    where keys were cut short, perhaps others."""

    low: bytes
    high: bytes

    @property
    def empty(self) -> bool:
        return self.low >= self.high


def key_of_value(value: Value) -> bytes:
    """The key of a value of plain types, as the decoders give them."""
    made = bytearray()
    _append(made, value)
    return bytes(made[:KEY_MAX])


def value_of_key(key: bytes) -> Any:
    """The value that has this key, exactly as it stands in the record; UNTOLD where the key does
    not tell that: it was cut short, it is of an Array or an Object (whose fields have an order of
    their own), or of the zero of Float64, which has two forms. Errors: index.damaged, for what is
    no value's key."""
    kind, rest = key[0], key[1:]
    if len(key) >= KEY_MAX:
        return UNTOLD
    try:
        if kind == _STRING:
            return rest[:-2].replace(b"\0\1", b"\0").decode()
        if kind == _INT64:
            return _unpack_u64(rest)[0] - _SIGN
        if kind == _NULL:
            return None
        if kind == _BOOL:
            return bool(rest[0])
        if kind == _FLOAT64:
            return _value_of_double(rest)
        if kind == _CHAR:
            return Char(rest.rjust(4, b"\0").decode("utf-32-be"))
        if kind == _BINARY:
            return rest[:-2].replace(b"\0\1", b"\0")
    except (ValueError, IndexError, struct.error):
        raise IndexDamage(f"no value has the key {key.hex()}") from None
    return UNTOLD


def entry_of(key: bytes, number: int) -> bytes:
    """What an index holds for an object."""
    return key + number.to_bytes(OBJECT_BYTES, "big")


def key_of_entry(entry: bytes) -> bytes:
    return entry[:-OBJECT_BYTES]


def object_of_entry(entry: bytes) -> int:
    return int.from_bytes(entry[-OBJECT_BYTES:], "big")


# ---- ranges ----


def range_of_key(key: bytes) -> Range:
    """All entries with this key."""
    return Range(key, key + BEYOND)


def equal_to(value: Value) -> Range:
    return range_of_key(key_of_value(value))


def below(value: Value, *, including: bool) -> Range:
    """All values up to this one. Null is the lowest."""
    key = key_of_value(value)
    whole = len(key) < KEY_MAX
    return Range(bytes([_NULL]), key + BEYOND if including or not whole else key)


def above(value: Value, *, including: bool) -> Range:
    """All values from this one on."""
    key = key_of_value(value)
    whole = len(key) < KEY_MAX
    return Range(key if including or not whole else key + BEYOND, b"\xff")


def prefixed_by(text: str) -> Range:
    """All Strings that begin with this text."""
    low = bytes([_STRING]) + _escaped(text.encode())
    return Range(low[:KEY_MAX], low[:KEY_MAX] + BEYOND)


# ---- encoding ----


def _append(made: bytearray, value: Any) -> None:
    """Recursive: a value is at most as deep as AUV lets it be. Stops once there is enough."""
    kind = type(value)
    if kind is str:
        made.append(_STRING)
        _append_bytes(made, value.encode())
    elif kind is int:
        made.append(_INT64)
        made += _pack_u64(value + _SIGN)
    elif value is None:
        made.append(_NULL)
    elif kind is bool:
        made += bytes((_BOOL, value))
    elif kind is float:
        made.append(_FLOAT64)
        made += _double(value)
    elif kind is Char:
        made.append(_CHAR)
        made += value.code_point.to_bytes(3, "big")
    elif kind is bytes:
        made.append(_BINARY)
        _append_bytes(made, value)
    elif kind is list:
        made.append(_ARRAY)
        _append_all(made, value)
    else:
        assert kind is dict, f"no value: {kind}"
        made.append(_OBJECT)
        keys = sorted(value)
        _append_all(made, keys)
        _append_all(made, [value[key] for key in keys])


def _append_all(made: bytearray, members: list[Any]) -> None:
    """Members, each above the end: so a prefix stands before what it begins."""
    for member in members:
        if len(made) > KEY_MAX:
            return
        _append(made, member)
    made.append(_END)


def _append_bytes(made: bytearray, data: bytes) -> None:
    made += _escaped(data[:KEY_MAX])
    made += b"\0\0"


def _escaped(data: bytes) -> bytes:
    """Two zeros end a text, so a zero in it becomes zero and one."""
    return data.replace(b"\0", b"\0\1") if b"\0" in data else data


def _double(value: float) -> bytes:
    """The zeros are equal, all NaNs are one and above everything."""
    if value != value:
        return _NAN
    bits: int = _unpack_u64(_pack_double(value + 0.0))[0]
    return _pack_u64(bits ^ (2**64 - 1) if bits & _SIGN else bits | _SIGN)


def _value_of_double(data: bytes) -> Any:
    """UNTOLD for a zero."""
    if data == _NAN:
        return math.nan
    bits = int.from_bytes(data, "big")
    bits = bits ^ _SIGN if bits & _SIGN else bits ^ (2**64 - 1)
    value: float = _unpack_double(_pack_u64(bits))[0]
    return value if value else UNTOLD
