"""File names that are made of values: safe, readable, and different for different texts.

docs/specs/Transfer.md, "Names". `/`, NUL and `%` are written as `%2F`, `%00`, `%25`, a name that is
nothing but dots with `%2E` for its first, and a name that is too long ends in `%~` and a hash of
the whole text. Since `%` stands for nothing else, no two texts have one name.
"""

import hashlib

from affs_fuse.auv import Char, Value, format_compact

__all__ = ["NAME_BYTES_MAX", "file_name"]

NAME_BYTES_MAX = 255
_HASH_DIGITS = 32
_KEPT_BYTES = NAME_BYTES_MAX - _HASH_DIGITS - 2
_ESCAPES = str.maketrans({"%": "%25", "/": "%2F", "\0": "%00"})


def file_name(value: Value) -> str | None:
    """The name for a String, Int64, Float64, Bool or Char; None for what makes no name."""
    if isinstance(value, Char):
        value = value.text
    if isinstance(value, bool | int | float):
        value = format_compact(value)
    if not isinstance(value, str) or not value:
        return None
    name = value.translate(_ESCAPES)
    if name in (".", ".."):
        name = "%2E" + name[1:]
    encoded = name.encode()
    if len(encoded) <= NAME_BYTES_MAX:
        return name
    digits = hashlib.sha256(value.encode()).hexdigest()[:_HASH_DIGITS]
    return f"{_kept(encoded)}%~{digits}"


def _kept(encoded: bytes) -> str:
    """The beginning of a name, cut between characters and not inside of an escape."""
    kept = encoded[:_KEPT_BYTES].decode("utf-8", "ignore")
    cut = kept.rfind("%", len(kept) - 2)
    return kept[:cut] if cut >= 0 else kept
