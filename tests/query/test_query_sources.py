"""Where rows come from: names, rights, kept states, differences, no records, cold volumes."""

import random

import pytest
from posix_harness import ALICE, BOB, ROOT
from query_harness import QueryBench

from affs_fuse.core.constants import NAME_MAX
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Changes
from affs_fuse.query.memory import QUERY_BYTES_MAX, Allowance, Pool


def names(rows: list[dict]) -> list[str]:
    return [row["path"] for row in rows]


def test_find_goes_depth_first_in_the_order_of_names(bench: QueryBench) -> None:
    for path in ("/b/z", "/b/a/x", "/a", "/c", "/b/a/w"):
        bench.put(path, {"p": path})
    assert names(bench.rows("find files /")) == [
        "/a", "/b", "/b/a", "/b/a/w", "/b/a/x", "/b/z", "/c",
    ]  # fmt: skip
    assert names(bench.rows("list /")) == ["/a", "/b", "/c"]
    assert names(bench.rows("list /b/")) == ["/b/a", "/b/z"]
    assert names(bench.rows("find /b")) == ["/b/a/w", "/b/a/x", "/b/z"]
    assert bench.rows("find files /b/z")[0]["path"] == "/b/z"


def test_every_name_of_an_object_is_a_row(bench: QueryBench) -> None:
    number = bench.put("/one", 1)
    bench.run(bench.namespace.link, number, bench.directory("/d"), b"two")
    rows = bench.rows("find / | select $ as v, @path, @id, @links")
    assert names(rows) == ["/d/two", "/one"]
    assert rows[0]["id"] == rows[1]["id"]
    assert rows[0]["links"] == 2


def test_names_that_are_no_text_and_names_of_full_length(bench: QueryBench) -> None:
    odd = b"\xff\xfe|'\""
    bench.run(bench.namespace.mkdir, 1, odd, 0o755, ROOT)
    bench.put("/" + "n" * NAME_MAX, 1)
    rows = bench.rows("list /")
    assert rows[0]["path"] == "/" + "n" * NAME_MAX
    assert "path_b64" not in rows[0]
    assert rows[1]["path"] == "/\ufffd\ufffd|'\""
    assert rows[1]["path_b64"] == "L//+fCci"


def test_what_is_no_record_is_told_and_left_alone(bench: QueryBench) -> None:
    bench.put("/d/good", {"a": 1})
    bench.load("/d/bad", '{\n  "a": 1,\n  "b" 2\n}')
    bench.load("/d/binary", bytes(range(256)))
    bench.load("/d/empty", "")
    assert bench.rows("find /d | select a") == [{"a": 1}]
    report = bench.report
    assert (report.files, report.refused, report.denied) == (4, 3, 0)
    bad = next(one for one in report.problems if one["path"] == "/d/bad")
    assert (bad["code"], bad["line"], bad["column"]) == ("record.syntax", 3, 7)
    with pytest.raises(AffsError) as caught:
        bench.rows("get /d/bad")
    assert caught.value.code == "record.syntax"
    assert caught.value.details["line"] == 3
    bench.rows("find /d where @name = 'good'")
    assert bench.report.refused == 0
    assert bench.read("/d/binary") == bytes(range(256))


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("get /none", "record.not_found"), ("find /none", "record.not_found"),
        ("list /file/below", "record.path"), ("get /d", "record.no_file"),
        ("get /d/../file", "record.path"), ("get " + "0" * 32, "record.not_found"),
        ("get /" + "x" * 300, "record.path"),
    ],
)  # fmt: skip
def test_paths_that_name_nothing(bench: QueryBench, query: str, code: str) -> None:
    bench.put("/file", 1)
    bench.directory("/d")
    with pytest.raises(AffsError) as caught:
        bench.rows(query)
    assert caught.value.code == code


def test_an_id_survives_renames(bench: QueryBench) -> None:
    bench.put("/d/one", {"a": 1})
    found = bench.rows("get /d/one")[0]["id"]
    bench.directory("/e")
    bench.rename("/d/one", "/e/two")
    row = bench.rows(f"get {found}")[0]
    assert (row["path"], row["value"], row["id"]) == ("/e/two", {"a": 1}, found)
    bench.unlink("/e/two")
    with pytest.raises(AffsError, match="there is no"):
        bench.rows(f"get {found}")


def test_who_asks_sees_what_they_could_read(bench: QueryBench) -> None:
    bench.put("/open/a", 1)
    secret = bench.load("/open/secret", "2", ALICE)
    bench.run(bench.namespace.setattr, secret, Changes(mode=0o600), ROOT)
    closed = bench.directory("/closed")
    bench.put("/closed/b", 3)
    bench.run(bench.namespace.setattr, closed, Changes(mode=0o711), ROOT)
    assert len(bench.rows("find /")) == 3
    bench.credentials = BOB
    assert [row["value"] for row in bench.rows("find /")] == [1]
    assert bench.report.denied == 2
    assert names(bench.rows("find files /")) == ["/closed", "/open", "/open/a", "/open/secret"]
    assert bench.rows("get /closed/b | select $ as v") == [{"v": 3}]  # 0711: found by its name
    with pytest.raises(AffsError) as caught:
        bench.rows("get /open/secret")
    assert caught.value.code == "record.denied"
    bench.run(bench.namespace.setattr, closed, Changes(mode=0o700), ROOT)
    with pytest.raises(AffsError) as caught:
        bench.rows("get /closed/b")
    assert caught.value.code == "record.denied"
    bench.credentials = ALICE
    assert [row["value"] for row in bench.rows("find /open")] == [1, 2]


def test_records_in_extents_and_buffers_are_read_whole(bench: QueryBench) -> None:
    texts = {f"/d/r{size}": "x" * size for size in (10, 2040, 2048, 4096, 70_000, 1_000_000)}
    for path, text in texts.items():
        bench.put(path, {"t": text})
    bench.commit()
    bench.open()  # nothing is cached any more
    found = bench.rows("find /d | select @path, t, length(t) as n, @data_commit, @data_kind")
    assert {row["path"]: row["t"] for row in found} == texts
    by_path = {row["path"]: row for row in found}
    assert by_path["/d/r10"]["data_commit"] is None
    assert by_path["/d/r70000"]["data_commit"] >= 1
    assert by_path["/d/r1000000"]["data_kind"] == "medium"


def test_extended_attributes(bench: QueryBench) -> None:
    number = bench.put("/a", 1)
    bench.put("/b", 2)
    large = bytes(range(256)) * 40
    bench.run(bench.namespace.setxattr, number, b"user.tag", b"red", 0, ROOT)
    bench.run(bench.namespace.setxattr, number, b"user.raw", large, 0, ROOT)
    bench.commit()
    bench.open()
    found = bench.rows('list / where xattrs["user.tag"] = "red" | select name, xattrs')
    assert found == [{"name": "a", "xattrs": {"user.raw": large, "user.tag": "red"}}]


def test_kept_states_and_differences_against_a_model(bench: QueryBench) -> None:
    """Random changes; at every checkpoint the state's contents are remembered."""
    chance = random.Random(4)
    now: dict[str, int] = {}
    kept: dict[str, dict[str, int]] = {}
    ids: dict[str, dict[str, str]] = {}

    def snapshot() -> dict[str, int]:
        rows = bench.rows("find /d | select @path, $ as v, @id")
        return {row["path"]: (row["v"], row["id"]) for row in rows}

    bench.directory("/d/e")
    for step in range(120):
        path = f"/d/{chance.choice(['', 'e/'])}r{chance.randrange(25)}"
        action = chance.choice(["put", "put", "remove", "move", "keep"])
        other = f"/d/{chance.choice(['', 'e/'])}r{chance.randrange(25)}"
        if action == "put":
            bench.put(path, step)
            now[path] = step
        elif action == "remove" and path in now:
            bench.unlink(path)
            del now[path]
        elif action == "move" and path in now and path != other:
            bench.rename(path, other)
            now[other] = now.pop(path)
        elif action == "keep" and len(kept) < 8:
            label = f"s{step}"
            bench.checkpoint(label)
            kept[label] = dict(now)
            ids[label] = {path: found[1] for path, found in snapshot().items()}
    here = snapshot()
    assert {path: found[0] for path, found in here.items()} == now
    assert len(kept) > 3
    for label, wanted in kept.items():
        rows = bench.rows(f"find /d as of {label} | select @path, $ as v")
        assert {row["path"]: row["v"] for row in rows} == wanted
        changed = bench.rows(f"find /d changed since {label} | select @path, $ as v, @change")
        known = {found: path for path, found in ids[label].items()}
        expected = {}
        for path, (value, found) in here.items():
            old = known.get(found)
            if old is None:
                expected[path] = (value, "added")
            elif old != path or wanted[old] != value:
                expected[path] = (value, "changed")
        assert {row["path"]: (row["v"], row["change"]) for row in changed} == expected
    older, newer = list(kept)[1], list(kept)[-1]
    both = bench.rows(f"find /d as of {newer} changed since {older} | count")
    assert both[0]["count"] <= len(kept[newer])


def test_a_limit_ends_the_reading(bench: QueryBench) -> None:
    for index in range(50):
        bench.put(f"/d/r{index:02}", index)
    assert len(bench.rows("find /d | limit 3")) == 3
    assert bench.report.files == 3
    assert bench.rows("find /d where $ >= 10 | skip 1 | limit 2 | select $ as v") == [
        {"v": 11}, {"v": 12},
    ]  # fmt: skip
    assert bench.report.files == 13
    assert bench.rows("find /d | limit 0") == []
    assert bench.report.files == 0


def test_memory_is_refused_by_name_and_given_back(bench: QueryBench) -> None:
    for index in range(80):
        bench.put(f"/d/r{index:02}", {"n": index, "t": "x" * 2000})
    bench.memory_bytes = 110_000
    for query, stage in [
        ("find /d | sort n", "sort"), ("find /d | distinct t, n", "distinct"),
        ("find /d | group collect(t) as all", "collect"),
        ("find /d | group count() by t, n", "group"),
        ("find /d | group min(t) by n", "min"), ("find /d | group max([t]) as m by n", "max"),
        ("find /d | join (find /d) on n = n as o", "join"),
        ("find /d | select n, t | sort n desc | limit 70", "sort"),
    ]:  # fmt: skip
        with pytest.raises(AffsError) as caught:
            bench.rows(query)
        assert caught.value.code == "query.memory"
        assert caught.value.details["stage"] == stage
        assert "--memory MIB" in caught.value.hint
        assert caught.value.details["limit_bytes"] == bench.memory_bytes
        assert bench.pool.used == 0
    assert len(bench.rows("find /d | sort n desc | limit 3")) == 3
    assert bench.rows("find /d | group sum(n) as s") == [{"s": 3160}]


def test_a_query_that_has_all_memory_is_told_of_no_more() -> None:
    memory = Allowance(Pool(QUERY_BYTES_MAX * 2), QUERY_BYTES_MAX)
    with pytest.raises(AffsError) as caught:
        memory.take(QUERY_BYTES_MAX + 1, "sort")
    assert "--memory" not in caught.value.hint


def test_all_queries_together_have_a_limit() -> None:
    pool = Pool(1000)
    first, second = Allowance(pool, 800), Allowance(pool, 800)
    first.take(700, "sort")
    with pytest.raises(AffsError) as caught:
        second.take(400, "sort")
    assert (caught.value.code, caught.value.retryable) == ("query.memory", True)
    first.close()
    second.take(400, "sort")
    second.close()
    assert pool.used == 0


def test_a_cold_volume_gives_the_same_rows(bench: QueryBench) -> None:
    small = QueryBench(cache_bytes=1 << 20)
    for index in range(3000):
        small.put(f"/d{index % 7}/r{index}", {"n": index, "pad": "p" * 700})
    query = "find / where n % 3 = 0 | group count() as c, sum(n) as s by n % 7 as k | sort k"
    warm = small.rows(query)
    small.open()
    assert small.rows(query) == warm
    assert sum(row["c"] for row in warm) == 1000


def test_large_directories_keep_their_own_order(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = QueryBench()
    for index in range(900):
        bench.load(f"/d/{index}", str(index))
    monkeypatch.setattr("affs_fuse.query.sources.SORTED_ENTRIES_MAX", 100)
    first = bench.rows("find /d | select $ as v")
    assert sorted(row["v"] for row in first) == list(range(900))
    bench.open()
    assert bench.rows("find /d | select $ as v") == first


def test_access_times_do_not_move(bench: QueryBench) -> None:
    number = bench.put("/a", 1)
    before = bench.run(bench.namespace.getattr, number).inode
    bench.now += 10**18
    bench.rows("find /")
    assert bench.run(bench.namespace.getattr, number).inode == before


def test_no_step_is_long(bench: QueryBench) -> None:
    """A slice that has no time left ends after one file, one part of a directory, or a few
    matches: also where nothing comes out."""
    for index in range(300):
        bench.put(f"/d/{index % 3}/r{index:03}", {"n": index, "k": 1})
    bench.checkpoint("before")
    for index in range(150):
        bench.put(f"/d/{index % 3}/r{index:03}", {"n": index, "k": 2})
    for query, least in [
        ("find files / where name = 'none'", 300), ("find / where n < 0", 300),
        ("find / changed since before where @name = 'none'", 150),
        ("find / | join (find /) on @kind = @kind as o | limit 40000 | count", 40_000 // 64),
        ("find / | sort n | join (find /) on k = k as o | count", 150 * 150 // 64),
        ("find / | sort n desc, k", 600), ("find / | group count() by n", 600),
    ]:  # fmt: skip
        execution = bench.execution(query)
        most = 0
        while (rows := bench.step(execution)) is not None:
            most = max(most, len(rows))
        assert execution.steps >= least, query
        assert most <= 64, query
        execution.close()


def test_joins_of_many_rows_with_many_give_all(bench: QueryBench) -> None:
    for index in range(150):
        bench.put(f"/d/r{index:03}", {"n": index})
    query = (
        "find /d | join (find /d) on @kind = @kind as o | join (find /d where n < 3) on @kind = "
        "@kind as p | count"
    )
    with pytest.raises(AffsError) as caught:  # a join leaves no attributes
        bench.rows(query)
    assert caught.value.code == "query.field"
    query = (
        "find /d | select n, 1 as k | join (find /d | select n, 1 as k) on k = k as o | "
        "join (find /d where n < 3 | select n, 1 as k) on k = k as p | "
        "group count() as c, sum(o.n) as s, sum(p.n) as t"
    )
    few = "find /d | select n, 1 as k | limit 2 | join (find /d | select n, 1 as k) on k = k as o"
    assert len(bench.rows(few)) == 300
    assert bench.rows(few + " | limit 200 | count") == [{"count": 200}]
    assert bench.rows(few + " | sort o.n desc | limit 3 | select o.n")[2] == {"n": 148}
    total = 150 * 149 // 2
    assert bench.rows(query) == [
        {"c": 150 * 150 * 3, "s": 150 * total * 3, "t": 150 * 150 * 3},
    ]  # fmt: skip
