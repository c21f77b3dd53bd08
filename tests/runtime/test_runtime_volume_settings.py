"""Settings as commands change them: durable when the call returns, or not there at all."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from affs_fuse.clock import Clock
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.volume_settings import VolumeSettings
from affs_fuse.volume.commit import CutRequest
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.settings import SettingKind
from affs_fuse.volume.volume import Volume

CLOCK = Clock(lambda: 10**18, lambda: 10.0)


class Commits:
    """What the committer does for a verb, at once. failing: instead of committing."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.failing = False

    async def commit(self, prepare: Callable[[], CutRequest]) -> object:
        if self.failing:
            raise AffsError("volume.no_space", Category.NO_SPACE, "no room for a commit")
        return self.volume.commit(None, prepare())


class Bench:
    def __init__(self) -> None:
        self.device = MemoryDevice(64 << 20)
        entropy = random.Random(1).randbytes
        format_device(self.device, MkfsOptions(), clock=CLOCK, entropy=entropy)
        self.options = OpenOptions(device=self.device, clock=CLOCK, entropy=entropy)
        self.volume = Volume.open("", self.options)
        self.commits = Commits(self.volume)
        self.events = EventBus(CLOCK, entropy)
        committer: Any = self.commits
        self.settings = VolumeSettings(self.volume, committer, self.events)

    def after_crash(self, kind: SettingKind) -> list[tuple[int, object]]:
        return [*Volume.open("", self.options).settings.items(kind)]


async def test_changes_are_durable_when_they_return() -> None:
    bench = Bench()
    heard = bench.events.subscribe(["settings"])
    assert await bench.settings.put(SettingKind.HOOKS, None, {"on": "commit"}) == 1
    assert bench.after_crash(SettingKind.HOOKS) == [(1, {"on": "commit"})]
    assert await bench.settings.put(SettingKind.HOOKS, None, "second") == 2
    assert await bench.settings.put(SettingKind.HOOKS, 1, "first") == 1
    assert bench.after_crash(SettingKind.HOOKS) == [(1, "first"), (2, "second")]
    assert await bench.settings.delete(SettingKind.HOOKS, 2)
    assert not await bench.settings.delete(SettingKind.HOOKS, 2)
    assert bench.after_crash(SettingKind.HOOKS) == [(1, "first")]
    told = [(await heard.receive())["setting"] for _ in range(4)]
    assert told == [1, 2, 1, 2]


async def test_several_changes_are_one() -> None:
    bench = Bench()
    await bench.settings.put(SettingKind.ROLES, 1, "old")
    commits = bench.volume.commit_count
    await bench.settings.change(
        {(SettingKind.ROLES, 1): None, (SettingKind.ROLES, 2): "b", (SettingKind.TOKENS, 9): "c"}
    )
    assert bench.volume.commit_count == commits + 1
    assert bench.after_crash(SettingKind.ROLES) == [(2, "b")]
    assert bench.after_crash(SettingKind.TOKENS) == [(9, "c")]


async def test_a_commit_that_fails_leaves_what_was() -> None:
    bench = Bench()
    await bench.settings.put(SettingKind.ROLES, 1, "old")
    bench.commits.failing = True
    with pytest.raises(AffsError, match="no room"):
        await bench.settings.change({(SettingKind.ROLES, 1): "new", (SettingKind.ROLES, 2): "b"})
    with pytest.raises(AffsError, match="no room"):
        await bench.settings.delete(SettingKind.ROLES, 1)
    assert bench.settings.items(SettingKind.ROLES) == [(1, "old")]
    bench.volume.commit()
    assert bench.after_crash(SettingKind.ROLES) == [(1, "old")]


async def test_a_value_that_is_refused_takes_its_companions_along() -> None:
    bench = Bench()
    with pytest.raises(AffsError, match="takes 5003 bytes"):
        await bench.settings.change(
            {(SettingKind.ROLES, 1): "fine", (SettingKind.ROLES, 2): bytes(5000)}
        )
    assert bench.settings.items(SettingKind.ROLES) == []


async def test_a_read_only_volume_refuses() -> None:
    bench = Bench()
    bench.volume.fail("for this test")
    with pytest.raises(AffsError, match="read-only") as caught:
        await bench.settings.put(SettingKind.ROLES, 1, "x")
    assert caught.value.code == "volume.read_only"
    assert bench.settings.items(SettingKind.ROLES) == []
