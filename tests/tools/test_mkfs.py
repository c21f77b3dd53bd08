"""mkfs.affs makes what was asked for, and refuses what holds something or is in use."""

import os
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from affs_fuse.device.file import open_device
from affs_fuse.volume.verify import verify_volume
from affs_tools import mkfs
from affs_tools.library import Library
from affs_tools.reader.image import Image
from affs_tools.reader.namespace import Namespace

MIB = 1 << 20

Capture = pytest.CaptureFixture[str]


def test_makes_a_volume_in_a_new_sparse_file(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "new.affs"
    identity = uuid.uuid4()
    arguments = ["--size", "3G", "-L", "höme", "-U", str(identity), "--segment-size", "8MiB"]
    assert mkfs.main([*arguments, str(path)]) == 0
    assert str(identity) in capsys.readouterr().out
    status = path.stat()
    assert status.st_size == 3 << 30
    assert status.st_blocks * 512 < 64 * MIB
    assert status.st_mode & 0o777 == 0o600
    with Image(path) as image:
        superblock = image.superblock
        assert superblock["user_uuid"] == identity.bytes
        assert superblock["label"].rstrip(b"\0").decode() == "höme"
        assert superblock["segment_shift"] == 23
        assert superblock["device_blocks"] == (3 << 30) // 4096
    with open_device(str(path), read_only=True) as device:
        assert verify_volume(device, data=True).clean


@pytest.mark.parametrize(
    ("text", "size"),
    [("67108864", 64 * MIB), ("64M", 64 * MIB), ("0.5g", 512 * MIB), ("65536KiB", 64 * MIB)],
)
def test_sizes(tmp_path: Path, text: str, size: int) -> None:
    path = tmp_path / "volume"
    assert mkfs.main(["-q", "--size", text, str(path)]) == 0
    assert path.stat().st_size == size


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "give --size"),
        (["--size", "1M"], "at least 64 MiB"),
        (["--size", "much"], "no size"),
        (["--size", "0.3"], "no whole number"),
        (["--size", "64M", "-L", "x" * 65], "64 bytes"),
        (["--size", "64M", "-U", "nobody"], "no UUID"),
        (["--size", "64M", "--segment-size", "3M"], "segment size"),
        (["--size", "64M", "--segment-size", "1G"], "segment size"),
        (["--size", "64M", "--max-size", "1M"], "smaller than the volume"),
        (["--size", "64M", "--unknown"], "unrecognized"),
    ],
)
def test_refuses_what_cannot_be(
    tmp_path: Path, capsys: Capture, arguments: list[str], reason: str
) -> None:
    path = tmp_path / "volume"
    try:
        status = mkfs.main([*arguments, str(path)])
    except SystemExit as end:  # argparse's way out
        status = int(end.code or 0)
    assert status == 1
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not path.exists()


def test_dry_run_writes_nothing(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "volume"
    assert mkfs.main(["-n", "--size", "64M", str(path)]) == 0
    assert "nothing was written" in capsys.readouterr().out
    assert not path.exists()


def test_the_root_directory_belongs_to_its_maker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "volume"
    monkeypatch.setattr(os, "geteuid", lambda: 1234)
    monkeypatch.setattr(os, "getegid", lambda: 5678)
    assert mkfs.main(["-q", "--size", "64M", str(path)]) == 0
    with Image(path) as image:
        inode = Namespace(image, image.working()).inode(1)
        assert (inode["uid"], inode["gid"]) == (1234, 5678)


def refused(path: Path, capsys: Capture, reason: str) -> None:
    before = path.read_bytes() if path.is_file() else b""
    assert mkfs.main(["--size", "64M", str(path)]) == 1
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    if path.is_file():
        assert path.read_bytes() == before


def test_refuses_a_file_with_data_unless_forced(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear all,\n")
    refused(path, capsys, "it holds data; -f overwrites it")
    assert mkfs.main(["-f", "--size", "64M", str(path)]) == 0


def test_refuses_a_volume_of_its_own_kind(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "volume"
    assert mkfs.main(["-q", "--size", "64M", str(path)]) == 0
    with Library(str(path)) as library:
        library.write(b"precious", b"data")
    refused(path, capsys, "it holds an AfFS volume")
    with path.open("r+b") as file:  # one superblock is enough to be one
        file.seek(4096)
        file.write(bytes(4096))
    refused(path, capsys, "second superblock")
    assert mkfs.main(["-q", "-f", "--size", "64M", str(path)]) == 0
    with Library(str(path)) as library, pytest.raises(FileNotFoundError):
        library.number(b"precious")


@pytest.mark.skipif(shutil.which("mkfs.ext4", path="/usr/sbin:/sbin") is None, reason="no ext4")
def test_refuses_another_filesystem(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "other"
    with path.open("wb") as file:
        file.truncate(64 * MIB)
    tool = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
    assert tool is not None
    subprocess.run([tool, "-q", path], check=True)
    refused(path, capsys, "ext4 filesystem")


def test_refuses_a_volume_in_use(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "volume"
    assert mkfs.main(["-q", "--size", "64M", str(path)]) == 0
    library = Library(str(path))
    try:
        assert mkfs.main(["-f", "--size", "64M", str(path)]) == 1
        assert f"process {os.getpid()} has it open" in capsys.readouterr().err
    finally:
        library.close()


def test_refuses_what_is_neither_file_nor_device(tmp_path: Path, capsys: Capture) -> None:
    refused(tmp_path, capsys, "neither a regular file nor a block device")


def test_a_failure_leaves_no_file_behind(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "volume"

    def fail(*_: object, **__: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mkfs, "make_volume", fail)
    assert mkfs.main(["--size", "64M", str(path)]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert not path.exists()


# ---- block devices ----


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A loop device of 64 MiB and the file behind it."""
    backing = tmp_path / "backing"
    with backing.open("wb") as file:
        file.truncate(64 * MIB)
    if os.geteuid() != 0 or shutil.which("losetup") is None:
        pytest.skip("loop devices need root and losetup")
    done = subprocess.run(
        ["losetup", "--find", "--show", backing], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr.strip()}")
    device = done.stdout.strip()
    try:
        yield device, backing
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


def test_block_device(loop: tuple[str, Path], capsys: Capture) -> None:
    device, backing = loop
    assert mkfs.main(["-q", device]) == 0
    with open_device(device, read_only=True) as opened:
        assert opened.size_bytes == 64 * MIB
        assert verify_volume(opened).clean
    assert mkfs.main([device]) == 1
    assert "it holds an AfFS volume" in capsys.readouterr().err
    assert mkfs.main(["-f", "--size", "1G", device]) == 1
    assert "the device has 64 MiB only" in capsys.readouterr().err
    assert mkfs.main(["-f", "--size", "64M", str(backing)]) == 1
    assert f"backing file of {device}" in capsys.readouterr().err
    holder = os.open(device, os.O_RDONLY | os.O_EXCL)
    try:
        assert mkfs.main(["-f", device]) == 1
        assert "has it open" in capsys.readouterr().err
    finally:
        os.close(holder)


def test_mounted_device(loop: tuple[str, Path], tmp_path: Path, capsys: Capture) -> None:
    device, _ = loop
    tool = shutil.which("mkfs.ext4", path="/usr/sbin:/sbin")
    if tool is None:
        pytest.skip("no ext4")
    subprocess.run([tool, "-q", device], check=True)
    directory = tmp_path / "mounted here"
    directory.mkdir()
    subprocess.run(["mount", device, directory], check=True)
    try:
        assert mkfs.main(["-f", device]) == 1
        assert f"it is mounted on {directory}" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", directory], check=True)
