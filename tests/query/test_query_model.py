"""Random records and pipelines, against a plain evaluation of the same in Python.

A strategy makes both at once: the text of an expression or stage, and a function that says what it
has to give. The functions know nothing of the query room: order is `auv.compare`, a list is sorted
by `sorted`, groups are dicts.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cmp_to_key

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from query_harness import QueryBench

from affs_fuse import auv
from affs_fuse.errors import AffsError

Row = dict[str, auv.Value]
FIELDS = ["a", "b", "c"]
SETTINGS = settings(
    max_examples=120, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)  # fmt: skip

integers = st.integers(-3, 4)
scalars = st.one_of(
    st.none(), st.booleans(), integers, st.sampled_from([0.5, -1.5, 2.0, math.inf, math.nan]),
    st.sampled_from(["", "a", "ab", "b", "B%", "\U0001f600"]),
)  # fmt: skip
values = st.one_of(scalars, st.lists(scalars, max_size=2), st.fixed_dictionaries({"x": scalars}))
records = st.lists(
    st.dictionaries(st.sampled_from(FIELDS), values, max_size=3)
    | st.fixed_dictionaries({"a": integers, "b": scalars, "c": values}),
    max_size=12,
)


@dataclass(frozen=True)
class Part:
    """text: of a query. run: what it gives for a row (of an expression), or for rows (of a
    stage)."""

    text: str
    run: Callable


def equal(one: auv.Value, other: auv.Value) -> bool:
    return auv.compare(one, other) == 0


literals = values.map(lambda value: Part(auv.format_compact(value), lambda row: value))
fields = st.sampled_from(FIELDS).map(lambda name: Part(name, lambda row: row.get(name)))
steps = st.sampled_from(FIELDS).map(
    lambda name: Part(
        f"{name}.x",
        lambda row: row[name].get("x") if isinstance(row.get(name), dict) else None,
    )
)
ELEMENTS = [(name, index) for name in FIELDS for index in (0, 1, -1, -2)]


def element_of(pair: tuple[str, int]) -> Part:
    name, index = pair

    def run(row: Row) -> auv.Value:
        found = row.get(name)
        fits = isinstance(found, list) and -len(found) <= index < len(found)
        return found[index] if fits else None

    return Part(f"{name}[{index}]", run)


operands = st.one_of(fields, literals, steps, st.sampled_from(ELEMENTS).map(element_of))

TESTS = {
    "=": lambda order: order == 0, "!=": lambda order: order != 0, "<": lambda order: order < 0,
    "<=": lambda order: order <= 0, ">": lambda order: order > 0, ">=": lambda order: order >= 0,
}  # fmt: skip


def compared(left: Part, operator: str, right: Part) -> Part:
    test = TESTS[operator]
    text = f"{left.text} {operator} {right.text}"
    return Part(text, lambda row: test(auv.compare(left.run(row), right.run(row))))


def between(one: Part, low: Part, high: Part) -> Part:
    return Part(
        f"{one.text} between {low.text} and {high.text}",
        lambda row: (
            auv.compare(one.run(row), low.run(row)) >= 0
            and auv.compare(one.run(row), high.run(row)) <= 0
        ),
    )


def contained(one: Part, many: list[auv.Value], negated: bool) -> Part:
    word = "not in" if negated else "in"
    return Part(
        f"{one.text} {word} {auv.format_compact(many)}",
        lambda row: any(equal(one.run(row), each) for each in many) is not negated,
    )


def like(one: Part, letter: str, before: bool, after: bool) -> Part:
    pattern = ("%" if before else "") + letter + ("%" if after else "")

    def run(row: Row) -> bool:
        text = one.run(row)
        if not isinstance(text, str):
            return False
        if before and after:
            return letter in text
        if before:
            return text.endswith(letter)
        return text.startswith(letter) if after else text == letter

    return Part(f"{one.text} like '{pattern}'", run)


comparisons = st.one_of(
    st.builds(compared, operands, st.sampled_from(list(TESTS)), operands),
    st.builds(between, operands, operands, operands),
    st.builds(contained, operands, st.lists(values, max_size=3), st.booleans()),
    st.builds(like, operands, st.sampled_from(["a", "b", ""]), st.booleans(), st.booleans()),
    st.sampled_from(FIELDS).map(lambda name: Part(f"exists {name}", lambda row: name in row)),
)


def joined(word: str, parts: list[Part]) -> Part:
    text = f" {word} ".join(f"({part.text})" for part in parts)
    decide = all if word == "and" else any
    return Part(text, lambda row: decide(part.run(row) for part in parts))


conditions = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.builds(joined, st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
        inner.map(lambda part: Part(f"not ({part.text})", lambda row: not part.run(row))),
    ),
    max_leaves=4,
)

ORDER = cmp_to_key(auv.compare)


def where(condition: Part) -> Part:
    return Part(f"where {condition.text}", lambda rows: [r for r in rows if condition.run(r)])


def select(one: Part, other: Part, star: bool) -> Part:
    text = f"select {'*, ' if star else ''}{one.text} as b, {other.text} as d"

    def run(rows: list[Row]) -> list[Row]:
        return [{**(row if star else {}), "b": one.run(row), "d": other.run(row)} for row in rows]

    return Part(text, run)


def sort(keys: list[tuple[Part, bool]]) -> Part:
    def run(rows: list[Row]) -> list[Row]:
        for part, descending in reversed(keys):
            rows = sorted(rows, key=lambda row: ORDER(part.run(row)), reverse=descending)
        return rows

    words = [f"{part.text} {'desc' if descending else 'asc'}" for part, descending in keys]
    return Part(f"sort {', '.join(words)}", run)


def distinct(parts: list[Part]) -> Part:
    def run(rows: list[Row]) -> list[Row]:
        seen: list[auv.Value] = []
        kept = []
        for row in rows:
            key = [part.run(row) for part in parts] if parts else row
            if not any(equal(key, other) for other in seen):
                seen.append(key)
                kept.append(row)
        return kept

    return Part(f"distinct {', '.join(part.text for part in parts)}", run)


def group(key: Part | None, counted: Part, extreme: Part) -> Part:
    def row_of(rows: list[Row], found: list[auv.Value]) -> Row:
        known = [value for row in rows if (value := counted.run(row)) is not None]
        extremes = [value for row in rows if (value := extreme.run(row)) is not None]
        return {
            **({"k": found[0]} if found else {}),
            "n": len(rows),
            "c": len(known),
            "all": known,
            "low": min(extremes, key=ORDER, default=None),
            "high": max(extremes, key=ORDER, default=None),
        }

    def run(rows: list[Row]) -> list[Row]:
        if key is None:
            return [row_of(rows, [])]
        groups: list[tuple[auv.Value, list[Row]]] = []
        for row in rows:
            value = key.run(row)
            for other, members in groups:
                if equal(value, other):
                    members.append(row)
                    break
            else:
                groups.append((value, [row]))
        return [row_of(members, [value]) for value, members in groups]

    text = (
        f"group count() as n, count({counted.text}) as c, collect({counted.text}) as all, "
        f"min({extreme.text}) as low, max({extreme.text}) as high"
    )
    return Part(text + (f" by {key.text} as k" if key else ""), run)


stages = st.one_of(
    conditions.map(where),
    st.builds(sort, st.lists(st.tuples(operands, st.booleans()), min_size=1, max_size=2)),
    st.builds(distinct, st.lists(operands, max_size=2)),
    st.integers(0, 5).map(lambda n: Part(f"limit {n}", lambda rows: rows[:n])),
    st.integers(0, 3).map(lambda n: Part(f"skip {n}", lambda rows: rows[n:])),
)
endings = st.one_of(
    st.builds(select, operands, operands, st.booleans()),
    st.builds(group, st.none() | operands, operands, operands),
    st.just(Part("count", lambda rows: [{"count": len(rows)}])),
    st.just(Part("select *", lambda rows: rows)),
)


class Bench:
    """One volume for all examples; each has a directory of its own."""

    made: QueryBench | None = None
    count = 0

    @classmethod
    def directory(cls, rows: list[Row]) -> tuple[QueryBench, str]:
        if cls.made is None:
            cls.made = QueryBench(size_bytes=256 << 20, cache_bytes=8 << 20)
        cls.count += 1
        path = f"/x{cls.count}"
        cls.made.directory(path)
        for index, row in enumerate(rows):
            cls.made.put(f"{path}/r{index:03}", row)
        return cls.made, path


def same(found: auv.Value, wanted: auv.Value) -> None:
    assert equal(found, wanted), f"{auv.format_compact(found)} != {auv.format_compact(wanted)}"


@SETTINGS
@given(records, st.lists(stages, max_size=4), endings)
def test_pipelines_give_what_python_gives(rows: list[Row], parts: list[Part], end: Part) -> None:
    bench, path = Bench.directory(rows)
    text = " | ".join([f"find {path}", *[part.text for part in parts], end.text])
    wanted = rows
    for part in [*parts, end]:
        wanted = part.run(wanted)
    same(bench.rows(text), wanted)


@SETTINGS
@given(records, records, operands, operands, st.booleans())
def test_joins_give_what_python_gives(
    rows: list[Row], others: list[Row], left: Part, right: Part, outer: bool
) -> None:
    bench, path = Bench.directory(rows)
    _, inner = Bench.directory(others)
    wanted = []
    for row in rows:
        key = left.run(row)
        found: list[Row | None] = [
            other for other in others if key is not None and equal(key, right.run(other))
        ]
        wanted += [{**row, "o": other} for other in found or ([None] if outer else [])]
    word = "outer join" if outer else "join"
    text = f"find {path} | {word} (find {inner}) on {left.text} = {right.text} as o | select *"
    same(bench.rows(text), wanted)


numbers = st.one_of(st.none(), st.integers(-(2**40), 2**40), st.floats(allow_nan=False))


@SETTINGS
@given(st.lists(numbers, max_size=20))
def test_sums_and_averages_lose_nothing(members: list[int | float | None]) -> None:
    bench, path = Bench.directory([{"a": member} for member in members])
    found = bench.rows(f"find {path} | group sum(a) as s, avg(a) as m")[0]
    known = [member for member in members if member is not None]
    if not known:
        assert found == {"s": None, "m": None}
        return
    finite = [member for member in known if not isinstance(member, float) or math.isfinite(member)]
    exact = sum((Fraction(member) for member in finite), Fraction(0))
    total: int | float = int(exact)
    if any(isinstance(member, float) for member in known):
        specials = [member for member in known if member not in finite]
        total = sum(specials) if specials else float(exact)
    same(found["s"], total)
    same(found["m"], float(total) / len(known))


ARITHMETIC = {
    "+": lambda one, other: one + other, "-": lambda one, other: one - other,
    "*": lambda one, other: one * other, "div": lambda one, other: one // other,
    "%": lambda one, other: one % other,
}  # fmt: skip
edges = st.one_of(
    st.integers(auv.INT64_MIN, auv.INT64_MAX),
    st.sampled_from([auv.INT64_MIN, auv.INT64_MAX, 0, 1, -1, 3_037_000_500]),
)


@SETTINGS
@given(edges, edges, st.sampled_from(list(ARITHMETIC)))
def test_integers_stay_in_range_or_say_so(one: int, other: int, operator: str) -> None:
    bench, path = Bench.directory([{"a": one, "b": other}])
    text = f"find {path} | select a {operator} b as c"
    if other == 0 and operator in ("div", "%"):
        code = "query.value"
    else:
        wanted = ARITHMETIC[operator](one, other)
        code = "" if auv.INT64_MIN <= wanted <= auv.INT64_MAX else "query.overflow"
    if not code:
        assert bench.rows(text) == [{"c": wanted}]
        return
    with pytest.raises(AffsError) as caught:
        bench.rows(text)
    assert caught.value.code == code
    assert caught.value.details["column"] == text.index("a " + operator) + 1
    assert caught.value.details["path"] == f"{path}/r000"
