"""Opening: which commit, why, and what it costs to fall back (docs/internals/recovery.md).

Deterministic: the same bytes give the same choice and the same report. The newest record that
verifies and belongs to this volume is chosen. Past records that do not verify the fallback is
automatic (they were never acknowledged). A record that verifies while its roots do not, or a slot
that cannot be read, is another matter: then the volume opens read-only and says so, and only
`recover=previous` allows writing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from affs_fuse.core.codec import Commit, Pointer, Superblock
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_SYSTEM,
    NODE_BLOCKS,
    NODE_SIZE,
    OBJECT_BITS,
    TREE_CHECKPOINT,
    TREE_NAMESPACE,
    TREE_SPACE,
    TREE_SYSTEM,
)
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import NodeCache, NodeMissing, Tree, Walk
from affs_fuse.device.device import Device, device_error
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout, space_tree
from affs_fuse.volume.commit import OBJECT_NUMBERS_AHEAD
from affs_fuse.volume.layout import Geometry
from affs_fuse.volume.ring import RingReading, read_ring
from affs_fuse.volume.space import Segment, Space
from affs_fuse.volume.states import StateTable
from affs_fuse.volume.working import SystemTrees, WorkingState

__all__ = ["Opened", "RecoveryReport", "load_system_node", "open_commit"]

NUMBERS_MAX = 1 << 62
"""Of commits and states: a million a second for a hundred thousand years."""

OBJECTS_MAX = 1 << OBJECT_BITS

SYSTEM_CACHE_BYTES_MAX = 1 << 40
"""The system cache is bounded by the system trees, not by a setting: see working.SystemTrees."""


@dataclass(slots=True)
class RecoveryReport:
    """What opening found. seq: of the commit that was opened; newest_seq: highest seq of any valid
    record. problem: what contradicts itself, so that nothing may be written whatever was allowed.
    notes: one line each, empty after a clean closing; read_only_reason: "" or why nothing
    may be written."""

    seq: int = 0
    newest_seq: int = 0
    problem: str = ""
    notes: list[str] = field(default_factory=list)
    read_only_reason: str = ""
    abandoned: list[int] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Opened:
    """A commit with all that is needed to work from it."""

    record: Commit
    image: bytes
    report: RecoveryReport
    cache: NodeCache
    trees: SystemTrees
    states: StateTable
    space: Space
    working: WorkingState


@dataclass(frozen=True, slots=True)
class _Source:
    """Where a commit is opened from."""

    device: Device
    superblock: Superblock
    geometry: Geometry
    cache_bytes: int
    amend: Callable[[list[Segment]], None]


def open_commit(
    device: Device,
    superblock: Superblock,
    geometry: Geometry,
    *,
    cache_bytes: int,
    make_space: Callable[[], Space],
    recover_previous: bool,
    amend: Callable[[list[Segment]], None] = lambda segments: None,
) -> Opened:
    """Choose and open a commit. Writes nothing. amend: may set right what is recorded of segments
    before anything is believed of it (repair.py).

    Errors: volume.no_commit (no record verifies), volume.roots_damaged (none of the records on the
    chain can be opened), volume.ring_conflict (two different records with one seq).
    """
    source = _Source(device, superblock, geometry, cache_bytes, amend)
    ring = read_ring(device, superblock.format_uuid)
    records = ring.records
    if not records:
        raise _no_commit(device, ring)
    report = RecoveryReport(newest_seq=records[0].seq)
    _note_ring(ring, report)
    images = {slot.record: slot.image for slot in reversed(ring.slots) if slot.record is not None}
    for record in _candidates(device, records, report):
        try:
            opened = _open(source, record, images, make_space(), report)
        except AffsError as error:
            report.notes.append(f"commit {record.seq} cannot be opened: {error.message}")
            report.abandoned.append(record.seq)
            continue
        _judge(report, ring, recover_previous)
        if report.problem:
            report.read_only_reason = report.read_only_reason or report.problem
            report.notes.append(report.problem)
        return opened
    raise AffsError(
        "volume.roots_damaged",
        Category.CORRUPT,
        f"no commit of {device.identity.path} can be opened: " + "; ".join(report.notes),
        hint="fsck.affs shows what is left, fsck.affs --rebuild recovers it into a new volume",
    )


def _candidates(device: Device, records: list[Commit], report: RecoveryReport) -> Iterator[Commit]:
    """The newest record, then its ancestors by seq and checksum: never a record off the chain."""
    newest = [record for record in records if record.seq == records[0].seq]
    if len(newest) > 1:
        raise AffsError(
            "volume.ring_conflict",
            Category.CORRUPT,
            f"{device.identity.path} has two different commit records with seq {newest[0].seq}",
            hint="two hosts may have written to it; fsck.affs shows both",
        )
    current: Commit | None = newest[0]
    by_seq: dict[int, list[Commit]] = {}
    for record in records:
        by_seq.setdefault(record.seq, []).append(record)
    while current is not None:
        report.seq = current.seq
        yield current
        parent = current.parent_seq
        current = next(iter(by_seq.get(parent, [])), None) if parent else None


def _open(
    source: _Source,
    record: Commit,
    images: dict[Commit, bytes],
    space: Space,
    report: RecoveryReport,
) -> Opened:
    superblock = source.superblock
    cache = NodeCache(source.cache_bytes, superblock.format_uuid, superblock.salt)
    trees = _open_system(source, record)
    states = StateTable(trees.checkpoint)
    report.problem = states.problem or _used_up(record)
    if record.ancestor and states.get(record.ancestor) is None:
        raise StructureError("field", "the commit's trees")
    tree = Tree(cache, TREE_NAMESPACE, record.namespace_root)
    segments = list(space_tree.read_segments(trees.space, source.geometry))
    _check_segments(segments, source.geometry)
    source.amend(segments)
    _load_root(source, record.namespace_root, cache, segments)
    for segment in segments:
        space.add(segment)
    _mark_system(space, trees)
    for intent, entry in enumerate(record.open_segments):
        opened = space.segments.get(entry.segment)
        if entry.next_block and opened is not None and opened.intent == intent:
            space.open[intent] = entry.segment
            opened.cursor = min(entry.next_block, source.geometry.segment_blocks)
    _hold_back(source, record, images, space, report)
    working = WorkingState(
        tree, record.ancestor, states.seq_of(record.ancestor), record.object_count
    )
    return Opened(record, images[record], report, cache, trees, states, space, working)


def _open_system(source: _Source, record: Commit) -> SystemTrees:
    """The three system trees of a commit, every node loaded and verified."""
    superblock = source.superblock
    cache = NodeCache(SYSTEM_CACHE_BYTES_MAX, superblock.format_uuid, superblock.salt)
    trees = SystemTrees(
        cache,
        Tree(cache, TREE_CHECKPOINT, record.checkpoint_root),
        Tree(cache, TREE_SYSTEM, record.system_root),
        Tree(cache, TREE_SPACE, record.space_root),
    )
    for root in (record.checkpoint_root, record.system_root, record.space_root):
        for _ in _walk(source.device, cache, root, 0):
            pass
    return trees


def _walk(device: Device, cache: NodeCache, root: Pointer, level_min: int) -> Iterator[Pointer]:
    walk = Walk(cache, root, level_min)
    while True:
        try:
            pointer = next(walk)
        except StopIteration:
            return
        except NodeMissing as missing:
            load_system_node(device, cache, missing.pointer)
            continue
        yield pointer


def load_system_node(device: Device, cache: NodeCache, pointer: Pointer) -> None:
    """Read a node of a system tree into the cache. Errors: device.io, StructureError."""
    offset = layout.physical_block(pointer.address) * BLOCK_SIZE
    image, result = device.read(offset, NODE_SIZE)
    if not result.ok:
        raise device_error("reading", device.identity, offset, result)
    cache.install(pointer, image)


def _load_root(
    source: _Source, pointer: Pointer, cache: NodeCache, segments: list[Segment]
) -> None:
    """The namespace's root must verify before a commit counts as openable."""
    number = layout.segment_of(pointer.address)
    place = next((segment.place for segment in segments if segment.number == number), None)
    if place is None:
        raise StructureError("field", "the commit's trees")
    offset = source.geometry.place_offset(place) + layout.block_of(pointer.address) * BLOCK_SIZE
    image, result = source.device.read(offset, NODE_SIZE)
    if not result.ok:
        raise device_error("reading", source.device.identity, offset, result)
    cache.install(pointer, image)


def _used_up(record: Commit) -> str:
    """Numbers that leave no room for more come from no writer."""
    if record.next_object > OBJECTS_MAX - 2 * OBJECT_NUMBERS_AHEAD:
        return "its object numbers are used up"
    if max(record.seq, record.next_state) >= NUMBERS_MAX:
        return "its numbers of commits or states are used up"
    return ""


def _check_segments(segments: list[Segment], geometry: Geometry) -> None:
    """What a space tree says must be possible: places exist and belong to one segment each."""
    places: set[int] = set()
    for segment in segments:
        if segment.place >= geometry.place_count or segment.place in places:
            raise StructureError("field", "the commit's trees")
        places.add(segment.place)


def _mark_system(space: Space, trees: SystemTrees) -> None:
    """Derive the bitmaps of system segments from the nodes of the three trees."""
    for tree in trees.all:
        root = tree.root
        assert root is not None
        for pointer in Walk(trees.cache, root, 1):
            space.mark_system(layout.physical_block(pointer.address))


def _hold_back(
    source: _Source,
    record: Commit,
    images: dict[Commit, bytes],
    space: Space,
    report: RecoveryReport,
) -> None:
    """Blocks that one of the two commits before needs must not be reused yet (disk-layout.md,
    "When a block may be reused"). A commit that cannot be read cannot be fallen back to: it holds
    nothing."""
    by_seq = {candidate.seq: candidate for candidate in images}
    newer = record
    for age in (1, 2):
        older = by_seq.get(newer.parent_seq) if newer.parent_seq else None
        if older is None:
            return
        try:
            older_trees = _open_system(source, older)
            _hold_trees(source, older_trees, space, age)
        except AffsError:
            report.notes.append(f"commit {older.seq} is no longer whole: no fallback to it")
            return
        newer = older


def _hold_trees(source: _Source, older: SystemTrees, space: Space, age: int) -> None:
    for tree in older.all:
        root = tree.root
        assert root is not None
        for pointer in Walk(older.cache, root, 1):
            block = layout.physical_block(pointer.address)
            if (run := space.locate(block, NODE_BLOCKS)) is not None:
                space.hold(run, age)
    for segment in space_tree.read_segments(older.space, source.geometry):
        current = space.segments.get(segment.number)
        if segment.intent == INTENT_SYSTEM or current is None or current.place != segment.place:
            continue
        if current.bits == segment.bits:
            continue
        for first, count in _set_runs(segment.bits):
            start = max(first, 1)  # block 0 is the segment's header
            if first + count > start:
                space.hold((segment.number, start, first + count - start), age)


def _set_runs(bits: bytearray) -> Iterator[tuple[int, int]]:
    """Runs of set bits as (first, count)."""
    text = bin(int.from_bytes(bits, "little"))[:1:-1]
    at = text.find("1")
    while at >= 0:
        end = text.find("0", at)
        end = len(text) if end < 0 else end
        yield at, end - at
        at = text.find("1", end)


def _note_ring(ring: RingReading, report: RecoveryReport) -> None:
    for slot in ring.damaged:
        report.notes.append(
            f"slot {slot.index} of ring {slot.region + 1} holds no valid record ({slot.reason})"
        )


def _judge(report: RecoveryReport, ring: RingReading, recover_previous: bool) -> None:
    """May this opening write?"""
    reasons = []
    if report.abandoned:
        reasons.append(
            f"the newest commit {report.newest_seq} is damaged, commit {report.seq} was opened"
        )
    both = {slot.index for slot in ring.unreadable if slot.region == 0} & {
        slot.index for slot in ring.unreadable if slot.region == 1
    }
    if both:
        reasons.append(f"ring slots {sorted(both)} cannot be read, the newest commit may be in one")
    if reasons and not recover_previous:
        report.read_only_reason = "; ".join(reasons) + " (-o recover=previous allows writing)"
    report.notes.extend(reasons)


def _no_commit(device: Device, ring: RingReading) -> AffsError:
    damaged = len(ring.damaged)
    return AffsError(
        "volume.no_commit",
        Category.CORRUPT,
        f"{device.identity.path} has no valid commit record ({damaged} damaged slots)",
        hint="mkfs.affs was interrupted, or the ring is destroyed; fsck.affs --rebuild recovers"
        " what is left into a new volume",
    )
