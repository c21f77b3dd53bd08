"""The leaves of a record with their places, as `update` writes them (docs/specs/Records.md).

A leaf is a scalar, or an Array or Object that is empty. Elements are counted from 0.
"""

import re
from collections.abc import Iterator

from affs_fuse.auv import Value, format_compact
from affs_fuse.query.lexer import KEYWORDS

__all__ = ["leaves"]

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def leaves(value: Value) -> Iterator[tuple[str, Value]]:
    """(place, leaf) in the order of the record; of one that is a leaf itself, `$`. Not
    recursive."""
    waiting: list[tuple[str, Value]] = [("$", value)]
    while waiting:
        place, one = waiting.pop()
        if isinstance(one, dict) and one:
            waiting += [(_key(place, key), member) for key, member in reversed(one.items())]
        elif isinstance(one, list) and one:
            waiting += [
                (f"{place}[{index}]", one[index]) for index in range(len(one) - 1, -1, -1)
            ]
        else:
            yield place, one


def _key(place: str, key: str) -> str:
    plain = _NAME.fullmatch(key) is not None and key.lower() not in KEYWORDS
    if not plain:
        return f"{place}[{format_compact(key)}]"
    return key if place == "$" else f"{place}.{key}"
