"""Values to AJIS text, and to plain JSON (docs/specs/AJIS.md, "Canonical text" and "Other forms").

Invariants: parse(format(v)) equals v for every form but JSON's; equal values have the same
`format_canonical`; `format_pretty` and `format_json` put no control character on a terminal.
ValueFault for what is no value. Not recursive.
"""

import binascii
import re
from collections.abc import Callable, Iterator
from typing import Any

from affs_fuse.auv.limits import DEFAULT_LIMITS, Limits
from affs_fuse.auv.values import Char, Type, Value, normal, type_of

__all__ = ["format_canonical", "format_compact", "format_json", "format_pretty"]

_CONTROL = re.compile(r'["\\\x00-\x1f]')
# Besides: DEL, C1 controls, line and paragraph separators, marks of the writing direction.
_UNSEEMLY = re.compile(
    '["\\\\\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]'
)
_SHORT_ESCAPES = {
    '"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t",
}  # fmt: skip


def format_canonical(value: Value, limits: Limits = DEFAULT_LIMITS) -> str:
    """The one text that all values equal to this one share: no white space, keys in byte order."""
    return _write(normal(value, limits, canonical=True), None, _scalar(_CONTROL))


def format_compact(value: Value, limits: Limits = DEFAULT_LIMITS) -> str:
    """No white space; keys in the order they have, -0.0 kept."""
    return _write(normal(value, limits), None, _scalar(_CONTROL))


def format_pretty(value: Value, indent: int = 2, limits: Limits = DEFAULT_LIMITS) -> str:
    """For people: a line per element, keys in the order they have, controls escaped. No last LF."""
    return _write(normal(value, limits), indent, _scalar(_UNSEEMLY))


def format_json(value: Value, indent: int | None = None, limits: Limits = DEFAULT_LIMITS) -> str:
    """Plain JSON for programs that read nothing else; on one line when indent is None.

    What JSON lacks becomes a typed wrapper: {"$t":"char","$v":"A"}, {"$t":"binary","$v":BASE64},
    {"$t":"float","$v":"nan"}.
    """
    return _write(normal(value, limits), indent, _json_scalar)


def _write(value: Value, indent: int | None, scalar: Callable[[Value], str]) -> str:
    """value is normal. One iterator per open container."""
    pieces: list[str] = []
    frames: list[tuple[Iterator[Any], str]] = []
    comma = "," if indent is None else ",\n"
    colon = ":" if indent is None else ": "

    def start(member: Value) -> bool:
        """Write a scalar or an empty container, or enter a container."""
        if isinstance(member, list):
            members, brackets = iter(member), "[]"
        elif isinstance(member, dict):
            members, brackets = iter(member.items()), "{}"
        else:
            pieces.append(scalar(member))
            return False
        if not member:
            pieces.append(brackets)
            return False
        pieces.append(brackets[0] if indent is None else brackets[0] + "\n")
        frames.append((members, brackets[1]))
        return True

    def margin() -> str:
        return " " * (indent * len(frames)) if indent is not None else ""

    entered = start(value)
    while frames:
        members, bracket = frames[-1]
        member = next(members, _END)
        if member is _END:
            frames.pop()
            pieces.append(bracket if indent is None else f"\n{margin()}{bracket}")
            entered = False
            continue
        lead = margin() if entered else comma + margin()
        if bracket == "}":
            key, member = member
            lead += scalar(key) + colon
        pieces.append(lead)
        entered = start(member)
    return "".join(pieces)


_END: Any = object()


def _scalar(escaped: re.Pattern[str]) -> Callable[[Value], str]:
    def write(value: Value) -> str:
        return _SCALARS[type_of(value)](value, escaped)

    return write


def _escape(match: re.Match[str]) -> str:
    letter = match.group()
    return _SHORT_ESCAPES.get(letter) or f"\\u{ord(letter):04x}"


def _string(value: str, escaped: re.Pattern[str]) -> str:
    return f'"{escaped.sub(_escape, value)}"'


def _char(value: Char, escaped: re.Pattern[str]) -> str:
    if value.text == '"':
        return "'\"'"
    if value.text == "'":
        return "'\\u0027'"
    return f"'{escaped.sub(_escape, value.text)}'"


def _float(value: float, escaped: re.Pattern[str]) -> str:
    """The shortest digits that read back as the same number; `.`, `e`, inf or nan is in it."""
    if value != value:
        return "nan"
    text = repr(value)
    if "e" not in text:
        return text
    digits, exponent = text.split("e")
    return f"{digits}e{int(exponent)}"


def _hex(value: bytes, escaped: re.Pattern[str]) -> str:
    return f'hex"{value.hex().upper()}"'


_SCALARS: dict[Type, Callable[[Any, re.Pattern[str]], str]] = {
    Type.NULL: lambda value, escaped: "null",
    Type.BOOL: lambda value, escaped: "true" if value else "false",
    Type.INT64: lambda value, escaped: str(value),
    Type.FLOAT64: _float,
    Type.CHAR: _char,
    Type.STRING: _string,
    Type.BINARY: _hex,
}


def _json_scalar(value: Value) -> str:
    kind = type_of(value)
    text = _SCALARS[kind](value, _UNSEEMLY)
    if kind is Type.CHAR:
        return f'{{"$t":"char","$v":{_string(value.text, _UNSEEMLY)}}}'
    if kind is Type.BINARY:
        return f'{{"$t":"binary","$v":"{binascii.b2a_base64(value, newline=False).decode()}"}}'
    if kind is Type.FLOAT64 and text.lstrip("-") in ("inf", "nan"):
        return f'{{"$t":"float","$v":"{text}"}}'
    return text
