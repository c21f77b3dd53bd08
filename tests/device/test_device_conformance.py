"""One suite over every device: memory, file, and a loop block device where there is one."""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from affs_fuse.device.device import Device, MediumDevice, Outcome, classify
from affs_fuse.device.file import FileDevice, open_device
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError

SIZE = 1 << 20


def make_file(path: Path, size: int = SIZE) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
    return path


@pytest.fixture(params=["memory", "file", "block"])
def device(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Device]:
    if request.param == "memory":
        yield MemoryDevice(SIZE)
        return
    path = make_file(tmp_path / "device")
    if request.param == "file":
        with open_device(str(path)) as opened:
            yield opened
        return
    if os.geteuid() != 0:
        pytest.skip("a loop device takes root")
    loop = subprocess.run(
        ["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        with open_device(loop) as opened:
            yield opened
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)


def test_reads_what_was_written(device: Device) -> None:
    assert device.size_bytes == SIZE
    result = device.write(4096, [b"a" * 4096, memoryview(b"b" * 100), bytearray(b"c" * 3996)])
    assert (result.outcome, result.bytes_done, result.errno) == (Outcome.OK, 8192, 0)
    assert device.flush().ok
    data, result = device.read(4096, 8192)
    assert result.ok
    assert data == b"a" * 4096 + b"b" * 100 + b"c" * 3996


def test_a_new_device_is_zero(device: Device) -> None:
    data, result = device.read(0, SIZE)
    assert result.bytes_done == SIZE
    assert not any(data)


def test_nothing_past_the_end(device: Device) -> None:
    assert device.read(SIZE - 10, 20)[1].outcome is Outcome.PERMANENT
    assert device.read(-1, 20)[1].outcome is Outcome.PERMANENT
    result = device.write(SIZE - 10, [bytes(20)])
    assert (result.outcome, result.bytes_done) == (Outcome.NO_SPACE, 0)
    assert device.try_read(SIZE, 1) is None


def test_try_read_gives_all_or_nothing(device: Device) -> None:
    device.write(0, [b"x" * 4096])
    assert device.try_read(0, 4096) in (None, b"x" * 4096)


def test_try_read_of_a_file_in_memory_always_has_it() -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("no tmpfs at /dev/shm")
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        file.truncate(SIZE)
        with open_device(file.name) as device:
            device.write(4096, [b"m" * 4096])
            assert device.try_read(4096, 4096) == b"m" * 4096


def test_allocate_keeps_contents(device: Device) -> None:
    device.write(8192, [b"kept"])
    assert device.allocate(0, 65536).ok
    assert device.read(8192, 4)[0] == b"kept"


def test_errnos_have_outcomes() -> None:
    assert classify(errno.ENOSPC) is Outcome.NO_SPACE
    assert classify(errno.EDQUOT) is Outcome.NO_SPACE
    assert classify(errno.EINTR) is Outcome.TRANSIENT
    assert classify(errno.EIO) is Outcome.PERMANENT
    assert classify(errno.EROFS) is Outcome.DENIED


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    path = str(make_file(tmp_path / "device"))
    with open_device(path), pytest.raises(AffsError) as caught:
        open_device(path)
    assert caught.value.code == "device.busy"
    with open_device(path):
        pass


def test_a_reader_needs_no_lock_and_cannot_write(tmp_path: Path) -> None:
    path = str(make_file(tmp_path / "device"))
    with open_device(path), open_device(path, read_only=True) as reader:
        assert reader.read_only
        assert reader.write(0, [b"x"]).outcome is Outcome.DENIED


def test_a_file_behind_a_loop_device_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("a loop device takes root")
    path = make_file(tmp_path / "device")
    loop = subprocess.run(
        ["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        with pytest.raises(AffsError) as caught:
            open_device(str(path))
        assert loop in caught.value.message
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)


def test_what_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(AffsError) as caught:
        open_device(str(tmp_path / "absent"))
    assert caught.value.code == "device.not_found"
    with pytest.raises(AffsError) as caught:
        open_device(str(tmp_path))
    assert caught.value.code == "device.unsuitable"


def test_a_file_that_shrinks_gives_a_partial_read(tmp_path: Path) -> None:
    path = make_file(tmp_path / "device")
    device = open_device(str(path))
    assert isinstance(device, FileDevice)
    os.truncate(path, 1000)
    data, result = device.read(0, 4096)
    assert (len(data), result.outcome, result.bytes_done) == (1000, Outcome.PARTIAL, 1000)
    device.close()


def test_the_medium_is_read_below_the_hosts_copy(tmp_path: Path) -> None:
    path = make_file(tmp_path / "device")
    with open_device(str(path)) as device:
        assert isinstance(device, MediumDevice)
        assert device.medium_path == ""
        content = os.urandom(SIZE)
        assert device.write(0, [content]).ok
        assert device.flush().ok
        data, result = device.read_medium(8192, 3 * 4096)
        assert (data, result.ok) == (content[8192:][: 3 * 4096], True)
        data, result = device.read_medium(0, SIZE)
        assert (data, result.bytes_done) == (content, SIZE)
        assert device.medium_path in ("direct", "dropped", "memory")
        data, result = device.read_medium(SIZE - 4096, 8192)
        assert result.outcome is Outcome.PERMANENT


def test_the_medium_of_a_memory_filesystem_is_memory() -> None:
    if not os.path.isdir("/dev/shm"):
        pytest.skip("no memory filesystem")
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = make_file(Path(folder) / "device")
        with open_device(str(path)) as device:
            device.write(0, [b"x" * 4096])
            assert device.read_medium(0, 4096)[0] == b"x" * 4096
            assert device.medium_path == "memory"


def test_going_around_the_hosts_copy_shows_what_the_medium_has(tmp_path: Path) -> None:
    """A loop device's own copy is old when its file is changed below it; reading around is not."""
    if os.geteuid() != 0:
        pytest.skip("a loop device takes root")
    path = make_file(tmp_path / "device")
    loop = subprocess.run(
        ["losetup", "--find", "--show", str(path)], capture_output=True, text=True, check=True
    ).stdout.strip()
    try:
        with open_device(loop) as device:
            device.write(4096, [b"a" * 4096])
            device.flush()
            assert device.read(4096, 4096)[0] == b"a" * 4096
            with path.open("r+b") as below:
                below.seek(4096)
                below.write(b"b" * 4096)
                os.fsync(below.fileno())
            assert device.read(4096, 4096)[0] == b"a" * 4096, "the host's copy"
            assert device.read_medium(4096, 4096)[0] == b"b" * 4096
    finally:
        subprocess.run(["losetup", "-d", loop], check=True)


@pytest.mark.parametrize("read_only", [True, False])
def test_a_fifo_is_refused_and_not_waited_for(tmp_path: Path, read_only: bool) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(AffsError) as caught:
        open_device(str(tmp_path / "fifo"), read_only=read_only)
    assert caught.value.code == "device.unsuitable"
