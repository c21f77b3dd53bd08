"""rename and its flags: what may replace what, counts, times, parent links."""

import errno
import os

import pytest
from posix_harness import Bench
from test_posix_names import failing

from affs_fuse.posix import inodes
from affs_fuse.posix.namespace import RENAME_EXCHANGE, RENAME_NOREPLACE


def test_a_file_moves(bench: Bench) -> None:
    number = bench.write("/f", b"x")
    bench.mkdir("/d")
    before = bench.now
    bench.now += 7
    bench.rename("/f", "/d/g")
    moved = bench.find("/d/g")
    assert moved.number == number
    assert (moved.inode.ctime_ns, moved.inode.mtime_ns) == (bench.now, before)
    for path, names in (("/", [b"d"]), ("/d", [b"g"])):
        assert bench.names(path) == names
        inode = bench.find(path).inode
        assert (inode.mtime_ns, inode.ctime_ns, inode.size) == (bench.now, bench.now, 1)


def test_a_directory_moves_with_its_counts(bench: Bench) -> None:
    for path in ("/a", "/b", "/a/c", "/a/c/d"):
        bench.mkdir(path)
    moved = bench.find("/a/c").number
    bench.rename("/a/c", "/b/e")
    assert bench.find("/b/e/d/..").number == moved
    assert bench.find("/b/e/..").number == bench.find("/b").number
    assert [bench.find(path).inode.nlink for path in ("/", "/a", "/b", "/b/e")] == [4, 2, 3, 3]


def test_what_is_replaced(bench: Bench) -> None:
    old = bench.write("/old", b"old")
    bench.write("/new", b"new")
    bench.namespace.link(old, 1, b"other")
    bench.rename("/new", "/old")
    assert bench.read("/old") == b"new"
    assert (bench.read("/other"), bench.find("/other").inode.nlink) == (b"old", 1)
    assert sorted(bench.names()) == [b"old", b"other"]
    bench.mkdir("/d")
    bench.mkdir("/e")
    bench.mkdir("/e/in")
    bench.rename("/e", "/d")
    assert bench.names("/d") == [b"in"]
    assert bench.find("/").inode.nlink == 3


def test_what_may_not_be_replaced(bench: Bench) -> None:
    bench.write("/f", b"x")
    for path in ("/d", "/full", "/full/x", "/deep", "/deep/a", "/deep/a/b"):
        bench.mkdir(path)
    with failing(errno.EISDIR):
        bench.rename("/f", "/d")
    with failing(errno.ENOTDIR):
        bench.rename("/d", "/f")
    with failing(errno.ENOTEMPTY):
        bench.rename("/d", "/full")
    with failing(errno.EINVAL):
        bench.rename("/deep", "/deep/a/b/x")
    with failing(errno.EINVAL):
        bench.rename("/deep", "/deep/x")
    with failing(errno.ENOTEMPTY):
        bench.rename("/deep/a/b", "/deep")
    with failing(errno.ENOENT):
        bench.rename("/absent", "/y")
    with failing(errno.EEXIST):
        bench.rename("/f", "/d", RENAME_NOREPLACE)
    with failing(errno.ENOENT):
        bench.rename("/f", "/absent", RENAME_EXCHANGE)
    for flags in (4, RENAME_EXCHANGE | RENAME_NOREPLACE, 8):
        with failing(errno.EINVAL):
            bench.rename("/f", "/y", flags)
    bench.rename("/f", "/y", RENAME_NOREPLACE)
    assert bench.read("/y") == b"x"


def test_one_object_under_both_names_stays(bench: Bench) -> None:
    number = bench.write("/f", b"x")
    bench.namespace.link(number, 1, b"g")
    before = bench.find("/f")
    bench.now += 3
    bench.rename("/f", "/g")
    bench.rename("/f", "/f")
    bench.rename("/f", "/g", RENAME_EXCHANGE)
    assert bench.find("/f") == before
    assert sorted(bench.names()) == [b"f", b"g"]


@pytest.mark.parametrize(
    ("one", "other"), [("/a/f", "/b/d"), ("/a/f", "/a/g"), ("/b/d", "/c/e"), ("/a/f", "/b/d/h")]
)
def test_exchange(bench: Bench, one: str, other: str) -> None:
    for path in ("/a", "/b", "/c", "/b/d", "/c/e", "/c/e/i"):
        bench.mkdir(path)
    for path in ("/a/f", "/a/g", "/b/d/h"):
        bench.write(path, path.encode())
    numbers = bench.find(one).number, bench.find(other).number
    bench.now += 7
    bench.rename(one, other, RENAME_EXCHANGE)
    assert (bench.find(other).number, bench.find(one).number) == numbers
    assert bench.find(one).inode.ctime_ns == bench.find(other).inode.ctime_ns == bench.now
    bench.rename(one, other, RENAME_EXCHANGE)
    assert (bench.find(one).number, bench.find(other).number) == numbers
    assert [bench.find(path).inode.nlink for path in ("/a", "/b", "/c")] == [2, 3, 3]


def test_exchange_with_what_lies_below(bench: Bench) -> None:
    bench.mkdir("/a")
    bench.mkdir("/a/b")
    with failing(errno.EINVAL):
        bench.rename("/a", "/a/b", RENAME_EXCHANGE)
    with failing(errno.EINVAL):
        bench.rename("/a/b", "/a", RENAME_EXCHANGE)


def test_renaming_over_an_open_file(bench: Bench) -> None:
    handle = bench.open_file("/old", os.O_RDWR | os.O_CREAT)
    bench.run(bench.namespace.write, handle, 0, b"still here")
    bench.write("/new", b"new")
    bench.rename("/new", "/old")
    assert bench.run(bench.namespace.read, handle, 0, 100) == b"still here"
    assert bench.namespace.statistics().orphans == 1
    bench.namespace.release(handle)
    assert bench.namespace.statistics().orphans == 0
    assert bench.volume.working.object_count == 2


def test_as_many_links_as_there_can_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit of 4: whatever would add one more is EMLINK, what replaces or swaps is not."""
    monkeypatch.setattr(inodes, "LINK_MAX", 4)
    for path in ("/d", "/d/a", "/d/b", "/e"):
        bench.mkdir(path)
    file = bench.write("/f", b"x")
    bench.write("/d/g", b"x")
    for name in (b"f2", b"f3", b"f4"):
        bench.namespace.link(file, 1, name)
    for act in (
        lambda: bench.namespace.link(file, 1, b"f5"),
        lambda: bench.mkdir("/d/c"),
        lambda: bench.rename("/e", "/d/c"),
        lambda: bench.rename("/e", "/d/c", RENAME_NOREPLACE),
        lambda: bench.rename("/e", "/d/g", RENAME_EXCHANGE),
        lambda: bench.rename("/d/g", "/e", RENAME_EXCHANGE),
    ):
        with failing(errno.EMLINK):
            act()
    bench.rename("/e", "/d/a", RENAME_EXCHANGE)
    bench.rename("/d/a", "/d/c")
    bench.rename("/f4", "/d/f")
    bench.rename("/e", "/d/b")
    assert sorted(bench.names("/d")) == [b"b", b"c", b"f", b"g"]
    assert [bench.find(path).inode.nlink for path in ("/", "/d", "/d/f")] == [3, 4, 4]
