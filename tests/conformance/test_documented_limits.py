"""What docs/limits.md says that a program sees where the FUSE library or the kernel leaves AfFS
out, and the ways round that the document names. A limit that goes away fails here, so the document
stays true.
"""

import errno
import fcntl
import os
import subprocess
from pathlib import Path

import pytest
from mounted import Mounted
from posix_kit import (
    RENAME_WHITEOUT,
    as_user,
    call,
    fails,
    fallocate,
    mode_of,
    moved,
    opened,
    read_file,
    renameat2,
    running_program,
    write_file,
)

KEEP_SIZE, ZERO_RANGE = 1, 16
FS_IOC_GETFLAGS, FS_IOC_FIEMAP, FICLONE = 0x80086601, 0xC020660B, 0x40049409


@pytest.mark.parametrize("mode", [8, 32, 64])
def test_fallocate_that_moves_or_unshares(affs_place: Path, mode: int) -> None:
    write_file("a", b"x" * 100_000)
    with opened("a", os.O_RDWR) as descriptor, fails(errno.EOPNOTSUPP):
        fallocate(descriptor, mode, 0, 65536)
    assert read_file("a") == b"x" * 100_000


def test_no_blocks_beyond_the_end(affs_place: Path) -> None:
    write_file("a", b"x" * 100_000)
    with opened("a", os.O_RDWR) as descriptor:
        with fails(errno.EOPNOTSUPP):
            fallocate(descriptor, KEEP_SIZE, 50_000, 100_000)
        fallocate(descriptor, KEEP_SIZE, 50_000, 50_000)
    assert read_file("a") == b"x" * 100_000


def test_zeroing_leaves_holes(affs_place: Path) -> None:
    write_file("a", b"x" * 100_000)
    with opened("a", os.O_RDWR) as descriptor:
        os.fsync(descriptor)
        fallocate(descriptor, ZERO_RANGE, 0, 1 << 20)
        found = os.fstat(descriptor)
        assert (found.st_size, found.st_blocks) == (1 << 20, 0)


def test_syncfs_is_no_commit(folder: Path) -> None:
    """It says that it has done it, but the kernel asks FUSE filesystems nothing."""
    with (
        Mounted(folder, options="commit_interval=0") as mounted,
        opened(mounted.directory / "a", os.O_RDWR | os.O_CREAT) as descriptor,
    ):
        os.write(descriptor, b"x" * 100_000)
        before = mounted.affsctl("status")
        call("syncfs", descriptor)
        os.sync()
        assert mounted.affsctl("status")["seq"] == before["seq"]
        os.fsync(descriptor)
        assert mounted.affsctl("status")["seq"] == before["seq"] + 1


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


def test_no_upper_layer_of_overlayfs(affs_place: Path, folder: Path) -> None:
    """The kernel asks for RENAME_WHITEOUT; as the lower layer the mount serves (tests/programs)."""
    for name in ("up", "work"):
        os.mkdir(name)
    layers = f"lowerdir={folder},upperdir={affs_place}/up,workdir={affs_place}/work"
    words = ["mount", "-t", "overlay", "overlay", "-o", layers, str(folder)]
    done = subprocess.run(words, capture_output=True, check=False)
    assert done.returncode == 32, "mounted: then this limit is gone"


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


def test_chown_of_nothing_by_a_stranger(affs_place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o6755)
    as_user(lambda: os.chown("a", -1, -1))
    assert mode_of("a") == 0o6755


def test_truncating_to_the_same_size(affs_place: Path) -> None:
    write_file("a", b"abc")
    assert moved(lambda: os.truncate("a", 3), "a") == ["c"]


def test_a_running_program_opened_to_be_cut(affs_place: Path) -> None:
    with running_program("p"):
        with fails(errno.ETXTBSY):
            os.open("p", os.O_RDONLY | os.O_TRUNC)
        assert os.stat("p").st_size == 0
