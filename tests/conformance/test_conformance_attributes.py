"""chmod, chown, utimensat, truncate and access over every type of file, for who may and who not."""

import ctypes
import errno
import os
import time
from pathlib import Path

import pytest
from posix_kit import (
    AT_FDCWD,
    GROUP,
    OTHER,
    OTHER_GROUP,
    USER,
    as_user,
    call,
    fails,
    in_child,
    make,
    mode_of,
    moved,
    opened,
    read_file,
    write_file,
)

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
AT_SYMLINK_NOFOLLOW = 0x100
NOW_SLACK_NS = 50_000_000


def utimensat(path: str, *times: tuple[int, int], flags: int = 0) -> None:
    """times: (seconds, nanoseconds) of access and modification."""
    values = (ctypes.c_long * 4)(*times[0], *times[1])
    call("utimensat", AT_FDCWD, path.encode(), values, flags)


# ---- chmod ----


def test_chmod_of_each_type(place: Path, kind: str) -> None:
    make(kind, "a")
    if kind == "symlink":
        with fails(errno.ENOENT):
            os.chmod("a", 0o600)
        with fails(errno.EOPNOTSUPP):
            call("fchmodat", AT_FDCWD, b"a", 0o600, AT_SYMLINK_NOFOLLOW)
        return
    for mode in (0, 0o111, 0o1777, 0o2775, 0o4755, 0o7777, 0o640):
        assert moved(lambda mode=mode: os.chmod("a", mode), "a") == ["c"]
        assert mode_of("a") == mode


def test_chmod_follows_links(place: Path) -> None:
    write_file("a")
    os.symlink("a", "l")
    os.chmod("l", 0o600)
    assert mode_of("a") == 0o600
    assert mode_of("l") == 0o777


def test_fchmod(place: Path) -> None:
    write_file("a")
    with opened("a") as descriptor:
        os.fchmod(descriptor, 0o604)
        assert mode_of("a") == 0o604
    with opened("a", os.O_PATH) as descriptor, fails(errno.EBADF):
        os.fchmod(descriptor, 0)


def test_chmod_is_the_owner_s(place: Path, kind: str) -> None:
    if kind == "symlink":
        return
    make(kind, "a")
    os.chown("a", USER, GROUP)
    with fails(errno.EPERM):
        as_user(lambda: os.chmod("a", 0o777), uid=OTHER, groups=[GROUP])
    as_user(lambda: os.chmod("a", 0o4711))
    assert mode_of("a") == 0o4711


def test_chmod_drops_setgid_of_a_foreign_group(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, OTHER_GROUP)
    as_user(lambda: os.chmod("a", 0o2755))
    assert mode_of("a") == 0o755
    as_user(lambda: os.chmod("a", 0o2755), groups=[OTHER_GROUP])
    assert mode_of("a") == 0o2755
    os.chmod("a", 0o6755)
    assert mode_of("a") == 0o6755


def test_sticky_on_a_file(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    as_user(lambda: os.chmod("a", 0o1644))
    assert mode_of("a") == 0o1644


# ---- chown ----


def test_chown_of_each_type(place: Path, kind: str) -> None:
    make(kind, "a")
    assert moved(lambda: os.lchown("a", USER, GROUP), "a") == ["c"]
    found = os.lstat("a")
    assert (found.st_uid, found.st_gid) == (USER, GROUP)
    assert moved(lambda: os.lchown("a", -1, OTHER_GROUP), "a") == ["c"]
    assert os.lstat("a").st_gid == OTHER_GROUP
    os.lchown("a", OTHER, -1)
    assert os.lstat("a").st_uid == OTHER
    os.lchown("a", -1, -1)
    found = os.lstat("a")
    assert (found.st_uid, found.st_gid) == (OTHER, OTHER_GROUP)


def test_chown_follows_links(place: Path) -> None:
    write_file("a")
    os.symlink("a", "l")
    os.chown("l", USER, GROUP)
    assert os.stat("a").st_uid == USER
    assert os.lstat("l").st_uid == 0
    os.lchown("l", OTHER, -1)
    assert os.stat("a").st_uid == USER


def test_large_ids(place: Path) -> None:
    write_file("a")
    os.chown("a", 0xFFFFFFFE, 0xFFFFFFFD)
    found = os.stat("a")
    assert (found.st_uid, found.st_gid) == (0xFFFFFFFE, 0xFFFFFFFD)


def test_who_may_chown(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    for uid, gid in ((OTHER, -1), (0, -1), (-1, OTHER_GROUP), (OTHER, GROUP)):
        with fails(errno.EPERM):
            as_user(lambda uid=uid, gid=gid: os.chown("a", uid, gid))
    with fails(errno.EPERM):
        as_user(lambda: os.chown("a", OTHER, GROUP), uid=OTHER)
    as_user(lambda: os.chown("a", USER, GROUP))
    as_user(lambda: os.chown("a", -1, OTHER_GROUP), groups=[OTHER_GROUP])
    assert os.stat("a").st_gid == OTHER_GROUP


@pytest.mark.parametrize(
    ("before", "after"),
    [(0o6777, 0o777), (0o4755, 0o755), (0o2755, 0o755), (0o2745, 0o2745), (0o1777, 0o1777)],
)
def test_chown_by_root_takes_setuid_and_setgid(place: Path, before: int, after: int) -> None:
    write_file("a")
    os.chmod("a", before)
    os.chown("a", USER, GROUP)
    assert mode_of("a") == after


def test_chown_by_the_owner_takes_setuid_and_setgid(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o6755)
    as_user(lambda: os.chown("a", -1, OTHER_GROUP), groups=[OTHER_GROUP])
    assert mode_of("a") == 0o755
    os.chmod("a", 0o6755)
    as_user(lambda: os.chown("a", USER, -1))
    assert mode_of("a") == 0o755


def test_chown_keeps_the_bits_of_a_directory(place: Path) -> None:
    os.mkdir("d")
    os.chmod("d", 0o7777)
    os.chown("d", USER, GROUP)
    assert mode_of("d") == 0o7777


def test_chown_takes_capabilities(place: Path) -> None:
    write_file("a")
    value = bytes.fromhex("0100000200040000000000000000000000000000")
    os.setxattr("a", "security.capability", value)
    assert os.getxattr("a", "security.capability") == value
    os.chown("a", USER, GROUP)
    assert "security.capability" not in os.listxattr("a")


def test_chown_of_nothing(place: Path) -> None:
    """-1 for both leaves the owner, but it is a chown for the rest."""
    write_file("a")
    assert moved(lambda: os.chown("a", -1, -1), "a") == ["c"]
    os.chmod("a", 0o6755)
    os.chown("a", -1, -1)
    assert mode_of("a") == 0o755
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o6755)
    as_user(lambda: os.chown("a", -1, -1))
    assert mode_of("a") == 0o755


def test_chmod_to_the_same_mode_moves_ctime(place: Path) -> None:
    write_file("a")
    assert moved(lambda: os.chmod("a", 0o644), "a") == ["c"]
    assert moved(lambda: os.chown("a", 0, 0), "a") == ["c"]


# ---- times ----


def test_utimens_of_each_type(place: Path, kind: str) -> None:
    make(kind, "a")
    action = lambda: os.utime(  # noqa: E731 - one step of the test
        "a", ns=(1_000_000_000_123_456_789, 999_999_999_987_654_321), follow_symlinks=False
    )
    assert moved(action, "a") == ["amc"]
    found = os.lstat("a")
    assert found.st_atime_ns == 1_000_000_000_123_456_789
    assert found.st_mtime_ns == 999_999_999_987_654_321
    assert abs(found.st_ctime_ns - time.time_ns()) < 10**9


@pytest.mark.parametrize("seconds", [0, -1, -1_000_000, 2**31 - 1, 2**31, 2**32, 9 * 10**9])
def test_times_far_away(place: Path, seconds: int) -> None:
    write_file("a")
    os.utime("a", ns=(seconds * 10**9 + 5, seconds * 10**9 + 999_999_999))
    found = os.stat("a")
    assert found.st_atime_ns == seconds * 10**9 + 5
    assert found.st_mtime_ns == seconds * 10**9 + 999_999_999


def test_utimens_omit_and_now(place: Path) -> None:
    write_file("a")
    utimensat("a", (5, 6), (7, 8))
    assert moved(lambda: utimensat("a", (0, UTIME_OMIT), (9, 1)), "a") == ["mc"]
    assert os.stat("a").st_atime_ns == 5_000_000_006
    assert moved(lambda: utimensat("a", (3, 1), (0, UTIME_OMIT)), "a") == ["ac"]
    assert os.stat("a").st_mtime_ns == 9_000_000_001
    assert moved(lambda: utimensat("a", (0, UTIME_OMIT), (0, UTIME_OMIT)), "a") == [""]
    assert moved(lambda: utimensat("a", (0, UTIME_NOW), (0, UTIME_OMIT)), "a") == ["ac"]
    found = os.stat("a")
    assert abs(found.st_atime_ns - time.time_ns()) < NOW_SLACK_NS * 20
    assert found.st_mtime_ns == 9_000_000_001
    with fails(errno.EINVAL):
        utimensat("a", (0, 10**9), (0, 0))
    with fails(errno.EINVAL):
        utimensat("a", (0, 0), (0, -1))


def test_now_gives_one_time(place: Path) -> None:
    write_file("a")
    time.sleep(0.02)
    os.utime("a")
    found = os.stat("a")
    assert found.st_atime_ns == found.st_mtime_ns
    assert abs(found.st_mtime_ns - found.st_ctime_ns) < NOW_SLACK_NS


def test_utimens_through_descriptor_and_link(place: Path) -> None:
    write_file("a")
    os.symlink("a", "l")
    with opened("a") as descriptor:
        os.utime(descriptor, ns=(1, 2))
    assert os.stat("a").st_mtime_ns == 2
    os.utime("l", ns=(3, 4))
    assert os.stat("a").st_mtime_ns == 4
    os.utime("l", ns=(5, 6), follow_symlinks=False)
    assert os.stat("a").st_mtime_ns == 4
    assert os.lstat("l").st_mtime_ns == 6


def test_who_may_set_times(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o444)
    as_user(lambda: os.utime("a", ns=(1, 2)))
    with fails(errno.EPERM):
        as_user(lambda: os.utime("a", ns=(1, 2)), uid=OTHER)
    with fails(errno.EACCES):
        as_user(lambda: os.utime("a"), uid=OTHER)
    os.chmod("a", 0o666)
    as_user(lambda: os.utime("a"), uid=OTHER)
    with fails(errno.EPERM):
        as_user(lambda: os.utime("a", ns=(1, 2)), uid=OTHER)


def test_writing_moves_mtime_and_ctime(place: Path) -> None:
    write_file("a", b"abc")
    with opened("a", os.O_RDWR) as descriptor:
        assert moved(lambda: os.pwrite(descriptor, b"x", 1), descriptor) == ["mc"]
        assert moved(lambda: os.pwrite(descriptor, b"", 1), descriptor) == [""]
        assert moved(lambda: os.pwrite(descriptor, b"x" * 9000, 5000), "a") == ["mc"]
        os.utime("a", ns=(1, 2))
        assert moved(lambda: os.pwrite(descriptor, b"x", 1), descriptor) == ["mc"]
        os.utime("a", ns=(1, 2))
        os.fsync(descriptor)
    assert os.stat("a").st_mtime_ns == 2


# ---- truncate ----


def test_truncate(place: Path) -> None:
    write_file("a", b"x" * 10_000)
    assert moved(lambda: os.truncate("a", 5_000), "a") == ["mc"]
    assert read_file("a") == b"x" * 5_000
    assert moved(lambda: os.truncate("a", 12_000), "a") == ["mc"]
    assert read_file("a") == b"x" * 5_000 + bytes(7_000)
    os.truncate("a", 0)
    assert os.stat("a").st_blocks == 0
    os.truncate("a", 1)
    assert read_file("a") == b"\0"


def test_ftruncate_moves_times_even_to_the_same_size(place: Path) -> None:
    write_file("a", b"x" * 100)
    with opened("a", os.O_RDWR) as descriptor:
        assert moved(lambda: os.ftruncate(descriptor, 100), "a") == ["mc"]
        assert moved(lambda: os.ftruncate(descriptor, 50), "a") == ["mc"]
        assert moved(lambda: os.ftruncate(descriptor, 150), "a") == ["mc"]


def test_truncate_leaves_no_old_bytes(place: Path) -> None:
    """What a shorter size cut off does not come back, on any boundary."""
    for size in (1, 100, 4095, 4096, 4097, 8191, 8192, 70_000):
        write_file("a", b"x" * 80_000)
        with opened("a", os.O_RDWR) as descriptor:
            os.fsync(descriptor)
        os.truncate("a", size)
        os.truncate("a", 80_000)
        assert read_file("a") == b"x" * size + bytes(80_000 - size)


def test_truncate_of_what_has_no_size(place: Path, kind: str) -> None:
    if kind in ("character", "block"):
        return
    make(kind, "a")
    if kind == "file":
        os.truncate("a", 3)
        return
    wanted = {"directory": errno.EISDIR, "symlink": errno.ENOENT}.get(kind, errno.EINVAL)
    with fails(wanted, errno.ENXIO if kind == "socket" else wanted):
        call("truncate", b"a", ctypes.c_long(0))


def test_truncate_fails(place: Path) -> None:
    write_file("a", b"abc")
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o444)
    with fails(errno.EINVAL):
        os.truncate("a", -1)
    with fails(errno.ENOENT):
        os.truncate("b", 0)
    with fails(errno.ENOTDIR):
        os.truncate("a/b", 0)
    with fails(errno.EACCES):
        as_user(lambda: os.truncate("a", 0), uid=OTHER)
    with fails(errno.EACCES):
        as_user(lambda: os.truncate("a", 0))
    assert read_file("a") == b"abc"


# ---- access ----


def test_access(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o640)
    users = ((USER, GROUP, "rw"), (OTHER, GROUP, "r"), (OTHER, OTHER_GROUP, ""))
    for uid, gid, allowed in users:
        for letter, wanted in (("r", os.R_OK), ("w", os.W_OK), ("x", os.X_OK)):
            answer = as_user(lambda wanted=wanted: os.access("a", wanted), uid=uid, gid=gid)
            assert answer == (letter in allowed), (uid, letter)
    assert os.access("a", os.R_OK | os.W_OK)
    assert not os.access("a", os.X_OK)
    os.chmod("a", 0o010)
    assert os.access("a", os.X_OK)
    assert os.access("a", os.F_OK)
    assert not os.access("b", os.F_OK)


def test_access_asks_for_the_real_user(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o600)

    def ask() -> tuple[bool, bool]:
        os.setresgid(GROUP, 0, 0)
        os.setresuid(USER, 0, 0)
        return os.access("a", os.R_OK), os.access("a", os.R_OK, effective_ids=True)

    assert in_child(ask) == (False, True)
