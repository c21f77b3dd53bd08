"""Files whose names are no UTF-8, named in every kind of argument, and by affsctl as a shell has
them."""

import base64
import json
import os

import pytest
from mounted import Mounted
from test_query_mounted import ask
from test_record_commands import code_of
from test_transfer import affsctl, rows

from affs_ctl.client import Client

pytestmark = pytest.mark.mount

ODD = b"/p/caf\xe9"


def named(path: bytes) -> str:
    return "b64:" + base64.b64encode(path).decode()


def real(mounted: Mounted, path: bytes) -> bytes:
    return os.fsencode(mounted.directory) + path


def test_records_by_paths_that_are_no_text(mounted: Mounted, client: Client) -> None:
    made = client.run(f'create {named(ODD)} {{"n": 1}}')
    assert base64.b64decode(made["path_b64"]) == ODD
    assert os.listdir(real(mounted, b"/p")) == [b"caf\xe9"]
    plan = client.run(f"update {named(ODD)} set n 2 --dry-run")["plan"]["changes"][0]
    assert plan["path"] == named(ODD)
    client.run(f"update {named(ODD)} set n 2")
    row = ask(client, f"get {named(ODD)}")[0][0]
    assert (row["value"], "b64:" + row["path_b64"]) == ({"n": 2}, named(ODD))
    client.command("batch", {"operations": [{"move": named(ODD), "to": named(ODD + b"2")}]})
    assert os.listdir(real(mounted, b"/p")) == [b"caf\xe92"]
    client.run("undo")
    assert ask(client, f"history {named(ODD)}")[0][0]["path_b64"] == row["path_b64"]
    assert ask(client, f"blame {named(ODD)}")[0][0]["value"] == 2
    error = code_of(client, f"create {named(ODD)} 1")
    assert (error.code, error.details["path"]) == ("record.exists", named(ODD))
    client.run(f"erase {named(ODD)} --yes")
    assert code_of(client, f"get {named(ODD)}").code == "record.not_found"
    for wrong in ("b64:x", "b64:"):
        assert code_of(client, f"create {wrong} 1").code == "command.value"
        assert code_of(client, f"find {wrong}").code == "query.syntax"


def test_directories_collections_and_sessions(mounted: Mounted, client: Client) -> None:
    os.mkdir(real(mounted, ODD))
    client.run(f"cd {named(ODD)}")
    client.run('create a {"n": 1}')
    client.run("cd /")
    schema = '{"fields": {"n": "Int64"}, "unique": ["n"]}'
    assert client.run(f"declare {named(ODD)} {schema}")["records"] == 1
    error = code_of(client, f'create {named(ODD + b"/b")} {{"n": 1}}')
    assert (error.code, error.details["other"]) == ("record.schema", named(ODD + b"/a"))
    client.run(f"index {named(ODD)} n")
    assert ask(client, f"list {named(ODD)}")[0][0]["kind"] == "file"
    assert ask(client, f"find {named(ODD)} where n = 1 | select n")[0] == [{"n": 1}]
    assert client.run(f"evolve {named(ODD)} rename n m --yes")["changed"] == 1
    client.run(f"undeclare {named(ODD)}")
    client.run("checkpoint -l here")
    client.run(f'create {named(ODD + b"/c")} 1')
    changes, _ = ask(client, f"diff here working --path {named(ODD)}")
    assert {base64.b64decode(row["path_b64"]) for row in changes} >= {ODD + b"/c"}
    assert ask(client, f"verify {named(ODD)}")[1]["outcome"] == "done"


def test_affsctl_names_what_a_shell_names(mounted: Mounted) -> None:
    with open(real(mounted, ODD), "wb") as file:
        file.write(b'{"n": 7}')
    told = rows(affsctl(mounted, "get", os.fsdecode(ODD)))
    assert told[0]["value"] == {"n": 7}
    affsctl(mounted, "update", os.fsdecode(ODD), "set", "n", "8")
    with open(real(mounted, ODD), "rb") as file:
        assert json.load(file) == {"n": 8}
