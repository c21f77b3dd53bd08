"""The functions of queries (docs/specs/QueryLanguage.md, "Functions").

Each declares how many arguments it takes and of which types; Null as an argument gives Null, unless
the function says that it takes Null. A result that could grow is measured before it is made. What a
function does not take is a `Misuse`, to which the expression adds its place.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from affs_fuse.auv import INT64_MAX, INT64_MIN, Char, Value, format_compact, parse
from affs_fuse.auv.errors import AuvError
from affs_fuse.query.ordering import compare_values, key_of, text_type

__all__ = ["FUNCTIONS", "TEXT_MAX", "Function", "Misuse", "integer_in_range"]

TEXT_MAX = 1 << 20
"""Scalars of a String, and elements of an Array, that a function may make."""

SECOND_NS = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Misuse(Exception):
    """code: query.value, query.overflow or query.limit."""

    def __init__(self, message: str, code: str = "query.value") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


@dataclass(frozen=True, slots=True)
class Function:
    """types: of each argument, the last one for all further ones; () for any. least, most: how many
    arguments. takes_null: Null is an argument like others. usage: for messages and the spec."""

    name: str
    usage: str
    least: int
    most: int
    types: tuple[tuple[type, ...], ...]
    call: Callable[..., Value]
    takes_null: bool = False


def integer_in_range(value: int) -> int:
    """The value if it fits Int64. Misuse: query.overflow."""
    if INT64_MIN <= value <= INT64_MAX:
        return value
    raise Misuse(f"{value} does not fit Int64", "query.overflow")


def _bounded(size: int) -> None:
    if size > TEXT_MAX:
        message = f"the result would have {size} characters or elements"
        raise Misuse(f"{message}, the limit is {TEXT_MAX}", "query.limit")


# ---- strings ----


def _substring(text: str, start: int, count: int = TEXT_MAX) -> str:
    if start < 0:
        start = max(0, len(text) + start)
    return text[start : start + count] if count > 0 else ""


def _contains(whole: Value, part: Value) -> bool:
    if isinstance(whole, list):
        wanted = key_of(part)
        return any(key_of(one) == wanted for one in whole)
    if not isinstance(part, str):
        raise Misuse(f"a String contains Strings, not {text_type(part)}")
    return part in whole


def _replace(text: str, old: str, new: str) -> str:
    if not old:
        raise Misuse("what is to be replaced is the empty text")
    _bounded(len(text) + text.count(old) * (len(new) - len(old)))
    return text.replace(old, new)


def _split(text: str, separator: str) -> list[Value]:
    if not separator:
        raise Misuse("the separator is the empty text")
    _bounded(text.count(separator) + 1)
    return list(text.split(separator))


def _join(parts: list[Value], separator: str) -> str:
    for part in parts:
        if not isinstance(part, str):
            raise Misuse(f"joins Strings, and the Array has {text_type(part)}")
    _bounded(sum(map(len, parts)) + len(separator) * max(0, len(parts) - 1))
    return separator.join(parts)


def _string(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, Char):
        return value.text
    text = format_compact(value)
    _bounded(len(text))
    return text


# ---- numbers ----


def _integer(value: Value) -> int:
    if isinstance(value, str):
        value = _number_in(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise Misuse("inf and nan are no integers")
        return integer_in_range(int(value))
    return int(value)


def _float(value: Value) -> float:
    return float(_number_in(value) if isinstance(value, str) else value)


def _number_in(text: str) -> int | float:
    try:
        value = parse(text)
    except AuvError:
        value = None
    if type(value) not in (int, float):
        raise Misuse(f"{text[:40]!r} is no number")
    number: int | float = value
    return number


def _rounded(how: Callable[[float], int]) -> Callable[[Value], Value]:
    def run(value: Value) -> Value:
        if isinstance(value, int):
            return value
        if not math.isfinite(value):
            raise Misuse("inf and nan cannot be rounded")
        return integer_in_range(how(value))

    return run


def _round(value: Value, digits: int = 0) -> Value:
    if isinstance(value, int) or not math.isfinite(value):
        return value
    if not 0 <= digits <= 15:
        raise Misuse("rounds to 0 to 15 digits")
    return round(value, digits)


def _sqrt(value: Value) -> float:
    if value < 0:
        raise Misuse("there is no root of a negative number")
    return math.sqrt(value)


def _extreme(sign: int) -> Callable[..., Value]:
    def run(*values: Value) -> Value:
        best = values[0]
        for value in values[1:]:
            if compare_values(value, best) * sign > 0:
                best = value
        return best

    return run


# ---- times: Int64, nanoseconds since 1970, UTC ----


def _time(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise Misuse(f"{text[:40]!r} is no time; one is written 2026-11-28T12:00:00Z") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    span = moment - _EPOCH
    micros = (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds
    return integer_in_range(micros * 1000)


def _moment(time_ns: int) -> datetime:
    return _EPOCH + timedelta(microseconds=time_ns // 1000)


def _iso(time_ns: int) -> str:
    fraction = time_ns % SECOND_NS
    text = _moment(time_ns).strftime("%m-%dT%H:%M:%S")
    shown = f".{fraction:09d}".rstrip("0") if fraction else ""
    return f"{_moment(time_ns).year:04d}-{text}{shown}Z"


def _part(name: str) -> Callable[[int], int]:
    return lambda time_ns: int(getattr(_moment(time_ns), name))


def _duration(seconds: int) -> Callable[[Value], int]:
    def run(count: Value) -> int:
        if isinstance(count, float) and not math.isfinite(count):
            raise Misuse("inf and nan are no durations")
        return integer_in_range(int(count * seconds * SECOND_NS))

    return run


# ---- the rest ----


def _length(value: Value) -> int:
    return len(value)


def _coalesce(*values: Value) -> Value:
    return next((value for value in values if value is not None), None)


def _if(condition: Value, then: Value, otherwise: Value = None) -> Value:
    if condition is not None and not isinstance(condition, bool):
        raise Misuse(f"a condition is a Bool, not {text_type(condition)}")
    return then if condition else otherwise


_TEXT = ((str,),)
_NUMBER = ((int, float),)
_TIME = ((int,),)
_ANY: tuple[tuple[type, ...], ...] = ()
MANY = 32


def _declared() -> list[Function]:
    def one(
        usage: str, least: int, most: int, types: Any, call: Any, null: bool = False
    ) -> Function:
        return Function(usage.partition("(")[0], usage, least, most, types, call, null)

    strings = [
        one("lower(text)", 1, 1, _TEXT, str.lower),
        one("upper(text)", 1, 1, _TEXT, str.upper),
        one("trim(text)", 1, 1, _TEXT, str.strip),
        one("substring(text, start, count)", 2, 3, ((str,), (int,)), _substring),
        one("starts_with(text, part)", 2, 2, _TEXT, str.startswith),
        one("ends_with(text, part)", 2, 2, _TEXT, str.endswith),
        one("contains(text or array, part)", 2, 2, ((str, list), ()), _contains),
        one("replace(text, old, new)", 3, 3, _TEXT, _replace),
        one("split(text, separator)", 2, 2, _TEXT, _split),
        one("join(array, separator)", 2, 2, ((list,), (str,)), _join),
        one("string(value)", 1, 1, _ANY, _string),
        one("length(value)", 1, 1, ((str, bytes, list, dict),), _length),
    ]
    numbers = [
        one(
            "abs(x)",
            1,
            1,
            _NUMBER,
            lambda x: abs(x) if isinstance(x, float) else integer_in_range(abs(x)),
        ),
        one("round(x, digits)", 1, 2, ((int, float), (int,)), _round),
        one("floor(x)", 1, 1, _NUMBER, _rounded(math.floor)),
        one("ceil(x)", 1, 1, _NUMBER, _rounded(math.ceil)),
        one("sqrt(x)", 1, 1, _NUMBER, _sqrt),
        one("integer(x)", 1, 1, ((int, float, str, bool),), _integer),
        one("float(x)", 1, 1, ((int, float, str),), _float),
        one("least(a, b, ...)", 1, MANY, _ANY, _extreme(-1)),
        one("greatest(a, b, ...)", 1, MANY, _ANY, _extreme(1)),
    ]
    times = [
        one("time(text)", 1, 1, _TEXT, _time),
        one("iso(time)", 1, 1, _TIME, _iso),
        *[
            one(f"{name}(time)", 1, 1, _TIME, _part(name))
            for name in ("year", "month", "day", "hour", "minute", "second")
        ],
        one("weekday(time)", 1, 1, _TIME, lambda time_ns: _moment(time_ns).isoweekday()),
        *[
            one(f"{name}(count)", 1, 1, _NUMBER, _duration(seconds))
            for name, seconds in (
                ("days", 86_400),
                ("hours", 3600),
                ("minutes", 60),
                ("seconds", 1),
            )
        ],
    ]
    others = [
        one("type(value)", 1, 1, _ANY, text_type, True),
        one("keys(object)", 1, 1, ((dict,),), lambda value: sorted(value)),
        one("coalesce(a, b, ...)", 1, MANY, _ANY, _coalesce, True),
        one("if(condition, then, else)", 2, 3, _ANY, _if, True),
    ]
    return strings + numbers + times + others


FUNCTIONS: dict[str, Function] = {one.name: one for one in _declared()}
"""By name; `now()` is not here, because its value belongs to the query."""
