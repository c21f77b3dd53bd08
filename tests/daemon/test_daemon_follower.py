"""Reading a volume that another one writes, and moving from state to state, without a mount."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import trio

from affs_fuse.clock import SYSTEM_CLOCK, system_entropy
from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.core.tree import Walk
from affs_fuse.daemon.follower import open_beside_owner
from affs_fuse.daemon.wiring import show_published
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.namespace import Namespace
from affs_fuse.posix.permissions import Credentials
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.kernel import NoKernel
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.viewing import Viewing
from affs_fuse.runtime.workers import Workers
from affs_fuse.volume import verbs
from affs_fuse.volume.layout import block_of, segment_of
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_fuse.volume.opening import OpenOptions, reread
from affs_fuse.volume.reclaim import next_job
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume

ROOT = Credentials(0, 0)
READING = OpenOptions(read_only=True, cache_bytes=1 << 20, sleep=lambda seconds: None)
DAMAGE = AffsError("volume.data_corrupt", Category.CORRUPT, "a test's")


async def no_names(*arguments: object) -> dict[str, str]:
    return {}


class Kernel(NoKernel):
    """Remembers what it was told. It knows objects 1 to 99."""

    def __init__(self) -> None:
        self.inodes: set[int] = set()
        self.names: set[tuple[int, bytes]] = set()

    def known(self) -> list[int]:
        return [*range(1, 100)]

    async def invalidate_inodes(self, inodes: list[int]) -> None:  # type: ignore[override]
        self.inodes |= {*inodes}

    async def invalidate_entries(  # type: ignore[override]
        self, entries: list[tuple[int, bytes]]
    ) -> None:
        self.names |= {*entries}


class Owner:
    """A volume that is written to, a file of it, and its published states."""

    def __init__(self, path: Path) -> None:
        make_volume(str(path), MkfsOptions(size_bytes=64 << 20))
        self.volume = Volume.open(str(path))
        self.namespace = Namespace(self.volume)

    def write(self, name: bytes, data: bytes) -> None:
        run, namespace = self.volume.run, self.namespace
        handle, _ = run(namespace.create, 1, name, 0o644, 0o1001, ROOT)  # O_WRONLY | O_TRUNC
        run(namespace.write, handle, 0, data)
        run(namespace.release, handle)

    def publish(self) -> KeptState:
        volume = self.volume
        volume.commit(request=verbs.publish_request(volume, verbs.Note("", "", ""), None))
        assert volume.states.published is not None
        return volume.states.published

    def nodes(self, state: KeptState) -> set[int]:
        """Offsets of its tree's nodes on the device."""
        volume = self.volume
        walk = Walk(volume.cache, state.root, 0)
        found = set()
        while (pointer := volume.run(next, walk, None)) is not None:
            place = volume.space.segments[segment_of(pointer.address)].place
            offset = volume.geometry.place_offset(place) + block_of(pointer.address) * BLOCK_SIZE
            found.add(offset)
        return found

    def reclaim(self, state: KeptState) -> None:
        """Delete it and free its blocks."""
        volume = self.volume
        verbs.delete(volume, volume.states[state.number])
        volume.commit()
        while (job := next_job(volume)) is not None:
            request = job.prepare()
            job.begin(volume.commit(request=request).kept if request else None)
            while not volume.run(job.step):
                pass
            volume.run(job.apply)
            volume.commit()


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[Owner]:
    made = Owner(tmp_path / "v.affs")
    with made.volume:
        yield made


@contextmanager
def viewing(owner: Owner) -> Iterator[tuple[Viewing, Namespace, Volume, Kernel]]:
    with open_beside_owner(owner.volume.device.identity.path, READING) as volume:
        show_published(volume)
        namespace, kernel = Namespace(volume), Kernel()
        loader = Loader(volume, Workers(), EventBus(SYSTEM_CLOCK, system_entropy), no_names)
        yield (
            Viewing(volume, namespace, loader, kernel, following=True), namespace, volume, kernel,
        )


def content(volume: Volume, namespace: Namespace, name: bytes) -> bytes:
    number = volume.run(namespace.lookup, 1, name).number
    handle = volume.run(namespace.open, number, 0, ROOT)
    try:
        return volume.run(namespace.read, handle, 0, 1 << 20)
    finally:
        volume.run(namespace.release, handle)


async def test_it_moves_on_and_tells_what_differs(owner: Owner) -> None:
    owner.write(b"same", b"same" * 3000)
    owner.write(b"file", b"one" * 3000)
    owner.publish()
    with viewing(owner) as (view, namespace, volume, kernel):
        same = volume.run(namespace.lookup, 1, b"same").number
        changed = volume.run(namespace.lookup, 1, b"file").number
        owner.write(b"file", b"two" * 3000)
        owner.write(b"new", b"new" * 3000)
        state = owner.publish()
        parts = reread(volume.device, READING)
        assert content(volume, namespace, b"file") == b"one" * 3000
        await view.show(parts, parts.states[state.number])
        assert view.shown_id == state.hex_id
        assert content(volume, namespace, b"file") == b"two" * 3000
        assert content(volume, namespace, b"new") == b"new" * 3000
        assert kernel.names == {(1, b"new")}
        assert changed in kernel.inodes
        assert same not in kernel.inodes
        assert volume.states.listed() == [volume.states.published]


async def test_a_state_that_was_taken_away_is_left_all_the_same(owner: Owner) -> None:
    for number in range(200):
        owner.write(b"f%d" % number, b"one" * 3000)
    former = owner.publish()
    lost = owner.nodes(former)
    with viewing(owner) as (view, namespace, volume, kernel):
        for number in range(200):
            owner.write(b"f%d" % number, b"two" * 3000)
        state = owner.publish()
        owner.reclaim(former)
        for offset in lost - owner.nodes(state):
            assert owner.volume.device.write(offset, [b"something else".ljust(BLOCK_SIZE)]).ok
        parts = reread(volume.device, READING)
        await view.show(parts, parts.states[state.number])
        # The two could not be compared: whatever the kernel knows may differ.
        assert kernel.inodes == {*range(1, 100)}
        assert not kernel.names
        for number in range(200):
            assert content(volume, namespace, b"f%d" % number) == b"two" * 3000


async def test_a_mismatch_is_worth_another_attempt_only_after_a_move(owner: Owner) -> None:
    owner.write(b"file", b"one")
    owner.publish()
    with viewing(owner) as (view, _, volume, _):
        results: list[bool] = []

        async def meet() -> None:
            results.append(await view.moved_on(DAMAGE))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(meet)
            assert await view.wait_for_mismatch(5)
            view.looked()
        assert results == [False]
        assert not await view.wait_for_mismatch(0)

        owner.write(b"file", b"two")
        state = owner.publish()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(meet)
            assert await view.wait_for_mismatch(5)
            parts = reread(volume.device, READING)
            await view.show(parts, parts.states[state.number])
            view.looked()
        assert results == [False, True]
        assert not await view.moved_on(AffsError("volume.no_space", Category.NO_SPACE, "no room"))


def test_opening_beside_one_who_commits_all_the_time(owner: Owner) -> None:
    owner.write(b"file", b"text" * 3000)
    owner.publish()
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            owner.write(b"w%d" % (number % 50), b"%d" % number * 3000)
            owner.volume.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            with viewing(owner) as (_, namespace, volume, _):
                assert not volume.report.abandoned
                assert content(volume, namespace, b"file") == b"text" * 3000
    finally:
        stop.set()
        writer.join()
