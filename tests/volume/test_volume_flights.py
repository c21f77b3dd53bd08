"""Data written ahead of its cut: what the device refuses is placed elsewhere; after the cut it is
the end of writing."""

import errno
import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import pytest
from faulty_device import FaultyDevice

from affs_fuse.clock import SYSTEM_CLOCK, system_entropy
from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.device.device import Buffer, Outcome, Result
from affs_fuse.device.direct_writer import BUFFER_BYTES
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Changes, Credentials, Namespace
from affs_fuse.volume import flights as flights_module
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.verify import verify_volume
from affs_fuse.volume.volume import Volume

ROOT = Credentials(0, 0)
MIB = 1 << 20


class BadSpots(FaultyDevice):
    """Refuses writes that touch one of `bad` (device offset, length)."""

    def __init__(self, inner: MemoryDevice) -> None:
        super().__init__(inner)
        self.bad: list[tuple[int, int]] = []

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        length = sum(len(buffer) for buffer in buffers)
        for start, size in self.bad:
            if offset < start + size and start < offset + length:
                return Result(Outcome.PERMANENT, 0, errno.EIO)
        return super().write(offset, buffers)


class DirectBadSpots(BadSpots):
    """Has a way around the host's cache."""

    def __init__(self, inner: MemoryDevice) -> None:
        super().__init__(inner)
        self.direct_bytes = 0

    def borrow_buffer(self) -> mmap.mmap | None:
        return mmap.mmap(-1, BUFFER_BYTES)

    def give_buffer_back(self, buffer: mmap.mmap) -> None:
        buffer.close()

    def write_direct(self, offset: int, buffer: mmap.mmap, length: int) -> Result:
        self.direct_bytes += length
        return self.write(offset, [buffer[:length]])


class Ground:
    """A volume on a device with bad spots, and its namespace with one open file."""

    def __init__(self, device: BadSpots) -> None:
        self.device = device
        self.volume = Volume.open("", OpenOptions(device=device))
        self.namespace = Namespace(self.volume)
        self.handle, made = self.run(self.namespace.create, 1, b"f", 0o644, 2, ROOT)
        self.number = made.number

    def run(self, function, *arguments):
        return self.volume.run(function, *arguments)

    def write(self, offset: int, data: bytes) -> None:
        self.run(self.namespace.write, self.handle, offset, data)

    def read(self, size: int) -> bytes:
        return bytes(self.run(self.namespace.read, self.handle, 0, size))

    def launch(self) -> None:
        while self.run(self.namespace.take_off, 1 << 30, 64):
            pass

    def execute(self) -> None:
        batch = self.volume.flights.take_batch()
        assert batch is not None
        batch.execute()
        self.volume.end_batch(batch)

    def land(self) -> None:
        while self.run(self.namespace.land, 64):
            pass

    def places(self) -> list[tuple[int, int]]:
        """(device offset, length) of what is aloft."""
        parts = self.namespace._context.data.placing._aloft.of(self.number)
        return [(w.offset, len(w.data)) for part in parts for w in part.flight.writes]

    def check(self) -> None:
        """Everything is durable, and the whole volume verifies."""
        self.volume.commit(self.namespace.flush_all)
        report = verify_volume(self.device.inner, data=True)
        assert report.clean, report.findings


@contextmanager
def ground(kind: type[BadSpots] = BadSpots) -> Iterator[Ground]:
    inner = MemoryDevice(64 * MIB)
    format_device(inner, MkfsOptions(), clock=SYSTEM_CLOCK, entropy=system_entropy)
    made = Ground(kind(inner))
    yield made
    made.volume.close()


def content(size: int, seed: int = 1) -> bytes:
    return b"".join((seed * 1_000_000 + at).to_bytes(8, "big") for at in range(size // 8))


@pytest.mark.parametrize("kind", [BadSpots, DirectBadSpots])
def test_what_the_device_refuses_is_placed_elsewhere(kind: type[BadSpots]) -> None:
    with ground(kind) as made:
        data = content(3 * MIB)
        for offset in range(0, len(data), MIB):
            made.write(offset, data[offset : offset + MIB])
        made.launch()
        refused = max(made.places(), key=lambda place: place[1])
        made.device.bad.append((refused[0] + 5 * BLOCK_SIZE, BLOCK_SIZE))
        made.execute()
        made.land()
        assert made.namespace.dirty_bytes == MIB, "the part that was refused waits on"
        assert not made.volume.read_only
        assert made.volume.space.quarantined_blocks == refused[1] // BLOCK_SIZE
        assert len(made.volume.flights.take_refusals()) == 1
        assert made.read(len(data)) == data
        made.launch()
        for again in made.places():
            assert again[0] + again[1] <= refused[0] or refused[0] + refused[1] <= again[0]
        made.execute()
        made.land()
        assert made.namespace.dirty_bytes == 0
        assert made.read(len(data)) == data
        made.check()
        assert not isinstance(made.device, DirectBadSpots) or made.device.direct_bytes > len(data)
        for _ in range(6):  # the bad place is not given out again, however long it has been free
            made.write(0, content(3 * MIB, seed=2))
            made.check()


def test_a_bad_place_that_a_cut_meets_ends_writing() -> None:
    with ground() as made:
        made.write(0, content(MIB))
        made.launch()
        made.device.bad += made.places()
        batch = made.volume.flights.take_batch()
        assert batch is not None
        made.namespace.flush_all()  # the cut's turn: the flight is adopted, its write not begun yet
        cut = made.volume.cut(made.namespace.flush_all)
        batch.execute()
        with pytest.raises(AffsError) as refused:
            cut.write()
        assert refused.value.code == "device.io"
        with pytest.raises(AffsError):
            made.volume.complete(cut, refused.value)
        assert made.volume.read_only


@pytest.mark.parametrize("begun", [False, True], ids=["not begun", "begun"])
def test_a_cut_that_the_host_has_no_room_for_is_written_again(begun: bool) -> None:
    """What was written ahead, what the cut writes itself, its nodes and its record."""
    with ground() as made:
        data = content(2 * MIB)
        made.write(0, data[:MIB])
        made.launch()
        batch = made.volume.flights.take_batch() if begun else None
        made.write(MIB, data[MIB:])
        cut = made.volume.cut(made.namespace.flush_all)
        made.device.fail_writes = errno.ENOSPC
        if batch is not None:
            batch.execute()
            made.volume.end_batch(batch)
        for _ in range(3):
            with pytest.raises(AffsError) as refused:
                cut.write()
            assert refused.value.code == "device.no_space"
        assert made.read(len(data)) == data, "from memory"
        made.device.fail_writes = 0
        cut.write()
        made.volume.complete(cut)
        assert not made.volume.read_only
        assert made.read(len(data)) == data
        made.check()


def test_a_host_without_room_costs_nothing_but_the_attempt() -> None:
    with ground() as made:
        data = content(2 * MIB)
        made.write(0, data)
        made.launch()
        made.device.fail_writes = errno.ENOSPC
        made.execute()
        with pytest.raises(AffsError) as full:
            made.land()
        assert full.value.code == "device.no_space"
        assert made.volume.space.quarantined_blocks == 0
        assert not made.volume.read_only
        made.device.fail_writes = 0
        made.launch()
        made.execute()
        made.land()
        assert made.namespace.dirty_bytes == 0
        assert made.read(len(data)) == data
        made.check()


def test_a_device_that_refuses_everything_is_not_tried_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(flights_module, "QUARANTINE_BLOCKS_MAX", 600)
    with ground() as made:
        made.write(0, content(MIB))
        made.device.fail_writes = errno.EIO
        for _ in range(10):
            made.launch()
            made.execute()
            with suppress(AffsError):
                made.land()
            if made.volume.read_only:
                break
        assert made.volume.read_only
        assert made.read(MIB) == content(MIB), "reading goes on"


@pytest.mark.parametrize("late", [False, True], ids=["before it is written", "after"])
def test_what_changes_while_it_is_aloft_is_written_again(late: bool) -> None:
    with ground() as made:
        data = bytearray(content(2 * MIB))
        made.write(0, bytes(data[:MIB]))
        made.write(MIB, bytes(data[MIB:]))
        made.launch()
        if late:
            made.execute()
        made.write(100, b"changed")
        data[100:107] = b"changed"
        if not late:
            made.execute()
        made.land()
        assert made.namespace.dirty_bytes == MIB
        assert made.read(len(data)) == data
        made.check()
        assert made.read(len(data)) == data


def test_truncation_and_removal_give_places_back() -> None:
    with ground() as made:
        made.write(0, content(2 * MIB))
        made.launch()
        used = made.volume.space.used_blocks
        made.run(made.namespace.setattr, made.number, Changes(size=4 * BLOCK_SIZE), ROOT)
        assert made.volume.space.used_blocks == used - 512
        assert made.volume.flights.take_batch() is None
        made.launch()
        assert made.volume.space.used_blocks == used - 508
        made.run(made.namespace.unlink, 1, b"f")
        made.run(made.namespace.release, made.handle)
        while made.namespace.removals_pending:
            made.run(made.namespace.remove_step)
        assert made.volume.flights.take_batch() is None
        assert made.volume.flights.bytes == 0
        made.check()
        assert made.volume.space.used_blocks < 64


def test_a_cut_adopts_what_is_aloft_in_every_stage() -> None:
    with ground() as made:
        data = content(4 * MIB)
        made.write(0, data[:MIB])
        made.launch()
        made.execute()  # written, not landed
        made.write(MIB, data[MIB : 2 * MIB])
        made.launch()
        begun = made.volume.flights.take_batch()  # a worker has it
        assert begun is not None
        made.write(2 * MIB, data[2 * MIB : 3 * MIB])
        made.launch()  # no worker has it
        made.write(3 * MIB, data[3 * MIB :])  # only buffered
        cut = made.volume.cut(made.namespace.flush_all)
        assert made.volume.flights.bytes == 0
        assert made.namespace.dirty_bytes == 0
        assert made.read(len(data)) == data
        begun.execute()
        made.volume.end_batch(begun)
        cut.write()
        made.volume.complete(cut)
        assert made.read(len(data)) == data
        made.check()
