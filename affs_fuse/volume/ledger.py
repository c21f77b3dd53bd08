"""Who holds the space: the working state, kept states alone, one state alone.

Told by pruned differences between neighbours in the tree of states, never by a walk. It rests on
the two facts of reclaim.py: no state refers to a block twice, and a block that a state has dropped
never comes back into its descendants. So every block that only kept states hold is counted once:
- a state that the working state descends from counts what the next state on that way has not;
- any other state counts what its parent has not.
What the working state holds is the rest of what is in use.
"""

from typing import NamedTuple

from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.core.tree import Diff, Tree
from affs_fuse.volume.reclaim import EVENTS_PER_STEP, Frees, collect
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["EMPTY", "WORKING", "Term", "TermCount", "frees_term", "kept_terms"]

EMPTY, WORKING = 0, -1


class Term(NamedTuple):
    """Blocks of a state, born after a commit, that another has not. other: number of a state, EMPTY
    or WORKING."""

    state: int
    other: int
    born_after: int


def kept_terms(volume: Volume) -> list[Term]:
    """Their sum is what kept states alone hold: deleted ones that still wait, too. The mount of a
    published state may descend from one that is gone by now, on its way to the next."""
    states = volume.states
    below: dict[int, int] = {}
    number, successor = volume.working.ancestor, WORKING
    while (state := states.get(number)) is not None:
        below[number] = successor
        number, successor = state.parent, number
    return [
        Term(state.number, below.get(state.number, state.parent), 0) for state in states.all()
    ]


def frees_term(volume: Volume, state: KeptState) -> Term | None:
    """What deleting a state would free now; None, nothing, if several descend from it."""
    below = [child.number for child in volume.states.children(state.number)]
    if volume.working.ancestor == state.number:
        below.append(WORKING)
    if len(below) > 1:
        return None
    other = below[0] if below else state.parent
    return Term(state.number, other, volume.states.seq_of(state.parent))


class TermCount:
    """Counts one term, in steps of a few milliseconds. working: a durable tree of the working
    state, for terms that compare with it. The caller keeps all that is compared readable."""

    def __init__(self, volume: Volume, term: Term, working: Tree) -> None:
        self._mine = volume.open_state(volume.states[term.state])
        if term.other == WORKING:
            self._theirs = working
        elif term.other == EMPTY:
            self._theirs = Tree(volume.cache, TREE_NAMESPACE, None, writable=False)
        else:
            self._theirs = volume.open_state(volume.states[term.other])
        self._diff = Diff(self._mine, self._theirs)
        self._frees = Frees()
        self._born_after = term.born_after

    def step(self) -> bool:
        """True when there is no more. Raises NodeMissing (go on after)."""
        for _ in range(EVENTS_PER_STEP):
            try:
                event = next(self._diff)
            except StopIteration:
                return True
            collect(self._frees, event)
        return False

    def blocks(self) -> int:
        """After the last step."""
        return sum(blocks for _, blocks in self._frees.result(self._born_after))
