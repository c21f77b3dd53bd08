"""Planning the repair of free space: bitmaps and counts are recomputed from what is reached.

Provable only where it is known what is reached. With a node missing, or data that lies nowhere,
blocks may be marked as in use (somebody reaches them), but none may be given free.
"""

from affs_fuse.core import bitmap
from affs_fuse.core.codec import Segment, Superblock
from affs_fuse.core.constants import INTENT_METADATA, INTENT_NONE, INTENT_SYSTEM, NODE_BLOCKS
from affs_fuse.volume.layout import Geometry
from affs_fuse.volume.repair_plan import Plan
from affs_fuse.volume.verify import CommitCheck
from affs_fuse.volume.verify_report import Report
from affs_fuse.volume.verify_space import recorded_bits

__all__ = ["plan_hints", "plan_space", "table_problem"]

INCOMPLETE = {"verify.node", "verify.unreadable", "verify.address", "verify.key_range"}
"""Findings after which something may be reached that was not seen."""

SEGMENT_ITEM_SIZE = Segment.SIZE


def table_problem(check: CommitCheck, superblock: Superblock) -> str:
    """Why the segment table contradicts itself or what is reached, or "": then nothing follows from
    it."""
    owners: dict[int, int] = {}
    for number, item in check.table.segments.items():
        place = item.copies[0].place
        if item.intent == INTENT_NONE or item.copy_count == 0:
            return f"segment {number} has no intent or no copy"
        if number >= check.record.segment_count or place >= superblock.place_count:
            return f"segment {number} lies past the device"
        if owners.setdefault(place, number) != number:
            return f"segments {owners[place]} and {number} share place {place}"
        if item.birth > check.record.seq:
            return f"segment {number} was born in the future"
    for number, bits in check.namespaces.reached.items():
        known = check.table.segments.get(number)
        if known is None or known.intent == INTENT_SYSTEM:
            return f"blocks of segment {number} are in use, which is not for files"
        if known.intent == INTENT_METADATA and bits[0] & (2**NODE_BLOCKS - 2):
            return f"a node of segment {number} lies where none can lie"
    return ""


def plan_space(check: CommitCheck, geometry: Geometry, report: Report, plan: Plan) -> None:
    """The table is sound (table_problem)."""
    codes = {found.code for found in report.findings}
    complete = not (check.damaged_nodes or report.findings_dropped or codes & INCOMPLETE)
    table = check.table
    told = used = 0
    for number, item in table.segments.items():
        if item.intent == INTENT_SYSTEM:
            _plan_system(check, number, item, plan)
            continue
        told += item.used_blocks
        used += _plan_segment(check, geometry, number, complete=complete, plan=plan)
    for number in sorted(table.chunks.keys() - table.segments.keys()):
        plan.chunks += [(number, index) for index in table.chunks[number]]
        why = "the table does not have the segment, and nothing reaches it"
        what = f"the bitmap of segment {number} is taken away"
        plan.add("verify.segment", what, f"{number}:0", why, 0)
    if told != check.record.used_blocks:
        plan.record = True
        what = f"the commit's count of used blocks becomes {used}"
        plan.add("verify.used_blocks", what, "commit record", "it is its segments' sum", 8)


def plan_hints(report: Report, plan: Plan) -> None:
    """Where allocation goes on: the next commit says it anew."""
    for found in report.findings:
        if found.code == "verify.open_segment":
            plan.record = True
            what = "the commit's open segments are said anew"
            plan.add(found.code, what, "commit record", "a hint, which nobody has to believe", 8)


def _plan_system(check: CommitCheck, number: int, item: Segment, plan: Plan) -> None:
    """A system segment has neither count nor bitmap: what the trees reach says what is in use."""
    chunks = check.table.chunks.get(number, {})
    if item.used_blocks or chunks:
        plan.bits[number] = bytearray()
        plan.chunks += [(number, index) for index in chunks]
        what = f"counts and bitmaps of system segment {number} are taken away"
        why = "the trees say what is in use there"
        plan.add("verify.segment", what, f"{number}:0", why, SEGMENT_ITEM_SIZE)


def _plan_segment(
    check: CommitCheck, geometry: Geometry, number: int, *, complete: bool, plan: Plan
) -> int:
    """Compare one segment; gives how many blocks of it are in use after the repair."""
    item = check.table.segments[number]
    chunks = check.table.chunks.get(number)
    recorded, problem = recorded_bits(geometry.segment_blocks, item, chunks)
    right = bytearray(check.namespaces.reached.get(number) or geometry.segment_blocks // 8)
    right[0] |= 1
    if not complete:
        if recorded is None:
            return item.used_blocks  # neither what is recorded nor what is reached is known
        right = bytearray(a | b for a, b in zip(right, recorded, strict=True))
    used = bitmap.count(right) - 1
    if recorded == right and not problem:
        return used
    plan.bits[number] = right
    plan.chunks += [(number, index) for index in chunks or ()]
    why = "every node was read: this is what they reach" if complete else "nodes that were read"
    size = SEGMENT_ITEM_SIZE + len(right)
    where = f"{number}:0"
    if problem:
        what = f"count and bitmap of segment {number} become {used} blocks ({problem})"
        plan.add("verify.segment", what, where, why, size)
    if recorded is None:
        return used
    leaked = _count_only(recorded, right)
    if leaked:
        what = f"{leaked} blocks of segment {number} become free: nothing reaches them"
        plan.add("verify.leaked", what, where, why, size)
    missing = _count_only(right, recorded)
    if missing:
        what = f"{missing} blocks of segment {number} are recorded as in use"
        plan.add("verify.not_recorded", what, where, why, size)
    return used


def _count_only(left: bytearray, right: bytearray) -> int:
    """Bits that only the first has."""
    return bitmap.count(bytes(a & ~b & 0xFF for a, b in zip(left, right, strict=True)))
