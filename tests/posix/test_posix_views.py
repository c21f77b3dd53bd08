"""Kept states as read-only trees under `.affs`."""

import errno
import os
import stat

import pytest
from posix_harness import ALICE, ROOT, Bench
from test_posix_names import failing

from affs_fuse.posix.namespace import Changes, DoorOwner, Namespace
from affs_fuse.posix.views import DOOR, DOOR_VIEW
from affs_fuse.volume import verbs

VIEW = 1 << 48


def kept(bench: Bench):
    """A checkpoint with a label, then changes."""
    bench.mkdir("/d")
    bench.write("/d/f", b"old" * 10_000)
    bench.write("/small", b"tiny")
    bench.namespace.symlink(1, b"l", b"d/f", ROOT)
    bench.namespace.setxattr(bench.find("/d").number, b"user.a", b"value", 0, ROOT)
    bench.namespace.setxattr(bench.find("/d").number, b"trusted.b", b"value", 0, ROOT)
    state = bench.checkpoint("first")
    bench.write("/d/f", b"new" * 20_000)
    bench.unlink("/small")
    bench.commit()
    return state


def test_the_door(bench: Bench) -> None:
    door = bench.namespace.lookup(1, b".affs")
    assert (door.number, door.inode.mode) == (DOOR, stat.S_IFDIR | 0o700)
    assert bench.names() == []
    assert bench.namespace.lookup(DOOR, b"..").number == 1
    assert bench.namespace.lookup(DOOR, b".") == door
    assert bench.names("/.affs") == [b"checkpoints"]
    assert bench.names("/.affs/checkpoints") == []
    with failing(errno.ENOENT):
        bench.find("/.affs/published")
    with failing(errno.ENOENT):
        bench.find("/.affs/other")
    with failing(errno.ENOENT):
        bench.find("/.affs/checkpoints/0123456789")
    assert bench.find("/.affs/checkpoints/..").number == DOOR
    open_door = Namespace(bench.volume, door=DoorOwner(1000, 1001, 0o755))
    inode = open_door.lookup(1, b".affs").inode
    assert (inode.uid, inode.gid, stat.S_IMODE(inode.mode)) == (1000, 1001, 0o755)


def test_looking_into_a_kept_state(bench: Bench) -> None:
    state = kept(bench)
    base = f"/.affs/checkpoints/{state.hex_id}"
    assert bench.names("/.affs/checkpoints") == [state.hex_id.encode(), b"first"]
    root = bench.find(base)
    assert root.number == 2 * VIEW + 1
    assert sorted(bench.names(base)) == [b"d", b"l", b"small"]
    assert bench.read(base + "/d/f") == b"old" * 10_000
    assert bench.read(base + "/small", 1, 2) == b"in"
    assert bench.read("/d/f") == b"new" * 20_000
    inner = bench.find(base + "/d")
    assert inner.number == 2 * VIEW | bench.find("/d").number
    assert bench.run(bench.namespace.getattr, inner.number) == inner
    assert bench.find(base + "/d/..") == root
    assert bench.find(base + "/..").number == bench.find("/.affs/checkpoints").number
    assert bench.run(bench.namespace.readlink, bench.find(base + "/l").number) == b"d/f"
    space = bench.namespace
    assert bench.run(space.getxattr, inner.number, b"user.a", ALICE) == b"value"
    assert bench.run(space.listxattr, inner.number, ALICE) == [b"user.a"]
    assert sorted(bench.run(space.listxattr, inner.number, ROOT)) == [b"trusted.b", b"user.a"]
    assert space.listxattr(DOOR, ROOT) == []
    with failing(errno.ENODATA):
        space.getxattr(DOOR, b"user.a", ROOT)
    handle = bench.run(space.opendir, root.number, ROOT)
    listed = bench.run(space.readdir, handle, 0)
    assert listed[1][1].number == bench.find("/.affs/checkpoints").number
    space.release(handle)
    with failing(errno.ENOENT):
        bench.find(base + "/.affs")


def test_names_of_states(bench: Bench) -> None:
    state = kept(bench)
    other = bench.publish()
    link = bench.find("/.affs/checkpoints/first")
    assert stat.S_ISLNK(link.inode.mode)
    assert bench.namespace.readlink(link.number) == state.hex_id.encode()
    assert link.inode.size == 32
    digits = next(n for n in range(4, 32) if state.hex_id[:n] != other.hex_id[:n])
    if digits > 4:
        with failing(errno.ENOENT):
            bench.find(f"/.affs/checkpoints/{state.hex_id[: digits - 1]}")
    prefix = bench.find(f"/.affs/checkpoints/{state.hex_id[:digits]}")
    assert bench.namespace.readlink(prefix.number) == state.hex_id.encode()
    published = bench.find("/.affs/published")
    assert bench.namespace.readlink(published.number) == b"checkpoints/" + other.hex_id.encode()
    assert bench.names("/.affs") == [b"checkpoints", b"published"]
    for name in ("", "fir", "\udcff"):
        with failing(errno.ENOENT):
            bench.namespace.lookup(DOOR + 1, name.encode("utf-8", "surrogateescape"))


def test_nothing_changes_there(bench: Bench) -> None:
    state = kept(bench)
    space = bench.namespace
    root = bench.find(f"/.affs/checkpoints/{state.hex_id}").number
    file = bench.find(f"/.affs/checkpoints/{state.hex_id}/d/f").number
    here = bench.find("/d").number
    for number in (root, DOOR):
        for act in (
            lambda number=number: space.mkdir(number, b"x", 0o755, ROOT),
            lambda number=number: space.mknod(number, b"x", 0o100600, 0, ROOT),
            lambda number=number: space.create(number, b"x", 0o600, os.O_RDWR, ROOT),
            lambda number=number: space.symlink(number, b"x", b"t", ROOT),
            lambda number=number: space.unlink(number, b"small"),
            lambda number=number: space.rmdir(number, b"d"),
            lambda number=number: space.rename(number, b"d", number, b"e"),
            lambda number=number: space.rename(1, b"d", number, b"e"),
            lambda number=number: space.rename(number, b"d", 1, b"e"),
            lambda number=number: space.setattr(number, Changes(mode=0o700), ROOT),
            lambda number=number: space.setxattr(number, b"user.a", b"", 0, ROOT),
            lambda number=number: space.removexattr(number, b"user.a", ROOT),
            lambda: space.link(file, here, b"x"),
            lambda: space.open(file, os.O_RDWR, ROOT),
            lambda: space.open(file, os.O_RDONLY | os.O_TRUNC, ROOT),
        ):
            with failing(errno.EROFS):
                act()


def test_a_view_in_use_holds_its_state(bench: Bench) -> None:
    state = kept(bench)
    assert not bench.volume.held(state.number)
    handle = bench.open_file(f"/.affs/checkpoints/{state.hex_id}/d/f", os.O_RDONLY)
    assert bench.volume.held(state.number)
    verbs.delete(bench.volume, state)
    bench.commit()
    verbs.reclaim_all(bench.volume)
    assert bench.names("/.affs/checkpoints") == []
    assert bench.run(bench.namespace.read, handle, 0, 1 << 20) == b"old" * 10_000
    number = bench.namespace.handle_of(handle).number
    bench.namespace.release(handle)
    for known in (number, 2 * VIEW + 1, 2 * VIEW | bench.find("/d").number):
        bench.namespace.forget(known)
    assert not bench.volume.held(state.number)
    with failing(errno.ESTALE):
        bench.namespace.getattr(number)
    verbs.reclaim_all(bench.volume)


def test_views_keep_their_numbers(bench: Bench) -> None:
    first = kept(bench)
    second = bench.checkpoint("second")
    numbers = [bench.find(f"/.affs/checkpoints/{state.hex_id}").number for state in (second, first)]
    assert numbers == [2 * VIEW + 1, 3 * VIEW + 1]
    for number in numbers:
        bench.namespace.forget(number)
    assert not bench.volume.held(first.number)
    assert bench.find(f"/.affs/checkpoints/{first.hex_id}").number == numbers[1]
    bench.namespace.views.close()
    assert not bench.volume.held(first.number)


def test_listing_states_holds_none(bench: Bench) -> None:
    states = [bench.checkpoint(f"s{index}") for index in range(8)]
    assert len(bench.names("/.affs/checkpoints")) == 16
    assert not any(bench.volume.held(state.number) for state in states)
    handle = bench.namespace.opendir(DOOR + 1, ROOT)
    listed = bench.run(bench.namespace.readdir, handle, 0, 100)
    verbs.delete(bench.volume, states[2])
    bench.commit()
    for name, _, cookie in listed[2:]:
        rest = [entry[0] for entry in bench.run(bench.namespace.readdir, handle, cookie, 100)]
        position = [entry[0] for entry in listed].index(name)
        gone = (states[2].hex_id.encode(), b"s2")
        assert rest == [entry[0] for entry in listed[position + 1 :] if entry[0] not in gone]
    bench.namespace.release(handle)


@pytest.mark.parametrize("name", [b"first", b"published"])
def test_links_are_no_directories(bench: Bench, name: bytes) -> None:
    kept(bench)
    bench.publish()
    parent = DOOR if name == b"published" else DOOR + 1
    number = bench.namespace.lookup(parent, name).number
    assert number >> 48 == DOOR_VIEW
    with failing(errno.ENOTDIR):
        bench.namespace.lookup(number, b"x")
    with failing(errno.ENOTDIR):
        bench.namespace.opendir(number, ROOT)
    with failing(errno.ELOOP):
        bench.namespace.open(number, os.O_RDONLY, ROOT)
    with failing(errno.EINVAL):
        bench.namespace.readlink(parent)
