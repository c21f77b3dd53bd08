"""The short ways for AJIS documents that are plain JSON, as most stored records are.

Python's own JSON reader is written in C and some twenty times as fast as `ajis`. `parse_quick`
gives exactly what `parse` gives, for every text: what the JSON reader refuses, and whatever it
might take in another way (doubled keys, numbers out of range, escapes of surrogates, great depth,
long keys), goes to `parse`, whose word is final. `format_quick` and `format_json_quick` are the
same for writing.
"""

import json
import math
import re
from collections.abc import Callable
from typing import Any

from affs_fuse.auv.ajis import parse
from affs_fuse.auv.ajis_source import SURROGATE, decode_text
from affs_fuse.auv.ajis_writer import format_compact, format_json
from affs_fuse.auv.limits import DEFAULT_LIMITS
from affs_fuse.auv.values import INT64_MAX, INT64_MIN, Value

__all__ = ["format_json_quick", "format_quick", "parse_quick"]

_NUMBER_LENGTH_MAX = 19
"""Of digits and sign: longer ones may not fit Int64."""

_BRACKETS_MAX = 200
"""Open ones in the whole text; fewer cannot nest deeper than DEFAULT_LIMITS allow. Of more, the
value itself is asked."""

_LENGTH_MAX = 1 << 22
"""Beyond, elements might be over their limit; such texts take the long way."""


class _Doubtful(Exception):
    """The JSON reader would take this, but perhaps not as AJIS does."""


def _integer(text: str) -> int:
    value = int(text)
    if len(text) >= _NUMBER_LENGTH_MAX and not INT64_MIN <= value <= INT64_MAX:
        raise _Doubtful
    return value


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _Doubtful
    return value


def _constant(text: str) -> Any:
    raise _Doubtful


def _object(pairs: list[tuple[str, Value]]) -> dict[str, Value]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise _Doubtful
    return made


_decoder = json.JSONDecoder(
    parse_int=_integer, parse_float=_float, parse_constant=_constant, object_pairs_hook=_object
)
_scan: Callable[[str, int], tuple[Value, int]] = vars(_decoder)["scan_once"]
"""Whatever stands at an index, and where it ends; `decode` does no more but looks for spaces."""


def parse_quick(data: str | bytes) -> Value:
    """As `parse` with DEFAULT_LIMITS. Errors: TextError."""
    text = decode_text(data) if isinstance(data, bytes) else data
    if (
        (isinstance(data, str) and SURROGATE.search(data) is not None)
        or len(text) > _LENGTH_MAX
        or "\\u" in text
        or (len(text) > DEFAULT_LIMITS.key_bytes_max // 4 and _may_be_large(text))
    ):
        return parse(text)
    try:
        value, end = _scan(text, 0)
    except (ValueError, StopIteration, _Doubtful, RecursionError):
        return parse(text)
    if text.count("[") + text.count("{") > _BRACKETS_MAX and not _is_shallow(value):
        return parse(text)
    return value if end == len(text) or not text[end:].strip(" \t\r\n") else parse(text)


def _is_shallow(value: Value) -> bool:
    """Whether it certainly nests no deeper than DEFAULT_LIMITS allow."""
    level = [value]
    for _ in range(_BRACKETS_MAX):
        level = [
            member
            for one in level if isinstance(one, dict | list | tuple)
            for member in (one.values() if isinstance(one, dict) else one)
            if isinstance(member, dict | list | tuple)
        ]  # fmt: skip
        if not level:
            return True
    return False


def _may_be_large(text: str) -> bool:
    """Whether a key may be over its limit: then some run without a quote is as long."""
    limit = DEFAULT_LIMITS.key_bytes_max // 4
    return any(len(part) > limit for part in text.split('"'))


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_DOUBTFUL = re.compile(r"[0-9]e[+-]|[0-9]{19}")
"""Exponents have another form here, and long integers may be none."""
_UNSEEMLY = re.compile("[\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def format_quick(value: Value) -> str:
    """As `format_compact`, of what is known to be a value: it was parsed or decoded, or is made of
    such."""
    text = _plain(value)
    return format_compact(value) if text is None else text


def format_json_quick(value: Value) -> str:
    """As `format_json` on one line, of what is known to be a value."""
    text = _plain(value)
    return format_json(value) if text is None or _UNSEEMLY.search(text) is not None else text


def _plain(value: Value) -> str | None:
    """The text, where Python's writer certainly gives what ours would."""
    try:
        text = _encode(value)
    except (TypeError, ValueError, RecursionError):
        return None
    if (
        _DOUBTFUL.search(text) is not None
        or (not text.isascii() and SURROGATE.search(text) is not None)
        or (len(text) > DEFAULT_LIMITS.key_bytes_max // 4 and _may_be_large(text))
        or len(text) > _LENGTH_MAX
        or (text.count("[") + text.count("{") > _BRACKETS_MAX and not _is_shallow(value))
    ):
        return None
    return text
