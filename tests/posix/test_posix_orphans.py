"""Objects without names: kept while somebody uses them, also over commit and crash, then gone."""

import errno
import os
import random

from posix_harness import ROOT, Bench
from test_posix_names import failing

from affs_fuse.core.constants import ITEM_ORPHAN, OBJECT_ORPHANS
from affs_fuse.posix.namespace import Changes

MIB = 1 << 20


def orphans(bench: Bench) -> list[int]:
    tree = bench.volume.working.tree
    return [number for _, kind, number, _ in tree.iterate(
        (OBJECT_ORPHANS, 0, 0), (OBJECT_ORPHANS + 1, 0, 0)) if kind == ITEM_ORPHAN]  # fmt: skip


def test_an_open_file_without_name_lives_on(bench: Bench) -> None:
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    number, space = bench.find("/f").number, bench.namespace
    space.write(handle, 0, b"a" * 10_000)
    bench.now += 5
    bench.unlink("/f")
    with failing(errno.ENOENT):
        bench.find("/f")
    inode = space.getattr(number).inode
    assert (inode.nlink, inode.ctime_ns) == (0, bench.now)
    bench.commit()
    assert orphans(bench) == [number]
    bench.run(space.write, handle, 5000, b"b" * 10_000)
    assert bench.run(space.read, handle, 0, 99_999) == b"a" * 5000 + b"b" * 10_000
    bench.run(space.setattr, number, Changes(size=6000), ROOT, handle)
    bench.commit()
    assert bench.run(space.read, handle, 4999, 10_000) == b"a" + b"b" * 1000
    space.release(handle)
    assert orphans(bench) == []
    with failing(errno.ESTALE):
        space.getattr(number)
    assert bench.volume.working.object_count == 1


def test_what_the_kernel_knows_stays_until_it_forgets(bench: Bench) -> None:
    number, space = bench.write("/f", b"x"), bench.namespace
    bench.known.add(number)
    bench.unlink("/f")
    assert space.getattr(number).inode.nlink == 0
    handle = space.open(number, os.O_RDONLY, ROOT)
    bench.known.discard(number)
    space.forget(number)
    assert space.read(handle, 0, 10) == b"x", "a handle is open"
    space.release(handle)
    with failing(errno.ESTALE):
        space.getattr(number)
    folder = bench.mkdir("/d").number
    bench.known.add(folder)
    space.rmdir(1, b"d")
    assert space.getattr(folder).inode.nlink == 0
    bench.known.discard(folder)
    space.forget(folder)
    with failing(errno.ESTALE):
        space.getattr(folder)
    space.forget(12345)


def test_a_crash_leaves_none(bench: Bench) -> None:
    bench.write("/keep", b"k")
    handles = []
    for index in range(20):
        handles.append(bench.open_file(f"/f{index}", os.O_RDWR | os.O_CREAT))
        bench.namespace.write(handles[-1], 0, bytes([index]) * 20_000)
    bench.commit()
    before = bench.used_blocks()
    for index in range(20):
        bench.unlink(f"/f{index}")
    bench.commit()
    assert len(orphans(bench)) == 20
    assert bench.used_blocks() >= before - 8, "nothing but nodes came back yet"
    bench.open()
    assert bench.namespace.removals_pending
    bench.finish_removals()
    bench.commit()
    assert orphans(bench) == []
    assert bench.used_blocks() <= before - 100
    assert bench.volume.working.object_count == 2
    assert bench.names() == [b"keep"]


def test_large_files_go_in_steps(bench: Bench) -> None:
    """Also across a commit and a crash in between."""
    handle = bench.open_file("/big", os.O_RDWR | os.O_CREAT)
    for index in range(3000):
        bench.run(bench.namespace.write, handle, index * 8192, b"x" * 4096)
    bench.commit()
    bench.namespace.release(handle)
    used = bench.used_blocks()
    number = bench.find("/big").number
    bench.unlink("/big")
    assert bench.namespace.removals_pending
    bench.commit()
    assert bench.used_blocks() > used - 2900, "one step only"
    bench.run(bench.namespace.remove_step)
    left = bench.run(bench.namespace.getattr, number).inode.blocks
    assert 0 < left < 2900
    bench.commit()
    bench.verify()
    bench.open()
    steps = 0
    while bench.namespace.removals_pending:
        bench.run(bench.namespace.remove_step)
        steps += 1
    assert steps >= 2
    bench.commit()
    assert bench.used_blocks() <= used - 3000


def test_buffered_data_of_what_goes_is_dropped(bench: Bench) -> None:
    bench.commit()
    used = bench.used_blocks()
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    bench.namespace.write(handle, 0, random.Random(1).randbytes(MIB))
    bench.namespace.setxattr(bench.find("/f").number, b"user.large", bytes(50_000), 0, ROOT)
    bench.unlink("/f")
    bench.namespace.release(handle)
    assert bench.namespace.dirty_bytes == 0
    bench.commit()
    assert bench.used_blocks() == used


def test_statistics(bench: Bench) -> None:
    handle = bench.open_file("/f", os.O_RDWR | os.O_CREAT)
    bench.namespace.write(handle, 0, b"x" * 5000)
    bench.unlink("/f")
    figures = bench.namespace.statistics()
    assert (figures.handles, figures.open_objects, figures.orphans) == (1, 1, 1)
    assert (figures.buffered_files, figures.dirty_bytes) == (1, 8192)
    bench.namespace.release(handle)
