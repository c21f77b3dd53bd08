"""Space: which blocks of which segments are in use, and where the next ones come from.

docs/specs/DiskLayout.md, "Space tree"; design: disk-layout.md, "Reclaim" and "Space never runs out
badly".

Two maps a segment. `bits` is what the next cut will record: exactly what that cut reaches. `held`
are blocks that are free in `bits` but that one of the three newest commits on the parent chain, or
a read still under way, may need. A block is allocated only where both are clear. Invariants:

- used = set bits of `bits` but block 0 (the segment header); 0 <= used + held <= capacity.
- A freed block goes to `held`, always, and leaves it in ripen() only.
- A segment leaves (its place is given back) only when used and held are both 0 and it is not open.
- System segments are not recorded by bitmaps: at opening their bits are derived from the system
trees.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from affs_fuse.core import bitmap
from affs_fuse.core.constants import (
    EXTENT_BLOCKS_MAX,
    INTENT_METADATA,
    INTENT_SYSTEM,
    INTENTS,
    NODE_BLOCKS,
)
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.half_done import Contradiction
from affs_fuse.volume.layout import Geometry, block_of, logical, segment_of

__all__ = ["Room", "Run", "Segment", "Space", "SpaceClass", "no_space"]

Run = tuple[int, int, int]
"""(segment number, first block, count of blocks)."""

SpaceClass = int
CLASS_SYSTEM, CLASS_METADATA, CLASS_DATA = range(3)

PREPARED_PLACES = 4
"""Places that the host sets aside in advance, so that allocating does not wait for it."""


def class_of(intent: int) -> SpaceClass:
    if intent == INTENT_SYSTEM:
        return CLASS_SYSTEM
    return CLASS_METADATA if intent == INTENT_METADATA else CLASS_DATA


@dataclass(slots=True, eq=False)
class Segment:
    """One segment in memory. cursor: where the next search for room begins, in blocks."""

    number: int
    intent: int
    place: int
    birth: int
    bits: bytearray
    held: bytearray | None = None
    used: int = 0
    held_count: int = 0
    cursor: int = 0
    copy_generation: int = 1


@dataclass(frozen=True, slots=True)
class Room:
    """What is left, in 4 KiB blocks (data) and 16 KiB nodes (metadata, system)."""

    data_blocks: int
    metadata_nodes: int
    system_nodes: int
    held_blocks: int


@dataclass(slots=True)
class _Freed:
    """Runs freed before cut number `cut` (counted since opening), not yet ripe."""

    cut: int
    runs: list[Run] = field(default_factory=list)


class Space:
    """The allocator of one volume. Only the thread that owns the engine calls it.

    prepare(place): make sure that the host has the room (raises AffsError no_space); called before
    a segment gets its intent, so that no commit meets the host's ENOSPC.
    """

    def __init__(
        self, geometry: Geometry, place_count: int, prepare: Callable[[int], None]
    ) -> None:
        self.geometry = geometry
        self.place_count = place_count
        self.segments: dict[int, Segment] = {}
        self.open: list[int] = [-1] * INTENTS
        self.changed: set[int] = set()
        self.removed: set[int] = set()
        self.new_segments: list[Segment] = []
        self._prepare = prepare
        self._places = bytearray((place_count + 7) // 8)
        self._numbers: dict[int, int] = {}  # place -> segment number
        self._free_places = place_count
        self._prepared: list[int] = []
        self._free = [0, 0, 0]
        self._held = 0
        self._used = 0
        self._cuts = 0
        self._freed: list[_Freed] = []
        self._freeing = _Freed(1)
        self.quarantined_blocks = 0
        self.metadata_reserve_segments = max(2, place_count * 2 // 100)
        self.system_reserve_segments = self._system_reserve()

    # ---- figures ----

    @property
    def used_blocks(self) -> int:
        """Blocks that data and the namespace use (system trees are not counted)."""
        return self._used

    @property
    def held_blocks(self) -> int:
        return self._held

    @property
    def cut_count(self) -> int:
        """Cuts since opening: what a reader notes when it starts, for ripen()."""
        return self._cuts

    def capacity(self, intent: int) -> int:
        """Blocks of a segment that can be allocated."""
        if class_of(intent) == CLASS_DATA:
            return self.geometry.segment_blocks - 1
        return self.geometry.nodes_per_segment * NODE_BLOCKS

    def room(self) -> Room:
        """What could still be allocated, reserves of others left alone."""
        geometry = self.geometry
        for_metadata = max(0, self._free_places - self.system_reserve_segments)
        for_data = max(0, for_metadata - self.metadata_reserve_segments)
        return Room(
            self._free[CLASS_DATA] + for_data * (geometry.segment_blocks - 1),
            self._free[CLASS_METADATA] // NODE_BLOCKS + for_metadata * geometry.nodes_per_segment,
            self._free[CLASS_SYSTEM] // NODE_BLOCKS
            + self._free_places * geometry.nodes_per_segment,
            self._held,
        )

    def _system_reserve(self) -> int:
        """Segments kept for the system: room for four space trees of the largest size."""
        chunk_bytes = self.geometry.segment_blocks // 8
        items_bytes = self.place_count * (64 + 24 + chunk_bytes + 24)
        nodes = 4 * (items_bytes // 8000 + 8)
        return max(1, -(-nodes // self.geometry.nodes_per_segment))

    # ---- segments ----

    def locate(self, device_block: int, count: int) -> Run | None:
        """The run of a system node by its device block; None where no segment lies there."""
        place = self.geometry.place_of_block(device_block)
        segment = self._by_place(place)
        if segment is None:
            return None
        return segment.number, device_block - self.geometry.place_block(place), count

    def mark_system(self, device_block: int) -> None:
        """At opening: a system node lies here. Errors: Contradiction if it cannot, or another one
        does.
        """
        run = self.locate(device_block, NODE_BLOCKS)
        if run is None:
            raise Contradiction(f"a system node at block {device_block} lies in no segment")
        segment = self.segments[run[0]]
        try:
            bitmap.set_range(segment.bits, run[1], run[2])
        except ValueError as error:
            raise Contradiction(f"two system nodes at block {device_block}") from error
        segment.used += run[2]
        self._count(segment, -run[2], 0, run[2])

    def _by_place(self, place: int) -> Segment | None:
        number = self._numbers.get(place)
        return None if number is None else self.segments[number]

    def add(self, segment: Segment) -> None:
        """Take in a segment as recorded (opening, mkfs)."""
        self.segments[segment.number] = segment
        self._numbers[segment.place] = segment.number
        bitmap.set_range(self._places, segment.place, 1)
        self._free_places -= 1
        if segment.place in self._prepared:
            self._prepared.remove(segment.place)
        space_class = class_of(segment.intent)
        free = self.capacity(segment.intent) - segment.used - segment.held_count
        self._free[space_class] += free
        self._held += segment.held_count
        if space_class != CLASS_SYSTEM:
            self._used += segment.used

    def new_segment(self, intent: int, birth: int) -> Segment | None:
        """Give a free place to `intent`; None if the reserves forbid it. Errors: the host's
        ENOSPC.
        """
        keep = {
            CLASS_SYSTEM: 0,
            CLASS_METADATA: self.system_reserve_segments,
            CLASS_DATA: self.system_reserve_segments + self.metadata_reserve_segments,
        }[class_of(intent)]
        if self._free_places <= keep:
            return None
        if self._prepared:
            place = self._prepared.pop(0)
        else:
            place = self._lowest_free_place(self._places)
            self._prepare(place)
        number = place if place not in self.segments else self._lowest_number()
        bits = bytearray(self.geometry.segment_blocks // 8)
        bits[0] = 1
        segment = Segment(number, intent, place, birth, bits, cursor=_first_block(intent))
        self.removed.discard(number)
        self.add(segment)
        self.changed.add(number)
        self.new_segments.append(segment)
        return segment

    def place_to_prepare(self) -> int | None:
        """A free place that the host has not set aside yet, if there are too few that it has."""
        if len(self._prepared) >= PREPARED_PLACES or self._free_places <= len(self._prepared):
            return None
        places = bytearray(self._places)
        for place in self._prepared:
            bitmap.set_range(places, place, 1)
        return self._lowest_free_place(places)

    def note_prepared(self, place: int) -> None:
        """The host has set this place aside; it is among the next to be used, if it is still
        free.
        """
        taken = bitmap.count(self._places, place, 1)
        if not taken and place not in self._prepared:
            self._prepared.append(place)

    def _lowest_free_place(self, places: bytearray) -> int:
        found = bitmap.find(places, None, 0, 1, 1, self.place_count)
        assert found is not None, "asked for with no place free"
        return found[0]

    def _lowest_number(self) -> int:
        number = 0
        while number in self.segments:
            number += 1
        return number

    def _release(self, segment: Segment) -> None:
        del self.segments[segment.number]
        del self._numbers[segment.place]
        bitmap.clear_range(self._places, segment.place, 1)
        self._free_places += 1
        self._free[class_of(segment.intent)] -= self.capacity(segment.intent)
        self.changed.discard(segment.number)
        self.removed.add(segment.number)

    # ---- allocating ----

    def allocate_data(self, intent: int, blocks: int, birth: int) -> list[Run]:
        """Runs of at most EXTENT_BLOCKS_MAX blocks, `blocks` together. Atomic.

        Errors: volume.no_space (nothing was taken); device.no_space.
        """
        runs: list[Run] = []
        left = blocks
        try:
            while left:
                run = self._allocate_run(intent, min(left, EXTENT_BLOCKS_MAX), birth)
                if run is None:
                    raise no_space("data blocks")
                runs.append(run)
                left -= run[2]
        except AffsError:  # the host's too
            for taken in runs:
                self.undo(taken)
            raise
        return runs

    def allocate_nodes(self, intent: int, count: int, birth: int) -> list[Run]:
        """`count` runs of NODE_BLOCKS blocks for tree nodes (METADATA or SYSTEM). Atomic.

        Errors: volume.no_space; device.no_space.
        """
        runs: list[Run] = []
        try:
            for _ in range(count):
                run = self._allocate_node(intent, birth)
                if run is None:
                    raise no_space("tree nodes")
                runs.append(run)
        except AffsError:  # the host's too
            for taken in runs:
                self.undo(taken)
            raise
        return runs

    def _allocate_node(self, intent: int, birth: int) -> Run | None:
        segment = self.segments.get(self.open[intent])
        if segment is not None and (run := self._search(segment, NODE_BLOCKS, NODE_BLOCKS)):
            return run
        for segment in self._candidates(intent):
            if run := self._search(segment, NODE_BLOCKS, NODE_BLOCKS):
                self.open[intent] = segment.number
                return run
        fresh = self.new_segment(intent, birth)
        if fresh is None:
            return None
        self.open[intent] = fresh.number
        return self._search(fresh, NODE_BLOCKS, NODE_BLOCKS)

    def _allocate_run(self, intent: int, longest: int, birth: int) -> Run | None:
        """The open segment from its cursor on; a roomy one; a new one; then whatever there is."""
        segment = self.segments.get(self.open[intent])
        if segment is not None and (run := self._search(segment, min(longest, 16), longest)):
            return run
        roomy = self.geometry.segment_blocks // 4
        for candidate in self._candidates(intent):
            if self._free_of(candidate) < roomy:
                break
            if run := self._search(candidate, min(longest, 16), longest):
                self.open[intent] = candidate.number
                return run
        fresh = self.new_segment(intent, birth)
        if fresh is not None:
            self.open[intent] = fresh.number
            return self._search(fresh, 1, longest)
        return self._allocate_scrap(longest)

    def _allocate_scrap(self, longest: int) -> Run | None:
        """Any free run in any data segment: intents are a preference only."""
        data = [
            segment
            for segment in self.segments.values()
            if class_of(segment.intent) == CLASS_DATA and self._free_of(segment) > 0
        ]
        for segment in sorted(data, key=self._free_of, reverse=True):
            for shortest in (min(longest, 16), 1):
                if run := self._search(segment, shortest, longest):
                    return run
        return None

    def _candidates(self, intent: int) -> list[Segment]:
        """Segments of this intent with room, roomiest first (then by number: deterministic)."""
        found = [
            segment
            for segment in self.segments.values()
            if segment.intent == intent and self._free_of(segment) > 0
        ]
        return sorted(found, key=lambda segment: (-self._free_of(segment), segment.number))

    def _free_of(self, segment: Segment) -> int:
        return self.capacity(segment.intent) - segment.used - segment.held_count

    def _search(self, segment: Segment, shortest: int, longest: int) -> Run | None:
        """A run at or after the cursor, else from the beginning; taken."""
        if self._free_of(segment) < shortest:
            return None
        first = _first_block(segment.intent)
        blocks = self.geometry.segment_blocks
        for start in (max(segment.cursor, first), first):
            found = bitmap.find(segment.bits, segment.held, start, shortest, longest, blocks)
            if found is not None:
                self._take(segment, *found)
                segment.cursor = found[0] + found[1]
                return segment.number, found[0], found[1]
        return None

    def _take(self, segment: Segment, first: int, count: int) -> None:
        bitmap.set_range(segment.bits, first, count)
        segment.used += count
        self._count(segment, -count, 0, count)
        self._note_change(segment)

    def undo(self, run: Run) -> None:
        """Take back an allocation that nobody has seen."""
        segment = self.segments[run[0]]
        bitmap.clear_range(segment.bits, run[1], run[2])
        segment.used -= run[2]
        self._count(segment, run[2], 0, -run[2])
        self._note_change(segment)

    def _note_change(self, segment: Segment) -> None:
        """The item of a system segment says nothing of its blocks, so it does not change."""
        if segment.intent != INTENT_SYSTEM:
            self.changed.add(segment.number)

    def _count(self, segment: Segment, free: int, held: int, used: int) -> None:
        space_class = class_of(segment.intent)
        self._free[space_class] += free
        self._held += held
        if space_class != CLASS_SYSTEM:
            self._used += used

    # ---- freeing ----

    def free(self, address: int, count: int) -> None:
        """The state to be cut next does not reach these blocks; they are held back until ripe.

        Errors: Contradiction, changing nothing here, if one of them is free already or nowhere.
        """
        self._free_run((segment_of(address), block_of(address), count))

    def quarantine(self, address: int, count: int) -> None:
        """Blocks that the device refused, and to which nothing refers: in use by nothing, and not
        given out again until the volume is opened anew."""
        segment = self.segments[segment_of(address)]
        first = block_of(address)
        bitmap.clear_range(segment.bits, first, count)
        if segment.held is None:
            segment.held = bytearray(len(segment.bits))
        bitmap.set_range(segment.held, first, count)
        segment.used -= count
        segment.held_count += count
        self._count(segment, 0, 0, -count)
        self.quarantined_blocks += count
        self._note_change(segment)

    def free_physical(self, block: int, count: int) -> None:
        """The same for a system node by its device block."""
        run = self.locate(block, count)
        if run is None:
            raise Contradiction(f"a system node at block {block} lies in no segment")
        self._free_run(run)

    def _free_run(self, run: Run) -> None:
        segment = self.segments.get(run[0])
        if segment is None:
            raise Contradiction(f"blocks of segment {run[0]}, which is not in use, are given back")
        try:
            bitmap.clear_range(segment.bits, run[1], run[2])
        except ValueError as error:
            raise Contradiction(
                f"blocks {run[1]} to {run[1] + run[2] - 1} of segment {run[0]} are given back, and"
                " some of them are free"
            ) from error
        segment.used -= run[2]
        if segment.held is None:
            segment.held = bytearray(len(segment.bits))
        bitmap.set_range(segment.held, run[1], run[2])
        segment.held_count += run[2]
        self._count(segment, 0, run[2], -run[2])
        self._note_change(segment)
        self._freeing.runs.append(run)

    def hold(self, run: Run, age: int) -> None:
        """At opening: blocks that the commit `age` steps back on the chain still needs.

        Those of the last but one (age 1) until two more commits are durable, of age 2 one more.
        What is in use or held already is left out, so the younger commit's blocks must be given
        first.
        """
        segment = self.segments[run[0]]
        if segment.held is None:
            segment.held = bytearray(len(segment.bits))
        runs = list(_free_parts(segment, run))
        for _, first, count in runs:
            bitmap.set_range(segment.held, first, count)
            segment.held_count += count
            self._count(segment, -count, count, 0)
        self._freed.append(_Freed(1 - age, runs))

    def note_cut(self) -> None:
        """A cut was made: what was freed before it is recorded as free by it."""
        self._cuts += 1
        self._freed.append(self._freeing)
        self._freeing = _Freed(self._cuts + 1)

    def ripen(self, oldest_reader: int | None) -> None:
        """A commit is durable: blocks that the three newest record as free may be used again.

        oldest_reader: cut_count when the oldest read or write under way began, None if there is
        none.
        """
        limit = self._cuts - 2
        if oldest_reader is not None:
            limit = min(limit, oldest_reader)
        ripe = [freed for freed in self._freed if freed.cut <= limit]
        if not ripe:
            return
        self._freed = [freed for freed in self._freed if freed.cut > limit]
        for freed in ripe:
            for run in freed.runs:
                self._unhold(run)

    def _unhold(self, run: Run) -> None:
        segment = self.segments[run[0]]
        assert segment.held is not None
        bitmap.clear_range(segment.held, run[1], run[2])
        segment.held_count -= run[2]
        self._count(segment, run[2], -run[2], 0)
        if segment.held_count == 0:
            segment.held = None
            if segment.used == 0 and segment.number not in self.open:
                self._release(segment)

    def node_address(self, run: Run) -> int:
        """Logical address of a run."""
        return logical(run[0], run[1])

    def recorded(self) -> Iterator[Segment]:
        """Segments whose items differ from the space tree, by number."""
        for number in sorted(self.changed):
            yield self.segments[number]


def _first_block(intent: int) -> int:
    """Nodes lie aligned to their size; block 0 is the segment header."""
    return 1 if class_of(intent) == CLASS_DATA else NODE_BLOCKS


def _free_parts(segment: Segment, run: Run) -> Iterator[Run]:
    """The parts of a run that are neither in use nor held."""
    at, end = run[1], run[1] + run[2]
    while at < end:
        found = bitmap.find(segment.bits, segment.held, at, 1, end - at, end)
        if found is None:
            return
        yield run[0], found[0], found[1]
        at = found[0] + found[1]


def no_space(what: str) -> AffsError:
    return AffsError(
        "volume.no_space",
        Category.NO_SPACE,
        f"no room for {what} is left on the volume",
        hint="delete files, or kept states with affsctl delete; affsctl df shows what holds it",
        retryable=True,
    )
