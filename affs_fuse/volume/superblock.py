"""The two superblock copies: reading the better one, writing both in order.

docs/specs/DiskLayout.md, "Superblock". Updated copy 1, barrier, copy 2, barrier, so at every
moment one of them is whole.
"""

from dataclasses import dataclass

from affs_fuse.core.codec import Superblock, verify_superblock
from affs_fuse.core.constants import BLOCK_SIZE, VERSION
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device, device_error
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout
from affs_fuse.volume.barrier import Barrier
from affs_fuse.volume.layout import Geometry

__all__ = [
    "FEATURES_INCOMPATIBLE_KNOWN",
    "FEATURES_READONLY_KNOWN",
    "SuperblockReading",
    "check_features",
    "geometry_of",
    "read_superblock",
    "read_superblock_copies",
    "write_superblock",
]

FEATURES_INCOMPATIBLE_KNOWN = 0
FEATURES_READONLY_KNOWN = 0


@dataclass(frozen=True, slots=True)
class SuperblockReading:
    """One copy as found: its superblock, or the reason why it is none."""

    region: int
    superblock: Superblock | None
    reason: str


def read_superblock_copies(device: Device) -> list[SuperblockReading]:
    """Both copies; reason is "" for a good one, else "magic", "checksum", "unreadable" ..."""
    return [_read_copy(device, region) for region in range(len(layout.REGIONS))]


def read_superblock(device: Device) -> Superblock:
    """The good copy with the higher update counter.

    Errors: volume.not_affs (no magic anywhere), volume.version, volume.superblock_damaged,
    volume.truncated (the device is shorter than the superblock says).
    """
    readings = read_superblock_copies(device)
    good = [reading.superblock for reading in readings if reading.superblock is not None]
    if not good:
        raise _no_superblock(device, readings)
    best = max(good, key=lambda superblock: superblock.update_counter)
    if device.size_bytes < best.device_blocks * BLOCK_SIZE:
        raise AffsError(
            "volume.truncated",
            Category.CORRUPT,
            f"{device.identity.path} has {device.size_bytes} bytes, its superblock says"
            f" {best.device_blocks * BLOCK_SIZE}",
            hint="the file or device was cut short; restore it from a copy",
        )
    return best


def check_features(superblock: Superblock, *, writable: bool) -> None:
    """Refuse what a newer version has written and this one must not touch."""
    unknown = superblock.features_incompatible & ~FEATURES_INCOMPATIBLE_KNOWN
    if unknown:
        raise _feature_error(unknown, "open")
    unknown = superblock.features_readonly & ~FEATURES_READONLY_KNOWN
    if unknown and writable:
        raise _feature_error(unknown, "write")


def write_superblock(device: Device, barrier: Barrier, superblock: Superblock) -> None:
    """Both copies, a barrier after each. Errors: device.io; the barrier's."""
    block = superblock.pack()
    for region in range(len(layout.REGIONS)):
        offset = layout.superblock_offset(region)
        result = device.write(offset, [block])
        if not result.ok:
            raise device_error("writing the superblock of", device.identity, offset, result)
        barrier.flush()


def geometry_of(superblock: Superblock) -> Geometry:
    return Geometry(superblock.segment_shift, superblock.device_blocks)


def _read_copy(device: Device, region: int) -> SuperblockReading:
    offset = layout.superblock_offset(region)
    if offset + BLOCK_SIZE > device.size_bytes:
        return SuperblockReading(region, None, "past the end of the device")
    block, result = device.read(offset, BLOCK_SIZE)
    if not result.ok:
        return SuperblockReading(region, None, "unreadable")
    try:
        verify_superblock(block)
    except StructureError as error:
        return SuperblockReading(region, None, error.reason)
    return SuperblockReading(region, Superblock.unpack(block), "")


def _no_superblock(device: Device, readings: list[SuperblockReading]) -> AffsError:
    path = device.identity.path
    reasons = {reading.reason for reading in readings}
    found = ", ".join(
        f"copy {reading.region + 1}: {reading.reason}" for reading in readings if reading.reason
    )
    if "version" in reasons:
        return AffsError(
            "volume.version",
            Category.UNSUPPORTED,
            f"{path} was made by a newer AfFS; this one reads format version {VERSION}",
            hint="use the version that made it, or a newer one",
        )
    if reasons <= {"magic", "past the end of the device"}:
        return AffsError(
            "volume.not_affs",
            Category.INVALID,
            f"{path} holds no AfFS volume",
            hint="check the path; if it was one, fsck.affs --rebuild -n says what is left of it",
        )
    return AffsError(
        "volume.superblock_damaged",
        Category.CORRUPT,
        f"both superblocks of {path} are damaged ({found})",
        hint="fsck.affs --rebuild recovers what is left into a new volume",
    )


def _feature_error(bits: int, what: str) -> AffsError:
    return AffsError(
        "volume.feature",
        Category.UNSUPPORTED,
        f"the volume uses features that this version cannot {what} (bits {bits:#x})",
        hint="use a newer version of AfFS" + (", or mount it read-only" if what == "write" else ""),
    )
