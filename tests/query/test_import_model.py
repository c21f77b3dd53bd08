"""Imports over a real engine in memory against a plain model, broken off at any moment.

Whoever goes or dies when: after `--resume` the directory has what one import without a break would
have made, and everything that was refused has been told.
"""

import random
from dataclasses import dataclass, field
from typing import Any

import pytest
import trio
from runtime_engine import RealRuntime, running

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.query.editing import edited, parse_changes
from affs_fuse.runtime import import_run
from affs_fuse.runtime.import_order import CONFLICTS, ImportOrder
from affs_fuse.runtime.inputs import Input
from affs_fuse.runtime.policy import Identity

CASES = 20
ADMIN = Identity(0, 0, user="root")


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_run, "BATCH_RECORDS", 4)


@dataclass
class Told:
    """A listener."""

    refused: list[tuple[int, str]] = field(default_factory=list)

    async def item(self, value: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.refused.append((value["record"], value["code"]))

    async def progress(self, *about: Any) -> None:
        await trio.lowlevel.checkpoint()


async def do_import(
    made: RealRuntime, told: Told, data: bytes, size: int, identity: Identity = ADMIN,
    pieces_max: int = 1 << 30, **order: Any,
) -> Any:  # fmt: skip
    """The summary; None if the client goes after so many pieces."""
    given = ImportOrder(**{"source": "x.jsonl", "path": "/", **order})
    input = Input()
    session = made.sessions.open(identity, "test")
    outcome: Any = None

    async def nothing() -> None:
        await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:

        async def feed() -> None:
            for index, at in enumerate(range(0, len(data), size)):
                if index >= pieces_max:
                    nursery.cancel_scope.cancel()
                await input.send(data[at : at + size], end=False)
            await input.send(b"", end=True)

        nursery.start_soon(feed)
        try:
            outcome = await made.engine.import_records(given, session, input, told, nothing)
        except AffsError as error:
            outcome = error
        finally:
            input.close()
            nursery.cancel_scope.cancel()
    if isinstance(outcome, AffsError):
        raise outcome
    return outcome


@dataclass
class Model:
    """What one import does to the files of a directory."""

    files: dict[str, auv.Value]
    refused: list[tuple[int, str]] = field(default_factory=list)

    def take(self, lines: list[str], policy: str, start: int = 0) -> None:
        for number, line in enumerate(lines, start + 1):
            try:
                value = auv.parse(line)
            except auv.TextError:
                self.refused.append((number, "import.value"))
                continue
            key = value.get("k") if isinstance(value, dict) else None
            if not isinstance(key, str | int):
                self.refused.append((number, "import.name"))
                continue
            name = str(key)
            if name not in self.files:
                self.files[name] = value
            elif policy == "refuse":
                self.refused.append((number, "record.exists"))
            elif policy == "replace":
                self.files[name] = value
            elif policy == "update":
                self.files[name] = edited(self.files[name], parse_changes(["merge", "$", value]))


def some_lines(chance: random.Random, count: int) -> list[str]:
    lines = []
    for index in range(count):
        value: Any = {"k": chance.choice([f"n{chance.randrange(30)}", chance.randrange(30), None])}
        value[chance.choice("abc")] = index
        if chance.random() < 0.1:
            value["long"] = "x" * chance.randrange(3000)
        text = auv.format_compact(value)
        lines.append(chance.choice([text] * 8 + [text[:-1], "[1]"]))
    return lines


async def values_of(made: RealRuntime) -> dict[str, auv.Value]:
    return {name: auv.parse(data) for name, data in (await made.files()).items()}


async def one_case(seed: int) -> None:
    chance = random.Random(seed)
    policy = chance.choice([*CONFLICTS])
    before, lines = some_lines(chance, 8), some_lines(chance, chance.randrange(60))
    data = "".join(f"{line}\n" for line in lines).encode()
    model = Model({})
    model.take(before, "refuse")
    model.refused.clear()
    model.take(lines, policy)
    told = Told()
    order: Any = {"name": "k", "on_conflict": policy}
    content: bytearray | None = None
    ends = [chance.choice(["leave", "kill", "rollback", "fail"]) for _ in range(3)] + ["finish"]
    begun = kept = False
    for end in ends:
        async with running(seed, content=content) as made:
            if content is None:
                await do_import(made, Told(), "\n".join(before).encode(), 50, name="k")
            desk = made.desk(ADMIN)
            if end == "rollback" and begun and not kept:
                await desk.ok("checkpoint -l kept")
                kept = True
            size = chance.choice([1, 7, 100, 1000])
            stop = chance.randrange(1 + len(data) // size) if end != "finish" else 1 << 30
            resume = bool(await made.engine.imports(desk.session))
            assert resume or not begun or kept
            summary = await do_import(
                made, told, data, size, pieces_max=stop, resume=resume, **order
            )
            begun = bool(await made.engine.imports(desk.session))
            if summary is not None:
                assert not begun
                break
            if end == "rollback" and kept:
                await desk.ok("rollback kept --yes")
            content = bytearray(made.device.content)  # as after a kill at this moment
            if end != "kill":
                await made.engine.finish()
                content = bytearray(made.device.content)
    assert content is None or summary is not None
    async with running(seed, content=bytearray(made.device.content)) as made:
        assert auv.equal(await values_of(made), model.files), seed
        assert {*model.refused} <= {*told.refused}
        assert summary["records"] == len(lines)
        assert summary["refused"] == len(model.refused)
        assert await made.engine.imports(made.desk(ADMIN).session) == []


@pytest.mark.parametrize("dry_run", [True, False])
async def test_what_was_read_is_not_kept(dry_run: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither with a cursor nor without one."""
    kept = []
    take = import_run.ImportRun._take

    def watched(self: import_run.ImportRun, data: bytes) -> None:
        kept.append(len(self._unhashed))
        take(self, data)

    monkeypatch.setattr(import_run.ImportRun, "_take", watched)
    data = b'{"k": 1, "pad": "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"}\n' * 400
    async with running(1) as made:
        summary = await do_import(made, Told(), data, 1000, dry_run=dry_run)
        assert summary["created"] == 400
    assert len(kept) > 20
    assert max(kept) < 1000


@pytest.mark.parametrize("seed", range(CASES))
async def test_an_import_that_is_broken_off_goes_on_where_it_was(seed: int) -> None:
    await one_case(seed)
