"""Changes of the table of kept states that undo, restore and retention make: several at once, in
one commit, or none.

They share the verbs' lock and promises (state_verbs.py). What is changed is told as an effect
(effects.py) is: keys `published`, `kept` and `pins`, once as it is to be before and once after.
"""

from collections.abc import Callable, Sequence

import trio

from affs_fuse.core.constants import POINTER_PUBLISHED
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.views import CHECKPOINTS
from affs_fuse.runtime.committer import Committer
from affs_fuse.runtime.describe import state_dict
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.jobs import Jobs
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.ports import Plain
from affs_fuse.volume import verbs
from affs_fuse.volume.commit import CutRequest
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["StateChanges"]

NANOSECONDS = 10**9


class StateChanges:
    """lock: the verbs' own. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        committer: Committer,
        events: EventBus,
        kernel: KernelPort,
        jobs: Jobs,
        lock: trio.Lock,
    ) -> None:
        self._volume = volume
        self._committer = committer
        self._events = events
        self._kernel = kernel
        self._jobs = jobs
        self._lock = lock

    async def restore(self, text: str) -> Plain:
        volume = self._volume
        async with self._lock:
            state = volume.states.resolve_deleted(text)
            await self._at_once(lambda: _restore_all(volume, [state]))
        await self._look_again([state])
        self._events.publish("restore", state=state.hex_id, label=state.label)
        return state_dict(volume, volume.states[state.number])

    async def delete_all(
        self, choose: Callable[[list[Plain]], list[Plain]], grace_s: int, *, expect: Basis = None
    ) -> list[Plain]:
        """choose: of all listed states, those to be deleted; called in the turn of the change."""
        volume = self._volume
        async with self._lock:
            chosen = choose([state_dict(volume, state) for state in volume.states.listed()])
            demand(expect, [state["id"] for state in chosen], "expire")
            states = [volume.states[state["number"]] for state in chosen]
            if states:
                await self._at_once(lambda: _delete_all(volume, states, grace_s))
        await self._after_deleting(states)
        return chosen

    async def change(self, before: Plain, after: Plain, *, grace_s: int) -> None:
        volume = self._volume
        kept = after.get("kept", {})
        async with self._lock:
            self._compare(before)
            back = [volume.states.resolve_deleted(one) for one, is_kept in kept.items() if is_kept]
            gone = [volume.find_state(one) for one, is_kept in kept.items() if not is_kept]

            def apply() -> None:
                _restore_all(volume, back)
                self._change_pins(before.get("pins", {}), after.get("pins", {}))
                if "published" in after:
                    self._publish(after["published"])
                _delete_all(volume, gone, grace_s)

            await self._at_once(apply)
        if back:
            await self._look_again(back)
        if "published" in after:
            published = volume.states.published
            self._events.publish(
                "publish", state=published.hex_id if published is not None else None
            )
        for one in back:
            self._events.publish("restore", state=one.hex_id, label=one.label)
        for one in after.get("pins", {}):
            pinned = volume.find_state(one)
            self._events.publish("pin", state=pinned.hex_id, pins=pinned.pins)
        await self._after_deleting(gone)

    # ---- one commit ----

    async def _at_once(self, apply: Callable[[], None]) -> None:
        """Changes the table and commits; a failure leaves the table as it was."""
        volume = self._volume
        volume.check_writable()
        snapshot = volume.states.snapshot()
        with trio.CancelScope(shield=True):
            try:
                volume.attempt(self._begin, apply)
                volume.note_change()
                await self._committer.commit(CutRequest)
            except BaseException:
                if not volume.read_only:
                    volume.states.restore(snapshot)
                raise

    def _begin(self, apply: Callable[[], None]) -> None:
        self._volume.begin_change()
        apply()

    def _compare(self, before: Plain) -> None:
        """Errors: state.changed, where something is not as `before` says."""
        states = self._volume.states
        if "published" in before:
            published = states.published
            found = published.hex_id if published is not None else None
            if found != before["published"]:
                raise _changed("another state was published since")
        alive = {state.hex_id for state in states.listed()}
        for one, was_kept in before.get("kept", {}).items():
            if was_kept and one not in alive:
                raise _changed(f"the state {one[:12]} was deleted since")
            if not was_kept and one in alive:
                raise _changed(f"the state {one[:12]} was restored since")
        for one in before.get("pins", {}):
            if one not in alive:
                raise _changed(f"the state {one[:12]} was deleted since")

    def _change_pins(self, before: Plain, after: Plain) -> None:
        """By the difference: what others pinned since stays pinned."""
        for one, count in after.items():
            for _ in range(count - before[one]):
                verbs.pin(self._volume, self._volume.find_state(one))
            for _ in range(before[one] - count):
                verbs.unpin(self._volume, self._volume.find_state(one))

    def _publish(self, text: str | None) -> None:
        """Move the pointer back to a state that was published before."""
        states = self._volume.states
        if text is None:
            states.clear_pointer(POINTER_PUBLISHED)
            return
        number = self._volume.find_state(text).number
        states.set_pointer(POINTER_PUBLISHED, number, self._volume.clock.now_ns())

    # ---- afterwards ----

    async def _after_deleting(self, states: Sequence[KeptState]) -> None:
        for state in states:
            self._events.publish("delete", state=state.hex_id, label=state.label)
        if states:
            await self._look_again(states)
            self._jobs.wake_reclaim()

    async def _look_again(self, states: Sequence[KeptState]) -> None:
        """The kernel forgets that these views are there, or that they are not. What is done is
        told, also to who gave up waiting."""
        names = [state.hex_id.encode() for state in states]
        with trio.CancelScope(shield=True):
            await self._kernel.invalidate_entries([(CHECKPOINTS, name) for name in names])


def _restore_all(volume: Volume, states: Sequence[KeptState]) -> None:
    for state in states:
        verbs.restore(volume, volume.states[state.number])


def _delete_all(volume: Volume, states: Sequence[KeptState], grace_s: int) -> None:
    for state in states:
        verbs.delete(volume, volume.states[state.number], grace_s * NANOSECONDS)


def _changed(what: str) -> AffsError:
    return AffsError(
        "state.changed",
        Category.CONFLICT,
        f"this cannot be changed back: {what}",
        hint="`log` shows what happened; `undo --operation N` takes back one of it",
    )
