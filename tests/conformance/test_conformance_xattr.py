"""Extended attributes: namespaces, flags, sizes, lists, and who may."""

import errno
import os
from pathlib import Path

import pytest
from posix_kit import (
    GROUP,
    OTHER,
    USER,
    as_user,
    fails,
    make,
    moved,
    opened,
    write_file,
)


def get(path: str, name: str) -> bytes:
    return os.getxattr(path, name, follow_symlinks=False)


def put(path: str, name: str, value: bytes, flags: int = 0) -> None:
    os.setxattr(path, name, value, flags, follow_symlinks=False)


def names(path: str) -> list[str]:
    return sorted(os.listxattr(path, follow_symlinks=False))


def test_user_attributes_are_of_files_and_directories(place: Path, kind: str) -> None:
    make(kind, "a")
    if kind not in ("file", "directory"):
        with fails(errno.EPERM):
            put("a", "user.x", b"1")
        with fails(errno.ENODATA):
            get("a", "user.x")
        return
    assert moved(lambda: put("a", "user.x", b"1"), "a") == ["c"]
    assert moved(lambda: get("a", "user.x"), "a") == [""]
    assert get("a", "user.x") == b"1"
    assert names("a") == ["user.x"]
    assert moved(lambda: os.removexattr("a", "user.x"), "a") == ["c"]
    assert names("a") == []


def test_trusted_attributes_are_of_everything_for_root(place: Path, kind: str) -> None:
    make(kind, "a")
    put("a", "trusted.x", b"1")
    assert get("a", "trusted.x") == b"1"
    assert names("a") == ["trusted.x"]
    os.lchown("a", USER, GROUP)
    assert as_user(lambda: names("a")) == []
    with fails(errno.ENODATA):
        as_user(lambda: get("a", "trusted.x"))
    with fails(errno.EPERM):
        as_user(lambda: put("a", "trusted.x", b"2"))
    with fails(errno.EPERM):
        as_user(lambda: os.removexattr("a", "trusted.x", follow_symlinks=False))


def test_security_attributes(place: Path, kind: str) -> None:
    make(kind, "a")
    put("a", "security.affs", b"1")
    assert get("a", "security.affs") == b"1"
    os.lchown("a", USER, GROUP)
    assert as_user(lambda: get("a", "security.affs")) == b"1"
    with fails(errno.EPERM):
        as_user(lambda: put("a", "security.affs", b"2"))
    with fails(errno.EPERM):
        as_user(lambda: os.removexattr("a", "security.affs", follow_symlinks=False))


@pytest.mark.parametrize("name", ["nothing", "unknown.x", "system.unknown", ""])
def test_names_of_no_namespace(place: Path, name: str) -> None:
    write_file("a")
    wanted = errno.EOPNOTSUPP if name else errno.ERANGE
    with fails(wanted):
        put("a", name, b"1")
    with fails(wanted):
        get("a", name)
    with fails(wanted):
        os.removexattr("a", name)


@pytest.mark.parametrize("name", ["user.", "trusted.", "security."])
def test_a_prefix_is_no_name(place: Path, name: str) -> None:
    write_file("a")
    with fails(errno.EINVAL):
        put("a", name, b"1")


def test_flags(place: Path) -> None:
    write_file("a")
    with fails(errno.ENODATA):
        put("a", "user.x", b"1", os.XATTR_REPLACE)
    put("a", "user.x", b"1", os.XATTR_CREATE)
    with fails(errno.EEXIST):
        put("a", "user.x", b"2", os.XATTR_CREATE)
    assert get("a", "user.x") == b"1"
    put("a", "user.x", b"3", os.XATTR_REPLACE)
    assert get("a", "user.x") == b"3"
    with fails(errno.EINVAL):
        put("a", "user.x", b"3", 8)


def test_what_is_not_there(place: Path, kind: str) -> None:
    make(kind, "a")
    assert names("a") == []
    with fails(errno.ENODATA):
        get("a", "trusted.x")
    with fails(errno.ENODATA):
        os.removexattr("a", "trusted.x", follow_symlinks=False)
    for call in (
        lambda: get("missing", "user.x"),
        lambda: put("missing", "user.x", b""),
        lambda: names("missing"),
    ):
        with fails(errno.ENOENT):
            call()


@pytest.mark.parametrize("size", [0, 1, 100, 3000, 4095, 4096, 5000, 20_000, 65_535, 65_536])
def test_value_sizes(place: Path, size: int) -> None:
    write_file("a", b"data")
    value = os.urandom(size)
    put("a", "user.x", value)
    assert get("a", "user.x") == value
    put("a", "user.x", b"short")
    assert get("a", "user.x") == b"short"
    put("a", "user.x", value)
    with opened("a", os.O_RDWR) as descriptor:
        os.fsync(descriptor)
        assert os.getxattr(descriptor, "user.x") == value
    os.removexattr("a", "user.x")
    assert names("a") == []
    assert os.stat("a").st_size == 4


def test_value_too_large(place: Path) -> None:
    write_file("a")
    with fails(errno.E2BIG):
        put("a", "user.x", bytes(65_537))
    with fails(errno.ERANGE):
        put("a", "user." + "n" * 251, b"")
    put("a", "user." + "n" * 250, b"1")
    assert names("a") == ["user." + "n" * 250]


def test_value_bytes(place: Path) -> None:
    write_file("a")
    value = bytes(range(256))
    put("a", "user.x", value)
    assert get("a", "user.x") == value


def test_some_attributes(place: Path) -> None:
    check_many(60)


def test_many_attributes(affs_place: Path) -> None:
    """As many as a list of 64 KiB holds; ext4 holds fewer."""
    check_many(2500)


def check_many(count: int) -> None:
    write_file("a")
    wanted = {f"user.attribute-{number:05}": b"%d" % number for number in range(count)}
    for name, value in wanted.items():
        put("a", name, value)
    assert {name: get("a", name) for name in names("a")} == wanted
    for name in list(wanted)[::2]:
        os.removexattr("a", name)
        del wanted[name]
    assert set(names("a")) == set(wanted)


def test_on_symbolic_link_and_target(place: Path) -> None:
    write_file("a")
    os.symlink("a", "l")
    os.setxattr("l", "user.x", b"1")
    assert get("a", "user.x") == b"1"
    assert names("l") == []
    put("l", "trusted.x", b"2")
    assert names("a") == ["user.x"]
    assert names("l") == ["trusted.x"]


def test_permission_of_user_attributes(place: Path) -> None:
    write_file("a")
    put("a", "user.x", b"1")
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o644)
    as_user(lambda: put("a", "user.y", b"1"))
    assert as_user(lambda: get("a", "user.x"), uid=OTHER) == b"1"
    with fails(errno.EACCES):
        as_user(lambda: put("a", "user.x", b"2"), uid=OTHER)
    with fails(errno.EACCES):
        as_user(lambda: os.removexattr("a", "user.x"), uid=OTHER)
    os.chmod("a", 0o600)
    with fails(errno.EACCES):
        as_user(lambda: get("a", "user.x"), uid=OTHER)
    assert as_user(lambda: names("a"), uid=OTHER) == ["user.x", "user.y"]
    os.chmod("a", 0o622)
    as_user(lambda: put("a", "user.x", b"3"), uid=OTHER)


def test_sticky_directory_of_another(place: Path) -> None:
    """In a sticky directory only its owner sets user attributes of it."""
    os.mkdir("d")
    os.chmod("d", 0o1777)
    with fails(errno.EPERM):
        as_user(lambda: put("d", "user.x", b"1"))
    os.chown("d", USER, -1)
    as_user(lambda: put("d", "user.x", b"1"))


def test_attributes_go_with_the_file_and_follow_it(place: Path) -> None:
    write_file("a")
    put("a", "user.x", b"1")
    os.link("a", "b")
    os.rename("a", "c")
    assert get("b", "user.x") == get("c", "user.x") == b"1"
    os.unlink("b")
    os.unlink("c")
    write_file("a")
    assert names("a") == []
