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

from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.views import CHECKPOINTS
from affs_fuse.runtime.committer import Committer
from affs_fuse.runtime.describe import state_dict
from affs_fuse.runtime.differences import Paths, describe
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.jobs import Jobs
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.rollback import Comparison, LiveRollback
from affs_fuse.volume import verbs
from affs_fuse.volume.commit import Cut, CutRequest
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["StateVerbs"]

DELETE_WAIT_S = 2.0


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

    async def publish(self, state: str | None, message: str, author: str) -> Plain:
        volume = self._volume
        note = verbs.Note("", message, author)
        async with self._lock:
            previous = volume.states.published
            chosen = volume.states.resolve(state) if state is not None else None
            verbs.publish_request(volume, note, chosen)
            if chosen is None:
                await self._rollback.fetch_dirty_pages()
            cut = await self._verb_cut(lambda: verbs.publish_request(volume, note, chosen))
        published = volume.states.published
        assert published is not None
        self._events.publish("publish", state=published.hex_id, seq=cut.seq)
        return {
            **state_dict(volume, published),
            "previous": previous.hex_id if previous is not None else None,
        }

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
        self._jobs.wake_clean(switched=True)
        self._jobs.wake_reclaim()
        abandoned = outcome.abandoned
        kept = abandoned is not None and abandoned.listed
        answer: Plain = {
            "target": state_dict(volume, target),
            "abandoned": state_dict(volume, abandoned) if abandoned and kept else None,
            "seq": outcome.seq,
            **outcome.counts._asdict(),
            "stale_handles": outcome.stale_handles,
        }
        self._events.publish(
            "rollback", target=target.hex_id, seq=outcome.seq,
            abandoned=abandoned.hex_id if abandoned and kept else None, **outcome.counts._asdict(),
        )
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
        expired = verbs.expired_automatic(volume, volume.clock.now_ns())
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
        self, state: str, *, dry_run: bool = False, expect: Basis = None
    ) -> Plain:
        volume = self._volume
        async with self._lock:
            chosen = volume.states.resolve(state)
            verbs.check_deletable(volume, chosen)
            before = state_dict(volume, chosen)
            children = sorted(child.hex_id for child in volume.states.children(chosen.number))
            working = volume.working.ancestor == chosen.number
            basis: Basis = [chosen.hex_id, chosen.label, list(children), working]
            if dry_run:
                return {"state": before, "descendants": children, "basis": basis}
            volume.check_writable()
            demand(expect, basis, "delete")
            waits_for = verbs.delete(volume, chosen)
            volume.note_change()
            await self._verb_cut(CutRequest)
        self._events.publish("delete", state=chosen.hex_id, label=chosen.label)
        await self._hide([chosen])
        self._jobs.wake_reclaim()
        freed = None
        if not waits_for:
            freed = await self._jobs.freed_by(chosen.number, DELETE_WAIT_S)
        return {
            "state": before,
            "freed_bytes": freed,
            "waits_for": [other.hex_id for other in waits_for],
        }

    async def change_pins(
        self, state: str, change: Callable[[Volume, KeptState], KeptState]
    ) -> Plain:
        """change: verbs.pin or verbs.unpin."""
        volume = self._volume
        async with self._lock:
            changed = change(volume, volume.states.resolve(state))
            await self._verb_cut(CutRequest)
        self._events.publish("pin", state=changed.hex_id, pins=changed.pins)
        return state_dict(volume, changed)
