"""File content: holes, large offsets, appending from several processes, every way to move bytes."""

import errno
import fcntl
import hashlib
import mmap
import os
import random
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from posix_kit import fails, in_child, moved, opened, read_file, write_file

READ_WRITE = os.O_RDWR | os.O_CREAT


# ---- holes and offsets ----


def test_a_hole_reads_as_zeros_and_takes_no_blocks(place: Path) -> None:
    with opened("a", READ_WRITE) as descriptor:
        os.pwrite(descriptor, b"end", 100 << 20)
        os.fsync(descriptor)
        assert os.fstat(descriptor).st_size == (100 << 20) + 3
        assert os.fstat(descriptor).st_blocks <= 64
        assert os.pread(descriptor, 8192, 50 << 20) == bytes(8192)
        assert os.pread(descriptor, 5, (100 << 20) - 2) == b"\0\0end"
        os.pwrite(descriptor, b"middle", (50 << 20) + 4090)
        assert os.pread(descriptor, 20, (50 << 20) + 4085) == bytes(5) + b"middle" + bytes(9)


def test_truncate_makes_a_hole(place: Path) -> None:
    write_file("a", b"abc")
    os.truncate("a", 1 << 40)
    assert os.stat("a").st_size == 1 << 40
    assert os.stat("a").st_blocks <= 8
    with opened("a") as descriptor:
        assert os.pread(descriptor, 6, 0) == b"abc\0\0\0"
        assert os.pread(descriptor, 100, (1 << 40) - 50) == bytes(50)
        assert os.pread(descriptor, 100, 1 << 40) == b""


def test_blocks_count_512_bytes(place: Path) -> None:
    write_file("a", os.urandom(1 << 20))
    with opened("a", os.O_RDWR) as descriptor:
        os.fsync(descriptor)
    assert os.stat("a").st_blocks in range(2048, 2080)
    assert os.stat("a").st_blksize >= 512
    os.truncate("a", 4096)
    assert os.stat("a").st_blocks in range(8, 17)


@pytest.mark.parametrize("offset", [2**31 - 2, 2**32 - 2, 2**32 + 5, 2**40 - 1, 2**43])
def test_offsets_past_32_bits(place: Path, offset: int) -> None:
    with opened("a", READ_WRITE) as descriptor:
        assert os.pwrite(descriptor, b"hello", offset) == 5
        assert os.pread(descriptor, 9, offset - 2) == b"\0\0hello"
        assert os.lseek(descriptor, 0, os.SEEK_END) == offset + 5
        assert os.fstat(descriptor).st_size == offset + 5


@pytest.mark.parametrize("offset", [2**62, 2**63 - 4096 - 5])
def test_near_the_largest_offset(vast_place: Path, offset: int) -> None:
    with opened("a", READ_WRITE) as descriptor:
        assert os.pwrite(descriptor, b"hello", offset) == 5
        assert os.pread(descriptor, 9, offset) == b"hello"
        assert os.fstat(descriptor).st_size == offset + 5
        os.fsync(descriptor)
        os.ftruncate(descriptor, 2**63 - 1)
        assert os.fstat(descriptor).st_size == 2**63 - 1
        assert os.pread(descriptor, 9, offset) == b"hello" + bytes(4)
        os.ftruncate(descriptor, 5)
        assert os.pread(descriptor, 9, 0) == bytes(5)


def test_past_the_largest_offset(vast_place: Path) -> None:
    with opened("a", READ_WRITE) as descriptor:
        with fails(errno.EINVAL):
            os.pwrite(descriptor, b"x", -1)
        with fails(errno.EFBIG, errno.EINVAL, errno.EOVERFLOW):
            os.pwrite(descriptor, b"xy", 2**63 - 1)
        with fails(errno.EINVAL):
            os.ftruncate(descriptor, -1)
        assert os.fstat(descriptor).st_size == 0


def test_file_size_limit_of_the_process(place: Path) -> None:
    def work() -> bytes:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        with opened("a", READ_WRITE) as descriptor:
            assert os.write(descriptor, b"x" * 6000) == 5000
            with fails(errno.EFBIG):
                os.write(descriptor, b"x")
            with fails(errno.EFBIG):
                os.ftruncate(descriptor, 5001)
        return read_file("a")

    assert in_child(work) == b"x" * 5000


def test_random_writes_against_a_model(place: Path) -> None:
    rng = random.Random(7)
    model = bytearray()
    with opened("a", READ_WRITE) as descriptor:
        for step in range(300):
            offset, length = rng.randrange(200_000), rng.choice([1, 10, 4096, 5000, 30_000])
            match rng.randrange(5):
                case 0 | 1:
                    data = rng.randbytes(length)
                    os.pwrite(descriptor, data, offset)
                    model.extend(bytes(max(0, offset + length - len(model))))
                    model[offset : offset + length] = data
                case 2:
                    os.ftruncate(descriptor, offset)
                    model.extend(bytes(max(0, offset - len(model))))
                    del model[offset:]
                case 3:
                    assert os.pread(descriptor, length, offset) == model[offset : offset + length]
                case 4 if step % 5 == 0:
                    os.fsync(descriptor)
            assert os.fstat(descriptor).st_size == len(model)
    assert read_file("a") == model


def test_large_file(place: Path) -> None:
    digest = hashlib.sha256()
    with open("a", "wb") as file:
        for count in range(48):
            block = bytes([count, 255 - count]) * (1 << 18)
            digest.update(block)
            file.write(block)
    again = hashlib.sha256(read_file("a"))
    assert again.digest() == digest.digest()


def test_vectors(place: Path) -> None:
    with opened("a", READ_WRITE) as descriptor:
        assert os.writev(descriptor, [b"ab", b"", b"cde"]) == 5
        assert os.pwritev(descriptor, [b"X", b"Y"], 1) == 2
        parts = [bytearray(2), bytearray(10)]
        assert os.preadv(descriptor, parts, 0) == 5
        assert bytes(parts[0] + parts[1][:3]) == b"aXYde"


# ---- appending ----

APPENDER = """
import os, sys
who = sys.argv[1].encode()
descriptor = os.open("log", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
for n in range(300):
    line = b"%s %06d %s\\n" % (who, n, who * (n % 90))
    assert os.write(descriptor, line) == len(line)
"""


def test_appending_from_several_processes(place: Path) -> None:
    """No line is lost, torn or out of its writer's order."""
    writers = [
        subprocess.Popen([sys.executable, "-c", APPENDER, who]) for who in ("a", "b", "c", "d")
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    seen: dict[bytes, int] = {}
    lines = read_file("log").split(b"\n")
    assert lines.pop() == b""
    for line in lines:
        who, number, rest = line.split(b" ")
        assert int(number) == seen.get(who, 0)
        assert rest == who * (int(number) % 90)
        seen[who] = int(number) + 1
    assert sorted(seen.values()) == [300] * 4


def test_append_ignores_the_offset(place: Path) -> None:
    write_file("a", b"abc")
    with opened("a", os.O_RDWR | os.O_APPEND) as descriptor:
        os.lseek(descriptor, 0, os.SEEK_SET)
        os.write(descriptor, b"d")
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 4
        os.ftruncate(descriptor, 1)
        os.write(descriptor, b"e")
        assert os.pwrite(descriptor, b"f", 0) == 1
    assert read_file("a") == b"aef"


def test_append_set_later(place: Path) -> None:
    """fcntl(F_SETFL) can turn O_APPEND on and off."""
    write_file("a", b"abc")
    with opened("a", os.O_RDWR) as descriptor:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_APPEND)
        os.write(descriptor, b"d")
        os.truncate("a", 2)
        os.write(descriptor, b"e")
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags)
        os.pwrite(descriptor, b"X", 0)
    assert read_file("a") == b"Xbe"


def test_append_taken_away(place: Path) -> None:
    write_file("a", b"abc")
    with opened("a", os.O_RDWR | os.O_APPEND) as descriptor:
        flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~os.O_APPEND)
        os.pwrite(descriptor, b"X", 0)
        os.pwrite(descriptor, b"Y", 10)
    assert read_file("a") == b"Xbc" + bytes(7) + b"Y"


# ---- other ways to move bytes ----


def test_sendfile(place: Path) -> None:
    data = os.urandom(300_000)
    write_file("a", data)
    with opened("a") as source, opened("b", READ_WRITE) as target:
        done = 0
        while done < len(data):
            done += os.sendfile(target, source, done, len(data) - done)
    assert read_file("b") == data


def test_copy_file_range(place: Path) -> None:
    data = os.urandom(300_000)
    write_file("a", data)
    with opened("a") as source, opened("b", READ_WRITE) as target:
        assert os.copy_file_range(source, target, 100_000, 50_000, 10) == 100_000
        assert os.fstat(target).st_size == 100_010
        assert os.pread(target, 200_000, 0) == bytes(10) + data[50_000:150_000]
        assert os.copy_file_range(source, target, 10, 300_000, 0) == 0
        with fails(errno.EBADF):
            os.copy_file_range(target, source, 10, 0, 0)


def test_copy_file_range_onto_itself(place: Path) -> None:
    write_file("a", b"0123456789")
    with opened("a", os.O_RDWR) as descriptor:
        with fails(errno.EINVAL):
            os.copy_file_range(descriptor, descriptor, 5, 0, 3)
        assert os.copy_file_range(descriptor, descriptor, 5, 0, 5) == 5
    assert read_file("a") == b"0123401234"


def test_splice(place: Path) -> None:
    data = os.urandom(20_000)
    write_file("a", data)
    reader, writer = os.pipe()
    with opened("a") as source, opened("b", READ_WRITE) as target:
        moved_bytes = os.splice(source, writer, 20_000, 0)
        assert os.splice(reader, target, moved_bytes, None, 5) == moved_bytes
    os.close(reader)
    os.close(writer)
    assert read_file("b") == bytes(5) + data[:moved_bytes]


def test_direct(place: Path) -> None:
    """O_DIRECT with aligned buffers, mixed with ordinary reading."""
    buffer = mmap.mmap(-1, 65536)
    buffer.write(bytes(range(256)) * 256)
    with opened("a", READ_WRITE | os.O_DIRECT) as descriptor:
        assert os.pwrite(descriptor, buffer, 0) == 65536
        assert read_file("a") == buffer[:]
        with opened("a", os.O_WRONLY) as ordinary:
            os.pwrite(ordinary, b"ordinary", 4096)
        again = mmap.mmap(-1, 65536)
        assert os.preadv(descriptor, [again], 0) == 65536
        assert again[4096:4104] == b"ordinary"
        assert again[:4096] == buffer[:4096]
        assert os.preadv(descriptor, [again], 65536) == 0
    again.close()
    buffer.close()


def test_readers_and_writers_at_once(place: Path) -> None:
    """read(2) beside write(2) gives bytes of writes that were under way while it read, or of the
    last one before: nothing older, nothing foreign. One read may show two of them, as it does on
    ext4 and tmpfs: the kernel copies from its cache without waiting for a writer (docs/limits.md).
    """
    write_file("a", b"\0" * 65536)
    done, begun = [0], [0]
    wrong: list[tuple[int, set[int], int]] = []

    def read() -> None:
        with opened("a") as descriptor:
            while done[0] < 250:
                oldest = done[0]
                seen = set(os.pread(descriptor, 4096, 8192))
                if not seen <= set(range(oldest, begun[0] + 1)):
                    wrong.append((oldest, seen, begun[0]))

    reader = threading.Thread(target=read)
    reader.start()
    with opened("a", os.O_WRONLY) as descriptor:
        for count in range(1, 251):
            begun[0] = count
            os.pwrite(descriptor, bytes([count]) * 65536, 0)
            done[0] = count
    reader.join()
    assert wrong == []


def test_reading_moves_no_size(place: Path) -> None:
    write_file("a", b"abc")
    assert moved(lambda: read_file("a"), "a") in ([""], ["a"])
    assert os.stat("a").st_size == 3


def test_fadvise_and_readahead(place: Path) -> None:
    write_file("a", os.urandom(100_000))
    before = read_file("a")
    with opened("a") as descriptor:
        os.fsync(descriptor)
        for advice in (
            os.POSIX_FADV_DONTNEED, os.POSIX_FADV_WILLNEED, os.POSIX_FADV_SEQUENTIAL,
            os.POSIX_FADV_RANDOM,
        ):  # fmt: skip
            os.posix_fadvise(descriptor, 0, 0, advice)
            assert os.pread(descriptor, 100_000, 0) == before


def test_posix_fallocate(place: Path) -> None:
    write_file("a", b"abc")
    with opened("a", os.O_RDWR) as descriptor:
        os.posix_fallocate(descriptor, 0, 50_000)
        assert os.fstat(descriptor).st_size == 50_000
        assert os.fstat(descriptor).st_blocks >= 96
    assert read_file("a") == b"abc" + bytes(49_997)
