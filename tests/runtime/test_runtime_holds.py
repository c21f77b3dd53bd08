"""Leased holds: taken, renewed, released, expired, bounded; on a clock of the test's own."""

from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from affs_fuse.clock import Clock
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.runtime.holds import HOLDS_MAX, Holds
from affs_fuse.volume import verbs
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.reclaim import next_job
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume


class Chance:
    """Bytes that count."""

    def __init__(self) -> None:
        self.draws = 0

    def __call__(self, length: int) -> bytes:
        self.draws += 1
        return self.draws.to_bytes(length, "big")


@pytest.fixture
def volume() -> Iterator[Volume]:
    device = MemoryDevice(64 << 20)
    chance = Chance()
    format_device(device, MkfsOptions(), clock=Clock(now_ns=lambda: 1), entropy=chance)
    options = OpenOptions(device=device, clock=Clock(now_ns=lambda: 1), entropy=chance)
    with Volume.open("memory", options) as opened:
        yield opened


def keep(volume: Volume) -> KeptState:
    cut = volume.commit(request=verbs.checkpoint_request(volume, verbs.Note("", "", "")))
    assert cut.kept is not None
    return cut.kept


def doomed(volume: Volume) -> KeptState:
    """A state that is deleted, so that only a hold keeps it."""
    state = keep(volume)
    verbs.delete(volume, state)
    volume.commit()
    assert next_job(volume) is not None
    return state


def code_of(error: pytest.ExceptionInfo[AffsError]) -> str:
    return error.value.code


async def test_a_hold_keeps_reclaim_away_until_it_is_released(volume: Volume) -> None:
    released: list[bool] = []
    holds = Holds(volume, lambda: released.append(True))
    state = doomed(volume)
    first, second = holds.take(state, 10), holds.take(state, 10)
    assert first.id != second.id
    assert len(holds) == 2
    assert next_job(volume) is None
    holds.release(first.id)
    assert next_job(volume) is None
    holds.release(second.id)
    assert next_job(volume) is not None
    assert len(released) == 2
    for call in (lambda: holds.release(first.id), lambda: holds.renew(first.id, 10)):
        with pytest.raises(AffsError) as caught:
            call()
        assert code_of(caught) == "hold.not_found"


async def test_what_is_not_renewed_expires(volume: Volume, autojump_clock: MockClock) -> None:
    released: list[float] = []
    start = trio.current_time()
    holds = Holds(volume, lambda: released.append(trio.current_time() - start))
    state = doomed(volume)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(holds.serve)
        await trio.sleep(1)  # taken while the task waits for nothing
        long, short = holds.take(state, 20), holds.take(state, 5)
        await trio.sleep(4)
        assert holds.renew(short.id, 3) is short
        await trio.sleep(2.5)
        assert (len(holds), released) == (2, [])
        await trio.sleep(1)
        assert (len(holds), released) == (1, [pytest.approx(8)])
        assert next_job(volume) is None
        await trio.sleep(20)
        assert (len(holds), released[1:]) == (0, [pytest.approx(21)])
        assert next_job(volume) is not None
        with pytest.raises(AffsError) as caught:
            holds.renew(long.id, 5)
        assert code_of(caught) == "hold.not_found"
        nursery.cancel_scope.cancel()


async def test_expiry_needs_no_task_to_be_seen(
    volume: Volume, autojump_clock: MockClock
) -> None:
    holds = Holds(volume, lambda: None)
    hold = holds.take(keep(volume), 5)
    await trio.sleep(5)
    with pytest.raises(AffsError) as caught:
        holds.renew(hold.id, 5)
    assert code_of(caught) == "hold.not_found"
    assert not volume.held(hold.state.number)


async def test_there_is_a_bound(volume: Volume, autojump_clock: MockClock) -> None:
    holds = Holds(volume, lambda: None)
    state = keep(volume)
    for _ in range(HOLDS_MAX):
        holds.take(state, 5)
    with pytest.raises(AffsError) as caught:
        holds.take(state, 5)
    assert (code_of(caught), caught.value.retryable) == ("hold.too_many", True)
    await trio.sleep(5)
    holds.take(state, 5)
    assert len(holds) == 1
