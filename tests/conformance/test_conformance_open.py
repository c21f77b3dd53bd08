"""open(2), creat(2), close(2): every flag, every errno, and what opening does to times and size."""

import errno
import os
import socket
import stat
from pathlib import Path

import pytest
from posix_kit import (
    USER,
    as_user,
    call,
    fails,
    make,
    mode_of,
    move_back,
    moved,
    opened,
    read_file,
    unmake,
    write_file,
)


def test_creates_with_mode_and_owner(place: Path) -> None:
    with opened("a", os.O_CREAT | os.O_WRONLY, 0o7777):
        pass
    assert mode_of("a") == 0o7755
    found = os.stat("a")
    assert (found.st_uid, found.st_gid, found.st_nlink, found.st_size) == (0, 0, 1, 0)
    assert found.st_blocks == 0
    assert found.st_atime_ns == found.st_mtime_ns == found.st_ctime_ns


def test_umask_counts(place: Path) -> None:
    os.umask(0o157)
    with opened("a", os.O_CREAT | os.O_WRONLY, 0o777):
        pass
    assert mode_of("a") == 0o620


def test_creating_moves_the_directory_and_not_if_it_exists(place: Path) -> None:
    def create() -> None:
        with opened("a", os.O_CREAT | os.O_WRONLY):
            pass

    assert moved(create, ".") == ["mc"]
    assert moved(create, ".", "a") == ["", ""]


def test_creat_truncates(place: Path) -> None:
    write_file("a", b"x" * 9000)
    mode = mode_of("a")
    os.close(call("creat", b"a", 0o600))
    assert os.stat("a").st_size == 0
    assert mode_of("a") == mode


@pytest.mark.parametrize("size", [0, 10, 10_000])
def test_truncating_open_moves_mtime_and_ctime(place: Path, size: int) -> None:
    write_file("a", b"x" * size)

    def truncate() -> None:
        with opened("a", os.O_WRONLY | os.O_TRUNC):
            pass

    assert moved(truncate, "a") == ["mc"]
    assert os.stat("a").st_size == 0
    assert os.stat("a").st_blocks == 0
    assert read_file("a") == b""


def test_truncating_open_for_reading(place: Path) -> None:
    write_file("a", b"x" * 10)
    with opened("a", os.O_RDONLY | os.O_TRUNC) as descriptor:
        assert os.read(descriptor, 10) == b""
    assert os.stat("a").st_size == 0


def test_exclusive(place: Path, kind: str) -> None:
    make(kind, "a")
    with fails(errno.EEXIST):
        os.open("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    unmake(kind, "a")


def test_exclusive_does_not_follow_a_link(place: Path) -> None:
    os.symlink("b", "a")
    with fails(errno.EEXIST):
        os.open("a", os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    assert not os.path.lexists("b")


def test_creates_behind_a_link(place: Path) -> None:
    os.symlink("b", "a")
    with opened("a", os.O_CREAT | os.O_WRONLY) as descriptor:
        os.write(descriptor, b"x")
    assert read_file("b") == b"x"
    assert stat.S_ISLNK(os.lstat("a").st_mode)


def test_access_modes(place: Path) -> None:
    write_file("a", b"abc")
    with opened("a", os.O_RDONLY) as descriptor:
        with fails(errno.EBADF):
            os.write(descriptor, b"x")
        with fails(errno.EINVAL):
            os.ftruncate(descriptor, 0)
    with opened("a", os.O_WRONLY) as descriptor, fails(errno.EBADF):
        os.read(descriptor, 1)
    with opened("a", os.O_RDWR) as descriptor:
        assert os.read(descriptor, 1) == b"a"
        assert os.write(descriptor, b"B") == 1
    assert read_file("a") == b"aBc"


def test_path_descriptor(place: Path) -> None:
    write_file("a", b"abc")
    with opened("a", os.O_PATH) as descriptor:
        assert os.fstat(descriptor).st_size == 3
        with fails(errno.EBADF):
            os.read(descriptor, 1)
        with opened(f"/proc/self/fd/{descriptor}", os.O_RDONLY) as again:
            assert os.read(again, 3) == b"abc"


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_CREAT])
def test_a_directory_opens_for_reading_only(place: Path, flags: int) -> None:
    os.mkdir("d")
    with fails(errno.EISDIR):
        os.open("d", flags)


def test_reading_a_directory_as_a_file(place: Path) -> None:
    with opened(".", os.O_RDONLY | os.O_DIRECTORY) as descriptor, fails(errno.EISDIR):
        os.read(descriptor, 1)


def test_directory_flag(place: Path) -> None:
    write_file("a")
    os.symlink(".", "l")
    with fails(errno.ENOTDIR):
        os.open("a", os.O_RDONLY | os.O_DIRECTORY)
    with opened("l", os.O_RDONLY | os.O_DIRECTORY):
        pass
    with fails(errno.ENOTDIR, errno.ELOOP):
        os.open("l", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)


def test_nofollow(place: Path) -> None:
    write_file("a")
    os.symlink("a", "l")
    with fails(errno.ELOOP):
        os.open("l", os.O_RDONLY | os.O_NOFOLLOW)
    with opened("l", os.O_PATH | os.O_NOFOLLOW) as descriptor:
        assert stat.S_ISLNK(os.fstat(descriptor).st_mode)
        assert os.readlink("", dir_fd=descriptor) == "a"


def test_names_that_lead_nowhere(place: Path) -> None:
    write_file("a")
    for path, number in (
        ("b", errno.ENOENT),
        ("b/c", errno.ENOENT),
        ("a/c", errno.ENOTDIR),
        ("a/", errno.ENOTDIR),
        ("", errno.ENOENT),
    ):
        with fails(number):
            os.open(path, os.O_RDONLY)
    with fails(errno.EISDIR):
        os.open("b/", os.O_CREAT | os.O_WRONLY)
    with fails(errno.ENOENT):
        os.open("b/c", os.O_CREAT | os.O_WRONLY)
    with fails(errno.ENOTDIR):
        os.open("a/c", os.O_CREAT | os.O_WRONLY)


def test_socket_and_fifo(place: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        with fails(errno.ENXIO):
            os.open("s", os.O_RDWR)
    os.mkfifo("f")
    with fails(errno.ENXIO):
        os.open("f", os.O_WRONLY | os.O_NONBLOCK)
    with (
        opened("f", os.O_RDONLY | os.O_NONBLOCK) as reader,
        opened("f", os.O_WRONLY | os.O_NONBLOCK) as writer,
    ):
        os.write(writer, b"abc")
        assert os.read(reader, 9) == b"abc"
    assert os.stat("f").st_size == 0


def test_device_nodes_open_the_device(place: Path) -> None:
    os.mknod("zero", stat.S_IFCHR | 0o666, os.makedev(1, 5))
    assert stat.S_ISCHR(os.stat("zero").st_mode)
    assert os.stat("zero").st_rdev == os.makedev(1, 5)
    with opened("zero") as descriptor:
        assert os.read(descriptor, 4) == bytes(4)
    os.mknod("none", stat.S_IFCHR | 0o666, os.makedev(240, 77))
    with fails(errno.ENXIO):
        os.open("none", os.O_RDONLY)


def test_a_running_program_is_busy(place: Path) -> None:
    write_file("p", read_file("/bin/sleep"))
    os.chmod("p", 0o755)
    pid = os.posix_spawn("./p", ["p", "10"], {})
    try:
        with fails(errno.ETXTBSY):
            os.open("p", os.O_WRONLY)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    with opened("p", os.O_WRONLY), fails(errno.ETXTBSY):
        os.posix_spawn("./p", ["p", "10"], {})


def test_noatime(place: Path) -> None:
    write_file("a", b"abc")
    move_back("a")

    def read(flags: int) -> None:
        with opened("a", os.O_RDONLY | flags) as descriptor:
            os.read(descriptor, 3)

    assert moved(lambda: read(os.O_NOATIME), "a") == [""]
    assert moved(lambda: read(0), "a") == ["a"]
    os.chmod("a", 0o644)
    with fails(errno.EPERM):
        as_user(lambda: read(os.O_NOATIME))
    os.chown("a", USER, -1)
    as_user(lambda: read(os.O_NOATIME))


def test_reading_moves_atime_as_relatime_says(place: Path) -> None:
    write_file("a", b"abc")
    move_back("a")
    assert moved(lambda: read_file("a"), "a") == ["a"]
    assert moved(lambda: read_file("a"), "a") == [""]
    os.utime("a", ns=(os.stat("a").st_atime_ns, os.stat("a").st_atime_ns))
    assert moved(lambda: read_file("a"), "a") == ["a"]


def test_listing_moves_the_directory_s_atime(place: Path) -> None:
    os.mkdir("d")
    write_file("d/a")
    move_back("d")
    assert moved(lambda: os.listdir("d"), "d") == ["a"]
    assert moved(lambda: os.listdir("d"), "d") == [""]


def test_reading_a_link_moves_its_atime(place: Path) -> None:
    os.symlink("x", "l")
    move_back("l")
    assert moved(lambda: os.readlink("l"), "l") == ["a"]


def test_synchronous_writes(place: Path) -> None:
    for flag in (os.O_SYNC, os.O_DSYNC):
        with opened("a", os.O_CREAT | os.O_RDWR | flag) as descriptor:
            assert os.write(descriptor, b"abc") == 3
            assert os.pread(descriptor, 3, 0) == b"abc"
            os.fsync(descriptor)
            os.fdatasync(descriptor)
    with opened(".", os.O_RDONLY | os.O_DIRECTORY) as directory:
        os.fsync(directory)


def test_opening_again_through_proc(place: Path) -> None:
    write_file("a", b"abc")
    with opened("a", os.O_RDONLY) as descriptor:
        os.unlink("a")
        with opened(f"/proc/self/fd/{descriptor}", os.O_RDWR) as again:
            os.pwrite(again, b"X", 1)
        assert os.pread(descriptor, 9, 0) == b"aXc"


def test_descriptors_share_nothing_but_the_file(place: Path) -> None:
    write_file("a", b"abcdef")
    with opened("a", os.O_RDWR) as one, opened("a", os.O_RDWR) as two:
        assert os.read(one, 3) == b"abc"
        assert os.read(two, 2) == b"ab"
        copy = os.dup(one)
        assert os.read(copy, 1) == b"d"
        assert os.read(one, 1) == b"e"
        os.close(copy)
        assert os.lseek(one, -1, os.SEEK_END) == 5
        assert os.lseek(one, 100, os.SEEK_SET) == 100
        assert os.read(one, 1) == b""
        with fails(errno.EINVAL):
            os.lseek(one, -1, os.SEEK_SET)


def test_by_directory_descriptor(place: Path) -> None:
    os.mkdir("d")
    with opened("d", os.O_RDONLY | os.O_DIRECTORY) as directory:
        os.close(os.open("a", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
        assert os.listdir("d") == ["a"]
        os.rename("d", "e")
        os.mkdir("sub", dir_fd=directory)
        assert sorted(os.listdir("e")) == ["a", "sub"]
        with opened("e/a") as descriptor, fails(errno.ENOTDIR):
            os.open("b", os.O_RDONLY, dir_fd=descriptor)
