"""Writing around the host's cache, where the host has such a way."""

import os
from pathlib import Path

import pytest

from affs_fuse.device import file as file_module
from affs_fuse.device.device import DirectDevice, Outcome
from affs_fuse.device.direct_writer import DirectWriter
from affs_fuse.device.file import FileDevice, open_device

SIZE = 1 << 20


@pytest.fixture
def device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FileDevice:
    """A file that is written with O_DIRECT, wherever this test runs."""
    (tmp_path / "file").write_bytes(bytes(SIZE))
    monkeypatch.setattr(file_module, "_filesystem_of", lambda descriptor: "ext4")
    return open_device(str(tmp_path / "file"))


def test_what_was_written_directly_reads_back(device: FileDevice) -> None:
    with device:
        assert isinstance(device, DirectDevice)
        assert device.write(0, [b"old" * 1000]).ok  # a copy in the host's cache, to be replaced
        buffer = device.borrow_buffer()
        if buffer is None:
            pytest.skip("this host has no O_DIRECT here")
        data = os.urandom(16384)
        buffer[: len(data)] = data
        assert device.write_direct(4096, buffer, len(data)).ok
        assert device.write_direct(0, buffer, 4096).ok
        device.give_buffer_back(buffer)
        assert device.borrow_buffer() is buffer, "the memory is kept"
        assert device.read(0, 4096)[0] == data[:4096]
        assert device.read(4096, len(data))[0] == data
        assert device.flush().ok
        past = device.write_direct(SIZE, buffer, 4096)
        assert past.outcome is Outcome.NO_SPACE
        buffer.close()


def test_a_host_that_promised_too_much_is_written_to_as_ever(
    device: FileDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    with device:
        buffer = device.borrow_buffer()
        if buffer is None:
            pytest.skip("this host has no O_DIRECT here")
        monkeypatch.setattr(DirectWriter, "write", lambda self, offset, buffer, length: None)
        buffer[:4096] = b"x" * 4096
        assert device.write_direct(8192, buffer, 4096).ok
        assert device.read(8192, 4096)[0] == b"x" * 4096
        device.give_buffer_back(buffer)
        assert device.borrow_buffer() is None
        buffer.close()


def test_files_that_the_host_keeps_in_memory_have_no_way_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(bytes(4096))
    monkeypatch.setattr(file_module, "_filesystem_of", lambda descriptor: "tmpfs")
    with open_device(str(tmp_path / "file")) as device:
        assert device.borrow_buffer() is None
    monkeypatch.undo()
    with open_device(str(tmp_path / "file"), read_only=True) as device:
        assert device.borrow_buffer() is None
