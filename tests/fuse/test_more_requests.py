"""Holes, room and nameless files where the daemon's life or a rollback is involved, or more than
one program; what a single call does is in tests/conformance."""

import contextlib
import ctypes
import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mounted import Mounted, fsck

MIB = 1 << 20
NAMELESS = os.O_TMPFILE | os.O_RDWR
PUNCH = 3

_libc = ctypes.CDLL(None, use_errno=True)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    if _libc.fallocate(descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def name(descriptor: int, path: Path) -> None:
    """linkat of what a descriptor stands for."""
    source = f"/proc/self/fd/{descriptor}".encode()
    if _libc.linkat(-100, source, -100, os.fsencode(path), 0x400):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def test_a_nameless_file_goes_with_the_daemon(mounted: Mounted) -> None:
    """Killed after an fsync: it has blocks on the device, and nobody will ever ask for them."""
    before = mounted.affsctl("status")["objects"]
    lost = os.open(mounted.directory, NAMELESS)
    named = os.open(mounted.directory, NAMELESS)
    for descriptor in (lost, named):
        os.write(descriptor, b"x" * MIB)
    name(named, mounted.directory / "named")
    os.fsync(lost)
    mounted.kill()
    for descriptor in (lost, named):
        with contextlib.suppress(OSError):
            os.close(descriptor)
    fsck(mounted.volume)
    mounted.start()
    assert os.listdir(mounted.directory) == ["named"]
    assert (mounted.directory / "named").read_bytes() == b"x" * MIB
    assert mounted.affsctl("status")["objects"] == before + 1
    mounted.unmount()
    fsck(mounted.volume)


def test_a_nameless_file_over_a_rollback(mounted: Mounted) -> None:
    early = os.open(mounted.directory, NAMELESS)
    os.write(early, b"early")
    mounted.affsctl("publish")
    late = os.open(mounted.directory, NAMELESS)
    os.write(late, b"late")
    name(early, mounted.directory / "early")
    mounted.affsctl("rollback")
    with pytest.raises(OSError, match="Stale"):
        os.pread(late, 10, 0)
    assert os.listdir(mounted.directory) == []
    assert os.pread(early, 10, 0) == b"early", "the target has it, without its name"
    with pytest.raises(OSError, match=r"No such file|Stale"):
        name(late, mounted.directory / "late")
    os.close(early)
    os.close(late)


def test_holes_over_a_rollback(mounted: Mounted) -> None:
    path = mounted.directory / "file"
    path.write_bytes(b"x" * MIB)
    mounted.affsctl("publish")
    with path.open("r+b", buffering=0) as file:
        fallocate(file.fileno(), PUNCH, 65536, 65536)
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 65536
        mounted.affsctl("rollback")
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == MIB
        assert file.read(MIB) == b"" or os.pread(file.fileno(), MIB, 0) == b"x" * MIB
        mounted.affsctl("rollback", "--undo")
        assert os.lseek(file.fileno(), 0, os.SEEK_HOLE) == 65536


def test_holes_of_a_kept_state(mounted: Mounted) -> None:
    path = mounted.directory / "file"
    with path.open("wb") as file:
        file.truncate(4 * MIB)
        os.pwrite(file.fileno(), b"x" * 4096, 2 * MIB)
    mounted.affsctl("publish")
    path.write_bytes(b"")
    kept = mounted.directory / ".affs" / "published" / "file"
    descriptor = os.open(kept, os.O_RDONLY)
    assert os.lseek(descriptor, 0, os.SEEK_DATA) == 2 * MIB
    assert os.lseek(descriptor, 2 * MIB, os.SEEK_HOLE) == 2 * MIB + 4096
    with pytest.raises(OSError, match="No such device or address"):
        os.lseek(descriptor, 3 * MIB, os.SEEK_DATA)
    os.close(descriptor)
    with pytest.raises(OSError, match="Read-only"):
        os.open(kept.parent, NAMELESS)


def test_much_room_with_little_memory(folder: Path) -> None:
    """Filling waits for the device as writers do, and others are served meanwhile."""
    with Mounted(folder, options="dirty=8M") as mounted:
        path = mounted.directory / "large"
        with path.open("wb") as file:
            fallocate(file.fileno(), 0, 0, 150 * MIB)
        assert path.stat().st_blocks * 512 >= 150 * MIB
        with path.open("r+b") as file, pytest.raises(OSError, match="No space"):
            fallocate(file.fileno(), 0, 0, 400 * MIB)
        assert path.stat().st_size == 150 * MIB
        mounted.unmount()
        fsck(mounted.volume)


def fill(file: io.FileIO, block: bytes) -> int:
    """Until there is no space; how many bytes."""
    written = 0
    with contextlib.suppress(OSError):
        while True:
            written += file.write(block)
    return written


def test_a_full_volume_can_be_punched(folder: Path) -> None:
    with Mounted(folder, size_bytes=64 * MIB) as mounted:
        path = mounted.directory / "file"
        block = os.urandom(MIB)
        with path.open("wb", buffering=0) as file:
            written = fill(file, block)
            fallocate(file.fileno(), PUNCH, 4 * MIB, 16 * MIB)
        with path.open("r+b", buffering=0) as file:
            fallocate(file.fileno(), 0, 4 * MIB, 8 * MIB)
        assert os.stat(path).st_size == written
        mounted.unmount()
        fsck(mounted.volume)


# Fills and punches one file for ever.
CLIENT = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
print("ready", flush=True)
while True:
    libc.fallocate(descriptor, 0, ctypes.c_long(0), ctypes.c_long(20 << 20))
    os.lseek(descriptor, 0, os.SEEK_HOLE)
    libc.fallocate(descriptor, 3, ctypes.c_long(5), ctypes.c_long(20 << 20))
    os.close(os.open(os.path.dirname(sys.argv[1]), os.O_TMPFILE | os.O_RDWR))
"""


def test_killed_in_the_middle(mounted: Mounted) -> None:
    """Whoever asked is gone before the answer; the daemon neither waits nor complains."""
    for number in range(15):
        with subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(mounted.directory / "file")],
            stdout=subprocess.PIPE,
        ) as client:
            assert client.stdout is not None
            client.stdout.readline()
            time.sleep(number * 0.007)
            client.send_signal(signal.SIGKILL)
    path = mounted.directory / "after"
    path.write_bytes(b"x")
    assert path.read_bytes() == b"x"
    assert not any((mounted.directory / "file").read_bytes())
    mounted.unmount()
    fsck(mounted.volume)
