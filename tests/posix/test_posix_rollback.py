"""What a rollback does to handles, buffers, orphans and generations."""

import errno
import os

import pytest
from posix_harness import ROOT, Bench
from test_posix_names import failing

from affs_fuse.posix.namespace import Changes
from affs_fuse.volume import verbs


def test_handles_go_on_where_the_object_exists(bench: Bench) -> None:
    bench.write("/stays", b"target" * 1000)
    target = bench.publish()
    stays = bench.open_file("/stays")
    goes = bench.open_file("/goes", os.O_RDWR | os.O_CREAT)
    folder = bench.namespace.opendir(bench.mkdir("/d").number, ROOT)
    bench.run(bench.namespace.write, stays, 0, b"changed")
    bench.namespace.write(goes, 0, b"new")
    bench.commit()
    bench.rollback(target)
    assert bench.run(bench.namespace.read, stays, 0, 12) == b"targettarget"
    bench.run(bench.namespace.write, stays, 0, b"go on")
    assert bench.read("/stays", 0, 12) == b"go onttarget"
    space, number = bench.namespace, bench.namespace.handle_of(goes).number
    for act in (
        lambda: space.read(goes, 0, 1),
        lambda: space.write(goes, 0, b"x"),
        lambda: space.readdir(folder, 0),
        lambda: space.getattr(number),
        lambda: space.setattr(number, Changes(size=0), ROOT, goes),
    ):
        with failing(errno.ESTALE):
            act()
    for handle in (stays, goes, folder):
        space.release(handle)
    assert bench.names() == [b"stays"]


def test_buffers_belong_to_the_state_they_were_written_to(bench: Bench) -> None:
    bench.write("/f", b"old")
    target = bench.publish()
    bench.write("/f", b"newer" * 1000)
    assert bench.namespace.dirty_bytes
    bench.rollback(target)
    assert bench.read("/f") == b"old"
    undo = bench.volume.states.listed()[-1]
    bench.rollback(undo)
    assert bench.read("/f") == b"newer" * 1000


def test_writes_are_diverted_to_the_abandoned_state(bench: Bench) -> None:
    """semantics.md, "Rollback on a live mount", (b) to (d) and (f)."""
    number = bench.write("/f", b"old" * 5000)
    other = bench.write("/other", b"other")
    target = bench.publish()
    bench.write("/f", b"A" * 100, 20_000)
    space, volume = bench.namespace, bench.volume
    writer, second = bench.open_file("/f"), bench.open_file("/other")
    abandoned = volume.begin_rollback(target)
    space.switch(volume.working)
    space.divert(abandoned, {number})
    bench.run(space.write, writer, 4096, b"late" * 1024)
    bench.run(space.write, second, 0, b"mine")
    assert bench.read("/f") == b"old" * 5000, "reads show the target"
    assert bench.read("/other") == b"miner"
    bench.write_ahead()
    assert space.dirty_bytes == 0
    bench.run(space.write, writer, 0, b"late")
    space.stop_diverting()
    bench.run(space.write, writer, 0, b"now")
    bench.run(space.flush_all)
    volume.commit(space.flush_all, verbs.seal_request(volume, abandoned, "", discard=False))
    assert bench.read("/f") == b"now" + (b"old" * 5000)[3:]
    space.release(writer)
    space.release(second)
    bench.rollback(volume.states.listed()[-1])
    expected = bytearray((b"old" * 5000).ljust(20_000, b"\0") + b"A" * 100)
    expected[4096:8192] = b"late" * 1024
    expected[:4] = b"late"
    assert bench.read("/f") == expected
    assert bench.find("/other").number == other
    assert bench.read("/other") == b"other"


def test_appends_at_the_old_end_after_a_rollback(bench: Bench) -> None:
    """The kernel takes the file to be as long as it was."""
    bench.write("/log", b"0123456789")
    target = bench.publish()
    handle = bench.open_file("/log", os.O_WRONLY | os.O_APPEND)
    bench.namespace.write(handle, 10, b"abcdef")
    bench.rollback(target)
    bench.run(bench.namespace.write, handle, 16, b"NEW")
    bench.run(bench.namespace.write, handle, 19, b"ER")
    assert bench.read("/log") == b"0123456789NEWER"
    bench.namespace.release(handle)
    shorter = bench.checkpoint()
    bench.change("/log", size=0)
    handle = bench.open_file("/log", os.O_WRONLY | os.O_APPEND)
    bench.rollback(shorter)
    bench.run(bench.namespace.write, handle, 0, b"!")
    assert bench.read("/log") == b"0123456789NEWER!"
    bench.namespace.release(handle)


def test_orphans_of_the_target(bench: Bench) -> None:
    """Open without a name when the target was kept: it goes, unless a handle is open on it now."""
    kept = bench.open_file("/kept", os.O_RDWR | os.O_CREAT)
    gone = bench.open_file("/gone", os.O_RDWR | os.O_CREAT)
    for handle in (kept, gone):
        bench.namespace.write(handle, 0, b"x" * 9000)
    bench.unlink("/kept")
    bench.unlink("/gone")
    target = bench.publish()
    bench.namespace.release(gone)
    bench.write("/f", b"y")
    bench.rollback(target)
    assert bench.namespace.statistics().orphans == 2
    bench.finish_removals()
    assert bench.namespace.statistics().orphans == 1
    assert bench.run(bench.namespace.read, kept, 0, 99_999) == b"x" * 9000
    bench.namespace.release(kept)
    assert bench.volume.working.object_count == 1


def test_generations_are_renewed(bench: Bench) -> None:
    folder = bench.mkdir("/d")
    assert folder.inode.generation == 1
    bench.namespace.renew_generations([folder.number])
    bench.namespace.renew_generations([folder.number])
    assert bench.find("/d").inode.generation == 3
    assert bench.namespace.getattr(folder.number).inode.generation == 3
    assert bench.change("/d", mode=0o700).inode.generation == 3
    bench.now += 10
    assert bench.names("/d") == []
    bench.commit()
    bench.open()
    assert bench.find("/d").inode.generation == 1, "it counts for one mount only"


def test_one_rollback_at_a_time(bench: Bench) -> None:
    target = bench.publish()
    bench.write("/f", b"x")
    abandoned = bench.volume.begin_rollback(target)
    bench.namespace.switch(bench.volume.working)
    with pytest.raises(AssertionError):
        bench.namespace.switch(bench.volume.working)
    bench.run(bench.namespace.flush_all)
    request = verbs.seal_request(bench.volume, abandoned, "", discard=True)
    bench.volume.commit(bench.namespace.flush_all, request)
    bench.run(bench.namespace.load_orphans)
    assert bench.names() == []
