"""Equality and the total order of values (docs/specs/AUV.md, "Equality" and "Order").

Python's own `==` mixes 1, 1.0 and True and denies NaN; nothing here uses it across types. Both
walks are iterative, so a deep value costs no stack. The arguments are values already checked
(`values.check`); ValueFault for an object of no AUV type.
"""

from collections.abc import Callable, Iterator
from functools import cmp_to_key
from itertools import chain
from typing import Any

from affs_fuse.auv.values import Char, Type, Value, type_of

__all__ = ["compare", "equal", "sort_key"]


def equal(first: Value, second: Value) -> bool:
    """True exactly when `compare` is 0 and when the canonical encodings are the same bytes."""
    return compare(first, second) == 0


def compare(first: Value, second: Value) -> int:
    """-1, 0 or 1: where first stands against second in the total order."""
    walk: list[Iterator[tuple[Value, Value]]] = [iter(((first, second),))]
    while walk:
        pair = next(walk[-1], None)
        if pair is None:
            walk.pop()
            continue
        left, right = pair
        kind = type_of(left)
        other = type_of(right)
        if kind is not other:
            return -1 if kind < other else 1
        if kind is Type.ARRAY:
            walk.append(_array_pairs(left, right))
        elif kind is Type.OBJECT:
            walk.append(_object_pairs(left, right))
        else:
            result = _SCALAR_ORDER[kind](left, right)
            if result:
                return result
    return 0


sort_key: Callable[[Value], Any] = cmp_to_key(compare)
"""sorted(values, key=sort_key) sorts by the total order."""


def _array_pairs(left: Value, right: Value) -> Iterator[tuple[Value, Value]]:
    """Members first, then the counts: a prefix stands before what it begins."""
    return chain(zip(left, right, strict=False), ((len(left), len(right)),))


def _object_pairs(left: Value, right: Value) -> Iterator[tuple[Value, Value]]:
    left_keys = sorted(left)
    right_keys = sorted(right)
    if left_keys != right_keys:
        return iter(((left_keys, right_keys),))
    return ((left[key], right[key]) for key in left_keys)


def _natural(left: Any, right: Any) -> int:
    return int(left > right) - int(left < right)


def _float_order(left: float, right: float) -> int:
    """Equal zeros, NaN equal to NaN and above everything."""
    left_nan = left != left
    right_nan = right != right
    if left_nan or right_nan:
        return int(left_nan) - int(right_nan)
    return _natural(left, right)


def _char_order(left: Char, right: Char) -> int:
    return _natural(left.code_point, right.code_point)


_SCALAR_ORDER: dict[Type, Callable[[Any, Any], int]] = {
    Type.NULL: lambda left, right: 0,
    Type.BOOL: _natural,
    Type.INT64: _natural,
    Type.FLOAT64: _float_order,
    Type.CHAR: _char_order,
    # Code point order of str is byte order of its UTF-8 form.
    Type.STRING: _natural,
    Type.BINARY: _natural,
}
