"""mkfs, fsck and dump on a volume that is mounted, and the demonstration from end to end."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools import dump, fsck, mkfs
from affs_tools.bench.mounts import affs_mount

ROOT = Path(__file__).resolve().parents[2]
Capture = pytest.CaptureFixture[str]

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(not os.access("/dev/fuse", os.W_OK), reason="no /dev/fuse"),
]


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    volume, directory = tmp_path / "volume.affs", tmp_path / "mnt"
    make_volume(str(volume), MkfsOptions(size_bytes=64 << 20))
    with affs_mount(volume, directory, "control=none"):
        yield str(volume), directory


def test_a_mounted_volume_is_left_alone(mounted: tuple[str, Path], capsys: Capture) -> None:
    volume, directory = mounted
    (directory / "file").write_bytes(b"data" * 5000)
    os.sync()
    assert mkfs.main(["-f", "--size", "64M", volume]) == 1
    assert f"it is mounted on {directory}" in capsys.readouterr().err
    assert fsck.main([volume]) == fsck.OPERATIONAL
    assert f"it is mounted on {directory}" in capsys.readouterr().err
    for arguments in (["--repair", volume], ["--rebuild", volume, "-n"]):
        assert fsck.main(arguments) == fsck.OPERATIONAL
        assert re.search(r"mounted on .* \(process \d+ has it open\)", capsys.readouterr().err)
    assert dump.main([volume]) == 1
    assert "has it open for writing" in capsys.readouterr().err
    assert (directory / "file").read_bytes() == b"data" * 5000


def test_after_the_mount_the_volume_is_clean(tmp_path: Path, capsys: Capture) -> None:
    """What the mount wrote, the check finds clean and the second reader reads."""
    volume, directory = tmp_path / "volume.affs", tmp_path / "mnt"
    make_volume(str(volume), MkfsOptions(size_bytes=64 << 20))
    with affs_mount(volume, directory, "control=none"):
        subprocess.run(["cp", "-a", ROOT / "docs", directory], check=True)
        os.link(directory / "docs/README.md", directory / "link")
        os.setxattr(directory / "link", "user.note", b"value")
    assert fsck.main(["--data", str(volume)]) == 0
    assert "clean" in capsys.readouterr().out
    copy = tmp_path / "copy"
    assert dump.main([str(volume), "extract", "working", str(copy)]) == 0
    subprocess.run(["diff", "-r", ROOT / "docs", copy / "docs"], check=True)
    assert os.getxattr(copy / "docs/README.md", "user.note") == b"value"


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".venv/affs-project").exists(), reason="no set-up by tools/setup")
def test_the_demonstration(tmp_path: Path) -> None:
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "NO_COLOR": "1"}
    demo = [ROOT / "tools/demo", tmp_path]
    mount = tmp_path / "demo-mnt"
    unmount = ["umount" if os.geteuid() == 0 else "fusermount3", *(["-u"] * (os.geteuid() != 0))]
    try:
        for expected in ("1. A volume of 1 GiB", "demo.affs is mounted already"):
            done = subprocess.run(
                demo, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            assert expected in done.stdout
            assert "To stop:" in done.stdout
            assert os.path.ismount(mount)
        subprocess.run(["diff", "-r", ROOT / "docs", mount / "docs"], check=True)
        assert (mount / "docs/README.md").read_bytes() == (ROOT / "docs/README.md").read_bytes()
    finally:
        if os.path.ismount(mount):
            subprocess.run([*unmount, mount], check=True)
    assert fsck.main([str(tmp_path / "demo.affs")]) == 0
