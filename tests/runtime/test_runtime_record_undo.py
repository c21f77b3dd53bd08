"""Undo and redo of changes of records: what was, is again, or nothing is touched and it is said."""

import json
import os
import random
from collections.abc import Sequence
from typing import Any

import pytest
from runtime_engine import ROOT, RealRuntime, running
from runtime_fake import OTHER, Desk

from affs_fuse.device.device import Buffer, Device, Result
from affs_fuse.device.memory import MemoryDevice
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.namespace import Changes
from affs_fuse.runtime.policy import Identity
from affs_fuse.volume.reserve import RoomKind

ADMIN = Identity(0, 0, user="root")
NAMES = ["a", "b", "c", "d"]


async def records(runtime: RealRuntime) -> dict[str, Any]:
    files = await runtime.files()
    return {name: json.loads(text) for name, text in files.items()}


async def ids(desk: Desk) -> dict[str, str]:
    desk.reply.items.clear()
    await desk.ok("find / where @kind = \"file\" | select @path, @id")
    return {row["path"]: row["id"] for row in desk.reply.items}


async def newest(desk: Desk, command: str) -> int:
    """The number of its last entry in the log."""
    number: int = (await desk.ok(f"log --command {command}"))[-1]["number"]
    return number


async def test_each_change_is_taken_back_and_done_again() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await runtime.write("a", b'{\n  "n": 1 // one\n}\n')
        made = await ids(desk)
        for line, after in [
            ("update /a set n 2", {"a": b'{\n  "n": 2 // one\n}\n'}),
            ("move /a /b", {"b": b'{\n  "n": 1 // one\n}\n'}),
            ("erase /a --yes", {}),
            ('create /b {"m": 1}', {"a": b'{\n  "n": 1 // one\n}\n', "b": b'{"m":1}\n'}),
            (
                'batch [{"update": "/a", "changes": ["set", "n", 3]},'
                ' {"create": "/c", "value": 1}]',
                {"a": b'{\n  "n": 3 // one\n}\n', "c": b"1\n"},
            ),
        ]:
            before = await runtime.files()
            await desk.ok(line)
            assert await runtime.files() == after
            (undone,) = (await desk.ok("undo"))["undone"]
            assert undone["command"] == line.split()[0]
            assert await runtime.files() == before
            assert await ids(desk) == made
            await desk.ok("redo")
            assert await runtime.files() == after
            await desk.ok("undo")
            assert await runtime.files() == before
            assert await ids(desk) == made


async def test_an_erased_file_comes_back_as_it_was() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await runtime.write("a", b"[1, 2]" + b" " * 5000)
        run, namespace = runtime.engine.run, runtime.namespace
        number = (await run(namespace.lookup, 1, b"a")).number
        changes = Changes(mode=0o640, uid=1000, gid=100)
        await run(namespace.setattr, number, changes, ROOT)
        await run(namespace.setxattr, number, b"user.colour", b"red", 0, ROOT)
        before = await run(namespace.getattr, number)
        await desk.ok("erase /a --yes")
        await desk.ok("undo")
        again = await run(namespace.lookup, 1, b"a")
        assert again.number == number
        for field in ("mode", "uid", "gid", "object_id", "btime_ns", "mtime_ns", "size"):
            assert getattr(again.inode, field) == getattr(before.inode, field), field
        assert await run(namespace.getxattr, number, b"user.colour", ROOT) == b"red"
        assert (await runtime.files())["a"] == b"[1, 2]" + b" " * 5000


@pytest.mark.parametrize("written", [False, True])
async def test_a_file_that_is_still_open_comes_back(written: bool) -> None:
    """As what it was, or if somebody wrote to it since as another one beside it."""
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")
        first = (await ids(desk))["/a"]
        run, namespace = runtime.engine.run, runtime.namespace
        number = (await run(namespace.lookup, 1, b"a")).number
        handle = await run(namespace.open, number, os.O_RDWR, ROOT)
        await desk.ok("erase /a --yes")
        if written:
            await runtime.engine.write(handle, 0, b"2")
        await desk.ok("undo")
        assert await records(runtime) == {"a": 1}
        assert ((await ids(desk))["/a"] == first) is not written
        await runtime.engine.write(handle, 0, b"3")
        await runtime.engine.release(handle)
        await desk.ok("commit")
        assert await records(runtime) == {"a": 1 if written else 3}


async def test_what_a_rollback_brought_back_is_not_brought_back_twice() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /b 1")
        await desk.ok("checkpoint -l before")
        await desk.ok("move /b /a")
        await desk.ok("erase /a --yes")
        await desk.ok("rollback before")
        number = await newest(desk, "erase")
        error = await desk.error(f"undo --operation {number}")
        assert (error["code"], "under another name" in error["message"]) == ("record.changed", True)
        assert await records(runtime) == {"b": 1}
        await desk.ok("undo")  # the rollback
        await desk.ok("undo")
        assert await records(runtime) == {"a": 1}
        await desk.ok("undo")
        assert await records(runtime) == {"b": 1}


async def test_a_name_of_several_comes_back() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")
        run, namespace = runtime.engine.run, runtime.namespace
        number = (await run(namespace.lookup, 1, b"a")).number
        await run(namespace.link, number, 1, b"b")
        await desk.ok("erase /a --yes")
        await runtime.write("b", b"2")
        await desk.ok("undo")
        assert await records(runtime) == {"a": 2, "b": 2}
        assert len(set((await ids(desk)).values())) == 1
        await desk.ok("redo")
        assert await records(runtime) == {"b": 2}


@pytest.mark.parametrize(
    ("line", "meanwhile", "files"),
    [
        ("update /a set n 2", ("a", b'{"n": 3}'), {"a": {"n": 3}}),
        ("create /b 1", ("b", b"2"), {"a": {"n": 1}, "b": 2}),
        ("erase /a --yes", ("a", b"2"), {"a": 2}),
        ("move /a /b", ("a", b"2"), {"a": 2, "b": {"n": 1}}),
    ],
)
async def test_what_was_changed_since_is_left_alone(
    line: str, meanwhile: tuple[str, bytes], files: dict[str, Any]
) -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok('create /a {"n": 1}')
        await desk.ok(line)
        await runtime.write(*meanwhile)
        for asked in ("undo --dry-run", "undo"):
            error = await desk.error(asked)
            assert (error["code"], error["category"]) == ("record.changed", "conflict")
            assert error["details"]["operation"] == 2
        assert await records(runtime) == files


async def test_a_move_is_taken_back_whatever_the_record_says_now() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")
        await desk.ok("move /a /b")
        await runtime.write("b", b"2")
        await desk.ok("undo")
        assert await records(runtime) == {"a": 2}


async def test_a_plan_shows_what_would_become_of_records() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")
        await desk.ok("update /a set $ 2")
        dry = await desk.ok("undo 2 --dry-run")
        newest, oldest = dry["plan"]["operations"]
        assert (newest["command"], oldest["command"]) == ("update", "create")
        assert dry["plan"]["changes"] == [
            {"action": "update", "path": "/a", "before": 2, "after": 1}
        ]
        assert await records(runtime) == {"a": 2}
        await desk.ok(f"undo 2 --token {dry['token']}")
        assert await records(runtime) == {}
        await desk.ok("create /b 1")
        assert (await desk.error("redo"))["code"] == "undo.nothing"


async def test_what_an_undo_needs_outlives_the_daemon_and_a_kill() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")
        await desk.ok("erase /a --yes")
        image = bytearray(runtime.device.content)
    for content in (image, runtime.device.content):
        async with running(content=content) as later:
            await later.desk(ADMIN).ok("undo")
            assert await records(later) == {"a": 1}


async def test_a_schema_is_held_to() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await runtime.mkdir("p", 0o755)
        await desk.ok('create /p/a {"n": "x"}')
        await desk.ok('update /p/a set n 1')
        await desk.ok('declare /p {"fields": {"n": "Int64"}, "unique": ["n"]}')
        error = await desk.error(f"undo --operation {await newest(desk, 'update')}")
        assert (error["code"], error["details"]["field"]) == ("record.schema", "n")
        await desk.ok("erase /p/a --yes")
        await desk.ok('create /p/b {"n": 1}')
        erasure = await newest(desk, "erase")
        error = await desk.error(f"undo --operation {erasure}")
        assert (error["code"], error["details"]["other"]) == ("record.schema", "/p/b")
        await desk.ok("move /p/b /b")
        await desk.ok(f"undo --operation {erasure}")
        assert (await desk.error("move /b /p/b"))["code"] == "record.schema"


async def test_what_is_too_large_says_so() -> None:
    async with running() as runtime:  # of 64 MiB: 1 MiB for all, a quarter of it for one
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")
        large = "x" * (300 << 10)
        await desk.ok(command="update", args={"path": "/a", "changes": ["set", "$", large]})
        await desk.ok("update /a set $ 2")
        error = await desk.error("undo")
        assert error["code"] == "undo.impossible"
        assert await records(runtime) == {"a": 2}
        medium = "y" * (200 << 10)
        for number in range(7):
            text = f"{number}{medium}"
            await desk.ok(command="update", args={"path": "/a", "changes": ["set", "$", text]})
        for _ in range(3):  # an undo leaves as much as it takes back
            await desk.ok("undo")
        error = await desk.error("undo")
        assert error["code"] == "undo.impossible"
        assert "kept no longer" in error["message"]
        assert (await records(runtime))["a"][0] == "3"


async def test_others_have_no_undo() -> None:
    async with running() as runtime:
        await runtime.desk(ADMIN).ok("create /a 1")
        assert (await runtime.desk(OTHER).error("undo"))["code"] == "policy.role"


class WatchedDevice(MemoryDevice):
    """Notes all writes."""

    def __init__(self, below: MemoryDevice) -> None:
        super().__init__(content=below.content)
        self.writes: list[tuple[int, bytes]] = []

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        self.writes.append((offset, b"".join(map(bytes, buffers))))
        return super().write(offset, buffers)


async def test_a_change_and_its_entry_are_in_one_commit() -> None:
    """Wherever power fails: what is done can be undone, what is not done is not in the log."""
    watched: list[WatchedDevice] = []

    def wrap(device: MemoryDevice) -> Device:
        watched.append(WatchedDevice(device))
        return watched[0]

    async with running(wrap=wrap) as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")
        content, device = bytearray(watched[0].content), watched[0]
        device.writes.clear()
        await desk.ok(command="update", args={"path": "/a", "changes": ["set", "$", "x" * 9000]})
        writes = [*device.writes]
    assert len(writes) > 2
    outcomes = set()
    for offset, data in [(0, b""), *writes]:
        content[offset : offset + len(data)] = data
        async with running(content=bytearray(content)) as later:
            desk = later.desk(ADMIN)
            changed = await records(later) != {"a": 1}
            log = await desk.ok("log --command update")
            assert bool(log) == changed
            outcomes.add(changed)
            await desk.ok("undo")
            assert await records(later) == ({"a": 1} if changed else {})
    assert outcomes == {False, True}


async def test_a_volume_without_room_for_more_is_changed_all_the_same() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await desk.ok("create /a 1")

        def full(kind: RoomKind, operations: int = 1) -> None:
            if operations > 2:
                raise AffsError("volume.no_space", Category.NO_SPACE, "full")
            reserve(kind, operations)

        reserve = runtime.volume.reserve_metadata
        runtime.volume.reserve_metadata = full  # type: ignore[method-assign]
        await desk.ok("erase /a --yes")
        runtime.volume.reserve_metadata = reserve  # type: ignore[method-assign]
        assert await records(runtime) == {}
        assert (await desk.error("undo"))["code"] == "undo.impossible"


# ---- at random ----


class Story:
    """Random changes of records, undo and redo, beside a model that knows every state by heart."""

    def __init__(self, runtime: RealRuntime, chance: random.Random) -> None:
        self.runtime = runtime
        self.desk = runtime.desk(ADMIN)
        self.chance = chance
        self.states: list[dict[str, Any]] = [{}]
        self.at = 0

    async def step(self) -> None:
        what = self.chance.choice(["change"] * 3 + ["undo", "undo", "redo"])
        if what == "change":
            await self._change()
        elif what == "undo" and self.at:
            await self.desk.ok("undo")
            self.at -= 1
        elif what == "redo" and self.at < len(self.states) - 1:
            await self.desk.ok("redo")
            self.at += 1
        elif what in ("undo", "redo"):
            assert (await self.desk.error(what))["code"] == "undo.nothing"
        assert await records(self.runtime) == self.states[self.at]

    async def _change(self) -> None:
        now = dict(self.states[self.at])
        operations: list[dict[str, Any]] = []
        names = self.chance.sample(NAMES, len(NAMES))
        for _ in range(self.chance.choice([1, 1, 1, 2, 3])):
            if names:
                operations.append(self._operation(now, names))
        answer = await self.desk.send(
            command="batch", args={"operations": operations, "erasures": True, "yes": True}
        )
        assert "ok" in answer.to_auv(), answer
        del self.states[self.at + 1 :]
        self.states.append(now)
        self.at += 1

    def _operation(self, now: dict[str, Any], names: list[str]) -> dict[str, Any]:
        """One that works, done in the model. It takes the names that it uses."""
        name = names.pop()
        path, number = f"/{name}", self.chance.randrange(100)
        if name not in now:
            now[name] = {"n": number}
            return {"create": path, "value": {"n": number}}
        free = [other for other in names if other not in now]
        kind = self.chance.choice(["update", "erase", "move"] if free else ["update", "erase"])
        if kind == "update":
            now[name] = {**now[name], "n": number}
            return {"update": path, "changes": ["set", "n", number]}
        value = now.pop(name)
        if kind == "erase":
            return {"erase": path}
        names.remove(free[0])
        now[free[0]] = value
        return {"move": path, "to": f"/{free[0]}"}


@pytest.mark.parametrize("seed", range(10))
async def test_random_changes_are_taken_back_and_done_again(seed: int) -> None:
    async with running() as runtime:
        story = Story(runtime, random.Random(seed))
        for _ in range(40):
            await story.step()
        while story.at:
            await story.desk.ok("undo")
            story.at -= 1
            assert await records(runtime) == story.states[story.at]


@pytest.mark.parametrize("seed", range(6))
async def test_indexes_and_unique_keys_follow(seed: int) -> None:
    """Records that come back are found by their values, and hold their keys again."""
    chance = random.Random(seed)
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await runtime.mkdir("p", 0o755)
        await desk.ok('declare /p {"fields": {"n": "Int64", "k": "Int64"}, "unique": ["k"]}')
        await desk.ok("index /p n")
        if seed % 2:
            await desk.ok("index /p k")
        states: list[dict[str, dict[str, int]]] = [{}]
        for _ in range(40):
            now = dict(states[-1])
            name, key, number = chance.choice("abcdef"), chance.randrange(6), chance.randrange(4)
            free = all(one["k"] != key for other, one in now.items() if other != name)
            if chance.random() < 0.4 and len(states) > 1:
                await desk.ok("undo")
                states.pop()
            elif name in now and chance.random() < 0.4:
                await desk.ok(f"erase /p/{name} --yes")
                del now[name]
                states.append(now)
            else:
                line = f"update /p/{name} set k {key} set n {number}"
                if name not in now:
                    line = f'create /p/{name} {{"k": {key}, "n": {number}}}'
                if free:
                    await desk.ok(line)
                    now[name] = {"k": key, "n": number}
                    states.append(now)
                else:
                    assert (await desk.error(line))["code"] == "record.schema"
            for wanted in range(4):
                desk.reply.items.clear()
                await desk.ok(f"find /p where n = {wanted} | select @name, k")
                found = {row["name"]: row["k"] for row in desk.reply.items}
                model = states[-1].items()
                assert found == {one: value["k"] for one, value in model if value["n"] == wanted}


async def test_an_evolution_is_taken_back_whole_or_not_at_all() -> None:
    async with running() as runtime:
        desk = runtime.desk(ADMIN)
        await runtime.mkdir("p", 0o755)
        directory = (await runtime.engine.run(runtime.namespace.lookup, 1, b"p")).number
        await desk.ok('declare /p {"fields": {"n": "Int64"}}')
        for name in "ab":
            await desk.ok(f'create /p/{name} {{"n": 1}}')
        before, schema = await runtime.files(directory), (await desk.ok("collection /p"))["schema"]
        await desk.ok('evolve /p rename n m add x {"type": "Int64", "default": 7} --yes')
        after, later = await runtime.files(directory), (await desk.ok("collection /p"))["schema"]
        assert after == {"a": b'{"m":1,"x":7}\n', "b": b'{"m":1,"x":7}\n'}
        await desk.ok("undo")
        assert await runtime.files(directory) == before
        assert (await desk.ok("collection /p"))["schema"] == schema
        await desk.ok("redo")
        assert await runtime.files(directory) == after
        assert (await desk.ok("collection /p"))["schema"] == later
        await desk.ok("update /p/a set x 8")
        number = await newest(desk, "redo")
        error = await desk.error(f"undo --operation {await newest(desk, 'evolve')}")
        assert (error["code"], error["details"]["operation"]) == ("record.changed", number - 2)
        assert (await desk.ok("collection /p"))["schema"] == later
        assert (await runtime.files(directory))["b"] == after["b"]
        await desk.ok("undo")  # the update
        await desk.ok("undo")
        assert await runtime.files(directory) == before
        await desk.ok("declare /p {}")
        assert (await desk.error("redo"))["code"] == "undo.nothing"
        number = await newest(desk, "undo")
        error = await desk.error(f"undo --operation {number}")
        assert error["code"] == "collection.changed"
        assert await runtime.files(directory) == before


async def test_an_evolution_in_several_steps_says_that_it_cannot_be() -> None:
    async with running(size_bytes=256 << 20) as runtime:
        desk = runtime.desk(ADMIN)
        await runtime.mkdir("p", 0o755)
        for start in (0, 600):
            made = [{"create": f"/p/r{n}", "value": {"n": n}} for n in range(start, start + 600)]
            await desk.ok(f"batch {json.dumps(made)}")
        await desk.ok('declare /p {"fields": {"n": "Int64"}}')
        plan = await desk.ok("evolve /p rename n m --dry-run")
        assert (plan["plan"]["in_one_step"], plan["plan"]["undo"]["possible"]) == (False, False)
        await desk.ok("evolve /p rename n m --yes")
        error = await desk.error("undo")
        assert (error["code"], "(evolve)" in error["message"]) == ("undo.impossible", True)
