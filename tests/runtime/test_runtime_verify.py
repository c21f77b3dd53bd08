"""The command `verify` over an engine in memory, and what governs how much it reads."""

import pytest
from runtime_fake import OTHER, Desk, FakeRuntime

from affs_fuse.runtime.governor import (
    PAUSE_MAX_S,
    SLICE_S,
    Governor,
    RequestTimes,
    request_times,
)
from affs_fuse.runtime.latency import Latencies

DAMAGE = {"code": "verify.data", "path": "/x", "state": "s", "block": "1:2", "message": "m"}


def times(count: int, seconds: float, *, waiting: tuple[int, float] = (0, 0.0)) -> RequestTimes:
    """count requests of so many seconds each."""
    return RequestTimes([waiting[0], count], [waiting[0] * waiting[1], count * seconds])


async def test_damage_is_told_as_items_and_by_the_exit_status() -> None:
    desk = Desk(FakeRuntime())
    assert (await desk.ok("verify"))["outcome"] == "done"
    assert desk.reply.steps == [(1, 2, "bytes", "working")]
    desk.runtime.engine.damage.append(DAMAGE)
    assert (await desk.ok("verify /a --state x"))["exit_status"] == 4
    assert desk.reply.items == [DAMAGE]
    assert (await desk.ok("verify --detach"))["outcome"] == "running"
    assert (await desk.ok("verify --cancel"))["outcome"] == "cancelled"
    status = await desk.ok("verify --status")
    assert status["results"][0]["number"] == 1
    assert desk.reply.items == [DAMAGE, DAMAGE]


async def test_it_takes_an_operator() -> None:
    desk = Desk(FakeRuntime(), OTHER)
    assert (await desk.error("verify --status"))["code"] == "policy.role"


async def test_one_thing_at_a_time() -> None:
    desk = Desk(FakeRuntime())
    for line in ("verify --status --cancel", "verify /x --cancel", "verify --since a --status"):
        assert (await desk.error(line))["code"] == "command.contradiction"


def test_an_idle_mount_is_not_waited_for() -> None:
    governor = Governor()
    for _ in range(20):
        assert governor.turn(times(0, 0), times(0, 0)) == 0.0


def test_a_rise_of_the_mounts_latency_makes_it_back_off() -> None:
    governor = Governor()
    pauses = [governor.turn(times(20, 0.002), times(20, 0.0005)) for _ in range(12)]
    assert pauses == sorted(pauses)
    assert pauses[-1] == PAUSE_MAX_S
    # Without the rise it comes back, but never so far that there is nothing to compare with.
    for _ in range(60):
        governor.turn(times(20, 0.0005), times(20, 0.0005))
    assert governor.pause_s == SLICE_S
    for _ in range(10):
        governor.turn(times(0, 0), times(0, 0))
    assert governor.pause_s == 0.0


def test_noise_and_a_slow_device_are_no_rise() -> None:
    for seconds in (0.00002, 0.05):
        governor = Governor()
        for turn in range(30):
            governor.turn(times(20, seconds * (1.2 if turn % 2 else 0.9)), times(20, seconds))
        assert governor.pause_s == SLICE_S


def test_more_fsyncs_in_a_slice_are_no_rise() -> None:
    governor = Governor()
    for _ in range(30):
        reading = times(5, 0.0001, waiting=(10, 0.01))
        governor.turn(reading, times(10, 0.0001, waiting=(1, 0.01)))
    assert governor.pause_s == SLICE_S


def test_slower_commits_are_a_rise() -> None:
    governor = Governor()
    for _ in range(30):
        reading = times(10, 0.0001, waiting=(2, 0.05))
        governor.turn(reading, times(10, 0.0001, waiting=(2, 0.01)))
    assert governor.pause_s == PAUSE_MAX_S


def test_full_speed_waits_for_nobody() -> None:
    governor = Governor(full_speed=True)
    assert governor.turn(times(20, 0.5), times(20, 0.0001)) == 0.0


@pytest.mark.parametrize("name", ["fsync", "fsyncdir", "read", "lookup"])
def test_request_times_are_summed_up_by_kind(name: str) -> None:
    latencies = Latencies()
    latencies.note(name, 9.0)
    before = request_times(latencies)
    latencies.note(name, 0.25)
    latencies.note(name, 0.75)
    mean = request_times(latencies).since(before).mean_s
    assert mean == ([0.5, None] if name.startswith("fsync") else [None, 0.5])
