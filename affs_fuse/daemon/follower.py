"""Following what another daemon publishes: `mount.affs -o ro,view=published` beside the volume's
owner (docs/mounting.md, "The published state beside the owner").

The state that is shown is held through the owner's socket. When another one is published, that is
held too, the volume is read again until the reading has it, and the mount moves on; the former
hold is given back a round later, when reads of it that were under way are done. Invariants:
- A hold is renewed by a task of its own, so that nothing slow here lets it expire.
- Without an owner the mount goes on showing what it shows; an owner that comes (back) is found.
"""

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import trio

from affs_fuse.daemon.owner import Owner, connect_owner, find_owner
from affs_fuse.device.file import open_device
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.describe import uuid_text
from affs_fuse.runtime.viewing import Viewing
from affs_fuse.volume.opening import OpenOptions, Parts, reread
from affs_fuse.volume.volume import Volume

__all__ = ["Follower", "open_beside_owner"]

_log = logging.getLogger("affs.daemon")

LEASE_S = 8
RENEW_EVERY_S = 2.0
LOOK_EVERY_S = 0.5
"""How often the owner is asked what is published; a question costs it far below a millisecond."""

READINGS_MAX = 8
READING_PAUSE_S = 0.05
APPEARS_WITHIN_S = 10.0
"""From the owner's word that a state is published until the volume must have it."""

READING_CACHE_BYTES = 1 << 20
FAULT_PAUSE_S = 5.0


def open_beside_owner(path: str, options: OpenOptions) -> Volume:
    """Open a volume for reading that a daemon may be changing. Errors: as Volume.open."""
    for attempt in range(READINGS_MAX):
        device = open_device(path, read_only=True)
        try:
            return Volume(reread(device, options))
        except AffsError as error:
            device.close()
            if not _may_pass(error):
                raise
        except BaseException:
            device.close()
            raise
        options.sleep(READING_PAUSE_S * (attempt + 1))
    return Volume.open(path, options)  # damaged, then: what any mount for reading makes of it


def _may_pass(error: AffsError) -> bool:
    """Whether another reading may do better."""
    return error.category is Category.CORRUPT or error.code == "volume.moving"


class Follower:
    """announcements: where the owner's may be. options: as the volume was opened with."""

    def __init__(
        self,
        volume: Volume,
        viewing: Viewing,
        announcements: Sequence[str],
        options: OpenOptions,
    ) -> None:
        self._device = volume.device
        self._uuid = uuid_text(volume.uuid)
        self._viewing = viewing
        self._announcements = announcements
        self._options = replace(options, cache_bytes=READING_CACHE_BYTES)
        self._said = ""

    async def serve(self) -> None:
        """As long as the mount is there; never returns."""
        while True:
            try:
                await self._round()
            except Exception as error:  # noqa: BLE001 - reading must go on whatever fails
                _log.error("following failed in a way that should not happen", exc_info=error)
                await trio.sleep(FAULT_PAUSE_S)

    async def _round(self) -> None:
        if await self._attend():
            # What it published last may not have been seen.
            await self._look_alone()
        if await self._viewing.wait_for_mismatch(LOOK_EVERY_S):
            await self._look_alone()
            self._viewing.looked()

    async def _attend(self) -> bool:
        """Follow an owner until it is gone; whether there was one that gave a hold."""
        path = find_owner(self._announcements, self._uuid)
        if not path:
            return False
        following = _Following(self._viewing, self._read)
        try:
            async with connect_owner(path, "mount.affs view", self._uuid) as owner:
                await following.run(owner)
        except AffsError as error:
            self._say(f"the published state is not followed: {error.message}")
        if following.held:
            self._said = ""
        return following.held

    async def _look_alone(self) -> None:
        """Show the newest published state that the volume has, held or not."""
        try:
            parts = await self._read()
            state = parts.states.published
            if state is not None and state.hex_id != self._viewing.shown_id:
                await self._viewing.show(parts, state)
        except AffsError as error:
            self._say(f"looking for a newer published state failed: {error.message}")

    async def _read(self) -> Parts:
        """Errors: as opening.reread, after some attempts."""
        for attempt in range(READINGS_MAX):
            try:
                return await trio.to_thread.run_sync(reread, self._device, self._options)
            except AffsError as error:
                if not _may_pass(error) or attempt == READINGS_MAX - 1:
                    raise
            await trio.sleep(READING_PAUSE_S * (attempt + 1))
        raise AssertionError("the last attempt returns or raises")

    def _say(self, text: str) -> None:
        """Once, not with every attempt."""
        if text != self._said:
            _log.info("%s", text)
            self._said = text


class _Following:
    """One owner, from its greeting to its end. held: whether it gave a hold."""

    def __init__(self, viewing: Viewing, read: Callable[[], Awaitable[Parts]]) -> None:
        self._viewing = viewing
        self._read = read
        self._leases: list[str] = []
        self._failure: AffsError | None = None
        self.held = False

    async def run(self, owner: Owner) -> None:
        """Until it fails. Errors: the owner's; device.*, volume.* of reading."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._ending, nursery, self._renew, owner)
            nursery.start_soon(self._ending, nursery, self._rounds, owner)
        if self._failure is not None:
            raise self._failure

    async def _ending(
        self, nursery: trio.Nursery, task: Callable[[Owner], Awaitable[None]], owner: Owner
    ) -> None:
        """The first error of a task is the end of both."""
        try:
            await task(owner)
        except AffsError as error:
            self._failure = self._failure or error
        nursery.cancel_scope.cancel()

    async def _renew(self, owner: Owner) -> None:
        while True:
            await trio.sleep(RENEW_EVERY_S)
            for lease in [*self._leases]:
                if lease in self._leases:
                    await owner.ask("hold", {"renew": lease, "lease": LEASE_S})

    async def _rounds(self, owner: Owner) -> None:
        answer = await self._hold_something(owner)
        self.held = True
        former = ""
        while True:
            if answer["state"] != self._viewing.shown_id:
                await self._show(answer)
            self._viewing.looked()
            await self._viewing.wait_for_mismatch(LOOK_EVERY_S)
            if former:
                self._leases.remove(former)
                await owner.ask("hold", {"release": former})
            lease, former = answer["hold"], ""
            told = await owner.ask("hold", {"renew": lease, "lease": LEASE_S})
            if told["published"] not in (None, answer["state"]):
                former, answer = lease, await self._hold(owner, told["published"])

    async def _hold_something(self, owner: Owner) -> dict[str, Any]:
        """What is shown, if it is still there, else what is published."""
        try:
            return await self._hold(owner, self._viewing.shown_id)
        except AffsError as error:
            if error.code != "state.not_found":
                raise
        return await self._hold(owner, "published")

    async def _hold(self, owner: Owner, state: str) -> dict[str, Any]:
        answer = await owner.ask("hold", {"state": state, "lease": LEASE_S})
        self._leases.append(answer["hold"])
        return answer

    async def _show(self, answer: dict[str, Any]) -> None:
        """Errors: volume.behind, if the state does not appear on the volume."""
        deadline = trio.current_time() + APPEARS_WITHIN_S
        while trio.current_time() < deadline:
            parts = await self._read()
            state = parts.states.get(answer["number"])
            if state is not None and state.hex_id == answer["state"]:
                await self._viewing.show(parts, state)
                return
            await trio.sleep(READING_PAUSE_S)
        raise AffsError(
            "volume.behind",
            Category.BUSY,
            f"state {answer['state'][:12]} does not appear on the volume that is shown",
            hint="is it the same file or device?",
            retryable=True,
        )
