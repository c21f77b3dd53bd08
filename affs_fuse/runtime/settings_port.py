"""The volume's settings as the runtime sees them, as a typing.Protocol (volume_settings.py is the
real thing)."""

from collections.abc import Mapping
from typing import Protocol

from affs_fuse.auv import Value
from affs_fuse.volume.settings import SettingKind

__all__ = ["SettingKey", "SettingsPort"]

SettingKey = tuple[SettingKind, int]
"""Kind and number of a setting."""


class SettingsPort(Protocol):
    """Settings of the volume: small values that no rollback touches (DiskLayout.md, "System
    tree"). Reading waits for nothing. A change is durable when its call returns, or had no effect.

    corrupt: setting.damaged, where a value is read. Of changes: invalid: setting.value,
    setting.too_long; busy: setting.too_many; volume.*, device.*."""

    @property
    def version(self) -> object:
        """Another one after each change of a setting."""

    def get(self, kind: SettingKind, number: int) -> Value:
        """The value, None where there is none."""

    def items(self, kind: SettingKind) -> list[tuple[int, Value]]:
        """Numbers and values of a kind, by rising number."""

    async def put(self, kind: SettingKind, number: int | None, value: Value) -> int:
        """Sets it; without a number, under the next one that is free. The number."""

    async def delete(self, kind: SettingKind, number: int) -> bool:
        """Whether there was one."""

    async def change(
        self,
        changes: Mapping[SettingKey, Value],
        *,
        expect: Mapping[SettingKey, Value] | None = None,
    ) -> None:
        """All of them at once; the value None deletes. conflict: setting.changed, unless the
        settings that expect names have its values in the turn of the change."""
