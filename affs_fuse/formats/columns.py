"""The fields of CSV as values: what a text means, and how a value is written.

docs/specs/Transfer.md, "CSV". A declaration is a list such as `guess,id=string,born=integer`: a
word alone is for all columns, NAME=TYPE for one. Without any, every field is a String as it stands.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from affs_fuse.auv import INT64_MAX, INT64_MIN, TextError, Value, format_compact, parse_quick
from affs_fuse.errors import AffsError, Category

__all__ = ["TYPES", "Columns", "FieldProblem", "absent", "field_text", "parse_types"]

TYPES = {
    "string": "a String, as it stands",
    "integer": "an Int64 in decimal digits",
    "number": "a Float64, also where the text has no point",
    "bool": "true or false",
    "guess": "null, true, false, and numbers as JSON writes them; else a String",
    "ajis": "an AJIS value",
}

_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_WORDS: dict[str, Value] = {"true": True, "false": False, "null": None}


class _Absent:
    """The field is not there."""


absent = _Absent()


class FieldProblem(Exception):
    """A text that its type does not take."""


def _integer(text: str) -> Value:
    if _INTEGER.fullmatch(text) is None:
        raise FieldProblem("expected an integer")
    return _in_range(int(text))


def _in_range(value: int) -> int:
    if not INT64_MIN <= value <= INT64_MAX:
        raise FieldProblem("an integer out of the range of Int64")
    return value


def _number(text: str) -> Value:
    if text in ("inf", "-inf", "nan"):
        return float(text)
    if _NUMBER.fullmatch(text) is None:
        raise FieldProblem("expected a number")
    return float(text)


def _bool(text: str) -> Value:
    if text not in ("true", "false"):
        raise FieldProblem("expected true or false")
    return text == "true"


def _guess(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text) is not None:
        value = int(text)
        return value if text != "-0" and INT64_MIN <= value <= INT64_MAX else text
    if _NUMBER.fullmatch(text) is not None and math.isfinite(float(text)):
        return float(text)
    return text


def _ajis(text: str) -> Value:
    try:
        return parse_quick(text)
    except TextError as error:
        raise FieldProblem(f"expected {error.expected}") from None


_READERS: dict[str, Callable[[str], Value]] = {
    "integer": _integer, "number": _number, "bool": _bool, "guess": _guess, "ajis": _ajis,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Columns:
    """default: the type of columns that `named` does not have."""

    default: str = "string"
    named: tuple[tuple[str, str], ...] = ()

    def reader(self, column: str) -> Callable[[str], Value] | None:
        """What turns a text into the value; None where it is the value. A text of no characters is
        absent for all but Strings."""
        read = _READERS.get(dict(self.named).get(column, self.default))
        if read is None:
            return None
        return lambda text: read(text) if text else absent


def parse_types(text: str) -> Columns:
    """invalid: import.types."""
    default, named = "string", {}
    for part in text.split(",") if text else ():
        name, equals, kind = part.rpartition("=")
        kind = kind.strip().lower()
        if kind not in TYPES or (equals and name.strip() in named):
            twice = "there twice" if kind in TYPES else f"no type; they are {', '.join(TYPES)}"
            raise AffsError(
                "import.types", Category.INVALID, f"{part.strip()!r} in the types is {twice}",
                hint="such as string, guess, ajis, or guess,id=string,born=integer",
            )  # fmt: skip
        if equals:
            named[name.strip()] = kind
        else:
            default = kind
    return Columns(default, tuple(named.items()))


def field_text(value: Value, kind: str) -> str:
    """A value as the text of a field. kind: string (Strings as they stand) or ajis. FieldProblem:
    what the field cannot hold."""
    if kind == "ajis":
        return format_compact(value)
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool | int | float):
        return format_compact(value)
    words: dict[type, str] = {list: "an Array", dict: "an Object", bytes: "a Binary"}
    word = words.get(type(value), "a Char")
    raise FieldProblem(f"{word} does not go into a field of CSV")
