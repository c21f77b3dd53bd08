"""Indexes by command on a mounted volume, while files change through the mount."""

import json
import os
from pathlib import Path

import pytest
from mounted import Mounted, fsck
from test_query_mounted import ask

from affs_ctl.client import Client
from affs_fuse.core.constants import ITEM_INDEX
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Event
from affs_fuse.volume.index_check import split_page
from affs_tools import fsck as fsck_program
from affs_tools.library import Library

pytestmark = pytest.mark.mount

COUNT = 300


@pytest.fixture
def people(mounted: Mounted, client: Client) -> None:
    operations = [
        {"create": f"/p/{number:04}", "value": {"n": number, "name": f"N{number % 50}"}}
        for number in range(COUNT)
    ]
    client.command("batch", {"operations": operations})


def refused(client: Client, line: str) -> AffsError:
    with pytest.raises(AffsError) as caught:
        client.run(line)
    return caught.value


def numbers(client: Client, condition: str) -> list[int]:
    return [row["n"] for row in ask(client, f"find /p where {condition} | select n")[0]]


@pytest.mark.usefixtures("people")
def test_an_index_through_its_life(client: Client) -> None:
    row = client.run("index /p n")
    wanted = {"path": "/p", "name": "n", "expression": "n", "state": "ready", "entries": COUNT}
    assert {key: row[key] for key in wanted} == wanted
    client.run("index /p lower(name) --name low")
    rows, _ = ask(client, "indexes /p")
    assert [(one["name"], one["state"]) for one in rows] == [("n", "ready"), ("low", "ready")]
    rows, summary = ask(client, "find /p where n between 7 and 9 | select n")
    assert [one["n"] for one in rows] == [7, 8, 9]
    assert (summary["index"], summary["files"], summary["note"]) == ("n", 3, "")
    rows, summary = ask(client, 'find /p where lower(name) = "n7" | count')
    assert (rows, summary["index"]) == ([{"count": 6}], "low")
    rows, summary = ask(client, "find /p | sort n desc | limit 2 | select n")
    assert ([one["n"] for one in rows], summary["index"]) == ([299, 298], "n")
    steps, _ = ask(client, "explain find /p where n < 3")
    assert "looked up in index n (n)" in steps[0]["text"]
    assert steps[0]["rows"] < 20
    steps, summary = ask(client, "explain analyze find /p | sort n | limit 3")
    assert "first by index n (n)" in steps[0]["text"]
    assert (summary["index"], steps[0]["out"]) == ("n", 3)
    assert ask(client, "indexes /p --check")[1] == {"indexes": 2, "files": COUNT, "problems": 0}
    assert client.run("unindex /p n --yes")["entries"] == COUNT
    assert [one["name"] for one in ask(client, "indexes")[0]] == ["low"]
    assert ask(client, "find /p where n < 3 | count")[1]["index"] == ""
    assert client.run("reindex /p")[0]["state"] == "ready"
    assert ask(client, "indexes /p --check")[1]["problems"] == 0


@pytest.mark.usefixtures("people")
def test_an_index_answers_alone(mounted: Mounted, client: Client) -> None:
    client.run("index /p n")
    steps, _ = ask(client, "explain find /p where n < 100 | count")
    assert "from index n (n) alone; reads inodes, content of files that" in steps[0]["text"]
    assert 50 < steps[0]["rows"] < 150
    steps, summary = ask(client, "explain analyze find /p where n < 100 | group count(), max(n)")
    assert [step["out"] for step in steps] == [100, 100, 1]
    assert (summary["index"], summary["files"], summary["note"]) == ("n", 0, "")
    line = "explain find /p where n < 9 | join (find /p where n = 3) on n = n as o | count"
    steps, _ = ask(client, line)
    assert [step.get("inside") for step in steps] == [None, None, "join", "join", None, None]
    assert all("looked up in index n (n)" in steps[index]["text"] for index in (0, 2))
    (mounted.directory / "p/0007").write_text('{"n": "seven"}')
    os.link(mounted.directory / "p/0008", mounted.directory / "p/0008b")
    for line, wanted in (
        ("find /p | count", {"count": COUNT + 1}),
        ("find /p where n between 6 and 9 | count", {"count": 4}),
        ("find /p | group min(n), max(n)", {"min_n": 0, "max_n": "seven"}),
    ):
        rows, summary = ask(client, line)
        assert (rows, summary["index"], summary["note"]) == ([wanted], "n", "")
        assert summary["files"] <= 3
    with pytest.raises(AffsError) as caught:
        ask(client, "find /p | group sum(n)")
    assert caught.value.details["path"] == "/p/0007"
    assert ask(client, "explain analyze find /p where n < 9 | group sum(n)")[1]["note"] == ""
    client.run("unindex /p n --yes")


@pytest.mark.usefixtures("people")
def test_changes_through_the_mount_are_seen_at_once(mounted: Mounted, client: Client) -> None:
    client.run("index /p n")
    directory = mounted.directory / "p"
    (directory / "0005").write_text('{"n": 1000}')
    (directory / "new").write_text('{"n": 1001}')
    (directory / "0006").unlink()
    (directory / "0007").rename(mounted.directory / "away")
    os.truncate(directory / "0008", 3)
    (directory / "0009").write_text("no record")
    with open(directory / "0010", "r+") as file:
        file.write(json.dumps({"n": 1002}).ljust(os.fstat(file.fileno()).st_size))
    assert numbers(client, "n > 900") == [1000, 1002, 1001]
    rows, summary = ask(client, "find /p where n between 4 and 11 | select n")
    assert [one["n"] for one in rows] == [4, 11]
    assert summary["index"] == "n"
    assert [problem["path"] for problem in summary["problems"]] == ["/p/0008", "/p/0009"]
    assert ask(client, "indexes /p --check")[1]["problems"] == 0
    (mounted.directory / "away").rename(directory / "0007")
    assert numbers(client, "n = 7") == [7]


@pytest.mark.usefixtures("people")
def test_kept_states_and_rollbacks_have_their_own(mounted: Mounted, client: Client) -> None:
    client.run("index /p n")
    label = client.run("checkpoint --label index-test")["id"]
    (mounted.directory / "p/0005").write_text('{"n": 1000}')
    assert numbers(client, "n = 1000") == [1000]
    rows, summary = ask(client, f"find /p as of {label} where n between 4 and 6 | select n")
    assert ([row["n"] for row in rows], summary["index"]) == ([4, 5, 6], "n")
    rows, summary = ask(client, f"find /p as of {label} where n = 1000 | select n")
    assert (rows, summary["index"]) == ([], "n")
    rows, _ = ask(client, f"find /p changed since {label} | select @name")
    assert rows == [{"name": "0005"}]
    client.run(f"rollback {label} --yes")
    assert numbers(client, "n = 1000") == []
    rows, summary = ask(client, "find /p where n = 5 | select n")
    assert (rows, summary["index"]) == ([{"n": 5}], "n")
    (mounted.directory / "p/0005").write_text('{"n": 2000}')
    assert numbers(client, "n = 2000") == [2000]
    assert ask(client, "indexes --check")[1]["problems"] == 0
    client.run("unindex /p n --yes")


@pytest.mark.usefixtures("people")
def test_what_cannot_be(client: Client) -> None:
    client.run("index /p n")
    assert refused(client, "index /p n").code == "index.exists"
    assert refused(client, "index /p '$[\"n\"]' --name other").code == "index.exists"
    assert refused(client, "index /nowhere n").code == "record.not_found"
    assert refused(client, "index /p/0001 n").code == "record.path"
    error = refused(client, "index /p @size")
    assert (error.code, error.details["column"]) == ("index.expression", 1)
    assert refused(client, "index /p now()").code == "index.expression"
    assert refused(client, "index /p 1+").code == "query.syntax"
    assert refused(client, "unindex /p other --yes").code == "index.not_found"
    assert refused(client, "reindex /p other").code == "index.not_found"
    client.run("unindex /p n --yes")


@pytest.mark.usefixtures("people")
def test_a_schema_and_indexes_are_declared_side_by_side(client: Client) -> None:
    client.run("index /p n")
    client.command("create", {"path": "/p/first", "value": {"n": 900}})
    client.command(
        "declare", {"path": "/p", "schema": {"fields": {"n": {"type": "Int64"}}, "unique": ["n"]}}
    )
    client.command("create", {"path": "/p/second", "value": {"n": 901}})
    assert numbers(client, "n >= 900") == [900, 901]
    client.run("reindex /p")
    assert refused(client, 'create /p/third {"n": "x"}').code == "record.schema"
    client.run("undeclare /p --yes")
    client.command("create", {"path": "/p/third", "value": {"n": "x"}})
    rows, summary = ask(client, "find /p where n = 'x' | select n")
    assert (rows, summary["index"]) == ([{"n": "x"}], "n")
    assert ask(client, "indexes /p --check")[1]["problems"] == 0
    client.run("unindex /p n --yes")


def damaged_pages(volume: Path) -> None:
    """Every leaf of the index is another one: its entries are gone."""
    with Library(str(volume)) as library:
        number, tree = library.number(b"p"), library.volume.working.tree
        pages = library.call(
            lambda: list(tree.iterate((number, ITEM_INDEX, 0), (number, ITEM_INDEX + 1, 0)))
        )
        for _, kind, offset, payload in pages:
            if split_page(offset)[1] and not payload[0]:
                library.call(tree.put, number, kind, offset, b"\1\0\0\0")
        library.volume.note_change()


def test_a_damaged_index_is_done_without_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Mounted(tmp_path) as mounted:
        (mounted.directory / "p").mkdir()
        with mounted.client() as client:
            client.command("batch", {"operations": [
                {"create": f"/p/{number:04}", "value": {"n": number}} for number in range(COUNT)
            ]})  # fmt: skip
            client.run("index /p n")
        mounted.unmount()
        damaged_pages(mounted.volume)
        assert fsck_program.main([str(mounted.volume), "--repair"]) == 4
        assert "reindex" in capsys.readouterr().out
        mounted.allowed += [
            "indexes are not up to date",
            "index.damaged",
            "an index cannot be used",
        ]
        mounted.start()
        with mounted.client() as client:
            for line in ("find /p where n < 3 | select n", "find /p | sort n | limit 3 | select n"):
                rows, summary = ask(client, line)
                assert [row["n"] for row in rows] == [0, 1, 2]
                assert (summary["index"], summary["files"]) == ("", COUNT)
                assert "an index cannot be used" in summary["note"]
            for line, wanted in (("| count", {"count": COUNT}), ("| group max(n)", {"max_n": 299})):
                rows, summary = ask(client, f"find /p {line}")
                assert (rows, summary["index"], summary["files"]) == ([wanted], "", COUNT)
                assert "an index cannot be used" in summary["note"]
            assert ask(client, "indexes /p --check")[1]["problems"] > 0
            (mounted.directory / "p/0001").write_text('{"n": 2}')
            rows, _ = ask(client, "find /p where n = 2 | select @name")
            assert [row["name"] for row in rows] == ["0001", "0002"]
            assert ask(client, "indexes /p")[0][0]["state"] == "damaged"
            assert client.run("reindex /p")[0]["state"] == "ready"
            rows, summary = ask(client, "find /p where n = 2 | select @name")
            assert ([row["name"] for row in rows], summary["index"]) == (["0001", "0002"], "n")
            assert ask(client, "indexes /p --check")[1]["problems"] == 0
        mounted.unmount()
        fsck(mounted.volume)


def test_verify_finds_an_index_that_contradicts_itself(tmp_path: Path) -> None:
    """In the working state and in the kept one that has it too; known until it is mended."""
    with Mounted(tmp_path) as mounted:
        for name in "pq":
            (mounted.directory / name).mkdir()
            (mounted.directory / name / "one").write_text('{"n": 1}')
            mounted.affsctl("index", f"/{name}", "n")
        assert mounted.affsctl("verify")["result"]["damage"] == 0
        mounted.unmount()
        damaged_pages(mounted.volume)
        mounted.allowed += ["verify.index", "index.damaged", "an index cannot be used"]
        mounted.start()
        mounted.affsctl("checkpoint", "-l", "kept")
        (mounted.directory / "q" / "two").write_text('{"n": 2}')
        mounted.affsctl("commit")
        with mounted.client() as client:
            watch = client.start("watch corruption --count 1")
            client.run("ping")
            done = mounted.run_affsctl("verify")
            (event,) = [part.event for part in watch.parts(20) if isinstance(part, Event)]
        assert done.returncode == 4, done.stderr
        found = json.loads(done.stdout)["items"]
        # The leaf is another one in the working state, where /q has got a file.
        assert [(one["path"], one["state"]) for one in found] == [("/p", "kept"), ("/p", "working")]
        number = (mounted.directory / "p").stat().st_ino
        for entry in (event, *found):
            assert (entry["code"], entry["block"]) == ("verify.index", f"object {number}")
        for words in (("/p",), ("--state", "kept"), ("/p", "--state", "kept"), ("--errors-only",)):
            assert mounted.run_affsctl("verify", *words).returncode == 4, words
        assert mounted.run_affsctl("verify", "/q").returncode == 0
        mounted.affsctl("reindex", "/p")
        mounted.affsctl("commit")
        assert mounted.run_affsctl("verify", "/p").returncode == 0
        assert mounted.run_affsctl("verify", "--errors-only").returncode == 4
        known = mounted.affsctl("verify", "--status")["items"]
        assert [(one["path"], one["state"]) for one in known] == [("/p", "kept")]


@pytest.mark.usefixtures("people")
def test_what_is_kept_has_its_indexes(mounted: Mounted, client: Client) -> None:
    client.run("index /p n")
    for number in range(20):
        (mounted.directory / f"p/{number:04}").write_text('{"n": 5000}')
    state = client.run("checkpoint")["id"]
    rows, summary = ask(client, f"find /p as of {state} where n = 5000 | select n")
    assert (len(rows), summary["index"], summary["files"]) == (20, "n", 20)
    rows, summary = ask(client, f"find /p as of {state} where n = 250 | select n")
    assert (rows, summary["files"]) == ([{"n": 250}], 1)  # nobody waits any more
    client.run("unindex /p n --yes")


@pytest.mark.usefixtures("people")
def test_the_same_line_again_sees_what_changed_meanwhile(client: Client) -> None:
    """Plans, and what small records are read to, are kept from one query to the next."""
    client.run("index /p n")
    plain = "find /p where n < 3 | sort n | select *"
    for _ in range(3):
        rows, summary = ask(client, plain)
        assert [row["n"] for row in rows] == [0, 1, 2]
        assert summary["index"] == "n"
    client.run("update /p/0001 set n -1 set more [1]")
    client.run("erase /p/0002 --yes")
    expected = [{"n": -1, "name": "N1", "more": [1]}, {"n": 0, "name": "N0"}]
    for _ in range(2):
        assert ask(client, plain)[0] == expected
    client.run("update /p/0001 append more 2")
    expected[0]["more"] = [1, 2]
    assert ask(client, plain)[0] == expected
    client.run("unindex /p n")
    assert ask(client, plain)[0] == expected
    times = [ask(client, "find /p | limit 1 | select now() as t")[0][0]["t"] for _ in range(3)]
    assert times == sorted(set(times))
