"""Recovering a volume from its self-describing leaves into a new one (docs/internals/rebuild.md).

The source is only read. The new volume gets its superblocks last of all, so a rebuild that was
interrupted leaves nothing that opens. Rebuild(device) finds out what is there; check() reads all of
it and says what would become of it; write() makes the new volume.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby

from affs_fuse.clock import SYSTEM_CLOCK, Clock, Entropy, system_entropy
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    ITEM_AUTHOR,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_OPERATION,
    ITEM_POLICY,
    ITEM_XATTR,
    OBJECT_BITS,
    OBJECT_FIRST,
    STATE_DOOMED,
    STATE_HIDDEN,
    TREE_NAMESPACE,
    TREE_SYSTEM,
)
from affs_fuse.device.device import Device
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.authors import NOBODY, OBJECT_AUTHORS
from affs_fuse.volume.commit import OBJECT_NUMBERS_AHEAD, CutRequest, Keep
from affs_fuse.volume.mkfs import MkfsOptions, begin_format, object_id
from affs_fuse.volume.operation_log import OPERATIONS
from affs_fuse.volume.rebuild_forest import NEVER, Assembly, Forest
from affs_fuse.volume.rebuild_history import WORKING, History, StatePlan, read_history
from affs_fuse.volume.rebuild_identity import find_out
from affs_fuse.volume.rebuild_names import KIND_REGULAR, Names, judge_names
from affs_fuse.volume.rebuild_objects import Spec, make_spec
from affs_fuse.volume.rebuild_places import Places, place_system_nodes
from affs_fuse.volume.rebuild_report import UNMATCHED, Loss, RebuildReport, StateReport
from affs_fuse.volume.rebuild_scan import FoundNode, scan_device
from affs_fuse.volume.rebuild_write import Blocks, ObjectWriter, check_pieces
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.verify_nodes import Item, Key
from affs_fuse.volume.verify_report import Progress
from affs_fuse.volume.volume import Volume

__all__ = ["Rebuild", "RebuildReport", "StateReport"]

PROGRESS_OBJECTS = 512
LEAF_GONE = "a leaf that may have had some is gone"


@dataclass(slots=True)
class _Recovered:
    """One state, ready to be read object by object."""

    plan: StatePlan
    assembly: Assembly
    names: Names
    report: StateReport


class Rebuild:
    """What a device holds of a volume. progress may raise to end it.

    Errors of the constructor: rebuild.nothing, rebuild.ambiguous, volume.feature.
    """

    def __init__(
        self,
        device: Device,
        *,
        format_uuid: bytes | None = None,
        progress: Callable[[Progress], None] = lambda _: None,
        entropy: Entropy = system_entropy,
    ) -> None:
        self._progress = progress
        self._entropy = entropy
        scan = scan_device(device, progress)
        self._known = known = find_out(scan, device.identity.path, format_uuid)
        system = place_system_nodes(known)
        record = known.records[0][0] if known.records else None
        places = Places(
            known,
            Forest(device, known.identity, system),
            record.space_root if record is not None else None,
            record.seq if record is not None else 0,
        )
        placed = system + [
            node
            for node in known.family.nodes
            if node.tree == TREE_NAMESPACE and places.in_place(node)
        ]
        self._forest = Forest(device, known.identity, placed)
        self._places = places
        self._blocks = Blocks(device, places)
        self._history: History = read_history(
            self._forest,
            known.records,
            lambda root: not places.dead(root.address, root.birth),
        )
        self._lost_number = self._free_number(placed)
        self._authors = self._read_authors()
        self.report = RebuildReport(
            format_uuid=known.identity[0].hex(),
            label=known.label,
            seq=self._history.seq,
            nodes=len(known.family.nodes),
            nodes_misplaced=len(known.family.nodes) - len(placed),
            nodes_gone=places.nodes_gone(
                {node.address for node in placed if node.tree == TREE_NAMESPACE}
            ),
            unreadable_blocks=scan.unreadable_blocks,
            notes=known.notes + self._history.notes,
            ambiguous=self._history.ambiguous,
            lost_states=self._history.lost_states,
        )
        self._system = self._read_system()
        self.report.system_items, self.report.authors = len(self._system), len(self._authors)
        gone = {address for plan in self.plans() for address in self._assemble(plan).gone}
        self._no_leaf_gone = self.report.nodes_gone == len(gone) and all(
            plan.root is not None for plan in self.plans()
        )
        self._choose_working()

    def _free_number(self, nodes: list[FoundNode]) -> int:
        """An object number that no object of any state has."""
        highest = max(
            (node.last[0] for node in nodes if node.tree == TREE_NAMESPACE), default=OBJECT_FIRST
        )
        record = self._history.record
        number = max(highest + 1, OBJECT_FIRST, record.next_object if record is not None else 0)
        if number + 2 * OBJECT_NUMBERS_AHEAD >= 1 << OBJECT_BITS:
            raise AffsError(
                "volume.numbers_exhausted",
                Category.NO_SPACE,
                f"object numbers reach {number}: none are left for a new volume",
            )
        return number

    @property
    def size_bytes(self) -> int:
        """Of the source, as its superblock or its device has it."""
        return self._known.geometry.device_blocks * BLOCK_SIZE

    def plans(self) -> list[StatePlan]:
        """The states to recover, in the order in which they are written."""
        return [*self._history.states, self._history.working]

    # ---- one state ----

    def _recover(self, plan: StatePlan) -> _Recovered:
        state = self._attempt(plan)
        self.report.states.append(state.report)
        return state

    def _choose_working(self) -> None:
        """Where no record tells from which state the working one descends, and its root is gone:
        the one with which most fits together."""
        history = self._history
        best, noise = history.working, self._noise(history.working) if history.others else 0
        for plan in history.others:
            if not noise:
                break
            if (other := self._noise(plan)) < noise:
                best, noise = plan, other
        if best is not history.working:
            history.ambiguous.append(
                f"the working state is taken to descend from {history.table[best.ancestor].name}:"
                " with that most fits together"
            )
            history.working = best

    def _noise(self, plan: StatePlan) -> int:
        """How much of a state does not fit together."""
        counts = self._attempt(plan).report.counts
        return sum(count for kind, count in counts.items() if kind != "removed")

    def _assemble(self, plan: StatePlan) -> Assembly:
        by_birth = self._history.rank(plan)

        def rank(node: FoundNode) -> int:
            return NEVER if self._places.dead(node.address, node.birth) else by_birth(node)

        return self._forest.assemble(TREE_NAMESPACE, plan.root, rank)

    def _attempt(self, plan: StatePlan) -> _Recovered:
        assembly = self._assemble(plan)
        report = StateReport(plan.name, plan.number, plan.seq)
        report.exact, report.by_births = assembly.exact, assembly.by_births
        report.leaves, report.leaves_lost = len(assembly.leaves), len(assembly.lost)
        names = judge_names(
            self._forest.items(assembly),
            report,
            self._lost_number,
            nothing_lost=self._no_leaf_gone,
        )
        report.objects = len(names.things) - bool(names.lost)
        record = self._history.record
        if plan.kept is not None:
            report.objects_expected = plan.kept.object_count
        elif record is not None:
            report.objects_expected = record.object_count
        return _Recovered(plan, assembly, names, report)

    def _items(self, assembly: Assembly) -> Iterator[Item]:
        return (item for item, _ in self._forest.items(assembly))

    def _specs(self, state: _Recovered) -> Iterator[Spec]:
        """Every object of a state; losses of data that no item is left of are reported."""
        made = 0
        missing = set(state.names.things)
        for number, group in groupby(self._items(state.assembly), key=lambda item: item[0][0]):
            if number not in missing:
                continue
            missing.discard(number)
            yield self._spec(number, list(group), state)
            made += 1
            if made % PROGRESS_OBJECTS == 0:
                total = len(state.names.things)
                self._progress(Progress(f"recovering {state.plan.name}", made, total, "objects"))
        for number in sorted(missing):  # directories of which only the number is known
            yield self._spec(number, [], state)

    def _spec(self, number: int, items: list[Item], state: _Recovered) -> Spec:
        spec = make_spec(number, items, state.names, object_id(number, _fixed(number)))
        if spec.inode.changed_by not in self._authors:
            spec.inode = spec.inode._replace(changed_by=NOBODY)
        state.report.data_bytes += sum(piece.extent.length for piece in spec.pieces)
        if not state.assembly.exact:
            _note_missing(spec, state)
        if spec.declaration_lost:
            path = state.names.path(number)
            state.report.lose("collection", path, number, detail="parts of it are missing")
        return spec

    # ---- a plan ----

    def check(self) -> RebuildReport:
        """Read everything and write nothing: what a rebuild would recover."""
        for plan in self.plans():
            state = self._recover(plan)
            for spec in self._specs(state):
                check_pieces(self._blocks, spec, _path_of(state, spec.number), state.report)
        self.report.doubt(self._no_leaf_gone)
        return self.report

    # ---- the new volume ----

    def _read_authors(self) -> dict[int, bytes]:
        """The table of authors: all that any of its leaves has, since a number never means somebody
        else. (After commits were abandoned it may: then the newest one counts.)"""
        found: dict[int, bytes] = {}
        leaves = [node for node in self._forest.by_tree.get(TREE_SYSTEM, ()) if not node.level]
        for leaf in sorted(leaves, key=lambda node: node.birth):
            read = self._forest.read(leaf)
            for (_, kind, number), payload in read.items if read is not None else ():
                if kind == ITEM_AUTHOR:
                    found[number] = payload
        return found

    def _read_system(self) -> list[tuple[Key, bytes]]:
        """Operation log and settings, if their tree is whole: of a setting that was taken back an
        older leaf would bring it to life (a token that was revoked, say). What an undo would need
        is left out: it names objects by numbers that may be given anew."""
        record = self._history.record
        if record is not None:
            assembly = self._forest.assemble(TREE_SYSTEM, record.system_root)
            if assembly.exact:
                items = self._items(assembly)
                return [item for item in items if _is_kept(item[0])]
        self.report.notes.append("operation log and settings are left out: not all is there")
        return []

    def system_items(self) -> list[tuple[Key, bytes]]:
        """What of the system tree goes into the new volume."""
        authors = [
            ((OBJECT_AUTHORS, ITEM_AUTHOR, number), payload)
            for number, payload in sorted(self._authors.items())
        ]
        return [*self._system, *authors]

    def write(
        self,
        target: Device,
        options: MkfsOptions,
        *,
        clock: Clock = SYSTEM_CLOCK,
    ) -> RebuildReport:
        """Make a volume on this device, which is not the source. Errors: volume.no_space,
        volume.too_small, device.*."""
        label = options.label or self._known.label
        unfinished = begin_format(
            target,
            replace(options, label=label),
            clock=clock,
            entropy=self._entropy,
            next_object=self._lost_number + 1,
        )
        _Builder(self, unfinished.volume).build()
        unfinished.finish()
        self.report.doubt(self._no_leaf_gone)
        return self.report


def _is_kept(key: Key) -> bool:
    number, kind, _ = key
    return kind == ITEM_POLICY or (kind == ITEM_OPERATION and number == OPERATIONS)


class _Builder:
    """Puts the states into the new volume, one after the other."""

    def __init__(self, rebuild: Rebuild, volume: Volume) -> None:
        self._rebuild = rebuild
        self._volume = volume
        self._writer = ObjectWriter(volume, rebuild._blocks, volume.commit)
        self._made: dict[int, KeptState] = {}
        self._signatures: dict[int, dict[int, bytes]] = {WORKING: {}}
        self._damage: dict[int, dict[int, list[Loss]]] = {WORKING: {}}
        self._base = WORKING

    def build(self) -> None:
        plans = self._rebuild.plans()
        for index, plan in enumerate(plans):
            later = {each.base for each in plans[index + 1 :]}
            self._write_state(plan)
            needed = later | {self._base}
            self._signatures = {
                number: known for number, known in self._signatures.items() if number in needed
            }
            self._damage = {
                number: known for number, known in self._damage.items() if number in needed
            }
        self._restore_table()
        for (number, kind, offset), payload in self._rebuild.system_items():
            self._volume.trees.system.put(number, kind, offset, payload)
        self._volume.note_change()
        self._volume.commit()

    def _write_state(self, plan: StatePlan) -> None:
        self._switch(plan.base)
        before = self._signatures[self._base]
        state = self._rebuild._recover(plan)
        after: dict[int, bytes] = {}
        for spec in self._rebuild._specs(state):
            after[spec.number] = spec.signature()
            if before.get(spec.number) != after[spec.number]:
                self._writer.write(spec, _path_of(state, spec.number), state.report)
            else:
                self._share_damage(spec.number, state)
        for number in before.keys() - after.keys():
            self._writer.remove(number)
        self._volume.working.object_count = len(after)
        if plan.kept is None:
            self._volume.commit()
            return
        kept = plan.kept
        flags = kept.flags & ~(STATE_HIDDEN | STATE_DOOMED)
        keep = Keep(kept.id, kept.label, kept.author, kept.message, flags)
        made = self._volume.commit(None, CutRequest(keep=keep)).kept
        assert made is not None
        self._made[plan.number] = made
        self._signatures[plan.number] = after
        self._damage[plan.number] = _damage_by_object(state.report)
        self._base = plan.number

    def _share_damage(self, number: int, state: _Recovered) -> None:
        """An object that is the same as in the state before has lost the same."""
        report = state.report
        for loss in self._damage[self._base].get(number, ()):
            if loss.kind == "data":
                report.data_bytes -= loss.length
                report.lost_data_bytes += loss.length
            path = state.names.path(number)
            report.lose(
                loss.kind, path, number,
                offset=loss.offset, length=loss.length, detail=loss.detail,
            )

    def _switch(self, base: int) -> None:
        """The working state becomes the state that the next one is built upon. It was just kept, so
        nothing of it is left behind."""
        if base == self._base or base not in self._made:
            return
        abandoned = self._volume.begin_rollback(self._made[base])
        self._volume.commit(None, CutRequest(seal=abandoned))
        self._base = base

    def _restore_table(self) -> None:
        """What the table said of the states: their times, pins, and which one is published."""
        states, history = self._volume.states, self._rebuild._history
        for number, made in self._made.items():
            old = history.table[number]
            states.put(replace(states[made.number], time_ns=old.time_ns, pins=old.pins))
        for which, pointer in history.pointers.items():
            made_state = self._made.get(pointer.state)
            if made_state is not None:
                states.set_pointer(which, made_state.number, pointer.time_ns)


def _damage_by_object(report: StateReport) -> dict[int, list[Loss]]:
    """What was found when the objects were written; the rest is found of each state anew."""
    found: dict[int, list[Loss]] = {}
    for loss in report.losses:
        unreadable = loss.kind == "xattr" and loss.detail != LEAF_GONE
        if unreadable or loss.detail == UNMATCHED:
            found.setdefault(loss.object, []).append(loss)
    return found


def _path_of(state: _Recovered, number: int) -> Callable[[], str]:
    return lambda: state.names.path(number)


def _fixed(number: int) -> Entropy:
    """An object whose identity is lost gets the same one in every state."""
    return lambda count: number.to_bytes(8, "big").rjust(count, b"\0")[-count:]


def _note_missing(spec: Spec, state: _Recovered) -> None:
    """What an object had in leaves that are gone, as far as anything tells."""
    report, path = state.report, state.names.path(spec.number)
    for kind, what in ((ITEM_XATTR, "xattr"), (ITEM_INLINE, "data"), (ITEM_EXTENT, "data")):
        first, end = (spec.number, kind, 0), (spec.number, kind, 1 << 63)
        gone = [
            (max(lost.low, first)[2], min(lost.high, end)[2])
            for lost in state.assembly.lost
            if max(lost.low, first) < min(lost.high, end)
        ]
        if kind == ITEM_EXTENT:
            _note_blocks(spec, gone, state)
        elif gone and kind == ITEM_XATTR:
            report.lose(what, path, spec.number, detail=LEAF_GONE)
    told = spec.blocks_told or spec.pieces or spec.inline
    if spec.inode.size and spec.inode.mode >> 12 == KIND_REGULAR and not told:
        detail = "nothing of its data is there: it was in a leaf that is gone, or it is a hole"
        report.lose("data", path, spec.number, length=spec.inode.size, detail=detail)


def _note_blocks(spec: Spec, gone: list[tuple[int, int]], state: _Recovered) -> None:
    """The inode counts more blocks than extents are there."""
    missing = spec.blocks_told - sum(piece.extent.blocks for piece in spec.pieces)
    if missing <= 0:
        return
    state.report.lost_data_bytes += missing << BLOCK_SHIFT
    detail = f"{missing} blocks are missing: what describes them is gone"
    for begin, stop in gone or [(0, spec.inode.size)]:
        state.report.lose(
            "data", state.names.path(spec.number), spec.number,
            offset=begin, length=max(0, min(stop, spec.inode.size) - begin), detail=detail,
        )
