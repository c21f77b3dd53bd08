"""What clients send is parsed in small pieces, one a turn of the loop, with rests, by turns."""

import struct
from functools import partial
from pathlib import Path

import pytest
import trio
from control_harness import RawClient, serving
from trio.testing import MockClock

from affs_fuse.control.outbox import FRAMES_IN_A_TURN, Outbox
from affs_fuse.control.turns import PIECE_BYTES, SHARE, Turns, pieces


def test_pieces_are_small_but_inside_of_a_large_frame() -> None:
    data = bytes(10_000)
    assert b"".join(pieces(data, 0)) == data
    assert max(map(len, pieces(data, 0))) == PIECE_BYTES
    assert list(pieces(data, 1 << 20)) == [data]
    assert list(pieces(b"", 0)) == [b""]


async def test_parsing_takes_its_share_and_no_more(mock_clock: MockClock) -> None:
    mock_clock.autojump_threshold = 0
    turns = Turns()
    for _ in range(100):
        await turns.take(1, lambda: mock_clock.jump(0.01))
    parsed_s = 100 * 0.01
    assert trio.current_time() == pytest.approx(parsed_s / SHARE)
    assert turns.rested_s == pytest.approx(parsed_s / SHARE - parsed_s)


async def test_what_costs_little_is_not_slept_for(mock_clock: MockClock) -> None:
    turns = Turns()
    for _ in range(100):
        await turns.take(1, lambda: None)
    assert turns.rested_s == 0


async def test_a_failure_passes_through_and_the_turn_goes_on() -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        await turns.take(1, lambda: 1 // 0)
    assert await turns.take(2, lambda: 7) == 7


async def test_users_take_turns() -> None:
    turns = Turns()
    order: list[int] = []
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(turns.take, 1, lambda: order.append(1))
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(turns.take, 2, lambda: order.append(2))
    assert sorted(order) == [1] * 20 + [2]
    order.clear()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(turns.take, 0, lambda: None)
        for uid in [1] * 50 + [2]:
            nursery.start_soon(turns.take, uid, lambda uid=uid: order.append(uid))
    assert order.index(2) <= 2, "not behind all the others"


class LoopTurns(trio.abc.Instrument):
    """Counts how often the loop went round."""

    count = 0

    def before_io_wait(self, timeout: float) -> None:
        self.count += 1


@pytest.fixture
async def loop() -> LoopTurns:
    counter = LoopTurns()
    trio.lowlevel.add_instrument(counter)
    return counter


async def test_requests_of_one_piece_begin_one_a_turn(loop: LoopTurns) -> None:
    turns = Turns()
    begun: list[int] = []

    async def one(uid: int) -> None:
        await turns.begin(uid, alone=False)
        begun.append(loop.count)

    async with trio.open_nursery() as nursery:
        for number in range(40):
            nursery.start_soon(one, number % 3)
    assert len(begun) == len(set(begun)) == 40


async def test_a_request_that_comes_alone_waits_for_nobody(loop: LoopTurns) -> None:
    turns = Turns()
    before = loop.count
    await turns.begin(1, alone=True)
    assert loop.count == before
    order: list[str] = []

    async def one(name: str, *, alone: bool) -> None:
        await turns.begin(1, alone=alone)
        order.append(name)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(partial(one, "many", alone=False))
        await trio.lowlevel.checkpoint()
        nursery.start_soon(partial(one, "alone", alone=True))
    assert order == ["many"] * 5 + ["alone"], "it went in front of those who waited"


async def test_what_was_cancelled_while_it_waited_keeps_nobody_waiting() -> None:
    turns = Turns()
    with trio.CancelScope() as scope:
        scope.cancel()
        await turns.begin(1, alone=False)
    assert scope.cancelled_caught
    await turns.begin(1, alone=False)
    assert await turns.take(1, lambda: 7) == 7


async def test_frames_put_one_after_the_other_leave_the_loop_to_others(loop: LoopTurns) -> None:
    outbox = Outbox()
    before = loop.count
    for _ in range(10 * FRAMES_IN_A_TURN):
        await outbox.put(b"x")
    assert loop.count - before == 10
    with trio.CancelScope() as scope:
        scope.cancel()
        await outbox.put(b"never")
    assert scope.cancelled_caught
    assert await outbox.take() == b"x" * 10 * FRAMES_IN_A_TURN


async def test_others_get_their_turns_while_a_flood_is_parsed(tmp_path: Path) -> None:
    """64 KiB of the cheapest frames come in one read."""
    async with serving(tmp_path) as server:
        client = await RawClient.connect(server.path)
        server.clients.append(client)
        await client.send({"hello": {"protocol": 1, "client": "x"}})
        await client.read()
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                await trio.lowlevel.checkpoint()
                turns += 1

        frames = struct.pack(">IB", 1, 0xC0) * 3000
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            nursery.start_soon(client.stream.send_all, frames)
            for _ in range(3000):
                message = await client.read()
                assert message["error"]["code"] == "protocol.message_shape"
            nursery.cancel_scope.cancel()
        assert turns > len(frames) // PIECE_BYTES
