"""The engine without a mount: group commit, the order of a rollback, what a slow kernel may not
stop."""

import os
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio

from affs_fuse.clock import SYSTEM_CLOCK, system_entropy
from affs_fuse.core.tree import Tree
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Credentials, Namespace
from affs_fuse.runtime.engine import Engine, EngineSettings
from affs_fuse.runtime.events import EventBus
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.verify import verify_volume
from affs_fuse.volume.volume import Volume

ROOT = Credentials(0, 0)


@dataclass
class Kernel:
    """Notes what it is told and what the volume was like then; may be held up."""

    volume: Volume
    namespace: Namespace
    calls: list[tuple[str, bool, bool]] = field(default_factory=list)
    names: list[tuple[int, bytes]] = field(default_factory=list)
    inodes: list[int] = field(default_factory=list)
    paths: list[bytes] = field(default_factory=list)
    distrusted: set[int] = field(default_factory=set)
    mounts: list[bytes] = field(default_factory=list)
    gate: trio.Event = field(default_factory=trio.Event)
    directory: str = "/mounted"
    before: object = None

    def note(self, what: str) -> None:
        switched = self.volume.working is not self.before
        diverting = bool(self.namespace._diverted)
        self.calls.append((what, switched, diverting))

    def knows(self, inode: int) -> bool:
        return True

    def mount_points(self) -> list[bytes]:
        return self.mounts

    def distrust(self, inodes: Iterable[int]) -> None:
        self.distrusted.update(inodes)

    async def invalidate_inodes(self, inodes: Sequence[int]) -> None:
        self.note("inodes")
        self.inodes += inodes
        await self.gate.wait()

    async def invalidate_entries(self, entries: Sequence[tuple[int, bytes]]) -> None:
        self.note("entries")
        self.names += entries
        await self.gate.wait()

    async def look_up(self, paths: Sequence[bytes]) -> None:
        self.note("look_up")
        self.paths += paths


@dataclass
class Bench:
    """A volume in memory with an engine over it."""

    volume: Volume
    namespace: Namespace
    kernel: Kernel
    events: EventBus
    engine: Engine

    async def make(self, name: bytes, content: bytes = b"") -> int:
        handle, made = await self.engine.run(
            self.namespace.create, 1, name, 0o644, os.O_RDWR, ROOT
        )
        if content:
            await self.engine.write(handle, 0, content)
        await self.engine.release(handle)
        return made.number

    async def read(self, handle: int, offset: int, size: int) -> bytes:
        return await self.engine.run(self.namespace.read, handle, offset, size)


@asynccontextmanager
async def bench(interval_s: float = 0, size_bytes: int = 64 << 20) -> AsyncIterator[Bench]:
    device = MemoryDevice(size_bytes)
    format_device(device, MkfsOptions(), clock=SYSTEM_CLOCK, entropy=system_entropy)
    volume = Volume.open("", OpenOptions(device=device))
    namespace = Namespace(volume)
    events = EventBus(SYSTEM_CLOCK, system_entropy)
    kernel = Kernel(volume, namespace)
    kernel.gate.set()
    engine = Engine(
        volume, namespace, events, kernel, EngineSettings(commit_interval_s=interval_s)
    )
    async with trio.open_nursery() as core:
        for task in engine.core_tasks:
            core.start_soon(task)
        async with trio.open_nursery() as nursery:
            for task in engine.tasks:
                nursery.start_soon(task)
            yield Bench(volume, namespace, kernel, events, engine)
            nursery.cancel_scope.cancel()
        core.cancel_scope.cancel()
    volume.close()


async def test_concurrent_callers_share_one_commit() -> None:
    async with bench() as made:
        await made.make(b"a", b"x" * 10_000)
        before = made.volume.commit_count
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(made.engine.sync)
        assert made.volume.commit_count == before + 1
        await made.engine.sync()
        assert made.volume.commit_count == before + 1, "nothing had changed"


async def test_fsync_waits_for_a_cut_after_its_call() -> None:
    async with bench() as made:
        await made.make(b"a")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.engine.sync)
            while not made.volume.committing:
                await trio.lowlevel.checkpoint()
            # A commit is being written; what comes now is not in it.
            await made.make(b"b", b"y" * 5000)
            await made.engine.sync()
            assert not made.volume.dirty
            assert made.namespace.dirty_bytes == 0


async def test_the_order_of_a_rollback() -> None:
    async with bench() as made:
        number = await made.make(b"file", b"target")
        await made.engine.publish(None, "", "")
        handle = made.namespace.open(number, os.O_RDWR, ROOT)
        await made.engine.write(handle, 0, b"LATER!")
        await made.make(b"new")
        kernel = made.kernel
        kernel.before = made.volume.working
        kernel.calls.clear()
        kernel.inodes.clear()
        commits = made.volume.commit_count
        answer = await made.engine.rollback(None)
        # (switched, diverting) at each call: (a) before the switch, (c) diverting, (e) after it.
        assert kernel.calls == [
            ("inodes", False, False),
            ("inodes", True, True),
            ("entries", True, False),
            ("inodes", True, False),
        ]
        assert kernel.names == [(1, b"new")]
        assert number in kernel.inodes
        assert number in kernel.distrusted
        assert (answer["removed"], answer["changed"], answer["added"]) == (1, 1, 0)
        assert made.volume.commit_count == commits + 2
        assert answer["abandoned"]["flags"] == ["automatic"]
        assert await made.read(handle, 0, 100) == b"target"


async def test_writes_during_the_command_count_as_before_it() -> None:
    async with bench() as made:
        number = await made.make(b"file", b"target" * 1000)
        await made.engine.publish(None, "", "")
        handle = made.namespace.open(number, os.O_RDWR, ROOT)
        await made.engine.write(handle, 0, b"first")
        made.kernel.before = made.volume.working
        await made.engine.commit("")
        made.kernel.gate = trio.Event()

        async def write_late() -> None:
            while not made.namespace._diverted:
                made.kernel.gate.set()
                made.kernel.gate = trio.Event()
                await trio.lowlevel.checkpoint()
            # The kernel writes back a page while it is being told: (c).
            await made.engine.write(handle, 4096, b"late")
            made.kernel.gate.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write_late)
            await made.engine.rollback(None)
        assert await made.read(handle, 0, 6000) == b"target" * 1000
        await made.engine.rollback(None, undo=True)
        assert await made.read(handle, 0, 5) == b"first"
        assert await made.read(handle, 4096, 4) == b"late"


async def test_a_rollback_is_held_to_its_plan_in_the_turn_of_the_switch() -> None:
    async with bench() as made:
        await made.make(b"file", b"target")
        await made.engine.publish(None, "", "")
        await made.make(b"planned")
        plan = await made.engine.rollback(None, dry_run=True)
        await made.make(b"not planned")
        with pytest.raises(AffsError) as stale:
            await made.engine.rollback(None, expect=plan["basis"])
        assert stale.value.code == "plan.stale"
        plan = await made.engine.rollback(None, dry_run=True)
        assert plan["removed"] == 2
        mount_points = made.kernel.mount_points

        def change_late() -> list[bytes]:
            # Asked for after the comparison, the last thing before the turn of the switch.
            made.namespace.mkdir(1, b"late", 0o755, ROOT)
            return mount_points()

        made.kernel.mount_points = change_late  # type: ignore[method-assign]
        with pytest.raises(AffsError) as stale:
            await made.engine.rollback(None, expect=plan["basis"])
        assert stale.value.code == "plan.stale"
        assert made.namespace.lookup(1, b"late").number
        made.kernel.mount_points = mount_points  # type: ignore[method-assign]
        plan = await made.engine.rollback(None, dry_run=True)
        answer = await made.engine.rollback(None, expect=plan["basis"])
        assert answer["removed"] == plan["removed"] == 3


async def test_a_rollback_counts_what_changed_until_the_state_was_left() -> None:
    async with bench() as made:
        number = await made.make(b"file", b"target" * 1000)
        await made.make(b"other", b"content" * 1000)
        await made.engine.publish(None, "", "")
        handle = made.namespace.open(number, os.O_RDWR, ROOT)
        # One file differs when the rollback compares; "other" goes after that.
        await made.engine.write(handle, 0, b"first")
        mount_points = made.kernel.mount_points

        def change_late() -> list[bytes]:
            made.namespace.unlink(1, b"other")
            made.namespace.mkdir(1, b"late", 0o755, ROOT)
            return mount_points()

        made.kernel.mount_points = change_late  # type: ignore[method-assign]
        answer = await made.engine.rollback(None)
        counts = {kind: answer[kind] for kind in ("added", "removed", "changed", "renamed")}
        assert counts == {"added": 1, "removed": 1, "changed": 1, "renamed": 0}
        differences = made.engine.diff(answer["abandoned"]["id"], "published", None)
        assert sorted([one["kind"] async for one in differences]) == ["added", "changed", "removed"]


async def test_a_deletion_is_held_to_its_plan() -> None:
    async with bench() as made:
        await made.make(b"file", b"target")
        await made.engine.checkpoint("one", "", "")
        plan = await made.engine.delete_state("one", dry_run=True)
        await made.engine.checkpoint("two", "", "")
        with pytest.raises(AffsError) as stale:
            await made.engine.delete_state("one", expect=plan["basis"])
        assert stale.value.code == "plan.stale", "another state descends from it now"
        assert [state["label"] for state in await made.engine.states()] == ["one", "two"]
        plan = await made.engine.delete_state("one", dry_run=True)
        assert len(plan["descendants"]) == 1
        await made.engine.delete_state("one", expect=plan["basis"])
        assert [state["label"] for state in await made.engine.states()] == ["two"]


async def test_no_cut_while_writes_are_diverted_and_operations_go_on() -> None:
    async with bench() as made:
        await made.make(b"file", b"target")
        await made.engine.publish(None, "", "")
        number = await made.make(b"other", b"x")
        handle = made.namespace.open(number, os.O_RDWR, ROOT)
        await made.engine.sync()
        made.kernel.gate = trio.Event()
        synced = trio.Event()

        async def sync() -> None:
            await made.engine.sync()
            synced.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(made.engine.rollback, None)
            while not made.namespace._diverted:
                made.kernel.gate.set()
                made.kernel.gate = trio.Event()
                await trio.testing.wait_all_tasks_blocked(0.01)
            commits = made.volume.commit_count
            await made.make(b"made meanwhile")
            nursery.start_soon(sync)
            await trio.testing.wait_all_tasks_blocked(0.05)
            assert made.volume.commit_count == commits
            assert not synced.is_set()
            made.kernel.gate.set()
        assert synced.is_set()
        assert made.namespace.lookup(1, b"made meanwhile").number
        with pytest.raises(OSError, match="no object"):
            await made.read(handle, 0, 1)


async def test_a_moved_directory_is_looked_up() -> None:
    async with bench() as made:
        for name in (b"a", b"b"):
            made.namespace.mkdir(1, name, 0o755, ROOT)
        inner = made.namespace.mkdir(made.namespace.lookup(1, b"a").number, b"d", 0o755, ROOT)
        await made.engine.publish(None, "", "")
        made.namespace.rename(
            made.namespace.lookup(1, b"a").number, b"d",
            made.namespace.lookup(1, b"b").number, b"e",
        )
        answer = await made.engine.rollback(None)
        assert answer["renamed"] == 1
        assert made.kernel.paths == [b"a/d"]
        assert made.kernel.calls[-1][0] == "look_up"
        assert made.namespace.getattr(inner.number).inode.generation == inner.inode.generation


async def test_a_directory_that_comes_back_has_a_new_generation() -> None:
    async with bench() as made:
        folder = made.namespace.mkdir(1, b"d", 0o755, ROOT)
        await made.engine.publish(None, "", "")
        made.namespace.rmdir(1, b"d")
        await made.engine.rollback(None)
        again = made.namespace.lookup(1, b"d")
        assert again.number == folder.number
        assert again.inode.generation != folder.inode.generation


async def test_a_mount_below_refuses_without_force() -> None:
    async with bench() as made:
        await made.engine.publish(None, "", "")
        folder = made.namespace.mkdir(1, b"d", 0o755, ROOT).number
        made.namespace.mkdir(folder, b"inner", 0o755, ROOT)
        made.kernel.mounts = [b"d/inner", b"elsewhere"]
        plan = await made.engine.rollback(None, dry_run=True)
        assert plan["mounts_below"] == ["d/inner"]
        with pytest.raises(AffsError, match="d/inner") as caught:
            await made.engine.rollback(None)
        assert caught.value.code == "state.mounts_below"
        assert made.namespace.lookup(1, b"d").number == folder
        await made.engine.rollback(None, force=True)
        with pytest.raises(FileNotFoundError):
            made.namespace.lookup(1, b"d")


async def test_a_dry_run_changes_nothing_and_its_seq_moves_with_the_namespace() -> None:
    async with bench() as made:
        await made.engine.publish(None, "", "")
        await made.make(b"new")
        first = await made.engine.rollback(None, dry_run=True)
        again = await made.engine.rollback(None, dry_run=True)
        assert first == again
        assert first["removed"] == 1
        assert first["changes"][0]["path"] == "/new"
        await made.engine.record_operation({"command": "status"})
        await made.engine.sync()
        assert (await made.engine.rollback(None, dry_run=True))["seq"] == first["seq"]
        await made.make(b"newer")
        assert (await made.engine.rollback(None, dry_run=True))["seq"] != first["seq"]


async def test_the_timer_commits() -> None:
    async with bench(interval_s=0.02) as made:
        await made.make(b"a")
        with trio.fail_after(10):
            while made.volume.dirty:
                await trio.sleep(0.01)


async def test_a_failed_commit_makes_the_volume_read_only_and_tells_everybody() -> None:
    async with bench() as made:
        await made.make(b"a", b"x" * 5000)
        watching = made.events.subscribe(["read_only"])

        def refuse(offset: int, buffers: object) -> object:
            raise OSError(5, "planted")

        made.volume.device.write = refuse  # type: ignore[method-assign, assignment]
        failures = []

        async def sync() -> None:
            try:
                await made.engine.sync()
            except AffsError as error:
                failures.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(sync)
        assert len(failures) == 3
        assert made.volume.read_only
        assert "planted" in (await watching.receive())["reason"]
        assert (await made.engine.status())["read_only"] is True
        with pytest.raises(AffsError):
            await made.make(b"b")
        assert made.namespace.lookup(1, b"a").number


async def test_an_internal_error_in_a_commit_leaves_nobody_waiting() -> None:
    async with bench() as made:
        await made.make(b"a")

        def fail(*arguments: object) -> None:
            raise ZeroDivisionError("planted")

        made.volume.cut = fail  # type: ignore[method-assign, assignment]
        with trio.fail_after(10), pytest.raises(AffsError, match="internal error"):
            await made.engine.sync()
        assert "planted" in made.volume.read_only_reason
        with trio.fail_after(10), pytest.raises(AffsError, match="internal error"):
            await made.engine.checkpoint("x", "", "")
        assert made.namespace.lookup(1, b"a").number


async def test_writers_wait_for_memory_but_not_while_the_kernel_is_told() -> None:
    async with bench(size_bytes=256 << 20) as made:
        writeback = made.engine._writeback
        writeback._dirty_max = 1 << 20
        writeback.start_bytes = 1 << 30  # nothing is written ahead
        number = await made.make(b"big")
        handle = made.namespace.open(number, os.O_RDWR, ROOT)
        await made.engine.write(handle, 0, b"x" * (2 << 20))
        assert writeback.full
        with writeback.release():
            with trio.fail_after(5):
                await made.engine.write(handle, 4 << 20, b"y")
        writeback.start_bytes = 1 << 19
        with trio.fail_after(20):
            await made.engine.write(handle, 8 << 20, b"z")
        assert not writeback.full


async def test_deleting_a_state_frees_its_space() -> None:
    async with bench() as made:
        await made.make(b"big", os.urandom(4 << 20))
        kept = await made.engine.checkpoint("one", "", "")
        made.namespace.unlink(1, b"big")
        await made.engine.checkpoint("two", "", "")
        used = (await made.engine.space())["used"]
        answer = await made.engine.delete_state("one")
        assert answer["state"]["id"] == kept["id"]
        assert answer["freed_bytes"] >= 4 << 20
        assert (await made.engine.space())["used"] <= used - (4 << 20)
        assert [state["label"] for state in await made.engine.states()] == ["two"]


async def test_reclaiming_while_the_namespace_changes_frees_nothing_twice() -> None:
    """What is dropped between the cut that hides the working state and the end of the job must be
    freed by one of them only."""
    async with bench() as made:
        stop = False

        async def change() -> None:
            number = 0
            while not stop:
                number += 1
                await made.make(b"file%d" % (number % 50), b"x" * (number % 9000))
                if number % 7 == 0:
                    made.namespace.unlink(1, b"file%d" % (number % 50))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change)
            for number in range(12):
                await made.engine.checkpoint(f"kept{number}", "", "")
                await made.engine.delete_state(f"kept{number}")
            stop = True
        await made.engine.sync()
        assert not made.volume.read_only, made.volume.read_only_reason
        assert await made.engine.states() == []
        report = verify_volume(made.volume.device, data=True)
        assert report.clean, report


async def test_diff_tells_paths() -> None:
    async with bench() as made:
        number = await made.make(b"stays", b"1")
        await made.make(b"goes", b"22")
        await made.engine.publish(None, "", "")
        handle = made.namespace.open(number, os.O_RDWR, ROOT)
        await made.engine.write(handle, 1, b"more")
        made.namespace.unlink(1, b"goes")
        made.namespace.mkdir(1, b"comes\xff", 0o755, ROOT)
        made.namespace.setxattr(number, b"user.a", b"1", 0, ROOT)
        changes = [change async for change in made.engine.diff(None, None, None)]
        assert [(change["kind"], change["path"]) for change in changes] == [
            ("changed", "/stays"), ("removed", "/goes"), ("added", "/comes\ufffd"),
        ]
        assert changes[0]["bytes"] == 4
        assert changes[0]["what"] == ["data", "meta", "xattr"]
        assert changes[1]["bytes"] == -2
        assert changes[2]["type"] == "directory"
        assert changes[2]["path_b64"] == "L2NvbWVz/w=="
        assert len([change async for change in made.engine.diff("published", None, 1)]) == 1


async def test_operation_log() -> None:
    async with bench() as made:
        for number in range(3):
            await made.engine.record_operation({"command": "status", "line": f"status {number}"})
        await made.engine.record_operation({"command": "x", "line": "y" * 9000, "result": {}})
        entries = await made.engine.operations(2)
        assert [entry["number"] for entry in entries] == [3, 4]
        assert entries[0]["line"] == "status 2"
        assert len(entries[1]["line"]) == 256
        assert isinstance(entries[0]["seq"], int)


async def test_half_a_change_ends_the_writing_and_everybody_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Memory goes in the middle of an operation: no commit has it, status, event and log say so."""
    async with bench() as made:
        await made.make(b"before")
        await made.engine.sync()
        durable = made.volume.durable_seq
        watching = made.events.subscribe(["read_only"])
        put, puts = Tree.put, []

        def second_fails(tree: Tree, *arguments: object) -> bool:
            puts.append(arguments)
            if len(puts) == 2:
                raise MemoryError("planted")
            return put(tree, *arguments)  # type: ignore[arg-type]

        with monkeypatch.context() as patch:
            patch.setattr(Tree, "put", second_fails)
            with pytest.raises(MemoryError):
                await made.make(b"half")
        with pytest.raises(AffsError, match="read-only"):
            await made.engine.sync()
        event = await watching.receive()
        assert "half done" in event["reason"]
        assert "half done" in (await made.engine.status())["read_only_reason"]
        assert "read-only from now on" in caplog.text
        assert made.volume.durable_seq == durable
