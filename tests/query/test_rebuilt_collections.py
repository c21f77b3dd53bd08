"""fsck.affs --rebuild on a volume of collections, indexes, authors and an unfinished import: what
is kept, what is made anew, and what it says is lost."""

import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from histories import copy, destroy, node_places
from mounted import Mounted, fsck
from test_query_mounted import ask

from affs_fuse.auv import encode
from affs_fuse.core.constants import ITEM_COLLECTION, ITEM_IMPORT, OBJECT_IMPORTS
from affs_tools import fsck as fsck_program
from affs_tools.library import Library

pytestmark = pytest.mark.mount

SCHEMA = {"fields": {"n": {"type": "Int64"}}, "unique": ["n"]}
COUNT = 1000
"""Enough for inner nodes."""

GONE = [{"inner"}, {"superblocks", "rings", "inner"}]


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("r")
    with Mounted(folder) as mounted, mounted.client() as client:
        (mounted.directory / "p").mkdir()
        (mounted.directory / "plain").mkdir()
        client.command("declare", {"path": "/p", "schema": SCHEMA})
        for first in range(0, COUNT, 500):
            client.command("batch", {"operations": [
                {"create": f"/p/{number:04}", "value": {"n": number, "name": f"N{number % 50}"}}
                for number in range(first, first + 500)
            ]})  # fmt: skip
        client.run("index /p n")
        client.run("index /p lower(name) --name low")
        client.run("checkpoint --label kept")
        subprocess.run(["cp", "/dev/null", str(mounted.directory / "by-cp")], check=True)
        client.command("erase", {"path": "/p/0007", "yes": True})
        client.run("commit")
    with Library(str(mounted.volume)) as library:  # as a killed import leaves it
        number = library.number(b"plain")
        tree = library.volume.working.tree
        library.call(tree.put, OBJECT_IMPORTS, ITEM_IMPORT, number, encode({}))
        library.volume.note_change()
    path = str(mounted.volume)
    return SimpleNamespace(path=path, nodes=node_places(path))


def program(*words: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    status = fsck_program.main(["--rebuild", "--json", *words])
    answer = json.loads(capsys.readouterr().out)
    assert isinstance(answer, dict)
    return status, answer["report"]


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: "+".join(sorted(gone)))
def test_collections_are_rebuilt(
    original: SimpleNamespace, tmp_path: Path, gone: set[str], capsys: pytest.CaptureFixture[str]
) -> None:
    source, mounted = str(tmp_path / "damaged"), Mounted(tmp_path)
    copy(original.path, source)
    destroy(source, gone, original.nodes)
    planned = program("-n", source, capsys=capsys)
    mounted.volume.unlink()
    done = program(source, "--into", str(mounted.volume), capsys=capsys)
    assert planned[0] == done[0] == 4, "the import"
    assert planned[1] == done[1], "the plan says what comes"
    kept, working = done[1]["states"]
    assert (kept["counts"], kept["whole"]) == ({"index": 1}, True)
    assert working["counts"] == {"index": 1, "import": 1}
    assert {(one["kind"], one["path"]) for one in working["losses"]} == {
        ("index", "/p"), ("import", "/plain")
    }
    assert done[1]["authors"] >= 3
    fsck(mounted.volume)
    with mounted, mounted.client() as client:
        assert client.run("collection /p")["fields"] == 1
        with pytest.raises(Exception, match="n"):
            client.command("create", {"path": "/p/again", "value": {"n": 8}})
        while [one["state"] for one in ask(client, "indexes /p")[0]] != ["ready", "ready"]:
            client.run("ping")
        rows, summary = ask(client, "find /p where n between 6 and 8 | select n")
        assert ([one["n"] for one in rows], summary["index"]) == ([6, 8], "n")
        assert ask(client, "indexes /p --check")[1] == {
            "indexes": 2, "files": COUNT - 1, "problems": 0
        }
        rows, _ = ask(client, "find /p as of kept where n = 7 | select @name")
        assert [one["name"] for one in rows] == ["0007"]
        rows, _ = ask(client, "list / where @name = 'by-cp' | select @changed_by")
        assert rows == [{"changed_by": "cp"}]
        (mounted.directory / "later").write_text("x")
        rows, _ = ask(client, "list / where @name = 'later' | select @changed_by")
        assert rows[0]["changed_by"].startswith("python")
        assert mounted.affsctl("verify")["result"]["damage"] == 0
    fsck(mounted.volume)


def test_a_declaration_that_is_gone_is_told(
    original: SimpleNamespace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = str(tmp_path / "damaged")
    copy(original.path, source)
    with Library(source) as library:
        number, tree = library.number(b"p"), library.volume.working.tree
        library.call(tree.delete, number, ITEM_COLLECTION, 0)
        library.volume.note_change()
    _, report = program("-n", source, capsys=capsys)
    found = [one for one in report["states"][-1]["losses"] if one["kind"] == "collection"]
    assert [one["path"] for one in found] == ["/p"]
    assert report["states"][-1]["whole"] is False
