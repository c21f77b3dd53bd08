"""The event stream: what happened on the volume, for `watch`, hooks and user interfaces.

Invariants:
- Publishing never waits and never fails: a subscriber that does not keep up loses its oldest events
  and is told so by one `lost` event in their place.
- Numbers rise by one per event within a stream (one life of the daemon). A cursor names stream and
  number, so one from an earlier life is recognised: the archive goes on from it as far as it can,
  and what may be missing is told by `lost`.
- Loop thread only.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import trio

from affs_fuse.clock import Clock, Entropy
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.event_archive import EVENTS_KEPT_MAX, Event, EventArchive, lost_event
from affs_fuse.runtime.trace import current_trace

__all__ = ["EVENT_KINDS", "Event", "EventBus", "EventStatistics", "Subscription"]

EVENT_KINDS = {
    "commit": "the working state became durable",
    "checkpoint": "a state was kept",
    "publish": "the published state moved",
    "rollback": "the working state was replaced",
    "delete": "a kept state was deleted",
    "restore": "a deleted state was brought back",
    "pin": "a state was pinned or unpinned",
    "settings": "a setting of the volume changed",
    "corruption": "a checksum did not match",
    "degraded": "a backend failed or came back",
    "space": "space runs low, or there is room again",
    "read_only": "the volume went read-only",
    "job": "background work began, ended or failed",
    "hook": "a hook ran, failed, or was left out",
    "lost": "events of this subscription were dropped: read the state afresh",
}
"""Every kind with what it means. Publishing any other is a programming error."""

HISTORY_EVENTS_MAX = 1024
"""Kept for cursors: an hour of commits by timer, with room for what people do."""

BACKLOG_EVENTS_MAX = HISTORY_EVENTS_MAX + 2 * EVENTS_KEPT_MAX
"""Per subscription; as many as is known, so that a resume never loses any of it."""

@dataclass(frozen=True, slots=True)
class EventStatistics:
    """published: events since the start. subscribers: now. lost: dropped for slow subscribers."""

    published: int
    subscribers: int
    lost: int


class Subscription:
    """One reader's view; made by `EventBus.subscribe`, ended by `EventBus.unsubscribe`. One task
    reads it."""

    def __init__(
        self, clock: Clock, number: int, cursor: str, kinds: frozenset[str], backlog_max: int
    ) -> None:
        self._clock = clock
        self._passed = (number, cursor)  # of the newest event that was delivered or given up
        self._kinds = kinds
        self._backlog: deque[Event] = deque()
        self._backlog_max = backlog_max
        self._lost = 0
        self._arrived = trio.Event()

    def wants(self, kind: str) -> bool:
        """Whether events of the kind are for this reader; `lost` is for everybody."""
        return not self._kinds or kind in self._kinds or kind == "lost"

    def push(self, event: Event) -> int:
        """Adds an event; the number of older ones that had to go for it (0 or 1)."""
        dropped = 0
        if len(self._backlog) >= self._backlog_max:
            oldest = self._backlog.popleft()
            self.give_up(1, oldest["number"], oldest["cursor"])
            dropped = 1
        self._backlog.append(event)
        self._arrived.set()
        return dropped

    def give_up(self, count: int, number: int, cursor: str) -> None:
        """Records that `count` events up to the one with that number and cursor will never be
        delivered."""
        self._lost += count
        self._passed = (number, cursor)
        self._arrived.set()

    async def receive(self) -> Event:
        """The next event. Cancelling it loses none."""
        while not self._backlog and not self._lost:
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return lost_event(lost, *self._passed, self._clock.now_ns())
        event = self._backlog.popleft()
        self._passed = (event["number"], event["cursor"])
        return event


class EventBus:
    """Numbers events, keeps the newest, hands them to subscriptions. archive: what keeps some of
    them beyond the daemon's life."""

    def __init__(
        self,
        clock: Clock,
        entropy: Entropy,
        archive: EventArchive | None = None,
        *,
        history_max: int = HISTORY_EVENTS_MAX,
    ) -> None:
        self._clock = clock
        self._stream = entropy(4).hex()
        self._archive = archive
        if archive is not None:
            archive.begin(self._stream)
        self._number = 0
        self._lost = 0
        self._history: deque[Event] = deque(maxlen=history_max)
        self._subscriptions: set[Subscription] = set()

    @property
    def cursor(self) -> str:
        """Of the newest event: a subscription from here gets only what comes after now."""
        return f"{self._stream}-{self._number}"

    def publish(self, kind: str, **fields: Any) -> Event:
        """Gives the event to everybody who wants it. Fields are plain values; they cannot replace
        those that every event has."""
        assert kind in EVENT_KINDS, f"events.EVENT_KINDS does not declare {kind!r}"
        self._number += 1
        event = {
            **fields,
            "kind": kind,
            "number": self._number,
            "cursor": self.cursor,
            "time_ns": self._clock.now_ns(),
            "trace": current_trace(),
        }
        self._history.append(event)
        if self._archive is not None:
            self._archive.note(event)
        for subscription in self._subscriptions:
            if subscription.wants(kind):
                self._lost += subscription.push(event)
        return event

    def subscribe(
        self,
        kinds: Iterable[str] = (),
        *,
        after: str | None = None,
        backlog_max: int = BACKLOG_EVENTS_MAX,
    ) -> Subscription:
        """All kinds when none is named. after: a cursor; what happened since is delivered first, or
        `lost` if it is no longer known. invalid: event.kind, event.cursor."""
        wanted = frozenset(kinds)
        unknown = sorted(wanted - EVENT_KINDS.keys())
        if unknown:
            raise AffsError(
                "event.kind",
                Category.INVALID,
                f"no event kind {unknown[0]!r}",
                hint="kinds: " + ", ".join(EVENT_KINDS),
            )
        subscription = Subscription(self._clock, self._number, self.cursor, wanted, backlog_max)
        if after is not None:
            self._replay(subscription, after)
        self._subscriptions.add(subscription)
        return subscription

    def _replay(self, subscription: Subscription, after: str) -> None:
        stream, dash, digits = after.rpartition("-")
        if not dash or not digits.isascii() or not digits.isdigit() or len(digits) > 18:
            raise AffsError(
                "event.cursor",
                Category.INVALID,
                f"{after!r} is no event cursor",
                hint="take the cursor field of an event",
            )
        number = int(digits)
        oldest = self._history[0]["number"] if self._history else self._number + 1
        found: list[Event] = []
        missing = 0
        if stream != self._stream or number > self._number:
            earlier = self._earlier(stream, number)
            found = earlier or []
            missing = oldest - 1 if earlier is not None else max(1, oldest - 1)
            number = oldest - 1
        elif number < oldest - 1:
            missing, number = oldest - 1 - number, oldest - 1
        if missing:
            cursor = f"{self._stream}-{number}"
            found.append(lost_event(missing, number, cursor, self._clock.now_ns()))
        found += (event for event in self._history if event["number"] > number)
        for event in found:
            if subscription.wants(event["kind"]):
                self._lost += subscription.push(event)

    def _earlier(self, stream: str, number: int) -> list[Event] | None:
        if self._archive is None:
            return None
        return self._archive.after(stream, number, self._clock.now_ns())

    def save(self) -> None:
        """In the turn of a cut: what is to outlive the daemon becomes durable with it."""
        if self._archive is not None:
            self._archive.save()

    def end(self) -> bool:
        """Before the last commit: this life ends in good order. Whether that is to be committed."""
        # The last commit tells an event, too, though hardly anybody is left to hear it.
        return self._archive is not None and self._archive.end(self._number + 1)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Idempotent."""
        self._subscriptions.discard(subscription)

    def statistics(self) -> EventStatistics:
        return EventStatistics(self._number, len(self._subscriptions), self._lost)
