"""Who may do what: permission bits by user, group and supplementary groups; search permission;
setuid and setgid that writing takes away; programs that run.
"""

import errno
import os
import stat
from pathlib import Path

import pytest
from posix_kit import (
    GROUP,
    OTHER,
    OTHER_GROUP,
    USER,
    as_user,
    fails,
    fallocate,
    mode_of,
    opened,
    read_file,
    write_file,
)


def may(action: str, path: str) -> bool:
    flags = {"r": os.O_RDONLY, "w": os.O_WRONLY}
    try:
        if action == "x":
            os.close(os.open(f"{path}/inside", os.O_RDONLY))
        else:
            os.close(os.open(path, flags[action]))
    except PermissionError as error:
        if error.errno != errno.EACCES:
            raise
        return False
    return True


@pytest.mark.parametrize("bits", range(8))
@pytest.mark.parametrize("who", ["owner", "group", "supplementary", "others"])
def test_one_class_decides_alone(place: Path, bits: int, who: str) -> None:
    """Only the bits of the first class that fits count, even where the others say more."""
    write_file("a")
    os.mkdir("d")
    write_file("d/inside")
    shift = {"owner": 6, "group": 3, "supplementary": 3, "others": 0}[who]
    mode = 0o777 & ~(7 << shift) | bits << shift
    for path in ("a", "d"):
        os.chown(path, USER if who == "owner" else OTHER, OTHER_GROUP)
        os.chmod(path, mode)
    gid = OTHER_GROUP if who == "group" else GROUP
    groups = [OTHER_GROUP] if who == "supplementary" else []
    for letter, bit in (("r", 4), ("w", 2)):
        allowed = as_user(lambda letter=letter: may(letter, "a"), gid=gid, groups=groups)
        assert allowed == bool(bits & bit)
    assert as_user(lambda: may("x", "d"), gid=gid, groups=groups) == bool(bits & 1)
    assert as_user(lambda: may("r", "d"), gid=gid, groups=groups) == bool(bits & 4)


def test_root_may_all_but_run_what_nobody_may(place: Path) -> None:
    write_file("a", b"#!/bin/sh\n")
    os.chmod("a", 0)
    assert read_file("a") == b"#!/bin/sh\n"
    with fails(errno.EACCES):
        os.execv("a", ["a"])


def test_many_supplementary_groups(place: Path) -> None:
    write_file("a")
    os.chown("a", OTHER, 63999)
    os.chmod("a", 0o060)
    groups = list(range(63000, 64000))
    assert as_user(lambda: may("w", "a"), groups=groups)
    with fails(errno.EACCES):
        as_user(lambda: os.open("a", os.O_RDONLY), groups=groups[:-1])


def test_search_permission_on_the_way(place: Path) -> None:
    os.makedirs("a/b/c")
    write_file("a/b/c/f")
    os.chmod("a/b", 0o600)
    for action in (
        lambda: os.stat("a/b/c/f"),
        lambda: os.stat("a/b/c"),
        lambda: os.open("a/b/c/f", os.O_RDONLY),
        lambda: os.mkdir("a/b/x"),
        lambda: os.chdir("a/b"),
        lambda: os.readlink("a/b/l"),
        lambda: os.unlink("a/b/c/f"),
        lambda: os.rename("a/b/c", "x"),
        lambda: os.truncate("a/b/c/f", 0),
        lambda: os.utime("a/b/c/f"),
        lambda: os.listxattr("a/b/c"),
    ):
        with fails(errno.EACCES):
            as_user(action)
    os.chmod("a/b", 0o711)
    assert as_user(lambda: os.stat("a/b/c/f").st_size) == 0
    with fails(errno.EACCES):
        as_user(lambda: os.listdir("a/b"))


def test_a_list_without_search_has_names_alone(place: Path) -> None:
    os.mkdir("d")
    write_file("d/a")
    os.chmod("d", 0o444)
    assert as_user(lambda: os.listdir("d")) == ["a"]
    with fails(errno.EACCES):
        as_user(lambda: os.stat("d/a"))


def test_permission_is_checked_at_open(place: Path) -> None:
    """An open descriptor goes on after the permission went."""
    write_file("a", b"abc")
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o600)

    def work() -> bytes:
        with opened("a", os.O_RDWR) as descriptor:
            os.chmod("a", 0)
            os.pwrite(descriptor, b"X", 0)
            return os.pread(descriptor, 3, 0)

    assert as_user(work) == b"Xbc"


def test_creating_with_a_mode_that_forbids_it(place: Path) -> None:
    """open(2): the mode counts for later opens only."""

    def work() -> int:
        with opened("a", os.O_CREAT | os.O_RDWR, 0) as descriptor:
            return os.write(descriptor, b"abc")

    assert as_user(work) == 3
    with fails(errno.EACCES):
        as_user(lambda: os.open("a", os.O_CREAT | os.O_RDONLY))


PRIVILEGED = [
    (0o4755, 0o755),
    (0o6755, 0o755),
    (0o2755, 0o755),
    (0o2745, 0o2745),
    (0o6777, 0o777),
    (0o1777, 0o1777),
]


@pytest.mark.parametrize(("before", "after"), PRIVILEGED)
@pytest.mark.parametrize("way", ["write", "truncate", "ftruncate", "O_TRUNC"])
def test_changing_content_takes_setuid_and_setgid(
    place: Path, before: int, after: int, way: str
) -> None:
    write_file("a", b"abc")
    os.chown("a", USER, GROUP)

    def change() -> None:
        if way == "truncate":
            os.truncate("a", 1)
            return
        flags = os.O_WRONLY | (os.O_TRUNC if way == "O_TRUNC" else 0)
        with opened("a", flags) as descriptor:
            if way == "write":
                os.write(descriptor, b"X")
            if way == "ftruncate":
                os.ftruncate(descriptor, 1)

    os.chmod("a", before | 0o222)
    as_user(change)
    assert mode_of("a") == after | 0o222
    os.chmod("a", before | 0o222)
    change()
    assert mode_of("a") == before | 0o222


@pytest.mark.parametrize("way", ["write", "ftruncate", "fallocate"])
def test_who_writes_decides_not_who_opened(place: Path, way: str) -> None:
    write_file("a", b"abc")
    os.chown("a", USER, GROUP)
    ways = {
        "write": lambda: os.pwrite(descriptor, b"X", 0),
        "ftruncate": lambda: os.ftruncate(descriptor, 2),
        "fallocate": lambda: fallocate(descriptor, 0, 0, 10),
    }
    os.seteuid(USER)
    descriptor = os.open("a", os.O_RDWR)
    os.seteuid(0)
    os.chmod("a", 0o6777)
    ways[way]()
    assert mode_of("a") == 0o6777, "root wrote through the user's descriptor"
    os.close(descriptor)
    descriptor = os.open("a", os.O_RDWR)
    as_user(ways[way])
    assert mode_of("a") == 0o777, "the user wrote through root's descriptor"
    os.close(descriptor)


def test_writing_by_a_stranger_takes_setgid_without_execute(place: Path) -> None:
    """Setgid without group execute goes too when the writer is not in the group."""
    write_file("a")
    os.chown("a", OTHER, OTHER_GROUP)
    os.chmod("a", 0o2666)

    def change() -> None:
        with opened("a", os.O_WRONLY) as descriptor:
            os.write(descriptor, b"X")

    as_user(change)
    assert mode_of("a") == 0o666


def test_setgid_without_execute_goes_by_who_writes(place: Path) -> None:
    write_file("a", b"abc")
    os.chown("a", OTHER, OTHER_GROUP)
    os.chmod("a", 0o2666)
    with opened("a", os.O_WRONLY) as descriptor:
        as_user(lambda: os.write(descriptor, b"X"), groups=[OTHER_GROUP])
        assert mode_of("a") == 0o2666, "a member of the group wrote"
        os.write(descriptor, b"X")
        assert mode_of("a") == 0o2666, "root wrote"
        as_user(lambda: os.write(descriptor, b"X"))
        assert mode_of("a") == 0o666, "a stranger wrote"


def test_writing_takes_capabilities(place: Path) -> None:
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    for flags in (0, os.O_TRUNC):
        write_file("a", b"abc")
        os.setxattr("a", "security.capability", value)
        with opened("a", os.O_WRONLY | flags) as descriptor:
            os.write(descriptor, b"X")
        assert os.listxattr("a") == []
    os.setxattr("a", "security.capability", value)
    os.truncate("a", 1)
    assert os.listxattr("a") == []


def test_capabilities_take_privilege(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    with fails(errno.EPERM):
        as_user(lambda: os.setxattr("a", "security.capability", value))


def test_programs_run(place: Path) -> None:
    write_file("script", b"#!/bin/sh\nexit $(id -u | wc -c)\n")
    os.chmod("script", 0o755)
    assert os.waitstatus_to_exitcode(os.system("./script")) == 2
    os.chmod("script", 0o644)
    assert os.waitstatus_to_exitcode(os.system("./script 2>/dev/null")) == 126


def test_setuid_program(place: Path) -> None:
    write_file("id", read_file("/usr/bin/id"))
    os.chown("id", USER, GROUP)
    os.chmod("id", 0o6755)
    with os.popen("./id -u; ./id -g") as output:
        assert output.read().split() == [str(USER), str(GROUP)]


def test_umask_of_the_caller_counts(place: Path) -> None:
    def work() -> None:
        write_file("a")
        os.mkdir("d")
        os.mkfifo("f")

    as_user(work, umask=0o077)
    assert [stat.filemode(os.stat(name).st_mode) for name in ("a", "d", "f")] == [
        "-rw-------", "drwx------", "prw-------",
    ]  # fmt: skip


def test_a_group_member_writes_in_a_group_directory(place: Path) -> None:
    os.mkdir("d")
    os.chown("d", OTHER, OTHER_GROUP)
    os.chmod("d", 0o070)
    as_user(lambda: write_file("d/a"), groups=[OTHER_GROUP])
    with fails(errno.EACCES):
        as_user(lambda: write_file("d/b"))
    with fails(errno.EACCES):
        as_user(lambda: os.listdir("d"), uid=OTHER, groups=[OTHER_GROUP])
