"""Arithmetic on values: Int64 stays Int64 and must fit, Float64 takes Int64 along, Null gives Null.

`+` also joins two Strings or two Arrays. `/` gives Float64; `div` and `%` are of integers and round
down.
"""

from collections.abc import Callable
from typing import Any

from affs_fuse.auv import INT64_MAX, INT64_MIN, Value
from affs_fuse.query.faults import Span, Trouble
from affs_fuse.query.functions import TEXT_MAX
from affs_fuse.query.ordering import text_type

__all__ = ["negation", "operation"]

_Run = Callable[[Any], Value]


def negation(operand: _Run, span: Span) -> _Run:
    def negate(row: Any) -> Value:
        value = operand(row)
        kind = type(value)
        if kind is float:
            return -value
        if kind is int:
            return _fitting(-value, span)
        if value is None:
            return None
        raise Trouble("query.value", span, f"- does not take {text_type(value)}")

    return negate


def operation(operator: str, left: _Run, right: _Run, span: Span) -> _Run:
    """operator: + - * / div %."""
    integers, floats = _INTEGERS[operator], _FLOATS.get(operator)

    def calculate(row: Any) -> Value:
        one, other = left(row), right(row)
        if one is None or other is None:
            return None
        kinds = type(one), type(other)
        if kinds == (int, int):
            if other == 0 and operator in ("/", "div", "%"):
                raise Trouble("query.value", span, "division by zero")
            result = integers(one, other)
            return result if operator == "/" else _fitting(result, span)
        if floats is not None and kinds[0] in (int, float) and kinds[1] in (int, float):
            if other == 0 and operator == "/":
                raise Trouble("query.value", span, "division by zero")
            try:
                return floats(float(one), float(other))
            except OverflowError:
                raise Trouble("query.overflow", span, "the result does not fit Float64") from None
        if operator == "+" and kinds in ((str, str), (list, list)):
            if len(one) + len(other) > TEXT_MAX:
                raise Trouble("query.limit", span, f"the result would be longer than {TEXT_MAX}")
            return one + other
        words = f"{text_type(one)} and {text_type(other)}"
        raise Trouble("query.value", span, f"{operator} does not take {words}")

    return calculate


def _fitting(value: int, span: Span) -> int:
    if INT64_MIN <= value <= INT64_MAX:
        return value
    raise Trouble(
        "query.overflow", span, f"{value} does not fit Int64", "float(x) makes a Float64 of it"
    )


_INTEGERS: dict[str, Callable[[int, int], Any]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
    "div": lambda one, other: one // other,
    "%": lambda one, other: one % other,
}
_FLOATS: dict[str, Callable[[float, float], float]] = {
    "+": lambda one, other: one + other,
    "-": lambda one, other: one - other,
    "*": lambda one, other: one * other,
    "/": lambda one, other: one / other,
}
