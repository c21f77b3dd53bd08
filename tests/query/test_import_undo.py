"""An import is one operation, and taken back as one."""

import json
from pathlib import Path

import pytest
from mounted import Mounted
from test_transfer import affsctl, contents

from affs_ctl.client import Client
from affs_fuse.errors import AffsError

pytestmark = pytest.mark.mount


def write(path: Path, values: list[dict]) -> str:
    path.write_text("".join(f"{json.dumps(value)}\n" for value in values))
    return str(path)


@pytest.mark.parametrize("more", [[], ["--all-or-nothing"]])
def test_an_import_is_taken_back_and_done_again(
    mounted: Mounted, client: Client, tmp_path: Path, more: list[str]
) -> None:
    directory = mounted.directory / "p"
    client.run('create /p/a {"k": "a", "n": 1}')
    before = contents(directory)
    values = [{"k": k, "n": n} for n, k in enumerate(["a", "b", "c", "d"] * (1 if more else 100))]
    source = write(tmp_path / "x.jsonl", values)
    affsctl(mounted, "import", source, "/p", "--name", "k", "--on-conflict", "replace", *more)
    after = contents(directory)
    assert len(after) == 4
    (entry,) = client.run("log --limit 1")
    assert (entry["command"], entry["result"]["records"]) == ("import", len(values))
    plan = client.run("undo --dry-run")["plan"]["changes"]
    assert sorted(one["action"] for one in plan) == ["erase", "erase", "erase", "update"]
    client.run("undo")
    assert contents(directory) == before
    client.run("redo")
    assert contents(directory) == after
    (directory / "b").write_text("{}")
    with pytest.raises(AffsError) as caught:
        client.run("undo")
    assert caught.value.code == "record.changed"
    assert contents(directory) == {**after, "b": {}}


def test_a_large_import_says_that_it_cannot_be(
    mounted: Mounted, client: Client, tmp_path: Path
) -> None:
    client.run("create /p/a 1")
    source = write(tmp_path / "x.jsonl", [{"k": f"r{number}"} for number in range(1001)])
    affsctl(mounted, "import", source, "/p", "--name", "k")
    with pytest.raises(AffsError) as caught:
        client.run("undo")
    assert caught.value.code == "undo.impossible"
    assert (mounted.directory / "p/a").exists()


def test_an_import_that_changed_nothing_is_passed_over(
    mounted: Mounted, client: Client, tmp_path: Path
) -> None:
    client.run("create /p/a 1")
    source = write(tmp_path / "x.jsonl", [{"k": "a"}])
    affsctl(mounted, "import", source, "/p", "--name", "k", status=1)
    assert client.run("undo")["undone"][0]["command"] == "create"
    assert not (mounted.directory / "p/a").exists()
