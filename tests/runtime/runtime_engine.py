"""A whole runtime over a real engine and a volume in memory: lines in, values out, files by hand.

Time stands still but for what a test adds, and chance is seeded, so a run is the same each time.
"""

import os
import random
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from runtime_fake import OWNER, Desk

from affs_fuse.clock import Clock
from affs_fuse.device.device import Device
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.posix.namespace import Changes, Credentials, Namespace
from affs_fuse.runtime.authentication import Authentication, PeerCredentials, Tokens
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.dispatcher import Dispatcher
from affs_fuse.runtime.engine import Engine, EngineSettings
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.policy import Identity, Policy
from affs_fuse.runtime.registry import Registry
from affs_fuse.runtime.roles import RoleRules
from affs_fuse.runtime.session import Sessions
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.verify import verify_volume
from affs_fuse.volume.volume import Volume

__all__ = ["RealRuntime", "running"]

ROOT = Credentials(0, 0)
START_NS = 1_700_000_000 * 10**9


class QuietKernel:
    """Remembers nothing, so there is nothing to tell it."""

    directory = "/mounted"

    def knows(self, inode: int) -> bool:
        return False

    def mount_points(self) -> list[bytes]:
        return []

    def distrust(self, inodes: Iterable[int]) -> None: ...

    async def invalidate_inodes(self, inodes: Sequence[int]) -> None:
        await trio.lowlevel.checkpoint()

    async def invalidate_entries(self, entries: Sequence[tuple[int, bytes]]) -> None:
        await trio.lowlevel.checkpoint()

    async def look_up(self, paths: Sequence[bytes]) -> None:
        await trio.lowlevel.checkpoint()


class RealRuntime:
    """What a daemon has, but for mount and socket. now_ns: the time, for tests to move. wrap: puts
    faults around the device."""

    def __init__(
        self,
        seed: int = 1,
        size_bytes: int = 64 << 20,
        wrap: Callable[[MemoryDevice], Device] | None = None,
        content: bytearray | None = None,
    ) -> None:
        """content: of a device that was in use; without it the volume is new."""
        self.now_ns = START_NS
        self.clock = Clock(lambda: self.now_ns, lambda: self.now_ns / 1e9)
        self.entropy = random.Random(seed).randbytes
        if content is None:
            self.device = MemoryDevice(size_bytes)
            format_device(self.device, MkfsOptions(), clock=self.clock, entropy=self.entropy)
        else:
            self.device = MemoryDevice(content=content)
        device = wrap(self.device) if wrap is not None else self.device
        options = OpenOptions(device=device, clock=self.clock, entropy=self.entropy)
        self.volume = Volume.open("", options)
        self.namespace = Namespace(self.volume)
        self.events = EventBus(self.clock, self.entropy)
        settings = EngineSettings(commit_interval_s=0)
        self.engine = Engine(
            self.volume, self.namespace, self.events, QuietKernel(), settings
        )
        self.registry = Registry(COMMANDS)
        policy = Policy(1000, RoleRules(self.engine.settings))
        providers = PeerCredentials(), Tokens(self.engine.settings, self.clock)
        self.sessions = Sessions(policy, self.clock, self.entropy, Authentication(providers))
        self.dispatcher = Dispatcher(
            engine=self.engine,
            registry=self.registry,
            events=self.events,
            sessions=self.sessions,
            clock=self.clock,
            entropy=self.entropy,
        )

    def desk(self, identity: Identity = OWNER) -> Desk:
        found: Any = self
        return Desk(found, identity)

    def pass_time(self, seconds: float) -> None:
        self.now_ns += int(seconds * 10**9)

    # ---- files of the root directory ----

    async def write(self, name: str, content: bytes) -> None:
        handle, made = await self.engine.run(
            self.namespace.create, 1, name.encode(), 0o644, os.O_RDWR, ROOT
        )
        await self.engine.run(self.namespace.setattr, made.number, Changes(size=0), ROOT)
        await self.engine.write(handle, 0, content)
        await self.engine.release(handle)

    async def mkdir(self, name: str, mode: int) -> None:
        await self.engine.run(self.namespace.mkdir, 1, name.encode(), mode, ROOT)

    async def remove(self, name: str) -> None:
        await self.engine.run_and_clean(self.namespace.unlink, 1, name.encode())

    async def files(self, root: int = 1) -> dict[str, bytes]:
        """Names and contents. root: of the working state, or of a view."""
        run, namespace = self.engine.run, self.namespace
        handle = await run(namespace.opendir, root, ROOT)
        listed = await run(namespace.readdir, handle, 0, 10_000)
        namespace.releasedir(handle)
        found = {}
        for name, one, _ in listed:
            if name not in (b".", b".."):
                opened = await run(namespace.open, one.number, os.O_RDONLY, ROOT)
                size = (await run(namespace.getattr, one.number)).inode.size
                found[name.decode()] = await run(namespace.read, opened, 0, size)
                await self.engine.release(opened)
        return found

    async def files_of(self, state_id: str) -> dict[str, bytes]:
        """Of a kept state."""
        run, lookup = self.engine.run, self.namespace.lookup
        door = (await run(lookup, 1, b".affs")).number
        shelf = (await run(lookup, door, b"checkpoints")).number
        root = (await run(lookup, shelf, state_id.encode())).number
        found = await self.files(root)
        self.namespace.views.close()
        return found

    def check(self) -> None:
        """fsck has nothing to say."""
        report = verify_volume(self.device, data=True)
        assert report.clean, [str(finding) for finding in report.findings]


@asynccontextmanager
async def running(
    seed: int = 1,
    size_bytes: int = 64 << 20,
    wrap: Callable[[MemoryDevice], Device] | None = None,
    content: bytearray | None = None,
) -> AsyncIterator[RealRuntime]:
    made = RealRuntime(seed, size_bytes, wrap, content)
    async with trio.open_nursery() as core:
        for task in made.engine.core_tasks:
            core.start_soon(task)
        async with trio.open_nursery() as nursery:
            for task in made.engine.tasks:
                nursery.start_soon(task)
            yield made
            nursery.cancel_scope.cancel()
        await made.engine.finish()
        core.cancel_scope.cancel()
    made.volume.close()
    made.check()
