"""Holding a record to its collection's schema: what violates it, and where.

docs/specs/Collections.md, "What is demanded". The rules of a schema were read before and make
sense; they nest a bounded number of levels, so following them is recursion of a bounded depth.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice

from affs_fuse.auv import Value, encode_canonical
from affs_fuse.query.editing import Place
from affs_fuse.query.ordering import key_of, text_type
from affs_fuse.query.regex import WORK_MAX, WorkLimit
from affs_fuse.query.schema import (
    RecordSchema,
    Rule,
    compare_bound,
    pattern_of,
    place_text,
    short_text,
)

__all__ = ["Violation", "key_parts", "unique_keys", "unique_words", "violations", "with_defaults"]

VIOLATIONS_MAX = 100
"""Told of one record."""


@dataclass(frozen=True, slots=True)
class Violation:
    """place: of the value, or of the field that is missing. rule: missing, unknown, type, range,
    length, pattern, enum; unique and syntax are told by others."""

    place: Place
    rule: str
    expected: str
    found: str

    @property
    def field(self) -> str:
        return place_text(self.place)

    @property
    def message(self) -> str:
        return f"{self.field}: expected {self.expected}, found {self.found}"

    def to_value(self) -> dict[str, Value]:
        return {
            "field": self.field, "rule": self.rule, "expected": self.expected, "found": self.found,
        }  # fmt: skip


def violations(rule: Rule, value: Value) -> list[Violation]:
    """All of one record, or the first VIOLATIONS_MAX; in the order of the rules."""
    return list(islice(_Check().all(rule, value, ()), VIOLATIONS_MAX))


class _Check:
    """Of one record. Its patterns may take as much work together as one may for one text."""

    def __init__(self) -> None:
        self._work_left = WORK_MAX

    def all(self, rule: Rule, value: Value, place: Place) -> Iterator[Violation]:
        kind = type(value)
        if rule.types is not None and kind not in rule.types:
            yield Violation(place, "type", rule.type_words, _told(value))
            return
        if rule.choices is not None and key_of(value) not in rule.choice_keys:
            words = ", ".join(short_text(one) for one in rule.choices[:10])
            more = ", ..." if len(rule.choices) > 10 else ""
            yield Violation(place, "enum", f"one of {words}{more}", _told(value))
        if rule.minimum is not None or rule.maximum is not None:
            yield from _check_range(rule, value, place)
        if kind is str or kind is bytes or kind is list or kind is dict:
            yield from _check_length(rule, value, place)
        if kind is str and rule.pattern is not None:
            yield from self._pattern(rule.pattern, value, place)
        if kind is list and rule.items is not None:
            for index, member in enumerate(value):
                yield from self.all(rule.items, member, (*place, index))
        if kind is dict:
            yield from self._members(rule, value, place)

    def _pattern(self, text: str, value: str, place: Place) -> Iterator[Violation]:
        pattern = pattern_of(text)
        expected = f"a match of {short_text(text)}"
        try:
            if self._work_left < 0:
                raise WorkLimit
            found = pattern.found_in(value)
            self._work_left -= pattern.work
        except WorkLimit:
            yield Violation(place, "pattern", expected, "a text that takes too much work to match")
            return
        if not found:
            yield Violation(place, "pattern", expected, _told(value))

    def _members(self, rule: Rule, value: dict[str, Value], place: Place) -> Iterator[Violation]:
        for name, below in rule.fields.items():
            if name in value:
                yield from self.all(below, value[name], (*place, name))
            elif below.required:
                expected = below.type_words if below.types is not None else "a value"
                yield Violation((*place, name), "missing", expected, "nothing")
        if rule.closed:
            for name, member in value.items():
                if name not in rule.fields:
                    yield Violation((*place, name), "unknown", "no such field", _told(member))


def _check_range(rule: Rule, value: Value, place: Place) -> Iterator[Violation]:
    below = rule.minimum is not None and (compare_bound(value, rule.minimum) or 0) < 0
    above = rule.maximum is not None and (compare_bound(value, rule.maximum) or 0) > 0
    if below or above:
        low, high = rule.minimum, rule.maximum
        if high is None:
            expected = f"at least {short_text(low)}"
        elif low is None:
            expected = f"at most {short_text(high)}"
        else:
            expected = f"{short_text(low)} to {short_text(high)}"
        yield Violation(place, "range", expected, _told(value))


def _check_length(rule: Rule, value: Value, place: Place) -> Iterator[Violation]:
    low, high = rule.length_min or 0, rule.length_max
    size = len(value)
    if size < low or (high is not None and size > high):
        if high is None:
            expected = f"a length of at least {low}"
        else:
            expected = f"a length of {low} to {high}" if low < high else f"a length of {low}"
        yield Violation(place, "length", expected, f"{text_type(value)} of length {size}")


def _told(value: Value) -> str:
    if value is None:
        return "Null"
    return f"{text_type(value)} {short_text(value)}"


def with_defaults(rule: Rule, value: Value) -> Value:
    """The value with defaults where fields are missing, in Objects that are there."""
    if type(value) is not dict or not rule.fields:
        return value
    made = dict(value)
    for name, below in rule.fields.items():
        if name in made:
            made[name] = with_defaults(below, made[name])
        elif below.default:
            made[name] = below.default[0]
    return made


def unique_keys(schema: RecordSchema, value: Value) -> tuple[bytes | None, ...]:
    """What the record has under each unique key, as 16 bytes that are the same for equal values;
    None where a field is missing or Null."""
    return tuple(_key(places, value) for places in schema.unique)


def _key(places: tuple[Place, ...], value: Value) -> bytes | None:
    parts = key_parts(places, value)
    if any(part is None for part in parts):
        return None
    return blake2b(encode_canonical(parts), digest_size=16).digest()


def key_parts(places: tuple[Place, ...], value: Value) -> list[Value]:
    """What the record has at the places of a unique key; None where it has nothing."""
    parts = []
    for place in places:
        at = value
        for name in place:
            at = at.get(name) if type(at) is dict else None
        parts.append(at)
    return parts


def unique_words(schema: RecordSchema, index: int, value: Value) -> str:
    """The fields of a unique key with what the record has there, for people."""
    places = schema.unique[index]
    return ", ".join(
        f"{place_text(place)} {short_text(part)}"
        for place, part in zip(places, key_parts(places, value), strict=True)
    )
