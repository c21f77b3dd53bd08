"""The values of the system tree, read from docs/specs/AUV.md, "Wire form", and written as AJIS.

Part of the second reader: it shares no code with `affs_fuse.auv`. A payload is small (4352 bytes at
most), so reading it may recurse, but no deeper than DEPTH_MAX.
"""

import json
import math
import struct
from typing import Any

from affs_tools.reader.structures import Damage

__all__ = ["Character", "read_value", "write_value"]

DEPTH_MAX = 256
FIXED = {
    0xCB: ">d", 0xCC: ">B", 0xCD: ">H", 0xCE: ">I", 0xCF: ">Q",
    0xD0: ">b", 0xD1: ">h", 0xD2: ">i", 0xD3: ">q",
}
LENGTHS = {1: ">B", 2: ">H", 4: ">I"}
SIZED: dict[int, tuple[str, int]] = {
    0xC4: ("binary", 1), 0xC5: ("binary", 2), 0xC6: ("binary", 4),
    0xD9: ("string", 1), 0xDA: ("string", 2), 0xDB: ("string", 4),
    0xDC: ("array", 2), 0xDD: ("array", 4), 0xDE: ("object", 2), 0xDF: ("object", 4),
}
CHARACTER_BYTES = {0xD4: 1, 0xD5: 2, 0xD6: 4}


class Character(str):
    """A value of the type Char."""

    __slots__ = ()


def read_value(payload: bytes) -> Any:
    """The one value that payload is. Errors: Damage."""
    try:
        value, end = _read(payload, 0, 0)
    except (struct.error, IndexError, UnicodeDecodeError, RecursionError) as error:
        raise Damage(f"no value: {error}") from error
    if end != len(payload):
        raise Damage(f"no value: {len(payload) - end} bytes follow it")
    return value


def _read(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    first = data[at]
    at += 1
    if first <= 0x7F or first >= 0xE0:
        return first - 256 * (first >= 0xE0), at
    if first in (0xC0, 0xC2, 0xC3):
        return {0xC0: None, 0xC2: False, 0xC3: True}[first], at
    if first in FIXED:
        (value,) = struct.unpack_from(FIXED[first], data, at)
        return value, at + struct.calcsize(FIXED[first])
    if first in CHARACTER_BYTES or first == 0xC7:
        return _character(data, at, first)
    return _sized(data, at, first, depth)


def _character(data: bytes, at: int, first: int) -> tuple[Character, int]:
    length = CHARACTER_BYTES.get(first, 0)
    if not length:
        length, at = data[at], at + 1
    text = _piece(data, at + 1, length).decode()
    if data[at] != 1 or len(text) != 1:
        raise Damage("no value: an extension that is no character")
    return Character(text), at + 1 + length


def _sized(data: bytes, at: int, first: int, depth: int) -> tuple[Any, int]:
    if first in SIZED:
        kind, width = SIZED[first]
        (count,) = struct.unpack_from(LENGTHS[width], data, at)
        at += width
    elif first <= 0x8F:
        kind, count = "object", first & 15
    elif first <= 0x9F:
        kind, count = "array", first & 15
    elif first <= 0xBF:
        kind, count = "string", first & 31
    else:
        raise Damage(f"no value: byte {first:#x} begins none")
    if kind == "binary":
        return _piece(data, at, count), at + count
    if kind == "string":
        return _piece(data, at, count).decode(), at + count
    if depth >= DEPTH_MAX or count > len(data):
        raise Damage("no value: too deep, or more members than bytes")
    members = []
    for _ in range(count if kind == "array" else 2 * count):
        member, at = _read(data, at, depth + 1)
        members.append(member)
    if kind == "array":
        return members, at
    keys = members[::2]
    if not all(type(key) is str for key in keys) or len({*keys}) != len(keys):
        raise Damage("no value: keys have to be strings, each once")
    return dict(zip(keys, members[1::2], strict=True)), at


def _piece(data: bytes, at: int, length: int) -> bytes:
    piece = data[at : at + length]
    if len(piece) != length:
        raise Damage("no value: it ends too early")
    return piece


def write_value(value: Any) -> str:
    """As AJIS in one line, in the order of keys that it has; nothing in it is raw control text."""
    if isinstance(value, Character):
        return f"U+{ord(value):04X}"
    if isinstance(value, bytes):
        return f'hex"{value.hex().upper()}"'
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    if isinstance(value, list):
        return "[" + ",".join(map(write_value, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{write_value(v)}" for k, v in value.items()) + "}"
    return json.dumps(value)
