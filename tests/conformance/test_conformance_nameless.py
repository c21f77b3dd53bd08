"""Files without a name: O_TMPFILE, and giving them one."""

import errno
import os
import stat
import subprocess
from pathlib import Path

import pytest
from posix_kit import (
    AT_FDCWD,
    GROUP,
    OTHER_GROUP,
    USER,
    as_user,
    call,
    fails,
    fallocate,
    linkat_descriptor,
    mode_of,
    moved,
    opened,
    read_file,
)

AT_EMPTY_PATH = 0x1000
MAKE = os.O_TMPFILE | os.O_RDWR


def test_it_has_no_name(place: Path) -> None:
    with opened(".", MAKE, 0o640) as descriptor:
        found = os.fstat(descriptor)
        assert stat.S_ISREG(found.st_mode)
        assert (stat.S_IMODE(found.st_mode), found.st_nlink, found.st_size) == (0o640, 0, 0)
        assert os.listdir(".") == []
        os.write(descriptor, b"abc" * 10_000)
        os.fsync(descriptor)
        assert os.pread(descriptor, 99, 29_997) == b"abc"
        os.ftruncate(descriptor, 5)
        os.fchmod(descriptor, 0o600)
        os.setxattr(descriptor, "user.x", b"1")
        assert os.fstat(descriptor).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("flags", [os.O_WRONLY, os.O_RDWR])
def test_flags(place: Path, flags: int) -> None:
    with opened(".", os.O_TMPFILE | flags) as descriptor:
        assert os.write(descriptor, b"x") == 1


def test_reading_alone_makes_no_sense(place: Path) -> None:
    with fails(errno.EINVAL):
        os.open(".", os.O_TMPFILE | os.O_RDONLY)


def test_the_directory_does_not_move(place: Path) -> None:
    assert moved(lambda: os.close(os.open(".", MAKE)), ".") == [""]


def test_the_umask_and_the_owner(place: Path) -> None:
    os.mkdir("d")
    os.chmod("d", 0o777)

    def use() -> os.stat_result:
        with opened("d", MAKE, 0o666) as descriptor:
            return os.fstat(descriptor)

    found = as_user(use, umask=0o027)
    assert (found.st_uid, found.st_gid, found.st_mode & 0o7777) == (USER, GROUP, 0o640)
    os.chown("d", 0, OTHER_GROUP)
    os.chmod("d", 0o2777)
    assert as_user(use).st_gid == OTHER_GROUP


def test_a_default_acl_is_inherited(place: Path) -> None:
    os.mkdir("d")
    subprocess.run(["setfacl", "-d", "-m", f"u:{USER}:rw,o::r", "d"], check=True)
    with opened("d", MAKE, 0o666) as descriptor:
        assert "system.posix_acl_access" in os.listxattr(descriptor)
        assert "system.posix_acl_default" not in os.listxattr(descriptor)


@pytest.mark.parametrize(
    ("path", "number"),
    [("a", errno.ENOTDIR), ("missing", errno.ENOENT), ("a/b", errno.ENOTDIR),
     ("l", errno.ELOOP), ("n" * 256, errno.ENAMETOOLONG)],
)  # fmt: skip
def test_where_it_cannot_be(place: Path, path: str, number: int) -> None:
    os.close(os.open("a", os.O_CREAT | os.O_WRONLY))
    os.symlink("l", "l")
    with fails(number):
        os.open(path, MAKE)


def test_permission(place: Path) -> None:
    os.mkdir("d", 0o755)
    with fails(errno.EACCES):
        as_user(lambda: os.open("d", MAKE))


def test_it_gets_a_name(place: Path) -> None:
    with opened(".", MAKE, 0o644) as descriptor:
        os.write(descriptor, b"abc" * 10_000)
        assert moved(lambda: linkat_descriptor(descriptor, "a"), descriptor, ".") == ["c", "mc"]
        assert os.fstat(descriptor).st_nlink == 1
        os.write(descriptor, b"def")
        with fails(errno.EEXIST):
            linkat_descriptor(descriptor, "a")
        linkat_descriptor(descriptor, "b")
        assert os.fstat(descriptor).st_nlink == 2
    assert read_file("a") == b"abc" * 10_000 + b"def"
    assert os.stat("a").st_ino == os.stat("b").st_ino
    assert mode_of("a") == 0o644
    os.unlink("a")
    assert read_file("b").endswith(b"def")


def test_a_name_with_an_empty_path(place: Path) -> None:
    with opened(".", MAKE) as descriptor:
        call("linkat", descriptor, b"", AT_FDCWD, b"a", AT_EMPTY_PATH)
    assert read_file("a") == b""


def test_excl_means_never(place: Path) -> None:
    with opened(".", MAKE | os.O_EXCL) as descriptor, fails(errno.ENOENT):
        linkat_descriptor(descriptor, "a")


def test_once_unlinked_it_gets_no_name_again(place: Path) -> None:
    with opened(".", MAKE) as descriptor:
        linkat_descriptor(descriptor, "a")
        os.unlink("a")
        with fails(errno.ENOENT):
            linkat_descriptor(descriptor, "a")


def test_what_has_lost_its_name_gets_none(place: Path) -> None:
    with opened("a", os.O_CREAT | os.O_RDWR) as descriptor:
        os.unlink("a")
        with fails(errno.ENOENT):
            linkat_descriptor(descriptor, "b")


def test_many_at_once(place: Path) -> None:
    descriptors = [os.open(".", MAKE) for _ in range(200)]
    for number, descriptor in enumerate(descriptors):
        os.write(descriptor, b"x" * number * 100)
    for number, descriptor in enumerate(descriptors):
        assert os.fstat(descriptor).st_size == number * 100
        if number % 2:
            linkat_descriptor(descriptor, f"{number}")
        os.close(descriptor)
    assert len(os.listdir(".")) == 100
    assert all(os.stat(name).st_size == int(name) * 100 for name in os.listdir("."))


def test_shrunk_and_holed_before_it_gets_its_name(place: Path) -> None:
    with opened(".", MAKE) as descriptor:
        for at in range(600):
            os.pwrite(descriptor, b"x" * 4096, at * 8192)
        os.fsync(descriptor)
        os.ftruncate(descriptor, 8192)
        fallocate(descriptor, 3, 0, 4096)
        linkat_descriptor(descriptor, "a")
        os.ftruncate(descriptor, 600 * 8192)
        os.fsync(descriptor)
    assert read_file("a") == bytes(600 * 8192)
