"""POSIX ACLs through setfacl and getfacl: who is let in, how mask and mode hang together, what a
default ACL gives to what is made below it.
"""

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from posix_kit import (
    GROUP,
    OTHER,
    OTHER_GROUP,
    USER,
    as_user,
    fails,
    make,
    mode_of,
    moved,
    write_file,
)

ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def setfacl(*words: str) -> None:
    subprocess.run(["setfacl", *words], check=True)


def getfacl(path: str) -> list[str]:
    done = subprocess.run(
        ["getfacl", "-cnE", "--", path], check=True, capture_output=True, text=True
    )
    return done.stdout.split()


def may(path: str, flags: int, **who: object) -> bool:
    def action() -> bool:
        try:
            os.close(os.open(path, flags))
        except PermissionError as error:
            if error.errno != errno.EACCES:
                raise
            return False
        return True

    answer: bool = as_user(action, **who)  # type: ignore[arg-type]
    return answer


def test_a_named_user_is_let_in(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o600)
    assert not may("a", os.O_RDONLY)
    assert moved(lambda: setfacl("-m", f"u:{USER}:r", "a"), "a") == ["c"]
    assert may("a", os.O_RDONLY)
    assert not may("a", os.O_RDWR)
    assert not may("a", os.O_RDONLY, uid=OTHER)
    assert getfacl("a") == [
        "user::rw-", f"user:{USER}:r--", "group::---", "mask::r--", "other::---",
    ]  # fmt: skip
    assert mode_of("a") == 0o640


def test_a_named_user_is_kept_out(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o666)
    setfacl("-m", f"u:{USER}:-", "a")
    assert not may("a", os.O_RDONLY)
    assert may("a", os.O_RDWR, uid=OTHER)


def test_a_named_group(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o600)
    setfacl("-m", f"g:{OTHER_GROUP}:rw", "a")
    assert may("a", os.O_RDWR, gid=OTHER_GROUP)
    assert may("a", os.O_RDWR, groups=[OTHER_GROUP])
    assert not may("a", os.O_RDONLY)
    setfacl("-b", "a")
    os.chmod("a", 0o644)
    setfacl("-m", f"g:{OTHER_GROUP}:-", "a")
    assert not may("a", os.O_RDONLY, groups=[OTHER_GROUP])
    assert may("a", os.O_RDONLY)


def test_any_group_that_fits_gives_its_right(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o600)
    setfacl("-m", f"g:{GROUP}:r,g:{OTHER_GROUP}:w", "a")
    assert may("a", os.O_RDONLY, groups=[OTHER_GROUP])
    assert may("a", os.O_WRONLY, groups=[OTHER_GROUP])
    assert not may("a", os.O_RDWR, groups=[OTHER_GROUP])


def test_the_mask_limits(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o600)
    setfacl("-m", f"u:{USER}:rw", "a")
    assert mode_of("a") == 0o660
    os.chmod("a", 0o640)
    assert not may("a", os.O_RDWR)
    assert may("a", os.O_RDONLY)
    assert "mask::r--" in getfacl("a")
    assert f"user:{USER}:rw-" in getfacl("a")
    os.chmod("a", 0o664)
    assert may("a", os.O_RDWR)
    assert "other::r--" in getfacl("a")
    assert "group::---" in getfacl("a")
    setfacl("-m", "m::-,o::-", "a")
    assert mode_of("a") == 0o600
    assert not may("a", os.O_RDONLY)


def test_the_owner_is_not_masked(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    setfacl("-m", f"u:{OTHER}:r,m::-", "a")
    assert may("a", os.O_RDWR)


def test_acl_goes_back_to_a_mode(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o640)
    setfacl("-m", f"u:{USER}:r", "a")
    assert ACCESS in os.listxattr("a")
    setfacl("-b", "a")
    assert os.listxattr("a") == []
    assert mode_of("a") == 0o640
    setfacl("-m", "u::rwx,g::rx,o::x", "a")
    assert mode_of("a") == 0o751
    assert os.listxattr("a") == []


def test_special_bits_stay(place: Path) -> None:
    write_file("a")
    os.chmod("a", 0o4755)
    setfacl("-m", f"u:{USER}:r", "a")
    assert mode_of("a") == 0o4755


def test_setting_an_acl_drops_setgid_of_a_foreign_group(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, OTHER_GROUP)
    os.chmod("a", 0o2755)
    as_user(lambda: setfacl("-m", f"u:{OTHER}:rwx", "a"))
    assert mode_of("a") == 0o775
    os.chmod("a", 0o2755)
    as_user(lambda: setfacl("-m", f"u:{OTHER}:rx", "a"), groups=[OTHER_GROUP])
    assert mode_of("a") == 0o2755


def test_who_may_set_acls(place: Path) -> None:
    write_file("a")
    os.chown("a", USER, GROUP)
    os.chmod("a", 0o666)
    setfacl("-m", f"u:{OTHER}:rw", "a")
    value = os.getxattr("a", ACCESS)
    with fails(errno.EPERM):
        as_user(lambda: os.setxattr("a", ACCESS, value), uid=OTHER)
    with fails(errno.EPERM):
        as_user(lambda: os.removexattr("a", ACCESS), uid=OTHER)
    as_user(lambda: os.setxattr("a", ACCESS, value))
    assert as_user(lambda: os.getxattr("a", ACCESS), uid=OTHER) == value
    as_user(lambda: os.removexattr("a", ACCESS))


def test_values_that_are_no_acl(place: Path) -> None:
    write_file("a")
    for value in (b"x", b"\1\0\0\0" + bytes(8), b"\2\0\0\0" + bytes(7), b"\2\0\0\0" + b"\1" * 8):
        with fails(errno.EINVAL, errno.EOPNOTSUPP):
            os.setxattr("a", ACCESS, value)
    with fails(errno.EACCES):
        os.setxattr("a", DEFAULT, b"\2\0\0\0" + bytes.fromhex("01000700ffffffff") * 1)
    with fails(errno.ENODATA):
        os.getxattr("a", ACCESS)


def test_acl_on_other_types(place: Path, kind: str) -> None:
    make(kind, "a")
    if kind == "symlink":
        with fails(errno.EOPNOTSUPP):
            os.setxattr("a", ACCESS, b"\2\0\0\0", follow_symlinks=False)
        return
    setfacl("-m", f"u:{USER}:rwx", "a")
    assert f"user:{USER}:rwx" in getfacl("a")
    assert mode_of("a") == 0o674


def test_a_denied_user_is_denied_on_a_directory(place: Path) -> None:
    os.mkdir("d")
    write_file("d/a")
    setfacl("-m", f"u:{USER}:r", "d")
    assert as_user(lambda: os.listdir("d")) == ["a"]
    assert not may("d/a", os.O_RDONLY)
    with fails(errno.EACCES):
        as_user(lambda: write_file("d/b"))
    setfacl("-m", f"u:{USER}:rwx", "d")
    as_user(lambda: write_file("d/b"))
    assert may("d/a", os.O_RDONLY)


MAKERS: list[tuple[str, Callable[[], object], int]] = [
    ("file", lambda: os.close(os.open("d/x", os.O_CREAT | os.O_WRONLY, 0o666)), 0o660),
    ("file, less", lambda: os.close(os.open("d/x", os.O_CREAT | os.O_WRONLY, 0o640)), 0o640),
    ("program", lambda: os.close(os.open("d/x", os.O_CREAT | os.O_WRONLY, 0o777)), 0o770),
    ("fifo", lambda: os.mkfifo("d/x", 0o666), 0o660),
    ("directory", lambda: os.mkdir("d/x", 0o777), 0o770),
]


@pytest.mark.parametrize(("name", "maker", "mode"), MAKERS, ids=[name for name, *_ in MAKERS])
def test_default_acl_is_inherited(
    place: Path, name: str, maker: Callable[[], object], mode: int
) -> None:
    os.mkdir("d")
    assert moved(lambda: setfacl("-d", "-m", f"u::rwx,u:{USER}:rwx,g::rx,o::-", "d"), "d") == ["c"]
    assert mode_of("d") == 0o755
    os.umask(0o077)
    maker()
    assert mode_of("d/x") == mode
    access = getfacl("d/x")
    assert f"user:{USER}:rwx" in access
    assert "group::r-x" in access
    assert ("default:mask::rwx" in access) == (name == "directory")
    allowed = os.O_RDWR if mode & 0o020 else os.O_RDONLY
    if name not in ("directory", "fifo"):
        assert may("d/x", allowed)
        assert not may("d/x", os.O_RDONLY, uid=OTHER)


def test_default_acl_goes_down(place: Path) -> None:
    os.mkdir("d")
    setfacl("-d", "-m", f"g:{OTHER_GROUP}:rwx", "d")
    os.makedirs("d/e/f")
    assert f"default:group:{OTHER_GROUP}:rwx" in getfacl("d/e/f")
    setfacl("-k", "d")
    os.mkdir("d/g")
    assert [line for line in getfacl("d/g") if line.startswith("default")] == []


def test_a_minimal_default_acl_replaces_the_umask(place: Path) -> None:
    os.mkdir("d")
    setfacl("-d", "-m", "u::rwx,g::rwx,o::-", "d")
    os.umask(0o077)
    write_file("d/a")
    assert mode_of("d/a") == 0o660
    assert os.listxattr("d/a") == []


def test_symlinks_inherit_nothing(place: Path) -> None:
    os.mkdir("d")
    setfacl("-d", "-m", f"u:{USER}:rwx", "d")
    os.symlink("x", "d/l")
    assert os.listxattr("d/l", follow_symlinks=False) == []
    assert mode_of("d/l") == 0o777


def test_setgid_and_default_acl_together(place: Path) -> None:
    os.mkdir("d")
    os.chown("d", 0, OTHER_GROUP)
    os.chmod("d", 0o2777)
    setfacl("-d", "-m", f"u:{OTHER}:rwx", "d")
    as_user(lambda: os.mkdir("d/e"))
    assert mode_of("d/e") & 0o2000
    assert os.stat("d/e").st_gid == OTHER_GROUP


def test_copies_keep_acls(place: Path) -> None:
    write_file("a", b"abc")
    setfacl("-m", f"u:{USER}:rw,g:{GROUP}:-", "a")
    subprocess.run(["cp", "-a", "a", "b"], check=True)
    assert getfacl("a") == getfacl("b")
