"""Checking a volume that nobody writes to: what fsck.affs does (docs/storage.md, "Checking").

Reads only. Every structure that the newest commit reaches is verified: both superblocks, both rings
and the chain of records in them, the owner blocks, every node and item of every tree of every kept
state and of the working state, the rules among items, and free space block by block; with data=True
every block of file data against its checksum as well. The check has its own way to the bytes
(verify_nodes), so the engine's caches and shortcuts are not believed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from affs_fuse.auv import AuvError, decode
from affs_fuse.core.codec import Commit, Owner, Pointer, State, StatePointer, Superblock
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    ITEM_AUTHOR,
    ITEM_JOB,
    ITEM_OPERATION,
    ITEM_POLICY,
    ITEM_STATE,
    ITEM_STATE_POINTER,
    ITEM_VERIFIED,
    NODE_BLOCKS,
    STATE_DOOMED,
    STATE_HIDDEN,
    TREE_NAMESPACE,
)
from affs_fuse.core.errors import StructureError
from affs_fuse.core.verify import verify_owner
from affs_fuse.device.device import Device
from affs_fuse.volume import layout
from affs_fuse.volume.ring import RingReading, read_ring
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.superblock import (
    check_features,
    geometry_of,
    read_superblock,
    read_superblock_copies,
)
from affs_fuse.volume.verify_namespace import NamespaceCheck, StateToCheck
from affs_fuse.volume.verify_nodes import NodeReader
from affs_fuse.volume.verify_report import Finding, Progress, Report, Severity
from affs_fuse.volume.verify_space import SpaceCheck, SpaceTable

__all__ = [
    "CommitCheck",
    "Examination",
    "Finding",
    "Progress",
    "Report",
    "Severity",
    "examine_volume",
    "verify_volume",
]

OWNER_OPEN = 1
WORKING = "working"


def _no_progress(progress: Progress) -> None:
    """For callers that do not ask."""


def verify_volume(
    device: Device,
    *,
    data: bool = False,
    progress: Callable[[Progress], None] = _no_progress,
) -> Report:
    """Check everything; what is wrong stands in the report.

    progress may raise to end the check. Errors, where there is nothing to check at all:
    volume.not_affs, volume.version, volume.feature, volume.truncated, volume.superblock_damaged.
    """
    return examine_volume(device, data=data, progress=progress).report


@dataclass(frozen=True, slots=True)
class Examination:
    """A check, and what it went by: what a repair is planned from. commit: None where no record is
    good."""

    report: Report
    superblock: Superblock
    ring: RingReading
    commit: "CommitCheck | None"


def examine_volume(
    device: Device,
    *,
    data: bool = False,
    progress: Callable[[Progress], None] = _no_progress,
) -> Examination:
    """verify_volume(), with all that it has learned. Errors: the same."""
    report = Report(progress)
    superblock = read_superblock(device)
    check_features(superblock, writable=False)
    _check_superblocks(device, report)
    _check_owner(device, superblock, report)
    ring = read_ring(device, superblock.format_uuid)
    record = _check_ring(ring, report)
    commit = None
    if record is not None:
        report.seq = record.seq
        commit = CommitCheck(device, superblock, record, report, data=data)
        commit.run()
    return Examination(report, superblock, ring, commit)


# ---- header regions ----


def _check_superblocks(device: Device, report: Report) -> None:
    readings = read_superblock_copies(device)
    for reading in readings:
        if reading.superblock is None:
            report.error(
                "verify.superblock",
                f"superblock {reading.region + 1} is damaged ({reading.reason})",
                block=f"@{layout.superblock_offset(reading.region) // BLOCK_SIZE}",
            )
    good = [reading.superblock for reading in readings if reading.superblock is not None]
    if len(good) == 2 and good[0] != good[1]:
        same = good[0]._replace(update_counter=0) == good[1]._replace(update_counter=0)
        report.warning(
            "verify.superblocks_differ",
            "the two superblocks differ: an update was interrupted"
            if not same
            else "the two superblocks have different update counters",
        )


def _check_owner(device: Device, superblock: Superblock, report: Report) -> None:
    """Two copies; none at all is a volume that was never opened."""
    readings = [device.read(layout.owner_offset(region), BLOCK_SIZE) for region in range(2)]
    if all(result.ok and not any(block) for block, result in readings):
        return
    for region, (block, result) in enumerate(readings):
        at = f"@{layout.owner_offset(region) // BLOCK_SIZE}"
        what = f"owner block {region + 1}"
        if not result.ok:
            report.warning("verify.owner", f"{what} cannot be read", block=at)
            continue
        try:
            verify_owner(block)
        except StructureError as error:
            report.warning("verify.owner", f"{what}: {error.message}", block=at)
            continue
        owner = Owner.unpack(block)
        if owner.uuid != superblock.format_uuid:
            report.warning("verify.owner", f"{what} belongs to another volume", block=at)
        elif owner.state == OWNER_OPEN and region == 0:
            report.note(
                "verify.not_closed",
                f"the volume was not closed cleanly by process {owner.pid}; its last commit holds",
            )


def _check_ring(ring: RingReading, report: Report) -> Commit | None:
    """The newest record, after a look at all of them and at the chain that they form."""
    for slot in ring.slots:
        if slot.record is None and slot.reason != "empty":
            block = layout.ring_offset(slot.region, slot.index) // BLOCK_SIZE
            report.warning(
                "verify.ring_slot",
                f"slot {slot.index} of ring {slot.region + 1} holds no good record ({slot.reason})",
                block=f"@{block}",
            )
    records = ring.records
    if not records:
        report.error("verify.no_commit", "neither ring holds a good commit record")
        return None
    for first, second in pairwise(records):
        if first.seq == second.seq:
            report.error(
                "verify.ring_conflict", f"there are two different records of commit {first.seq}"
            )
    _check_rings_agree(ring, records[0], report)
    _check_chain(ring, records, report)
    return records[0]


def _check_rings_agree(ring: RingReading, newest: Commit, report: Report) -> None:
    """Both rings hold the same records; only the newest may be missing in one (a crash between)."""
    by_region: list[dict[int, bytes]] = [{}, {}]
    for slot in ring.slots:
        if slot.record is not None:
            by_region[slot.region][slot.record.seq] = slot.image
    for seq in sorted(by_region[0].keys() ^ by_region[1].keys()):
        lacking = layout.ring_offset(0 if seq in by_region[1] else 1, seq) // BLOCK_SIZE
        report.warning(
            "verify.rings_differ",
            f"the record of commit {seq} is in one ring only",
            block=f"@{lacking}",
        )


def _check_chain(ring: RingReading, records: list[Commit], report: Report) -> None:
    """From the newest record back: each names its parent by number and checksum."""
    checksums = {
        slot.record.seq: int.from_bytes(slot.image[8:12], "little")
        for slot in ring.slots
        if slot.record is not None
    }
    by_seq = {record.seq: record for record in records}
    record = records[0]
    on_chain = {record.seq}
    while record.parent_seq in by_seq:
        parent = by_seq[record.parent_seq]
        on_chain.add(parent.seq)
        if checksums[parent.seq] != record.parent_checksum:
            report.error(
                "verify.chain",
                f"commit {record.seq} follows another commit {parent.seq} than the ring holds",
            )
        if record.time_ns < parent.time_ns:
            report.error("verify.chain", f"commit {record.seq} is older than its parent")
        if record.next_object < parent.next_object or record.next_state < parent.next_state:
            report.error("verify.chain", f"commit {record.seq} takes numbers back")
        record = parent
    for stray in sorted(by_seq.keys() - on_chain):
        if stray > record.seq:
            report.warning(
                "verify.stray_record", f"the record of commit {stray} is not on the chain"
            )


# ---- one commit ----


class CommitCheck:
    """All trees of one commit, then free space.

    After run(): table, states, namespaces have what was found; damaged_nodes counts the nodes that
    could not be had, damaged_system_nodes those of them that belong to the system trees.
    """

    def __init__(
        self,
        device: Device,
        superblock: Superblock,
        record: Commit,
        report: Report,
        *,
        data: bool,
    ) -> None:
        self.record = record
        self._report = report
        geometry = geometry_of(superblock)
        self.states: dict[int, KeptState] = {}
        self.damaged_system_nodes = 0
        self._nodes = NodeReader(device, superblock, geometry, report)
        self._system_nodes: list[Pointer] = []
        self._nodes.on_new_node = self._system_nodes.append
        self._nodes.nodes_expected = record.used_blocks // NODE_BLOCKS if not data else 0
        self.table = SpaceTable.read(self._nodes.items(record.space_root, ""))
        self._nodes.places = self.table.places()
        self._space = SpaceCheck(device, superblock, geometry, record, self.table, report)
        self.namespaces = NamespaceCheck(
            device,
            superblock,
            geometry.segment_blocks,
            self._nodes,
            report,
            data=data,
            next_object=record.next_object,
        )

    @property
    def damaged_nodes(self) -> int:
        """Nodes of any tree."""
        return self._nodes.damage_count

    def run(self) -> None:
        self._space.check_table()
        self.states, pointers = self._read_states()
        self._check_system()
        self.damaged_system_nodes = self._nodes.damage_count
        self._check_states(self.states, pointers)
        self._nodes.on_new_node = self.namespaces.reach_node
        for state in self.in_order():
            self.namespaces.check(state)
        complete = self._nodes.damage_count == 0
        self._space.check_bitmaps(self.namespaces.reached, complete=complete)
        self._space.check_system_nodes(self._system_nodes)

    def _check_system(self) -> None:
        """What the system tree holds is values."""
        names = {
            ITEM_OPERATION: "operation", ITEM_POLICY: "setting", ITEM_JOB: "job",
            ITEM_VERIFIED: "verification", ITEM_AUTHOR: "author",
        }
        for (number, kind, offset), payload in self._nodes.items(self.record.system_root, ""):
            self._report.items += 1
            if kind not in names:
                continue
            try:
                decode(payload)
            except AuvError as error:
                self._report.error(
                    "verify.system_value",
                    f"{names[kind]} {number}:{offset} of the system tree is no value:"
                    f" {error.message}",
                )

    def _read_states(self) -> tuple[dict[int, KeptState], dict[int, StatePointer]]:
        states: dict[int, KeptState] = {}
        pointers: dict[int, StatePointer] = {}
        for (number, kind, _), payload in self._nodes.items(self.record.checkpoint_root, ""):
            self._report.items += 1
            if kind == ITEM_STATE:
                try:
                    states[number] = KeptState.unpack(number, payload)
                except UnicodeDecodeError:
                    self._report.error(
                        "verify.state_text", f"a text of state {number} is not UTF-8"
                    )
                    states[number] = KeptState.unpack(number, _without_texts(payload))
            elif kind == ITEM_STATE_POINTER:
                pointers[number] = StatePointer.unpack(payload)
        return states, pointers

    def in_order(self) -> list[StateToCheck]:
        """Kept states by seq, so neighbours differ little; the working state last."""
        ordered = sorted(self.states.values(), key=lambda state: (state.seq, state.number))
        found = [
            StateToCheck(state.name, state.root, state.seq, state.object_count)
            for state in ordered
        ]
        record = self.record
        found.append(StateToCheck(WORKING, record.namespace_root, record.seq, record.object_count))
        return found

    def _check_states(
        self, states: dict[int, KeptState], pointers: dict[int, StatePointer]
    ) -> None:
        record, report = self.record, self._report
        labels: dict[str, int] = {}
        ids: dict[bytes, int] = {}
        for number, state in states.items():
            if number >= record.next_state or state.seq > record.seq:
                report.error("verify.state", "it is from the future", state=state.name)
            if state.parent:
                parent = states.get(state.parent)
                if parent is None or parent.seq >= state.seq:
                    report.error(
                        "verify.state", "its parent is not there or not older", state=state.name
                    )
            if state.root.tree != TREE_NAMESPACE:
                report.error("verify.state", "its root is of another tree", state=state.name)
            if ids.setdefault(state.id, number) != number:
                report.error("verify.state", "another state has the same id", state=state.name)
            listed = not state.flags & (STATE_DOOMED | STATE_HIDDEN)
            if listed and state.label and labels.setdefault(state.label, number) != number:
                report.error("verify.state", "another state has the same label", state=state.name)
        for which, pointer in pointers.items():
            if pointer.state not in states:
                report.error(
                    "verify.state_pointer",
                    f"state pointer {which} names state {pointer.state}, which is not there",
                )
        if record.ancestor and record.ancestor not in states:
            report.error(
                "verify.state_pointer",
                f"the working state's ancestor {record.ancestor} is not there",
            )


def _without_texts(payload: bytes) -> bytes:
    fixed = State.unpack(payload)
    return fixed._replace(label_length=0, author_length=0, message_length=0).pack()
