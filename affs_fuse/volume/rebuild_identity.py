"""Whose volume is it, and how is it laid out? Asked where the superblocks may be gone.

What lies at places that no file's data can ever take is trusted: superblocks, ring and owner blocks
in the header regions, the segment headers at the first byte of each area (any segment size begins
there). After that structures vote that lie where they themselves say; a copy of another volume
inside a file does not. Two candidates that nothing tells apart are an error, not a choice.
"""

from collections import Counter
from dataclasses import dataclass

from affs_fuse.core.codec import Commit, Superblock
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    NODE_BLOCKS,
    REGION_SECOND_OFFSET,
    REGION_SIZE,
    SEGMENT_SHIFT_MAX,
    SEGMENT_SHIFT_MIN,
    TREE_NAMESPACE,
)
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout
from affs_fuse.volume.layout import Geometry, block_of, physical, segment_of
from affs_fuse.volume.rebuild_scan import Family, Identity, Scan
from affs_fuse.volume.superblock import check_features

__all__ = ["Known", "find_out"]

TRUSTED_OFFSETS = (REGION_SIZE, REGION_SECOND_OFFSET + REGION_SIZE)
"""Where a segment begins whatever the size of segments is."""

CLEAR_LEAD = 4
"""So many times more votes than the next one has, or it is no choice."""


@dataclass(frozen=True, slots=True)
class Known:
    """The identity and layout that the rebuild goes by, and in words how they were found.
    superblock: a good one, or None. records: of this volume, newest first, with checksums."""

    identity: Identity
    geometry: Geometry
    superblock: Superblock | None
    records: list[tuple[Commit, int]]
    family: Family
    notes: list[str]

    @property
    def label(self) -> str:
        if self.superblock is None:
            return ""
        return self.superblock.label[: self.superblock.label_length].decode("utf-8", "replace")


def find_out(scan: Scan, path: str, format_uuid: bytes | None = None) -> Known:
    """format_uuid: what the caller wants, where the volume cannot be told.

    Errors: rebuild.nothing (no structure of any volume), rebuild.ambiguous, volume.feature.
    """
    notes: list[str] = []
    superblock = _superblock(scan, format_uuid)
    if superblock is not None:
        check_features(superblock, writable=True)
        identity: Identity = (superblock.format_uuid, superblock.salt)
        geometry = Geometry(superblock.segment_shift, superblock.device_blocks)
        family = scan.families.get(identity, Family())
    else:
        identity = _vote(scan, path, format_uuid, notes)
        family = scan.families[identity]
        geometry = _geometry(scan, family, identity, notes)
    records = [(record, sum_) for record, sum_ in scan.records if record.uuid == identity[0]]
    if not family.nodes:
        raise AffsError(
            "rebuild.nothing",
            Category.CORRUPT,
            f"{path} holds no tree node that verifies: there is nothing to recover",
            hint="is it the right device, and does it begin where the volume began?",
        )
    return Known(identity, geometry, superblock, records, family, notes)


def _superblock(scan: Scan, format_uuid: bytes | None) -> Superblock | None:
    good = [reading.superblock for reading in scan.superblocks if reading.superblock is not None]
    wanted = [each for each in good if format_uuid in (None, each.format_uuid)]
    return max(wanted, key=lambda each: each.update_counter, default=None)


def _vote(scan: Scan, path: str, format_uuid: bytes | None, notes: list[str]) -> Identity:
    fixed = Counter([record.uuid for record, _ in scan.records] + scan.owners)
    votes = {
        identity: (
            fixed[identity[0]] > 0,
            _trusted(scan, identity, family),
            _in_place(family, scan.size_bytes),
        )
        for identity, family in scan.families.items()
        if format_uuid in (None, identity[0])
    }
    if not votes:
        raise AffsError(
            "rebuild.nothing",
            Category.CORRUPT,
            f"{path} holds no structure of {'that' if format_uuid else 'any'} AfFS volume",
            hint="is it the right device, and does it begin where the volume began?",
        )
    ranked = sorted(votes, key=lambda identity: votes[identity], reverse=True)
    best = votes[ranked[0]]
    if len(ranked) > 1:
        next_best = votes[ranked[1]]
        tied = best[0] == next_best[0] and bool(best[1]) == bool(next_best[1])
        if tied and best[2] < CLEAR_LEAD * next_best[2]:
            raise _ambiguous(path, ranked, votes)
        others = sum(len(scan.families[each].nodes) for each in ranked[1:])
        notes.append(f"{others} nodes of other volumes, or of copies in files, were left out")
    notes.append(
        f"the superblocks are gone: format UUID {ranked[0][0].hex()} and its salt were taken from"
        f" {best[1]} structures at places that no file can take and {best[2]} that lie where they"
        " say"
    )
    return ranked[0]


def _ambiguous(
    path: str, ranked: list[Identity], votes: dict[Identity, tuple[bool, int, int]]
) -> AffsError:
    shown = ", ".join(f"{each[0].hex()} ({votes[each][2]} structures)" for each in ranked[:4])
    return AffsError(
        "rebuild.ambiguous",
        Category.CORRUPT,
        f"{path} holds structures of several volumes, and nothing says whose it is: {shown}",
        hint="give the one that you want with --format-uuid",
        details={"format_uuids": [each[0].hex() for each in ranked[:16]]},
    )


def _trusted(scan: Scan, identity: Identity, family: Family) -> int:
    """Headers where no data can lie, and nodes that a record of the ring names by checksum."""
    count = sum(header.offset in TRUSTED_OFFSETS for header in family.headers)
    named = {
        (root.address, root.birth, int.from_bytes(root.checksum[:4], "little"))
        for record, _ in scan.records
        if record.uuid == identity[0]
        for root in (record.checkpoint_root, record.system_root, record.space_root)
    }
    return count + sum(
        (node.address, node.birth, node.checksum) in named
        for node in family.nodes
        if node.tree != TREE_NAMESPACE and _is_physical(node.address, node.offset)
    )


def _is_physical(address: int, offset: int) -> bool:
    return address == physical(0, offset // BLOCK_SIZE)


def _in_place(family: Family, size_bytes: int) -> int:
    """Structures that lie where they say."""
    nodes = sum(
        node.tree != TREE_NAMESPACE and _is_physical(node.address, node.offset)
        for node in family.nodes
    )
    return nodes + max(_headers_by_shift(family, size_bytes).values(), default=0)


def _headers_by_shift(family: Family, size_bytes: int) -> Counter[int]:
    fitting: Counter[int] = Counter()
    for shift in range(SEGMENT_SHIFT_MIN, SEGMENT_SHIFT_MAX + 1):
        geometry = Geometry(shift, size_bytes >> BLOCK_SHIFT)
        for header in family.headers:
            fitting[shift] += geometry.place_offset(header.place) == header.offset
    return fitting


def _geometry(scan: Scan, family: Family, identity: Identity, notes: list[str]) -> Geometry:
    """The size of segments with which most structures lie where they say."""
    blocks = scan.size_bytes >> BLOCK_SHIFT
    votes = _headers_by_shift(family, scan.size_bytes)
    for shift in range(SEGMENT_SHIFT_MIN, SEGMENT_SHIFT_MAX + 1):
        geometry = Geometry(shift, blocks)
        votes[shift] += sum(_begins_a_place(geometry, node.address, node.offset)
                            for node in family.nodes if node.tree == TREE_NAMESPACE)
    told = {record.segment_count for record, _ in scan.records if record.uuid == identity[0]}
    usual = layout.choose_segment_shift(scan.size_bytes, scan.size_bytes)

    def rank(shift: int) -> tuple[int, bool, bool]:
        return votes[shift], Geometry(shift, blocks).place_count in told, shift == usual

    best = max(range(SEGMENT_SHIFT_MIN, SEGMENT_SHIFT_MAX + 1), key=rank)
    notes.append(f"segments have {1 << best} bytes: {votes[best]} structures lie where that says")
    return Geometry(best, blocks)


def _begins_a_place(geometry: Geometry, address: int, offset: int) -> bool:
    """Does a node of the namespace lie where its address and this geometry say it can?"""
    block = block_of(address)
    if block + NODE_BLOCKS > geometry.segment_blocks or segment_of(address) >= 1 << 22:
        return False
    start = offset - (block << BLOCK_SHIFT)
    place = geometry.place_of_block(start >> BLOCK_SHIFT) if start > 0 else -1
    return place >= 0 and geometry.place_offset(place) == start
