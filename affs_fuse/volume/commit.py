"""A cut and what follows it: the one way in which a volume becomes durable.

semantics.md, "Commit"; docs/internals/commit.md tells the whole story. Three steps, so that
operations go on while a commit is written:

1. cut() on the engine's thread, in one turn: dropped nodes are freed by the birth rule, new nodes
get their
   addresses, the bitmaps record exactly what this cut reaches, all trees are frozen.
2. Cut.write() in a worker: data, nodes, barrier, record in both rings, barrier. Device only.
3. complete() on the engine's thread: nodes may be evicted, what is ripe may be used again.

Rules: room for every node is taken before the first tree is frozen. A cut that fails before that
has changed nothing that is on the device; one that fails later makes the volume read-only, with no
record written.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from affs_fuse.core.codec import Commit, OpenSegment, Pointer, SegmentHeader, frame_checksum
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_METADATA,
    INTENT_SYSTEM,
    NODE_BLOCKS,
    POINTER_PUBLISHED,
    POINTER_UNDO,
    STATE_PUBLISHED,
)
from affs_fuse.core.tree import FrozenNodes, Tree
from affs_fuse.device.device import Device, device_error
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout, space_tree
from affs_fuse.volume.barrier import Barrier
from affs_fuse.volume.data import WriteBatch, write_merged
from affs_fuse.volume.ring import write_record
from affs_fuse.volume.space import Run, Space
from affs_fuse.volume.states import KeptState, StateTable
from affs_fuse.volume.working import SystemTrees, WorkingState

__all__ = [
    "OBJECT_NUMBERS_AHEAD",
    "Cut",
    "CutRequest",
    "Keep",
    "LastCommit",
    "make_cut",
    "write_failure",
]

OBJECT_NUMBERS_AHEAD = 1 << 20


@dataclass(frozen=True, slots=True)
class Keep:
    """Keep the state that is cut. id: 16 bytes, time-ordered."""

    id: bytes
    label: str = ""
    author: str = ""
    message: str = ""
    flags: int = 0


@dataclass(frozen=True, slots=True)
class CutRequest:
    """What one commit does besides making the working state durable.

    keep: keep the working state; with publish, as the published one. published: number of an
    existing state that becomes the published one. seal: an abandoned state, kept as seal_keep
    (None: it is as its ancestor; nothing of it is kept). undo: number of an existing state that
    `rollback --undo` returns to from now on; undo_sealed: the sealed one becomes so.
    """

    keep: Keep | None = None
    publish: bool = False
    published: int = 0
    seal: WorkingState | None = None
    seal_keep: Keep | None = None
    undo: int = 0
    undo_sealed: bool = False


@dataclass(frozen=True, slots=True)
class LastCommit:
    """The newest commit whose cut was made: the parent of the next. root: of its namespace, which
    also stands in for that of a state to be kept until the freeze has made it."""

    seq: int
    checksum: int
    time_ns: int
    slot_image: bytes
    root: Pointer

    @classmethod
    def of(cls, cut: "Cut") -> "LastCommit":
        return cls(
            cut.seq,
            frame_checksum(cut.image),
            cut.record.time_ns,
            cut.image,
            cut.record.namespace_root,
        )


@dataclass(slots=True, eq=False)
class Cut:
    """An immutable picture of the volume, to be written by a worker."""

    seq: int
    record: Commit
    image: bytes
    previous: LastCommit
    device: Device
    barrier: Barrier
    nodes: list[tuple[int, memoryview]]
    frozen: list[tuple[Tree, FrozenNodes]]
    batches: list[WriteBatch]
    own_batch: WriteBatch | None
    kept: KeptState | None
    sealed: KeptState | None

    @property
    def size_bytes(self) -> int:
        data = sum(batch.size_bytes for batch in self.batches)
        return data + sum(len(image) for _, image in self.nodes) + BLOCK_SIZE

    def write(self) -> None:
        """In a worker: durable when it returns. Errors: device.*, volume.*; then nothing of it
        counts. After device.no_space it may be called again: the same images to the same places.

        This commit's own batch is written here; those that others began are awaited.
        """
        if self.own_batch is not None and not self.own_batch.done.is_set():
            self.own_batch.execute()
        for batch in self.batches:
            batch.done.wait()
            if batch.without_room:
                batch.write_again()
            batch.check()
        write_merged(self.device, list(self.nodes))
        self.barrier.flush()
        self._check_ownership()
        write_record(self.device, self.seq, self.image)
        self.barrier.flush()

    def _check_ownership(self) -> None:
        """Our last record must still be where we put it: else somebody else writes here too."""
        if not self.previous.slot_image:
            return
        offset = layout.ring_offset(0, self.previous.seq)
        block, result = self.device.read(offset, BLOCK_SIZE)
        if not result.ok:
            raise device_error("reading", self.device.identity, offset, result)
        if block != self.previous.slot_image:
            raise AffsError(
                "volume.ownership_lost",
                Category.IO,
                f"somebody else overwrote the last commit record of {self.device.identity.path}",
                hint="another process or host writes to it; unmount both and run fsck.affs",
            )


@dataclass(slots=True, eq=False)
class CutContext:
    """What a cut needs of the volume; the volume makes one for each."""

    device: Device
    barrier: Barrier
    space: Space
    trees: SystemTrees
    states: StateTable
    working: WorkingState
    last: LastCommit
    seq: int
    now_ns: int
    uuid: bytes
    salt: bytes
    session: bytes
    next_object: int
    next_state: int
    place_count: int
    take_batches: Callable[[], tuple[WriteBatch | None, list[WriteBatch]]]
    write_block: Callable[[int, bytes], None]


def write_failure(error: AffsError | OSError | MemoryError) -> AffsError:
    """What Cut.write() raised, as the error of the commit."""
    if isinstance(error, AffsError):
        return error
    return AffsError(
        "volume.commit_failed",
        Category.IO,
        f"writing a commit failed: {error!r}",
        hint="see the log; unmount, and run fsck.affs",
    )


def make_cut(context: CutContext, request: CutRequest) -> Cut:
    """The synchronous turn. Changes context.next_state, the working state's ancestor, and the
    trees.

    Errors: volume.no_space, device.no_space: then nothing was frozen, and no state or pointer
    changed.
    """
    states = [context.working] + ([request.seal] if request.seal is not None else [])
    for state in states:
        free_dropped(context.space, state)
    runs: list[list[Run]] = []
    before = context.states.snapshot()
    try:
        for state in states:
            runs.append(_allocate_nodes(context, INTENT_METADATA, state.tree.dirty_count))
        kept, sealed = _plan_states(context, request)
        system_runs = _record_space(context)
    except AffsError:
        context.states.restore(before)
        for run in (run for state_runs in runs for run in state_runs):
            context.space.undo(run)
        raise
    frozen, roots = _freeze_namespace(context, states, runs)
    kept, sealed = _finish_states(context, kept, sealed, roots)
    for tree, tree_runs in zip(context.trees.all, system_runs, strict=True):
        frozen.append((tree, _freeze_system(context, tree, tree_runs)))
    record = _record(context)
    _write_segment_headers(context)
    context.space.note_cut()
    own_batch, batches = context.take_batches()
    return Cut(
        seq=context.seq,
        record=record,
        image=record.pack(),
        previous=context.last,
        device=context.device,
        barrier=context.barrier,
        nodes=[place for group in frozen for place in _places(context, *group)],
        frozen=frozen,
        batches=batches,
        own_batch=own_batch,
        kept=kept,
        sealed=sealed,
    )


def free_dropped(space: Space, state: WorkingState) -> None:
    """Free the nodes that changes have replaced, where no kept state has them (the birth rule)."""
    tree = state.tree
    own = [one for one in tree.take_dropped() if one[1] > state.ancestor_seq]
    for address, _ in own:
        space.free(address, NODE_BLOCKS)
    tree.cache.forget_replaced(tree.kind, own)


def _allocate_nodes(context: CutContext, intent: int, count: int) -> list[Run]:
    return context.space.allocate_nodes(intent, count, context.seq)


def _plan_states(
    context: CutContext, request: CutRequest
) -> tuple[KeptState | None, KeptState | None]:
    """Put the states that this commit adds, with roots that are filled in after the freeze, and
    move the pointers; so that the checkpoint tree has all the nodes that it will have."""
    states = context.states
    sealed = kept = None
    if request.seal is not None and request.seal_keep is not None:
        sealed = _new_state(context, request.seal, request.seal_keep)
        states.put(sealed)
    if request.keep is not None:
        kept = _new_state(context, context.working, request.keep)
        if request.publish:
            kept = replace(kept, flags=kept.flags | STATE_PUBLISHED)
        states.put(kept)
    if request.published:
        target = states[request.published]
        states.put(replace(target, flags=target.flags | STATE_PUBLISHED))
    published = kept.number if kept is not None and request.publish else request.published
    undo = sealed.number if sealed is not None and request.undo_sealed else request.undo
    if published:
        states.set_pointer(POINTER_PUBLISHED, published, context.now_ns)
    if undo:
        states.set_pointer(POINTER_UNDO, undo, context.now_ns)
    return kept, sealed


def _new_state(context: CutContext, state: WorkingState, keep: Keep) -> KeptState:
    number = context.next_state
    context.next_state += 1
    return KeptState(
        number=number,
        root=context.last.root,
        seq=context.seq,
        parent=state.ancestor,
        time_ns=max(context.now_ns, context.last.time_ns),
        id=keep.id,
        flags=keep.flags,
        pins=0,
        object_count=state.object_count,
        used_blocks=context.space.used_blocks,
        label=keep.label,
        author=keep.author,
        message=keep.message,
    )


def _record_space(context: CutContext) -> list[list[Run]]:
    """Put every segment's item into the space tree, then take room for the nodes of the system
    trees.

    Taking room may need a new system segment, whose own item changes the space tree again: repeat
    until nothing changes any more.
    """
    trees, space = context.trees, context.space
    while True:
        space_tree.record(space, trees.space)
        counts = [tree.dirty_count for tree in trees.all]
        flat = _allocate_nodes(context, INTENT_SYSTEM, sum(counts))
        if not space.changed:
            break
        for run in flat:
            space.undo(run)
    for tree in trees.all:
        dropped = tree.take_dropped()
        for address, _ in dropped:
            space.free_physical(layout.physical_block(address), NODE_BLOCKS)
        tree.cache.forget_replaced(tree.kind, dropped)
    runs: list[list[Run]] = []
    for count in counts:
        runs.append(flat[:count])
        flat = flat[count:]
    return runs


def _freeze_namespace(
    context: CutContext, states: list[WorkingState], runs: list[list[Run]]
) -> tuple[list[tuple[Tree, FrozenNodes]], list[Pointer]]:
    frozen: list[tuple[Tree, FrozenNodes]] = []
    roots: list[Pointer] = []
    for state, state_runs in zip(states, runs, strict=True):
        root, nodes = state.tree.freeze(
            context.seq, [layout.logical(run[0], run[1]) for run in state_runs]
        )
        roots.append(root)
        frozen.append((state.tree, nodes))
    return frozen, roots


def _finish_states(
    context: CutContext, kept: KeptState | None, sealed: KeptState | None, roots: list[Pointer]
) -> tuple[KeptState | None, KeptState | None]:
    """Fill in roots (items of the same size, in leaves that are dirty already) and move the
    ancestor.
    """
    if sealed is not None:
        sealed = replace(sealed, root=roots[1])
        context.states.put(sealed)
    if kept is not None:
        kept = replace(kept, root=roots[0])
        context.states.put(kept)
        context.working.ancestor = kept.number
        context.working.ancestor_seq = kept.seq
    return kept, sealed


def _freeze_system(context: CutContext, tree: Tree, runs: list[Run]) -> FrozenNodes:
    geometry, segments = context.space.geometry, context.space.segments
    addresses = [
        layout.physical(0, geometry.place_block(segments[run[0]].place) + run[1]) for run in runs
    ]
    _, nodes = tree.freeze(context.seq, addresses)
    return nodes


def _record(context: CutContext) -> Commit:
    trees, space = context.trees, context.space
    return Commit(
        uuid=context.uuid,
        seq=context.seq,
        parent_seq=context.last.seq,
        parent_checksum=context.last.checksum,
        flags=0,
        time_ns=max(context.now_ns, context.last.time_ns),
        session=context.session,
        backends=1,
        namespace_root=_root_of(context.working.tree),
        checkpoint_root=_root_of(trees.checkpoint),
        system_root=_root_of(trees.system),
        space_root=_root_of(trees.space),
        next_object=context.next_object + OBJECT_NUMBERS_AHEAD,
        next_state=context.next_state,
        ancestor=context.working.ancestor,
        segment_count=context.place_count,
        used_blocks=space.used_blocks,
        object_count=context.working.object_count,
        open_segments=tuple(_open_segment(space, intent) for intent in range(len(space.open))),
        log_address=(0, 0),
        log_seed=0,
        log_length=0,
    )


def _open_segment(space: Space, intent: int) -> OpenSegment:
    segment = space.segments.get(space.open[intent])
    return OpenSegment(0, 0) if segment is None else OpenSegment(segment.number, segment.cursor)


def _write_segment_headers(context: CutContext) -> None:
    """Queue the advisory headers of segments that were given an intent since the last cut."""
    for segment in context.space.new_segments:
        header = SegmentHeader(
            uuid=context.uuid,
            salt=context.salt,
            segment=segment.number,
            copy_generation=segment.copy_generation,
            place=segment.place,
            intent=segment.intent,
        )
        offset = context.space.geometry.place_offset(segment.place)
        context.write_block(offset, header.pack())
    context.space.new_segments.clear()


def _places(context: CutContext, tree: Tree, nodes: FrozenNodes) -> list[tuple[int, memoryview]]:
    """(device offset, image) of each frozen node."""
    if tree in context.trees.all:
        return [(layout.physical_block(address) * BLOCK_SIZE, image) for address, _, image in nodes]
    geometry, segments = context.space.geometry, context.space.segments
    return [
        (
            geometry.place_offset(segments[layout.segment_of(address)].place)
            + layout.block_of(address) * BLOCK_SIZE,
            image,
        )
        for address, _, image in nodes
    ]


def _root_of(tree: Tree) -> Pointer:
    root = tree.root
    assert root is not None, "a frozen tree has a root"
    return root
