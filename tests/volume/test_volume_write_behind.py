"""Streams are written out early; what that finds out is not lost."""

import errno
import os
from pathlib import Path

import pytest

from affs_fuse.core.constants import BLOCK_SIZE, INTENT_LARGE
from affs_fuse.device.device import Buffer, Outcome, Result
from affs_fuse.device.file import FileDevice, open_device
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.volume.missing import BlockRead
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.write_behind import RUN_BYTES_MIN, WINDOW_BYTES, WriteBehind


class Spy(MemoryDevice):
    """A memory device that notes what it is told, and may fail."""

    def __init__(self) -> None:
        super().__init__(1 << 20)
        self.begun: list[tuple[int, int]] = []
        self.ended: list[tuple[int, int]] = []
        self.failure = Result(Outcome.OK)

    def begin_write_out(self, offset: int, length: int) -> Result:
        self.begun.append((offset, length))
        return Result(Outcome.OK)

    def end_write_out(self, offset: int, length: int) -> Result:
        self.ended.append((offset, length))
        return self.failure


def run(offset: int, length: int) -> tuple[int, Buffer]:
    return offset, bytes(length)


def test_neighbours_make_a_run_and_short_ones_are_left_alone() -> None:
    spy = Spy()
    behind = WriteBehind(spy)
    half = RUN_BYTES_MIN // 2
    behind.follow([run(half, half), run(0, half), run(10 * half, half)])
    assert spy.begun == [(0, RUN_BYTES_MIN)]
    assert spy.ended == []


def test_the_oldest_run_is_let_go_when_the_window_is_full() -> None:
    spy = Spy()
    behind = WriteBehind(spy)
    piece = 8 << 20
    for number in range(5):
        behind.follow([run(number * 2 * piece, piece)])
    assert len(spy.begun) == 5
    assert spy.ended == spy.begun[: 5 - WINDOW_BYTES // piece]


def test_a_failed_write_out_is_an_error() -> None:
    spy = Spy()
    behind = WriteBehind(spy)
    spy.failure = Result(Outcome.PERMANENT, 0, errno.EIO, 1)
    behind.follow([run(0, WINDOW_BYTES)])
    with pytest.raises(AffsError, match="writing out") as caught:
        behind.follow([run(WINDOW_BYTES * 2, RUN_BYTES_MIN)])
    assert caught.value.code == "device.io"


def test_a_device_that_cannot_is_left_alone() -> None:
    WriteBehind(MemoryDevice(1 << 20)).follow([run(0, 64 << 20)])


def test_files_can(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(1 << 20))
    with open_device(str(path)) as device:
        assert device.begin_write_out(0, 1 << 20).ok
        assert device.end_write_out(0, 1 << 20).ok
    assert not device.end_write_out(0, 4096).ok  # closed


def test_what_was_streamed_reads_back(tmp_path: Path) -> None:
    path = str(tmp_path / "v")
    make_volume(path, MkfsOptions(size_bytes=128 << 20))
    data = os.urandom(8 << 20)
    with Volume.open(path) as volume:
        placed = []
        for _ in range(5):
            volume.reserve_data(len(data) // BLOCK_SIZE)
            placed.append(volume.store(data, INTENT_LARGE))
            batch = volume.take_batch()
            assert batch is not None
            batch.execute()
            volume.end_batch(batch)
        volume.commit()
        for runs in placed:
            reads = [BlockRead(piece.address, piece.blocks, piece.checksums) for piece in runs]
            assert b"".join(volume.read(reads)) == data


def test_a_failed_write_out_makes_the_volume_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "v")
    make_volume(path, MkfsOptions(size_bytes=128 << 20))
    with Volume.open(path, OpenOptions()) as volume:
        monkeypatch.setattr(
            FileDevice, "begin_write_out",
            lambda self, offset, length: Result(Outcome.PERMANENT, 0, errno.EIO, 1),
        )
        volume.reserve_data(2048)
        volume.store(bytes(8 << 20), INTENT_LARGE)
        batch = volume.take_batch()
        assert batch is not None
        batch.execute()
        with pytest.raises(AffsError, match="writing out"):
            volume.end_batch(batch)
        assert volume.read_only
