"""Where things lie on a backend (docs/specs/DiskLayout.md, "Geometry" and "Addresses").

The only place that computes device offsets. Two header regions of 1 MiB each (superblock, owner
block, commit ring) lie at fixed offsets; all else is places for segments, in equal power-of-two
units.
"""

from dataclasses import dataclass

from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    NODE_BLOCKS,
    OWNER_OFFSET,
    REGION_SECOND_OFFSET,
    REGION_SIZE,
    RING_OFFSET,
    RING_SLOTS,
    SUPERBLOCK_OFFSET,
    VOLUME_SIZE_MIN,
)
from affs_fuse.errors import AffsError, Category

__all__ = [
    "REGIONS",
    "SEGMENTS_AT_MKFS_MAX",
    "SEGMENTS_MAX",
    "SEGMENT_SHIFT_MAX",
    "SEGMENT_SHIFT_MIN",
    "Geometry",
    "block_of",
    "choose_segment_shift",
    "logical",
    "owner_offset",
    "physical",
    "physical_block",
    "ring_offset",
    "segment_of",
    "superblock_offset",
]

REGIONS = (0, REGION_SECOND_OFFSET)
"""Byte offsets of the two header regions."""

SEGMENT_SHIFT_MIN, SEGMENT_SHIFT_MAX = 18, 30
SEGMENT_SHIFT_DEFAULT = 24
SEGMENTS_WANTED_MIN = 64
SEGMENTS_AT_MKFS_MAX = 1 << 18
SEGMENTS_MAX = 1 << 22

_FIRST_AREA_SIZE = REGION_SECOND_OFFSET - REGION_SIZE
_SECOND_AREA_OFFSET = REGION_SECOND_OFFSET + REGION_SIZE


@dataclass(frozen=True, slots=True)
class Geometry:
    """Sizes of one backend. segment_shift: log2 of a segment's bytes."""

    segment_shift: int
    device_blocks: int

    @property
    def segment_size(self) -> int:
        """Bytes."""
        return 1 << self.segment_shift

    @property
    def segment_blocks(self) -> int:
        return 1 << (self.segment_shift - BLOCK_SHIFT)

    @property
    def nodes_per_segment(self) -> int:
        """Tree nodes that fit behind the segment header, aligned to their own size."""
        return self.segment_blocks // NODE_BLOCKS - 1

    @property
    def first_area_places(self) -> int:
        return _FIRST_AREA_SIZE >> self.segment_shift

    @property
    def place_count(self) -> int:
        rest = self.device_blocks * BLOCK_SIZE - _SECOND_AREA_OFFSET
        return self.first_area_places + max(0, rest >> self.segment_shift)

    def place_offset(self, place: int) -> int:
        """Byte offset of a place on its backend."""
        first = self.first_area_places
        if place < first:
            return REGION_SIZE + (place << self.segment_shift)
        return _SECOND_AREA_OFFSET + ((place - first) << self.segment_shift)

    def place_block(self, place: int) -> int:
        return self.place_offset(place) >> BLOCK_SHIFT

    def place_of_block(self, block: int) -> int:
        """The place that holds a device block; -1 for blocks of the header regions."""
        offset = block << BLOCK_SHIFT
        if REGION_SIZE <= offset < REGION_SECOND_OFFSET:
            place = (offset - REGION_SIZE) >> self.segment_shift
            return place if place < self.first_area_places else -1
        if offset >= _SECOND_AREA_OFFSET:
            return self.first_area_places + ((offset - _SECOND_AREA_OFFSET) >> self.segment_shift)
        return -1


def choose_segment_shift(size_bytes: int, size_max_bytes: int) -> int:
    """16 MiB segments, smaller for small volumes (64 segments or more), larger for huge ones."""
    shift = SEGMENT_SHIFT_DEFAULT
    while shift > SEGMENT_SHIFT_MIN and size_bytes >> shift < SEGMENTS_WANTED_MIN:
        shift -= 1
    while shift < SEGMENT_SHIFT_MAX and size_max_bytes >> shift > SEGMENTS_AT_MKFS_MAX:
        shift += 1
    return shift


def check_size(size_bytes: int) -> None:
    if size_bytes < VOLUME_SIZE_MIN:
        raise AffsError(
            "volume.too_small",
            Category.INVALID,
            f"a volume takes at least {VOLUME_SIZE_MIN >> 20} MiB, this is {size_bytes} bytes",
        )


def superblock_offset(region: int) -> int:
    return REGIONS[region] + SUPERBLOCK_OFFSET


def owner_offset(region: int) -> int:
    return REGIONS[region] + OWNER_OFFSET


def ring_offset(region: int, seq: int) -> int:
    """Byte offset of the ring slot that the commit record of `seq` goes to."""
    return REGIONS[region] + RING_OFFSET + (seq % RING_SLOTS) * BLOCK_SIZE


def logical(segment: int, block: int) -> int:
    """Address of a block by its segment: what pointers of the namespace and extents hold."""
    return segment << 32 | block


def segment_of(address: int) -> int:
    return address >> 32


def block_of(address: int) -> int:
    return address & 0xFFFFFFFF


def physical(backend: int, block: int) -> int:
    """Address of a block on a backend: what pointers to and inside the system trees hold."""
    return backend << 48 | block


def physical_block(address: int) -> int:
    return address & ((1 << 48) - 1)
