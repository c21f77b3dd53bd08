"""The verbs of a volume in use: what makes, publishes, switches and deletes kept states.

semantics.md, "Verbs"; the engine is the door to them. Invariants:
- Verbs exclude each other, and reclaiming, by one lock.
- What the caller of a verb was told is durable; a verb past its point of no return goes on to its
  end, also when nobody waits for it any more.
- A verb that is held to a plan (`expect`) changes nothing unless that plan is still true in the
  turn of the change.
"""

from collections.abc import Callable

import trio

from affs_fuse.core.constants import POINTER_UNDO
from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.views import CHECKPOINTS
from affs_fuse.runtime import retention
from affs_fuse.runtime.committer import Committer
from affs_fuse.runtime.describe import state_dict
from affs_fuse.runtime.differences import Paths, describe
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.jobs import Jobs
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.ledger import Ledger
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.retention import Rules
from affs_fuse.runtime.rollback import Comparison, LiveRollback
from affs_fuse.volume import verbs
from affs_fuse.volume.commit import Cut, CutRequest
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["StateVerbs"]

DELETE_WAIT_S = 2.0
NANOSECONDS = 10**9


class StateVerbs:
    """lock: the verbs' own, shared with reclaiming. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        namespace: Namespace,
        loader: Loader,
        committer: Committer,
        events: EventBus,
        kernel: KernelPort,
        jobs: Jobs,
        rollback: LiveRollback,
        ledger: Ledger,
        lock: trio.Lock,
    ) -> None:
        self._volume = volume
        self._namespace = namespace
        self._loader = loader
        self._committer = committer
        self._events = events
        self._kernel = kernel
        self._jobs = jobs
        self._rollback = rollback
        self._ledger = ledger
        self._lock = lock

    async def commit(self, message: str) -> Plain:
        await self._rollback.fetch_dirty_pages()
        cut = await self._committer.commit()
        return {
            "seq": cut.seq if cut is not None else self._volume.durable_seq,
            "time_ns": cut.record.time_ns if cut is not None else self._volume.durable_time_ns,
            "changed": cut is not None,
        }

    async def checkpoint(self, label: str, message: str, author: str) -> Plain:
        note = verbs.Note(label, message, author)
        async with self._lock:
            verbs.checkpoint_request(self._volume, note)  # refuse before anything is written
            await self._rollback.fetch_dirty_pages()
            cut = await self._verb_cut(lambda: verbs.checkpoint_request(self._volume, note))
        assert cut.kept is not None
        state = state_dict(self._volume, cut.kept)
        self._events.publish("checkpoint", state=cut.kept.hex_id, label=label, seq=cut.seq)
        return state

    async def publish(
        self,
        state: str | None,
        message: str,
        author: str,
        *,
        dry_run: bool = False,
        expect: Basis = None,
    ) -> Plain:
        volume = self._volume
        note = verbs.Note("", message, author)
        async with self._lock:
            previous = volume.states.published
            chosen = volume.find_state(state) if state is not None else None
            if chosen is None:
                await self._rollback.fetch_dirty_pages()
            if dry_run:
                return await self._publish_plan(chosen)

            def request() -> CutRequest:
                root = volume.working.tree.root
                basis = self._publish_basis(chosen, root.birth if root is not None else 0)
                demand(expect, basis, "publish")
                return verbs.publish_request(volume, note, chosen)

            if chosen is not None or expect is None:
                request()  # refuse before anything is written
            cut = await self._verb_cut(request)
        published = volume.states.published
        assert published is not None
        self._events.publish("publish", state=published.hex_id, seq=cut.seq)
        return {
            **state_dict(volume, published),
            "previous": previous.hex_id if previous is not None else None,
        }

    async def _publish_plan(self, chosen: KeptState | None) -> Plain:
        volume = self._volume
        if chosen is None and not volume.read_only:
            await self._committer.commit()
        previous = volume.states.published
        return {
            "state": state_dict(volume, chosen) if chosen is not None else None,
            "previous": state_dict(volume, previous) if previous is not None else None,
            "basis": self._publish_basis(chosen, volume.last.root.birth),
        }

    def _publish_basis(self, chosen: KeptState | None, working: int) -> Basis:
        """What is published, and what is to be. working: of the working state the commit that wrote
        its root, 0 while it differs from every commit."""
        previous = self._volume.states.published
        return [
            previous.hex_id if previous is not None else None,
            chosen.hex_id if chosen is not None else working,
        ]

    async def _verb_cut(self, prepare: Callable[[], CutRequest]) -> Cut:
        """From here on the verb is done, also when nobody waits for it any more."""
        with trio.CancelScope(shield=True):
            cut = await self._committer.commit(prepare)
        assert cut is not None
        return cut

    async def rollback(
        self,
        state: str | None,
        *,
        undo: bool = False,
        discard: bool = False,
        dry_run: bool = False,
        force: bool = False,
        author: str = "",
        expect: Basis = None,
    ) -> Plain:
        volume = self._volume
        async with self._lock:
            target = verbs.rollback_target(volume, state, undo=undo)
            if not dry_run:
                volume.check_writable()
            if not volume.read_only:
                await self._rollback.fetch_dirty_pages()
                await self._committer.commit()
            async with self._rollback.compare(target) as comparison:
                if dry_run:
                    return await self._rollback_plan(comparison)
                demand(expect, self._rollback_basis(comparison), "rollback")
                outcome = await self._rollback.run(
                    comparison, author=author, discard=discard, force=force,
                    exactly=expect is not None,
                )
            left = volume.states.pointer(POINTER_UNDO)
        self._jobs.wake_clean(switched=True)
        self._jobs.wake_reclaim()
        abandoned = outcome.abandoned
        kept = abandoned is not None and abandoned.listed
        answer: Plain = {
            "target": state_dict(volume, target),
            "abandoned": state_dict(volume, abandoned) if abandoned and kept else None,
            "left": left.hex_id if left is not None and not discard else None,
            "seq": outcome.seq,
            **outcome.counts._asdict(),
            "stale_handles": outcome.stale_handles,
        }
        self._events.publish(
            "rollback", target=target.hex_id, seq=outcome.seq,
            abandoned=abandoned.hex_id if abandoned and kept else None, **outcome.counts._asdict(),
        )
        with trio.CancelScope(shield=True):  # what is done is told, also to who gave up waiting
            await self._expire()
        return answer

    def _rollback_basis(self, comparison: Comparison) -> Basis:
        """The state that is left, by the commit that wrote its root, and the one gone to."""
        return [comparison.base_seq, comparison.target.hex_id]

    async def _rollback_plan(self, comparison: Comparison) -> Plain:
        a, b = Paths(comparison.base), Paths(comparison.goal)
        changes: list[Plain] = []
        for change in comparison.first:
            changes += await self._loader.run(describe, change, a, b)
        opened = []
        for number in self._namespace.open_objects():
            if number not in comparison.delta.objects:
                continue
            place = await self._loader.run(a.first_place, number)
            if place is not None:
                path = await self._loader.run(a.of_place, place)
                handles = self._namespace.handle_count(number)
                opened.append({"path": "/" + path.decode("utf-8", "replace"), "handles": handles})
        below = await self._rollback.mounts_below(comparison)
        return {
            "target": state_dict(self._volume, comparison.target),
            "seq": comparison.base_seq,
            **comparison.counts._asdict(),
            "bytes": comparison.grown_bytes,
            "changes": changes[:100],
            "open_files": opened,
            "mounts_below": [path.decode("utf-8", "replace") for path in below],
            "basis": self._rollback_basis(comparison),
        }

    async def _expire(self) -> None:
        """Let go of automatic states that retention does not keep."""
        volume = self._volume
        rules = Rules.of(volume.settings)
        states = [state_dict(volume, state) for state in volume.states.listed() if state.automatic]
        found = retention.expired(states, rules, volume.clock.now_ns())
        expired = [volume.states[state["number"]] for state in found]
        for state in expired:
            verbs.delete(volume, state)
        if expired:
            await self._hide(expired)
            self._jobs.wake_reclaim()

    async def _hide(self, deleted: list[KeptState]) -> None:
        """Let the kernel forget the views of deleted states: what it remembers, holds them."""
        names = [state.hex_id.encode() for state in deleted]
        await self._kernel.invalidate_entries([(CHECKPOINTS, name) for name in names])

    async def delete_state(
        self, state: str, *, grace_s: int = 0, dry_run: bool = False, expect: Basis = None
    ) -> Plain:
        volume = self._volume
        async with self._lock:
            chosen = volume.find_state(state)
            verbs.check_deletable(volume, chosen)
            before = state_dict(volume, chosen)
            children = sorted(child.hex_id for child in volume.states.children(chosen.number))
            working = volume.working.ancestor == chosen.number
            basis: Basis = [chosen.hex_id, chosen.label, list(children), working]
            if dry_run:
                readers = volume.held(chosen.number)
                frees = await self._ledger.frees_bytes(chosen)
                plan = {
                    "state": before, "descendants": children, "frees_bytes": frees,
                    "readers": readers,
                }
                return {**plan, "beside": self._beside(chosen), "basis": basis}
            volume.check_writable()
            demand(expect, basis, "delete")
            waits_for = verbs.delete(volume, chosen, grace_s * NANOSECONDS)
            volume.note_change()
            await self._verb_cut(CutRequest)
        doomed = volume.states.get(chosen.number)
        self._events.publish("delete", state=chosen.hex_id, label=chosen.label)
        freed = None
        with trio.CancelScope(shield=True):  # as in rollback()
            await self._hide([chosen])
            self._jobs.wake_reclaim()
            if not waits_for and not grace_s:
                freed = await self._jobs.freed_by(chosen.number, DELETE_WAIT_S)
        return {
            "state": before,
            "freed_bytes": freed,
            "waits_for": [other.hex_id for other in waits_for],
            "reclaim_ns": doomed.reclaim_ns or None if doomed is not None else None,
        }

    def _beside(self, state: KeptState) -> str:
        """The state that shows best what this one has of its own: the next newer one, else the one
        before it."""
        states = self._volume.states
        if listed := [child for child in states.children(state.number) if child.listed]:
            return listed[0].hex_id
        parent = states.get(state.parent)
        if self._volume.working.ancestor == state.number or parent is None or not parent.listed:
            return "working"
        return parent.hex_id

    async def change_pins(
        self,
        state: str,
        change: Callable[[Volume, KeptState], KeptState],
        *,
        dry_run: bool = False,
        expect: Basis = None,
    ) -> Plain:
        """change: verbs.pin or verbs.unpin."""
        volume = self._volume
        async with self._lock:
            chosen = volume.find_state(state)
            basis: Basis = [chosen.hex_id, chosen.pins]
            if dry_run:
                return {"state": state_dict(volume, chosen), "basis": basis}
            demand(expect, basis, "unpin")
            changed = change(volume, chosen)
            await self._verb_cut(CutRequest)
        self._events.publish("pin", state=changed.hex_id, pins=changed.pins)
        return state_dict(volume, changed)
