"""Collections over a real engine: interruptions, keys, names, owners and damage."""

import json
from typing import Any

import pytest
import trio
from runtime_engine import ROOT, RealRuntime, running
from runtime_fake import OTHER, OWNER, Desk

from affs_fuse import auv
from affs_fuse.core.constants import ITEM_COLLECTION
from affs_fuse.posix.namespace import Changes
from affs_fuse.runtime import unique_keys
from affs_fuse.runtime.policy import Identity

SUPER = Identity(uid=0, gid=0, user="root")
IDS = {"fields": {"id": {"type": "Int64", "required": True}}, "unique": ["id"]}


async def make(runtime: RealRuntime, count: int = 0, schema: dict | None = IDS) -> Desk:
    """A desk, and a collection /p with records r0, r1 ..."""
    await runtime.mkdir("p", 0o755)
    desk = runtime.desk(SUPER)
    for start in range(0, count, 200):
        numbers = range(start, min(count, start + 200))
        batch = [{"create": f"/p/r{n}", "value": {"id": n}} for n in numbers]
        await desk.ok(f"batch {json.dumps(batch)}")
    if schema is not None:
        await desk.ok(f"declare /p {auv.format_compact(schema)}")
    return desk


async def number_of(runtime: RealRuntime, *names: str) -> int:
    at = 1
    for name in names:
        at = (await runtime.engine.run(runtime.namespace.lookup, at, name.encode())).number
    return at


async def overwrite(runtime: RealRuntime, name: str, text: bytes) -> None:
    """In place, as the mount does it."""
    namespace = runtime.namespace
    handle = await runtime.engine.run(
        namespace.open, await number_of(runtime, "p", name), 2, ROOT
    )
    await runtime.engine.run(
        namespace.setattr, await number_of(runtime, "p", name), Changes(size=0), ROOT
    )
    await runtime.engine.write(handle, 0, text)
    await runtime.engine.release(handle)


async def check(desk: Desk) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    desk.reply.items.clear()
    summary = await desk.ok("check /p")
    return desk.reply.items, summary


async def indexes(desk: Desk) -> int:
    desk.reply.items.clear()
    await desk.ok("indexes /p")
    return len(desk.reply.items)


async def test_an_interrupted_evolution_goes_on() -> None:
    async with running(size_bytes=256 << 20) as runtime:
        desk = await make(runtime, 2600)
        line = 'evolve /p rename id number add tag {"type": "String", "default": "x"} --yes'
        with trio.CancelScope() as scope:

            async def stop(done: int, total: int | None, unit: str, note: str = "") -> None:
                scope.cancel()
                await trio.lowlevel.checkpoint()

            desk.reply.progress = stop
            await desk.ok(line)
        assert scope.cancelled_caught
        desk = runtime.desk(SUPER)
        shown = await desk.ok("collection /p")
        assert shown["evolving"] is True
        assert shown["unique"] == ["number"]
        assert set(shown["schema"]["fields"]) == {"id"}
        assert set(shown["becomes"]["fields"]) == {"number", "tag"}
        assert (await desk.ok("collections"))[0]["evolving"] is True
        _, summary = await check(desk)
        assert (summary["violations"], summary["evolving"]) == (0, True)
        for refused in (f"declare /p {auv.format_compact(IDS)}", "evolve /p drop id --yes"):
            assert (await desk.error(refused))["code"] == "collection.evolving"
        # both forms of what is given are taken, and the new one is written
        await desk.ok('create /p/old {"id": 5000}')
        await desk.ok('create /p/new {"number": 5001, "tag": "y"}')
        rows: list[Any] = []
        desk.reply.items = rows
        await desk.ok("get /p/old | select $ as v")
        assert rows == [{"v": {"number": 5000, "tag": "x"}}]
        # a record that was not migrated yet has its key already
        for taken in (0, 2599):
            error = await desk.error(f'create /p/again {{"number": {taken}}}')
            assert error["details"]["other"] == f"/p/r{taken}"
        await runtime.write("loose", b'{"id": 9000}')
        assert (await desk.error("move /loose /p/loose"))["details"]["field"] == "number"
        done = await desk.ok("evolve /p --resume --yes")
        assert 0 < done["changed"] < 2600
        assert (await desk.ok("collection /p"))["evolving"] is False
        assert (await check(desk))[1]["violations"] == 0
        assert (await desk.error("evolve /p --resume --yes"))["code"] == "collection.settled"


async def test_without_room_for_one_step_it_takes_several() -> None:
    """Room for the worst case of a batch is asked for; a small volume has it for small ones."""
    async with running() as runtime:
        desk = await make(runtime, 600)
        plan = (await desk.ok("evolve /p rename id number --dry-run"))["plan"]
        assert (plan["in_one_step"], plan["changed"]) == (True, 600)
        assert (await desk.ok("evolve /p rename id number --yes"))["changed"] == 600
        assert (await check(desk))[1]["violations"] == 0
        assert (await desk.ok("collection /p"))["unique"] == ["number"]


async def test_what_the_mount_adds_meanwhile_is_migrated() -> None:
    async with running(size_bytes=256 << 20) as runtime:
        desk = await make(runtime, 1500)
        folder = await number_of(runtime, "p")
        added = []

        async def add(done: int, total: int | None, unit: str, note: str = "") -> None:
            if not added:
                added.append(1)
                handle, _ = await runtime.engine.run(
                    runtime.namespace.create, folder, b"a-first", 0o644, 2, ROOT
                )
                await runtime.engine.write(handle, 0, b'{"id": 7777}')
                await runtime.engine.release(handle)

        desk.reply.progress = add
        await desk.ok("evolve /p rename id number --yes")
        assert added
        rows, summary = await check(desk)
        assert (rows, summary["records"]) == ([], 1501)


async def test_an_evolution_that_cannot_be_is_refused_whole() -> None:
    async with running() as runtime:
        desk = await make(runtime, 3)
        await overwrite(runtime, "r1", b'{"id": 1,\n "number": 5}')
        await overwrite(runtime, "r2", b"broken")
        error = await desk.error("evolve /p rename id number --yes")
        assert error["code"] == "collection.violations"
        told = [(one["path"], one["rule"], one["line"]) for one in error["details"]["examples"]]
        assert told == [("/p/r1", "rename", 2), ("/p/r2", "syntax", 1)]
        assert (await desk.ok("collection /p"))["unique"] == ["id"]
        done = await desk.ok("evolve /p rename id number --yes --tolerate")
        assert done["changed"] == 1
        rows, _ = await check(desk)
        assert [row["path"] for row in rows] == ["/p/r2"]  # r1 has the field, and more
        assert (await desk.ok("collection /p"))["unique"] == ["number"]
        for line in (
            "evolve /p drop number --yes",  # a unique key has it
            "evolve /p rename number x rule number String --yes",  # named twice
            "evolve /p drop other --yes",
            "evolve /p rename number a.b --yes",
            "evolve /p --yes",
            'evolve /p add number "Int64" --yes',
            "evolve /p shrink number --yes",
        ):
            assert (await desk.error(line))["code"] == "collection.schema", line


async def test_unique_keys() -> None:
    async with running() as runtime:
        desk = await make(runtime, 4)
        # within a batch: two of one key; a swap is none; a key that its holder gives up is free
        both = [{"create": f"/p/x{n}", "value": {"id": 70}} for n in (1, 2)]
        error = await desk.error(f"batch {json.dumps(both)}")
        assert (error["details"]["other"], error["details"]["operation"]) == ("/p/x1", 1)
        swap = [
            {"update": "/p/r0", "changes": ["set", "id", 1]},
            {"update": "/p/r1", "changes": ["set", "id", 0]},
        ]
        await desk.ok(f"batch {json.dumps(swap)}")
        take = [{"erase": "/p/r2"}, {"create": "/p/x", "value": {"id": 2}}]
        await desk.ok(f"batch {json.dumps(take)} --erasures --yes")
        await desk.ok("move /p/r3 /r3")
        await desk.ok('create /p/r4 {"id": 3}')
        assert (await desk.error("move /r3 /p/r3"))["details"]["other"] == "/p/r4"
        await desk.ok("update /p/r4 set id 4")
        await desk.ok("move /r3 /p/r3")
        # changed in place by the mount: a key that became free is free at once ...
        await overwrite(runtime, "r3", b'{"id": 50}')
        # ... one that was taken so is found when a name comes or goes, and by check at any time
        await desk.ok('create /p/twin {"id": 50}')
        rows, _ = await check(desk)
        assert [(row["path"], row["rule"]) for row in rows] == [("/p/twin", "unique")]
        await desk.ok('create /p/r5 {"id": 3}')
        assert (await desk.error('create /p/r7 {"id": 50}'))["details"]["rule"] == "unique"
        await overwrite(runtime, "r5", b'{"id": 60}')
        folder = await number_of(runtime, "p")
        handle, _ = await runtime.engine.run(
            runtime.namespace.create, folder, b"loose", 0o644, 2, ROOT
        )
        await runtime.engine.release(handle)
        error = await desk.error('create /p/r6 {"id": 60}')
        assert error["details"]["other"] == "/p/r5"
        # the plan knows it, too
        plan = await desk.error("update /p/x set id 60 --dry-run")
        assert plan["code"] == "record.schema"


async def test_a_record_with_names_in_two_collections() -> None:
    async with running() as runtime:
        desk = await make(runtime, 1)
        await runtime.mkdir("q", 0o755)
        await desk.ok('declare /q {"fields": {"id": {"type": "Int64", "max": 5}}}')
        record, other = await number_of(runtime, "p", "r0"), await number_of(runtime, "q")
        await runtime.engine.run(runtime.namespace.link, record, other, b"r0")
        error = await desk.error("update /p/r0 set id 6")
        assert error["details"]["rule"] == "range"
        await desk.ok("update /q/r0 set id 5")
        again = await number_of(runtime, "p")
        await runtime.engine.run(runtime.namespace.link, record, again, b"second")
        assert (await check(desk))[1]["violations"] == 0, "one record, however many names"


async def test_an_evolution_keeps_comments_and_layout() -> None:
    async with running() as runtime:
        desk = await make(runtime, 1, {"fields": {"id": "Int64", "old": "Int64"}})
        await overwrite(runtime, "r0", b'{\n  // its number\n  "id": 0x10,\n  "old": 2 // years\n}')
        await desk.ok("evolve /p convert id String rename old age add x {\"default\": []} --yes")
        handle = await runtime.engine.run(
            runtime.namespace.open, await number_of(runtime, "p", "r0"), 0, ROOT
        )
        text = await runtime.engine.run(runtime.namespace.read, handle, 0, 1000)
        await runtime.engine.release(handle)
        assert text.decode() == (
            '{\n  // its number\n  "id": "16",\n  "age": 2, // years\n  "x": []\n}'
        )


async def test_an_evolution_is_told_to_other_collections_with_the_record() -> None:
    async with running() as runtime:
        desk = await make(runtime)
        await runtime.mkdir("q", 0o755)
        await desk.ok('declare /p {"fields": {"mail": "Int64"}}')
        either = {"fields": {"mail": {"type": ["Int64", "String"]}}, "unique": ["mail"]}
        await desk.ok(f"declare /q {auv.format_compact(either)}")
        await desk.ok('create /p/a {"mail": 1}')
        record, other = await number_of(runtime, "p", "a"), await number_of(runtime, "q")
        await runtime.engine.run(runtime.namespace.link, record, other, b"a")
        assert (await desk.error('create /q/b {"mail": 1}'))["details"]["other"] == "/q/a"
        await desk.ok("evolve /p convert mail String --yes")
        error = await desk.error('create /q/b {"mail": "1"}')
        assert (error["code"], error["details"]["other"]) == ("record.schema", "/q/a")
        await desk.ok('create /q/b {"mail": 1}')


async def test_keys_that_memory_cannot_hold_at_once_are_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(unique_keys, "RECORDS_MAX", 10)
    async with running() as runtime:
        desk = await make(runtime, 6)
        await runtime.mkdir("q", 0o755)
        await desk.ok(f"declare /q {auv.format_compact(IDS)}")
        made = [{"create": f"/q/r{n}", "value": {"id": n}} for n in range(6)]
        await desk.ok(f"batch {json.dumps(made)}")
        changes = [{"update": f"/{one}/r0", "changes": ["set", "id", 9]} for one in "pq"]
        error = await desk.error(f"batch {json.dumps(changes)}")
        assert error["code"] == "collection.too_many"
        assert "2 collections of 12 records" in error["message"]
        for change in changes:  # one after the other each has room
            await desk.ok(f"batch {json.dumps([change])}")
        for one in "pq":
            await desk.ok(f"index /{one} id")
        await desk.ok(f"batch {json.dumps(changes)}")


async def test_who_may() -> None:
    async with running() as runtime:
        await runtime.mkdir("p", 0o777)
        folder = await number_of(runtime, "p")
        owner, other = runtime.desk(OWNER), runtime.desk(OTHER)
        assert (await owner.error("declare /p {}"))["code"] == "record.denied"
        await runtime.engine.run(
            runtime.namespace.setattr, folder, Changes(uid=OWNER.uid, gid=OWNER.gid), ROOT
        )
        await owner.ok("declare /p {}")
        assert (await other.error("undeclare /p"))["code"] in ("policy.role", "record.denied")
        await runtime.engine.run(runtime.namespace.setattr, folder, Changes(mode=0o700), ROOT)
        assert (await other.error("check /p"))["code"] == "record.denied"
        assert (await other.error("collection /p --as-of @"))["code"] == "policy.role"
        # what the owner of the directory may not read keeps a schema from being declared
        root = runtime.desk(SUPER)
        await root.ok('create /p/secret {"id": "x"}')
        secret = await number_of(runtime, "p", "secret")
        await runtime.engine.run(runtime.namespace.setattr, secret, Changes(mode=0o600), ROOT)
        error = await owner.error(f"declare /p {auv.format_compact(IDS)}")
        assert (error["code"], error["details"]["denied"]) == ("collection.violations", 1)
        summary = await owner.ok("check /p")
        assert (summary["records"], summary["denied"]) == (0, 1)


async def test_what_is_no_collection() -> None:
    async with running() as runtime:
        desk = await make(runtime, 1, None)
        for line, code in [
            ("check /p", "collection.not_found"),
            ("undeclare /p", "collection.not_found"),
            ("evolve /p drop a --yes", "collection.not_found"),
            ("collection /none", "record.not_found"),
            ("declare /p/r0 {}", "collection.no_directory"),
            ("check /p/r0", "collection.no_directory"),
            ("declare /p [1]", "collection.schema"),
            ('declare /p {"field": {}}', "collection.schema"),
        ]:
            assert (await desk.error(line))["code"] == code, line
        schema = {"fields": {"a": {"enum": ["x" * 65536]}}}
        error = await desk.error(command="declare", args={"path": "/p", "schema": schema})
        assert error["code"] == "collection.too_large"
        error = await desk.error('declare /p {"fields": {"a": {"requird": true}}}')
        assert (error["details"]["place"], error["hint"]) == ("a", "did you mean required?")


async def test_a_declaration_that_cannot_be_read() -> None:
    async with running() as runtime:
        desk = await make(runtime, 1)
        folder = await number_of(runtime, "p")
        bad = auv.encode_canonical({"schema": {"fields": {"a": {"of the future": 1}}}})
        tree = runtime.volume.working.tree
        await runtime.engine.run(tree.put, folder, ITEM_COLLECTION, 0, bad)
        runtime.namespace.switch(runtime.volume.working)  # what was known is forgotten
        await runtime.engine.run(runtime.namespace.flush_all)
        for line in ("check /p", "collection /p", 'create /p/x {"id": 1}', "update /p/r0 set id 2"):
            assert (await desk.error(line))["code"] == "collection.damaged", line
        assert "of the future" in (await desk.ok("collections"))[0]["note"]
        await desk.ok("erase /p/r0 --yes")
        await desk.ok(f"declare /p {auv.format_compact(IDS)}")
        await desk.ok('create /p/x {"id": 1}')
        await desk.ok("undeclare /p")
        assert await desk.ok("collections") == []


async def test_with_an_index_no_key_is_missed() -> None:
    """Whatever the mount did, also in place and since the last commit."""
    async with running() as runtime:
        fields = {"id": {"type": "Int64"}, "`a b`": "String", "n": "Int64"}
        schema = {"fields": fields, "unique": ["id", ["`a b`", "n"]]}
        desk = await make(runtime, 50, schema)
        await desk.ok("index /p id")
        await desk.ok('create /p/early {"id": 60}')  # one of the keys has no index yet
        await desk.ok("index /p '[`a b`, n]'")
        await overwrite(runtime, "r3", b'{"id": 80, "a b": "x", "n": 1}')
        error = await desk.error('create /p/x {"id": 80}')
        assert error["details"]["other"] == "/p/r3"
        error = await desk.error('create /p/x {"id": 81, "a b": "x", "n": 1}')
        assert error["details"]["other"] == "/p/r3"
        await desk.ok('create /p/x {"id": 3, "a b": "x"}')
        await desk.ok("update /p/x set id 90")
        swap = [
            {"update": "/p/r1", "changes": ["set", "id", 2]},
            {"update": "/p/r2", "changes": ["set", "id", 1]},
        ]
        await desk.ok(f"batch {json.dumps(swap)}")
        assert (await desk.error("update /p/x set id 2"))["details"]["other"] == "/p/r1"
        long = "y" * 300
        await desk.ok(f'create /p/l1 {{"a b": "{long}1", "n": 1}}')
        await desk.ok(f'create /p/l2 {{"a b": "{long}2", "n": 1}}')  # the same key in the index
        error = await desk.error(f'create /p/l3 {{"a b": "{long}1", "n": 1}}')
        assert error["details"]["other"] == "/p/l1"
        assert (await check(desk))[1]["violations"] == 0
        # what is declared beside the schema stays
        await desk.ok("evolve /p rename id number --yes")
        assert await indexes(desk) == 2
        error = await desk.error('create /p/x2 {"number": 90}')  # by the map: no index of number
        assert error["details"]["other"] == "/p/x"
        await desk.ok("undeclare /p")
        assert await indexes(desk) == 2
        assert (await desk.error("undeclare /p"))["code"] == "collection.not_found"
        assert await desk.ok("collections") == []


async def test_a_collection_in_a_collection_is_apart() -> None:
    async with running() as runtime:
        desk = await make(runtime, 1)
        folder = await number_of(runtime, "p")
        await runtime.engine.run(runtime.namespace.mkdir, folder, b"sub", 0o755, ROOT)
        await runtime.engine.run(runtime.namespace.symlink, folder, b"link", b"r0", ROOT)
        await desk.ok('create /p/sub/free {"anything": 1}')
        assert (await check(desk))[1]["records"] == 1
        await desk.ok('declare /p/sub {"fields": {"anything": "Int64"}}')
        assert [row["path"] for row in await desk.ok("collections")] == ["/p", "/p/sub"]
        await runtime.engine.run(runtime.namespace.rename, 1, b"p", 1, b"moved")
        assert [row["path"] for row in await desk.ok("collections")] == ["/moved", "/moved/sub"]
        assert (await desk.error('create /moved/x {"id": "x"}'))["code"] == "record.schema"


async def test_completion_inside_a_query() -> None:
    schema = {
        "fields": {"age": "Int64", "name": "String", "home.city": "String", "`odd one`": "Bool"},
    }
    async with running() as runtime:
        desk = await make(runtime, 0, schema)

        async def texts(line: str) -> list[str]:
            answer = await desk.ok(command="complete", args={"line": line})
            assert answer["column"] - 1 + answer["length"] == len(line)
            return [one["source"] for one in answer["candidates"]]

        assert await texts("find /") == ["/p"]
        assert await texts("find /p where a") == ["age", "abs(", "avg("]
        assert (await texts("find /p where "))[:4] == ["age", "home", "name", "`odd one`"]
        assert await texts("find /p where home.") == ["city"]
        assert await texts("get /p | so") == ["sort"]
        assert await texts("explain find /p where na") == ["name"]
        assert await texts("find '/p where na") == ["name"]
        assert await texts("find /p where @mt") == ["@mtime"]
        assert "mtime" in await texts("list /p where m")
        assert await texts("find /p | select age as years | sort y") == ["years", "year("]
        assert "published" in await texts("find /p as of ")
        await desk.ok("cd /p")
        assert await texts("find . where na") == ["name"]
        # nothing is known of it, and whoever may not look is told nothing
        assert "abs(" in await texts("find /none where a")
        await runtime.engine.run(
            runtime.namespace.setattr, await number_of(runtime, "p"), Changes(mode=0o700), ROOT
        )
        desk = runtime.desk(OTHER)
        assert "age" not in await texts("find /p where a")
        assert await texts("roll") == ["rollback"]
        assert await texts("find --mem") == ["--memory"]


async def test_patterns_take_no_more_time_than_one_may() -> None:
    async with running() as runtime:
        schema = {"fields": {"a": {"type": "Array", "items": {"pattern": "(.|..|...){1,30}$"}}}}
        desk = await make(runtime, 0, schema)
        letters = [chr(0x4E00 + n) for n in range(20_000)]
        value = {"a": ["".join(letters[n * 60 : n * 60 + 200]) for n in range(300)]}
        error = await desk.error(command="create", args={"path": "/p/x", "value": value})
        assert error["details"]["found"] == "a text that takes too much work to match"
        many = {f"f{n}": {"pattern": "a"} for n in range(51)}
        error = await desk.error(command="declare", args={"path": "/p", "schema": {"fields": many}})
        assert "50 patterns" in error["message"]


async def test_the_first_collection_is_seen_by_who_is_on_the_way() -> None:
    """A record that was prepared when there was no collection is looked at once more."""
    async with running() as runtime:
        desk, other = await make(runtime, 0, None), runtime.desk(SUPER)
        prepare = runtime.engine.collections.admission.prepare

        async def declare_first(admitted: Any) -> None:
            runtime.engine.collections.admission.prepare = prepare  # type: ignore[method-assign]
            await prepare(admitted)
            await other.ok(f"declare /p {auv.format_compact(IDS)}")

        runtime.engine.collections.admission.prepare = declare_first  # type: ignore[method-assign]
        assert (await desk.error('create /p/x {"no": 1}'))["code"] == "record.schema"
