"""Values to bytes and back: a MessagePack profile (docs/specs/AUV.md, "Wire form").

`msgpack` does the coding; what the project adds is the guard on both sides (`values.normal` before
writing, `scan.scan` before reading). Invariant: decode(encode(v)) equals v, and equal values have
the same `encode_canonical`.
"""

from typing import Any

import msgpack

from affs_fuse.auv.limits import DEFAULT_LIMITS, Limits
from affs_fuse.auv.scan import CHAR_EXTENSION, scan
from affs_fuse.auv.values import Char, Value, normal
from affs_fuse.auv.wire_quick import DOUBTFUL, pack_quick, unpack_quick

__all__ = ["decode", "encode", "encode_canonical"]


def encode(value: Value, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The wire form, Object keys in the order they have, -0.0 kept; ValueFault for what is no
    value.
    """
    quick = pack_quick(value, limits)
    return quick if quick is not None else _pack(normal(value, limits, char=_extension))


def encode_canonical(value: Value, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """The one wire form that all values equal to this one share; for hashing and comparing."""
    return _pack(normal(value, limits, canonical=True, char=_extension))


def decode(data: bytes | bytearray | memoryview, limits: Limits = DEFAULT_LIMITS) -> Value:
    """The value that data is, with lists for Arrays; WireError and nothing else for all other
    bytes.

    Limits are checked before any value is built. All NaNs are one value: the bits of one read are
    no part of it, and both encoders write the canonical NaN.
    """
    image = bytes(data)
    quick = unpack_quick(image, limits)
    if quick is not DOUBTFUL:
        return quick
    scan(image, limits)
    return msgpack.unpackb(image, raw=False, strict_map_key=True, ext_hook=_char)


def _pack(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def _extension(value: Char) -> msgpack.ExtType:
    return msgpack.ExtType(CHAR_EXTENSION, value.text.encode("utf-8"))


def _char(kind: int, data: bytes) -> Char:
    assert kind == CHAR_EXTENSION, "the scan lets no other extension pass"
    return Char(data.decode("utf-8"))
