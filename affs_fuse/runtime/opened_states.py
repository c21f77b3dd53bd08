"""Trees of states for those who read over many turns of the loop.

Invariant: what is open stays whole on the device until it is closed, whatever is changed or deleted
meanwhile.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.runtime.committer import Committer
from affs_fuse.volume.volume import Volume

__all__ = ["EMPTY", "WORKING", "OpenedStates"]

EMPTY = ""
WORKING = "working"


class OpenedStates:
    """released: called when a kept state is no longer held. Loop thread only."""

    def __init__(self, volume: Volume, committer: Committer, released: Callable[[], None]) -> None:
        self._volume = volume
        self._committer = committer
        self._released = released

    @asynccontextmanager
    async def open(self, text: str) -> AsyncIterator[Tree]:
        """The tree of a state: EMPTY, WORKING (the working state as of now, which is committed for
        it), else as `Engine.resolve_state` takes. Errors: state.*; volume.*, device.*"""
        volume = self._volume
        if text == WORKING:
            if not volume.read_only:
                await self._committer.commit()
            reader = volume.begin_reading()
            tree = Tree(volume.cache, TREE_NAMESPACE, volume.last.root, writable=False)
            try:
                yield tree
            finally:
                tree.close()
                volume.end_reading(reader)
        elif text == EMPTY:
            tree = Tree(volume.cache, TREE_NAMESPACE, None, writable=False)
            try:
                yield tree
            finally:
                tree.close()
        else:
            state = volume.find_state(text)
            volume.hold(state.number)
            tree = volume.open_state(state)
            try:
                yield tree
            finally:
                tree.close()
                volume.release_hold(state.number)
                self._released()
