"""A commit that the host has no room for: it waits, nobody else does, and nothing is lost."""

import errno
import os
from collections.abc import Callable

import pytest
import trio
from faulty_device import FaultyDevice
from runtime_engine import ROOT, RealRuntime, running

from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.runtime import committer

MIB = 1 << 20


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committer, "ROOM_RETRY_S", 0.005)
    monkeypatch.setattr(committer, "ROOM_PATIENCE_S", 0.02)


async def until(true: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not true():
            await trio.sleep(0.002)


class Faulty:
    """Around the device of a runtime that is made with `wrap`."""

    device: FaultyDevice

    def wrap(self, device: MemoryDevice) -> FaultyDevice:
        self.device = FaultyDevice(device)
        return self.device


@pytest.mark.parametrize("verb", [False, True], ids=["a commit", "a checkpoint"])
async def test_it_waits_and_goes_through(verb: bool) -> None:
    faulty = Faulty()
    async with running(wrap=faulty.wrap) as made:
        engine = made.engine
        events = engine._events.subscribe(["space", "read_only"])
        await made.write("before", b"b")
        await engine.sync()
        await made.write("a", b"x" * MIB)
        faulty.device.fail_writes = errno.ENOSPC
        async with trio.open_nursery() as nursery:
            ended = []

            async def ask() -> None:
                await (engine.checkpoint("c", "", "me") if verb else engine.sync())
                ended.append(True)

            if verb:
                nursery.start_soon(ask)
            else:
                with pytest.raises(AffsError) as refused:
                    await engine.sync()
                assert (refused.value.code, refused.value.retryable) == ("device.no_space", True)
            await until(lambda: bool(engine._committer.waits_for_room))
            assert (await engine.status())["waits_for_room"]
            await made.write("b", b"y")  # operations go on
            assert (await made.files())["a"] == b"x" * MIB
            if not verb:
                with pytest.raises(AffsError):
                    await engine.sync()  # and nobody hangs
            faulty.device.fail_writes = 0
            await until(lambda: not engine._committer.waits_for_room)
        assert ended == [True] * verb
        await engine.sync()
        assert not made.volume.read_only
        assert await made.files() == {"before": b"b", "a": b"x" * MIB, "b": b"y"}
        told = [(await events.receive())["state"] for _ in range(2)]
        assert told == ["waiting", "room"]


async def test_writers_get_the_error_instead_of_waiting() -> None:
    faulty = Faulty()
    async with running(wrap=faulty.wrap) as made:
        engine = made.engine
        engine._writeback._dirty_max = 2 * MIB
        faulty.device.fail_writes = errno.ENOSPC
        handle, _ = await engine.run(made.namespace.create, 1, b"f", 0o644, os.O_RDWR, ROOT)
        with pytest.raises(AffsError):
            await engine.sync()

        async def write_much() -> None:
            for count in range(10):
                await engine.write(handle, count * MIB, b"z" * MIB)

        with trio.fail_after(20), pytest.raises(AffsError) as refused:
            await write_much()
        assert refused.value.code == "device.no_space"
        faulty.device.fail_writes = 0
        await engine.sync()
        await engine.release(handle)


async def test_the_end_does_not_wait_for_ever() -> None:
    """The last durable commit stands; who ends the daemon gets the reason."""
    faulty = Faulty()
    made = RealRuntime(wrap=faulty.wrap)
    async with trio.open_nursery() as core:
        for task in made.engine.core_tasks:
            core.start_soon(task)
        await made.write("kept", b"k")
        await made.engine.sync()
        await made.write("lost", b"l")
        faulty.device.fail_writes = errno.ENOSPC
        with trio.fail_after(20), pytest.raises(AffsError) as refused:
            await made.engine.finish()
        assert refused.value.code == "device.no_space"
        core.cancel_scope.cancel()
    made.volume.close()
    made.check()
