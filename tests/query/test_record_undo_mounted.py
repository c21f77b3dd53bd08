"""Undo of changes of records on a mounted volume: the kernel sees what is there again."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted
from test_query_mounted import ask

from affs_ctl.client import Client

pytestmark = pytest.mark.mount

TEXT = '{\n  // how old she is\n  "age": 31,\n  "name": "Anna"\n}\n'


def test_what_the_kernel_knew_is_forgotten(mounted: Mounted, client: Client) -> None:
    path = mounted.directory / "p/anna"
    path.write_text(TEXT)
    os.setxattr(path, "user.colour", b"red")
    path.chmod(0o640)
    row = ask(client, "get /p/anna")[0][0]
    with path.open() as file:
        client.run("update /p/anna set age 32 append tags new")
        assert path.read_text() == TEXT.replace("31", "32").replace(
            '"Anna"\n', '"Anna",\n  "tags": ["new"]\n'
        )
        client.run("undo")
        assert (path.read_text(), file.read()) == (TEXT, TEXT)
    before = path.stat()
    client.run("erase /p/anna --yes")
    assert not path.exists()
    assert os.listdir(mounted.directory / "p") == []
    client.run("undo")
    assert path.read_text() == TEXT
    assert os.getxattr(path, "user.colour") == b"red"
    after = path.stat()
    for field in ("st_ino", "st_mode", "st_uid", "st_mtime_ns", "st_size"):
        assert getattr(after, field) == getattr(before, field), field
    again = ask(client, "get /p/anna")[0][0]
    assert (again["id"], again["version"]) == (row["id"], row["version"])
    client.run("redo")
    assert not path.exists()
    client.run("undo")


def test_an_acl_comes_back(mounted: Mounted, client: Client) -> None:
    path = mounted.directory / "p/a"
    path.write_text("1\n")
    subprocess.run(["setfacl", "-m", "u:1234:r,m::r", path], check=True)
    before = os.getxattr(path, "system.posix_acl_access")
    client.run("erase /p/a --yes")
    client.run("undo")
    assert os.getxattr(path, "system.posix_acl_access") == before


def test_undo_survives_a_restart(mounted: Mounted, client: Client) -> None:
    client.run("create /p/a 1")
    client.run("erase /p/a --yes")
    row = client.run("log --command erase --limit 1")[0]
    mounted.remount()
    with mounted.client() as again:
        again.run(f"undo --operation {row['number']}")
        assert (mounted.directory / "p/a").read_text() == "1\n"
        dry = again.run("redo --dry-run")
        assert dry["plan"]["changes"][0]["action"] == "erase"


def test_who_knows_the_file_from_before_knows_it_again(mounted: Mounted, client: Client) -> None:
    """The kernel's inode is still there, of a file that the daemon had forgotten."""
    path = mounted.directory / "p/a"
    path.write_text('{"n": 1}')
    known = os.open(path, os.O_PATH)
    try:
        client.run("erase /p/a --yes")
        with pytest.raises(FileNotFoundError):
            path.read_text()
        client.run("undo")
        assert path.read_text() == '{"n": 1}'
        assert os.fstat(known).st_ino == path.stat().st_ino
        assert os.fstat(known).st_nlink == 1
        path.write_text('{"n": 2}')
        assert Path(f"/proc/self/fd/{known}").read_text() == '{"n": 2}'
    finally:
        os.close(known)
    client.run("update /p/a set n 3")
    with path.open("r+") as file:
        client.run("erase /p/a --yes")
        client.run("undo")
        file.write('{"n": 4}')
        file.flush()
        assert path.read_text() == '{"n": 4}'
        assert os.fstat(file.fileno()).st_ino == path.stat().st_ino


def test_a_large_record_keeps_its_text(mounted: Mounted, client: Client) -> None:
    values = {f"key{number}": {"n": number, "tags": ["a"]} for number in range(1000)}
    path = mounted.directory / "p/large"
    text = "// many\n" + json.dumps(values, indent=1)
    path.write_text(text)
    client.run("update /p/large set key7.n 0")
    assert path.read_text() == text.replace('"n": 7,', '"n": 0,')
    client.run("undo")
    assert path.read_text() == text
