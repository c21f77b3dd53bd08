"""What clients send is parsed in small pieces, one a turn of the loop, with rests, by turns."""

import struct
from pathlib import Path

import pytest
import trio
from control_harness import RawClient, serving
from trio.testing import MockClock

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
