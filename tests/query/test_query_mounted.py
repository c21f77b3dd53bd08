"""Queries by command over a mounted volume: what the mount shows is what a query sees, at once."""

import json
import os
import subprocess
import sys
import threading

import pytest
from mounted import END_TIMEOUT_S, ENVIRONMENT, Mounted

from affs_ctl.client import Client
from affs_fuse.errors import AffsError

pytestmark = pytest.mark.mount


def ask(client: Client, line: str) -> tuple[list, dict]:
    """(rows, summary)."""
    call = client.start(line)
    summary = call.result()
    return call.items, summary


def test_queries_see_what_the_mount_shows(mounted: Mounted) -> None:
    people = mounted.directory / "people"
    people.mkdir()
    for index in range(200):
        (people / f"p{index:03}").write_text(json.dumps({"age": index % 50, "n": index}))
    with mounted.client() as client:
        rows, summary = ask(client, "find /people where age >= 48 | sort n desc | limit 3")
        assert [row["value"]["n"] for row in rows] == [199, 198, 149]
        assert (summary["rows"], summary["files"], summary["refused"]) == (3, 200, 0)
        (people / "p199").write_text('{"age": 1')
        os.rename(people / "p198", people / "moved")
        rows, summary = ask(client, "find /people where age >= 48 | sort n desc | limit 1")
        assert rows[0]["path"] == "/people/moved"
        assert summary["problems"][0]["path"] == "/people/p199"
        assert (summary["problems"][0]["line"], summary["problems"][0]["column"]) == (1, 10)
        (people / "moved").unlink()
        rows, _ = ask(client, "list /people | count")
        assert rows == [{"count": 199}]


def test_kept_states(mounted: Mounted) -> None:
    (mounted.directory / "a").write_text("1")
    with mounted.client() as client:
        client.run("checkpoint -l one")
        (mounted.directory / "a").write_text("2")
        (mounted.directory / "b").write_text("3")
        assert ask(client, "find / as of one | select $ as v")[0] == [{"v": 1}]
        assert ask(client, "find / as of @ | select $ as v")[0] == [{"v": 1}]
        changed, _ = ask(client, "find / changed since one | select $ as v, @change")
        assert changed == [{"v": 2, "change": "changed"}, {"v": 3, "change": "added"}]
        client.run("rollback one --yes")
        assert ask(client, "find / | select $ as v")[0] == [{"v": 1}]
        with pytest.raises(AffsError) as caught:
            ask(client, "find / as of none")
        assert caught.value.code == "state.not_found"


def test_errors_point_into_the_line(mounted: Mounted) -> None:
    with mounted.client() as client:
        for line, code, column in [
            ("find / | srt a", "query.syntax", 10),
            ("list / where sise > 1", "query.field", 14),
            ("explain find / | limt 3", "query.syntax", 10),
        ]:
            with pytest.raises(AffsError) as caught:
                ask(client, line)
            assert (caught.value.code, caught.value.details["column"]) == (code, column)
            assert caught.value.details["line"] in line
        with pytest.raises(AffsError) as caught:
            ask(client, "get /none")
        assert caught.value.code == "record.not_found"


def test_explain(mounted: Mounted) -> None:
    folder = mounted.directory / "d"
    folder.mkdir()
    for index in range(20):
        (folder / str(index)).write_text(str(index))
    with mounted.client() as client:
        line = "find /d where $ >= 10 and @size > 0 | sort $ desc | skip 1 | limit 3"
        steps, _ = ask(client, f"explain {line}")
        assert [step["step"] for step in steps] == ["source", "where", "sort", "skip", "limit"]
        assert "early: @size > 0" in steps[0]["text"]
        assert "reads inodes, content" in steps[0]["text"]
        assert "the first 4" in steps[2]["text"]
        assert steps[0]["rows"] == 10
        steps, summary = ask(client, f"explain analyze {line}")
        assert [(step["in"], step["out"]) for step in steps] == [
            (20, 20), (20, 10), (10, 4), (4, 3), (3, 3),
        ]  # fmt: skip
        assert (summary["rows"], summary["files"]) == (3, 20)
        assert summary["memory_bytes"] > 0
        inner = "find /d | join (find /d where $ < 5) on $ = $ as o | count"
        steps, _ = ask(client, f"explain --analyze {inner}")
        assert [step.get("inside") for step in steps] == [None, "join", "join", None, None]
        assert [step["out"] for step in steps] == [20, 20, 5, 5, 1]


def test_a_query_ends_when_its_client_has_enough(mounted: Mounted) -> None:
    folder = mounted.directory / "d"
    folder.mkdir()
    for index in range(3000):
        (folder / str(index)).write_text(json.dumps({"n": index, "pad": "x" * 500}))
    with mounted.client() as client:
        line = "find /d | join (find /d) on @kind = @kind as o"
        with pytest.raises(AffsError) as caught:
            client.run(line, deadline_ms=300)
        assert caught.value.code == "request.deadline"
        assert ask(client, "find /d | count")[0] == [{"count": 3000}]


def test_the_mount_answers_while_queries_run(mounted: Mounted) -> None:
    folder = mounted.directory / "d"
    folder.mkdir()
    for index in range(1500):
        (folder / str(index)).write_text(json.dumps({"n": index, "pad": "x" * 300}))
    results: list[int] = []

    def query() -> None:
        with mounted.client() as client:
            rows, _ = ask(client, "find /d | group sum(n) as s, count() as c")
            results.append((rows[0]["s"], rows[0]["c"]))

    threads = [threading.Thread(target=query) for _ in range(4)]
    for thread in threads:
        thread.start()
    for index in range(100):
        path = mounted.directory / f"w{index}"
        path.write_text(str(index))
        assert path.read_text() == str(index)
    for thread in threads:
        thread.join()
    assert results == [(1500 * 1499 // 2, 1500)] * 4


def test_affsctl_takes_a_query_as_one_word_or_many(mounted: Mounted) -> None:
    folder = mounted.directory / "my people"
    folder.mkdir()
    (folder / "anna").write_text('{"name": "Anna", "age": 31, "likes": "a|b"}')
    whole = (
        """"/my people" where name like 'A%' and age > 30 and likes = "a|b" | select name, age"""
    )
    assert mounted.affsctl("find", whole)["items"] == [{"name": "Anna", "age": 31}]
    shown = subprocess.run(
        [sys.executable, "-m", "affs_ctl", "-V", str(mounted.directory), "find", whole],
        env=ENVIRONMENT, capture_output=True, text=True, check=True, timeout=END_TIMEOUT_S,
    )  # fmt: skip
    assert shown.stdout.splitlines()[0] == 'name="Anna"  age=31'
    found = mounted.affsctl("find", "/", "where", "age", "=", "31")
    assert found["items"][0]["path"] == "/my people/anna"
    said = mounted.affsctl("find", "/", "where", "age", ">", "30", status=2)
    assert "quoted as one word" in said
