"""chmod, chown, utimensat, access times, and what writing does to privileges."""

import errno
import os
import stat

import pytest
from posix_harness import ALICE, BOB, ROOT, Bench
from test_posix_names import failing

from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Changes, Credentials
from affs_fuse.posix.xattrs import CAPABILITY

DAY = 86_400 * 10**9


def mode_of(bench: Bench, path: str) -> int:
    return stat.S_IMODE(bench.find(path).inode.mode)


def test_chmod(bench: Bench) -> None:
    bench.write("/f", b"x")
    before = bench.find("/f").inode
    bench.now += 5
    after = bench.change("/f", mode=0o4751).inode
    assert after == before._replace(
        mode=stat.S_IFREG | 0o4751, ctime_ns=bench.now, change=before.change + 1
    )
    assert bench.find("/f").inode == after


def test_setgid_needs_the_group(bench: Bench) -> None:
    bench.write("/f", b"x")
    bench.change("/f", uid=1000, gid=2000)
    assert stat.S_IMODE(bench.change("/f", ALICE, mode=0o2755).inode.mode) == 0o2755
    bench.change("/f", gid=3000)
    assert stat.S_IMODE(bench.change("/f", ALICE, mode=0o2755).inode.mode) == 0o755
    assert stat.S_IMODE(bench.change("/f", ROOT, mode=0o2755).inode.mode) == 0o2755


@pytest.mark.parametrize("who", [ROOT, ALICE])
def test_chown_takes_setuid_and_setgid(bench: Bench, who: Credentials) -> None:
    bench.write("/f", b"x")
    bench.change("/f", uid=1000, gid=1000)
    bench.change("/f", mode=0o6755)
    bench.namespace.setxattr(bench.find("/f").number, CAPABILITY, b"cap", 0, ROOT)
    after = bench.change("/f", who, gid=2000).inode
    assert (stat.S_IMODE(after.mode), after.gid, after.uid) == (0o755, 2000, 1000)
    assert bench.namespace.listxattr(bench.find("/f").number, ROOT) == []


def test_chown_and_setgid_without_group_execute(bench: Bench) -> None:
    bench.write("/f", b"x")
    bench.change("/f", uid=1000, gid=1000)
    bench.change("/f", mode=0o6644)
    assert stat.S_IMODE(bench.change("/f", ALICE, gid=2000).inode.mode) == 0o2644
    assert stat.S_IMODE(bench.change("/f", BOB, gid=1001).inode.mode) == 0o644


def test_chown_leaves_directories_their_bits(bench: Bench) -> None:
    bench.mkdir("/d")
    bench.change("/d", mode=0o7777)
    assert stat.S_IMODE(bench.change("/d", uid=5, gid=6).inode.mode) == 0o7777
    with failing(errno.EINVAL):
        bench.change("/d", uid=0xFFFFFFFF)


@pytest.mark.parametrize(
    ("who", "mode", "left"),
    [
        (ALICE, 0o6755, 0o755),
        (ALICE, 0o2644, 0o2644),
        (BOB, 0o2644, 0o644),
        (ALICE, 0o4644, 0o644),
        (ROOT, 0o6755, 0o6755),
    ],
)
def test_truncating_takes_privileges(
    bench: Bench, who: Credentials, mode: int, left: int
) -> None:
    """Before a write the kernel does it, but for setgid without group execute."""
    space = bench.namespace
    number = bench.write("/f", b"content")
    for act in ("write", "truncate", "open"):
        bench.change("/f", uid=1000, gid=1000)
        bench.change("/f", mode=mode)
        space.setxattr(number, CAPABILITY, b"cap", 0, ROOT)
        if act == "write":
            bench.write("/f", b"y", who=who)
        elif act == "truncate":
            bench.change("/f", who, size=3)
        else:
            space.release(space.open(number, os.O_WRONLY | os.O_TRUNC, who))
        by_kernel = act == "write" and mode & (stat.S_ISUID | stat.S_IXGRP)
        assert mode_of(bench, "/f") == (mode if by_kernel else left), act
        assert space.listxattr(number, ROOT) == [], act


def test_a_capability_set_on_an_open_file_goes_with_the_next_write(bench: Bench) -> None:
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    number, space = bench.find("/f").number, bench.namespace
    space.write(handle, 0, b"x")
    space.setxattr(number, CAPABILITY, b"cap", 0, ROOT)
    space.write(handle, 1, b"x")
    assert space.listxattr(number, ROOT) == []
    space.release(handle)


def test_times_can_be_set(bench: Bench) -> None:
    bench.write("/f", b"x")
    bench.now += 5
    after = bench.change("/f", atime_ns=123, mtime_ns=-(10**18) - 7).inode
    assert (after.atime_ns, after.mtime_ns, after.ctime_ns) == (123, -(10**18) - 7, bench.now)
    after = bench.change("/f", mtime_ns=5).inode
    assert (after.atime_ns, after.mtime_ns) == (123, 5)
    after = bench.change("/f", atime_ns=1 << 70, mtime_ns=-(1 << 70)).inode
    assert (after.atime_ns, after.mtime_ns) == ((1 << 63) - 1, -(1 << 63))


def test_sizes_that_cannot_be(bench: Bench) -> None:
    bench.write("/f", b"x")
    bench.mkdir("/d")
    bench.namespace.mknod(1, b"p", stat.S_IFIFO | 0o600, 0, ROOT)
    with failing(errno.EISDIR):
        bench.change("/d", size=0)
    with failing(errno.EINVAL):
        bench.change("/p", size=0)
    with failing(errno.EFBIG):
        bench.change("/f", size=1 << 63)
    assert bench.change("/f", size=(1 << 63) - 1).inode.size == (1 << 63) - 1
    assert bench.read("/f", (1 << 63) - 11, 100) == bytes(10)
    handle = bench.open_file("/f")
    with failing(errno.EFBIG):
        bench.namespace.write(handle, (1 << 63) - 5, b"123456")
    assert bench.namespace.write(handle, (1 << 63) - 5, b"1234") == 4
    bench.namespace.release(handle)
    assert bench.read("/f", (1 << 63) - 8, 100) == b"\0\0\x001234"


def test_which_truncations_move_the_times(bench: Bench) -> None:
    number = bench.write("/f", b"content")
    handle = bench.open_file("/f")
    made = bench.now
    bench.now += 5
    assert bench.change("/f", size=7).inode.mtime_ns == made, "truncate to the same size"
    bench.run(bench.namespace.setattr, number, Changes(size=7), ROOT, handle)
    assert bench.find("/f").inode.mtime_ns == bench.now, "ftruncate to the same size"
    bench.namespace.release(handle)
    bench.now += 5
    assert bench.change("/f", size=9).inode.mtime_ns == bench.now
    bench.change("/f", size=0)
    bench.now += 5
    bench.namespace.release(bench.open_file("/f", os.O_WRONLY | os.O_TRUNC))
    assert bench.find("/f").inode.mtime_ns == bench.now, "O_TRUNC of an empty file"


def access_times(bench: Bench, act) -> list[bool]:
    """Whether acting on what was just made, again, and a day later moves the access time."""
    moved = []
    for step in (5, 5, DAY + 5):
        bench.now += step
        before = act(None)
        act("go")
        moved.append(act(None) != before)
    return moved


@pytest.mark.parametrize(
    ("relatime", "expected"),
    [
        ("relatime", [True, False, True]),
        ("noatime", [False, False, False]),
        ("strictatime", [True, True, True]),
    ],
)
@pytest.mark.parametrize("act", ["read", "open", "readdir", "readlink"])
def test_access_times(relatime: str, expected: list[bool], act: str) -> None:
    bench = Bench(relatime=relatime)
    space = bench.namespace
    number = bench.write("/f", b"x")
    folder = bench.mkdir("/d").number
    link = space.symlink(1, b"l", b"t", ROOT).number
    held = bench.namespace.open(number, os.O_WRONLY, ROOT)
    reader = Bench.open_file

    def go(what: str | None) -> int:
        target = {"readdir": folder, "readlink": link}.get(act, number)
        if what is None:
            return space.getattr(target).inode.atime_ns
        if act == "open":
            space.release(reader(bench, "/f", os.O_RDONLY))
        elif act == "read":
            handle = space.open(number, os.O_RDONLY, ROOT)
            assert space.read(handle, 0, 10) == b"x"
            space.release(handle)
        elif act == "readdir":
            bench.names("/d")
        else:
            space.readlink(link)
        return 0

    assert access_times(bench, go) == expected
    space.release(held)
    bench.check()


def test_o_noatime_and_writers_leave_the_access_time(bench: Bench) -> None:
    number = bench.write("/f", b"x")
    before = bench.find("/f").inode.atime_ns
    bench.now += 10
    assert bench.read("/f") == b"x"
    bench.namespace.release(bench.namespace.open(number, os.O_WRONLY, ROOT))
    assert bench.find("/f").inode.atime_ns == before


def test_a_read_only_volume_says_so(bench: Bench) -> None:
    number = bench.write("/f", b"x")
    bench.commit()
    bench.volume.fail("a test wants it so")
    space = bench.namespace
    for act in (
        lambda: space.mkdir(1, b"d", 0o755, ROOT),
        lambda: space.unlink(1, b"f"),
        lambda: space.setattr(number, Changes(mode=0o600), ROOT),
        lambda: space.setxattr(number, b"user.a", b"", 0, ROOT),
        lambda: space.open(number, os.O_RDWR, ROOT),
        lambda: space.link(number, 1, b"g"),
        lambda: space.rename(1, b"f", 1, b"g"),
    ):
        with pytest.raises(AffsError) as caught:
            act()
        assert caught.value.errno == errno.EROFS
    bench.now += 10
    assert bench.read("/f") == b"x"
    assert bench.names() == [b"f"]
    bench.open()
