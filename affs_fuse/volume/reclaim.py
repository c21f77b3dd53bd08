"""Deleting kept states: what may be freed, found by a pruned difference between immutable trees.

disk-layout.md, "Reclaim"; the rules are modelled in tests/models. A state S with parent P and one
descendant C: freed is what S refers to, born after P, and not in C. A state from which two or more
descend waits. Births only grow, a state never refers to a block twice, and a block that a state
has dropped never comes back into its descendants: so blocks can be compared by address alone.

Nothing is freed while the job looks: the result is applied without a cut in between, together with
the removal of the state, and becomes durable with one commit. A crash before it leaves the state
doomed, and the job starts again at the next opening.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from affs_fuse.core.codec import Extent, Xattr
from affs_fuse.core.constants import (
    DIFF_NODE_A,
    DIFF_NODE_B,
    ITEM_EXTENT,
    ITEM_XATTR,
    NODE_BLOCKS,
    STATE_DOOMED,
    STATE_HIDDEN,
    TREE_NAMESPACE,
    XATTR_EXTENT,
)
from affs_fuse.core.tree import Diff, DiffEvent, NodeMissing, Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.commit import CutRequest, Keep, free_dropped
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = [
    "EVENTS_PER_STEP",
    "Frees",
    "ReclaimJob",
    "check_deletable",
    "collect",
    "doom",
    "end_grace",
    "extents_of",
    "next_end_of_grace",
    "next_job",
    "waiting_for",
]

EVENTS_PER_STEP = 2000
"""Differences looked at in one step: a few milliseconds."""
RUNS_PER_STEP = 500
"""Runs of blocks freed in one step."""

BlockRun = tuple[int, int, int]
"""(logical address, blocks, birth)."""


def check_deletable(volume: Volume, state: KeptState) -> None:
    """Errors: state.published, state.pinned."""
    published = volume.states.published
    if published is not None and published.number == state.number:
        raise AffsError(
            "state.published",
            Category.CONFLICT,
            f"state {state.name} is the published one",
            hint="publish another state first",
        )
    if state.pins:
        raise AffsError(
            "state.pinned",
            Category.CONFLICT,
            f"state {state.name} is pinned ({state.pins})",
            hint="affsctl unpin releases it",
        )


def doom(volume: Volume, state: KeptState, grace_ns: int = 0) -> KeptState:
    """Mark a state as deleted: it disappears from every list at once, and undo no longer leads to
    it. For grace_ns it can be restored. Errors: as check_deletable."""
    check_deletable(volume, state)
    until = volume.clock.now_ns() + grace_ns if grace_ns else 0
    doomed = replace(state, flags=state.flags | STATE_DOOMED, reclaim_ns=until)
    volume.begin_change()
    volume.states.put(doomed)
    volume.states.forget_pointers_to(state.number)
    return doomed


def next_end_of_grace(volume: Volume) -> int | None:
    """When the next deleted state can be restored no longer, in ns since the epoch."""
    return min(
        (state.reclaim_ns for state in volume.states.all() if state.restorable), default=None
    )


def end_grace(volume: Volume) -> bool:
    """Room is needed: what was deleted cannot be restored from now on. Whether there was such."""
    graced = [state for state in volume.states.all() if state.restorable]
    for state in graced:
        volume.states.put(replace(state, reclaim_ns=0))
    return bool(graced)


def waiting_for(volume: Volume, state: KeptState) -> list[KeptState]:
    """The states because of which a deleted one keeps its blocks: its descendants, if there are
    several.
    """
    children = volume.states.children(state.number)
    count = len(children) + (volume.working.ancestor == state.number)
    return children if count > 1 else []


def next_job(volume: Volume) -> "ReclaimJob | None":
    """A job for a doomed state that can be reclaimed now: past its grace, not a branch point, not
    held by a view. A hidden state is one that a job left when it was interrupted.
    """
    now_ns = volume.clock.now_ns()
    for state in volume.states.all():
        if not state.flags & STATE_DOOMED or state.reclaim_ns > now_ns:
            continue
        if volume.held(state.number):
            continue
        children = volume.states.children(state.number)
        working = volume.working.ancestor == state.number
        if len(children) + working > 1:
            continue
        if any(volume.held(child.number) for child in children):
            continue
        return ReclaimJob(volume, state)
    return None


@dataclass(slots=True, eq=False)
class Frees:
    """What one comparison found. Blocks of A that turn up in B too are not freed."""

    a_nodes: dict[int, int] = field(default_factory=dict)
    b_nodes: set[int] = field(default_factory=set)
    a_extents: list[BlockRun] = field(default_factory=list)
    b_extents: list[BlockRun] = field(default_factory=list)

    def result(self, born_after: int) -> list[tuple[int, int]]:
        """(address, blocks) runs to free, neighbours joined: files that were written one after the
        other are freed as a few long runs. (No run reaches over a segment: block 0 is its
        header.)"""
        nodes = [
            (address, NODE_BLOCKS)
            for address, birth in self.a_nodes.items()
            if birth > born_after and address not in self.b_nodes
        ]
        young = [run for run in self.a_extents if run[2] > born_after]
        return _joined(sorted([*nodes, *_subtract(young, self.b_extents)]))


class ReclaimJob:
    """Reclaims one doomed state. prepare(), then step() until it is True, then apply(), then a
    commit. To spread apply() over many turns: sort() in any thread, forget(), then free_step()
    until it is True; from forget() on no cut may be made before that.

    If the state's only descendant is the working state, prepare() says so by a cut request that
    keeps the working state as a hidden one: the comparison needs an immutable descendant. What
    changes while it runs is found by comparing the hidden state with the working one in apply(),
    in the same turn.
    """

    def __init__(self, volume: Volume, state: KeptState) -> None:
        self._volume = volume
        self.state = state
        self._hidden: KeptState | None = None
        self._frees = Frees()
        self._runs: list[tuple[int, int]] | None = None
        self._freed = 0
        self._trees: tuple[Tree, Tree] | None = None
        self._diff: Diff | None = None
        self.events = 0

    def prepare(self) -> CutRequest | None:
        """The commit that is needed before the first step, or None."""
        if self._volume.working.ancestor != self.state.number:
            return None
        flags = STATE_HIDDEN | STATE_DOOMED
        return CutRequest(keep=Keep(self._volume.new_state_id(), flags=flags))

    def begin(self, hidden: KeptState | None) -> None:
        """hidden: the state that prepare()'s commit kept."""
        self._hidden = hidden
        other = hidden or self._child() or self._parent()
        volume = self._volume
        mine = volume.open_state(self.state)
        theirs = (
            volume.open_state(other)
            if other is not None
            else Tree(volume.cache, TREE_NAMESPACE, None, writable=False)
        )
        self._trees = mine, theirs

    def step(self) -> bool:
        """Look at some more differences; True when there are no more. Raises NodeMissing (go on
        after). After any other error it starts again: a difference may be lost.
        """
        diff, self._diff = self._diff, None
        if diff is None:
            assert self._trees is not None
            self._frees, diff = Frees(), Diff(*self._trees)
        for _ in range(EVENTS_PER_STEP):
            try:
                event = next(diff)
            except (NodeMissing, StopIteration) as end:
                self._diff = diff
                if isinstance(end, NodeMissing):
                    raise
                return True
            self.events += 1
            collect(self._frees, event)
        self._diff = diff
        return False

    def sort(self) -> None:
        """What is to be freed, out of what was found; once."""
        if self._runs is not None:
            return
        self._runs = self._frees.result(self._volume.states.seq_of(self.state.parent))
        self._frees = Frees()

    def forget(self) -> int:
        """The state is no more; the number of blocks that free_step() is to free. One turn. Raises
        NodeMissing, with nothing changed (call again)."""
        volume, state = self._volume, self.state
        assert self._runs is not None, "sort() comes first"
        volume.begin_change()
        # What the working state dropped since its last cut is judged by the ancestor it had then.
        free_dropped(volume.space, volume.working)
        self._runs += self._late_frees() if self._hidden is not None else []
        gone = [state] + ([self._hidden] if self._hidden is not None else [])
        for child in volume.states.children(gone[-1].number):
            volume.states.put(replace(child, parent=state.parent))
        if volume.working.ancestor == gone[-1].number:
            volume.working.ancestor = state.parent
            volume.working.ancestor_seq = volume.states.seq_of(state.parent)
        for each in gone:
            volume.states.forget_pointers_to(each.number)
            volume.states.remove(each.number)
        volume.note_change()
        return sum(blocks for _, blocks in self._runs)

    def free_step(self) -> bool:
        """Free some more; True when all is freed."""
        assert self._runs is not None
        self._volume.begin_change()
        for address, blocks in self._runs[self._freed : self._freed + RUNS_PER_STEP]:
            self._volume.space.free(address, blocks)
            self._freed += 1
        return self._freed == len(self._runs)

    def apply(self) -> int:
        """All of that in one turn. Raises NodeMissing, with nothing changed (call again)."""
        self.sort()
        freed = self.forget()
        while not self.free_step():
            pass
        return freed

    def _late_frees(self) -> list[tuple[int, int]]:
        """What the hidden state has, the working state has dropped since, and no one else needs."""
        assert self._hidden is not None
        frees = Frees()
        hidden = self._volume.open_state(self._hidden)
        for event in Diff(hidden, self._volume.working.tree):
            collect(frees, event)
        return frees.result(self._volume.states.seq_of(self.state.parent))

    def _child(self) -> KeptState | None:
        children = self._volume.states.children(self.state.number)
        return children[0] if children else None

    def _parent(self) -> KeptState | None:
        return self._volume.states.get(self.state.parent)


def collect(frees: Frees, event: DiffEvent) -> None:
    """Note the nodes and blocks of one difference."""
    if event.kind == DIFF_NODE_A:
        assert event.node is not None
        frees.a_nodes[event.node.address] = event.node.birth
    elif event.kind == DIFF_NODE_B:
        assert event.node is not None
        frees.b_nodes.add(event.node.address)
    else:
        frees.a_extents.extend(extents_of(event.type, event.a))
        frees.b_extents.extend(extents_of(event.type, event.b))


def extents_of(item_type: int, payload: bytes | None) -> Iterator[BlockRun]:
    """The runs of data blocks that an item refers to."""
    if payload is None:
        return
    if item_type == ITEM_EXTENT:
        extent = Extent.unpack(payload)
    elif item_type == ITEM_XATTR:
        fixed = Xattr.unpack(payload)
        if fixed.storage != XATTR_EXTENT:
            return
        extent = Extent.unpack(payload, Xattr.SIZE + fixed.name_length)
    else:
        return
    yield extent.address, extent.blocks, extent.birth


def _joined(runs: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for address, blocks in runs:
        if found and sum(found[-1]) == address:
            found[-1] = (found[-1][0], found[-1][1] + blocks)
        else:
            found.append((address, blocks))
    return found


def _subtract(runs: list[BlockRun], others: list[BlockRun]) -> Iterator[tuple[int, int]]:
    """The parts of `runs` that no run of `others` covers. No block is in a list twice."""
    cuts = sorted((address, address + blocks) for address, blocks, _ in others)
    index = 0
    for address, blocks, _ in sorted(runs):
        at, end = address, address + blocks
        while index < len(cuts) and cuts[index][1] <= at:
            index += 1
        probe = index
        while at < end:
            if probe < len(cuts) and cuts[probe][0] < end:
                start, stop = cuts[probe]
                if start > at:
                    yield at, start - at
                at = max(at, stop)
                probe += 1
            else:
                yield at, end - at
                at = end
