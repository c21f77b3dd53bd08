"""The short way for the wire form of small values, as most messages are.

`msgpack` alone is several times as fast as with the guard around it. What is small can break no
limit but that of depth; what remains to be checked is looked at here, and whatever is not plainly
right goes the long way, whose word is final: `encode` and `decode` give the same with this and
without, errors too.
"""

from typing import Any

import msgpack

from affs_fuse.auv.limits import Limits
from affs_fuse.auv.values import INT64_MAX, INT64_MIN, Value

__all__ = ["DOUBTFUL", "pack_quick", "unpack_quick"]

DOUBTFUL: Any = object()
"""Instead of a result: go the long way."""

_DEPTH_MAX = 32
_SCALARS = frozenset((str, bool, bytes, type(None)))


def pack_quick(value: Value, limits: Limits) -> bytes | None:
    """As `wire.encode`; None for what has to go the long way."""
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (ValueError, OverflowError, TypeError):
        return None
    # What is large is not looked at here and then once more.
    small = len(packed) <= limits.least
    return packed if small and _plain(value, min(limits.depth_max, _DEPTH_MAX)) else None


def unpack_quick(data: bytes, limits: Limits) -> Value:
    """As `wire.decode`; DOUBTFUL for what has to go the long way."""
    if len(data) > limits.least:
        return DOUBTFUL
    try:
        value = msgpack.unpackb(data, raw=False, strict_map_key=True, ext_hook=_no_extension)
        # Bytes that are not the shortest form, doubled keys and the like come out otherwise.
        if msgpack.packb(value, use_bin_type=True) != data:
            return DOUBTFUL
    except (ValueError, OverflowError, TypeError, msgpack.UnpackException):
        return DOUBTFUL
    return value if _plain(value, min(limits.depth_max, _DEPTH_MAX)) else DOUBTFUL


def _no_extension(kind: int, data: bytes) -> Any:
    raise ValueError("a Char, or nothing of ours")


def _plain(value: Any, depth: int) -> bool:
    """Whether a value is made of the plain types alone, its numbers are in range and none is NaN.
    depth: of containers that may be open at once."""
    kind = type(value)
    if kind is dict:
        if not depth:
            return False
        for key in value:
            if type(key) is not str:
                return False
        members = value.values()
    elif kind is list:
        if not depth:
            return False
        members = value
    else:
        members = (value,)
        depth = 0
    for member in members:
        kind = type(member)
        if kind in _SCALARS:
            continue
        if kind is int:
            if not INT64_MIN <= member <= INT64_MAX:
                return False
        elif kind is float:
            if member != member:
                return False
        elif (kind is not dict and kind is not list) or not _plain(member, depth - 1):
            return False
    return True
