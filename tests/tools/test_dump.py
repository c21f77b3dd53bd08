"""dump.affs prints every structure of an image, in words and as JSON."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools import dump
from affs_tools.library import Library
from affs_tools.reader.image import Image

Capture = pytest.CaptureFixture[str]
HOSTILE = b"\x1b]0;title\x07\xe2\x80\xae.txt"


@pytest.fixture
def volume(tmp_path: Path) -> str:
    path = str(tmp_path / "volume.affs")
    make_volume(path, MkfsOptions(size_bytes=64 << 20, label="dumped"))
    with Library(path) as library:
        library.mkdir(b"dir")
        library.write(b"dir/file", b"content" * 1000)
        library.write(HOSTILE, b"small")
        library.setxattr(b"dir", b"user.note", b"value")
        library.declare(b"dir", {"schema": {"closed": True}})
        library.mkdir(b"long")
        library.declare(b"long", {"schema": {}, "notes": "x" * 5000})
        library.publish("good", "as it was")
        for index in range(200):
            library.write(b"file %d" % index, b"%d" % index)
    return path


def printed(capsys: Capture, *arguments: str) -> str:
    assert dump.main(list(arguments)) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", captured.out)
    return captured.out


def test_every_part_prints(volume: str, capsys: Capture) -> None:
    assert "label: dumped" in printed(capsys, volume)
    assert printed(capsys, volume, "superblocks").count("magic: AFSB") == 2
    assert printed(capsys, volume, "owner").count("magic: AFOW") == 2
    ring = printed(capsys, volume, "ring")
    assert "ring 1 slot 1: seq 1 parent 0" in ring
    assert "ring 2 slot 1: seq 1 parent 0" in ring
    assert "empty" in printed(capsys, volume, "ring", "--all")
    states = printed(capsys, volume, "states")
    assert "(published)" in states
    assert "message: as it was" in states
    assert "label: good" in printed(capsys, volume, "state", "published")
    assert "segment 0: system" in printed(capsys, volume, "segments")
    tree = printed(capsys, volume, "tree", "namespace")
    assert "name 'user.note'" in tree
    assert 'collection, 0x0) {"schema":{"closed":true}}' in tree
    assert "collection, 0x1) part 1, " in tree
    assert "level 1" in tree
    assert "inode" not in printed(capsys, volume, "tree", "namespace", "--nodes")
    for name in ("checkpoint", "system", "space"):
        assert "node @" in printed(capsys, volume, "tree", name)


def test_a_state_of_its_own(volume: str, capsys: Capture) -> None:
    assert "/file 7\n" in printed(capsys, volume, "files")
    assert "/file 7\n" not in printed(capsys, volume, "files", "good")
    assert "/dir/file\n" in printed(capsys, volume, "files", "published")
    shown = printed(capsys, volume, "files", "good")
    assert "\\x1b]0;title\\x07\\U0000202e.txt" in shown


def test_one_node_by_its_address(volume: str, capsys: Capture) -> None:
    with Image(volume) as image:
        root = image.commit["namespace_root"]
        space = image.commit["space_root"]
    text = printed(
        capsys, volume, "node", f"{root['address'] >> 32}:{root['address'] & 0xFFFFFFFF}"
    )
    assert "tree: 1" in text
    assert " -> " in text
    assert "(0, segment," in printed(capsys, volume, "node", f"@{space['address']}")


def test_json(volume: str, capsys: Capture) -> None:
    for arguments in (
        ["superblocks"], ["ring"], ["owner"], ["states"], ["segments"], ["tree", "namespace"],
        ["tree", "space"], ["files"],
    ):
        lines = printed(capsys, "--json", volume, *arguments).splitlines()
        values = [json.loads(line) for line in lines]
        assert values, arguments
        assert all(isinstance(value, dict) for value in values)
    with Library(volume) as library:
        library.write(b"\xff", b"not UTF-8")
    found = [json.loads(line) for line in printed(capsys, "--json", volume, "files").splitlines()]
    assert [value["path_b64"] for value in found if "path_b64" in value] == ["/w=="]


def test_damage_is_told_and_the_rest_still_prints(volume: str, capsys: Capture) -> None:
    with open(volume, "r+b") as file:
        file.seek(4096 + 20)
        file.write(b"\xff\xff")
    out = printed(capsys, volume, "superblocks")
    assert "superblock 1: superblock: checksum does not match" in out
    with Image(volume) as image:
        at = image.node_offset(image.commit["namespace_root"])
    with open(volume, "r+b") as file:
        file.seek(at + 200)
        file.write(b"\xff\xff")
    assert dump.main([volume, "files"]) == 1
    captured = capsys.readouterr()
    assert "checksum does not match" in captured.err
    assert captured.err.count("\n") == 1


def test_refuses_a_volume_in_use(volume: str, capsys: Capture) -> None:
    library = Library(volume)
    try:
        assert dump.main([volume]) == 1
        assert f"process {os.getpid()} has it open" in capsys.readouterr().err
        assert dump.main(["--force", volume, "superblocks"]) == 0
    finally:
        library.abandon()


def test_what_is_no_volume(tmp_path: Path, capsys: Capture) -> None:
    assert dump.main([str(tmp_path / "nothing")]) == 1
    assert "No such file" in capsys.readouterr().err
    path = tmp_path / "zeros"
    path.write_bytes(bytes(100))
    assert dump.main([str(path)]) == 1
    assert "no good superblock" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error(volume: str) -> None:
    """As in `dump.affs VOLUME files | head`."""
    command = [sys.executable, "-m", "affs_tools.dump", volume, "tree", "namespace"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0


def test_extract(volume: str, tmp_path: Path, capsys: Capture) -> None:
    target = tmp_path / "copy"
    assert dump.main([volume, "extract", "good", str(target)]) == 0
    assert (target / "dir/file").read_bytes() == b"content" * 1000
    assert not (target / "file 7").exists()
    assert dump.main([volume, "extract", "good", str(target)]) == 1
    assert "File exists" in capsys.readouterr().err
