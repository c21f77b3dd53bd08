"""Repairing what is provable in a volume that nobody uses (docs/internals/checking.md, "Repair").

Three steps. make_plan() says what it would do and writes nothing. rehearse() does it on an overlay
in memory and checks the result; a plan that would make anything worse never reaches the device.
repair() does it: blocks of the header regions and segment headers in place from their good copies,
a barrier after each; all that lies in trees by one commit of the engine, so a crash leaves the
volume before or after it. Running it again finishes what was interrupted.

Kept states are never changed: their trees are shared, and what they say is the past. The table of
states is not a part of them.
"""

from dataclasses import replace

from affs_fuse.core import bitmap
from affs_fuse.core.constants import (
    INTENT_SYSTEM,
    ITEM_BITMAP,
    ITEM_COLLECTION,
    ITEM_INODE,
    ITEM_ORPHAN,
    OBJECT_COLLECTIONS,
    OBJECT_ORPHANS,
)
from affs_fuse.device.device import Device, device_error
from affs_fuse.device.overlay import OverlayDevice
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import owner
from affs_fuse.volume.barrier import Barrier
from affs_fuse.volume.opening import OpenOptions, this_host
from affs_fuse.volume.repair_counts import plan_counts
from affs_fuse.volume.repair_headers import (
    plan_owner,
    plan_rings,
    plan_segment_headers,
    plan_superblocks,
)
from affs_fuse.volume.repair_plan import Plan, Repair
from affs_fuse.volume.repair_space import plan_hints, plan_space, table_problem
from affs_fuse.volume.reserve import RoomKind
from affs_fuse.volume.space import Segment
from affs_fuse.volume.superblock import check_features, geometry_of, read_superblock
from affs_fuse.volume.verify import Examination, Report, verify_volume
from affs_fuse.volume.verify_report import Finding, Severity
from affs_fuse.volume.volume import Volume

__all__ = ["Plan", "Repair", "make_plan", "rehearse", "repair"]

UNTRUSTED = {
    "verify.system_node": "a system tree's node lies where it must not",
    "verify.ring_conflict": "two different records of one commit: nobody knows the newest",
    "verify.chain": "the chain of commits contradicts itself",
    "verify.state_text": "the table of states has texts that are none",
    "verify.state": "the table of states contradicts itself",
}
"""Findings after which no commit is made on top of the newest."""


def make_plan(device: Device, found: Examination) -> Plan:
    """What can be proven. Errors: volume.feature (a newer version's volume)."""
    check_features(found.superblock, writable=True)
    plan = Plan()
    plan_superblocks(device, plan)
    codes = {finding.code for finding in found.report.findings}
    if "verify.ring_conflict" not in codes:
        plan_rings(found.ring, plan)
    plan.refusal = _refusal(found)
    if plan.refusal or found.commit is None:
        return plan
    geometry = geometry_of(found.superblock)
    plan_owner(found.report, plan)
    plan_segment_headers(device, found.superblock, geometry, found.commit.table, plan)
    plan_space(found.commit, geometry, found.report, plan)
    plan_hints(found.report, plan)
    plan_counts(device, found.superblock, geometry, found.commit, found.report, plan)
    return plan


def _refusal(found: Examination) -> str:
    """Why no commit may be made, or ""."""
    if found.commit is None:
        return "there is no good commit record"
    for finding in found.report.findings:
        if finding.code in UNTRUSTED:
            return UNTRUSTED[finding.code]
    unreadable: tuple[set[int], set[int]] = set(), set()
    for slot in found.ring.unreadable:
        unreadable[slot.region].add(slot.index)
    if both := unreadable[0] & unreadable[1]:
        return f"ring slots {sorted(both)} cannot be read, the newest commit may be in one"
    if found.commit.damaged_system_nodes:
        return "nodes of the system trees are damaged"
    return table_problem(found.commit, found.superblock)


def rehearse(
    device: Device, plan: Plan, before: Report, options: OpenOptions
) -> tuple[Report, int]:
    """Do it in memory: what a check finds afterwards (data not looked at), and how many bytes are
    written. Nothing reaches the device.

    Errors: repair.worse (INTERNAL) if there would be a finding that was not there before; as
    repair().
    """
    overlay = OverlayDevice(device)
    repair(overlay, plan, options)
    after = verify_volume(overlay, progress=before.progress)
    known = {_identity(finding) for finding in before.findings}
    new = [
        finding
        for finding in after.findings
        if finding.severity is Severity.ERROR and _identity(finding) not in known
    ]
    if new and not before.findings_dropped:
        raise AffsError(
            "repair.worse",
            Category.INTERNAL,
            f"the planned repair would bring up new errors, nothing was written: {new[0]}",
            hint="please report it, with the output of fsck.affs --json",
        )
    return after, overlay.written


def _identity(finding: Finding) -> tuple[str, str, str, str]:
    return finding.code, finding.state, finding.block, finding.path


def repair(device: Device, plan: Plan, options: OpenOptions) -> None:
    """Do what the plan says. The device is open for writing, and stays so.

    Errors: device.io, device.no_space, volume.busy (another machine has it open), volume.no_space,
    repair.not_writable (the newest commit cannot be gone on from); the blocks in place were written
    then, the commit was not made.
    """
    uuid = read_superblock(device).format_uuid
    host = options.host or this_host()
    owner.claim(device, uuid, host, takeover=options.takeover, sleep=options.sleep)
    barrier = Barrier(device)
    for block in plan.blocks:
        result = device.write(block.offset, [block.image])
        if not result.ok:
            raise device_error("repairing", device.identity, block.offset, result)
        barrier.flush()
    if plan.needs_commit or plan.owner:
        _commit(device, plan, options)


def _commit(device: Device, plan: Plan, options: OpenOptions) -> None:
    def amend(segments: list[Segment]) -> None:
        for segment in segments:
            bits = plan.bits.get(segment.number)
            if bits is not None:
                _amend(segment, bits)

    volume = Volume.open("", replace(options, device=device, read_only=False, amend=amend))
    if volume.read_only:
        raise AffsError(
            "repair.not_writable",
            Category.CORRUPT,
            f"nothing in trees can be repaired: {volume.read_only_reason}",
        )
    if plan.needs_commit:
        volume.reserve_metadata(RoomKind.VERB)
        _change(volume, plan)
        volume.commit()
    volume.release()


def _amend(segment: Segment, bits: bytearray) -> None:
    """What a segment has is what the plan says. A system segment's bits are derived later."""
    if segment.intent == INTENT_SYSTEM:
        segment.bits = bytearray(len(segment.bits))
        segment.bits[0] = 1
        segment.used = 0
        return
    segment.bits = bytearray(bits)
    segment.used = bitmap.count(segment.bits) - 1


def _change(volume: Volume, plan: Plan) -> None:
    """Bring the trees up to the plan; the commit follows. The system trees are in memory whole."""
    for number, index in plan.chunks:
        volume.trees.space.delete(number, ITEM_BITMAP, index)
    volume.space.changed.update(plan.bits)
    tree = volume.working.tree
    for number, inode in plan.inodes.items():
        volume.run(tree.put, number, ITEM_INODE, 0, inode.pack())
    for number in plan.orphans_added:
        volume.run(tree.put, OBJECT_ORPHANS, ITEM_ORPHAN, number, b"")
    for number in plan.orphans_dropped:
        volume.run(tree.delete, OBJECT_ORPHANS, ITEM_ORPHAN, number)
    for number, there in plan.listed.items():
        key = OBJECT_COLLECTIONS, ITEM_COLLECTION, number
        if there:
            volume.run(tree.put, *key, b"")
        else:
            volume.run(tree.delete, *key)
    if plan.object_count is not None:
        volume.working.object_count = plan.object_count
    for number, count in plan.state_counts.items():
        volume.states.put(replace(volume.states[number], object_count=count))
