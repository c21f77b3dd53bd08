"""`import --dry-run` tells what the import then refuses: by schemas, unique keys, names."""

import random
from typing import Any

import pytest
from runtime_engine import running
from test_import_model import ADMIN, Told, do_import

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.runtime import import_run, rehearsal

SCHEMA: dict[str, Any] = {
    "fields": {
        "k": {"type": "String", "required": True}, "n": {"type": "Int64", "min": 0, "max": 50},
        "mail": "String",
    },
    "unique": ["mail"],
}  # fmt: skip


def lines_of(chance: random.Random, count: int, first: int) -> bytes:
    lines = []
    for index in range(first, first + count):
        number = chance.choice([index, chance.randrange(40)])
        value: dict[str, auv.Value] = {"k": f"r{number}"}
        value["n"] = chance.choice([1, 50, 51, "x", 2.0])
        if chance.random() < 0.7:
            value["mail"] = f"m{chance.randrange(30)}"
        lines.append(chance.choice([auv.format_compact(value)] * 8 + ["{"]))
    return "".join(f"{line}\n" for line in lines).encode()


@pytest.mark.parametrize("policy", ["refuse", "skip", "replace"])
@pytest.mark.parametrize("seed", range(6))
async def test_a_dry_run_refuses_what_the_import_refuses(
    seed: int, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_run, "BATCH_RECORDS", 4)
    chance = random.Random(seed)
    async with running(seed) as made:
        desk = made.desk(ADMIN)
        await made.mkdir("p", 0o755)
        if seed % 3:
            schema = SCHEMA if seed % 3 == 1 else {**SCHEMA, "unique": []}
            await desk.ok(command="declare", args={"path": "/p", "schema": schema})
        if seed % 2:
            await desk.ok("index /p mail")
        order: dict[str, Any] = {"path": "/p", "name": "k", "on_conflict": policy}
        await do_import(made, Told(), lines_of(chance, 15, 0), 100, **order)
        data = lines_of(chance, 40, 10)
        rehearsed, told = Told(), Told()
        before = await desk.ok("find /p"), list(desk.reply.items)
        dry = await do_import(made, rehearsed, data, 100, dry_run=True, **order)
        desk.reply.items.clear()
        assert (await desk.ok("find /p"))["rows"] == before[0]["rows"]
        real = await do_import(made, told, data, 100, **order)
        assert rehearsed.refused == told.refused
        for count in ("records", "created", "replaced", "skipped", "refused"):
            assert dry[count] == real[count], count
        assert {code for _, code in told.refused} >= ({"record.schema"} if seed % 3 else set())


async def test_what_it_remembers_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "KEYS_MAX", 3)
    monkeypatch.setattr(import_run, "BATCH_RECORDS", 2)
    lines = b"".join(b'{"k": "%d", "mail": "%d"}\n' % (one, one % 5) for one in range(10))
    async with running() as made:
        desk = made.desk(ADMIN)
        await made.mkdir("p", 0o755)
        await desk.ok(command="declare", args={"path": "/p", "schema": SCHEMA})
        told = Told()
        await do_import(made, told, lines, 1000, path="/p", name="k", dry_run=True)
        assert [number for number, _ in told.refused] == [6, 7, 8]


async def test_all_or_nothing_is_rehearsed_as_a_whole() -> None:
    async with running() as made:
        desk = made.desk(ADMIN)
        await made.mkdir("p", 0o755)
        await desk.ok(command="declare", args={"path": "/p", "schema": SCHEMA})
        order: dict[str, Any] = {"path": "/p", "name": "k", "all_or_nothing": True}
        data = b'{"k": "a", "n": 1}\n{"k": "b", "n": 99}\n'
        codes = []
        for dry_run in (True, False):
            with pytest.raises(AffsError) as caught:
                await do_import(made, Told(), data, 100, dry_run=dry_run, **order)
            codes.append((caught.value.code, caught.value.details["operation"]))
        assert codes == [("record.schema", 1)] * 2
