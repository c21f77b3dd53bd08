"""The volume's settings as commands see them: read at once, changed durably (SettingsPort).

Invariants: a change is durable when its call returns, or had no effect; several changes of one call
are made together or not at all; changes come one after the other.
"""

from collections.abc import Mapping

import trio

from affs_fuse.auv import Value, equal
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.committer import Committer
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.ports import SettingKey
from affs_fuse.volume.commit import CutRequest
from affs_fuse.volume.settings import SettingKind
from affs_fuse.volume.volume import Volume

__all__ = ["VolumeSettings"]


class VolumeSettings:
    """Loop thread only."""

    def __init__(self, volume: Volume, committer: Committer, events: EventBus) -> None:
        self._volume = volume
        self._committer = committer
        self._events = events
        self._changing = trio.Lock()
        self._changes = 0

    @property
    def version(self) -> object:
        return self._changes, self._volume.durable_seq if self._volume.read_only else 0

    def get(self, kind: SettingKind, number: int) -> Value:
        return self._volume.settings.get(kind, number)

    def items(self, kind: SettingKind) -> list[tuple[int, Value]]:
        return self._volume.settings.items(kind)

    async def put(self, kind: SettingKind, number: int | None, value: Value) -> int:
        async with self._changing:
            chosen = number if number is not None else self._volume.settings.next_number(kind)
            await self._make({(kind, chosen): value})
        return chosen

    async def delete(self, kind: SettingKind, number: int) -> bool:
        async with self._changing:
            if self._volume.settings.image(kind, number) is None:
                return False
            await self._make({(kind, number): None})
        return True

    async def change(
        self,
        changes: Mapping[SettingKey, Value],
        *,
        expect: Mapping[SettingKey, Value] | None = None,
    ) -> None:
        async with self._changing:
            for (kind, number), value in (expect or {}).items():
                if not equal(self._volume.settings.get(kind, number), value):
                    raise _changed(kind, number)
            await self._make(changes)

    async def _make(self, changes: Mapping[SettingKey, Value]) -> None:
        """A cut that finds no room leaves the volume as it was, so this does, too."""
        self._volume.check_writable()
        before = {key: self._volume.settings.image(*key) for key in changes}
        with trio.CancelScope(shield=True):
            try:
                self._volume.attempt(self._apply, changes)
                await self._committer.commit(CutRequest)
            except BaseException:
                if not self._volume.read_only:
                    self._volume.attempt(self._put_back, before)
                raise
        for kind, number in changes:
            self._events.publish("settings", name=kind.name.lower(), setting=number)

    def _put_back(self, images: Mapping[SettingKey, bytes | None]) -> None:
        self._volume.begin_change()
        self._changes += 1
        for (kind, number), image in images.items():
            self._volume.settings.put_image(kind, number, image)

    def _apply(self, changes: Mapping[SettingKey, Value]) -> None:
        self._volume.begin_change()
        self._changes += 1
        for key, value in changes.items():
            if value is None:
                self._volume.settings.delete(*key)
            else:
                self._volume.settings.put(*key, value)


def _changed(kind: SettingKind, number: int) -> AffsError:
    return AffsError(
        "setting.changed",
        Category.CONFLICT,
        f"setting {number} of the kind {kind.name.lower()} was changed since",
        hint="`log` shows by whom",
    )
