"""unlink, rmdir, and files that are used after their last name went."""

import errno
import mmap
import os
import stat
from pathlib import Path

from posix_kit import (
    OTHER,
    USER,
    as_user,
    call,
    fails,
    make,
    moved,
    opened,
    settled_blocks_free,
    unmake,
    write_file,
)

AT_REMOVEDIR = 0x200


def test_unlink_each_type(place: Path, kind: str) -> None:
    make(kind, "a")
    if kind == "directory":
        with fails(errno.EISDIR):
            os.unlink("a")
        return
    assert moved(lambda: os.unlink("a"), ".") == ["mc"]
    assert not os.path.lexists("a")
    with fails(errno.ENOENT):
        os.unlink("a")


def test_unlink_moves_ctime_of_what_is_left(place: Path) -> None:
    write_file("a")
    os.link("a", "b")
    assert moved(lambda: os.unlink("a"), "b", ".") == ["c", "mc"]
    assert os.stat("b").st_nlink == 1


def test_unlink_takes_the_link_not_its_target(place: Path) -> None:
    write_file("a")
    os.symlink("a", "l")
    os.unlink("l")
    assert os.listdir() == ["a"]


def test_names_that_cannot_go(place: Path) -> None:
    write_file("a")
    os.mkdir("d")
    for remove in (os.unlink, os.rmdir):
        with fails(errno.ENOENT):
            remove("missing")
        with fails(errno.ENOENT):
            remove("missing/x")
        with fails(errno.ENOTDIR):
            remove("a/x")
        with fails(errno.ENOENT):
            remove("")
    with fails(errno.ENOTDIR):
        os.unlink("a/")
    with fails(errno.EINVAL):
        os.rmdir("d/.")
    with fails(errno.ENOTEMPTY):
        os.rmdir("d/..")
    with fails(errno.EISDIR, errno.EBUSY):
        os.unlink(".")


def test_rmdir(place: Path, kind: str) -> None:
    make(kind, "a")
    if kind != "directory":
        with fails(errno.ENOTDIR):
            os.rmdir("a")
        unmake(kind, "a")
        return
    assert moved(lambda: os.rmdir("a"), ".") == ["mc"]
    assert os.stat(".").st_nlink == 2


def test_rmdir_of_a_full_directory(place: Path, kind: str) -> None:
    os.mkdir("d")
    make(kind, "d/a")
    with fails(errno.ENOTEMPTY):
        os.rmdir("d")
    unmake(kind, "d/a")
    os.rmdir("d/")
    assert os.listdir() == []


def test_rmdir_through_a_link(place: Path) -> None:
    os.mkdir("d")
    os.symlink("d", "l")
    with fails(errno.ENOTDIR):
        os.rmdir("l")
    with fails(errno.ENOTDIR):
        os.rmdir("l/")
    os.rmdir("d")


def test_unlinkat(place: Path) -> None:
    os.mkdir("d")
    write_file("a")
    with opened(".", os.O_RDONLY | os.O_DIRECTORY) as here:
        with fails(errno.ENOTDIR):
            call("unlinkat", here, b"a", AT_REMOVEDIR)
        with fails(errno.EISDIR):
            call("unlinkat", here, b"d", 0)
        with fails(errno.EINVAL):
            call("unlinkat", here, b"a", 0x8000000)
        call("unlinkat", here, b"d", AT_REMOVEDIR)
        call("unlinkat", here, b"a", 0)
    assert os.listdir() == []


def test_a_removed_directory_that_is_held(place: Path) -> None:
    os.mkdir("d")
    with opened("d", os.O_RDONLY | os.O_DIRECTORY) as held:
        os.rmdir("d")
        assert os.fstat(held).st_nlink == 0
        assert os.listdir(held) == []
        with fails(errno.ENOENT):
            os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=held)
        with fails(errno.ENOENT):
            os.mkdir("x", dir_fd=held)
        with fails(errno.ENOENT):
            os.symlink("t", "x", dir_fd=held)
        with fails(errno.ENOENT):
            os.stat("x", dir_fd=held)
        os.mkdir("d")
        assert os.listdir(held) == []


def test_working_directory_removed(place: Path) -> None:
    os.mkdir("d")
    os.chdir("d")
    try:
        os.rmdir("../d")
        with fails(errno.ENOENT):
            os.getcwd()
        with fails(errno.ENOENT):
            write_file("x")
    finally:
        os.chdir(place)


def test_an_unlinked_file_lives_while_it_is_open(place: Path) -> None:
    with opened("a", os.O_CREAT | os.O_RDWR) as descriptor:
        os.write(descriptor, b"x" * 10_000)
        assert moved(lambda: os.unlink("a"), descriptor) == ["c"]
        found = os.fstat(descriptor)
        assert (found.st_nlink, found.st_size) == (0, 10_000)
        assert os.pwrite(descriptor, b"Y" * 5000, 20_000) == 5000
        assert os.pread(descriptor, 30_000, 0) == b"x" * 10_000 + bytes(10_000) + b"Y" * 5000
        os.ftruncate(descriptor, 5)
        assert os.pread(descriptor, 10, 0) == b"x" * 5
        os.fchmod(descriptor, 0o600)
        os.fchown(descriptor, USER, OTHER)
        os.utime(descriptor, ns=(5, 7))
        os.setxattr(descriptor, "user.a", b"1")
        assert os.getxattr(descriptor, "user.a") == b"1"
        os.fsync(descriptor)
        found = os.fstat(descriptor)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert (found.st_uid, found.st_gid, found.st_mtime_ns) == (USER, OTHER, 7)


def test_an_unlinked_file_lives_while_it_is_mapped(place: Path) -> None:
    write_file("a", b"x" * 8192)
    with opened("a", os.O_RDWR) as descriptor:
        mapping = mmap.mmap(descriptor, 8192)
    os.unlink("a")
    write_file("a", b"other")
    mapping[4096:4100] = b"abcd"
    mapping.flush()
    assert mapping[4090:4102] == b"x" * 6 + b"abcd" + b"x" * 2
    mapping.close()


def test_a_new_file_of_the_same_name_is_another(place: Path) -> None:
    write_file("a", b"old")
    with opened("a") as descriptor:
        os.unlink("a")
        write_file("a", b"new")
        assert os.fstat(descriptor).st_ino != os.stat("a").st_ino
        assert os.read(descriptor, 9) == b"old"


def test_space_comes_back(place: Path) -> None:
    free = settled_blocks_free()
    write_file("a", os.urandom(8 << 20))
    with opened("a") as descriptor:
        os.fsync(descriptor)
        used = free - os.statvfs(".").f_bfree
        assert used >= 2000
        os.unlink("a")
    write_file("b")
    with opened("b", os.O_RDWR) as descriptor:
        for _ in range(20):
            os.write(descriptor, b"x")
            os.fsync(descriptor)
            if os.statvfs(".").f_bfree >= free - used // 2:
                return
    raise AssertionError("20 commits did not give the space back")


def test_permission_to_remove(place: Path) -> None:
    os.mkdir("d")
    write_file("d/a")
    os.mkdir("d/e")
    os.chmod("d/a", 0o666)
    os.chmod("d/e", 0o777)
    for action in (lambda: os.unlink("d/a"), lambda: os.rmdir("d/e")):
        with fails(errno.EACCES):
            as_user(action)
    os.chmod("d", 0o777)
    os.chmod("d/a", 0)
    as_user(lambda: os.unlink("d/a"))
    as_user(lambda: os.rmdir("d/e"))


def test_sticky_directory(place: Path) -> None:
    os.mkdir("d")
    os.chmod("d", 0o1777)
    for name in ("a", "b", "c"):
        as_user(lambda name=name: write_file(f"d/{name}"))
        os.chmod(f"d/{name}", 0o666)
    as_user(lambda: os.mkdir("d/e", 0o777))
    for action in (
        lambda: os.unlink("d/a"),
        lambda: os.rmdir("d/e"),
        lambda: os.rename("d/a", "d/z"),
        lambda: os.rename("d/a", "moved"),
    ):
        with fails(errno.EPERM):
            as_user(action, uid=OTHER)
    as_user(lambda: write_file("d/mine"), uid=OTHER)
    with fails(errno.EPERM):
        as_user(lambda: os.rename("d/mine", "d/a"), uid=OTHER)
    as_user(lambda: os.rename("d/a", "d/z"))
    as_user(lambda: os.unlink("d/b"))
    os.chown("d", OTHER, -1)
    as_user(lambda: os.unlink("d/c"), uid=OTHER)
    as_user(lambda: os.rmdir("d/e"))
