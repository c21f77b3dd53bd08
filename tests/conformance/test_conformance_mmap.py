"""Mappings: private, shared, msync, mixed with read and write, past the end of the file."""

import errno
import mmap
import os
import signal
from pathlib import Path

from posix_kit import fails, fork, in_child, moved, opened, read_file, write_file

PAGE = mmap.PAGESIZE


def mapped(path: str, size: int, flags: int = mmap.MAP_SHARED, protection: int = 3) -> mmap.mmap:
    mode = os.O_RDWR if protection & mmap.PROT_WRITE and flags == mmap.MAP_SHARED else os.O_RDONLY
    with opened(path, mode) as descriptor:
        return mmap.mmap(descriptor, size, flags, protection)


def test_private_changes_stay_private(place: Path) -> None:
    write_file("a", b"x" * 3 * PAGE)
    with mapped("a", 3 * PAGE, mmap.MAP_PRIVATE) as mapping:
        mapping[10:13] = b"abc"
        assert mapping[9:14] == b"xabcx"
        assert read_file("a") == b"x" * 3 * PAGE
        with opened("a", os.O_WRONLY) as descriptor:
            os.pwrite(descriptor, b"new", 2 * PAGE)
        assert mapping[2 * PAGE : 2 * PAGE + 3] == b"new"


def test_shared_changes_are_read_at_once(place: Path) -> None:
    write_file("a", b"x" * 3 * PAGE)
    with mapped("a", 3 * PAGE) as mapping, opened("a", os.O_RDWR) as descriptor:
        mapping[PAGE : PAGE + 3] = b"abc"
        assert os.pread(descriptor, 5, PAGE - 1) == b"xabcx"
        os.pwrite(descriptor, b"DEF", PAGE + 1)
        assert mapping[PAGE : PAGE + 5] == b"aDEFx"
        mapping[PAGE + 2 : PAGE + 3] = b"z"
        assert read_file("a")[PAGE : PAGE + 5] == b"aDzFx"


def test_two_processes_share(place: Path) -> None:
    write_file("a", bytes(PAGE))
    with mapped("a", PAGE) as mapping:

        def other() -> bytes:
            with mapped("a", PAGE) as mine:
                mine[5:8] = b"yes"
                return mine[0:2]

        mapping[0:2] = b"hi"
        assert in_child(other) == b"hi"
        assert mapping[5:8] == b"yes"


def test_msync_writes(place: Path) -> None:
    write_file("a", bytes(4 * PAGE))
    with mapped("a", 4 * PAGE) as mapping:
        mapping[2 * PAGE] = 7
        mapping.flush()
        mapping[0] = 5
        mapping.flush(0, PAGE)
    assert read_file("a")[0] == 5
    assert read_file("a")[2 * PAGE] == 7


def test_writing_through_a_mapping_moves_times(place: Path) -> None:
    write_file("a", bytes(PAGE))

    def change() -> None:
        with mapped("a", PAGE) as mapping:
            mapping[0] = 1
            mapping.flush()

    assert moved(change, "a")[0].endswith("mc")


def test_a_mapping_outlives_its_descriptor(place: Path) -> None:
    write_file("a", bytes(2 * PAGE))
    mapping = mapped("a", 2 * PAGE)
    mapping[PAGE] = 9
    mapping.close()
    assert read_file("a")[PAGE] == 9


def test_the_last_page_past_the_end_is_not_written(place: Path) -> None:
    write_file("a", b"abc")
    with mapped("a", 3) as mapping:
        mapping[1] = ord("X")
        mapping.flush()
    assert read_file("a") == b"aXc"
    os.truncate("a", 10)
    assert read_file("a") == b"aXc" + bytes(7)


def test_growing_below_a_mapping(place: Path) -> None:
    write_file("a", b"x" * 100)
    os.truncate("a", 4 * PAGE)
    with mapped("a", 4 * PAGE) as mapping:
        assert mapping[100:200] == bytes(100)
        os.truncate("a", 6 * PAGE)
        mapping.resize(6 * PAGE)
        mapping[5 * PAGE : 5 * PAGE + 2] = b"ab"
        mapping.flush()
    assert os.stat("a").st_size == 6 * PAGE
    assert read_file("a")[5 * PAGE : 5 * PAGE + 3] == b"ab\0"


def test_shrinking_below_a_mapping(place: Path) -> None:
    """Touching what is no longer in the file is SIGBUS."""
    write_file("a", b"x" * 4 * PAGE)
    mapping = mapped("a", 4 * PAGE)
    os.truncate("a", PAGE)
    assert mapping[PAGE - 1] == ord("x")
    pid = fork()
    if pid == 0:
        signal.signal(signal.SIGBUS, signal.SIG_DFL)
        mapping[2 * PAGE]
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGBUS
    os.truncate("a", 4 * PAGE)
    assert mapping[2 * PAGE] == 0
    mapping.close()


def test_truncating_zeroes_the_rest_of_the_page(place: Path) -> None:
    write_file("a", b"x" * PAGE)
    with mapped("a", PAGE) as mapping:
        os.truncate("a", 10)
        os.truncate("a", PAGE)
        assert mapping[:] == b"x" * 10 + bytes(PAGE - 10)


def test_appending_beside_a_mapping(place: Path) -> None:
    """Pages written back through a descriptor that appends land where they belong."""
    write_file("a", b"x" * (2 * PAGE + 100))
    with opened("a", os.O_RDWR | os.O_APPEND) as descriptor:
        mapping = mmap.mmap(descriptor, 2 * PAGE + 100)
        mapping[10:13] = b"abc"
        os.write(descriptor, b"tail")
        mapping[PAGE : PAGE + 3] = b"def"
        mapping.flush()
        os.write(descriptor, b"end")
        mapping.close()
    expected = bytearray(b"x" * (2 * PAGE + 100) + b"tailend")
    expected[10:13] = b"abc"
    expected[PAGE : PAGE + 3] = b"def"
    assert read_file("a") == expected


def test_what_cannot_be_mapped(place: Path) -> None:
    write_file("a", bytes(PAGE))
    with opened("a", os.O_WRONLY) as descriptor, fails(errno.EACCES):
        mmap.mmap(descriptor, PAGE)
    with opened("a", os.O_RDONLY) as descriptor, fails(errno.EACCES):
        mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, mmap.PROT_WRITE)
    with opened(".", os.O_RDONLY) as descriptor, fails(errno.ENODEV):
        mmap.mmap(descriptor, PAGE, mmap.MAP_SHARED, mmap.PROT_READ)


def test_mapping_a_hole_and_filling_it(place: Path) -> None:
    with open("a", "wb") as file:
        file.truncate(1 << 20)
    with mapped("a", 1 << 20) as mapping:
        assert mapping[500_000] == 0
        for page in range(0, 1 << 20, 16 * PAGE):
            mapping[page] = 1
        mapping.flush()
    data = read_file("a")
    assert sum(data) == (1 << 20) // (16 * PAGE)
    assert len(data) == 1 << 20


def test_mapping_of_an_executable(place: Path) -> None:
    write_file("p", read_file("/bin/true"))
    os.chmod("p", 0o755)
    assert os.system("./p") == 0
