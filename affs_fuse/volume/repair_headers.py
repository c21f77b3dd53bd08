"""Planning the repair of what lies at fixed places: superblocks, rings, owner blocks, and the
advisory headers of segments.

Each of them is there twice, or says again what a table says: the good one proves the other. Where
both are gone, or two good ones contradict each other, nothing is planned.
"""

from affs_fuse.core.codec import Commit, SegmentHeader, Superblock
from affs_fuse.core.constants import BLOCK_SIZE, RING_SLOTS
from affs_fuse.device.device import Device
from affs_fuse.volume import layout
from affs_fuse.volume.repair_plan import BlockWrite, Plan
from affs_fuse.volume.ring import RingReading, Slot
from affs_fuse.volume.superblock import SuperblockReading, read_superblock_copies
from affs_fuse.volume.verify_report import Report
from affs_fuse.volume.verify_space import SpaceTable, header_problem

__all__ = ["chain_of", "plan_owner", "plan_rings", "plan_segment_headers", "plan_superblocks"]

NOT_DAMAGED = ("version", "past the end of the device")
"""Reasons for which a superblock copy does not count and which writing over it would not cure."""


def plan_superblocks(device: Device, plan: Plan) -> None:
    """A copy that does not verify, or that an interrupted update left behind."""
    first, second = read_superblock_copies(device)
    source, target = _better(first, second)
    if source is None or target is None or target.reason in NOT_DAMAGED:
        return
    if target.superblock is None:
        what = f"superblock {target.region + 1} is written anew ({target.reason})"
        code, why = "verify.superblock", f"superblock {source.region + 1} is whole"
    else:
        what = f"superblock {target.region + 1} is brought up to date"
        code, why = "verify.superblocks_differ", "the other has the higher update counter"
    assert source.superblock is not None
    offset = layout.superblock_offset(target.region)
    _write(plan, code, what, why, offset, source.superblock.pack())


def _better(
    first: SuperblockReading, second: SuperblockReading
) -> tuple[SuperblockReading | None, SuperblockReading | None]:
    """The copy that rules and the one to be written; None where neither can be told."""
    a, b = first.superblock, second.superblock
    if a is None and b is None:
        return None, None
    if b is None:
        return first, second
    if a is None:
        return second, first
    if a.format_uuid != b.format_uuid or a.update_counter == b.update_counter:
        return None, None
    return (first, second) if a.update_counter > b.update_counter else (second, first)


def chain_of(ring: RingReading) -> dict[int, Commit]:
    """The newest record and those before it, by seq: each named by number and checksum."""
    images = {slot.record.seq: slot.image for slot in ring.slots if slot.record is not None}
    by_seq = {record.seq: record for record in ring.records}
    records = ring.records
    chain: dict[int, Commit] = {}
    current = records[0] if records else None
    while current is not None:
        chain[current.seq] = current
        parent = by_seq.get(current.parent_seq)
        if parent is None:
            break
        if int.from_bytes(images[parent.seq][8:12], "little") != current.parent_checksum:
            break
        current = parent
    return chain


def plan_rings(ring: RingReading, plan: Plan) -> None:
    """A slot whose twin in the other ring holds a good record of the chain."""
    chain = chain_of(ring)
    for index in range(RING_SLOTS):
        first, second = ring.slots[index], ring.slots[index + RING_SLOTS]
        source, target = (first, second) if _seq(first) >= _seq(second) else (second, first)
        if source.record is None or source.image == target.image:
            continue
        if source.record.seq not in chain or _seq(source) == _seq(target):
            continue
        where = f"ring {target.region + 1} gets the record of commit {source.record.seq}"
        if target.record is None and target.reason != "empty":
            code, what = "verify.ring_slot", f"{where}: slot {index} holds none ({target.reason})"
        else:
            code, what = "verify.rings_differ", f"{where}, which is in the other ring only"
        why = f"ring {source.region + 1} has it, and it is on the chain of the newest"
        _write(plan, code, what, why, layout.ring_offset(target.region, index), source.image)


def _seq(slot: Slot) -> int:
    return slot.record.seq if slot.record is not None else -1


def plan_owner(report: Report, plan: Plan) -> None:
    """Whoever opens the volume for writing writes both owner blocks; so does the repair."""
    damaged = sum(found.code == "verify.owner" for found in report.findings)
    if damaged:
        plan.owner = True
        where = ", ".join(
            f"@{layout.owner_offset(region) // BLOCK_SIZE}" for region in range(len(layout.REGIONS))
        )
        why = "the volume is locked, so nobody has it open"
        plan.add("verify.owner", "both owner blocks are written anew", where, why, 2 * BLOCK_SIZE)


def plan_segment_headers(
    device: Device, superblock: Superblock, geometry: layout.Geometry, table: SpaceTable, plan: Plan
) -> None:
    """The first block of a segment is never allocated and says what the table says."""
    for number, item in table.segments.items():
        problem = header_problem(device, superblock, geometry, number, item)
        if not problem:
            continue
        copy = item.copies[0]
        header = SegmentHeader(
            uuid=superblock.format_uuid,
            salt=superblock.salt,
            segment=number,
            copy_generation=copy.generation,
            place=copy.place,
            intent=item.intent,
        )
        what = f"the header of segment {number} is written anew ({problem})"
        why = "the segment table is whole and rules"
        offset = geometry.place_offset(copy.place)
        _write(plan, "verify.segment_header", what, why, offset, header.pack())


def _write(plan: Plan, code: str, what: str, why: str, offset: int, image: bytes) -> None:
    plan.add(code, what, f"@{offset // BLOCK_SIZE}", why, len(image))
    plan.blocks.append(BlockWrite(offset, image))
