"""Queries by an index alone give what they give by reading: rows, their order, their very form,
errors, and what is told. Whatever is in the directory: files that are no records, that wait, that
have several names, values whose keys do not tell them, other kinds of files."""


import dataclasses
from collections import Counter
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posix_harness import ALICE, ROOT
from query_harness import QueryBench
from test_index_queries import Bench, asked
from test_query_model import SETTINGS

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.posix.index_keys import UNTOLD, key_of_value, value_of_key
from affs_fuse.query import alone_source, index_choice, opening, sources
from affs_fuse.query.memory import QUERY_BYTES_DEFAULT

MANY = settings(SETTINGS, max_examples=500)
LONG = "long" * 60
"""Its key is cut short, so that of LONG + "x" is the same."""

plain = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 3), st.sampled_from([0.0, -0.0, 1.5, 2.0, 1e300]),
    st.sampled_from([float("inf"), float("-inf"), float("nan"), "", "a", "ab", "A\0b", "b"]),
    st.sampled_from([LONG, LONG + "x", b"", b"\0", auv.Char("a")]),
)  # fmt: skip
values = st.one_of(
    plain, plain, st.lists(plain, max_size=2),
    st.sampled_from([{}, {"x": 1, "y": 2}, {"y": 2, "x": 1}, {"x": -0.0}]),
)  # fmt: skip
rows = st.lists(
    st.dictionaries(st.sampled_from("ab"), values, max_size=2)
    | st.fixed_dictionaries({"a": st.integers(-2, 3)}) | st.fixed_dictionaries({"a": plain}),
    max_size=8,
)  # fmt: skip
expressions = st.sampled_from(["a", "a", "lower(a)", "a.x", "a + 1", "$", "coalesce(a, 0)"])


@st.composite
def conditions(draw: st.DrawFn, expression: str) -> str:
    value = auv.format_compact(draw(plain))
    other = auv.format_compact(draw(values))
    return draw(st.sampled_from([
        f"{expression} = {value}", f"{expression} != {other}", f"{expression} < {other}",
        f"{expression} >= {value}", f"{value} > {expression}",
        f"{expression} between {value} and {other}",
        f"{expression} in [{value}, {other}]", f"{expression} = {value} or {expression} > {other}",
        f"{expression} like 'a%'", f"{expression} like '%b'", f"{expression} like '{LONG}%'",
        f"{expression} like 'ab'", f"{expression} like 'a%b'",
        f"{expression} like 'a_'", f"{expression} = {value} or {expression} like 'a%b'",
        f"not ({expression} = {value})", f"{expression} % 2 = 0",
        f"type({expression}) = 'Int64'", f"exists {expression}", "b = 1", "@name > 'r2'", "true",
    ]))  # fmt: skip


@st.composite
def pipelines(draw: st.DrawFn, e: str) -> list[str]:
    """Stages with one that brings equal rows together."""
    found = []
    shown = [draw(conditions(e)) for _ in range(draw(st.integers(0, 2)))]
    if shown:
        found.append("where " + " and ".join(shown))
    if draw(st.integers(0, 3)) == 0:
        found.append(draw(st.sampled_from([
            f"select {e} as k", f"select {e} as k, type({e}) as t", f"select {e} as k, b",
            f"select {e} as k, {e} + 1 as m", f"select length({e}) as k", f"select [{e}] as k",
        ])))  # fmt: skip
        e = "k"
    order = draw(st.sampled_from(["k", "k desc", "n desc, k", "n", "k, n"]))
    count = draw(st.integers(0, 4))
    found += draw(st.sampled_from([
        *[["count"]] * 6,
        [f"group count() as n by {e} as k", f"sort {order}"],
        [f"group count() as n by {e} as k"],
        [f"group count() as n, min({e}), max({e}) by type({e}) as k", f"limit {count}"],
        [f"group count({e}) as n, sum({e}) as s, avg({e}) as m by type({e}) as k"],
        [f"group min({e}) as low, max({e}) as high"],
        [f"group max({e}) as high"],
        [f"group min({e} * 0.0) as zero"],
        [f"group count() as n by {e} * 0.0 as k", "sort k"],
        [f"group count() as n, min({e}) as low, max({e}) as high"],
        [f"group sum({e}) as s, avg({e}) as m, count() as n"],
        [f"group collect({e}) as all"],
        [f"group count() as n by {e} as k, b"],
        [f"distinct {e}", f"select {e} as k", f"limit {count}"],
        [f"distinct {e}", "count"],
        [f"distinct {e}", f"sort {e} desc", f"limit {count}", f"select {e} as k"],
        [f"distinct {e}", f"group collect({e}) as all"],
        [f"distinct {e}", f"select @name, {e} as k"],
        [f"select {e} as k", "distinct", "sort k"],
        [f"select {e} as k", "distinct", f"limit {count}"],
        [f"select {e} as k", "distinct", "select k + 1 as m"],
        [f"select {e} as k", "distinct k", "where k != 1", "count"],
        [f"distinct type({e})", f"select type({e}) as t"],
        [f"limit {count}", "count"],
        [f"sort {e}", f"limit {count}", f"select {e} as k"],
    ]))  # fmt: skip
    return found


class Alone:
    """How often an index alone was asked, and how often that came to an end."""

    begun = 0
    given_up: ClassVar[Counter[str]] = Counter()


@pytest.fixture(autouse=True)
def alone_whenever_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_choice, "COST_BY_INDEX", 0.0)
    Alone.begun, Alone.given_up = 0, Counter()

    def counted(*arguments: object) -> alone_source.AloneSource:
        Alone.begun += 1
        return alone_source.AloneSource(*arguments)

    monkeypatch.setattr(opening, "AloneSource", counted)


def build(records, late, indexed, more) -> tuple[QueryBench, str]:
    """A directory with what `more` names in it beside the records."""
    bench, path = Bench.directory()
    for index, row in enumerate(records * 2):
        bench.put(f"{path}/r{index * 7 % 31:02}{index}", row)
    parent = bench.find(path).number
    if "broken" in more:
        bench.load(f"{path}/r99x", b"{")
        bench.load(f"{path}/r01x", b"[1")
    if "links" in more and records:
        first = bench.names(path)[-1].decode()
        for name in (b"r00link", b"r16link"):
            bench.run(bench.namespace.link, bench.find(f"{path}/{first}").number, parent, name)
    if "symlink" in more:
        bench.run(bench.namespace.symlink, parent, b"r05s", b"r00", ROOT)
    if "directory" in more:
        for index, value in enumerate([1, LONG, "a", -0.0, None]):
            bench.put(f"{path}/r15below{'/x' * (index % 2)}/{index}", {"a": value})
        bench.load(f"{path}/r15below/broken", b"{")
        bench.directory(f"{path}/r90below")
    if "secret" in more:
        for index, value in enumerate([1, 3, 0.0, "A", LONG]):
            bench.put(f"{path}/r{index * 6:02}s", {"a": value})
            bench.change(f"{path}/r{index * 6:02}s", mode=0o600)
    for number, expression in enumerate(indexed):
        bench.add_index(path, f"i{number}", expression)
    bench.settle_indexes()
    for index, row in enumerate(late):
        bench.put(f"{path}/r{index * 11 % 31:02}y{index}", row)
    if late and records:
        bench.put(f"{path}/{min(bench.names(path)).decode()}", late[0])
        files = [name for name in bench.names(path) if name[-1:].isdigit()]
        bench.unlink(f"{path}/{files[-1].decode()}")
    return bench, path


def exactly(bench: QueryBench, text: str, indexes: bool) -> tuple:
    """As `asked`, but the rows as they stand: with the order of their fields and the sign of 0."""
    bench.indexes = indexes
    try:
        rows = bench.rows(text)
    except AffsError:
        return asked(bench, text, indexes), repr(bench.given)
    told = bench.report
    denied = told.denied if bench.credentials is ROOT else "not counted by an index"
    return repr(rows), told.refused, told.problems, denied


def compared(bench: QueryBench, text: str) -> None:
    begun = Alone.begun
    found = exactly(bench, text, True)
    if Alone.begun > begun and bench.report.note:
        assert bench.report.note.startswith("not from the index alone: ")
        Alone.given_up[bench.report.note] += 1
    assert found == exactly(bench, text, False), text


more = st.sets(st.sampled_from(["broken", "links", "symlink", "directory", "secret"]), max_size=2)
late = st.lists(st.fixed_dictionaries({"a": values}), max_size=2)


@MANY
@given(rows, late, expressions, more, st.data())
def an_index_alone_changes_nothing(records, late, expression, more, data) -> None:
    bench, path = build(records, late, [expression], more)
    bench.credentials = ALICE if "secret" in more else ROOT
    try:
        for _ in range(4):
            stages = data.draw(pipelines(expression))
            source = data.draw(st.sampled_from(["find", "list records"]))
            compared(bench, " | ".join([f"{source} {path}", *stages]))
    finally:
        bench.credentials = ROOT


def test_an_index_alone_changes_nothing() -> None:
    an_index_alone_changes_nothing()
    assert Alone.begun > 600
    assert Alone.given_up.total() * 4 < Alone.begun, Alone.given_up


@MANY
@given(values)
def test_a_key_tells_the_value_or_says_that_it_does_not(value: auv.Value) -> None:
    told = value_of_key(key_of_value(value))
    if told is not UNTOLD:
        assert repr(told) == repr(value)
    certain = isinstance(value, str | bytes | bool | int | auv.Char) or value is None
    if certain and value not in (LONG, LONG + "x"):
        assert told is not UNTOLD


def test_what_is_read_by_an_index_alone() -> None:
    """Only what waits, what is no record, and what its key does not tell."""
    bench, path = build([{"a": number} for number in range(40)], [], ["a"], {"broken"})

    def looked_at(text: str) -> int:
        bench.indexes = True
        bench.rows(f"list records {path} {text}")
        assert bench.report.index == "i0"
        assert bench.report.note == ""
        return bench.report.files

    every = ["| count", "| group min(a), max(a)", "| group count() by a", "| distinct a | count"]
    assert [looked_at(text) for text in every] == [2] * 4
    bench.put(f"{path}/r00late", {"a": 7})
    assert [looked_at(text) for text in every] == [3] * 4
    bench.settle_indexes()
    bench.put(f"{path}/r00zero", {"a": 0.0})
    bench.settle_indexes()
    assert [looked_at(text) for text in every] == [2, 3, 3, 3]
    compared(bench, f"list records {path} | group min(a), max(a), count()")


def test_who_may_not_read_a_file_learns_nothing_of_it_by_an_index_alone() -> None:
    told = []
    for hidden in ({"n": 3}, {"n": 500}, {"n": "x"}, {"n": 0.0}, {"n": LONG}, [1], None):
        bench, path = Bench.directory()
        for number in range(60):
            bench.put(f"{path}/{number:04}", {"n": number % 9})
        bench.load(f"{path}/secret", b"{" if hidden is None else auv.format_compact(hidden))
        bench.change(f"{path}/secret", mode=0o600)
        bench.add_index(path, "n", "n")
        bench.settle_indexes()
        bench.credentials, bench.indexes = ALICE, True
        try:
            mine = []
            for text in (
                "| count", "where n < 5 | count", "| group count() by n", "| group sum(n)",
                "| group min(n), max(n)", "where n % 2 = 0 | count", "| distinct n | select n",
                "| select n | distinct | limit 3", "| group count() as c by n | sort n",
            ):  # fmt: skip
                rows = bench.rows(f"find {path} {text}")
                mine.append((rows, dataclasses.asdict(bench.report)))
            told.append(mine)
        finally:
            bench.credentials = ROOT
    assert Alone.begun >= 50
    assert all(one == told[0] for one in told)


def test_a_kept_state_answers_by_the_index_that_it_had() -> None:
    bench, path = Bench.directory()
    for number in range(40):
        bench.put(f"{path}/{number:04}", {"n": number % 4})
    bench.add_index(path, "n", "n")
    bench.settle_indexes()
    bench.checkpoint("alone")
    for number in range(20):
        bench.put(f"{path}/{number:04}", {"n": 9})
    bench.checkpoint("waiting")
    bench.drop_index(path, "n")
    bench.settle_indexes()
    for state in ("alone", "waiting"):
        for text in (
            "| count", "| group count() as c by n", "| group max(n)", "where n < 3 | count"
        ):  # fmt: skip
            compared(bench, f"find {path} as of {state} {text}")
    assert Alone.begun == 8
    assert bench.rows(f"find {path} as of waiting | group max(n) as m") == [{"m": 9}]


def test_a_large_directory_keeps_its_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SORTED_ENTRIES_MAX", 20)
    monkeypatch.setattr(opening, "SORTED_ENTRIES_MAX", 20)
    bench, path = build([{"a": number % 5} for number in range(30)], [{"a": 9}], ["a"], {"links"})
    for text in ("group count() by a", "distinct a | select a", "select a | distinct | limit 3"):
        compared(bench, f"find {path} | {text}")
    assert Alone.begun == 3


def test_what_a_pattern_says_is_not_always_a_range() -> None:
    texts = ["a", "ab", "axb", "abc", "b", LONG, LONG + "x", "a%b"]
    bench, path = build([{"a": text} for text in texts], [{"a": "ab"}], ["a"], set())
    for pattern in ("a%", "a%b", "a_", "ab", "%b", "a\\%b", "%", f"{LONG}%", f"{LONG}x", "a%%"):
        for stages in ("count", "group min(a), max(a)"):
            text = f"list records {path} where a like {auv.format_compact(pattern)} | {stages}"
            compared(bench, text)
    compared(bench, f"list records {path} where a = 'b' or a like 'a%b' | count")
    assert Alone.begun == 21


def test_both_sides_of_a_join_may_be_answered_alone() -> None:
    bench, path = build([{"a": 1}, {"a": 2}, {"a": None}], [{"a": 2}], ["a"], {"broken"})
    counted = f"list records {path} | group count() as n by a as k | sort k"
    most = f"list records {path} | group max(a) as a"
    compared(bench, f"{counted} | outer join ({most}) on k = a as most")
    assert Alone.begun == 2
    compared(bench, f"{counted} | join ({most} | select a + 'x' as a) on k = a as most")
    compared(bench, f"{counted} | join (list records {path} | group sum(a + 1) as a) on k = a as s")
    assert not Alone.given_up


def test_directories_below_are_read_along() -> None:
    bench, path = build([{"a": number} for number in range(20)], [{"a": 70}], ["a"], {"directory"})
    for text in (
        "| count", "where a > 5 | count", "| group max(a), min(a)", "| group sum(a)",
        "where type(a) = 'Int64' | group sum(a)", "| group count() as c by a | sort a",
    ):  # fmt: skip
        compared(bench, f"find {path} {text}")
        assert bench.how(f"find {path} {text}") == "from index i0 alone, but for directories below"
    assert Alone.begun == 7
    assert Alone.given_up.total() == 1  # a String below cannot be summed up
    bench.indexes = True
    assert bench.rows(f"find {path} | count") == [{"count": 45}]
    assert bench.report.files == 8
    compared(bench, f"find {path} | distinct a | select a")
    assert bench.how(f"find {path} | distinct a | select a") == "read"


def test_a_query_that_gives_up_gives_its_memory_back() -> None:
    bench, path = build([{"a": number} for number in range(30)], [], ["a"], {"links"})
    bench.memory_bytes = 9000
    try:
        compared(bench, f"find {path} | group sum(a) as s, count() by a div 100 as k")
        assert "in memory" in bench.report.note or bench.report.note == ""
    finally:
        bench.memory_bytes = QUERY_BYTES_DEFAULT


def test_what_was_told_until_it_was_given_up_is_told_once() -> None:
    """The expression fails for a record for which the query does not ask it."""
    bench, path = build([{"a": "x"}, {"a": 7}], [{"a": "y"}], ["lower(a)"], {"broken"})
    compared(bench, f"list records {path} where 1 = 1 or lower(a) = 'x' | count")
    assert Alone.given_up.total() == 1
    assert bench.report.refused == 2


def test_order_counts_where_groups_are_collected_and_sums_are_large() -> None:
    large = [{"a": 8e307}, {"a": 5e307}, {"a": -8e307}, {"a": 0.5}]
    bench, path = build(large, [], ["a"], set())
    for text in (
        "group count() as n by a as k | group collect(k) as all", "group sum(a) as s",
        "group count() as n by a as k | where k > 0.0 | group min(k) as low, count()",
        "where a < 1e9 and a > 0.0 | group sum(a) as s",
    ):  # fmt: skip
        compared(bench, f"list records {path} | {text}".replace("| where a", "where a"))
    assert Alone.begun == 5  # one fails, and is asked twice
    assert bench.how(f"list records {path} | group collect(a)") == "read"


def test_what_came_before_an_error_comes_once() -> None:
    bench, path = build([{"a": 1}, {"a": 2}, {"a": "x"}, {"a": 3}], [], ["a"], set())
    for text in ("select a as k | distinct | select k - 1 as m", "distinct a | select a - 1 as m",
                 "where a > 1 | distinct a | group sum(a) as s", "select a - 1 as k | distinct",
                 "distinct a | sort a - 1 | select a"):  # fmt: skip
        compared(bench, f"list records {path} | {text}".replace("| where", "where"))
    assert bench.how(f"list records {path} | distinct a | select a - 1 as m") == "read"


def test_of_equal_values_the_first_one_counts() -> None:
    for more in ({"links"}, set()):
        bench, path = build([{"a": 1}, {"a": -1}, {"a": 3}], [], ["a"], more)
        for text in (
            "group min(a * 0.0) as zero", "group count() by a * 0.0 as zero | sort zero",
            "distinct a * 0.0 | select a * 0.0 as zero | sort zero",
            "select a * 0.0 as zero, a | distinct zero | select zero",
        ):  # fmt: skip
            compared(bench, f"list records {path} | {text}")
    assert Alone.begun >= 4


def test_too_many_files_to_be_read_are_read_by_a_walk(monkeypatch: pytest.MonkeyPatch) -> None:
    """That comes up in the middle of the index: nothing of it may have gone on by then."""
    monkeypatch.setattr(alone_source, "READ_MIN", 0)
    values = [{"a": number % 4} for number in range(12)] + [{"a": LONG + str(n)} for n in range(8)]
    for more in (set(), {"links"}):
        bench, path = build(values, [], ["a"], more)
        for text in (
            "select a as k | distinct | sort k", "distinct a | count", "distinct a | select a",
            "group count() as n by a | sort a", "group count(), max(a), min(a) | select *",
        ):  # fmt: skip
            compared(bench, f"list records {path} | {text}")
            assert "files have to be read" in str(list(Alone.given_up))
        compared(bench, f"list records {path} where a < 3 | group count() as n by a | sort a")
    assert Alone.given_up.total() == 10
    assert Alone.begun == 12


def test_what_comes_behind_the_last_row_that_is_wanted_is_not_looked_at() -> None:
    bench, path = build([{"a": number} for number in range(5)], [], ["a"], {"broken"})
    for text in ("distinct a | select a | limit 1", "select a | distinct | limit 2"):
        compared(bench, f"list records {path} | {text}")
    assert Alone.given_up.total() == 2
