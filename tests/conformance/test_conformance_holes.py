"""fallocate in the modes that reach a FUSE filesystem, and lseek SEEK_DATA and SEEK_HOLE."""

import errno
import mmap
import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from posix_kit import (
    OTHER,
    Target,
    as_user,
    fails,
    fallocate,
    mode_of,
    move_back,
    moved,
    opened,
    read_file,
    write_file,
)

KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE = 1, 2, 8, 16
PUNCH = PUNCH_HOLE | KEEP_SIZE
CHANGING = [0, PUNCH, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE]
MIB = 1 << 20


def data_of(target: Target) -> list[tuple[int, int]]:
    """(start, end) of everything that is data."""
    descriptor = target if isinstance(target, int) else os.open(target, os.O_RDONLY)
    found, at = [], 0
    with fails(errno.ENXIO):
        while True:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
            found.append((start, at))
    if descriptor is not target:
        os.close(descriptor)
    return found


# ---- looking ----


def test_a_file_without_holes_is_one_piece_of_data(place: Path) -> None:
    write_file("a", b"x" * 100_000)
    assert data_of("a") == [(0, 100_000)]
    with opened("a") as descriptor:
        assert os.lseek(descriptor, 99_999, os.SEEK_DATA) == 99_999
        assert os.lseek(descriptor, 5, os.SEEK_HOLE) == 100_000
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 100_000, "the offset moves"


@pytest.mark.parametrize("size", [0, 1, 100, 2048])
def test_small_files_have_no_holes(place: Path, size: int) -> None:
    write_file("a", b"x" * size)
    assert data_of("a") == ([(0, size)] if size else [])


@pytest.mark.parametrize("whence", [os.SEEK_DATA, os.SEEK_HOLE])
@pytest.mark.parametrize("offset", [100_000, 100_001, 1 << 40])
def test_beyond_the_end_there_is_neither(place: Path, whence: int, offset: int) -> None:
    write_file("a", b"x" * 100_000)
    with opened("a") as descriptor, fails(errno.ENXIO):
        os.lseek(descriptor, offset, whence)


@pytest.mark.parametrize("whence", [os.SEEK_DATA, os.SEEK_HOLE])
def test_negative_offsets(place: Path, whence: int) -> None:
    write_file("a", b"x" * 100)
    with opened("a") as descriptor, fails(errno.ENXIO, errno.EINVAL):
        os.lseek(descriptor, -1, whence)


def test_no_data_after_the_last(place: Path) -> None:
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        os.pwrite(descriptor, b"x", 0)
        os.ftruncate(descriptor, MIB)
        with fails(errno.ENXIO):
            os.lseek(descriptor, MIB // 2, os.SEEK_DATA)
        assert os.lseek(descriptor, MIB // 2, os.SEEK_HOLE) == MIB // 2


@pytest.mark.parametrize("synced", [False, True])
def test_holes_between_writes(place: Path, synced: bool) -> None:
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        for at in (1, 3, 4, 9):
            os.pwrite(descriptor, b"x" * 65536, at * MIB)
        os.ftruncate(descriptor, 12 * MIB)
        if synced:
            os.fsync(descriptor)
        expected = [(at * MIB, at * MIB + 65536) for at in (1, 3, 4, 9)]
        assert data_of(descriptor) == expected
        assert os.lseek(descriptor, 3 * MIB + 17, os.SEEK_DATA) == 3 * MIB + 17
        assert os.lseek(descriptor, 3 * MIB + 17, os.SEEK_HOLE) == 3 * MIB + 65536


def test_what_a_mapping_wrote_is_data(place: Path) -> None:
    """Also while the page is dirty in memory and nobody has asked for it to be written."""
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        os.ftruncate(descriptor, 4 * MIB)
        with mmap.mmap(descriptor, 4 * MIB) as mapped:
            mapped[2 * MIB] = 65
            assert os.lseek(descriptor, 0, os.SEEK_DATA) <= 2 * MIB
            assert os.lseek(descriptor, 2 * MIB, os.SEEK_HOLE) > 2 * MIB
        assert os.lseek(descriptor, 0, os.SEEK_DATA) <= 2 * MIB


def test_a_very_fragmented_file(place: Path) -> None:
    """More pieces than one look takes."""
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        for at in range(3000):
            os.pwrite(descriptor, b"x" * 4096, at * 8192)
        os.fsync(descriptor)
        assert data_of(descriptor) == [(at * 8192, at * 8192 + 4096) for at in range(3000)]
        for at in range(3000):
            os.pwrite(descriptor, b"y" * 4096, at * 8192 + 4096)
        os.fsync(descriptor)
        assert data_of(descriptor) == [(0, 3000 * 8192)]
        fallocate(descriptor, PUNCH, 4096, 2999 * 8192)
        assert data_of(descriptor) == [(0, 4096), (2999 * 8192 + 4096, 3000 * 8192)]
        assert os.fstat(descriptor).st_blocks <= 64


def test_sparse_copies(place: Path) -> None:
    """cp and tar leave holes out by asking for them."""
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        os.pwrite(descriptor, b"x" * 4096, 50 * MIB)
        os.ftruncate(descriptor, 100 * MIB)
    subprocess.run(["cp", "--sparse=auto", "a", "b"], check=True)
    subprocess.run(["tar", "-c", "--hole-detection=seek", "-S", "-f", "a.tar", "a"], check=True)
    assert os.stat("b").st_blocks < 200
    assert os.stat("b").st_size == 100 * MIB
    assert os.stat("a.tar").st_size < MIB


# ---- fallocate ----


@pytest.mark.parametrize("offset", [0, 10_000, 500_000])
def test_allocating_makes_blocks(place: Path, offset: int) -> None:
    with opened("a", os.O_RDWR | os.O_CREAT) as descriptor:
        os.pwrite(descriptor, b"x" * 10, 0)
        fallocate(descriptor, 0, offset, 100_000)
        found = os.fstat(descriptor)
        assert found.st_size == offset + 100_000
        os.fsync(descriptor)
        assert os.fstat(descriptor).st_blocks * 512 >= 100_000
    expected = bytearray(offset + 100_000)
    expected[:10] = b"x" * 10
    assert read_file("a") == expected


def test_allocating_keeps_what_is_there(place: Path) -> None:
    content = random.Random(3).randbytes(300_000)
    write_file("a", content)
    with opened("a", os.O_RDWR) as descriptor:
        fallocate(descriptor, PUNCH, 65536, 65536)
        fallocate(descriptor, 0, 0, 300_000)
        fallocate(descriptor, KEEP_SIZE, 0, 300_000)
    assert read_file("a") == content[:65536] + bytes(65536) + content[131_072:]


@pytest.mark.parametrize("offset", [0, 1, 4095, 4096, 5000, 65536, 99_999])
@pytest.mark.parametrize("length", [1, 4096, 10_000, 65536, 100_000, 1 << 20])
@pytest.mark.parametrize("mode", [PUNCH, ZERO_RANGE | KEEP_SIZE])
def test_taking_out(place: Path, mode: int, offset: int, length: int) -> None:
    content = bytearray(random.Random(4).randbytes(100_000))
    write_file("a", content)
    with opened("a", os.O_RDWR) as descriptor:
        if length < 1 << 20:
            os.fsync(descriptor)
        fallocate(descriptor, mode, offset, length)
        assert os.fstat(descriptor).st_size == 100_000
    end = min(100_000, offset + length)
    content[offset:end] = bytes(end - offset)
    assert read_file("a") == content


def test_punching_to_the_end_of_all_files(place: Path) -> None:
    write_file("a", b"x" * 100_000)
    with opened("a", os.O_RDWR) as descriptor:
        fallocate(descriptor, PUNCH, 50_000, 1 << 42)
    assert read_file("a") == b"x" * 50_000 + bytes(50_000)


def test_punched_blocks_are_given_back(place: Path) -> None:
    write_file("a", b"x" * MIB)
    with opened("a", os.O_RDWR) as descriptor:
        os.fsync(descriptor)
        before = os.fstat(descriptor).st_blocks
        fallocate(descriptor, PUNCH, 65536, MIB // 2)
        assert before - os.fstat(descriptor).st_blocks == MIB // 2 // 512
        assert data_of(descriptor) == [(0, 65536), (65536 + MIB // 2, MIB)]


def test_zeroing_can_grow(place: Path) -> None:
    write_file("a", b"x" * 10_000)
    with opened("a", os.O_RDWR) as descriptor:
        fallocate(descriptor, ZERO_RANGE, 5000, 20_000)
    assert read_file("a") == b"x" * 5000 + bytes(20_000)


def test_zeroing_beyond_the_end_keeps_the_size(place: Path) -> None:
    write_file("a", b"x" * 10_000)
    with opened("a", os.O_RDWR) as descriptor:
        fallocate(descriptor, ZERO_RANGE | KEEP_SIZE, 20_000, 20_000)
    assert read_file("a") == b"x" * 10_000


@pytest.mark.parametrize("size", [0, 1, 100, 2048, 2049, 4096])
@pytest.mark.parametrize("mode", CHANGING)
def test_small_files(place: Path, mode: int, size: int) -> None:
    write_file("a", b"x" * size)
    with opened("a", os.O_RDWR) as descriptor:
        fallocate(descriptor, mode, 10, 3000)
        expected = bytearray(b"x" * size)
        if mode:
            expected[10:3010] = bytes(max(0, min(size, 3010) - 10))
        if not mode & KEEP_SIZE:
            expected += bytes(max(0, 3010 - size))
        assert os.pread(descriptor, 10_000, 0) == expected
        os.fsync(descriptor)
    assert read_file("a") == expected


@pytest.mark.parametrize("mode", CHANGING)
def test_times(place: Path, mode: int) -> None:
    write_file("a", b"x" * 100_000)
    move_back("a")
    with opened("a", os.O_RDWR) as descriptor:
        assert moved(lambda: fallocate(descriptor, mode, 0, 8192), "a") == ["mc"]


@pytest.mark.parametrize("mode", CHANGING)
def test_setuid_goes(place: Path, mode: int) -> None:
    write_file("a", b"x" * 100_000)
    os.chown("a", OTHER, 0)
    os.chmod("a", 0o6777)

    def use() -> None:
        with opened("a", os.O_RDWR) as descriptor:
            fallocate(descriptor, mode, 0, 8192)

    as_user(use)
    assert mode_of("a") == 0o777


@pytest.mark.parametrize("mode", CHANGING)
def test_a_handle_for_reading_alone(place: Path, mode: int) -> None:
    write_file("a", b"x" * 100)
    with opened("a") as descriptor, fails(errno.EBADF):
        fallocate(descriptor, mode, 0, 10)


@pytest.mark.parametrize(("offset", "length"), [(-1, 10), (0, 0), (0, -1), (10, 0)])
@pytest.mark.parametrize("mode", [0, PUNCH])
def test_senseless_ranges(place: Path, mode: int, offset: int, length: int) -> None:
    write_file("a", b"x" * 100)
    with opened("a", os.O_RDWR) as descriptor, fails(errno.EINVAL):
        fallocate(descriptor, mode, offset, length)


def test_too_far(place: Path) -> None:
    write_file("a", b"x" * 100)
    with opened("a", os.O_RDWR) as descriptor, fails(errno.EFBIG):
        fallocate(descriptor, 0, (1 << 63) - 10, 100)


def test_punching_needs_keep_size(place: Path) -> None:
    write_file("a", b"x" * 100)
    with opened("a", os.O_RDWR) as descriptor, fails(errno.EOPNOTSUPP, errno.EINVAL):
        fallocate(descriptor, PUNCH_HOLE, 0, 10)


@pytest.mark.parametrize("make", [os.pipe, lambda: (os.open(".", os.O_RDONLY),)])
def test_only_files(place: Path, make: Callable[[], tuple[int, ...]]) -> None:
    descriptors = make()
    with fails(errno.ESPIPE, errno.EBADF, errno.EISDIR, errno.ENODEV):
        fallocate(descriptors[-1], 0, 0, 10)
    for descriptor in descriptors:
        os.close(descriptor)


def test_more_than_there_is(affs_place: Path) -> None:
    """ENOSPC at once, and the file is as it was. ext4 fills the disk first."""
    write_file("a", b"x" * 100)
    with opened("a", os.O_RDWR) as descriptor:
        with fails(errno.ENOSPC):
            fallocate(descriptor, 0, 0, 1 << 40)
        assert os.fstat(descriptor).st_size == 100
        assert os.stat("a").st_blocks <= 8
    assert read_file("a") == b"x" * 100


def test_appending_goes_on_at_the_end(place: Path) -> None:
    with opened("a", os.O_RDWR | os.O_CREAT | os.O_APPEND) as descriptor:
        os.write(descriptor, b"abc")
        fallocate(descriptor, 0, 0, 10)
        os.write(descriptor, b"def")
        fallocate(descriptor, PUNCH, 1, 1)
        os.write(descriptor, b"ghi")
    assert read_file("a") == b"a\0c" + bytes(7) + b"defghi"


def test_mapped_pages_see_it(place: Path) -> None:
    content = random.Random(5).randbytes(65536)
    write_file("a", content)
    with opened("a", os.O_RDWR) as descriptor, mmap.mmap(descriptor, 65536) as mapped:
        mapped[40_000] = 1
        fallocate(descriptor, PUNCH, 4096, 8192)
        assert mapped[4096:12_288] == bytes(8192)
        fallocate(descriptor, ZERO_RANGE, 39_999, 2)
        assert mapped[39_999:40_001] == b"\0\0"
        mapped[5000] = 7
        mapped.flush()
    assert read_file("a")[4096:12_288] == bytes(904) + b"\7" + bytes(7287)


def test_program(place: Path) -> None:
    subprocess.run(["fallocate", "-l", "1M", "a"], check=True)
    assert read_file("a") == bytes(MIB)
    subprocess.run(["fallocate", "--dig-holes", "a"], check=True)
    assert os.stat("a").st_blocks == 0
    subprocess.run(["fallocate", "-z", "-o", "1000", "-l", "10", "a"], check=True)
    subprocess.run(["fallocate", "-p", "-o", "0", "-l", "64K", "a"], check=True)
    assert read_file("a") == bytes(MIB)
