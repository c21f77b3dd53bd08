"""What a command changed, in a form from which it can be undone (docs/runtime.md, "Undo").

An effect is two Objects with the same keys, `before` and `after`:
- `published`: id of the published state, or Null
- `kept`: Object of state ids: whether the state is in the list
- `pins`: Object of state ids: how often it is pinned
- `working`: id of the state that the working state was left as, or went to; `before` Null where
  what was left was not kept
- `collections`: Array of `[id of the directory, declaration]`, the declaration Null for none
- `settings`: Array of `[kind, number, value]`, the value Null where there is none
- `records`: how many were changed; what an undo needs lies beside the entry (record_reversal.py)
Commands note their effects while they run; each becomes an entry of the operation log. What changes
records asks for the entry instead, and puts it into the log in the turn of the change.
"""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from affs_fuse.auv import Value, equal
from affs_fuse.errors import AffsError
from affs_fuse.runtime.expectation import Basis, plan_stale
from affs_fuse.runtime.ports import EnginePort, Plain, SettingKey

__all__ = ["Effect", "Effects", "MakeEntry", "change_settings"]


@dataclass(frozen=True, slots=True)
class Effect:
    """more: further fields for the log's entry, such as `undoes`."""

    before: Plain
    after: Plain
    more: Plain = field(default_factory=dict)

    def to_entry(self) -> Plain:
        return {"before": self.before, "after": self.after, **self.more}


MakeEntry = Callable[[Plain, Plain], Plain]
"""From the result of a command and further fields to an entry of the operation log."""


class Effects:
    """Of one invocation, in the order in which they happened. make_entry: for who writes the log
    himself. written: entries that were asked for so."""

    def __init__(self, make_entry: MakeEntry = lambda result, more: {**more, "result": result}):
        self._noted: list[Effect] = []
        self._make_entry = make_entry
        self.written = 0

    def entry(self, result: Plain, before: Plain, after: Plain, **more: Any) -> Plain:
        """That goes into the log now."""
        self.written += 1
        return self._make_entry(result, Effect(before, after, more).to_entry())

    def note(self, before: Plain, after: Plain, **more: Any) -> None:
        assert before.keys() == after.keys(), "an effect has two sides"
        self._noted.append(Effect(before, after, more))

    def all(self) -> list[Effect]:
        return [*self._noted]


async def change_settings(
    engine: EnginePort,
    effects: Effects,
    changes: Mapping[SettingKey, Value],
    *,
    expect: Basis = None,
) -> None:
    """Change settings of the volume so that `undo` brings back what they were. Errors: as
    SettingsPort.change; also when somebody else changes them at the same time. expect: basis of a
    plan, a list of `[kind, number, value]`; conflict: plan.stale."""
    old: dict[SettingKey, Value] = {}
    for key in changes:
        with contextlib.suppress(AffsError):  # a damaged one is replaced, and cannot come back
            old[key] = engine.settings.get(*key)
    before = [[int(kind), number, old.get((kind, number))] for kind, number in changes]
    if expect is not None and not equal(expect, before):
        raise plan_stale("change of settings")
    await engine.settings.change(changes, expect=old)
    after = [[int(kind), number, value] for (kind, number), value in changes.items()]
    effects.note({"settings": before}, {"settings": after})
