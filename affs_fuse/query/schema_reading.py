"""Reading a schema (docs/specs/Collections.md, "Schemas").

A schema is a value: rules for fields, each again an Object of demands, and unique keys. It is read
once, whole: whatever is odd is refused here with its place, so checking a record meets rules that
make sense. How it is kept (`RecordSchema.value`) has the dots in field names unfolded.
"""

from collections.abc import Callable
from difflib import get_close_matches
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.query.editing import Place, parse_place
from affs_fuse.query.ordering import key_of, text_type
from affs_fuse.query.regex import PatternProblem
from affs_fuse.query.schema import (
    NUMBERS,
    TYPES,
    RecordSchema,
    Rule,
    compare_bound,
    pattern_of,
    place_text,
    rules_on_way,
    schema_problem,
    short_text,
)
from affs_fuse.query.schema_check import violations

__all__ = ["parse_schema"]

DEPTH_MAX = 32
FIELDS_MAX = 1000
PATTERNS_MAX = 50
KEYS_MAX = 16
"""Unique keys of a schema, and places in one."""

_MEASURED = (str, bytes, list, dict)


def parse_schema(value: Value) -> RecordSchema:
    """Errors: collection.schema."""
    if type(value) is not dict:
        raise schema_problem(
            f"a schema is an Object, not {text_type(value)}",
            hint='such as {"fields": {"name": {"type": "String", "required": true}}}',
        )
    _known(value, ("fields", "closed", "unique"), "", "a schema")
    reader = _Reader()
    top = {key: member for key, member in value.items() if key != "unique"}
    rule, kept = reader.rule({"type": "Object", **top}, ())
    del kept["type"]
    unique = _unique(value.get("unique", []), rule)
    if unique:
        kept["unique"] = [[place_text(place) for place in key] for key in unique]
    return RecordSchema(rule, unique, kept)


class _Reader:
    """Counts fields over the whole schema."""

    def __init__(self) -> None:
        self._count = 0
        self._patterns = 0

    def rule(self, given: Value, place: Place) -> tuple[Rule, dict[str, Value]]:
        """A rule, and how it is kept."""
        shown = place_text(place) if place else ""
        if isinstance(given, str):
            given = {"type": given}
        if type(given) is not dict:
            raise schema_problem(f"a rule is an Object or a type, not {text_type(given)}", shown)
        if len(place) > DEPTH_MAX:
            raise schema_problem(f"rules nest at most {DEPTH_MAX} deep", shown)
        _known(given, ("fields", "items", *_DEMANDS), shown, "a rule")
        parts: dict[str, Any] = {}
        kept: dict[str, Value] = {}
        for name, read in _DEMANDS.items():
            if name in given:
                read(given[name], shown, parts)
                kept[name] = given[name]
        if "items" in given:
            parts["items"], kept["items"] = self.rule(given["items"], (*place, 0))
        if "fields" in given:
            parts["fields"], kept["fields"] = self._fields(given["fields"], place)
        rule = Rule(**parts)
        self._patterns += rule.pattern is not None
        if self._patterns > PATTERNS_MAX:
            raise schema_problem(f"a schema has at most {PATTERNS_MAX} patterns", shown)
        _check_sense(rule, shown)
        for value in rule.default:
            for wrong in violations(rule, value):
                raise schema_problem(f"the default is no such value: {wrong.message}", shown)
        return rule, kept

    def _fields(self, given: Value, place: Place) -> tuple[dict[str, Rule], dict[str, Value]]:
        rules, kept = {}, {}
        unfolded = _unfolded(given, place_text(place) if place else "")
        for name, member in sorted(unfolded.items()):
            self._count += 1
            if self._count > FIELDS_MAX:
                raise schema_problem(f"a schema has at most {FIELDS_MAX} fields")
            rules[name], kept[place_text((name,))] = self.rule(member, (*place, name))
        return rules, kept


def _unfolded(given: Value, shown: str) -> dict[str, Value]:
    """Field names with dots become Objects in Objects. One on the way that is not described itself
    is an Object, and required if what lies in it is."""
    if type(given) is not dict:
        raise schema_problem(f"fields are an Object, not {text_type(given)}", shown)
    made: dict[str, Value] = {}
    implied: dict[str, dict[str, Value]] = {}
    for name, member in given.items():
        first, rest = _split(name, shown)
        if not rest:
            if first in made:
                raise schema_problem("the field is there twice", place_text((first,)))
            made[first] = {"type": member} if isinstance(member, str) else member
        else:
            implied.setdefault(first, {})[place_text(rest)] = member
    for first, below in implied.items():
        holder = made.get(first)
        if holder is None:
            required = any(type(one) is dict and one.get("required") is True
                           for one in below.values())  # fmt: skip
            holder = {"required": True} if required else {}
        if type(holder) is not dict:
            raise schema_problem(f"a rule is an Object, not {text_type(holder)}", first)
        own = holder.get("fields", {})
        if type(own) is not dict or own.keys() & below.keys():
            raise schema_problem("fields in it are there twice", place_text((first,)))
        made[first] = {"type": "Object", **holder, "fields": {**own, **below}}
    return made


def _split(name: str, shown: str) -> tuple[str, Place]:
    try:
        place = parse_place(name)
    except AffsError as error:
        raise schema_problem(error.message, shown, "odd names stand in backquotes") from None
    if not place or not all(isinstance(key, str) for key in place):
        raise schema_problem(f"{name!r} is no name of a field", shown, "elements: `items`")
    return str(place[0]), place[1:]


def _known(given: dict[str, Value], names: tuple[str, ...], shown: str, what: str) -> None:
    for key in given:
        if key not in names:
            near = get_close_matches(key, names, 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
            raise schema_problem(f"{what} has no {key!r}", shown, hint)


# ---- demands ----


def _type(given: Value, shown: str, parts: dict[str, Any]) -> None:
    words = given if type(given) is list else [given]
    if not words:
        raise schema_problem("`type` names no type", shown)
    for word in words:
        if not isinstance(word, str) or word not in TYPES:
            near = get_close_matches(str(word), TYPES, 1, 0.3)
            raise schema_problem(
                f"{short_text(word)} is no type", shown,
                f"did you mean {near[0]}?" if near else f"types: {', '.join(TYPES)}",
            )  # fmt: skip
    parts["types"] = frozenset(TYPES[word] for word in words)


def _flag(name: str) -> Callable[[Value, str, dict[str, Any]], None]:
    def read(given: Value, shown: str, parts: dict[str, Any]) -> None:
        if type(given) is not bool:
            raise schema_problem(f"`{name}` takes a Bool, not {text_type(given)}", shown)
        parts[name] = given

    return read


def _bound(name: str, target: str) -> Callable[[Value, str, dict[str, Any]], None]:
    def read(given: Value, shown: str, parts: dict[str, Any]) -> None:
        if given is None:
            raise schema_problem(f"`{name}` cannot be Null", shown)
        parts[target] = given

    return read


def _length(name: str, target: str) -> Callable[[Value, str, dict[str, Any]], None]:
    def read(given: Value, shown: str, parts: dict[str, Any]) -> None:
        if type(given) is not int or given < 0:
            raise schema_problem(f"`{name}` takes a number from 0 on", shown)
        parts[target] = given

    return read


def _pattern(given: Value, shown: str, parts: dict[str, Any]) -> None:
    if type(given) is not str:
        raise schema_problem(f"`pattern` takes a String, not {text_type(given)}", shown)
    try:
        pattern_of(given)
    except PatternProblem as problem:
        raise schema_problem(
            f"the pattern cannot be read at character {problem.at + 1}: {problem.message}", shown
        ) from None
    parts["pattern"] = given


def _enum(given: Value, shown: str, parts: dict[str, Any]) -> None:
    if type(given) is not list or not given:
        raise schema_problem("`enum` takes an Array of at least one value", shown)
    parts["choices"], parts["choice_keys"] = tuple(given), frozenset(map(key_of, given))


def _default(given: Value, shown: str, parts: dict[str, Any]) -> None:
    parts["default"] = (given,)


_DEMANDS: dict[str, Callable[[Value, str, dict[str, Any]], None]] = {
    "type": _type,
    "required": _flag("required"),
    "min": _bound("min", "minimum"),
    "max": _bound("max", "maximum"),
    "min_length": _length("min_length", "length_min"),
    "max_length": _length("max_length", "length_max"),
    "pattern": _pattern,
    "enum": _enum,
    "closed": _flag("closed"),
    "default": _default,
}


def _check_sense(rule: Rule, shown: str) -> None:
    """Demands that no value, or none of the types, could ever meet."""
    for name, bound in (("min", rule.minimum), ("max", rule.maximum)):
        kinds = set(NUMBERS) if type(bound) in NUMBERS else {type(bound)}
        if bound is not None and rule.types is not None and not kinds & rule.types:
            raise schema_problem(f"`{name}` is {text_type(bound)}, of none of the types", shown)
    if rule.minimum is not None and rule.maximum is not None:
        order = compare_bound(rule.minimum, rule.maximum)
        if order is not None and order > 0:
            raise schema_problem("`min` is above `max`", shown)
    low, high = rule.length_min, rule.length_max
    if low is not None and high is not None and low > high:
        raise schema_problem("`min_length` is above `max_length`", shown)
    for name, given, fitting in (
        ("min_length or max_length", low is not None or high is not None, _MEASURED),
        ("pattern", rule.pattern is not None, (str,)),
        ("items", rule.items is not None, (list,)),
        ("fields or closed", bool(rule.fields) or rule.closed, (dict,)),
    ):
        if given and rule.types is not None and not rule.types & set(fitting):
            raise schema_problem(f"`{name}` fits none of the types", shown)


def _unique(given: Value, record: Rule) -> tuple[tuple[Place, ...], ...]:
    if type(given) is not list or len(given) > KEYS_MAX:
        raise schema_problem(f"`unique` takes an Array of at most {KEYS_MAX} keys")
    keys = []
    for one in given:
        names = one if type(one) is list else [one]
        if not names or len(names) > KEYS_MAX or not all(isinstance(name, str) for name in names):
            raise schema_problem("a unique key is a field, or an Array of fields")
        places = tuple(_key_place(name, record) for name in names)
        if len(set(places)) < len(places) or places in keys:
            raise schema_problem("a unique key, or a field of one, is there twice", names[0])
        keys.append(places)
    return tuple(keys)


def _key_place(name: str, record: Rule) -> Place:
    first, rest = _split(name, "unique")
    place: Place = (first, *rest)
    for rule in rules_on_way(record, place):
        if rule is None:
            raise schema_problem("a unique key that is no field of the schema", name)
    return place
