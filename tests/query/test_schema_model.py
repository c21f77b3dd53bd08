"""Schemas and evolutions against a plain evaluation of the same rules in Python.

The model knows nothing of the query room: it walks rules as the page says them, orders with
`auv.compare`, matches with `re`, and gives the set of (field, rule) that is wrong.
"""

import re
from fractions import Fraction

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.query.schema_changes import Evolution, parse_evolution
from affs_fuse.query.schema_check import unique_keys, violations
from affs_fuse.query.schema_reading import parse_schema

SETTINGS = settings(
    max_examples=400, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip

NAMES = ["a", "b", "c.d", "odd name"]
TYPES = {
    "Null": type(None), "Bool": bool, "Int64": int, "Float64": float, "Char": auv.Char,
    "String": str, "Binary": bytes, "Array": list, "Object": dict,
}  # fmt: skip
PATTERNS = ["^a", "b$", "[0-9]+", "a|b", "^$"]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 5), st.sampled_from([0.5, -1.0, 2.0, float("nan")]),
    st.sampled_from(["", "a", "ab", "12", "x"]), st.just(auv.Char("a")),
    st.sampled_from([b"", b"\x00\x01"]),
)  # fmt: skip
keys = st.sampled_from(["a", "b", "c", "d", "c.d", "odd name"])
values = st.recursive(
    scalars,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(keys, below, max_size=3),
    max_leaves=6,
)
records = st.dictionaries(keys, values, max_size=4)
types = st.sampled_from(list(TYPES)) | st.lists(
    st.sampled_from(list(TYPES)), min_size=1, max_size=3
)


def rules(depth: int = 2) -> st.SearchStrategy:
    parts: dict[str, st.SearchStrategy] = {
        "type": types, "required": st.booleans(),
        "min": scalars.filter(lambda one: one is not None),
        "max": scalars.filter(lambda one: one is not None),
        "min_length": st.integers(0, 2), "max_length": st.integers(0, 3),
        "pattern": st.sampled_from(PATTERNS), "enum": st.lists(scalars, min_size=1, max_size=4),
        "closed": st.booleans(),
    }  # fmt: skip
    if depth:
        parts["items"] = rules(depth - 1)
        parts["fields"] = st.dictionaries(
            st.sampled_from(["a", "b", "`c.d`"]), rules(depth - 1), max_size=2
        )
    some = st.lists(st.sampled_from(list(parts)), max_size=3, unique=True)
    return some.flatmap(lambda chosen: st.fixed_dictionaries({key: parts[key] for key in chosen}))


schemas = st.fixed_dictionaries(
    {"fields": st.dictionaries(st.sampled_from(["a", "b", "`c.d`", "`odd name`"]), rules())},
    optional={"closed": st.booleans()},
)


def read(schema: auv.Value):
    """The schema, if it makes sense."""
    try:
        return parse_schema(schema)
    except AffsError as error:
        assert error.code == "collection.schema"  # noqa: PT017
        assume(False)


# ---- the model ----


def in_words(name: str) -> str:
    return name if name.isidentifier() else f"`{name}`"


def compared(value: auv.Value, bound: auv.Value) -> int:
    """0 where the bound says nothing."""
    numbers = (int, float)
    if type(value) in numbers and type(bound) in numbers:
        if value != value or bound != bound:
            return (value != value) - (bound != bound)
        left, right = Fraction(value), Fraction(bound)
        return (left > right) - (left < right)
    return auv.compare(value, bound) if type(value) is type(bound) else 0


def wrong(rule: dict, value: auv.Value, place: str) -> set[tuple[str, str]]:
    named = rule.get("type")
    wanted = [named] if isinstance(named, str) else named
    if wanted is not None and type(value) not in [TYPES[one] for one in wanted]:
        return {(place or "$", "type")}
    found = set()

    def complain(what: str) -> None:
        found.add((place or "$", what))

    if "enum" in rule and all(auv.compare(value, one) for one in rule["enum"]):
        complain("enum")
    if "min" in rule and compared(value, rule["min"]) < 0:
        complain("range")
    if "max" in rule and compared(value, rule["max"]) > 0:
        complain("range")
    size = len(value) if isinstance(value, str | bytes | list | dict) else None
    if size is not None and not rule.get("min_length", 0) <= size <= rule.get("max_length", 99):
        complain("length")
    pattern = rule.get("pattern", "").replace("$", r"\Z")
    if isinstance(value, str) and not re.search(pattern, value):
        complain("pattern")
    if isinstance(value, list) and "items" in rule:
        for index, one in enumerate(value):
            found |= wrong(rule["items"], one, f"{place or '$'}[{index}]")
    if isinstance(value, dict):
        fields = {name.strip("`"): below for name, below in rule.get("fields", {}).items()}
        for name, below in fields.items():
            at = f"{place}.{in_words(name)}" if place else in_words(name)
            if name in value:
                found |= wrong(below, value[name], at)
            elif below.get("required"):
                found.add((at, "missing"))
        if rule.get("closed"):
            for name in value.keys() - fields.keys():
                at = f"{place}.{in_words(name)}" if place else in_words(name)
                found.add((at, "unknown"))
    return found


@SETTINGS
@given(schemas, records | values)
def test_finds_what_the_model_finds(given_schema: dict, value: auv.Value) -> None:
    schema = read(given_schema)
    found = [(one.field, one.rule) for one in violations(schema.record, value)]
    expected = wrong({"type": "Object", **given_schema}, value, "")
    assert set(found) == expected
    assert len(found) == len(expected)


@SETTINGS
@given(schemas, records)
def test_as_it_is_kept_it_says_the_same(given_schema: dict, value: auv.Value) -> None:
    schema = read(given_schema)
    again = parse_schema(auv.decode(auv.encode_canonical(schema.value)))
    assert auv.compare(again.value, schema.value) == 0
    assert violations(again.record, value) == violations(schema.record, value)


@SETTINGS
@given(st.lists(records, min_size=2, max_size=6))
def test_equal_keys_are_those_of_equal_values(many: list[dict]) -> None:
    schema = parse_schema({"fields": {"a": {}, "b": {}}, "unique": ["a", ["a", "b"]]})
    for one in many:
        for other in many:
            first, second = unique_keys(schema, one), unique_keys(schema, other)
            for index, fields in enumerate((["a"], ["a", "b"])):
                there = all(row.get(name) is not None for row in (one, other) for name in fields)
                same = there and all(auv.compare(one[name], other[name]) == 0 for name in fields)
                assert (first[index] is not None and first[index] == second[index]) == same


# ---- evolution ----

changes = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(["e", "c.n"]), st.fixed_dictionaries(
        {"type": st.just("Int64")}, optional={"default": st.integers(0, 3)})),
    st.tuples(st.just("rename"), st.sampled_from(["a", "b", "c"]), st.sampled_from(["r", "s"])),
    st.tuples(st.just("drop"), st.sampled_from(["a", "b", "c", "c.d"])),
    st.tuples(st.just("convert"), st.sampled_from(["a", "b", "c.d"]), types.map(
        lambda one: {"type": one})),
    st.tuples(st.just("rule"), st.sampled_from(["a", "b"]), rules(0)),
)  # fmt: skip
BEFORE = {"fields": {"a": {}, "b": {}, "c": {"type": "Object", "fields": {"d": {}}}}}
plain = st.fixed_dictionaries(
    {}, optional={"a": values, "b": values, "c": st.dictionaries(keys, scalars, max_size=2)}
)


def evolved(words: list) -> Evolution:
    try:
        return parse_evolution(parse_schema(BEFORE), words)
    except AffsError as error:
        assert error.code == "collection.schema"  # noqa: PT017
        assume(False)
        raise


@SETTINGS
@given(st.lists(changes, min_size=1, max_size=3), plain)
def test_migrating_twice_is_migrating_once(steps: list[tuple], value: dict) -> None:
    """And what comes out is what the steps say, one after the other."""
    evolution = evolved([word for step in steps for word in step])
    kept = auv.format_canonical(value)
    made, problems = evolution.migrated(value)
    assert auv.format_canonical(value) == kept, "the old value is left alone"
    if problems:
        return
    again, none = evolution.migrated(made)
    assert none == []
    assert auv.compare(again, made) == 0
    assert violations(evolution.schema.record, made) == []
    expected = auv.parse(kept)
    for step in steps:
        expected = by_hand(step, expected)
    assert auv.compare(expected, made) == 0


def by_hand(step: tuple, value: dict) -> dict:
    verb, place = step[0], step[1].split(".")
    holder = value
    if len(place) == 2:
        holder = value.get(place[0])
    if not isinstance(holder, dict):
        return value
    name = place[-1]
    if verb == "add" and "default" in step[2]:
        holder.setdefault(name, step[2]["default"])
    if name not in holder:
        return value
    if verb == "rename":
        holder[step[2]] = holder.pop(name)
    elif verb == "drop":
        del holder[name]
    elif verb == "convert":
        wanted = step[2]["type"]
        holder[name] = one_of([wanted] if isinstance(wanted, str) else wanted, holder[name])
    return value


def one_of(wanted: list[str], value: auv.Value) -> auv.Value:
    """By the table of the page, spelled out for the values that come up here."""
    if type(value) in [TYPES[one] for one in wanted]:
        return value
    ways = {
        "Bool": lambda: {"0": False, "1": True}[str(value)] if type(value) is int else None,
        "Int64": lambda: int(value)
        if value == "12" or (type(value) is float and value.is_integer()) else None,
        "Float64": lambda: float(value) if type(value) is int or value == "12" else None,
        "Char": lambda: auv.Char(value) if isinstance(value, str) else None,
        "String": lambda: value.text if isinstance(value, auv.Char)
        else auv.format_compact(value) if type(value) in (bool, int, float) else None,
        "Array": lambda: [] if value is None else [value],
    }  # fmt: skip
    for name, way in ways.items():
        if name in wanted:
            try:
                made = way()
            except (KeyError, auv.AuvError):  # no Bool, no Char
                continue
            if made is not None:
                return made
    raise AssertionError(f"{value!r} cannot become {wanted}")
