"""statx: the same as stat for every type of file, and the time of birth."""

import ctypes
import os
import struct
import time
from pathlib import Path
from typing import NamedTuple

from posix_kit import (
    AT_FDCWD,
    KINDS_OF_ENTRY,
    TICK_S,
    PathLike,
    call,
    make,
    opened,
    write_file,
)

AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_STATX_FORCE_SYNC = 0x100, 0x1000, 0x2000
BASIC, BTIME = 0x7FF, 0x800
NS = 1_000_000_000


class Statx(NamedTuple):
    """What the tests look at; times in ns."""

    mask: int
    nlink: int
    uid: int
    gid: int
    mode: int
    ino: int
    size: int
    blocks: int
    atime: int
    btime: int
    ctime: int
    mtime: int
    rdev: int


def statx(path: PathLike, flags: int = 0, descriptor: int = AT_FDCWD) -> Statx:
    answer = ctypes.create_string_buffer(256)
    call("statx", descriptor, os.fsencode(path), AT_SYMLINK_NOFOLLOW | flags, BASIC | BTIME, answer)
    mask, _, _, nlink, uid, gid, mode, ino, size, blocks, _ = struct.unpack_from(
        "<IIQIIIHxxQQQQ", answer
    )
    times = [
        seconds * NS + nanoseconds
        for seconds, nanoseconds in struct.iter_unpack("<qIxxxx", answer.raw[64:128])
    ]
    major, minor = struct.unpack_from("<II", answer, 128)
    rdev = os.makedev(major, minor)
    return Statx(mask, nlink, uid, gid, mode, ino, size, blocks, *times, rdev)


def test_the_same_as_stat(place: Path) -> None:
    for kind in KINDS_OF_ENTRY:
        make(kind, kind)
        os.lchown(kind, 61001, 62001)
        os.utime(kind, ns=(-5 * NS + 3, 10**18 + 7), follow_symlinks=False)
    write_file("file", b"x" * 100_000)
    os.mknod("large", 0o20600, os.makedev(0x123, 0x45678))
    for name in (*KINDS_OF_ENTRY, "large", "."):
        one, other = statx(name, AT_STATX_FORCE_SYNC), os.lstat(name)
        assert one.mask & BASIC == BASIC
        assert (one.mode, one.uid, one.gid, one.nlink, one.ino) == (
            other.st_mode, other.st_uid, other.st_gid, other.st_nlink, other.st_ino,
        )  # fmt: skip
        assert (one.size, one.blocks, one.rdev) == (
            other.st_size, other.st_blocks, other.st_rdev,
        )  # fmt: skip
        assert (one.atime, one.mtime, one.ctime) == (
            other.st_atime_ns, other.st_mtime_ns, other.st_ctime_ns,
        )  # fmt: skip


def test_the_time_of_birth_stays(place: Path, kind: str) -> None:
    before = time.time_ns()
    make(kind, "a")
    born = statx("a")
    assert born.mask & BTIME
    assert before - TICK_S * NS <= born.btime <= time.time_ns()
    time.sleep(TICK_S)
    os.rename("a", "b")
    os.utime("b", ns=(10**18, 10**18), follow_symlinks=False)
    os.lchown("b", 61001, 62001)
    if kind != "directory":
        os.link("b", "c", follow_symlinks=False)
    assert statx("b").btime == born.btime
    assert statx("b", AT_STATX_FORCE_SYNC).btime == born.btime
    assert statx("b").ctime > born.ctime


def test_by_descriptor(place: Path) -> None:
    write_file("a", b"x" * 5000)
    with opened("a", os.O_RDWR) as descriptor:
        os.unlink("a")
        os.write(descriptor, b"y" * 10_000)
        found = statx(b"", AT_EMPTY_PATH, descriptor)
        assert (found.size, found.nlink) == (10_000, 0)
        assert found.mask & BTIME
