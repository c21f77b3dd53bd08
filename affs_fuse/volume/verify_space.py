"""Checking free space: what the space tree records against what the trees reach.

docs/specs/DiskLayout.md, "Space tree". The bitmaps must say exactly what this commit reaches: a
block that is reached but recorded as free will be overwritten (an error that loses data), one that
is recorded as in use but not reached is lost room (an error as well: nothing in AfFS may leak).
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from affs_fuse.core import bitmap
from affs_fuse.core.codec import Commit, Pointer, Segment, SegmentHeader, Superblock
from affs_fuse.core.constants import (
    BITMAP_CHUNK_SIZE,
    BLOCK_SIZE,
    INTENT_METADATA,
    INTENT_NONE,
    INTENT_SYSTEM,
    ITEM_BITMAP,
    ITEM_SEGMENT,
    NODE_BLOCKS,
)
from affs_fuse.core.errors import StructureError
from affs_fuse.core.verify import verify_segment_header
from affs_fuse.device.device import Device
from affs_fuse.volume.layout import Geometry, physical_block
from affs_fuse.volume.verify_nodes import Item, address_text
from affs_fuse.volume.verify_report import Report

__all__ = ["SpaceCheck", "SpaceTable", "header_problem", "recorded_bits"]

RUNS_SHOWN_MAX = 100


@dataclass(slots=True)
class SpaceTable:
    """The segments as the space tree records them. chunks: bitmaps by segment and index."""

    segments: dict[int, Segment] = field(default_factory=dict)
    chunks: dict[int, dict[int, bytes]] = field(default_factory=dict)

    @classmethod
    def read(cls, items: Iterator[Item]) -> "SpaceTable":
        table = cls()
        for (number, kind, offset), payload in items:
            if kind == ITEM_SEGMENT:
                table.segments[number] = Segment.unpack(payload)
            elif kind == ITEM_BITMAP:
                table.chunks.setdefault(number, {})[offset] = payload
        return table

    def places(self) -> dict[int, int]:
        return {number: item.copies[0].place for number, item in self.segments.items()}


class SpaceCheck:
    """One commit's space. complete: nothing that is reached could be missing from what was
    found."""

    def __init__(
        self,
        device: Device,
        superblock: Superblock,
        geometry: Geometry,
        record: Commit,
        table: SpaceTable,
        report: Report,
    ) -> None:
        self._device = device
        self._superblock = superblock
        self._geometry = geometry
        self._record = record
        self._table = table
        self._report = report

    # ---- the table in itself ----

    def check_table(self) -> None:
        """Places, counts, intents, open segments, advisory headers."""
        owners: dict[int, int] = {}
        for number, item in self._table.segments.items():
            self._check_segment(number, item)
            place = item.copies[0].place
            if place in owners:
                self._error(number, f"segments {owners[place]} and {number} share place {place}")
            owners[place] = number
        for number in self._table.chunks.keys() - self._table.segments.keys():
            self._error(number, f"a bitmap of segment {number}, which is not in the table")
        for intent, opened in enumerate(self._record.open_segments):
            if not opened.next_block:
                continue
            known = self._table.segments.get(opened.segment)
            if known is None or known.intent != intent:
                self._report.warning(
                    "verify.open_segment",
                    f"the commit's open segment for intent {intent} is {opened.segment},"
                    " which is of another kind or not there",
                )

    def _check_segment(self, number: int, item: Segment) -> None:
        copy = item.copies[0]
        if number >= self._record.segment_count:
            self._error(number, f"segment {number} is beyond the volume's segments")
        if item.intent == INTENT_NONE or item.copy_count == 0:
            self._error(number, f"segment {number} has no intent or no copy")
            return
        if copy.place >= self._superblock.place_count:
            self._error(number, f"segment {number} lies at place {copy.place}, past the device")
            return
        if item.birth > self._record.seq:
            self._error(number, f"segment {number} was born in the future ({item.birth})")
        self._check_header(number, item)

    def _check_header(self, number: int, item: Segment) -> None:
        problem = header_problem(self._device, self._superblock, self._geometry, number, item)
        if problem:
            self._report.warning(
                "verify.segment_header",
                f"the header of segment {number} (advisory): {problem}",
                block=f"{number}:0",
            )

    # ---- data and namespace: bitmaps against what was reached ----

    def check_bitmaps(self, reached: dict[int, bytearray], *, complete: bool) -> None:
        """Block by block. complete: False where damage hides a part of what is reached."""
        used = 0
        for number, item in self._table.segments.items():
            if item.intent == INTENT_SYSTEM:
                if number in reached:
                    self._error(number, f"file data or metadata lies in system segment {number}")
                if item.used_blocks or number in self._table.chunks:
                    self._error(number, f"system segment {number} has counts or bitmaps")
                continue
            used += item.used_blocks
            recorded = self._recorded(number, item)
            if recorded is not None:
                found = reached.get(number) or bytearray(len(recorded))
                self._compare(number, recorded, found, complete=complete)
        for number in sorted(reached.keys() - self._table.segments.keys()):
            self._error(number, f"blocks of segment {number} are in use, which is not in the table")
        if used != self._record.used_blocks:
            self._report.error(
                "verify.used_blocks",
                f"the commit says {self._record.used_blocks} used blocks, its segments {used}",
            )

    def _recorded(self, number: int, item: Segment) -> bytearray | None:
        """The segment's bitmap as recorded, block 0 (its header) set; None after an error."""
        chunks = self._table.chunks.get(number)
        bits, problem = recorded_bits(self._geometry.segment_blocks, item, chunks)
        if problem:
            self._error(number, f"segment {number}: {problem}")
        return bits

    def _compare(
        self, number: int, recorded: bytearray, found: bytearray, *, complete: bool
    ) -> None:
        if not complete:
            found = bytearray(a | b for a, b in zip(found, recorded, strict=True))
        found[0] |= 1
        if recorded == found:
            return
        for shown, (first, count, in_use) in enumerate(_differences(recorded, found)):
            if shown == RUNS_SHOWN_MAX:
                self._error(number, f"segment {number} has more such blocks")
                return
            where = f"{number}:{first}"
            if in_use:
                what = f"{count} blocks are recorded as in use, but nothing reaches them"
                self._report.error("verify.leaked", what, block=where)
            else:
                what = f"{count} blocks are in use, but recorded as free"
                self._report.error("verify.not_recorded", what, block=where)

    # ---- system trees ----

    def check_system_nodes(self, pointers: list[Pointer]) -> None:
        """Every node of a system tree lies in a system segment, aligned, and alone."""
        system = {
            item.copies[0].place
            for item in self._table.segments.values()
            if item.intent == INTENT_SYSTEM
        }
        taken: set[int] = set()
        for pointer in pointers:
            for address in {pointer.address, pointer.mirror_address} - {0}:
                block = physical_block(address)
                place = self._geometry.place_of_block(block)
                within = block - self._geometry.place_block(place) if place >= 0 else -1
                problem = ""
                if place not in system:
                    problem = "does not lie in a system segment"
                elif within % NODE_BLOCKS or within == 0:
                    problem = "is not aligned to its size"
                elif block in taken:
                    problem = "lies where another one lies"
                taken.add(block)
                if problem:
                    self._report.error(
                        "verify.system_node",
                        f"a node of a system tree {problem}",
                        block=address_text(pointer),
                    )

    def _error(self, number: int, message: str) -> None:
        self._report.error("verify.segment", message, block=f"{number}:0")


def header_problem(
    device: Device, superblock: Superblock, geometry: Geometry, number: int, item: Segment
) -> str:
    """What is wrong with the advisory header of a segment, or ""."""
    copy = item.copies[0]
    block, result = device.read(geometry.place_offset(copy.place), BLOCK_SIZE)
    if not result.ok:
        return f"cannot be read (errno {result.errno})"
    try:
        verify_segment_header(block, superblock.format_uuid)
    except StructureError as error:
        return error.message
    header = SegmentHeader.unpack(block)
    told = (header.segment, header.place, header.copy_generation, header.intent, header.salt)
    if told != (number, copy.place, copy.generation, item.intent, superblock.salt):
        return "speaks of another segment, place, generation or intent"
    return ""


def recorded_bits(
    segment_blocks: int, item: Segment, chunks: dict[int, bytes] | None
) -> tuple[bytearray | None, str]:
    """A segment's bitmap as the space tree has it, block 0 set, and what is wrong with it or "".
    None where it cannot be told."""
    size = segment_blocks // 8
    bits = bytearray(size)
    first = NODE_BLOCKS if item.intent == INTENT_METADATA else 1
    capacity = segment_blocks - first
    problem = ""
    if chunks is not None:
        whole = b"".join(chunks[index] for index in sorted(chunks))
        if sorted(chunks) != list(range(-(-size // BITMAP_CHUNK_SIZE))) or len(whole) != size:
            return None, "its bitmap has missing or odd chunks"
        bits[:] = whole
        if not bits[0] & 1:
            problem = "its bitmap gives its header away"
    elif item.used_blocks == capacity:
        bitmap.set_range(bits, first, capacity)
    elif item.used_blocks:
        return None, "it is in partial use and has no bitmap"
    bits[0] |= 1
    count = bitmap.count(bits) - 1
    if count != item.used_blocks:
        problem = f"it says {item.used_blocks} used blocks, its bitmap {count}"
    return bits, problem


def _differences(recorded: bytearray, found: bytearray) -> Iterator[tuple[int, int, bool]]:
    """Runs of blocks that differ: first, count, and whether they are recorded as in use."""
    first, count, kind = 0, 0, False
    for index, (a, b) in enumerate(zip(recorded, found, strict=True)):
        if a == b:
            continue
        for bit in range(8):
            if (a ^ b) >> bit & 1:
                block, in_use = index * 8 + bit, bool(a >> bit & 1)
                if count and block == first + count and in_use == kind:
                    count += 1
                    continue
                if count:
                    yield first, count, kind
                first, count, kind = block, 1, in_use
    if count:
        yield first, count, kind
