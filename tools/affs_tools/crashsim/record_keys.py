"""The oracle of indexes: under which key a file stands, by docs/specs/Indexes.md alone.

Of the query language it knows the few expressions that workloads use, as functions in Python; of
AJIS what is JSON too. Nothing of affs_fuse is used.
"""

import json
import struct
from collections.abc import Callable
from typing import Any

__all__ = ["EXPRESSIONS", "UNSURE", "key_of_content"]

UNSURE = b"\x01"
KEY_MAX = 200
RECORD_BYTES_MAX = 1 << 20


class _Fails(Exception):
    """The expression takes no such value."""


def _field(name: str) -> Callable[[Any], Any]:
    return lambda record: record.get(name) if isinstance(record, dict) else None


def _lower(record: Any) -> Any:
    text = _field("t")(record)
    if text is None:
        return None
    if not isinstance(text, str):
        raise _Fails
    return text.lower()


EXPRESSIONS: dict[str, Callable[[Any], Any]] = {
    "n": _field("n"),
    "t": _field("t"),
    "num": _field("num"),
    "lower(t)": _lower,
    "[n, t]": lambda record: [_field("n")(record), _field("t")(record)],
}
"""By their text."""


def key_of_content(expression: str, content: bytes) -> bytes:
    """Of a file with this content."""
    if len(content) > RECORD_BYTES_MAX:
        return UNSURE
    try:
        value = EXPRESSIONS[expression](json.loads(content))
    except (ValueError, _Fails):
        return UNSURE
    return _key(value)[:KEY_MAX]


def _key(value: Any) -> bytes:
    if value is None:
        return b"\x10"
    if isinstance(value, bool):
        return b"\x20" + bytes([value])
    if isinstance(value, int):
        return b"\x30" + (value + (1 << 63)).to_bytes(8, "big")
    if isinstance(value, float):
        (bits,) = struct.unpack(">Q", struct.pack(">d", value + 0.0))
        bits = bits ^ ((1 << 64) - 1) if bits >> 63 else bits | 1 << 63
        return b"\x40" + int(bits).to_bytes(8, "big")
    if isinstance(value, str):
        return b"\x60" + value.encode().replace(b"\0", b"\0\1") + b"\0\0"
    if isinstance(value, list):
        return b"\x80" + b"".join(map(_key, value)) + b"\0"
    assert isinstance(value, dict), "workloads have no other values"
    names = sorted(value)
    return (
        b"\x90" + b"".join(map(_key, names)) + b"\0" + b"".join(_key(value[n]) for n in names)
        + b"\0"
    )  # fmt: skip
