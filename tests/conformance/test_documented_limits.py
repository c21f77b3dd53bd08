"""What docs/limits.md says that a program sees where the FUSE library or the kernel leaves AfFS
out, and the ways round that the document names. A limit that goes away fails here, so the document
stays true.
"""

import ctypes
import errno
import fcntl
import os
import struct
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted
from posix_kit import (
    AT_FDCWD,
    RENAME_WHITEOUT,
    call,
    fails,
    fallocate,
    moved,
    opened,
    read_file,
    renameat2,
    write_file,
)

STATX_BTIME = 0x800
FS_IOC_GETFLAGS, FS_IOC_FIEMAP, FICLONE = 0x80086601, 0xC020660B, 0x40049409


@pytest.mark.parametrize("mode", [0, 1, 3, 8, 16, 32, 64])
def test_fallocate(affs_place: Path, mode: int) -> None:
    write_file("a", b"x" * 100_000)
    with opened("a", os.O_RDWR) as descriptor, fails(errno.EOPNOTSUPP):
        fallocate(descriptor, mode, 0, 65536)
    assert read_file("a") == b"x" * 100_000


def test_posix_fallocate_and_its_program_write_zeros(affs_place: Path) -> None:
    subprocess.run(["fallocate", "--posix", "-l", "100000", "a"], check=True)
    with opened("a", os.O_RDWR) as descriptor:
        os.fsync(descriptor)
    assert os.stat("a").st_blocks * 512 >= 100_000


def test_holes_are_not_told_but_found(affs_place: Path) -> None:
    """A file is one piece of data to lseek; cp finds the zeros by reading."""
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        os.pwrite(descriptor, b"x" * 10_000, 10 << 20)
        assert os.lseek(descriptor, 0, os.SEEK_HOLE) == (10 << 20) + 10_000
        assert os.lseek(descriptor, 5, os.SEEK_DATA) == 5
        with fails(errno.ENXIO):
            os.lseek(descriptor, 11 << 20, os.SEEK_DATA)
    subprocess.run(["cp", "--sparse=always", "a", "b"], check=True)
    assert os.stat("b").st_blocks < 200
    assert read_file("a") == read_file("b")


def test_no_nameless_files(affs_place: Path) -> None:
    with fails(errno.EOPNOTSUPP):
        os.open(".", os.O_TMPFILE | os.O_RDWR)


def test_no_ioctls_of_filesystems(affs_place: Path) -> None:
    write_file("a", b"x")
    write_file("b")
    with opened("a", os.O_RDWR) as descriptor:
        for request in (FS_IOC_GETFLAGS, FS_IOC_FIEMAP):
            with fails(errno.ENOTTY, errno.EOPNOTSUPP):
                fcntl.ioctl(descriptor, request, bytes(32))
        with opened("b", os.O_RDWR) as target, fails(errno.EOPNOTSUPP):
            fcntl.ioctl(target, FICLONE, descriptor)
    subprocess.run(["cp", "--reflink=auto", "a", "c"], check=True)
    assert read_file("c") == b"x"


def test_no_whiteout(affs_place: Path) -> None:
    write_file("a")
    with fails(errno.EINVAL):
        renameat2("a", "b", RENAME_WHITEOUT)


def test_no_birth_time(affs_place: Path) -> None:
    write_file("a")
    answer = ctypes.create_string_buffer(256)
    call("statx", AT_FDCWD, b"a", 0, 0xFFF, answer)
    (mask,) = struct.unpack_from("I", answer)
    assert not mask & STATX_BTIME


def test_times_of_pipes_and_devices_stand_still(affs_place: Path) -> None:
    os.mkfifo("f")
    with opened("f", os.O_RDWR) as descriptor:
        assert moved(lambda: os.write(descriptor, b"x"), "f") == [""]


def test_directories_have_their_entries_for_a_size(affs_place: Path) -> None:
    os.mkdir("d")
    for count in range(10):
        os.mknod(f"d/{count}")
    found = os.stat("d")
    assert (found.st_size, found.st_blocks) == (10, 0)


def test_no_swap(affs_place: Path) -> None:
    write_file("a", bytes(1 << 20))
    with fails(errno.EINVAL):
        call("swapon", b"a", 0)


def test_the_commands_path_is_an_attribute(volume: Mounted, affs_place: Path) -> None:
    """Readable on everything, listed nowhere, so copies do not take it along."""
    write_file("a")
    assert os.getxattr("a", "user.affs.control") == str(volume.control).encode()
    assert os.listxattr("a") == []


def test_a_full_volume(folder: Path) -> None:
    """ENOSPC comes to who writes, reading and removing go on, and the space is usable at once."""
    with Mounted(folder, size_bytes=64 << 20) as mounted:
        check_full(mounted.directory)


def check_full(directory: Path) -> None:
    block = os.urandom(1 << 20)
    written = 0
    for _ in range(3):
        with opened(directory / "big", os.O_CREAT | os.O_WRONLY) as descriptor:
            written = 0
            with fails(errno.ENOSPC):
                while True:
                    written += os.write(descriptor, block)
            os.fsync(descriptor)
        assert written > 30 << 20
        data = read_file(directory / "big")
        assert len(data) == written
        assert data[: 1 << 20] == block
        for count in range(50):
            try:
                write_file(directory / f"small{count}", b"x" * 5000)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                break
        for path in directory.iterdir():
            path.unlink()
        write_file(directory / "again", block * (written >> 21))
        (directory / "again").unlink()


def test_no_reading_without_waiting(affs_place: Path) -> None:
    write_file("a", b"abc")
    with opened("a") as descriptor, fails(errno.EOPNOTSUPP):
        os.preadv(descriptor, [bytearray(3)], 0, os.RWF_NOWAIT)


def test_opening_for_reading_counts_as_reading(affs_place: Path) -> None:
    write_file("a", b"abc")
    assert moved(lambda: os.close(os.open("a", os.O_RDONLY)), "a") == ["a"]
    write_file("b", b"abc")
    assert moved(lambda: os.close(os.open("b", os.O_RDWR)), "b") == [""]


def test_truncating_to_the_same_size(affs_place: Path) -> None:
    write_file("a", b"abc")
    assert moved(lambda: os.truncate("a", 3), "a") == ["c"]
