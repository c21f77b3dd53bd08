"""Retention: which kept states may go, and how long what was deleted or logged stays.

The rules are a setting of the volume (kind retention, number 1). Invariants: the published state,
pinned ones and the one that `rollback --undo` returns to are never chosen; without a keep rule no
state but automatic ones is; the choice depends on states, rules and time alone.
"""

import dataclasses
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.runtime.ports import Plain
from affs_fuse.volume.settings import SettingKind

__all__ = ["DAY_NS", "NANOSECONDS", "RULES_NUMBER", "Rules", "expired"]

_log = logging.getLogger("affs.runtime")

RULES_NUMBER = 1
NANOSECONDS = 10**9
DAY_S = 86_400
DAY_NS = DAY_S * NANOSECONDS
NUMBER_MAX = 1_000_000


class _Readable(Protocol):
    """The volume's settings, at either end of the engine."""

    def get(self, kind: SettingKind, number: int) -> Value: ...


@dataclass(frozen=True, slots=True)
class Rules:
    """keep_*: how many; of hourly to yearly, the newest state of each such span (UTC), for that
    many spans that have one. expire_labelled: labelled states go like others. automatic_last,
    automatic_days: what rollbacks put aside stays while it is among the newest or younger.
    grace_s: how long a deleted state can be restored. log_entries, log_days: of the operation log;
    0 days: no age is too great."""

    keep_last: int = 0
    keep_hourly: int = 0
    keep_daily: int = 0
    keep_weekly: int = 0
    keep_monthly: int = 0
    keep_yearly: int = 0
    expire_labelled: bool = False
    automatic_last: int = 10
    automatic_days: int = 7
    grace_s: int = DAY_S
    log_entries: int = 5000
    log_days: int = 0

    @classmethod
    def of(cls, settings: _Readable) -> "Rules":
        """Those of the volume; where they cannot be read, the default ones, which let go of
        nothing that people made."""
        try:
            return cls.from_value(settings.get(SettingKind.RETENTION, RULES_NUMBER))
        except AffsError as error:
            _log.error("the default rules of retention hold: %s", error.message)
            return cls()

    @classmethod
    def from_value(cls, value: Value) -> "Rules":
        """What a later version wrote besides is left out; what is no sensible number, too."""
        known: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            found: Any = value.get(field.name) if isinstance(value, dict) else None
            if type(found) is type(field.default) and found in range(NUMBER_MAX * DAY_S):
                known[field.name] = found
        return cls(**known)

    def to_value(self) -> Plain:
        return dataclasses.asdict(self)

    @property
    def keeps(self) -> bool:
        """Whether there is a rule about states that people made."""
        return any(
            (self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly,
             self.keep_monthly, self.keep_yearly)
        )  # fmt: skip


def expired(states: Sequence[Plain], rules: Rules, now_ns: int) -> list[Plain]:
    """Of the listed states (state dicts by rising seq), those that the rules let go, oldest
    first."""
    automatic = [state for state in states if "automatic" in state["flags"]]
    made = [state for state in states if "automatic" not in state["flags"]]
    gone = {state["id"] for state in _old_automatic(automatic, rules, now_ns)}
    if rules.keeps:
        kept = {state["id"] for state in _kept(made, rules)}
        gone |= {
            state["id"]
            for state in made
            if state["id"] not in kept and (rules.expire_labelled or not state["label"])
        }
    return [state for state in states if state["id"] in gone and not _protected(state)]


def _protected(state: Plain) -> bool:
    return bool(state["published"] or state["pins"] or state["undo"])


def _old_automatic(states: Sequence[Plain], rules: Rules, now_ns: int) -> Iterable[Plain]:
    age_ns = rules.automatic_days * DAY_NS
    candidates = states[: -rules.automatic_last] if rules.automatic_last else states
    return [state for state in candidates if now_ns - state["time_ns"] > age_ns]


def _kept(states: Sequence[Plain], rules: Rules) -> list[Plain]:
    newest_first = list(reversed(states))
    kept = newest_first[: rules.keep_last]
    for count, form in (
        (rules.keep_hourly, "%Y-%m-%d %H"),
        (rules.keep_daily, "%Y-%m-%d"),
        (rules.keep_weekly, "%G-%V"),
        (rules.keep_monthly, "%Y-%m"),
        (rules.keep_yearly, "%Y"),
    ):
        spans: set[str] = set()
        for state in newest_first:
            span = _moment(state["time_ns"]).strftime(form)
            if span not in spans and len(spans) < count:
                spans.add(span)
                kept.append(state)
    return kept


def _moment(time_ns: int) -> datetime:
    """Dates reach from 1677 to 2262, as times of files do."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=time_ns // 1000)
