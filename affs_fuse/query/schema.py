"""What a collection demands of its records (docs/specs/Collections.md, "Schemas").

schema_reading.py makes these of a value, schema_check.py holds records to them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from affs_fuse.auv import Char, Value, format_compact
from affs_fuse.errors import AffsError, Category
from affs_fuse.query.editing import Place
from affs_fuse.query.ordering import Key, compare_values
from affs_fuse.query.regex import Pattern

__all__ = [
    "NUMBERS", "TYPES", "RecordSchema", "Rule", "compare_bound", "pattern_of", "place_text",
    "rules_on_way", "schema_problem", "short_text",
]  # fmt: skip

TYPES: dict[str, type] = {
    "Null": type(None), "Bool": bool, "Int64": int, "Float64": float, "Char": Char, "String": str,
    "Binary": bytes, "Array": list, "Object": dict,
}  # fmt: skip
NUMBERS = (int, float)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is demanded of one value. types: None for any. bounds, lengths: None for none. fields,
    closed: of an Object's members; items: of an Array's elements. default: in a tuple, () for none.
    """

    types: frozenset[type] | None = None
    required: bool = False
    minimum: Value = None
    maximum: Value = None
    length_min: int | None = None
    length_max: int | None = None
    pattern: str | None = None
    choices: tuple[Value, ...] | None = None
    choice_keys: frozenset[Key] = frozenset()
    items: "Rule | None" = None
    fields: Mapping[str, "Rule"] = field(default_factory=dict)
    closed: bool = False
    default: tuple[Value, ...] = ()

    @property
    def type_words(self) -> str:
        """`Int64 or Null`."""
        assert self.types is not None
        return " or ".join(name for name, kind in TYPES.items() if kind in self.types)


@lru_cache(64)
def pattern_of(text: str) -> Pattern:
    """Compiled: what it remembers takes up to some MB, so few are kept. Errors: PatternProblem."""
    return Pattern(text)


@dataclass(frozen=True, slots=True)
class RecordSchema:
    """record: the rule of the whole record. unique: each key a tuple of places."""

    record: Rule
    unique: tuple[tuple[Place, ...], ...]
    value: dict[str, Value]


def schema_problem(message: str, place: str = "", hint: str = "") -> AffsError:
    """A schema, or a change of one, that makes no sense. place: the field that it is about."""
    text = f"{place}: {message}" if place else message
    details = {"place": place} if place else {}
    return AffsError("collection.schema", Category.INVALID, text, hint=hint, details=details)


def place_text(place: Place) -> str:
    """As parse_place reads it: home.city, tags[0], `odd name`; $ for the whole record."""
    text = ""
    for key in place:
        if isinstance(key, int):
            text = f"{text or '$'}[{key}]"
        elif key.isidentifier() or "`" not in key:
            name = key if key.isidentifier() else f"`{key}`"
            text = f"{text}.{name}" if text else name
        else:
            text = f"{text or '$'}[{format_compact(key)}]"
    return text or "$"


def short_text(value: Value) -> str:
    """A value for a message."""
    text = format_compact(value)
    return text if len(text) <= 60 else text[:57] + "..."


def compare_bound(value: Value, bound: Value) -> int | None:
    """-1, 0 or 1, in the order of AUV; Int64 and Float64 as numbers. None: a bound of this type
    says nothing about the value."""
    kind, other = type(value), type(bound)
    if kind is other:
        return compare_values(value, bound)
    if kind in NUMBERS and other in NUMBERS:
        if value != value or bound != bound:  # NaN is above all numbers
            return int(value != value) - int(bound != bound)
        return int(value > bound) - int(value < bound)
    return None


def rules_on_way(record: Rule, place: Place) -> Iterator[Rule | None]:
    """The rule of each step of a place; None, and the end, where there is none."""
    rule: Rule | None = record
    for key in place:
        assert rule is not None
        rule = rule.fields.get(str(key))
        yield rule
        if rule is None:
            return
