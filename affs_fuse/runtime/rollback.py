"""Rollback of a live mount, in the one order that neither hangs nor leaks (semantics.md).

What differs is found before the switch, against the newest cut, in slices; only what changed after
that cut is compared in the switch's own turn. Invariants:
- From the switch to the end of diverting (steps b to d) no cut is made and no request is held: the
  kernel waits for requests, and the switch waits for the kernel.
- From the switch on nothing cancels the rest: the answer says what happened.
- Names that mean the same object in both states are not invalidated.
"""

import itertools
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.committer import Committer, Seal
from affs_fuse.runtime.differences import (
    Counts,
    ObjectChange,
    ObjectDiff,
    Paths,
    Place,
    Presence,
)
from affs_fuse.runtime.expectation import plan_stale
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.writeback import Writeback
from affs_fuse.volume import verbs
from affs_fuse.volume.commit import CutRequest
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["Comparison", "Delta", "LiveRollback", "Outcome", "tell_kernel"]

_log = logging.getLogger("affs.engine")

CHANGES_SHOWN_MAX = 100

Value = TypeVar("Value")


@dataclass(slots=True, eq=False)
class Delta:
    """What the kernel must be told when state a is replaced by state b.

    objects: every inode with any difference. names: place -> (object in a, in b), 0 for none.
    presence: object -> (in a, in b), where its inode item differs. subdirectories: those objects of
    names that are directories.
    """

    objects: set[int] = field(default_factory=set)
    names: dict[Place, tuple[int, int]] = field(default_factory=dict)
    presence: dict[int, tuple[Presence, Presence]] = field(default_factory=dict)
    subdirectories: set[int] = field(default_factory=set)

    def add(self, change: ObjectChange) -> None:
        number = change.number
        self.objects.add(number)
        for name, children in change.entries.items():
            if children[0] != children[1]:
                self.names[number, name] = children
        self.subdirectories |= change.subdirectories
        if change.inode_differs:
            self.presence[number] = change.presence

    def rebased(self, later: "Delta") -> "Delta":
        """self is from a to b, later from a to c: the difference from c to b."""
        return Delta(
            self.objects | later.objects,
            _rebase(self.names, later.names),
            _rebase(self.presence, later.presence),
            self.subdirectories | later.subdirectories,
        )

    def revived(self) -> list[int]:
        """Directories that b has and a has not: the kernel may remember them as dead."""
        return [
            number
            for number, (a, b) in self.presence.items()
            if b is Presence.DIRECTORY and a is not Presence.DIRECTORY
        ]

    def lost(self) -> set[int]:
        """Objects that a has and b has not."""
        return {number for number, (_, b) in self.presence.items() if b is Presence.ABSENT}

    def moved_directories(self) -> list[Place]:
        """Places in b of directories that have another place in a."""
        had = {a for a, _ in self.names.values()}
        return [
            place
            for place, (_, b) in self.names.items()
            if b in self.subdirectories and b in had
        ]


Key = TypeVar("Key")


def _rebase(
    mine: dict[Key, tuple[Value, Value]], later: dict[Key, tuple[Value, Value]]
) -> dict[Key, tuple[Value, Value]]:
    """From (a, b) and (a, c), either of which may lack a key because nothing differs: (c, b)."""
    found: dict[Key, tuple[Value, Value]] = {}
    for key in mine.keys() | later.keys():
        if key not in mine:
            a, c = later[key]
            pair = (c, a)
        elif key not in later:
            pair = mine[key]
        else:
            pair = (later[key][1], mine[key][1])
        if pair[0] != pair[1]:
            found[key] = pair
    return found


@dataclass(slots=True, eq=False)
class Comparison:
    """The newest cut and a target, compared. base, goal: their trees, held while this is in use.
    base_seq: of the commit that wrote the base's root; it moves with every change of the namespace.
    first: the first changes, at most CHANGES_SHOWN_MAX."""

    target: KeptState
    base_seq: int
    base: Tree
    goal: Tree
    delta: Delta = field(default_factory=Delta)
    counts: Counts = field(default_factory=Counts)
    grown_bytes: int = 0
    first: list[ObjectChange] = field(default_factory=list)

    def add(self, change: ObjectChange) -> None:
        self.delta.add(change)
        self.counts = self.counts.plus(change.counts)
        self.grown_bytes += change.grown_bytes
        if len(self.first) < CHANGES_SHOWN_MAX and any(change.counts):
            self.first.append(change)


@dataclass(frozen=True, slots=True)
class Outcome:
    """abandoned: what was kept of the state that was left, if anything. seq: of the commit.
    counts: from the state that was left, as it was when writes stopped going there."""

    abandoned: KeptState | None
    seq: int
    counts: Counts
    stale_handles: int


class LiveRollback:
    """Compares and rolls back. One at a time: the engine holds its verb lock."""

    def __init__(
        self,
        volume: Volume,
        namespace: Namespace,
        loader: Loader,
        committer: Committer,
        writeback: Writeback,
        kernel: KernelPort,
    ) -> None:
        self._volume = volume
        self._namespace = namespace
        self._loader = loader
        self._committer = committer
        self._writeback = writeback
        self._kernel = kernel

    async def fetch_dirty_pages(self) -> None:
        """Step (a): what the kernel holds of mapped files comes here, into the state as it is."""
        with self._writeback.release():
            await self._kernel.invalidate_inodes(self._namespace.inodes_open_for_writing())

    @asynccontextmanager
    async def compare(self, target: KeptState) -> AsyncIterator[Comparison]:
        """What going to target changes, seen from the newest cut. Both stay readable inside."""
        volume = self._volume
        reader = volume.begin_reading()
        volume.hold(target.number)
        base = Tree(volume.cache, TREE_NAMESPACE, volume.last.root, writable=False)
        goal = volume.open_state(target)
        try:
            found = Comparison(target, volume.last.root.birth, base, goal)
            await self._loader.each(ObjectDiff(base, goal), found.add)
            yield found
        finally:
            base.close()
            goal.close()
            volume.release_hold(target.number)
            volume.end_reading(reader)

    async def mounts_below(self, comparison: Comparison) -> list[bytes]:
        """Mount points that lie below a name which the rollback takes away or gives to another."""
        found = []
        paths = Paths(comparison.base)
        for path in self._kernel.mount_points():
            places = await self._loader.run(paths.places_on, path, self._volume.hash_key)
            if any(place in comparison.delta.names for place in places):
                found.append(path)
        return found

    async def run(
        self,
        comparison: Comparison,
        *,
        author: str,
        discard: bool,
        force: bool,
        exactly: bool = False,
    ) -> Outcome:
        """Steps (b) to (f). exactly: only if the comparison still says all that is left. Errors:
        state.mounts_below and plan.stale, with nothing changed; volume.*"""
        below = await self.mounts_below(comparison)
        if below and not force:
            raise _mounts_below(below)
        # Nothing yields between the end of this comparison and the switch.
        delta = await self._loader.run(self._delta_now, comparison, exactly=exactly)
        with trio.CancelScope(shield=True):
            return await self._switch_and_seal(comparison, delta, author, discard=discard)
        raise AssertionError("a shielded scope is not cancelled")

    async def _switch_and_seal(
        self, comparison: Comparison, delta: Delta, author: str, *, discard: bool
    ) -> Outcome:
        with self._writeback.release():
            lost = delta.lost()
            stale = sum(self._namespace.handle_count(number) for number in lost)
            ancestor = self._volume.states.get(self._volume.working.ancestor)
            seal = await self._switch(comparison.target, delta, author, discard=discard)
            await tell_kernel(self._kernel, self._loader, self._volume.working.tree, delta)
            await self._committer.commit(force=True)
        cut = seal.cut
        assert cut is not None, "a commit after the rollback sealed what was abandoned"
        left = cut.sealed or ancestor
        assert left is not None, "what is not kept is as the state that it came from"
        return Outcome(cut.sealed, cut.seq, await self._counts(comparison, left), stale)

    async def _counts(self, comparison: Comparison, left: KeptState) -> Counts:
        """Of everything that differs between what was left and the target: what changed after the
        comparison, and until diverting ended, counts too. left: has the root of what was left."""
        if left.root == comparison.base.root:
            return comparison.counts
        tree = self._volume.open_state(left)
        again = Comparison(comparison.target, left.seq, tree, comparison.goal)
        try:
            await self._loader.each(ObjectDiff(tree, comparison.goal), again.add)
        except AffsError as error:  # the rollback is done, and says so
            _log.warning("counting what a rollback changed failed: %s", error.message)
            return comparison.counts
        finally:
            tree.close()
        return again.counts

    def _delta_now(self, comparison: Comparison, *, exactly: bool) -> Delta:
        """From the working state of this moment to the target. Raises NodeMissing. Errors:
        plan.stale."""
        self._namespace.flush_all()
        if exactly and self._volume.working.tree.root != comparison.base.root:
            raise plan_stale("rollback")
        later = Delta()
        for change in ObjectDiff(comparison.base, self._volume.working.tree):
            later.add(change)
        return comparison.delta.rebased(later)

    async def _switch(
        self, target: KeptState, delta: Delta, author: str, *, discard: bool
    ) -> Seal:
        """Steps (b) to (d)."""
        volume = self._volume
        self._kernel.distrust(delta.objects)
        abandoned = volume.begin_rollback(target)

        def seal_request() -> CutRequest:
            return verbs.seal_request(volume, abandoned, author, discard=discard)

        with self._committer.hold(seal_request) as seal:
            self._namespace.renew_generations(delta.revived())
            self._namespace.switch(volume.working)
            self._namespace.divert(abandoned, delta.objects)
            try:
                writable = self._namespace.inodes_open_for_writing()
                await self._kernel.invalidate_inodes(
                    [number for number in writable if number in delta.objects]
                )
            finally:
                self._namespace.stop_diverting()
        return seal


async def tell_kernel(kernel: KernelPort, loader: Loader, shown: Tree, delta: Delta) -> None:
    """Step (e), once the mount shows state b of the delta. shown: its tree."""
    await kernel.invalidate_entries(list(delta.names))
    await kernel.invalidate_inodes(list(delta.objects))
    moved = [
        place for place in delta.moved_directories() if kernel.knows(delta.names[place][1])
    ]
    if moved:
        paths = Paths(shown)
        known = [await loader.run(paths.of_place, place) for place in moved]
        # Parents first, so that each is found where it now is.
        await kernel.look_up(sorted(known, key=lambda path: path.count(b"/")))


def _mounts_below(paths: list[bytes]) -> AffsError:
    shown = ", ".join(path.decode("utf-8", "replace") for path in itertools.islice(paths, 3))
    return AffsError(
        "state.mounts_below",
        Category.CONFLICT,
        f"{len(paths)} mount(s) lie below what would go: {shown}",
        hint="unmount them, or add --force, which detaches them",
        details={"paths": [path.decode("utf-8", "replace") for path in paths[:100]]},
    )
