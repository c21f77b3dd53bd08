"""Settings of the volume: small values in the system tree that no rollback touches.

docs/specs/DiskLayout.md, "System tree". A setting is a value under its kind and a number; what it
means is the runtime's business. Invariants: a setting that was put can be read back, so what is no
value or is too large is refused before anything changes; a kind has at most SETTINGS_MAX of them.
"""

from collections.abc import Iterator
from enum import IntEnum

from affs_fuse.auv import AuvError, Value, decode, encode_canonical
from affs_fuse.core.constants import ITEM_MAX, ITEM_POLICY
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category

__all__ = ["SETTINGS_MAX", "SettingKind", "Settings"]

SETTINGS_MAX = 4096
"""Of one kind: a few MB at most, since the system tree is in memory whole."""

NUMBER_MAX = (1 << 64) - 1


class SettingKind(IntEnum):
    """The object number of their keys. Kinds that are not known are left alone."""

    ROLES = 1
    RETENTION = 2
    PACKAGES = 3
    HOOKS = 4
    TOKENS = 5
    EVENTS = 7
    PERSONALITY = 8


class Settings:
    """system: the system tree, every node of which is in memory. Changes become durable with the
    next commit."""

    def __init__(self, system: Tree) -> None:
        self._system = system

    def get(self, kind: SettingKind, number: int) -> Value:
        """The value, or None where there is none (Null is no setting). corrupt: setting.damaged."""
        payload = self._system.get(kind, ITEM_POLICY, number)
        return None if payload is None else _value(kind, number, payload)

    def image(self, kind: SettingKind, number: int) -> bytes | None:
        """What is on the volume, whether it can be read as a value or not."""
        return self._system.get(kind, ITEM_POLICY, number)

    def put_image(self, kind: SettingKind, number: int, image: bytes | None) -> None:
        """Back to what image() gave."""
        if image is None:
            self.delete(kind, number)
        else:
            self._system.put(kind, ITEM_POLICY, number, image)

    def items(self, kind: SettingKind) -> list[tuple[int, Value]]:
        """All of the kind by rising number. corrupt: setting.damaged."""
        return [(number, _value(kind, number, payload)) for number, payload in self._items(kind)]

    def numbers(self, kind: SettingKind) -> list[int]:
        """In rising order."""
        return [number for number, _ in self._items(kind)]

    def put(self, kind: SettingKind, number: int, value: Value) -> None:
        """invalid: setting.value, setting.too_long; busy: setting.too_many."""
        payload = _payload(kind, value)
        known = self._system.get(kind, ITEM_POLICY, number) is not None
        if not known and len(self.numbers(kind)) >= SETTINGS_MAX:
            raise AffsError(
                "setting.too_many",
                Category.BUSY,
                f"the volume has {SETTINGS_MAX} settings of the kind {kind.name.lower()}",
                hint="remove one first",
            )
        self._system.put(kind, ITEM_POLICY, number, payload)

    def delete(self, kind: SettingKind, number: int) -> bool:
        """Whether there was one."""
        if self._system.get(kind, ITEM_POLICY, number) is None:
            return False
        self._system.delete(kind, ITEM_POLICY, number)
        return True

    def next_number(self, kind: SettingKind) -> int:
        """One above all that are in use; 1 at least."""
        item = self._system.seek(kind, ITEM_POLICY, NUMBER_MAX, backward=True)
        if item is None or item[:2] != (kind, ITEM_POLICY):
            return 1
        return max(1, item[2] + 1)

    def _items(self, kind: SettingKind) -> Iterator[tuple[int, bytes]]:
        first, end = (kind, ITEM_POLICY, 0), (kind, ITEM_POLICY + 1, 0)
        for _, _, number, payload in self._system.iterate(first, end):
            yield number, payload


def _payload(kind: SettingKind, value: Value) -> bytes:
    if value is None:
        raise AffsError("setting.value", Category.INVALID, "Null is no setting: delete it instead")
    try:
        payload = encode_canonical(value)
    except AuvError as error:
        raise AffsError("setting.value", Category.INVALID, f"no value: {error.message}") from error
    if len(payload) > ITEM_MAX:
        raise AffsError(
            "setting.too_long",
            Category.INVALID,
            f"a setting of the kind {kind.name.lower()} takes {len(payload)} bytes, {ITEM_MAX}"
            " at most",
            hint="split it, or leave something out",
        )
    return payload


def _value(kind: SettingKind, number: int, payload: bytes) -> Value:
    try:
        return decode(payload)
    except AuvError as error:
        raise AffsError(
            "setting.damaged",
            Category.CORRUPT,
            f"setting {number} of the kind {kind.name.lower()} is no value: {error.message}",
            hint="see fsck.affs; putting it anew replaces it",
        ) from error
