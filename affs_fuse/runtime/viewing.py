"""A mount that shows one kept state of a volume which another daemon changes, and moves on to the
next one (semantics.md, "Browsing the past").

Whoever follows that daemon reads the volume again (volume.opening.reread) and calls `show`; here
the mount changes from one state to the other, as a rollback does, but nothing is ever written.
Invariants:
- Both states are held while they are compared; if the former was taken away all the same, the
  kernel is told that everything it knows may differ, and entries time out soon (VIEW_TIMEOUT_S).
- Of the volume's states the mount has the one that it shows: no other is held.
"""

import logging
from dataclasses import replace

import trio

from affs_fuse.core.constants import OBJECT_BITS, TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.differences import ObjectDiff
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.rollback import Delta, tell_kernel
from affs_fuse.volume.opening import Parts
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = ["VIEW_TIMEOUT_S", "Viewing", "show_state"]

_log = logging.getLogger("affs.engine")

VIEW_TIMEOUT_S = 5.0
"""How long the kernel believes a name in such a mount without asking."""

LOOK_WAIT_S = 3.0
"""How long a read that found something else than it should waits for a look at the volume."""


def show_state(volume: Volume, state: KeptState) -> None:
    """Make a kept state what a read-only volume shows, and the only one that it has."""
    assert volume.read_only, "a kept state itself never changes"
    volume.states.limit_to(state.number)
    volume.last = replace(volume.last, root=state.root)  # what `diff` takes for the working state
    volume.working = WorkingState(
        volume.open_state(state), state.number, state.seq, state.object_count
    )


class Viewing:
    """following: whether anybody looks when something does not match. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        namespace: Namespace,
        loader: Loader,
        kernel: KernelPort,
        *,
        following: bool,
    ) -> None:
        self._volume = volume
        self._namespace = namespace
        self._loader = loader
        self._kernel = kernel
        self._following = following
        self._mismatch = trio.Event()
        self._looked = trio.Event()
        self._shown = 0

    @property
    def shown_id(self) -> str:
        """Of the state that is shown."""
        return self._volume.states[self._volume.working.ancestor].hex_id

    async def moved_on(self, error: AffsError) -> bool:
        """Something does not read as it should: has the state been taken away, and is another one
        shown now? Then it is worth another attempt."""
        if not self._following or error.category is not Category.CORRUPT:
            return False
        before = self._shown
        self._mismatch.set()
        with trio.move_on_after(LOOK_WAIT_S):
            await self._looked.wait()
        return self._shown != before

    async def wait_for_mismatch(self, timeout_s: float) -> bool:
        """For whoever follows: until somebody should look at the volume again, or timeout_s."""
        with trio.move_on_after(timeout_s):
            await self._mismatch.wait()
        return self._mismatch.is_set()

    def looked(self) -> None:
        """Somebody has looked; what was to be shown is shown."""
        self._mismatch = trio.Event()
        self._looked.set()
        self._looked = trio.Event()

    async def show(self, parts: Parts, state: KeptState) -> None:
        """From now on the mount shows this state of a new reading of its volume. Errors: device.*,
        volume.*; then the mount still shows what it showed."""
        volume = self._volume
        base = Tree(volume.cache, TREE_NAMESPACE, volume.working.tree.root, writable=False)
        volume.adopt(parts)
        volume.states.limit_to(state.number)
        goal = volume.open_state(state)
        try:
            delta = await self._compare(base, goal)
            with trio.CancelScope(shield=True):
                await self._switch(state, delta)
        finally:
            base.close()
            goal.close()

    async def _compare(self, base: Tree, goal: Tree) -> Delta | None:
        """None if the state that is left cannot be read any more."""
        delta = Delta()
        try:
            await self._loader.each(ObjectDiff(base, goal), delta.add)
        except AffsError as error:
            if error.category is not Category.CORRUPT:
                raise
            _log.info("the state that was shown is gone: %s", error.message)
            return None
        return delta

    async def _switch(self, state: KeptState, delta: Delta | None) -> None:
        """In the order of a rollback's steps (b) to (e)."""
        volume, namespace, kernel = self._volume, self._namespace, self._kernel
        known = [number for number in kernel.known() if not number >> OBJECT_BITS]
        kernel.distrust(delta.objects if delta is not None else known)
        if delta is not None:
            namespace.renew_generations(delta.revived())
        show_state(volume, state)
        namespace.switch(volume.working)
        namespace.flush_all()  # nothing is buffered; it lets go of the former state
        namespace.views.close()
        self._shown += 1
        if delta is not None:
            await tell_kernel(kernel, self._loader, volume.working.tree, delta)
        else:
            await kernel.invalidate_inodes(known)
