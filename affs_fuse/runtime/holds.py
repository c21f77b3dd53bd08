"""Holds on kept states for readers outside this daemon (docs/specs/ControlProtocol.md, "Holds").

A reader that shows a state from the device of a volume in use, such as `mount.affs -o
ro,view=published`, takes a hold and renews it; until then the state's blocks stay. Invariants:
- A hold is a lease: a reader that dies or hangs holds nothing up for longer than it asked for.
- Holds are in memory alone: they end with the daemon, and nothing about them is committed.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

__all__ = ["HOLDS_MAX", "LEASE_DEFAULT_S", "LEASE_MAX_S", "Hold", "Holds"]

HOLDS_MAX = 256
"""More readers than one machine sensibly mounts, and few enough to look through."""

LEASE_DEFAULT_S = 30
LEASE_MAX_S = 600

_ID_BYTES = 8


@dataclass(slots=True, eq=False)
class Hold:
    """state: as it was when the hold was taken. lease_s: from each renewal. deadline: on trio's
    clock."""

    id: str
    state: KeptState
    lease_s: int
    deadline: float


class Holds:
    """The holds of one volume. released: told when a state may be reclaimed again. Loop thread
    only."""

    def __init__(self, volume: Volume, released: Callable[[], None]) -> None:
        self._volume = volume
        self._released = released
        self._holds: dict[str, Hold] = {}
        self._changed = trio.Event()

    def __len__(self) -> int:
        return len(self._holds)

    def take(self, state: KeptState, lease_s: int) -> Hold:
        """Errors: hold.too_many; hold.not_owner where this daemon reclaims nothing anyway."""
        if self._volume.device.read_only:
            raise AffsError(
                "hold.not_owner",
                Category.UNSUPPORTED,
                "this mount only reads the volume, so it can keep nothing from being reclaimed",
                hint="ask the daemon that has it mounted for writing",
            )
        self._expire()
        if len(self._holds) >= HOLDS_MAX:
            raise AffsError(
                "hold.too_many",
                Category.BUSY,
                f"{HOLDS_MAX} holds are taken already",
                hint="they end when their readers end, or when they are not renewed",
                retryable=True,
            )
        hold = Hold(
            self._volume.entropy(_ID_BYTES).hex(), state, lease_s, trio.current_time() + lease_s
        )
        self._volume.hold(state.number)
        self._holds[hold.id] = hold
        self._changed.set()
        return hold

    def renew(self, hold_id: str, lease_s: int) -> Hold:
        """For another lease_s from now. Errors: hold.not_found (it may have expired)."""
        hold = self._find(hold_id)
        hold.lease_s = lease_s
        hold.deadline = trio.current_time() + lease_s
        self._changed.set()
        return hold

    def release(self, hold_id: str) -> Hold:
        """Errors: hold.not_found."""
        hold = self._find(hold_id)
        self._drop(hold)
        return hold

    async def serve(self) -> None:
        """Let go of what is not renewed; never returns."""
        while True:
            self._expire()
            self._changed = trio.Event()
            deadlines = [hold.deadline for hold in self._holds.values()]
            with trio.CancelScope(deadline=min(deadlines, default=float("inf"))):
                await self._changed.wait()

    def _find(self, hold_id: str) -> Hold:
        self._expire()
        hold = self._holds.get(hold_id)
        if hold is None:
            raise AffsError(
                "hold.not_found",
                Category.NOT_FOUND,
                f"there is no hold {hold_id!r}; it may have expired",
                hint="take a new one, and look whether the state is still there",
            )
        return hold

    def _expire(self) -> None:
        now = trio.current_time()
        for hold in [hold for hold in self._holds.values() if hold.deadline <= now]:
            self._drop(hold)

    def _drop(self, hold: Hold) -> None:
        del self._holds[hold.id]
        self._volume.release_hold(hold.state.number)
        self._released()
