"""Events that outlive the daemon: kept in the volume, so that a cursor of an earlier life goes on.

A *life* is one daemon's time with the volume; its events have a stream of their own. Kept are the
newest EVENTS_KEPT_MAX events but those of PASSING_KINDS, and of the newest LIVES_KEPT_MAX lives how
they ended (docs/specs/DiskLayout.md, "System tree", kind 7). Invariants:
- Saving makes no commit: what waits is put into the system tree when a cut is made anyway. So an
  event is durable one commit after what it tells of.
- A life that did not end in good order may have told events that were never saved. Whoever goes on
  from a cursor of it, or from before it, gets a `lost` event in that place. (Not of a life that was
  over before its first commit: nothing is known of that. It can have told of no verb.)
- What is kept and cannot be read costs the memory of earlier lives, nothing else.
"""

import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.volume.settings import SettingKind, Settings

__all__ = ["EVENTS_KEPT_MAX", "PASSING_KINDS", "Event", "EventArchive", "lost_event"]

_log = logging.getLogger("affs.runtime")

EVENTS_KEPT_MAX = 256
LIVES_KEPT_MAX = 32

PASSING_KINDS = frozenset({"commit", "lost"})
"""Not kept: of commits there may be thousands, and each later one covers those before it."""

LIVES = 0
"""Number of the setting that lists the lives; events have those from 1 on."""

Event = dict[str, Any]
"""kind, number, cursor, time_ns, trace ("" when no request caused it), and the fields of the
kind."""


def lost_event(count: int, number: int, cursor: str, time_ns: int) -> Event:
    """In the place of `count` events (as far as that is known) up to the one with that cursor."""
    return {
        "kind": "lost", "number": number, "cursor": cursor, "time_ns": time_ns, "trace": "",
        "count": count,
    }  # fmt: skip


class _Place(NamedTuple):
    """Where an event stands among those of all lives; after: right behind it."""

    life: int
    number: int
    after: bool = False


class EventArchive:
    """settings: of the volume, asked for anew each time. Loop thread only."""

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._stream = ""
        self._lives: list[tuple[str, int | None]] = []
        self._events: list[Event] = []
        self._next = 1
        self._oldest = 1
        self._dropped = False
        self._pending: list[Event] = []
        self._begun = False

    def begin(self, stream: str) -> None:
        """A new life, once: reads what the earlier ones have left."""
        self._stream = stream
        try:
            found = dict(self._settings().items(SettingKind.EVENTS))
        except AffsError as error:
            _log.warning("the events of before cannot be read: %s", error.message)
            return
        self._lives = _lives_of(found.pop(LIVES, None))
        self._events = [event for event in found.values() if _is_event(event)]
        if found:
            self._oldest, self._next = min(found), max(found) + 1
            self._dropped = self._oldest > 1

    def after(self, stream: str, number: int, now_ns: int) -> list[Event] | None:
        """Events of earlier lives that came after the one with this cursor, `lost` ones among them;
        None when that life is not known."""
        order = {one: index for index, (one, _) in enumerate(self._lives)}
        if stream not in order:
            return None
        start = _Place(order[stream], number)
        known = [
            (_Place(order[life], event["number"]), event)
            for event in self._events
            if (life := event["cursor"].rpartition("-")[0]) in order
        ]
        found = [pair for pair in known if pair[0] > start]
        for index, (life, ended) in enumerate(self._lives):
            if index >= start.life and ended is None:
                last = max((place.number for place, _ in known if place.life == index), default=0)
                if index == start.life:
                    last = max(last, number)
                lost = lost_event(1, last, f"{life}-{last}", now_ns)
                found.append((_Place(index, last, after=True), lost))
        found.sort(key=lambda pair: pair[0])
        events = [event for _, event in found]
        if self._dropped and (not known or start < known[0][0]):
            return [lost_event(1, number, f"{stream}-{number}", now_ns), *events]
        return events

    def note(self, event: Event) -> None:
        """An event of this life was published."""
        if event["kind"] not in PASSING_KINDS:
            self._pending.append(event)
            del self._pending[:-EVENTS_KEPT_MAX]

    def save(self) -> None:
        """In the turn of a cut: put into the system tree what waits."""
        settings = self._settings()
        if not self._begun:
            self._begun = True
            self._put_lives(None)
        for event in self._pending:
            try:
                settings.put(SettingKind.EVENTS, self._next, event)
            except AffsError:  # too long, with what a request or an error put into it
                frame = ("kind", "number", "cursor", "time_ns", "trace")
                short = {key: event[key] for key in frame}
                settings.put(SettingKind.EVENTS, self._next, {**short, "shortened": True})
            self._next += 1
        self._pending = []
        while self._next - self._oldest > EVENTS_KEPT_MAX:
            settings.delete(SettingKind.EVENTS, self._oldest)
            self._oldest += 1

    def end(self, number: int) -> bool:
        """In good order, with this number as the last. Whether there is something to commit."""
        if not self._begun and not self._pending:
            return False
        self._begun = True
        self._put_lives(number)
        return True

    def _put_lives(self, ended: int | None) -> None:
        lives = [*self._lives[-LIVES_KEPT_MAX + 1 :], (self._stream, ended)]
        value: Value = [{"stream": stream, "ended": number} for stream, number in lives]
        self._settings().put(SettingKind.EVENTS, LIVES, value)


def _lives_of(value: Value) -> list[tuple[str, int | None]]:
    lives: list[tuple[str, int | None]] = []
    for one in value if isinstance(value, list) else []:
        if isinstance(one, dict) and isinstance(one.get("stream"), str):
            ended = one.get("ended")
            lives.append((one["stream"], ended if isinstance(ended, int) else None))
    return lives


def _is_event(value: Value) -> bool:
    if not isinstance(value, dict):
        return False
    texts = (value.get("kind"), value.get("cursor"))
    return all(isinstance(text, str) for text in texts) and isinstance(value.get("number"), int)
