"""Events beyond the daemon's life: nothing is missing without `lost`, nothing comes twice."""

from typing import Any, cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from runtime_fake import Ticking

from affs_fuse.auv import Value
from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.event_archive import EVENTS_KEPT_MAX, PASSING_KINDS, EventArchive
from affs_fuse.runtime.events import EVENT_KINDS, EventBus, Subscription
from affs_fuse.volume.settings import SettingKind, Settings


class FakeSettings:
    """A dict of settings of one kind, and what of it is durable."""

    def __init__(self) -> None:
        self.now: dict[int, Value] = {}
        self.durable: dict[int, Value] = {}

    def items(self, kind: SettingKind) -> list[tuple[int, Value]]:
        assert kind is SettingKind.EVENTS
        return sorted(self.now.items())

    def put(self, kind: SettingKind, number: int, value: Value) -> None:
        if len(repr(value)) > 4352:
            raise AffsError("setting.too_long", Category.INVALID, "too long")
        self.now[number] = value

    def delete(self, kind: SettingKind, number: int) -> bool:
        return self.now.pop(number, None) is not None


class World:
    """One volume through many daemons."""

    def __init__(self) -> None:
        self.time = Ticking()
        self.settings = FakeSettings()
        self.told: list[dict[str, Any]] = []
        self.mount()

    def mount(self) -> None:
        archive = EventArchive(lambda: cast(Settings, self.settings))
        self.bus = EventBus(Clock(now_ns=self.time.now_ns), self.time.entropy, archive)

    def tell(self, kind: str, **fields: Any) -> str:
        event = self.bus.publish(kind, **fields)
        self.told.append(event)
        return str(event["cursor"])

    def cut(self) -> None:
        self.bus.save()
        self.settings.durable = dict(self.settings.now)
        self.tell("commit")

    def unmount(self) -> None:
        if self.bus.end():
            self.cut()
        self.mount()

    def crash(self) -> None:
        self.settings.now = dict(self.settings.durable)
        self.mount()


async def drain(subscription: Subscription) -> list[dict[str, Any]]:
    events = []
    with trio.move_on_after(0):
        while True:
            events.append(await subscription.receive())
    return events


def seen(bus: EventBus, cursor: str) -> list[dict[str, Any]]:
    return trio.run(drain, bus.subscribe(after=cursor))


STEPS = st.lists(
    st.sampled_from(["publish", "checkpoint", "commit", "unmount", "crash"]), max_size=40
)


@settings(deadline=None)
@given(STEPS)
def test_what_is_missing_is_told_and_nothing_comes_twice(steps: list[str]) -> None:
    world = World()
    world.tell("pin")
    for step in steps:
        if step == "commit":
            world.cut()
        elif step in EVENT_KINDS:  # a verb is told after its commit
            world.cut()
            world.tell(step)
        else:
            getattr(world, step)()
    for index, event in enumerate(world.told):
        got = seen(world.bus, event["cursor"])
        later = [one for one in world.told[index + 1 :] if one["kind"] not in PASSING_KINDS]
        kept = [one for one in got if one["kind"] not in PASSING_KINDS]
        assert [one for one in later if one in kept] == kept
        if not any(one["kind"] == "lost" for one in got):
            assert kept == later


def test_a_clean_end_loses_nothing() -> None:
    world = World()
    first = world.tell("publish", seq=1)
    world.tell("checkpoint", seq=2)
    world.unmount()
    world.tell("rollback", seq=3)
    world.unmount()
    kinds = [event["kind"] for event in seen(world.bus, first)]
    assert kinds == ["checkpoint", "rollback"]


def test_a_crash_is_told_in_its_place() -> None:
    world = World()
    first = world.tell("publish")
    world.cut()
    world.tell("checkpoint")
    world.crash()
    world.tell("rollback")
    got = seen(world.bus, first)
    assert [event["kind"] for event in got] == ["lost", "rollback"]
    assert seen(world.bus, got[0]["cursor"])[0]["kind"] == "lost"  # still as honest as before


def test_the_archive_is_bounded_and_says_what_went() -> None:
    world = World()
    first = world.tell("publish")
    for number in range(EVENTS_KEPT_MAX + 50):
        last = world.tell("pin", number=number)
        world.cut()
    world.unmount()
    assert len(world.settings.now) == EVENTS_KEPT_MAX + 1
    got = seen(world.bus, first)
    assert got[0]["kind"] == "lost"
    assert len(got) == EVENTS_KEPT_MAX + 1
    assert seen(world.bus, last) == []


def test_what_is_too_long_is_shortened() -> None:
    world = World()
    first = world.tell("publish")
    world.tell("corruption", message="x" * 10_000)
    world.unmount()
    (event,) = seen(world.bus, first)
    assert event["kind"] == "corruption"
    assert event["shortened"] is True


@pytest.mark.parametrize("damage", [{0: 7}, {0: [{"stream": 4}]}, {1: "x"}, {1: {"kind": 3}}])
def test_what_cannot_be_understood_is_left_out(damage: dict[int, Value]) -> None:
    world = World()
    first = world.tell("publish")
    world.cut()
    world.unmount()
    world.settings.now |= damage
    world.mount()
    world.tell("pin")
    assert seen(world.bus, first)[-1]["kind"] == "pin"


def test_kinds_that_are_not_kept_are_declared() -> None:
    assert EVENT_KINDS.keys() >= PASSING_KINDS
