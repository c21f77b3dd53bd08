"""Reading a whole device for structures that describe themselves (docs/internals/rebuild.md).

Nothing is believed but what verifies by itself: frame, checksum, every field of every item. Whose
it is (which format UUID and salt) is not judged here: structures are sorted into families. A block
that cannot be read is noted and passed over. Memory: some 300 bytes for each node found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from affs_fuse.core.codec import (
    Commit,
    Entry,
    NodeHeader,
    SegmentHeader,
    Slot,
    frame_checksum,
    verify_commit,
    verify_node,
    verify_segment_header,
)
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    NODE_HEADER_SIZE,
    NODE_SIZE,
    RING_SLOTS,
    SLOT_SIZE,
)
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device
from affs_fuse.volume import layout
from affs_fuse.volume.owner import read_owners
from affs_fuse.volume.superblock import SuperblockReading, read_superblock_copies
from affs_fuse.volume.verify_nodes import Key
from affs_fuse.volume.verify_report import Progress

__all__ = ["Family", "FoundHeader", "FoundNode", "Identity", "Scan", "scan_device"]

CHUNK = 4 << 20
MAGIC_NODE, MAGIC_HEADER = b"AFR1", b"AFSG"

Identity = tuple[bytes, bytes]
"""(format UUID, salt)."""


@dataclass(frozen=True, slots=True)
class FoundNode:
    """A node that verified by itself. offset: where on the device. first, last: its lowest and
    highest key (of an inner node, of its entries); equal and zero for an empty one."""

    offset: int
    address: int
    birth: int
    tree: int
    level: int
    count: int
    first: Key
    last: Key
    checksum: int


@dataclass(frozen=True, slots=True)
class FoundHeader:
    """A segment header that verified by itself."""

    offset: int
    segment: int
    place: int
    intent: int


@dataclass(slots=True)
class Family:
    """What one identity has."""

    nodes: list[FoundNode] = field(default_factory=list)
    headers: list[FoundHeader] = field(default_factory=list)


@dataclass(slots=True)
class Scan:
    """All that was found. records: commit records that verify, in their right slots, newest first,
    with their checksums. owners: format UUIDs in good owner blocks. unreadable_blocks: of 4 KiB."""

    size_bytes: int
    superblocks: list[SuperblockReading]
    records: list[tuple[Commit, int]]
    owners: list[bytes]
    families: dict[Identity, Family] = field(default_factory=dict)
    unreadable_blocks: int = 0


def scan_device(device: Device, progress: Callable[[Progress], None]) -> Scan:
    """Never raises for what it finds; progress may raise to end it."""
    owners = [owner.uuid for owner in read_owners(device)]
    scan = Scan(device.size_bytes, read_superblock_copies(device), _records(device), owners)
    for offset, block in _candidates(device, scan, progress):
        if block[:4] == MAGIC_HEADER:
            _take_header(scan, offset, block)
        else:
            image, result = device.read(offset, NODE_SIZE)
            if result.ok:
                _take_node(scan, offset, image)
    return scan


def _records(device: Device) -> list[tuple[Commit, int]]:
    found: dict[bytes, Commit] = {}
    for region in range(len(layout.REGIONS)):
        for index in range(RING_SLOTS):
            image, result = device.read(layout.ring_offset(region, index), BLOCK_SIZE)
            if not result.ok:
                continue
            try:
                verify_commit(image)
            except StructureError:
                continue
            record = Commit.unpack(image)
            if record.seq % RING_SLOTS == index:
                found[image] = record
    ordered = sorted(found.items(), key=lambda each: -each[1].seq)
    return [(record, frame_checksum(image)) for image, record in ordered]


def _candidates(
    device: Device, scan: Scan, progress: Callable[[Progress], None]
) -> Iterator[tuple[int, bytes]]:
    """Blocks that begin like a node or a segment header. Header regions hold neither."""
    size = device.size_bytes
    for start in range(0, size, CHUNK):
        progress(Progress("scanning", start >> 20, size >> 20, "MiB"))
        for at, data in _readable(device, scan, start, min(CHUNK, size - start)):
            for index, first in enumerate(data[::BLOCK_SIZE]):
                if first != MAGIC_NODE[0]:
                    continue
                block = data[index * BLOCK_SIZE : (index + 1) * BLOCK_SIZE]
                if block[:4] in (MAGIC_NODE, MAGIC_HEADER):
                    yield at + index * BLOCK_SIZE, block


def _readable(
    device: Device, scan: Scan, start: int, length: int
) -> Iterator[tuple[int, bytes]]:
    """The range at once, or what can be read of it, block by block."""
    data, result = device.read(start, length)
    if result.ok:
        yield start, data
        return
    for at in range(start, start + length, BLOCK_SIZE):
        block, result = device.read(at, min(BLOCK_SIZE, start + length - at))
        if result.ok:
            yield at, block
        else:
            scan.unreadable_blocks += 1


def _take_header(scan: Scan, offset: int, block: bytes) -> None:
    try:
        verify_segment_header(block)
    except StructureError:
        return
    header = SegmentHeader.unpack(block)
    family = scan.families.setdefault((header.uuid, header.salt), Family())
    family.headers.append(FoundHeader(offset, header.segment, header.place, header.intent))


def _take_node(scan: Scan, offset: int, image: bytes) -> None:
    header = NodeHeader.unpack(image)
    try:
        verify_node(image, header.uuid, header.salt)
    except StructureError:
        return
    first = last = (0, 0, 0)
    if header.item_count:
        first, last = _key(image, header, 0), _key(image, header, header.item_count - 1)
    node = FoundNode(
        offset,
        header.address,
        header.birth,
        header.tree,
        header.level,
        header.item_count,
        first,
        last,
        frame_checksum(image),
    )
    scan.families.setdefault((header.uuid, header.salt), Family()).nodes.append(node)


def _key(image: bytes, header: NodeHeader, index: int) -> Key:
    if header.level:
        key = Entry.unpack(image, NODE_HEADER_SIZE + index * Entry.SIZE).key
        return key.object, key.type, key.offset
    slot = Slot.unpack(image, NODE_HEADER_SIZE + index * SLOT_SIZE)
    return slot.object, slot.type, slot.offset
