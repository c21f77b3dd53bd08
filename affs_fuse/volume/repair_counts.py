"""Planning the repair of counts: links, entries and blocks in inodes, the lists of orphans and of
collections, and how many objects a state has.

A count is repaired where everything that it counts is whole and agrees: names with their parent
links, an object's items with each other. It is done in the working state alone: the trees of kept
states are shared and are never changed. What the table of states says of a kept state is no part of
its tree and is repaired.
"""

import stat
from dataclasses import dataclass
from itertools import groupby

from affs_fuse.core.codec import Inode, Superblock
from affs_fuse.core.constants import OBJECT_COLLECTIONS, OBJECT_ORPHANS
from affs_fuse.device.device import Device
from affs_fuse.volume.layout import Geometry
from affs_fuse.volume.repair_plan import Plan
from affs_fuse.volume.verify import CommitCheck
from affs_fuse.volume.verify_namespace import NamespaceCheck, StateToCheck
from affs_fuse.volume.verify_nodes import NodeReader
from affs_fuse.volume.verify_object import ObjectCheck, declaration_of
from affs_fuse.volume.verify_report import Report

__all__ = ["plan_counts"]

COUNTS = {"verify.links", "verify.entries", "verify.blocks", "verify.orphan"}

LISTED = "verify.collection"

NAMES = {
    "verify.entry_link", "verify.name_twice", "verify.name_hash", "verify.no_inode",
    "verify.unreachable", "verify.link_kind", "verify.parent", "verify.kind",
    "verify.object_number",
}
"""Findings in a state after which its names prove nothing."""

SHAPE = {"verify.key_range", "verify.node", "verify.unreadable"}
"""Findings in a state after which nothing in it is proven."""


def plan_counts(
    device: Device,
    superblock: Superblock,
    geometry: Geometry,
    check: CommitCheck,
    report: Report,
    plan: Plan,
) -> None:
    """Look at the working state by itself: what it shares with kept states was reported there."""
    _plan_state_counts(check, plan)
    interesting = COUNTS | {"verify.object_count", LISTED}
    if not any(found.code in interesting for found in report.findings):
        return
    quiet = Report(report.progress)
    nodes = NodeReader(device, superblock, geometry, quiet)
    nodes.places = check.table.places()
    state = check.in_order()[-1]
    alone = NamespaceCheck(
        device,
        superblock,
        geometry.segment_blocks,
        nodes,
        quiet,
        data=False,
        next_object=check.record.next_object,
    )
    alone.check(state)
    codes = {found.code for found in quiet.findings}
    if codes & SHAPE or quiet.findings_dropped:
        return
    work = _Working(nodes, state, superblock.hash_key, not codes & NAMES, plan)
    work.look()
    counted = alone.counted.get(state)
    if counted is not None and counted != check.record.object_count:
        plan.object_count = counted
        what = f"the working state's count of objects becomes {counted}"
        plan.add("verify.object_count", what, "commit record", "all its inodes were read", 8)


def _plan_state_counts(check: CommitCheck, plan: Plan) -> None:
    for state in check.states.values():
        key = StateToCheck(state.name, state.root, state.seq, state.object_count)
        counted = check.namespaces.counted.get(key)
        if counted is not None and counted != state.object_count:
            plan.state_counts[state.number] = counted
            what = f"the table's count of objects of {state.name} becomes {counted}"
            why = "all its inodes were read"
            plan.add("verify.object_count", what, f"state {state.name}", why, 8)


@dataclass(slots=True)
class _Working:
    """The working state, object by object. names_agree: its names may be believed."""

    nodes: NodeReader
    state: StateToCheck
    hash_key: bytes
    names_agree: bool
    plan: Plan

    def look(self) -> None:
        root = self.state.root
        orphans, listed = self._members(OBJECT_ORPHANS), self._members(OBJECT_COLLECTIONS)
        missing, unlisted = set(orphans), set(listed)
        items = self.nodes.items(root, self.state.name)
        for number, group in groupby(items, key=lambda item: item[0][0]):
            missing.discard(number)
            unlisted.discard(number)
            complaints: set[str] = set()

            def complain(code: str, _: str, found: set[str] = complaints) -> None:
                found.add(code)

            check = ObjectCheck(
                number, self.hash_key, number in orphans, complain, number in listed
            )
            for item in group:
                check.take(item)
            check.finish()
            if LISTED in complaints:
                self._plan_listing(check)
            if complaints:
                self._plan_object(check, complaints - {LISTED})
        for number in sorted(missing):
            self.plan.orphans_dropped.append(number)
            what = f"object {number} leaves the list of orphans"
            why = "no item of it is there, and its number is never used again"
            self.plan.add("verify.orphan", what, f"object {number}", why, 0)
        for number in sorted(unlisted):
            self._unlist(number, "no item of it is there, and its number is never used again")

    def _members(self, held: int) -> set[int]:
        found = self.nodes.range(self.state.root, (held, 0, 0), (held + 1, 0, 0))
        return {key[2] for key, _ in found}

    def _plan_listing(self, check: ObjectCheck) -> None:
        """The list of collections follows the declarations; one that cannot be read stays."""
        if check.inode is None:
            return
        if check.listed and not check.parts:
            self._unlist(check.number, "it has no declaration")
        whole = bool(check.parts) and declaration_of(check.parts) is not None
        if whole and not check.listed and check.inode.nlink and stat.S_ISDIR(check.inode.mode):
            self.plan.listed[check.number] = True
            what = f"object {check.number} is put into the list of collections"
            self.plan.add(LISTED, what, f"object {check.number}", "its declaration is whole", 0)

    def _unlist(self, number: int, why: str) -> None:
        self.plan.listed[number] = False
        what = f"object {number} leaves the list of collections"
        self.plan.add(LISTED, what, f"object {number}", why, 0)

    def _plan_object(self, check: ObjectCheck, complaints: set[str]) -> None:
        inode = check.inode
        if inode is None or complaints - COUNTS:
            return
        right = inode._replace(blocks=check.blocks)
        if self.names_agree and complaints != {"verify.blocks"}:
            if stat.S_ISDIR(inode.mode):
                right = self._directory(check, right)
            else:
                right = self._file(check, right)
        if right == inode:
            return
        self.plan.inodes[check.number] = right
        where = f"object {check.number}"
        for name, code, why in (
            ("blocks", "verify.blocks", "its extents are whole and hold as many"),
            ("nlink", "verify.links", "names and parent links agree"),
            ("size", "verify.entries", "its entries and their parent links agree"),
        ):
            old, new = getattr(inode, name), getattr(right, name)
            if old != new:
                self.plan.add(code, f"{name} {old} becomes {new}", where, why, Inode.SIZE)

    def _directory(self, check: ObjectCheck, inode: Inode) -> Inode:
        if inode.nlink:
            return inode._replace(size=check.entries, nlink=2 + check.subdirectories)
        if not check.entries and not check.links:
            self._list_orphan(check)
        return inode

    def _file(self, check: ObjectCheck, inode: Inode) -> Inode:
        if check.links:
            # No name by its count and by the list, a name by its links: two against two.
            contested = inode.nlink == 0 and check.orphan
            return inode if contested else inode._replace(nlink=check.links)
        if inode.nlink == 0:
            self._list_orphan(check)
        return inode  # a count without a name: the name may be what was lost

    def _list_orphan(self, check: ObjectCheck) -> None:
        if check.orphan:
            return
        self.plan.orphans_added.append(check.number)
        what = f"object {check.number} is put into the list of orphans"
        why = "count, names and parent links all say that it has no name"
        self.plan.add("verify.orphan", what, f"object {check.number}", why, 0)
