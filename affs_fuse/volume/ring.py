"""The commit ring: reading what is there, writing a record to both rings.

docs/specs/DiskLayout.md, "Commit ring". The record of commit `seq` goes to slot seq % 64 of both
rings.
"""

from dataclasses import dataclass
from functools import cache

from affs_fuse.core.codec import Commit, verify_commit
from affs_fuse.core.constants import BLOCK_SIZE, RING_SLOTS
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device, device_error
from affs_fuse.volume import layout

__all__ = ["RingReading", "Slot", "read_ring", "read_slot", "write_record"]

_EMPTY = bytes(BLOCK_SIZE)


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot of one ring as found. record is None with a reason: "empty", "checksum",
    "unreadable" ...
    """

    region: int
    index: int
    record: Commit | None
    reason: str
    image: bytes


@dataclass(frozen=True, slots=True)
class RingReading:
    """Both rings. records: the valid ones by seq, newest first, one for each distinct image."""

    slots: tuple[Slot, ...]

    @property
    def records(self) -> list[Commit]:
        found: dict[bytes, Commit] = {}
        for slot in self.slots:
            if slot.record is not None:
                found.setdefault(slot.image, slot.record)
        return sorted(found.values(), key=lambda record: -record.seq)

    @property
    def unreadable(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.reason == "unreadable"]

    @property
    def damaged(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.record is None and slot.reason != "empty"]


def read_ring(device: Device, uuid: bytes) -> RingReading:
    """Every slot of both rings. Never raises for what it finds; the slots say it.

    A ring is read as a whole; slot by slot only where that fails, to lose no more than what cannot
    be read."""
    slots: list[Slot] = []
    for region in range(len(layout.REGIONS)):
        images, result = device.read(layout.ring_offset(region, 0), RING_SLOTS * BLOCK_SIZE)
        for index in range(RING_SLOTS):
            if not result.ok:
                slots.append(read_slot(device, uuid, region, index))
                continue
            image = images[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
            slots.append(_judged(image, uuid, region, index))
    return RingReading(tuple(slots))


def read_slot(device: Device, uuid: bytes, region: int, index: int) -> Slot:
    image, result = device.read(layout.ring_offset(region, index), BLOCK_SIZE)
    if not result.ok:
        return Slot(region, index, None, "unreadable", b"")
    return _judged(image, uuid, region, index)


def _judged(image: bytes, uuid: bytes, region: int, index: int) -> Slot:
    if image == _EMPTY:
        return _empty(region, index)
    try:
        verify_commit(image, uuid)
    except StructureError as error:
        return Slot(region, index, None, error.reason, image)
    record = Commit.unpack(image)
    if record.seq % RING_SLOTS != index:
        return Slot(region, index, None, "identity", image)
    return Slot(region, index, record, "", image)


@cache
def _empty(region: int, index: int) -> Slot:
    """Most slots of a young volume."""
    return Slot(region, index, None, "empty", _EMPTY)


def write_record(device: Device, seq: int, image: bytes) -> None:
    """Put one record into its slot of both rings; no barrier. Errors: device.io,
    device.no_space.
    """
    for region in range(len(layout.REGIONS)):
        offset = layout.ring_offset(region, seq)
        result = device.write(offset, [image])
        if not result.ok:
            raise device_error("writing a commit record of", device.identity, offset, result)


def erase_record(device: Device, seq: int) -> None:
    """Empty the slot of `seq` in both rings; no barrier. Errors: device.io."""
    write_record(device, seq, bytes(BLOCK_SIZE))
