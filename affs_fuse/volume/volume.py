"""The volume: one facade over everything that makes a volume durable (architecture.md, "volume").

    with Volume.open("demo.affs") as volume:
        volume.run(operation, ...)      # an operation that may need nodes or data
        volume.commit(flush)

needs no FUSE, no socket, no event loop. The runtime uses the same object but does the waiting
itself: begin_load / Load.execute / end_load for what an operation misses, cut / Cut.write /
complete for a commit, take_batch / WriteBatch.execute / end_batch for data. All methods are called
by one thread (the engine's), all `execute` and `write` methods of the objects they give may run in
another.
"""

from collections.abc import Callable
from contextlib import suppress
from errno import EROFS
from types import TracebackType
from typing import ParamSpec, TypeVar

from affs_fuse.clock import Clock, Entropy
from affs_fuse.core.codec import Pointer, Superblock
from affs_fuse.core.constants import BLOCK_SIZE, TREE_NAMESPACE
from affs_fuse.core.tree import NodeCache, NodeMissing, Tree
from affs_fuse.device.device import Buffer
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout
from affs_fuse.volume.authors import Authors
from affs_fuse.volume.commit import (
    OBJECT_NUMBERS_AHEAD,
    Cut,
    CutContext,
    CutRequest,
    LastCommit,
    make_cut,
    write_failure,
)
from affs_fuse.volume.data import DataStore, Placed, ReadPlan, WriteBatch
from affs_fuse.volume.flights import Flights
from affs_fuse.volume.half_done import Change, half_done, said
from affs_fuse.volume.loading import Load, Preparation
from affs_fuse.volume.missing import BlockRead, DataMissing
from affs_fuse.volume.opening import OpenOptions, Parts, open_parts
from affs_fuse.volume.operation_log import OperationLog
from affs_fuse.volume.reserve import ReservePolicy, RoomKind, held_nodes_of
from affs_fuse.volume.settings import Settings
from affs_fuse.volume.states import KeptState, StateTable
from affs_fuse.volume.statistics import StatFs, Statistics
from affs_fuse.volume.working import WorkingState

__all__ = ["Volume"]

P = ParamSpec("P")
R = TypeVar("R")

EMPTY_COMMITS_MAX = 3
"""Commits that ripen held-back blocks before "no space" is told."""

NODE_LOADS_MAX = 1_000_000


class Volume:
    """An open volume. Make one with Volume.open() or mkfs.make_volume()."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self.device = parts.device
        self.superblock: Superblock = parts.superblock
        self.geometry = parts.geometry
        self.clock: Clock = parts.clock
        self.entropy: Entropy = parts.entropy
        self.hash_key = parts.superblock.hash_key
        self.session = parts.session
        self.report = parts.report
        self.cache: NodeCache = parts.cache
        self.trees = parts.trees
        self.states: StateTable = parts.states
        self.space = parts.space
        self.working: WorkingState = parts.working
        self.last = parts.last
        self.generation = max(parts.last.seq, parts.report.newest_seq) + 1
        self.read_only_reason = parts.report.read_only_reason
        self.durable_seq = parts.last.seq
        self.durable_time_ns = parts.last.time_ns
        self.durable_image = parts.last.slot_image
        self.commit_count = 0
        self._next_object = parts.next_object
        self._object_limit = parts.next_object + OBJECT_NUMBERS_AHEAD
        self._next_state = parts.next_state
        self._data = DataStore(parts.device, parts.space)
        self.flights = Flights(self._data, parts.space, self.fail)
        self._policy = ReservePolicy(parts.space)
        self._reserved = 0
        self._abandoned: WorkingState | None = None
        self._in_flight: Cut | None = None
        self._holds: dict[int, int] = {}
        self._readers: dict[int, int] = {}
        self._changed_outside = False
        self._roots_cut = self._roots_now()
        system, size_bytes = parts.trees.system, parts.device.size_bytes
        self.log, self.settings = OperationLog(system, size_bytes), Settings(system)
        self.authors = Authors(system)
        self._flush: Callable[[], None] = _nothing
        self._change = Change(self.fail)
        self.attempt = self._change.attempt

    # ---- life ----

    @classmethod
    def open(cls, path: str, options: OpenOptions | None = None) -> "Volume":
        """Open a volume by its path. Errors: device.*, volume.* (opening.open_parts)."""
        return cls(open_parts(path, options or OpenOptions()))

    def close(self) -> None:
        """Mark it closed cleanly (if nothing is uncommitted) and release the device. Commits
        nothing.
        """
        self.release()
        self.device.close()

    def release(self) -> None:
        """Mark it closed cleanly; the device stays open, and locked."""
        if not self.read_only and not self.device.read_only:
            with suppress(AffsError):  # the next opening then takes it for unclean, which is safe
                self._parts.owner.release(self.clock.now_ns())
                self._parts.barrier.flush()

    def __enter__(self) -> "Volume":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def adopt(self, parts: Parts) -> None:
        """Of a volume that only reads: go on with a later reading of its device (opening.reread).
        What it shows, `working`, stays as it is; so the reading must contain that state's segments.
        """
        assert self.device.read_only, "what is in memory is newer than what is on the device"
        assert parts.device is self.device
        self.trees, self.states, self.space = parts.trees, parts.states, parts.space
        self.last, self.generation = parts.last, parts.report.newest_seq + 1
        self.durable_seq, self.durable_time_ns = parts.last.seq, parts.last.time_ns
        self.durable_image = parts.last.slot_image
        self._data = DataStore(parts.device, parts.space)
        self.flights = Flights(self._data, parts.space, self.fail)
        self._policy = ReservePolicy(parts.space)
        self.log = OperationLog(parts.trees.system, parts.device.size_bytes)
        self.settings = Settings(parts.trees.system)
        self._roots_cut = self._roots_now()

    @property
    def read_only(self) -> bool:
        return bool(self.read_only_reason)

    @property
    def uuid(self) -> bytes:
        """The user's UUID, 16 bytes."""
        return self.superblock.user_uuid

    @property
    def label(self) -> str:
        return self.superblock.label[: self.superblock.label_length].decode("utf-8", "replace")

    def fail(self, reason: str) -> None:
        """A promise cannot be kept any more: nothing is written from now on. The first reason
        stays."""
        if not self.read_only_reason:
            self.read_only_reason = reason

    def check_writable(self) -> None:
        """Errors: volume.read_only (EROFS), which says why."""
        if self.read_only_reason:
            raise AffsError(
                "volume.read_only",
                Category.DENIED,
                f"the volume is read-only: {self.read_only_reason}",
                errno=EROFS,
            )

    def heartbeat(self) -> None:
        """In a worker, every few seconds while open for writing: we live. Errors: device.io."""
        self._parts.owner.beat(self.clock.now_ns())

    # ---- operations ----

    def begin_change(self, operations: int = 1) -> None:
        """An operation changes something from here on (half_done.py). Memory for its nodes is taken
        first, so that it cannot be missing half way. Errors: MemoryError, volume.read_only."""
        self.check_writable()
        self.cache.reserve(held_nodes_of(operations))
        self._change.begin()

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call an operation until it finds all it needs, loading at once what it misses; before
        telling "no space", ripen held-back blocks by empty commits."""
        empty_commits = 0
        for _ in range(NODE_LOADS_MAX):
            try:
                return self.attempt(function, *args, **kwargs)
            except (NodeMissing, DataMissing) as missing:
                self._load_now(missing)
            except AffsError as error:
                if error.code != "volume.no_space" or not self.space.held_blocks:
                    raise
                empty_commits += 1
                if empty_commits > EMPTY_COMMITS_MAX:
                    raise
                self.commit()
        raise AssertionError("an operation that never finds what it loads")

    def _load_now(self, missing: NodeMissing | DataMissing) -> None:
        load = self.begin_load(missing)
        load.execute()
        self.end_load(load)

    def begin_load(self, missing: NodeMissing | DataMissing) -> Load:
        """Where the missing bytes are. Errors: volume.address."""
        if isinstance(missing, DataMissing):
            plan = self._data.plan(missing.reads)
            load = Load(missing, plan, self.device, 0)
        else:
            load = Load(missing, None, self.device, self._node_offset(missing.pointer))
        self._readers[id(load)] = self.space.cut_count
        return load

    def end_load(self, load: Load) -> None:
        """Hand over what came. Errors: device.io, volume.node_corrupt, volume.data_corrupt."""
        self._readers.pop(id(load), None)
        data = load.take()
        if isinstance(load.missing, DataMissing):
            load.missing.deliver(data)
            return
        pointer = load.missing.pointer
        cache = self.cache if pointer.tree == TREE_NAMESPACE else self.trees.cache
        load.install(cache, data[0])
        self.cache.trim()

    def begin_reading(self, *, durable: bool = False) -> object:
        """Somebody reads trees as they are now (durable: as the newest durable commit has them),
        over many loads: what was freed since is not used again until end_reading() gets what this
        gives. (A kept state is held by hold() instead.)"""
        reader = object()
        self._readers[id(reader)] = self.space.cut_count - (durable and self.committing)
        return reader

    def end_reading(self, reader: object) -> None:
        """Idempotent."""
        self._readers.pop(id(reader), None)

    def _node_offset(self, pointer: Pointer) -> int:
        if pointer.tree == TREE_NAMESPACE:
            return self._data.offset_of(pointer.address)
        return layout.physical_block(pointer.address) * BLOCK_SIZE

    # ---- objects and space ----

    def new_object(self) -> int:
        """A number that no object ever had. Errors: volume.numbers_exhausted until the next
        commit.
        """
        if self._next_object >= self._object_limit:
            raise AffsError(
                "volume.numbers_exhausted",
                Category.NO_SPACE,
                "more than 1,048,576 objects were made since the last commit",
                hint="commit, then go on",
                retryable=True,
            )
        number = self._next_object
        self._next_object += 1
        return number

    def reserve_metadata(self, kind: RoomKind, operations: int = 1) -> None:
        """Room for the nodes that so many operations may change, right before they do: see
        begin_change(). Errors: volume.no_space, volume.read_only; MemoryError."""
        self.check_writable()
        self._policy.require_nodes(kind, self._dirty_nodes(), self._reserved, operations)
        self.begin_change(operations)

    @property
    def objects_left(self) -> int:
        """How many objects can be made before the next commit."""
        return self._object_limit - self._next_object

    def reserve_data(self, blocks: int) -> None:
        """Promise room for `blocks` blocks that are buffered. Errors: volume.no_space,
        volume.read_only.
        """
        self.check_writable()
        self._policy.require_blocks(blocks, self._reserved)
        self._reserved += blocks

    def release_data(self, blocks: int) -> None:
        """Buffered blocks that will not be written after all."""
        assert blocks <= self._reserved, "more released than reserved"
        self._reserved -= blocks

    def store(self, data: Buffer, intent: int) -> list[Placed]:
        """Give buffered blocks (reserved before) a place; they are written later, by whoever takes
        the batch. `data`: whole blocks, not changed afterwards. Errors: volume.no_space,
        device.no_space; MemoryError."""
        self.begin_change()
        placed = self._data.store(data, intent, self.generation)
        self.release_data(len(data) // BLOCK_SIZE)
        return placed

    def drop_blocks(
        self, address: int, blocks: int, birth: int, state: WorkingState | None = None
    ) -> None:
        """The state (the working one by default) refers to these blocks no longer: the birth
        rule.
        """
        if birth > (state or self.working).ancestor_seq:
            self.space.free(address, blocks)

    def read(self, reads: list[BlockRead]) -> list[bytes]:
        """Verified blocks; waits for the device. Errors: device.io, volume.data_corrupt."""
        return self._data.plan(reads).execute()

    def try_read(self, reads: list[BlockRead]) -> list[bytes] | None:
        """The same without waiting, or None."""
        return self._data.plan(reads).attempt()

    def plan_read(self, reads: list[BlockRead]) -> ReadPlan:
        return self._data.plan(reads)

    @property
    def waiting_bytes(self) -> int:
        """Data with a place that no worker has been given yet."""
        return self._data.waiting_bytes

    def take_batch(self, bytes_max: int | None = None) -> WriteBatch | None:
        """Data that has its place, for a worker to write."""
        return self._data.take_batch(bytes_max)

    def end_batch(self, batch: WriteBatch) -> None:
        """After batch.execute(). Its failure makes the volume read-only. Errors: the batch's."""
        try:
            self._data.end_batch(batch)
        except Exception as error:
            self.fail(error.message if isinstance(error, AffsError) else said(error))
            raise

    def begin_prepare(self) -> Preparation | None:
        """Room that the host should set aside before it is needed; execute() it in a worker."""
        place = None if self.read_only else self.space.place_to_prepare()
        if place is None:
            return None
        return Preparation(self.device, place, self.geometry)

    def end_prepare(self, preparation: Preparation) -> None:
        """After its execute(). A host without room says so when a segment is needed, not here."""
        if preparation.done:
            self.space.note_prepared(preparation.place)

    def _dirty_nodes(self) -> int:
        abandoned = self._abandoned.tree.dirty_count if self._abandoned is not None else 0
        return self.working.tree.dirty_count + abandoned

    # ---- commits ----

    @property
    def dirty(self) -> bool:
        """Would a commit make something durable (buffers above this layer not counted)?"""
        return (
            self._changed_outside
            or self._abandoned is not None
            or self._roots_now() != self._roots_cut
        )

    def _roots_now(self) -> tuple[Pointer | None, ...]:
        """Roots of what users change. The space tree is left out: it follows the others. A root may
        change with no node dirty, when a removal leaves the tree with a node that it had before."""
        return self.working.tree.root, self.trees.checkpoint.root, self.trees.system.root

    @property
    def wants_commit(self) -> bool:
        """Dirty nodes fill so much of memory or of the metadata room that a commit should come
        now.
        """
        return self._policy.presses(self._dirty_nodes()) or (
            self._object_limit - self._next_object < OBJECT_NUMBERS_AHEAD // 2
        )

    def buffers_are_flushed_by(self, flush: Callable[[], None]) -> None:
        """What the layer above buffers belongs into every cut: also into those that run() makes."""
        self._flush = flush

    @property
    def committing(self) -> bool:
        return self._in_flight is not None

    def cut(
        self,
        flush: Callable[[], None] | None = None,
        request: CutRequest | None = None,
    ) -> Cut:
        """The synchronous turn of a commit. flush: as of buffers_are_flushed_by(), the default.

        Errors: volume.read_only, volume.no_space, device.no_space (nothing was cut).
        """
        assert self._in_flight is None, "one commit at a time"
        self.check_writable()
        asked = request or CutRequest()
        with half_done(self.fail, "a commit was left half made"):
            (flush or self._flush)()
            context = self._cut_context()
            cut = make_cut(context, asked)
            last = LastCommit.of(cut)
            roots = self._roots_now()
        self._next_state = context.next_state
        self.generation = cut.seq + 1
        self.last = last
        self._changed_outside = False
        self._roots_cut = roots
        if asked.seal is not None:
            self._abandoned = None
        self._in_flight = cut
        return cut

    def complete(self, cut: Cut, error: AffsError | None = None) -> None:
        """After cut.write(). With its error, if it failed: the volume becomes read-only, and it is
        raised.
        """
        assert self._in_flight is cut
        self._in_flight = None
        if cut.own_batch is not None and cut.own_batch.done.is_set():
            with suppress(Exception):  # the cut's own error says it
                self.end_batch(cut.own_batch)
        if error is not None:
            self.fail(f"commit {cut.seq} failed: {error.message}")
            raise error
        self._data.end_kept()
        self.durable_seq = cut.seq
        self.durable_time_ns = cut.record.time_ns
        self.durable_image = cut.image
        self.commit_count += 1
        self._object_limit = cut.record.next_object
        with half_done(self.fail, f"commit {cut.seq} is durable, but going on failed"):
            for tree, nodes in cut.frozen:
                tree.cache.written(nodes)
            self.space.ripen(self._oldest_reader())
            self.cache.trim()

    def commit(
        self,
        flush: Callable[[], None] | None = None,
        request: CutRequest | None = None,
    ) -> Cut:
        """cut, write and complete in one call, for use without an event loop. Errors: theirs."""
        cut = None
        while cut is None:
            try:
                cut = self.cut(flush, request)
            except NodeMissing as missing:  # flush() needs a node that was evicted meanwhile
                self._load_now(missing)
        try:
            cut.write()
        except (AffsError, OSError, MemoryError) as error:
            self.complete(cut, write_failure(error))
        else:
            self.complete(cut)
        return cut

    def note_change(self) -> None:
        """Something outside the trees of this object changed (a test's or a job's wish for a
        commit).
        """
        self._changed_outside = True

    def _oldest_reader(self) -> int | None:
        oldest = self._data.oldest_begun
        begun = [oldest] if oldest is not None else []
        return min([*self._readers.values(), *begun], default=None)

    def _take_batches(self) -> tuple[WriteBatch | None, list[WriteBatch]]:
        """All data that is not on the device yet: a batch of what nobody writes, and all that are
        begun.
        """
        own = self.take_batch()
        return own, list(self._data.begun)

    def _cut_context(self) -> CutContext:
        return CutContext(
            device=self.device,
            barrier=self._parts.barrier,
            space=self.space,
            trees=self.trees,
            states=self.states,
            working=self.working,
            last=self.last,
            seq=self.generation,
            now_ns=self.clock.now_ns(),
            uuid=self.superblock.format_uuid,
            salt=self.superblock.salt,
            session=self.session,
            next_object=self._next_object,
            next_state=self._next_state,
            place_count=self.superblock.place_count,
            take_batches=self._take_batches,
            write_block=self._data.write_block,
        )

    # ---- kept states ----

    def begin_rollback(self, target: KeptState) -> WorkingState:
        """The switch: the working state is the target's content from now on; gives the abandoned
        one, to be sealed by a cut (CutRequest.seal). One synchronous step, constant cost."""
        self.check_writable()
        assert self._abandoned is None, "the last rollback is not sealed yet"
        tree = Tree(self.cache, TREE_NAMESPACE, target.root)
        self._abandoned = self.working
        self.working = WorkingState(tree, target.number, target.seq, target.object_count)
        return self._abandoned

    def changed_since_kept(self, state: WorkingState | None = None) -> bool:
        """Does the state differ from its nearest kept ancestor (buffers above not counted)?"""
        working = state or self.working
        root, ancestor = working.tree.root, self.states.get(working.ancestor)
        return root is None or ancestor is None or root != ancestor.root

    def find_state(self, text: str) -> KeptState:
        """The state that a user names. Errors: as StateTable.resolve()."""
        return self.states.resolve(text, self.clock.now_ns())

    def open_state(self, state: KeptState) -> Tree:
        """A read-only tree of a kept state. hold() it meanwhile, so that reclaim stays away."""
        return Tree(self.cache, TREE_NAMESPACE, state.root, writable=False)

    def hold(self, number: int) -> None:
        """Keep a state from being reclaimed until release_hold()."""
        self._holds[number] = self._holds.get(number, 0) + 1

    def release_hold(self, number: int) -> None:
        count = self._holds[number] - 1
        if count:
            self._holds[number] = count
        else:
            del self._holds[number]

    def held(self, number: int) -> int:
        """How many hold it."""
        return self._holds.get(number, 0)

    def new_state_id(self) -> bytes:
        """128 bits: 48 of milliseconds, then random ones, so that ids order by time."""
        milliseconds = max(0, self.clock.now_ns() // 1_000_000) & ((1 << 48) - 1)
        return milliseconds.to_bytes(6, "big") + self.entropy(10)

    # ---- operation log ----

    def append_operation(self, payload: bytes, beside: bytes = b"") -> int:
        """Add a record (as OperationLog.append) to the operation log; its number. It is durable
        with the next commit and is not rolled back. Errors: volume.read_only."""
        self.check_writable()
        return self.log.append(payload, beside)

    # ---- figures ----

    def statfs(self) -> StatFs:
        room = self.space.room()
        usable = self.superblock.place_count * self.geometry.segment_blocks
        free = max(0, room.data_blocks - self._reserved)
        return StatFs(
            blocks_total=usable,
            blocks_free=free,
            blocks_available=free,
            objects_total=self.working.object_count + room.metadata_nodes * 40,
            objects_free=room.metadata_nodes * 40,
        )

    def statistics(self) -> Statistics:
        """Figures for status, metrics and tests; a snapshot."""
        cache = self.cache.statistics()
        return Statistics(
            generation=self.generation,
            durable_seq=self.durable_seq,
            durable_time_ns=self.durable_time_ns,
            commit_count=self.commit_count,
            dirty_nodes=self._dirty_nodes(),
            dirty_system_nodes=self.trees.dirty_count,
            waiting_bytes=self._data.waiting_bytes,
            reserved_blocks=self._reserved,
            used_blocks=self.space.used_blocks,
            held_blocks=self.space.held_blocks,
            room=self.space.room(),
            segment_count=len(self.space.segments),
            state_count=len(self.states),
            cached_nodes=cache.node_count,
            cache_hits=cache.hits,
            cache_misses=cache.misses,
        )


def _nothing() -> None:
    """Nobody above buffers anything."""
