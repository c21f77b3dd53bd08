"""rename(2) and renameat2(2): what replaces what, times, links, loops, and open files."""

import errno
import os
import threading
from pathlib import Path

import pytest
from posix_kit import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    as_user,
    fails,
    make,
    moved,
    opened,
    read_file,
    renameat2,
    unmake,
    write_file,
)


def test_rename_each_type(place: Path, kind: str) -> None:
    make(kind, "a")
    number = os.lstat("a").st_ino
    assert moved(lambda: os.rename("a", "b"), ".") == ["mc"]
    assert os.lstat("b").st_ino == number
    assert os.listdir() == ["b"]


def test_rename_moves_ctime_and_both_directories(place: Path) -> None:
    os.mkdir("d")
    write_file("a")
    with opened("a") as descriptor:
        assert moved(lambda: os.rename("a", "d/b"), descriptor, ".", "d") == ["c", "mc", "mc"]


def test_a_directory_takes_its_link_along(place: Path) -> None:
    for name in ("one", "two", "one/d", "one/d/e"):
        os.mkdir(name)
    os.rename("one/d", "two/d")
    assert os.stat("one").st_nlink == 2
    assert os.stat("two").st_nlink == 3
    assert os.path.samefile("two/d/..", "two")
    assert os.listdir("two/d") == ["e"]


def test_replacing_each_type(place: Path, kind: str) -> None:
    make(kind, "a")
    make(kind, "b")
    number = os.lstat("a").st_ino
    os.rename("a", "b")
    assert os.listdir() == ["b"]
    assert os.lstat("b").st_ino == number
    assert os.stat(".").st_nlink == (3 if kind == "directory" else 2)


def test_what_may_not_replace_what(place: Path, kind: str) -> None:
    make(kind, "a")
    os.mkdir("d")
    os.mkdir("full")
    write_file("full/x")
    with fails(errno.ENOTEMPTY if kind == "directory" else errno.EISDIR):
        os.rename("a", "full")
    if kind == "directory":
        os.rename("a", "d")
        return
    with fails(errno.EISDIR):
        os.rename("a", "d")
    with fails(errno.ENOTDIR):
        os.rename("d", "a")


def test_a_replaced_file_with_more_names(place: Path) -> None:
    write_file("a", b"a")
    write_file("b", b"b")
    os.link("b", "c")
    assert moved(lambda: os.rename("a", "b"), "c") == ["c"]
    assert os.stat("c").st_nlink == 1
    assert read_file("c") == b"b"
    assert read_file("b") == b"a"


def test_to_another_name_of_the_same_file(place: Path) -> None:
    write_file("a")
    os.link("a", "b")
    os.rename("a", "b")
    assert sorted(os.listdir()) == ["a", "b"]
    os.rename("a", "a")
    assert os.stat("a").st_nlink == 2


def test_replacing_an_open_file(place: Path) -> None:
    write_file("a", b"new")
    write_file("b", b"old")
    with opened("b", os.O_RDWR) as old, opened("a") as new:
        os.rename("a", "b")
        assert os.read(old, 9) == b"old"
        assert os.fstat(old).st_nlink == 0
        os.pwrite(old, b"OLD", 0)
        assert os.read(new, 9) == b"new"
        assert os.fstat(new).st_ino == os.stat("b").st_ino
    assert read_file("b") == b"new"


def test_names_that_cannot_be(place: Path) -> None:
    write_file("a")
    os.mkdir("d")
    for old, new, number in (
        ("missing", "b", errno.ENOENT),
        ("a", "missing/b", errno.ENOENT),
        ("a", "", errno.ENOENT),
        ("", "a", errno.ENOENT),
        ("a/x", "b", errno.ENOTDIR),
        ("a", "a/x", errno.ENOTDIR),
        ("a", "b/", errno.ENOTDIR),
        ("a/", "b", errno.ENOTDIR),
        ("d/.", "b", errno.EBUSY),
        ("d/..", "b", errno.EBUSY),
        ("a", "d/.", errno.EBUSY),
        ("a", "n" * 256, errno.ENAMETOOLONG),
        ("a", "/dev/shm/affs-rename", errno.EXDEV),
    ):
        with fails(number):
            os.rename(old, new)
    os.rename("d/", "e/")
    assert sorted(os.listdir()) == ["a", "e"]


def test_a_directory_into_itself(place: Path) -> None:
    os.makedirs("a/b/c")
    for new in ("a/x", "a/b/x", "a/b/c/x", "a/b"):
        with fails(errno.EINVAL):
            os.rename("a", new)
    for old in ("a/b", "a/b/c"):
        with fails(errno.ENOTEMPTY):
            os.rename(old, "a")
    with fails(errno.EINVAL):
        renameat2("a", "a/b", RENAME_EXCHANGE)
    with fails(errno.EINVAL, errno.ENOTEMPTY):
        renameat2("a/b/c", "a", RENAME_EXCHANGE)


def test_crossing_renames_make_no_loop(place: Path) -> None:
    """Two processes that each try to move one directory below the other: one of them fails."""
    for _ in range(20):
        os.makedirs("a/x")
        os.makedirs("b/y")
        errors: list[int] = []
        barrier = threading.Barrier(2)

        def move(old: str, new: str, barrier=barrier, errors=errors) -> None:
            barrier.wait()
            try:
                os.rename(old, new)
            except OSError as error:
                errors.append(error.errno or 0)

        threads = [
            threading.Thread(target=move, args=pair) for pair in (("a", "b/y/a"), ("b", "a/x/b"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(errors) == 1
        assert errors[0] in (errno.EINVAL, errno.ENOENT)
        top = os.listdir()
        assert len(top) == 1
        found = [name for _, names, _ in os.walk(".") for name in names]
        assert sorted(found) == ["a", "b", "x", "y"]
        for name in ("a", "b"):
            os.system(f"rm -rf {name}")


def test_noreplace(place: Path, kind: str) -> None:
    make(kind, "a")
    write_file("b")
    os.mkdir("d")
    for taken in ("b", "d", "a"):
        with fails(errno.EEXIST):
            renameat2("a", taken, RENAME_NOREPLACE)
    renameat2("a", "c", RENAME_NOREPLACE)
    assert sorted(os.listdir()) == ["b", "c", "d"]
    unmake(kind, "c")


def test_exchange(place: Path, kind: str) -> None:
    make(kind, "a")
    os.mkdir("d")
    os.mkdir("d/full")
    write_file("d/full/x")
    one, two = os.lstat("a").st_ino, os.lstat("d/full").st_ino
    assert moved(lambda: renameat2("a", "d/full", RENAME_EXCHANGE), ".", "d") == ["mc", "mc"]
    assert (os.lstat("a").st_ino, os.lstat("d/full").st_ino) == (two, one)
    assert os.listdir("a") == ["x"]
    assert os.path.samefile("a/..", ".")
    assert os.stat("d").st_nlink == (3 if kind == "directory" else 2)
    assert os.stat(".").st_nlink == 4


def test_exchange_moves_ctime_of_both(place: Path) -> None:
    write_file("a", b"a")
    write_file("b", b"b")
    with opened("a") as one, opened("b") as two:
        action = lambda: renameat2("a", "b", RENAME_EXCHANGE)  # noqa: E731 - reads like the rest
        assert moved(action, one, two, ".") == ["c", "c", "mc"]
    assert (read_file("a"), read_file("b")) == (b"b", b"a")
    with fails(errno.ENOENT):
        renameat2("a", "missing", RENAME_EXCHANGE)
    with fails(errno.ENOENT):
        renameat2("missing", "a", RENAME_EXCHANGE)


@pytest.mark.parametrize("flags", [RENAME_NOREPLACE | RENAME_EXCHANGE, 8, 1 << 30])
def test_flags_that_make_no_sense(place: Path, flags: int) -> None:
    write_file("a")
    with fails(errno.EINVAL):
        renameat2("a", "b", flags)


def test_permission_to_rename(place: Path) -> None:
    os.mkdir("closed")
    os.mkdir("open")
    os.chmod("open", 0o777)
    write_file("closed/a")
    as_user(lambda: write_file("open/b"))
    for old, new in (("closed/a", "open/a"), ("open/b", "closed/b"), ("closed/a", "closed/c")):
        with fails(errno.EACCES):
            as_user(lambda old=old, new=new: os.rename(old, new))
    as_user(lambda: os.mkdir("open/mine"))
    as_user(lambda: os.rename("open/mine", "open/moved"))


def test_a_foreign_directory_changes_parent_only_with_write_permission(place: Path) -> None:
    """Moving a directory to another parent writes to its "..", so it takes write permission."""
    for name in ("one", "two"):
        os.mkdir(name)
        os.chmod(name, 0o777)
    os.mkdir("one/d")
    with fails(errno.EACCES):
        as_user(lambda: os.rename("one/d", "two/d"))
    as_user(lambda: os.rename("one/d", "one/e"))
    os.chmod("one/e", 0o777)
    as_user(lambda: os.rename("one/e", "two/e"))


def test_rename_is_seen_as_one_step(place: Path) -> None:
    """A reader that opens the name all the time always finds a whole file."""
    write_file("a", b"0" * 4096)
    stop = threading.Event()
    wrong: list[object] = []

    def read() -> None:
        while not stop.is_set():
            try:
                data = read_file("a")
            except OSError as error:
                wrong.append(error)
                return
            if len(data) != 4096 or len(set(data)) != 1:
                wrong.append(data[:40])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for count in range(150):
            write_file("new", b"%d" % (count % 10) * 4096)
            os.rename("new", "a")
    finally:
        stop.set()
        reader.join()
    assert wrong == []
