"""Names, look-up, and reading directories."""

import errno
import os

import pytest
from posix_harness import ROOT, Bench

from affs_fuse.core.codec import pack_name
from affs_fuse.core.constants import ITEM_DENTRY
from affs_fuse.posix import directory


def failing(number: int):
    return pytest.raises(OSError, check=lambda error: error.errno == number)


LONG = b"n" * 255
TOO_LONG = b"n" * 256


def test_names_are_bytes_up_to_255(bench: Bench) -> None:
    for name in (LONG, b"\xff\xfe", b" ", b"\n", b"...", b"a\\b"):
        made = bench.run(bench.namespace.mkdir, 1, name, 0o755, ROOT)
        assert bench.run(bench.namespace.lookup, 1, name).number == made.number
    assert set(bench.names()) == {LONG, b"\xff\xfe", b" ", b"\n", b"...", b"a\\b"}


def test_too_long_names_are_refused_everywhere(bench: Bench) -> None:
    bench.write("/f", b"x")
    number, space = bench.find("/f").number, bench.namespace
    with failing(errno.ENAMETOOLONG):
        space.lookup(1, TOO_LONG)
    with failing(errno.ENAMETOOLONG):
        space.create(1, TOO_LONG, 0o644, os.O_RDWR, ROOT)
    with failing(errno.ENAMETOOLONG):
        space.mkdir(1, TOO_LONG, 0o755, ROOT)
    with failing(errno.ENAMETOOLONG):
        space.mknod(1, TOO_LONG, 0o100644, 0, ROOT)
    with failing(errno.ENAMETOOLONG):
        space.symlink(1, TOO_LONG, b"t", ROOT)
    with failing(errno.ENAMETOOLONG):
        space.link(number, 1, TOO_LONG)
    with failing(errno.ENAMETOOLONG):
        space.unlink(1, TOO_LONG)
    with failing(errno.ENAMETOOLONG):
        space.rmdir(1, TOO_LONG)
    with failing(errno.ENAMETOOLONG):
        space.rename(1, TOO_LONG, 1, b"g")
    with failing(errno.ENAMETOOLONG):
        space.rename(1, b"f", 1, TOO_LONG)
    with failing(errno.ENAMETOOLONG):
        space.lookup(space.views.door().number, TOO_LONG)


def test_what_cannot_be_a_name(bench: Bench) -> None:
    space = bench.namespace
    with failing(errno.EINVAL):
        space.mkdir(1, b"a/b", 0o755, ROOT)
    with failing(errno.EINVAL):
        space.mkdir(1, b"a\0b", 0o755, ROOT)
    with failing(errno.ENOENT):
        space.lookup(1, b"")
    for dots in (b".", b".."):
        with failing(errno.EEXIST):
            space.mkdir(1, dots, 0o755, ROOT)
    with failing(errno.EINVAL):
        space.rmdir(1, b".")
    with failing(errno.ENOTEMPTY):
        space.rmdir(1, b"..")
    with failing(errno.EBUSY):
        space.rename(1, b".", 1, b"x")


def test_look_up(bench: Bench) -> None:
    outer = bench.mkdir("/outer").number
    inner = bench.mkdir("/outer/inner").number
    bench.write("/outer/file", b"x")
    look = bench.namespace.lookup
    assert look(outer, b".").number == outer
    assert look(inner, b"..").number == outer
    assert look(1, b"..").number == 1
    with failing(errno.ENOENT):
        look(outer, b"absent")
    with failing(errno.ENOTDIR):
        look(bench.find("/outer/file").number, b"x")
    with failing(errno.ESTALE):
        look(999_999_999, b"x")
    with failing(errno.ESTALE):
        bench.namespace.getattr(999_999_999)


def test_object_numbers_and_ids_are_never_reused(bench: Bench) -> None:
    first = bench.mkdir("/d")
    bench.namespace.rmdir(1, b"d")
    second = bench.mkdir("/d")
    assert second.number > first.number
    assert first.inode.object_id[10:] == first.number.to_bytes(6, "big")
    assert first.inode.object_id[:10] != second.inode.object_id[:10]
    assert first.inode.generation == 1


def test_reading_a_directory_while_it_changes(bench: Bench) -> None:
    folder = bench.mkdir("/d").number
    for index in range(300):
        bench.run(bench.namespace.mknod, folder, b"old%d" % index, 0o100644, 0, ROOT)
    handle = bench.run(bench.namespace.opendir, folder, ROOT)
    seen: list[bytes] = []
    cookie = turn = 0
    while part := bench.run(bench.namespace.readdir, handle, cookie, 5):
        seen += [name for name, _, _ in part]
        cookie = part[-1][2]
        bench.run(bench.namespace.mknod, folder, b"new%d" % turn, 0o100644, 0, ROOT)
        bench.run(bench.namespace.unlink, folder, b"old%d" % (299 - turn))
        turn += 1
    assert len(seen) == len(set(seen))
    assert {b"old%d" % index for index in range(300 - turn)} <= set(seen)
    bench.namespace.release(handle)


def test_cookies_survive_and_go_back(bench: Bench) -> None:
    folder = bench.mkdir("/d").number
    for index in range(50):
        bench.mkdir(f"/d/{index}")
    handle = bench.run(bench.namespace.opendir, folder, ROOT)
    everything = bench.run(bench.namespace.readdir, handle, 0, 100)
    assert [entry[2] for entry in everything[:2]] == [1, 2]
    assert all(16 <= entry[2] < 1 << 63 for entry in everything[2:])
    for name, attributes, cookie in everything[2::7]:
        following = bench.run(bench.namespace.readdir, handle, cookie, 100)
        position = [entry[0] for entry in everything].index(name)
        assert [entry[0] for entry in following] == [e[0] for e in everything[position + 1 :]]
        assert attributes == bench.find(f"/d/{name.decode()}")
    bench.commit()
    bench.volume.cache.drop_clean()
    again = bench.run(bench.namespace.readdir, handle, 0, 100)
    assert [entry[::2] for entry in again] == [entry[::2] for entry in everything]
    assert bench.run(bench.namespace.readdir, handle, everything[-1][2]) == []
    bench.namespace.release(handle)
    with failing(errno.ENOTDIR):
        bench.namespace.opendir(bench.write("/f", b""), ROOT)


def test_a_removed_directory_reads_as_empty_and_takes_nothing(bench: Bench) -> None:
    folder = bench.mkdir("/d").number
    handle = bench.namespace.opendir(folder, ROOT)
    bench.namespace.rmdir(1, b"d")
    assert bench.namespace.readdir(handle, 0) == []
    with failing(errno.ENOENT):
        bench.namespace.mkdir(folder, b"x", 0o755, ROOT)
    bench.namespace.release(handle)
    with failing(errno.ESTALE):
        bench.namespace.getattr(folder)


def test_sixteen_names_of_one_hash() -> None:
    """Nobody finds two names of one 59-bit keyed hash, so the entries are put by hand."""
    tree, hashed = Bench().volume.working.tree, 12345
    names = [b"name%d" % index for index in range(17)]
    for index, name in enumerate(names[:16]):
        offset, found = directory.probe(tree, 1, ITEM_DENTRY, hashed, name, 0)
        assert (offset, found) == (hashed << 4 | index, None)
        tree.put(1, ITEM_DENTRY, offset, pack_name(100 + index, 8, name))
    assert directory.probe(tree, 1, ITEM_DENTRY, hashed, names[16], 0) == (directory.FULL, None)
    for index, name in enumerate(names[:16]):
        offset, found = directory.probe(tree, 1, ITEM_DENTRY, hashed, name, 0)
        assert offset == hashed << 4 | index
        assert found is not None
        assert found.object == 100 + index
    tree.delete(1, ITEM_DENTRY, hashed << 4 | 6)
    assert directory.probe(tree, 1, ITEM_DENTRY, hashed, names[16], 0) == (hashed << 4 | 6, None)
    assert directory.probe(tree, 1, ITEM_DENTRY, hashed, names[15], 0)[1] is not None


def test_the_reserved_name(bench: Bench) -> None:
    space = bench.namespace
    bench.mkdir("/d")
    with failing(errno.EPERM):
        space.mkdir(1, b".affs", 0o755, ROOT)
    with failing(errno.EPERM):
        space.rename(1, b"d", 1, b".affs")
    with failing(errno.EPERM):
        space.rmdir(1, b".affs")
    bench.mkdir("/d/.affs")
    assert bench.names("/d") == [b".affs"]
    assert bench.names() == [b"d"]


def test_entries_that_were_read_ahead_are_not_believed_after_a_change(bench: Bench) -> None:
    folder, space = bench.mkdir("/d").number, bench.namespace
    for index in range(30):
        bench.mkdir(f"/d/{index}")
    kept = bench.checkpoint()
    handle = bench.run(space.opendir, folder, ROOT)
    first = bench.run(space.readdir, handle, 0, 5)
    rest = [name for name, _, _ in bench.run(space.readdir, handle, first[-1][2], 100)]
    bench.run(space.rmdir, folder, rest[0])
    bench.run(space.rename, folder, rest[1], folder, b"elsewhere", 0)
    after = [name for name, _, _ in bench.run(space.readdir, handle, first[-1][2], 100)]
    assert [name for name in after if name != b"elsewhere"] == rest[2:]
    bench.rollback(kept)
    bench.run(space.rmdir, folder, rest[2])
    bench.run(space.rmdir, folder, rest[3])
    after = [name for name, _, _ in bench.run(space.readdir, handle, first[-1][2], 100)]
    assert after == [*rest[:2], *rest[4:]], "the change counter is the same, the tree is not"
    space.release(handle)


def test_a_large_cold_directory_comes_in_parts(bench: Bench) -> None:
    """What is there is given when the next inode's node is missing."""
    folder, space = bench.mkdir("/d").number, bench.namespace
    for index in range(800):
        made = bench.run(space.mknod, folder, b"%d" % index, 0o100644, 0, ROOT)
        bench.run(space.setxattr, made.number, b"user.fill", bytes(1000), 0, ROOT)
    bench.commit()
    handle = bench.run(space.opendir, folder, ROOT)
    bench.commit()
    bench.volume.cache.drop_clean()
    before = bench.volume.cache.statistics().misses
    names, cookie, calls = [], 0, 0
    while part := bench.run(space.readdir, handle, cookie, 64):
        names += [name for name, _, _ in part]
        cookie = part[-1][2]
        calls += 1
    assert len(names) == len(set(names)) == 802
    assert bench.volume.cache.statistics().misses - before < 2000
    assert calls > 802 // 64 + 1
    space.release(handle)
