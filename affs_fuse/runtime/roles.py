"""The volume's rules about roles, as settings of the kind roles.

A value: `{kind: "user" | "group", id, name, role}`, with `commands` and `paths` (Arrays of Strings)
where the rule is for these alone. Names are for people; the numbers count. What cannot be read
gives nobody anything: a damaged rule, or table, is left out and said.
"""

import logging
from collections.abc import Sequence
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.runtime.policy import Role, Rule
from affs_fuse.runtime.settings_port import SettingsPort
from affs_fuse.volume.settings import SettingKind

__all__ = ["ROLE_WORDS", "RoleRules", "rule_of"]

_log = logging.getLogger("affs.runtime")

ROLE_WORDS = {role.word: role for role in Role}


class RoleRules:
    """Read anew only after a setting changed. Loop thread only."""

    def __init__(self, settings: SettingsPort) -> None:
        self._settings = settings
        self._version: object = None
        self._rules: Sequence[Rule] = ()

    def __call__(self) -> Sequence[Rule]:
        version = self._settings.version
        if version != self._version:
            self._rules = self._read()
            self._version = version
        return self._rules

    def _read(self) -> Sequence[Rule]:
        try:
            found = self._settings.items(SettingKind.ROLES)
        except AffsError as error:
            _log.error("nobody has a role by the volume's rules: %s", error.message)
            return ()
        rules = []
        for number, value in found:
            rule = rule_of(value)
            if rule is None:
                _log.error("rule %d about roles cannot be read and gives nobody a role", number)
            else:
                rules.append(rule)
        return rules


def rule_of(value: Value) -> Rule | None:
    """None where it is no rule of this version."""
    if not isinstance(value, dict):
        return None
    kind, number = value.get("kind"), value.get("id")
    role = ROLE_WORDS.get(str(value.get("role")))
    commands, paths = _texts(value, "commands"), _texts(value, "paths")
    known = value.keys() <= {"kind", "id", "name", "role", "commands", "paths"}
    if (
        not known or role is None or type(number) is not int or commands is None or paths is None
        or kind not in ("user", "group")
    ):  # fmt: skip
        return None
    who: dict[str, Any] = {"uid" if kind == "user" else "gid": number}
    return Rule(role, commands=commands, paths=paths, **who)


def _texts(value: dict[str, Any], key: str) -> tuple[str, ...] | None:
    found = value.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        return None
    return tuple(found)
