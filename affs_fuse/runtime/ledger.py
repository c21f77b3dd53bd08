"""The ledger of space, for people: counted when somebody asks, and remembered.

States do not change, so a difference between two of them is counted once; one with the working
state, once for each of its commits. Invariant: what is compared stays readable until it is counted.
"""

from collections.abc import Callable

import trio

from affs_fuse.core.codec import Pointer
from affs_fuse.core.constants import BLOCK_SIZE, TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.runtime.committer import Committer
from affs_fuse.runtime.loader import Loader
from affs_fuse.volume.ledger import WORKING, Term, TermCount, frees_term, kept_terms
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["Ledger"]


class Ledger:
    """released: called when a kept state is no longer held. Loop thread only."""

    def __init__(
        self, volume: Volume, loader: Loader, committer: Committer, released: Callable[[], None]
    ) -> None:
        self._volume = volume
        self._loader = loader
        self._committer = committer
        self._released = released
        self._counted: dict[Term, tuple[Pointer | None, int]] = {}

    async def kept_bytes(self) -> int:
        """What kept states alone hold, the working state being as of now. Errors: volume.*,
        device.*"""
        await self._commit()
        while True:
            terms = kept_terms(self._volume)
            blocks = sum([await self._blocks(term) for term in terms])
            if terms == kept_terms(self._volume):
                self._forget_all_but(terms)
                return blocks * BLOCK_SIZE

    def known_kept_bytes(self) -> int | None:
        """The same without counting, if it has been counted since the last change; else None."""
        blocks = 0
        for term in kept_terms(self._volume):
            root, counted = self._counted.get(term, (None, None))
            if counted is None or root != self._root_for(term):
                return None
            blocks += counted
        return blocks * BLOCK_SIZE

    async def frees_bytes(self, state: KeptState) -> int:
        """What deleting this state alone would free now. Errors: as kept_bytes."""
        await self._commit()
        term = frees_term(self._volume, state)
        return await self._blocks(term) * BLOCK_SIZE if term is not None else 0

    async def _commit(self) -> None:
        if not self._volume.read_only:
            await self._committer.commit()

    async def _blocks(self, term: Term) -> int:
        volume = self._volume
        root = self._root_for(term)
        found = self._counted.get(term)
        if found is not None and found[0] == root:
            return found[1]
        held = [number for number in term[:2] if number > 0]
        if any(volume.states.get(number) is None for number in held):
            return 0  # deleted meanwhile: the caller looks at the states again
        reader = volume.begin_reading()
        working = Tree(volume.cache, TREE_NAMESPACE, root, writable=False)
        for number in held:
            volume.hold(number)
        try:
            count = TermCount(volume, term, working)
            while not await self._loader.run(count.step):
                await trio.lowlevel.checkpoint()
        finally:
            working.close()
            volume.end_reading(reader)
            for number in held:
                volume.release_hold(number)
            self._released()
        self._counted[term] = (root, count.blocks())
        return self._counted[term][1]

    def _root_for(self, term: Term) -> Pointer | None:
        return self._volume.last.root if term.other == WORKING else None

    def _forget_all_but(self, terms: list[Term]) -> None:
        keep = {term.state for term in terms}
        for term in [term for term in self._counted if term.state not in keep]:
            del self._counted[term]
