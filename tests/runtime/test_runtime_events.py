"""The event stream: order, filters, cursors, and readers that are too slow."""

import pytest
import trio
from runtime_fake import Ticking
from trio.testing import wait_all_tasks_blocked

from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError
from affs_fuse.runtime.events import EventBus, Subscription
from affs_fuse.runtime.trace import traced


def make_bus(history_max: int = 8) -> EventBus:
    time = Ticking()
    return EventBus(Clock(now_ns=time.now_ns), time.entropy, history_max=history_max)


async def drain(subscription: Subscription) -> list[dict[str, object]]:
    events = []
    with trio.move_on_after(0.02):
        while True:
            events.append(await subscription.receive())
    return events


async def test_events_come_in_order_and_carry_their_frame() -> None:
    bus = make_bus()
    subscription = bus.subscribe()
    with traced("t-1"):
        bus.publish("commit", seq=4, kind_of="timer")
    bus.publish("publish", seq=5)
    first, second = await drain(subscription)
    assert (first["kind"], first["seq"], first["trace"]) == ("commit", 4, "t-1")
    assert (second["number"], second["trace"], second["cursor"]) == (2, "", bus.cursor)


async def test_a_reader_waits_and_can_be_cancelled_without_loss() -> None:
    bus = make_bus()
    subscription = bus.subscribe(["publish"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(subscription.receive)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    bus.publish("commit")
    bus.publish("publish")
    assert [event["kind"] for event in await drain(subscription)] == ["publish"]


async def test_a_slow_reader_loses_the_oldest_and_is_told() -> None:
    bus = make_bus()
    slow, quick = bus.subscribe(backlog_max=3), bus.subscribe()
    for number in range(5):
        bus.publish("commit", seq=number)
    assert len(await drain(quick)) == 5
    lost, *rest = await drain(slow)
    assert (lost["kind"], lost["count"], lost["number"]) == ("lost", 2, 2)
    assert [event["seq"] for event in rest] == [2, 3, 4]
    assert bus.statistics().lost == 2
    again = bus.subscribe(after=str(lost["cursor"]))
    assert [event["number"] for event in await drain(again)] == [3, 4, 5]


async def test_a_cursor_resumes_exactly() -> None:
    bus = make_bus()
    bus.publish("commit")
    cursor = bus.cursor
    bus.publish("publish")
    bus.publish("commit")
    assert [event["number"] for event in await drain(bus.subscribe(after=cursor))] == [2, 3]
    assert await drain(bus.subscribe(after=bus.cursor)) == []
    filtered = bus.subscribe(["publish"], after=cursor)
    assert [event["number"] for event in await drain(filtered)] == [2]


async def test_a_cursor_that_history_no_longer_reaches() -> None:
    bus = make_bus(history_max=3)
    old = bus.cursor
    for _ in range(5):
        bus.publish("commit")
    lost, *rest = await drain(bus.subscribe(after=old))
    assert (lost["kind"], lost["count"]) == ("lost", 2)
    assert [event["number"] for event in rest] == [3, 4, 5]


@pytest.mark.parametrize("cursor", ["ffffffff-3", "00000001-99"])
async def test_a_cursor_of_another_life(cursor: str) -> None:
    bus = make_bus()
    bus.publish("commit")
    bus.publish("publish")
    lost, *rest = await drain(bus.subscribe(after=cursor))
    assert lost["kind"] == "lost"
    assert [event["number"] for event in rest] == [1, 2]


async def test_a_cursor_of_another_life_without_events_since() -> None:
    bus = make_bus()
    (lost,) = await drain(bus.subscribe(after="ffffffff-3"))
    assert (lost["kind"], lost["cursor"]) == ("lost", bus.cursor)


@pytest.mark.parametrize("cursor", ["", "x", "1", "a-b", "a-1x", "a-" + "9" * 30, "a-٣"])
def test_what_is_no_cursor(cursor: str) -> None:
    with pytest.raises(AffsError) as caught:
        make_bus().subscribe(after=cursor)
    assert caught.value.code == "event.cursor"


def test_kinds_are_declared() -> None:
    bus = make_bus()
    with pytest.raises(AffsError) as caught:
        bus.subscribe(["comit"])
    assert caught.value.code == "event.kind"
    with pytest.raises(AssertionError):
        bus.publish("surprise")


def test_unsubscribe_is_idempotent() -> None:
    bus = make_bus()
    subscription = bus.subscribe()
    assert bus.statistics().subscribers == 1
    bus.unsubscribe(subscription)
    bus.unsubscribe(subscription)
    assert bus.statistics().subscribers == 0
