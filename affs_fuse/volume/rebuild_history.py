"""Which states there are to recover, and which births may be part of each.

One line of commits makes all states: what lies between two events (a state kept, a rollback) was
made on one branch only. So a node born there belongs to the state that ended that stretch and to
its descendants, and to nobody else; and the working state has, besides its ancestors' nodes, those
born after the last event. With a pointer to a root none of this is needed: it is for trees whose
inner nodes are gone.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from affs_fuse.core.codec import Commit, Pointer, State, StatePointer
from affs_fuse.core.constants import (
    ITEM_STATE,
    ITEM_STATE_POINTER,
    POINTER_PUBLISHED,
    POINTER_UNDO,
    TREE_CHECKPOINT,
    TREE_NAMESPACE,
)
from affs_fuse.volume.rebuild_forest import NEVER, Forest, Rank, not_after
from affs_fuse.volume.rebuild_scan import FoundNode
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.verify_nodes import Branch

__all__ = ["History", "StatePlan", "read_history"]

WORKING = 0

OTHERS_MAX = 16
"""States that are tried as ancestors of a working state of which no record tells."""


@dataclass(frozen=True, slots=True)
class StatePlan:
    """A state to recover. number: 0 for the working state. root: None where no pointer to it is
    there. ancestor: number of the state that it descends from, 0 none; base: of the nearest one
    that is recovered too. kept: its entry in the table of states."""

    number: int
    name: str
    root: Pointer | None
    seq: int
    ancestor: int
    base: int
    kept: KeptState | None = None


@dataclass(slots=True)
class History:
    """table: of states, by number; certain: those of them that the newest of its leaves has, or
    all if it is whole. states: kept ones by seq. seq: of the newest record, 0 without one. others:
    what the working state may be instead, descending from another state. ambiguous: choices that
    the bytes do not force, in words."""

    seq: int
    record: Commit | None
    table: dict[int, KeptState]
    pointers: dict[int, StatePointer]
    certain: set[int] = field(default_factory=set)
    states: list[StatePlan] = field(default_factory=list)
    working: StatePlan = field(default_factory=lambda: StatePlan(0, "working", None, 0, 0, 0))
    others: list[StatePlan] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    lost_states: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def rank(self, plan: StatePlan) -> Rank:
        """May a node of this birth be part of that state? An entry that may be of a state long
        deleted excludes nothing: its nodes come second."""
        chain = set(self._chain(plan))
        newest = plan.seq or self.seq or 1 << 64
        owner = _owner_of(self.table.values())
        certain = _owner_of(self.table[number] for number in self.certain)

        def belongs(number: int) -> bool:
            return number in chain if number else plan.number == WORKING

        def rank(node: FoundNode) -> int:
            if node.birth > newest:
                return NEVER
            first = owner(node.birth)
            if belongs(first):
                return 0
            doubtful = first not in self.certain and belongs(certain(node.birth))
            return 1 if doubtful else NEVER

        return rank

    def _chain(self, plan: StatePlan) -> list[int]:
        """The kept states whose nodes the state may have: itself and its ancestors in the table."""
        at = plan.number or plan.ancestor
        chain: list[int] = []
        while at in self.table and at not in chain:
            chain.append(at)
            at = self.table[at].parent
        return chain


def read_history(
    forest: Forest, records: list[tuple[Commit, int]], alive: Callable[[Pointer], bool]
) -> History:
    """alive: may the tree below this root still be there (it is not proven dead)?"""
    record = records[0][0] if records else None
    history = History(record.seq if record is not None else 0, record, {}, {})
    _read_table(forest, history)
    _choose_states(forest, history, alive)
    if record is not None:
        base = _nearest(history, record.ancestor)
        history.working = StatePlan(
            WORKING, "working", record.namespace_root, record.seq, record.ancestor, base
        )
    else:
        _guess_working(forest, history)
    return history


def _read_table(forest: Forest, history: History) -> None:
    """The table of states: the newest commit's, or as much as births give of it."""
    record = history.record
    assembly = None
    if record is not None:
        assembly = forest.assemble(TREE_CHECKPOINT, record.checkpoint_root)
    exact = assembly is not None and assembly.exact
    if assembly is None or not exact:
        assembly = forest.assemble(TREE_CHECKPOINT, None, not_after(history.seq or 1 << 64))
        newest = max((leaf.birth for leaf in assembly.leaves), default=0)
        if newest:
            history.ambiguous.append(
                f"the table of kept states was put together from its leaves, the newest of commit"
                f" {newest}: states that were kept later are missing from it, states that were"
                " deleted later may be in it"
            )
        else:
            history.ambiguous.append("no leaf of the table of kept states is there")
    newest = max((leaf.birth for leaf in assembly.leaves), default=0)
    for ((number, kind, _), payload), leaf in forest.items(assembly):
        if kind == ITEM_STATE:
            history.table[number] = _unpack(number, payload)
            if exact or leaf.birth == newest:
                history.certain.add(number)
        elif kind == ITEM_STATE_POINTER:
            history.pointers[number] = StatePointer.unpack(payload)


def _owner_of(states: Iterable[KeptState]) -> Callable[[int], int]:
    """Which state ended the stretch of commits in which something was born; 0 for none yet."""
    ends = sorted((state.seq, state.number) for state in states)
    seqs = [seq for seq, _ in ends]

    def owner(birth: int) -> int:
        index = bisect_left(seqs, birth)
        return ends[index][1] if index < len(ends) else 0

    return owner


def _unpack(number: int, payload: bytes) -> KeptState:
    """An entry of the table; texts that are none are left out."""
    try:
        return KeptState.unpack(number, payload)
    except UnicodeDecodeError:
        fixed = State.unpack(payload)._replace(label_length=0, author_length=0, message_length=0)
        return KeptState.unpack(number, fixed.pack())


def _choose_states(
    forest: Forest, history: History, alive: Callable[[Pointer], bool]
) -> None:
    """Kept states that users see, whose tree may be there."""
    for state in _unique(history):
        if not alive(state.root):
            history.lost_states.append(f"{state.name}: it was deleted, its tree is free space")
            continue
        if state.root.level == 0 and forest.follow(Branch(state.root)) is None:
            history.lost_states.append(f"{state.name}: its only leaf is gone")
            continue
        base = _nearest(history, state.parent)
        plan = StatePlan(
            state.number, state.name, state.root, state.seq, state.parent, base, state
        )
        history.states.append(plan)


def _unique(history: History) -> list[KeptState]:
    """By seq. Of two with one id or one label the newer one has it: an old leaf of the table may
    bring up what was deleted and named again."""
    chosen: list[KeptState] = []
    ids: set[bytes] = set()
    labels: set[str] = set()
    for state in sorted(history.table.values(), key=lambda state: (-state.seq, -state.number)):
        if not state.listed or state.root.tree != TREE_NAMESPACE:
            if state.restorable:
                history.notes.append(f"state {state.name} was deleted and is left out")
            continue
        if state.id in ids:
            history.lost_states.append(f"{state.name}: a newer state has its id")
            continue
        ids.add(state.id)
        if state.label in labels:
            history.ambiguous.append(
                f"two states are labelled {state.label}; the older one is {state.hex_id[:12]} now"
            )
            state = replace(state, label="")
        elif state.label:
            labels.add(state.label)
        chosen.append(state)
    return chosen[::-1]


def _nearest(history: History, number: int) -> int:
    """The nearest ancestor, itself included, that is recovered."""
    recovered = {plan.number for plan in history.states}
    seen: set[int] = set()
    while number and number not in recovered and number not in seen:
        seen.add(number)
        state = history.table.get(number)
        number = state.parent if state is not None else 0
    return number if number in recovered else 0


def _guess_working(forest: Forest, history: History) -> None:
    """Without a commit record: what the working state was, from births and the table of states."""
    newest = max((node.birth for node in forest.by_tree.get(TREE_NAMESPACE, ())), default=0)
    last = max(history.table.values(), key=lambda state: (state.seq, state.number), default=None)
    history.ambiguous.append(
        f"no commit record is there: the newest nodes, of commit {newest}, are taken for the"
        " working state; it may be a commit that was under way"
    )
    if last is None:
        history.working = StatePlan(WORKING, "working", None, 0, 0, 0)
        return
    ancestor = last.number
    undo = history.pointers.get(POINTER_UNDO)
    if undo is not None and undo.state == last.number and last.automatic:
        published = history.pointers.get(POINTER_PUBLISHED)
        target = published.state if published is not None else last.parent
        if target in history.table and history.table[target].seq < last.seq:
            ancestor = target
        history.ambiguous.append(
            f"the last event was a rollback, to which state is not known: "
            f"{history.table[ancestor].name} is taken, and what was left is kept"
        )
    base = _nearest(history, ancestor)
    root = history.table[ancestor].root if newest <= last.seq and base == ancestor else None
    history.working = StatePlan(WORKING, "working", root, 0, ancestor, base)
    if root is None:
        history.others = [
            StatePlan(WORKING, "working", None, 0, number, _nearest(history, number))
            for number in sorted(history.table, reverse=True)
            if number != ancestor
        ][:OTHERS_MAX]
