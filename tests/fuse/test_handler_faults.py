"""No exception that a handler meets ends the loop, and with it the mount."""

import errno
import os
from pathlib import Path

import pytest
from mounted import Mounted

from affs_fuse.fuse.lookup_counts import LookupCounts
from affs_fuse.fuse.translate import errno_of
from affs_fuse.protocol import Event
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.volume import Volume


def test_unexpected_exceptions_become_eio(folder: Path) -> None:
    program = str(Path(__file__).with_name("faulty_daemon.py"))
    with Mounted(folder, program=(program,)) as mounted:
        mounted.allowed = ["in a way that should not happen", "a request could not be taken"]
        root = mounted.directory
        (root / "file").write_text("x")
        (root / "link").symlink_to("file")
        os.setxattr(root / "file", "user.a", b"1")
        for _ in range(3):
            with pytest.raises(OSError, match="error") as caught:
                os.readlink(root / "link")
            assert caught.value.errno == errno.EIO
            with pytest.raises(OSError, match="error") as caught:
                os.removexattr(root / "file", "user.a")
            assert caught.value.errno == errno.EIO
            with pytest.raises(OSError, match="memory") as caught:
                os.mkfifo(root / "fifo")
            assert caught.value.errno == errno.ENOMEM
            with open(root / "file", "r+b") as file:
                with pytest.raises(OSError, match="error") as caught:
                    os.lseek(file.fileno(), 0, os.SEEK_DATA)
                assert caught.value.errno == errno.EIO
                with pytest.raises(OSError, match="error") as caught:
                    os.pwrite(file.fileno(), b"planted: no room for this one", 0)
                assert caught.value.errno == errno.EIO
                assert os.pwrite(file.fileno(), b"x", 0) == 1
        (root / "file").unlink()
        Path("/proc/sys/vm/drop_caches").write_text("2")  # forgets come
        (root / "after").write_text("still here")
        assert (root / "after").read_text() == "still here"
        log = mounted.read_log()
        assert "readlink failed in a way that should not happen" in log
        assert "ZeroDivisionError" in log


def test_expected_failures_have_their_errno() -> None:
    assert errno_of(FileNotFoundError(errno.ENOENT, "x")) == errno.ENOENT
    assert errno_of(OSError("no number")) == errno.EIO
    assert errno_of(MemoryError()) == errno.ENOMEM
    assert errno_of(ValueError("x")) is None


def test_lookup_counts() -> None:
    counts = LookupCounts()
    assert 1 in counts
    counts.add(7)
    counts.add(7)
    counts.add(9)
    assert counts.forget([(7, 1), (9, 1)]) == [9]
    assert 7 in counts
    assert 9 not in counts
    assert counts.forget([(7, 5), (1, 1)]) == [7]
    assert 1 in counts
    assert counts.statistics().excess == 1


def write_number(path: Path) -> int:
    """Write a MiB; 0, or the errno with which that failed."""
    try:
        path.write_bytes(os.urandom(1 << 20))
    except OSError as error:
        return error.errno or errno.EIO
    return 0


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 0x40]))


def test_a_damaged_block_gives_eio_for_its_range_alone(folder: Path) -> None:
    content = os.urandom(64 * 4096)
    with Mounted(folder) as mounted:
        (mounted.directory / "file").write_bytes(content)
        (mounted.directory / "other").write_bytes(content)
        mounted.unmount()
        image = mounted.volume.read_bytes()
        place = image.index(content[20 * 4096 : 21 * 4096])
        flip(mounted.volume, place + 100)
        mounted.start()
        mounted.allowed = ["data_corrupt", "does not match its checksum"]
        with mounted.client() as client:
            watch = client.start("watch corruption --count 1")
            client.run("ping")  # the daemon has begun to watch
            descriptor = os.open(mounted.directory / "file", os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
                assert os.pread(descriptor, 20 * 4096, 0) == content[: 20 * 4096]
                assert os.pread(descriptor, 43 * 4096, 21 * 4096) == content[21 * 4096 :]
                with pytest.raises(OSError, match="error") as caught:
                    os.pread(descriptor, 4096, 20 * 4096)
                assert caught.value.errno == errno.EIO
            finally:
                os.close(descriptor)
            events = [part.event for part in watch.parts(20) if isinstance(part, Event)]
            (event,) = events
            assert event["code"] == "volume.data_corrupt"
            assert (event["path"], event["state"]) == ("/file", "working")
            details = event["details"]
            assert event["block"] == f"{details['segment']}:{details['block']}"
            assert details["object"] == (mounted.directory / "file").stat().st_ino
        assert (mounted.directory / "other").read_bytes() == content
        assert "path=/file" in mounted.read_log()


def test_damage_in_a_kept_state_is_told_with_its_name(folder: Path) -> None:
    content = os.urandom(4 * 4096)
    with Mounted(folder) as mounted:
        (mounted.directory / "deep").mkdir()
        (mounted.directory / "deep" / "file").write_bytes(content)
        mounted.affsctl("checkpoint", "-l", "before")
        (mounted.directory / "deep" / "file").write_bytes(b"something else")
        mounted.affsctl("commit")
        mounted.unmount()
        flip(mounted.volume, mounted.volume.read_bytes().index(content[:4096]))
        mounted.start()
        mounted.allowed = ["data_corrupt", "does not match its checksum"]
        with mounted.client() as client:
            watch = client.start("watch corruption --count 1")
            client.run("ping")
            with pytest.raises(OSError, match="error"):
                (mounted.directory / ".affs/checkpoints/before/deep/file").read_bytes()
            (event,) = [part.event for part in watch.parts(20) if isinstance(part, Event)]
        assert (event["path"], event["state"]) == ("/deep/file", "before")


def test_no_space_is_clean_and_deleting_works(folder: Path) -> None:
    make_volume(str(folder / "v.affs"), MkfsOptions(size_bytes=64 << 20))
    with Mounted(folder) as mounted:
        root = mounted.directory
        (root / "kept").write_bytes(b"k" * 100_000)
        mounted.affsctl("publish")
        written = 0
        while write_number(root / f"big{written}") == 0:
            written += 1
        assert write_number(root / "one more") == errno.ENOSPC
        assert written > 30
        os.sync()
        for number in range(written - 1):
            assert (root / f"big{number}").stat().st_size == 1 << 20
        statistics = os.statvfs(root)
        assert statistics.f_bavail * statistics.f_frsize < 4 << 20
        mounted.affsctl("commit")
        for number in range(10):
            (root / f"big{number}").unlink()
        (root / "again").write_bytes(b"a" * (4 << 20))
        mounted.affsctl("rollback", "--discard", "--yes")
        assert os.listdir(root) == ["kept"]
        assert (root / "kept").read_bytes() == b"k" * 100_000
        (root / "new").write_bytes(b"n" * (20 << 20))
        mounted.affsctl("commit")
        mounted.remount()
        assert (root / "new").read_bytes() == b"n" * (20 << 20)
    with Volume.open(str(folder / "v.affs")) as volume:
        assert not volume.report.notes
