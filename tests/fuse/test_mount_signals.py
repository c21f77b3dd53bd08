"""The end of a mount: SIGTERM, SIGINT, umount; nothing that was written is lost, mapped pages
included."""

import mmap
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mounted import Mounted

MAPPER = """
import mmap, os, signal, sys
file = open(sys.argv[1], "r+b")
mapped = mmap.mmap(file.fileno(), 16384)
mapped[8192:8197] = b"dirty"
print("ready", flush=True)
signal.pause()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_commits_what_was_written(folder: Path, number: int) -> None:
    with Mounted(folder, options="commit_interval=0") as mounted:
        for index in range(20):
            (mounted.directory / f"f{index}").write_bytes(b"x" * 5000)
        os.kill(mounted.pid, number)
        mounted.wait()
        mounted.start()
        assert len(os.listdir(mounted.directory)) == 20


def test_sigterm_with_dirty_mapped_pages(folder: Path) -> None:
    """The process that maps the file goes on living; its pages are in the kernel alone."""
    with Mounted(folder, options="commit_interval=0") as mounted:
        path = mounted.directory / "file"
        path.write_bytes(bytes(16384))
        with subprocess.Popen(
            [sys.executable, "-c", MAPPER, str(path)], stdout=subprocess.PIPE
        ) as mapper:
            assert mapper.stdout is not None
            assert mapper.stdout.readline() == b"ready\n"
            os.kill(mounted.pid, signal.SIGTERM)
            end = time.monotonic() + 30
            while path.exists():
                assert time.monotonic() < end, "the mount is still there"
                time.sleep(0.01)
            mapper.kill()
        mounted.wait()
        mounted.start()
        assert path.read_bytes()[8192:8197] == b"dirty"


def test_sigterm_while_somebody_stays(folder: Path) -> None:
    """A file that stays open holds the end up only so long; its pages are saved before."""
    with Mounted(folder, options="commit_interval=0") as mounted:
        mounted.allowed = ["files are still open", "a second signal"]
        path = mounted.directory / "file"
        path.write_bytes(bytes(16384))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 16384) as mapped:
            mapped[0:5] = b"first"
            os.kill(mounted.pid, signal.SIGTERM)
            end = time.monotonic() + 30
            while "unmounting" not in mounted.read_log() or path.exists():
                assert time.monotonic() < end
                time.sleep(0.01)
            os.kill(mounted.pid, signal.SIGTERM)
            mounted.wait()
        mounted.start()
        assert path.read_bytes()[:5] == b"first"


def test_umount_commits(folder: Path) -> None:
    with Mounted(folder, options="commit_interval=0") as mounted:
        path = mounted.directory / "file"
        path.write_bytes(bytes(8192))
        with path.open("r+b") as file, mmap.mmap(file.fileno(), 8192) as mapped:
            mapped[4096:4100] = b"last"
        mounted.remount()
        assert path.read_bytes()[4096:4100] == b"last"


def test_lazy_umount_serves_on(folder: Path) -> None:
    with Mounted(folder) as mounted:
        with (mounted.directory / "file").open("w+b", buffering=0) as file:
            file.write(b"before")
            subprocess.run(["umount", "-l", str(mounted.directory)], check=True)
            file.write(b" and after")
            assert os.pread(file.fileno(), 100, 0) == b"before and after"
        mounted.wait()
        mounted.start()
        assert (mounted.directory / "file").read_bytes() == b"before and after"
