"""The closed value model in Python (docs/specs/AUV.md, "Types").

Null None, Bool bool, Int64 int, Float64 float, Char `Char`, String str, Binary bytes, Array list
(a tuple is accepted), Object dict with str keys. Invariants that `normal` establishes for whatever
it returns: ints fit Int64, every str is valid Unicode, no value is deeper or larger than the
limits, and the result shares no mutable part with its argument.
"""

import math
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import Any, TypeAlias

from affs_fuse.auv.errors import ValueFault, printable
from affs_fuse.auv.limits import DEFAULT_LIMITS, Limits

__all__ = ["INT64_MAX", "INT64_MIN", "Char", "Type", "Value", "check", "normal", "type_of"]

INT64_MIN = -(1 << 63)
INT64_MAX = (1 << 63) - 1

Value: TypeAlias = Any
"""None, bool, int, float, Char, str, bytes, list, tuple or dict of these. Recursive, so `Any` to
mypy.
"""


class Type(IntEnum):
    """The types in their total order (docs/specs/AUV.md, "Order")."""

    NULL = 0
    BOOL = 1
    INT64 = 2
    FLOAT64 = 3
    CHAR = 4
    STRING = 5
    BINARY = 6
    ARRAY = 7
    OBJECT = 8


class Char:
    """One Unicode scalar: a code point that is no surrogate. Immutable, hashable, no str."""

    __slots__ = ("_text",)
    _text: str

    def __init__(self, text: str) -> None:
        """text: exactly one scalar; otherwise ValueFault."""
        if len(text) != 1 or "\ud800" <= text <= "\udfff":
            raise ValueFault("char", "$", f"{printable(text[:8])!r} is not one Unicode scalar")
        object.__setattr__(self, "_text", text)

    @property
    def text(self) -> str:
        return self._text

    @property
    def code_point(self) -> int:
        return ord(self._text)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a Char cannot be changed ({name})")

    def __reduce__(self) -> tuple[type["Char"], tuple[str]]:
        return Char, (self._text,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Char) and self._text == other._text

    def __hash__(self) -> int:
        return hash((Char, self._text))

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"Char({self._text!r})"


def type_of(value: Value) -> Type:
    """The type of one value, contents not looked at; ValueFault when it has none."""
    found = _EXACT_TYPES.get(type(value))
    if found is not None:
        return found
    for kind, result in _SUBCLASS_TYPES:
        if isinstance(value, kind):
            return result
    raise ValueFault("type", "$", f"a Python {type(value).__name__} is no AUV value")


_EXACT_TYPES: dict[type, Type] = {
    type(None): Type.NULL,
    bool: Type.BOOL,
    int: Type.INT64,
    float: Type.FLOAT64,
    Char: Type.CHAR,
    str: Type.STRING,
    bytes: Type.BINARY,
    list: Type.ARRAY,
    tuple: Type.ARRAY,
    dict: Type.OBJECT,
}
_SUBCLASS_TYPES: tuple[tuple[type, Type], ...] = (
    (int, Type.INT64),
    (float, Type.FLOAT64),
    (Char, Type.CHAR),
    (str, Type.STRING),
    (bytes, Type.BINARY),
    (list, Type.ARRAY),
    (tuple, Type.ARRAY),
    (dict, Type.OBJECT),
)


def check(value: Value, limits: Limits = DEFAULT_LIMITS) -> None:
    """ValueFault unless value is one AUV value within limits."""
    normal(value, limits)


def normal(
    value: Value,
    limits: Limits = DEFAULT_LIMITS,
    *,
    canonical: bool = False,
    char: Callable[[Char], Any] = lambda value: value,
) -> Value:
    """A checked deep copy made of plain types: list for Array, NaN canonical.

    canonical: Object keys ascend by their UTF-8 bytes and -0.0 becomes 0.0, so that equal values
    have equal copies. char: what stands for a Char in the copy. Raises ValueFault; a cyclic value
    is one that is too deep. Not recursive.
    """
    return _Normaliser(limits, canonical, char).run(value)


class _Normaliser:
    """One walk: a frame per open container, the copy being filled as the walk goes."""

    def __init__(self, limits: Limits, canonical: bool, char: Callable[[Char], Any]) -> None:
        self._limits = limits
        self._canonical = canonical
        self._char = char
        self._element_count = 0
        self._frames: list[tuple[Iterator[Any], list[Any] | dict[str, Any]]] = []
        self._path: list[str | int] = []

    def run(self, value: Value) -> Value:
        result = self._one(value)
        while self._frames:
            members, target = self._frames[-1]
            if isinstance(target, list):
                self._fill_array(members, target)
            else:
                self._fill_object(members, target)
        return result

    def _fill_array(self, members: Iterator[Any], target: list[Any]) -> None:
        """Copy members until one opens a container or they end."""
        depth = len(self._frames)
        for member in members:
            self._path[-1] = len(target)
            target.append(self._one(member))
            if len(self._frames) != depth:
                return
        self._close()

    def _fill_object(self, members: Iterator[Any], target: dict[str, Any]) -> None:
        depth = len(self._frames)
        for key, member in members:
            self._path[-1] = key
            target[key] = self._one(member)
            if len(self._frames) != depth:
                return
        self._close()

    def _close(self) -> None:
        self._frames.pop()
        self._path.pop()

    def _one(self, value: Value) -> Value:
        """The copy of a scalar, or an empty container that the walk goes on to fill."""
        kind = _EXACT_TYPES.get(type(value))
        if kind is None:
            kind = self._kind(value)
        if kind is Type.STRING:
            return self._string(str.__str__(value), "string", self._limits.string_bytes_max)
        if kind is Type.INT64:
            if not INT64_MIN <= value <= INT64_MAX:
                raise self._fault("integer", "the integer does not fit Int64")
            return int(value)
        if kind is Type.FLOAT64:
            return self._float(float(value))
        if kind is Type.BINARY:
            if len(value) > self._limits.binary_bytes_max:
                raise self._fault("binary_size", f"{len(value)} bytes are over the limit")
            return bytes(value)
        if kind is Type.CHAR:
            return self._char(value)
        if kind is Type.ARRAY:
            return self._open(iter(value), [], len(value))
        if kind is Type.OBJECT:
            return self._open(iter(self._pairs(value)), {}, len(value))
        return value

    def _kind(self, value: Value) -> Type:
        try:
            return type_of(value)
        except ValueFault as fault:
            raise self._fault(fault.reason, fault.problem) from None

    def _open(self, members: Iterator[Any], target: Any, count: int) -> Any:
        if len(self._frames) >= self._limits.depth_max:
            raise self._fault("depth", f"nested deeper than {self._limits.depth_max}")
        self._element_count += count
        if self._element_count > self._limits.elements_max:
            raise self._fault("elements", f"more than {self._limits.elements_max} elements")
        self._frames.append((members, target))
        self._path.append("")
        return target

    def _pairs(self, value: dict[Any, Any]) -> list[tuple[str, Any]]:
        pairs = []
        for key, member in value.items():
            if not isinstance(key, str):
                raise self._fault("key", f"a key is a Python {type(key).__name__}, not a String")
            text = self._string(str.__str__(key), "key", self._limits.key_bytes_max)
            pairs.append((text, member))
        if self._canonical:
            # Code point order is UTF-8 byte order once surrogates are excluded.
            pairs.sort(key=lambda pair: pair[0])
        if len({key for key, _ in pairs}) != len(pairs):
            raise self._fault("duplicate_key", "two keys have the same text")
        return pairs

    def _string(self, text: str, what: str, bytes_max: int) -> str:
        if text.isascii():
            size = len(text)
        else:
            try:
                size = len(text.encode("utf-8"))
            except UnicodeEncodeError:
                raise self._fault("unicode", f"a {what} holds a lone surrogate") from None
        if size > bytes_max:
            raise self._fault(f"{what}_size", f"a {what} of {size} bytes is over {bytes_max}")
        return text

    def _float(self, number: float) -> float:
        if number != number:
            return math.nan
        return 0.0 if self._canonical and number == 0.0 else number

    def _fault(self, reason: str, problem: str) -> ValueFault:
        return ValueFault(reason, _path_text(self._path), problem)


def _path_text(path: list[str | int]) -> str:
    steps = [f"[{step}]" if isinstance(step, int) else f".{printable(step)}" for step in path[:16]]
    return "$" + "".join(steps) + ("..." if len(path) > 16 else "")
