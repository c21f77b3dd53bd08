"""Errors that many calls share: each call with each way of not getting there, flags that there are
none of, slashes at the end, who is in the way. docs/conformance.md has the table of all errors.
"""

import ctypes
import errno
import itertools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from every_call import ALL, MAKING, OF_THE_LAST_LINK, access, errno_of, name_of
from posix_kit import (
    AT_FDCWD,
    GROUP,
    OTHER,
    OTHER_GROUP,
    RENAME_EXCHANGE,
    USER,
    as_user,
    call,
    fails,
    make,
    opened,
    renameat2,
    running_program,
    write_file,
)

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
LINKS_MAX = 40
BAD_FLAG = 0x40000000


def ways(name: str) -> Iterator[tuple[str, int]]:
    """Paths that lead nowhere for this call, and the errno of each."""
    yield "", errno.ENOENT
    yield "missing/x", errno.ENOENT
    yield "dangling/x", errno.ENOENT
    yield "file/x", errno.ENOTDIR
    yield "to-file/x", errno.ENOTDIR
    yield "loop/x", errno.ELOOP
    yield "l41/x", errno.ELOOP
    yield "n" * 256, errno.ENAMETOOLONG
    yield "n" * 256 + "/x", errno.ENAMETOOLONG
    yield "./" * 2047 + "xy", errno.ENAMETOOLONG
    if name not in MAKING:
        yield "missing", errno.ENOENT
    if name not in OF_THE_LAST_LINK:
        yield "loop", errno.ELOOP


@pytest.mark.parametrize("name", ALL)
def test_the_way_there(place: Path, name: str) -> None:
    os.mkdir("d")
    write_file("file")
    os.symlink("nowhere", "dangling")
    os.symlink("file", "to-file")
    os.symlink("loop", "loop")
    os.symlink("d", "l1")
    for count in range(2, LINKS_MAX + 2):
        os.symlink(f"l{count - 1}", f"l{count}")
    for path, wanted in ways(name):
        got = errno_of(lambda path=path: ALL[name](path))
        assert got == wanted, f"{name} of {path[:20]!r}: {name_of(got)}"
    assert os.stat(f"l{LINKS_MAX}/.").st_nlink == 2, "as many links as the kernel follows"


@pytest.mark.parametrize("name", ALL)
def test_search_permission(place: Path, name: str) -> None:
    os.mkdir("closed")
    write_file("file")
    os.chown("file", USER, GROUP)
    os.mkdir("closed/x")
    os.chmod("closed", 0o666)
    with fails(errno.EACCES):
        as_user(lambda: ALL[name]("closed/x"))


def test_slashes_at_the_end(place: Path) -> None:
    write_file("a")
    os.mkdir("d")
    os.symlink("d", "l")
    os.symlink("nowhere", "n")
    for action, wanted in (
        (lambda: os.open("n/", os.O_CREAT | os.O_WRONLY), errno.EISDIR),
        (lambda: os.open("a/", os.O_CREAT | os.O_WRONLY), errno.EISDIR),
        (lambda: os.open("n", os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW), errno.ELOOP),
        (lambda: os.mkdir("n/"), errno.EEXIST),
        (lambda: os.unlink("d/"), errno.EISDIR),
        (lambda: os.unlink("l/"), errno.ENOTDIR),
        (lambda: os.unlink("x/"), errno.ENOENT),
        (lambda: os.rmdir("a/"), errno.ENOTDIR),
        (lambda: os.rename("l/", "x"), errno.ENOTDIR),
        (lambda: os.rename("d", "a/"), errno.ENOTDIR),
        (lambda: os.rename("d", "l/"), errno.ENOTDIR),
        (lambda: os.readlink("l/"), errno.EINVAL),
        (lambda: os.truncate("a/", 0), errno.ENOTDIR),
        (lambda: os.truncate("d/", 0), errno.EISDIR),
        (lambda: os.chmod("a/", 0o600), errno.ENOTDIR),
        (lambda: os.lstat("a/"), errno.ENOTDIR),
        (lambda: os.link("d/", "x"), errno.EPERM),
    ):
        with fails(wanted):
            action()
    assert os.path.samefile("l/", "d")
    with opened("l/", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) as descriptor:
        assert os.path.samestat(os.fstat(descriptor), os.stat("d"))
    assert sorted(os.listdir()) == ["a", "d", "l", "n"]


def test_flags_that_there_are_none_of(place: Path) -> None:
    write_file("a")
    times = (ctypes.c_long * 4)(1, 2, 3, 4)
    for name, arguments in (
        ("faccessat", (AT_FDCWD, b"a", os.F_OK, BAD_FLAG)),
        ("fchownat", (AT_FDCWD, b"a", 0, 0, BAD_FLAG)),
        ("linkat", (AT_FDCWD, b"a", AT_FDCWD, b"b", BAD_FLAG)),
        ("unlinkat", (AT_FDCWD, b"a", BAD_FLAG)),
        ("utimensat", (AT_FDCWD, b"a", times, BAD_FLAG)),
        ("fchmodat", (AT_FDCWD, b"a", 0o600, BAD_FLAG)),
        ("renameat2", (AT_FDCWD, b"a", AT_FDCWD, b"b", BAD_FLAG)),
        ("access", (b"a", 8)),
        ("setxattr", (b"a", b"user.x", b"1", 1, BAD_FLAG)),
        ("readlink", (b"a", ctypes.create_string_buffer(8), ctypes.c_size_t(0))),
    ):
        with fails(errno.EINVAL):
            call(name, *arguments)
    with fails(errno.EINVAL):
        os.open("x", os.O_CREAT | os.O_DIRECTORY | os.O_RDWR)
    assert os.listdir() == ["a"]


def test_buffers_too_small(place: Path) -> None:
    write_file("a")
    os.setxattr("a", "user.name", b"0123456789")
    os.symlink("0123456789", "l")
    for size, wanted in ((0, 10), (10, 10), (11, 10)):
        buffer = ctypes.create_string_buffer(64)
        assert call("getxattr", b"a", b"user.name", buffer, ctypes.c_size_t(size)) == wanted
        assert call("listxattr", b"a", buffer, ctypes.c_size_t(size)) == len(b"user.name\0")
    for function, arguments in (("getxattr", (b"a", b"user.name")), ("listxattr", (b"a",))):
        with fails(errno.ERANGE):
            call(function, *arguments, ctypes.create_string_buffer(64), ctypes.c_size_t(9))
    buffer = ctypes.create_string_buffer(64)
    assert call("readlink", b"l", buffer, ctypes.c_size_t(4)) == 4
    assert buffer.value == b"0123"


def test_a_running_program_is_not_cut(place: Path) -> None:
    """ETXTBSY for its content; its name and attributes are free."""
    with running_program("p"):
        for action in (
            lambda: os.truncate("p", 0),
            lambda: os.open("p", os.O_RDWR),
            lambda: os.open("p", os.O_RDWR | os.O_TRUNC),
        ):
            with fails(errno.ETXTBSY):
                action()
        os.chmod("p", 0o700)
        os.rename("p", "q")
        # Last: on a FUSE filesystem the error comes when the file is cut already (docs/limits.md),
        # and a program that needs its pages dies.
        with fails(errno.ETXTBSY):
            os.open("q", os.O_RDONLY | os.O_TRUNC)
        os.unlink("q")


def test_what_something_is_mounted_on_is_busy(place: Path) -> None:
    os.mkdir("d")
    os.mkdir("e")
    write_file("a")
    for source, target in (("e", "d"), ("/dev/null", "a")):
        subprocess.run(["mount", "--bind", source, target], check=True)
    try:
        for action in (
            lambda: os.rmdir("d"),
            lambda: os.unlink("a"),
            lambda: os.rename("d", "x"),
            lambda: os.rename("e", "d"),
            lambda: renameat2("d", "e", RENAME_EXCHANGE),
        ):
            with fails(errno.EBUSY):
                action()
        write_file("x")
        for action in (lambda: os.rename("x", "d/x"), lambda: os.link("x", "d/x")):
            with fails(errno.EXDEV):  # the same filesystem, another mount
                action()
    finally:
        for target in ("d", "a"):
            subprocess.run(["umount", target], check=True)
    os.rmdir("d")


OWNERS = (0, USER, OTHER)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_renaming_between_sticky_directories(place: Path, kind: str) -> None:
    """Who may is the owner of the entry or of its directory; for what is replaced the same."""
    cases = list(itertools.product(OWNERS, OWNERS, OWNERS, (None, *OWNERS)))
    wanted = []
    for number, (source, entry, target, replaced) in enumerate(cases):
        for name, owner in ((f"s{number}", source), (f"t{number}", target)):
            os.mkdir(name)
            os.chown(name, owner, -1)
            os.chmod(name, 0o1777)
        for path, owner in ((f"s{number}/a", entry), (f"t{number}/b", replaced)):
            if owner is not None:
                make(kind, path, 0o777)
                os.chown(path, owner, -1)
        good = USER in (source, entry) and (replaced is None or USER in (target, replaced))
        wanted.append(0 if good else errno.EPERM)

    def work() -> list[int]:
        return [
            errno_of(lambda number=number: os.rename(f"s{number}/a", f"t{number}/b"))
            for number in range(len(cases))
        ]

    got = as_user(work)
    odd = [(*row, name_of(one)) for *row, one, two in zip(cases, got, wanted, strict=True)
           if one != two]  # fmt: skip
    assert odd == []


def test_who_may_set_which_times(place: Path) -> None:
    """utimensat(2): another may only set both to now, with write permission; nothing is free."""
    now, omit, some = (0, UTIME_NOW), (0, UTIME_OMIT), (5, 6)
    rows = [
        (now, now, 0, errno.EACCES), (omit, omit, 0, 0), (some, some, errno.EPERM, errno.EPERM),
        (now, omit, errno.EPERM, errno.EPERM), (omit, now, errno.EPERM, errno.EPERM),
        (some, omit, errno.EPERM, errno.EPERM), (now, some, errno.EPERM, errno.EPERM),
    ]  # fmt: skip
    for path, mode in (("w", 0o666), ("r", 0o644)):
        write_file(path)
        os.chmod(path, mode)

    def set_times(path: str, atime: tuple[int, int], mtime: tuple[int, int]) -> int:
        values = (ctypes.c_long * 4)(*atime, *mtime)
        return errno_of(lambda: call("utimensat", AT_FDCWD, path.encode(), values, 0))

    def work() -> list[tuple[int, int]]:
        return [(set_times("w", *row[:2]), set_times("r", *row[:2])) for row in rows]

    assert as_user(work) == [row[2:] for row in rows]
    for path in ("w", "r"):
        os.chown(path, USER, -1)
    os.chmod("r", 0o444)
    assert as_user(work) == [(0, 0)] * len(rows)


def test_a_member_of_the_group_may_not_give_a_foreign_file_to_it(place: Path) -> None:
    write_file("a")
    os.chown("a", OTHER, GROUP)
    for uid, gid in ((-1, OTHER_GROUP), (-1, GROUP), (USER, -1)):
        with fails(errno.EPERM):
            as_user(lambda uid=uid, gid=gid: os.chown("a", uid, gid), groups=[OTHER_GROUP])


def test_access_says_why(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o600)
    os.mkdir("d")
    os.chmod("d", 0)
    with fails(errno.EACCES):
        access("a", os.X_OK)  # root too needs one x bit of a file, and none of a directory
    access("d", os.R_OK | os.W_OK | os.X_OK)
    for mode in (os.R_OK, os.W_OK, os.X_OK):
        with fails(errno.EACCES):
            as_user(lambda mode=mode: access("a", mode))
    as_user(lambda: access("a"))
    os.chmod("a", 0o101)
    access("a", os.X_OK)
