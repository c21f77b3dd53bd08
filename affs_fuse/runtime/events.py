"""The event stream: what happened on the volume, for `watch`, hooks and user interfaces.

Invariants:
- Publishing never waits and never fails: a subscriber that does not keep up loses its oldest events
  and is told so by one `lost` event in their place.
- Numbers rise by one per event within a stream (one life of the daemon). A cursor names stream and
  number, so a cursor from an earlier life is recognised and answered with `lost` too.
- Loop thread only.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import trio

from affs_fuse.clock import Clock, Entropy
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.trace import current_trace

__all__ = ["EVENT_KINDS", "Event", "EventBus", "EventStatistics", "Subscription"]

EVENT_KINDS = {
    "commit": "the working state became durable",
    "checkpoint": "a state was kept",
    "publish": "the published state moved",
    "rollback": "the working state was replaced",
    "delete": "a kept state was deleted",
    "pin": "a state was pinned or unpinned",
    "settings": "a setting of the volume changed",
    "corruption": "a checksum did not match",
    "degraded": "a backend failed or came back",
    "space": "space runs low, or there is room again",
    "read_only": "the volume went read-only",
    "job": "background work began, ended or failed",
    "lost": "events of this subscription were dropped: read the state afresh",
}
"""Every kind with what it means. Publishing any other is a programming error."""

HISTORY_EVENTS_MAX = 1024
"""Kept for cursors: an hour of commits by timer, with room for what people do."""

BACKLOG_EVENTS_MAX = HISTORY_EVENTS_MAX
"""Per subscription; as many as history holds, so that a resume never loses what is still known."""

Event = dict[str, Any]
"""kind, number, cursor, time_ns, trace ("" when no request caused it), and the fields of the
kind."""


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
        self, clock: Clock, stream: str, number: int, kinds: frozenset[str], backlog_max: int
    ) -> None:
        self._clock = clock
        self._stream = stream
        self._passed = number  # the newest event that was delivered or given up
        self._kinds = kinds
        self._backlog: deque[Event] = deque()
        self._backlog_max = backlog_max
        self._lost = 0
        self._arrived = trio.Event()

    def wants(self, kind: str) -> bool:
        """Whether events of the kind are for this reader."""
        return not self._kinds or kind in self._kinds

    def push(self, event: Event) -> int:
        """Adds an event; the number of older ones that had to go for it (0 or 1)."""
        dropped = 0
        if len(self._backlog) >= self._backlog_max:
            self.give_up(1, self._backlog.popleft()["number"])
            dropped = 1
        self._backlog.append(event)
        self._arrived.set()
        return dropped

    def give_up(self, count: int, number: int) -> None:
        """Records that `count` events up to `number` will never be delivered."""
        self._lost += count
        self._passed = number
        self._arrived.set()

    async def receive(self) -> Event:
        """The next event. Cancelling it loses none."""
        while not self._backlog and not self._lost:
            self._arrived = trio.Event()
            await self._arrived.wait()
        if self._lost:
            lost, self._lost = self._lost, 0
            return {
                "kind": "lost",
                "number": self._passed,
                "cursor": f"{self._stream}-{self._passed}",
                "time_ns": self._clock.now_ns(),
                "trace": "",
                "count": lost,
            }
        event = self._backlog.popleft()
        self._passed = event["number"]
        return event


class EventBus:
    """Numbers events, keeps the newest, hands them to subscriptions."""

    def __init__(
        self, clock: Clock, entropy: Entropy, *, history_max: int = HISTORY_EVENTS_MAX
    ) -> None:
        self._clock = clock
        self._stream = entropy(4).hex()
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
        subscription = Subscription(self._clock, self._stream, self._number, wanted, backlog_max)
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
        if stream != self._stream or number > self._number:
            subscription.give_up(1, oldest - 1)  # of another life: how many is not known
            number = oldest - 1
        elif number < oldest - 1:
            subscription.give_up(oldest - 1 - number, oldest - 1)
        for event in self._history:
            if event["number"] > number and subscription.wants(event["kind"]):
                self._lost += subscription.push(event)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Idempotent."""
        self._subscriptions.discard(subscription)

    def statistics(self) -> EventStatistics:
        return EventStatistics(self._number, len(self._subscriptions), self._lost)
