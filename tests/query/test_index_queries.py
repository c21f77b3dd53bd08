"""Queries with indexes give what they give without: rows, their order, errors, and what is told."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from posix_harness import ALICE, ROOT
from query_harness import QueryBench
from test_query_model import (
    SETTINGS,
    Part,
    endings,
    operands,
    records,
    stages,
    values,
)

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.query import index_choice, index_walk, opening, sources

INDEXED = ["a", "b", "c", "a.x", "lower(a)", "$"]
MORE = settings(SETTINGS, max_examples=400)

BROKEN = [b"{", b"", b"[1]", b"{}", b'{"a": 1'] * 2


class Bench:
    made: QueryBench | None = None
    count = 0

    @classmethod
    def directory(cls) -> tuple[QueryBench, str]:
        if cls.made is None:
            cls.made = QueryBench(size_bytes=256 << 20, cache_bytes=8 << 20)
        cls.count += 1
        cls.made.directory(f"/x{cls.count}")
        return cls.made, f"/x{cls.count}"


def asked(bench: QueryBench, text: str, indexes: bool) -> tuple:
    """What somebody sees of it. How many files were looked at is another number by an index."""
    bench.indexes = indexes
    try:
        rows = bench.rows(text)
    except AffsError as error:
        return error.code, error.message, error.details.get("column"), error.details.get("path")
    told = bench.report
    return auv.format_canonical(rows), told.refused, told.problems, told.denied


simple = st.builds(
    lambda name, operator, value: Part(f"{name} {operator} {auv.format_compact(value)}", None),
    st.sampled_from([*INDEXED, "@name"]), st.sampled_from(["=", "<", "<=", ">", ">="]), values,
)  # fmt: skip
chosen = st.lists(
    simple
    | st.builds(
        lambda name, many: Part(f"{name} in {auv.format_compact(many)}", None),
        st.sampled_from(INDEXED),
        st.lists(values, max_size=3),
    )
    | st.builds(
        lambda name, low, high: Part(
            f"{name} between {auv.format_compact(low)} and {auv.format_compact(high)}", None
        ),
        st.sampled_from(INDEXED),
        values,
        values,
    )
    | st.sampled_from(
        [
            "a like 'a%'",
            "b like '%b'",
            "c like 'ab'",
            "lower(a) like 'a_'",
            "a = 1 or a = 2",
            "a < 0 or a > 2",
            "a = 1 or b = 1",
            "lower(b) = 'a'",
        ]
    ).map(lambda text: Part(text, None)),
    max_size=3,
).map(lambda parts: Part("where " + " and ".join(p.text for p in parts), None) if parts else None)
sorts = st.none() | st.builds(
    lambda keys, count: Part(
        "sort " + ", ".join(f"{key} {'desc' if down else 'asc'}" for key, down in keys)
        + f" | limit {count}", None),
    st.lists(st.tuples(st.sampled_from(INDEXED), st.booleans()), min_size=1, max_size=2),
    st.integers(0, 6),
)  # fmt: skip


def build(rows, broken, indexed, late, copies):
    """A directory: records before and after the indexes caught up, files that are none, names."""
    bench, path = Bench.directory()
    for index, row in enumerate(rows * copies):
        bench.put(f"{path}/r{index * 7 % 31:03}{index}", row)
    for index, text in enumerate(broken):
        bench.load(f"{path}/r{index * 5 % 31:03}x{index}", text)
    for number, expression in enumerate(indexed):
        bench.add_index(path, f"i{number}", expression)
    bench.settle_indexes()
    for index, row in enumerate(late):
        bench.put(f"{path}/r{index * 11 % 31:03}y{index}", row)
    if late and rows:
        first = bench.names(path)[0].decode()
        parent, name = bench.place(f"{path}/r015link")
        bench.run(bench.namespace.link, bench.find(f"{path}/{first}").number, parent, name)
        bench.load(f"{path}/{bench.names(path)[-1].decode()}", b'{"a": 2, "b": "late"}')
    return bench, path


class Used:
    """How often an index was asked: the test would be none if it hardly ever was."""

    times = 0


def compared(bench: QueryBench, text: str) -> None:
    found = asked(bench, text, True)
    Used.times += bool(bench.report.index)
    assert found == asked(bench, text, False)


@pytest.fixture(autouse=True)
def index_whenever_possible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_choice, "COST_BY_INDEX", 0.0)
    monkeypatch.setattr(index_choice, "SPARED_MIN", -1e9)
    Used.times = 0


@MORE
@given(
    records, st.lists(st.sampled_from(BROKEN), max_size=2),
    st.lists(st.sampled_from(INDEXED), min_size=1, max_size=3, unique=True),
    st.lists(st.dictionaries(st.sampled_from("abc"), values, max_size=2), max_size=2),
    chosen, sorts, st.lists(stages, max_size=2), endings,
)  # fmt: skip
def an_index_changes_nothing(rows, broken, indexed, late, first, order, parts, end) -> None:
    bench, path = build(rows, broken, indexed, late, 3)
    stages_of = [part.text for part in [first, order, *parts, end] if part is not None]
    compared(bench, " | ".join([f"find {path}", *stages_of]))


def test_an_index_changes_nothing() -> None:
    an_index_changes_nothing()
    assert Used.times > 80


@SETTINGS
@given(records, operands, st.integers(1, 5), st.booleans())
def ties_come_in_the_order_of_names(rows, other: Part, count: int, down: bool) -> None:
    bench, path = build(rows, [], ["a"], [{"a": 1}], 4)
    order = "desc" if down else "asc"
    compared(
        bench, f"find {path} | sort a {order} | limit {count} | select @name, {other.text} as o"
    )


def test_ties_come_in_the_order_of_names() -> None:
    ties_come_in_the_order_of_names()
    assert Used.times > 100


def test_a_large_directory_keeps_its_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "SORTED_ENTRIES_MAX", 20)
    monkeypatch.setattr(opening, "SORTED_ENTRIES_MAX", 20)
    bench, path = build([{"a": number % 3} for number in range(30)], [b"{"], ["a"], [{"a": 1}], 4)
    for text in (
        "where a = 1",
        "where a > 0 | limit 7",
        "sort a | limit 5",
        "sort a desc | limit 9",
    ):
        compared(bench, f"find {path} | {text} | select @name, a")
    assert Used.times == 4


def test_an_index_is_asked_where_it_spares_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bench, path = Bench.directory()
    for number in range(600):
        bench.put(f"{path}/{number:04}", {"n": number, "half": number % 2, "t": f"t{number % 20}"})
    for name in ("n", "half", "t"):
        bench.add_index(path, name, name)
    bench.settle_indexes()

    def index_of(text: str) -> str:
        bench.indexes = True
        bench.rows(f"{text} | select @name")
        return bench.report.index

    assert index_of(f"find {path} where n < 10") == "n"
    assert index_of(f"find {path} where half = 1 and n < 10") == "n"
    assert index_of(f"find {path} where t = 't7' and half = 1") == "t"
    assert index_of(f"find {path} where n > 10") == ""  # nearly all
    assert index_of(f"find {path} where half = 1 and n * 2 < 20") == "half"
    assert index_of(f"find {path} where n * 2 < 20 and t = 't7'") == ""  # could fail for others
    assert index_of(f"find {path} where t = 't7' and n * 2 < 20") == "t"
    assert index_of(f"find {path} | sort n desc | limit 5") == "n"
    assert index_of(f"find {path} | sort n desc") == ""
    assert index_of(f"find {path} where n in [1, 2, 3]") == "n"
    assert index_of(f"find {path} where t like 't1_'") == "t"
    assert index_of(f"find {path} where t like '%1'") == ""
    assert index_of(f"list records {path} where n between 3 and 5") == "n"
    bench.directory(f"{path}/below")
    assert index_of(f"find {path} where n < 10") == "n"
    assert index_of(f"find {path} where n > 10") == ""
    assert index_of(f"find {path} | sort n | limit 3") == "n"
    assert bench.report.files == 3
    assert index_of(f"find {path} where exists n | sort n | limit 3") == ""
    assert index_of(f"list records {path} where n < 10") == "n"


expressions = st.lists(st.sampled_from(INDEXED), min_size=1, max_size=3, unique=True)
late = st.lists(st.dictionaries(st.sampled_from("abc"), values, max_size=2), max_size=2)


@SETTINGS
@given(
    st.lists(st.tuples(records, expressions, late), min_size=2, max_size=3),
    st.integers(0, 2), simple, chosen, st.lists(stages, max_size=1), endings,
)  # fmt: skip
def directories_ask_their_own_indexes(parts, nested, one, first, rest, end) -> None:
    """Some directories below one, with indexes of their own, among files in front of and behind."""
    bench, path = build(parts[0][0], [b"{"], parts[0][1], parts[0][2], 2)
    for number, (rows, indexed, changed) in enumerate(parts[1:]):
        below = f"{path}/r{number * 7:02}below" + "/deep" * (number == nested)
        for index, row in enumerate(rows * 2):
            bench.put(f"{below}/s{index * 7 % 31:03}{index}", row)
        bench.directory(below)
        if number != nested:
            for index, expression in enumerate(indexed):
                bench.add_index(below, f"j{index}", expression)
        bench.settle_indexes()
        for index, row in enumerate(changed):
            bench.put(f"{below}/s{index * 11:03}y", row)
    stages_of = [part.text for part in [first, *rest, end] if part is not None]
    compared(bench, " | ".join([f"find {path} where {one.text}", *stages_of]))


def test_directories_ask_their_own_indexes() -> None:
    directories_ask_their_own_indexes()
    assert Used.times > 20


@SETTINGS
@given(
    records, records, late, st.sampled_from(INDEXED), st.booleans(), operands,
    st.integers(0, 6), st.integers(0, 2), endings,
)  # fmt: skip
def first_rows_lie_below_as_well(rows, below, late, key, down, other, count, skip, end) -> None:
    bench, path = build(rows, [b"{"], [key], late, 3)
    for index, row in enumerate(below):
        bench.put(f"{path}/r{index * 7 % 31:03}below/s{index}", row)
    order = "desc" if down else "asc"
    compared(
        bench, f"find {path} | sort {key} {order}, {other.text} | skip {skip} | limit {count} "
        f"| {end.text}"
    )  # fmt: skip


def test_first_rows_lie_below_as_well() -> None:
    first_rows_lie_below_as_well()
    assert Used.times > 80


def test_rows_of_directories_below_come_in_their_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few files named, with many, with directories, and in an order of their own."""
    bench, path = Bench.directory()
    for below in ("", "/b", "/b/c", "/z"):
        for number in range(60):
            bench.put(f"{path}{below}/{number * 37 % 60:02}", {"n": number, "where": below})
        bench.add_index(f"{path}{below}", f"n{below}", "n")
    bench.settle_indexes()
    parent, name = bench.place(f"{path}/00link")
    bench.run(bench.namespace.link, bench.find(f"{path}/b/c/05").number, parent, name)
    for text in ("where n < 3", "where n < 55", "where n in [7, 9] and n > 1 | limit 5"):
        compared(bench, f"find {path} {text} | select @path, n")
        assert bench.how(f"find {path} {text}") == "read"
    bench.indexes = True
    bench.rows(f"find {path} where n < 3")
    assert (bench.report.index, bench.report.files) == ("n, n/b, n/b/c, n/z", 13)
    monkeypatch.setattr(sources, "SORTED_ENTRIES_MAX", 20)
    monkeypatch.setattr(index_walk, "SORTED_ENTRIES_MAX", 20)
    compared(bench, f"find {path} where n < 3 | select @path, n")
    assert Used.times == 4


def test_two_indexes_rule_out_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    bench, path = Bench.directory()
    for number in range(600):
        bench.put(f"{path}/{number:04}", {"n": number, "m": number * 7 % 600, "t": number % 3})
    for name in ("n", "m", "t"):
        bench.add_index(path, name, name)
    bench.load(f"{path}/none", b"{")
    bench.settle_indexes()
    bench.put(f"{path}/0001", {"n": 7, "m": 7, "t": 0})
    for text, index, spared in (
        ("where n < 200 and m < 200", "n, m", 0),
        ("where n < 200 and m < 200 and t = 1", "n, t, m", 0),
        ("where n < 5 and m < 200", "n", 3),
        ("where n < 200 and n + m < 200", "n", 180),
    ):
        compared(bench, f"find {path} {text} | select @name, n, m")
        bench.indexes = True
        rows = bench.rows(f"find {path} {text} | select n")
        assert bench.report.index == index
        assert 0 < bench.report.files - len(rows) <= 2 + spared
    bench.credentials = ALICE
    try:
        bench.rows(f"find {path} where n < 200 and m < 200 | select n")
        assert bench.report.index in ("n", "m")
    finally:
        bench.credentials = ROOT


def test_a_kept_state_asks_the_index_that_it_had() -> None:
    bench, path = Bench.directory()
    for number in range(40):
        bench.put(f"{path}/{number:04}", {"n": number})
    bench.add_index(path, "n", "n")
    bench.settle_indexes()
    bench.checkpoint("with-index")
    for number in range(40):
        bench.put(f"{path}/{number:04}", {"n": number + 100})
    bench.checkpoint("pending")
    bench.settle_indexes()
    bench.drop_index(path, "n")
    bench.settle_indexes()
    for state in ("with-index", "pending"):
        compared(bench, f"find {path} as of {state} where n = 3 | select n")
    assert Used.times == 2
    assert bench.rows(f"find {path} as of with-index where n = 3 | select n") == [{"n": 3}]
    assert bench.rows(f"find {path} as of pending where n = 103 | select n") == [{"n": 103}]


def test_who_may_not_read_a_file_learns_nothing_of_it() -> None:
    """Neither by what is counted nor by which index is asked: whatever the hidden values are."""
    told = []
    for hidden in (3, 500):
        bench, path = Bench.directory()
        for number in range(60):
            bench.put(f"{path}/{number:04}", {"n": number})
        secret = bench.put(f"{path}/secret", {"n": hidden})
        bench.change(f"{path}/secret", mode=0o600)
        bench.add_index(path, "n", "n")
        bench.settle_indexes()
        assert bench.find(f"{path}/secret").number == secret
        bench.credentials, bench.indexes = ALICE, True
        try:
            for text in (
                "where n < 5",
                "where n > 400",
                "where n < 59",
                "where @name = 'secret' and n < 5",
                "sort n | limit 3",
                "sort n desc | limit 3",
                "where n = 3 | sort n | limit 1",
            ):
                rows = bench.rows(f"find {path} {'| ' if text[0] == 's' else ''}{text} | select n")
                told.append((rows, dataclasses.asdict(bench.report)))
                assert bench.report.index == "n"
                assert bench.report.denied == 0
        finally:
            bench.credentials = ROOT
    assert told[: len(told) // 2] == told[len(told) // 2 :]
