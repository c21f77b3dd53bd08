"""Planted bugs: a simulator that does not find them proves nothing.

A mutant is a piece of the engine's source with one thing changed, put in the place of the original
in a process of its own. Then workloads are explored until the first violation; a mutant that lives
is a hole in the simulator. The pieces are found by their text, so a mutant that fits no longer says
so.
"""

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module

from affs_tools.crashsim.crafted import all_names, explore_crafted
from affs_tools.crashsim.damage import Damage, all_damages, explore_damages, flip_all_bits, metadata
from affs_tools.crashsim.explore import Explorer, Tally, explore_points
from affs_tools.crashsim.faults import fault_workloads, faults_of, judge_fault
from affs_tools.crashsim.formatting import NAMES, explore_mkfs
from affs_tools.crashsim.memory import judge_shortage, shortages_of
from affs_tools.crashsim.states import Depth
from affs_tools.crashsim.workloads import Workload, records, singles, stories

__all__ = [
    "MUTANTS",
    "Mutant",
    "NoFit",
    "changed_source",
    "explore_until_caught",
    "hunt",
    "plant",
]


class NoFit(Exception):
    """The source has changed: the mutant must be written anew."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """In `where` (module:qualified name, below affs_fuse) `old`, found once, becomes `new`.
    hunts: what to explore, by the beginnings of workload names, the most likely first."""

    name: str
    where: str
    old: str
    new: str
    hunts: tuple[str, ...]


_ONES = ("one/create", "one/overwrite", "one/unlink", "verb/undo")
_VERBS = ("verb/rollback", "verb/undo", "verb/publish", "reclaim/between", "reclaim/while-writing")
_LATE = ("reclaim/while-writing", "reclaim/")
_FAULTS = ("fault/write", "fault/large", "fault/reopen")

MUTANTS = (
    Mutant("no-barrier-before-the-record", "volume.commit:Cut.write",
           "        self.barrier.flush()\n        self._check", "        self._check", _ONES),
    Mutant("no-barrier-after-the-record", "volume.commit:Cut.write",
           "self.image)\n        self.barrier.flush()", "self.image)", _ONES),
    Mutant("record-before-nodes", "volume.commit:Cut.write",
           "        write_merged(self.device, list(self.nodes))\n        self.barrier.flush()",
           "        write_record(self.device, self.seq, self.image)\n        self.barrier.flush()\n"
           "        write_merged(self.device, list(self.nodes))", _ONES),
    Mutant("data-not-awaited", "volume.commit:Cut.write",
           "self.own_batch.execute()", "self.own_batch.done.set()",
           ("one/append", "one/overwrite")),
    Mutant("data-error-ignored", "volume.commit:Cut.write",
           "batch.check()", "pass", _FAULTS),
    Mutant("ownership-not-checked-but-written", "volume.ring:write_record",
           "range(len(layout.REGIONS))", "range(1)", _ONES),
    Mutant("one-slot-for-all-records", "volume.layout:ring_offset",
           "(seq % RING_SLOTS)", "(seq % 1)", _ONES),
    Mutant("one-superblock", "volume.superblock:write_superblock",
           "range(len(layout.REGIONS))", "range(1)", NAMES),
    Mutant("records-not-verified", "volume.ring:_judged",
           "verify_commit(image, uuid)", "pass", _ONES),
    Mutant("oldest-record-chosen", "volume.ring:RingReading.records",
           "-record.seq", "record.seq", _ONES),
    Mutant("failed-flush-retried", "volume.barrier:Barrier.flush",
           "        result = self._device.flush()\n",
           "        result = self._device.flush()\n        if not result.ok:\n"
           "            result = self._device.flush()\n", _FAULTS),
    Mutant("failed-commit-leaves-it-writable", "volume.volume:Volume.complete",
           'self.fail(f"commit {cut.seq} failed: {error.message}")', "pass", _FAULTS),
    Mutant("write-errors-ignored", "volume.data:_write", "if not result.ok:", "if False:", _FAULTS),
    Mutant("record-errors-ignored", "volume.ring:write_record",
           "if not result.ok:", "if False:", _FAULTS),
    Mutant("data-not-verified", "volume.data:_verify", "if bad is None:", "if True:",
           ("one/overwrite", "one/append", "large-writes")),
    Mutant("freed-blocks-used-at-once", "volume.space:Space._search",
           "segment.bits, segment.held, start", "segment.bits, None, start",
           ("one/", "large-writes", "ring-edge")),
    Mutant("freed-blocks-ripe-too-soon", "volume.space:Space.ripen",
           "self._cuts - 2", "self._cuts", ("large-writes", "orphans", "ring-edge", "verb/")),
    Mutant("nothing-held-back-after-opening", "volume.recovery:_hold_back",
           "for age in (1, 2):", "for age in ():", ("reopen", "orphans", "verb/", "large-writes")),
    Mutant("allocation-not-recorded", "volume.space:Space._take",
           "self._note_change(segment)", "pass", _ONES),
    Mutant("kept-blocks-freed", "volume.volume:Volume.drop_blocks",
           "if birth > (state or self.working).ancestor_seq:", "if True:", ("verb/", "reclaim/")),
    Mutant("birth-rule-off-by-one", "volume.volume:Volume.drop_blocks",
           "birth > (state", "birth >= (state",
           ("verb/publish-kept", "keep/", "verb/", "reclaim/")),
    Mutant("kept-nodes-freed", "volume.commit:free_dropped",
           "one[1] > state.ancestor_seq", "one[1] >= state.ancestor_seq",
           ("verb/", "reclaim/", "keep/")),
    Mutant("replaced-nodes-leak", "volume.commit:free_dropped",
           "one[1] > state.ancestor_seq", "False", _ONES),
    Mutant("reclaim-frees-what-the-child-has", "volume.reclaim:Frees.result",
           "_subtract(young, self.b_extents)", "_subtract(young, [])", ("reclaim/",)),
    Mutant("reclaim-frees-shared-nodes", "volume.reclaim:Frees.result",
           "birth > born_after and address not in self.b_nodes", "address not in self.b_nodes",
           ("wide/newest", "wide/between")),
    Mutant("reclaim-frees-the-parents-data", "volume.reclaim:Frees.result",
           "if run[2] > born_after", "if True", _LATE),
    Mutant("reclaim-forgets-late-changes", "volume.reclaim:ReclaimJob.forget",
           "self._late_frees() if self._hidden is not None else []", "[]", _LATE),
    Mutant("interrupted-reclaim-forgotten", "volume.reclaim:next_job",
           "if not state.flags & STATE_DOOMED or state.reclaim_ns > now_ns:",
           "if not state.flags & STATE_DOOMED or state.flags & STATE_HIDDEN:",
           ("reclaim/newest", "reclaim/")),
    Mutant("grace-ends-at-once", "volume.reclaim:next_job",
           "or state.reclaim_ns > now_ns:", ":", ("reclaim/restored",)),
    Mutant("restored-state-still-doomed", "volume.verbs:restore",
           "flags=state.flags & ~STATE_DOOMED,", "flags=state.flags,", ("reclaim/restored",)),
    Mutant("branch-points-reclaimed", "volume.reclaim:next_job",
           "if len(children) + working > 1:", "if False:", ("reclaim/branch", "reclaim/")),
    Mutant("published-pointer-not-moved", "volume.commit:_plan_states",
           "if published:", "if False:", _VERBS),
    Mutant("undo-pointer-not-set", "volume.commit:_plan_states", "if undo:", "if False:", _VERBS),
    Mutant("abandoned-state-not-kept", "volume.verbs:seal_request",
           "if (lasting or discard) and not volume.changed_since_kept(abandoned):", "if True:",
           _VERBS),
    Mutant("wrong-ancestor-after-rollback", "volume.volume:Volume.begin_rollback",
           "target.number, target.seq,", "self.working.ancestor, self.working.ancestor_seq,",
           ("verb/undo", *_VERBS)),
    Mutant("states-in-memory-only", "volume.states:StateTable.put",
           "self._tree.put(state.number, ITEM_STATE, 0, state.pack())", "pass", _VERBS),
    Mutant("buffers-left-out-of-the-cut", "volume.volume:Volume.cut",
           "(flush or self._flush)()", "pass", ("one/append", "one/outgrow-inline")),
    Mutant("orphans-not-listed", "posix.orphans:Orphans.add",
           'self._tree.put(OBJECT_ORPHANS, ITEM_ORPHAN, number, b"")', "pass",
           ("orphans", "one/orphan")),
    Mutant("record-in-one-ring-not-completed", "volume.opening:_complete_record",
           "if not result.ok or block == last.slot_image:", "if True:", _ONES),
    Mutant("truncation-keeps-blocks", "posix.file_data:FileData.truncate",
           "dropped = self._apply(number, plan.edits)", "dropped = 0", ("one/truncate",)),
    Mutant("checkpoint-is-no-ancestor", "volume.commit:_finish_states",
           "context.working.ancestor_seq = kept.seq", "pass", ("verb/", "keep/", "reclaim/")),
    Mutant("refused-data-not-written-again", "volume.commit:Cut.write",
           "batch.write_again()", "batch.error = None", _FAULTS),
    Mutant("places-taken-in-part", "posix.placing:Placing.take_off",
           "self._volume.begin_change()  # places", "# places", ("memory@fault/large",)),
    Mutant("lost-difference-gone-on-with", "volume.reclaim:ReclaimJob.step",
           "diff, self._diff = self._diff, None", "diff = self._diff", ("memory@fault/reclaim",)),
    Mutant("index-not-told-of-a-write", "posix.changing:write_at",
           "context.marks.mark(number, *indexed)", "pass", ("indexes",)),
    Mutant("index-not-told-of-a-name-that-goes", "posix.linking:unlink",
           "context.marks.mark(number, indexed)", "pass", ("indexes",)),
    Mutant("taken-in-without-its-pages", "posix.index_turn:IndexTurn.apply",
           "            _put(tree, directory, ITEM_INDEX, offset, new)", "            pass",
           ("indexes",)),
    Mutant("dropped-index-that-does-not-say-so", "posix.index_work:IndexWork._drop",
           "head = replace(head, dropped=items[-1][2])", "pass", ("indexes",)),
    Mutant("keys-of-a-dropped-index-stay", "posix.index_work:IndexWork._drop",
           "if keys.pop(index, None) is not None:", "if False:",
           ("record/unindex", "records/reclaim")),
    Mutant("index-complete-too-soon", "posix.index_work:IndexWork._build",
           "turn.advance(index, items[done - 1][2] if items else None)",
           "turn.advance(index, None)", ("record/index-build", "records/many")),
    Mutant("index-number-used-again", "posix.indexes:next_index_id",
           "least = known if type(known) is int else 1", "least = 1",
           ("record/reindex", "record/")),
    Mutant("index-not-told-of-a-batch", "posix.batches:_replace",
           "context.marks.mark(number, *planned.indexed)", "pass", ("record/record-update",)),
    Mutant("declaration-not-listed", "posix.declarations:Collections.put",
           'self._tree.put(OBJECT_COLLECTIONS, ITEM_COLLECTION, number, b"")', "pass",
           ("record/declare",)),
    Mutant("pages-that-split-lose-a-row", "volume.index_pages:IndexPages._split",
           "right = _Page(page.level, page.keys[at:],",
           "right = _Page(page.level, page.keys[at + (not page.level) :],", ("records/many",)),
)  # fmt: skip


def changed_source(mutant: Mutant) -> tuple[object, str, object, str]:
    """Where it goes (owner, name), what stands there, and the source of what comes in its place.
    Errors: NoFit."""
    module_name, _, path = mutant.where.partition(":")
    module = import_module(f"affs_fuse.{module_name}")
    *owners, name = path.split(".")
    owner = module
    for one in owners:
        owner = getattr(owner, one)
    original = vars(owner)[name]
    plain = original.fget if isinstance(original, property) else original
    assert callable(plain)
    text = textwrap.dedent(inspect.getsource(plain))
    if owners:
        text = textwrap.indent(text, "    ")  # as it stands in its class
    if text.count(mutant.old) != 1:
        found = text.count(mutant.old)
        raise NoFit(f"{mutant.name}: the text stands {found} times in {mutant.where}")
    text = textwrap.dedent(text.replace(mutant.old, mutant.new))
    return owner, name, original, text


def plant(mutant: Mutant) -> None:
    """Put it into this process, for good. Errors: NoFit."""
    owner, name, original, text = changed_source(mutant)
    module = import_module(f"affs_fuse.{mutant.where.partition(':')[0]}")
    space = dict(vars(module))
    exec(compile(text, f"<mutant {mutant.name}>", "exec"), space)
    _replace(owner, name, original, space[name])


def _replace(owner: object, name: str, original: object, changed: object) -> None:
    setattr(owner, name, changed)
    for module in list(sys.modules.values()):  # functions that others have imported by name
        if (
            getattr(module, "__name__", "").startswith("affs_")
            and vars(module).get(name) is original
        ):
            setattr(module, name, changed)


def hunt(mutant: Mutant) -> str:
    """Plant it and explore; the first failure's replay id and message, or "" if it lives."""
    plant(mutant)
    return explore_until_caught(mutant.hunts)


def explore_until_caught(hunts: tuple[str, ...], begin: Callable[[], None] | None = None) -> str:
    """The first failure's replay id and message, or "" if there is none. begin: called before each
    step, which is a workload, a damage or an image."""
    tally = Tally()
    for step in _hunted(hunts, tally):
        if begin is not None:
            begin()
        try:
            step()
        except Exception as error:  # noqa: BLE001 - not even what it begins with can be made
            return f"before the first state: {error!r}"
        if tally.failures:
            first = tally.failures[0]
            return f"{first.replay}: {first.message}"
    return ""


def _hunted(hunts: tuple[str, ...], tally: Tally) -> Iterator[Callable[[], None]]:
    for name in NAMES:
        if name.startswith(hunts):
            yield partial(explore_mkfs, name, tally, Depth(None, 40))
    for workload in _hunted_workloads(hunts):
        yield partial(Explorer(tally, first_only=True).explore, _shallow(workload))
    for workload in fault_workloads():
        if workload.name.startswith(hunts):
            yield partial(explore_points, workload, tally, faults_of(workload)[::3], judge_fault)
        every = 23 if "memory" in hunts else 3 if f"memory@{workload.name}" in hunts else 0
        if every:
            chosen = shortages_of(workload)[::every]
            yield partial(explore_points, workload, tally, chosen, judge_shortage)
    if "bits" in hunts:
        for piece in metadata()[::5]:
            yield partial(flip_all_bits, piece, tally)
    for damage in _hunted_damages(hunts):
        yield partial(explore_damages, [damage], tally)
    named = [hunt.removeprefix("crafted@") for hunt in hunts if hunt.startswith("crafted@")]
    names = named + (all_names(short=True) if "crafted" in hunts else [])
    for name in names:
        yield partial(explore_crafted, [name], tally)


def _hunted_workloads(hunts: tuple[str, ...]) -> list[Workload]:
    """In the order of the hunts."""
    every = [*stories(), *singles(), *records()]
    found = {one.name: one for hunt in hunts for one in every if one.name.startswith(hunt)}
    return list(found.values())


def _hunted_damages(hunts: tuple[str, ...]) -> list[Damage]:
    """"damage": some of all; "damage@over/node": these, where they hit nothing but nodes."""
    every = list(all_damages(2)[::7]) if "damage" in hunts else []
    for hunt in hunts:
        if hunt.startswith("damage@"):
            name, _, kind = hunt.removeprefix("damage@").partition("/")
            every += [
                damage
                for damage in all_damages(2)
                if damage.name.startswith(name) and {p.kind for p in damage.pieces} == {kind}
            ]
    return every


def _shallow(workload: Workload) -> Workload:
    return Workload(workload.name, workload.base, workload.steps, Depth(40, 12), Depth(16, 8), 3)
