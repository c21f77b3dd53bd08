"""An operation that misses something has changed nothing, and works when it is called again.

Every operation is run with no clean node in memory, on a committed tree: while it still misses
nodes or data blocks the tree must stay clean, nothing buffered, nothing reserved.
"""

import os
import stat

import pytest
from posix_harness import ALICE, ROOT, Bench
from test_posix_xattrs import LARGE, NAMED

from affs_fuse.core.tree import NodeMissing
from affs_fuse.posix import acl
from affs_fuse.posix.namespace import RENAME_EXCHANGE, Changes
from affs_fuse.posix.xattrs import ACL_ACCESS, ACL_DEFAULT, CAPABILITY
from affs_fuse.volume.missing import DataMissing

FILES = 400


class ColdBench(Bench):
    """run() as said above; misses: how often something was missing."""

    misses = 0

    def run(self, function, *args, **kwargs):
        self.commit_hot()
        self.volume.cache.drop_clean()
        space, volume = self.namespace, self.volume
        before = (volume.working.tree.root, space.statistics(), volume.statistics())
        while True:
            try:
                return function(*args, **kwargs)
            except (NodeMissing, DataMissing) as missing:
                self.misses += 1
                now = (volume.working.tree.root, space.statistics(), volume.statistics())
                assert now[0] is not None, "changed before the last look-up"
                assert now[:2] == before[:2]
                assert now[2].reserved_blocks == before[2].reserved_blocks
                assert now[2].used_blocks == before[2].used_blocks
                load = volume.begin_load(missing)
                load.execute()
                volume.end_load(load)

    def commit_hot(self) -> None:
        if self.volume.working.tree.root is None or self.namespace.dirty_bytes:
            self.volume.run(self.namespace.flush_all)
            self.volume.commit(self.namespace.flush_all)

    commit = commit_hot


@pytest.fixture
def cold() -> ColdBench:
    """A volume with a tree of several levels, so that every key has a path of its own."""
    warm = Bench(cache_bytes=64 << 20)
    folder = warm.mkdir("/many").number
    for index in range(FILES):
        made = warm.run(warm.namespace.mknod, folder, b"n" * 200 + b"%d" % index, 0o100644, 0, ROOT)
        warm.namespace.setxattr(made.number, b"user.fill", LARGE[:1000], 0, ROOT)
    for path in ("/a", "/b", "/b/c"):
        warm.mkdir(path)
    warm.write("/f", LARGE * 3)
    warm.write("/inline", b"tiny")
    for index in range(FILES):
        made = warm.run(warm.namespace.mknod, folder, b"m" * 200 + b"%d" % index, 0o100644, 0, ROOT)
        warm.namespace.setxattr(made.number, b"user.fill", LARGE[:1000], 0, ROOT)
    warm.commit()
    warm.volume.close()
    made = ColdBench.__new__(ColdBench)
    made.__dict__.update(warm.__dict__)
    made.cache_bytes = 1 << 20
    made.open()
    return made


def test_names(cold: ColdBench) -> None:
    space, many = cold.namespace, cold.find("/many").number
    cold.run(space.mkdir, many, b"new", 0o755, ROOT)
    cold.run(space.symlink, many, b"link", b"target", ROOT)
    cold.run(space.mknod, many, b"fifo", stat.S_IFIFO | 0o600, 0, ROOT)
    handle, made = cold.run(space.create, many, b"file", 0o644, os.O_RDWR, ROOT)
    cold.run(space.link, made.number, cold.find("/a").number, b"second")
    cold.run(space.rename, many, b"file", cold.find("/b").number, b"third", 0)
    cold.run(
        space.rename, cold.find("/b").number, b"third", many, b"n" * 200 + b"7", RENAME_EXCHANGE
    )
    cold.run(space.rename, cold.find("/b").number, b"c", cold.find("/a").number, b"d", 0)
    cold.run(space.rename, many, b"m" * 200 + b"9", many, b"n" * 200 + b"9", 0)
    cold.run(space.rename, many, b"new", 1, b"new", 0)
    cold.run(space.rmdir, 1, b"new")
    cold.run(space.unlink, many, b"link")
    cold.run(space.unlink, many, b"n" * 200 + b"7")
    cold.run(space.unlink, cold.find("/a").number, b"second")
    space.release(handle)
    assert len(cold.names("/many")) == 2 * FILES - 1
    assert cold.misses > 100
    cold.check()


def test_attributes(cold: ColdBench) -> None:
    space, number = cold.namespace, cold.find("/f").number
    cold.run(space.setattr, number, Changes(mode=0o4755, uid=5, atime_ns=7, mtime_ns=8), ALICE)
    cold.run(space.setxattr, number, ACL_ACCESS, acl.pack(NAMED), 0, ROOT)
    cold.run(space.setxattr, number, b"user.a", LARGE, 0, ROOT)
    assert cold.run(space.getxattr, number, b"user.a", ROOT) == LARGE
    cold.run(space.setxattr, number, b"user.a", b"small", 0, ROOT)
    cold.run(space.setxattr, number, CAPABILITY, b"c", 0, ROOT)
    cold.run(space.setattr, number, Changes(mode=0o700), ROOT)
    cold.run(space.setattr, number, Changes(uid=7), ROOT)
    cold.run(space.removexattr, number, b"user.a", ROOT)
    assert cold.run(space.listxattr, number, ROOT) == [ACL_ACCESS]
    folder = cold.find("/a").number
    cold.run(space.setxattr, folder, ACL_DEFAULT, acl.pack(NAMED), 0, ROOT)
    inner = cold.run(space.mkdir, folder, b"inner", 0o777, ROOT)
    assert len(cold.run(space.listxattr, inner.number, ROOT)) == 2
    cold.now += 10
    assert len(cold.names("/a")) == 1
    assert cold.misses > 50
    cold.check()


def test_data(cold: ColdBench) -> None:
    space = cold.namespace
    data = bytearray(LARGE * 3)
    handle = cold.open_file("/f")
    cold.run(space.setxattr, cold.find("/f").number, CAPABILITY, b"c", 0, ROOT)
    for offset, piece in (
        (0, b"a"),
        (5000, b"b" * 9000),
        (len(data) + 10_000, b"c"),
        (65_536, b"d"),
    ):
        cold.run(space.write, handle, offset, piece)
        data = data.ljust(offset, b"\0")
        data[offset : offset + len(piece)] = piece
        assert cold.run(space.read, handle, 0, len(data)) == data
    cold.run(space.setattr, cold.find("/f").number, Changes(size=70_001), ROOT, handle)
    assert cold.run(space.read, handle, 60_000, len(data)) == data[60_000:70_001]
    small = cold.open_file("/inline")
    cold.run(space.write, small, 2, b"!")
    cold.run(space.setattr, cold.find("/inline").number, Changes(size=9), ROOT)
    cold.run(space.write, small, 10_000, b"!")
    assert cold.run(space.read, small, 0, 20) == b"ti!y".ljust(20, b"\0")
    assert cold.run(space.read, small, 9990, 20) == bytes(10) + b"!"
    cold.run(space.setattr, cold.find("/inline").number, Changes(size=0), ROOT)
    for each in (handle, small):
        space.release(each)
    cold.unlink("/f")
    assert cold.misses > 50
    cold.check()


def test_flushing_a_file_whose_nodes_were_evicted(cold: ColdBench) -> None:
    """Each file is flushed or not; calling again goes on."""
    handles = []
    for index in range(20):
        path = "/many/" + "n" * 200 + str(index * 20)
        handle = cold.volume.run(
            cold.namespace.open, Bench.find(cold, path).number, os.O_RDWR, ROOT
        )
        handles.append(handle)
    cold.commit()
    for handle in handles:
        cold.volume.run(cold.namespace.write, handle, 0, LARGE)
    before = cold.namespace.dirty_bytes
    misses = 0
    while True:
        cold.volume.cache.drop_clean()
        try:
            cold.namespace.flush_all()
            break
        except NodeMissing as missing:
            misses += 1
            load = cold.volume.begin_load(missing)
            load.execute()
            cold.volume.end_load(load)
            if misses > 100:  # the evicting ends some time
                cold.volume.run(cold.namespace.flush_all)
                break
    assert before == 20 * 65_536
    assert cold.namespace.dirty_bytes == 0
    for handle in handles:
        cold.namespace.release(handle)
    assert cold.read("/many/" + "n" * 200 + "40") == LARGE
    cold.check()


def test_removing_and_opening(cold: ColdBench) -> None:
    space, many = cold.namespace, cold.find("/many").number
    for index in range(0, FILES, 20):
        cold.run(space.unlink, many, b"m" * 200 + b"%d" % index)
    while space.removals_pending:
        cold.run(space.remove_step)
    cold.run(space.load_orphans)
    assert space.statistics().orphans == 0
    for index in range(0, FILES, 20):
        with pytest.raises(FileNotFoundError):
            cold.run(space.lookup, many, b"m" * 200 + b"%d" % index)
    cold.check()


def test_dirty_nodes_that_fill_the_cache_let_operations_go_on() -> None:
    """Each of them needs several nodes that are not in memory; none may push out another's."""
    bench = Bench(cache_bytes=1 << 20)
    folder, space = bench.mkdir("/many").number, bench.namespace
    numbers = []
    for index in range(1500):
        made = bench.run(space.mknod, folder, b"%d" % index, 0o100644, 0, ROOT)
        bench.run(space.setxattr, made.number, b"user.fill", LARGE[:1500], 0, ROOT)
        numbers.append(made.number)
        if index % 300 == 299:
            bench.commit()
    for number in numbers[::7]:
        bench.run(space.setattr, number, Changes(mode=0o600), ROOT)
    figures = bench.volume.cache.statistics()
    assert figures.dirty_count * 16384 > figures.bytes_max
    for index in range(1, 1500, 9):
        bench.run(space.rename, folder, b"%d" % index, folder, b"moved%d" % index, 0)
    for number in numbers[3::50]:
        bench.run(space.setxattr, number, b"user.more", b"", 0, ROOT)
    assert bench.volume.cache.statistics().misses < figures.misses + 5000
    bench.check()
