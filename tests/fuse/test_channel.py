"""Who reads the requests: native/requests/channel.c, or libfuse as before. Both have to serve."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted, fsck

MIB = 1 << 20
CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


@pytest.fixture(params=["own", "libfuse"])
def either(folder: Path, request: pytest.FixtureRequest) -> Iterator[Mounted]:
    with Mounted(folder, options=f"channel={request.param}") as made:
        yield made


def requests_of(mounted: Mounted, name: str) -> int:
    """How many requests of a kind the daemon has answered."""
    for row in mounted.affsctl("metrics", "affs_fuse_seconds"):
        if row["labels"].get("operation") == name:
            return int(row["value"])
    return 0


def test_long_and_short_writes(either: Mounted) -> None:
    """Pieces of a request's own memory and copies, side by side, rewritten in part, and cut."""
    data = bytearray(os.urandom(5 * MIB + 12_345))
    path = either.directory / "f"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    os.pwrite(descriptor, data, 0)
    for offset, length in ((100, 3), (MIB - 1, 2), (3 * MIB, MIB), (MIB // 2, 2 * MIB + 7)):
        piece = os.urandom(length)
        data[offset : offset + length] = piece
        os.pwrite(descriptor, piece, offset)
    assert path.read_bytes() == data
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    assert os.pread(descriptor, len(data), 0) == data
    os.ftruncate(descriptor, 4 * MIB + 5)
    os.fsync(descriptor)
    os.close(descriptor)
    either.remount()
    assert path.read_bytes() == data[: 4 * MIB + 5]
    either.unmount()
    fsck(either.volume)


def test_many_long_writes(either: Mounted) -> None:
    """More of them than request memory is kept for; the same memory comes again and again."""
    path = either.directory / "f"
    with open(path, "wb", buffering=0) as file:
        for count in range(150):
            file.write(bytes([count]) * MIB)
    with open(path, "rb", buffering=0) as file:
        for count in range(150):
            assert file.read(MIB) == bytes([count]) * MIB
    either.unmount()
    fsck(either.volume)


def test_a_rollback_brings_back_what_writing_takes(either: Mounted) -> None:
    """The kernel does not ask before each write whether there is something to be taken."""
    path = either.directory / "f"
    path.write_bytes(b"abc")
    descriptor = os.open(path, os.O_RDWR)
    path.chmod(0o4755)
    os.setxattr(path, "security.capability", CAPABILITY)
    either.affsctl("publish")
    for _ in range(2):
        os.pwrite(descriptor, b"x", 0)
        os.pwrite(descriptor, b"y", 1)
        assert os.listxattr(path) == []
        either.affsctl("rollback", "--yes")
        assert os.listxattr(path) == ["security.capability"]
    os.close(descriptor)
    assert path.read_bytes() == b"abc"


def test_a_program_that_lost_setuid_is_none_for_the_kernel_either(either: Mounted) -> None:
    path = either.directory / "f"
    path.write_bytes(b"abc")
    path.chmod(0o4777)
    os.chown(path, 1234, 1234)
    path.chmod(0o4777)
    descriptor = os.open(path, os.O_RDWR)
    pid = os.fork()
    if not pid:
        os.setuid(4321)
        os.write(descriptor, b"x")
        os._exit(0)
    os.waitpid(pid, 0)
    assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o777
    os.close(descriptor)


def test_the_kernel_asks_for_capabilities_once(mounted: Mounted) -> None:
    """Of its own channel the daemon makes that much use."""
    descriptor = os.open(mounted.directory / "f", os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, b"first")
    before = requests_of(mounted, "getxattr")
    writes = requests_of(mounted, "write")
    for _ in range(50):
        os.write(descriptor, b"more")
    assert requests_of(mounted, "write") == writes + 50
    assert requests_of(mounted, "getxattr") == before
    os.close(descriptor)


def test_appends_after_a_rollback_go_to_the_end(either: Mounted) -> None:
    path = either.directory / "f"
    path.write_bytes(b"a" * 4096)
    either.affsctl("publish")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
    os.write(descriptor, b"b" * 8192)
    either.affsctl("rollback", "--yes")
    os.write(descriptor, b"c" * 4096)
    os.write(descriptor, b"d")
    assert path.read_bytes() == b"a" * 4096 + b"c" * 4096 + b"d"
    os.close(descriptor)
