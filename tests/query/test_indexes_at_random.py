"""Random edits through the mount and by command, side by side: what queries by index give is what
the files hold, and the indexes say what the records say."""

import contextlib
import itertools
import os
import random
from pathlib import Path

import pytest
from mounted import Mounted
from test_query_mounted import ask

from affs_ctl.client import Client
from affs_fuse import auv
from affs_fuse.errors import AffsError

pytestmark = pytest.mark.mount

NAMES = [f"r{number}" for number in range(12)]
STEPS = 60


class Edits:
    """Each step is one edit; what cannot be done (a name that is missing, or there) is not done."""

    def __init__(self, directory: Path, other: Path, client: Client, seed: int) -> None:
        self.directory = directory
        self.other = other
        self.client = client
        self.chance = random.Random(seed)
        self.kinds = [name for name in vars(Edits) if name.startswith("do_")]

    def step(self) -> None:
        kind = self.chance.choice(self.kinds)
        name = self.chance.choice(NAMES)
        with contextlib.suppress(OSError, AffsError):
            getattr(self, kind)(name, self.chance.choice(NAMES))

    def value(self) -> dict[str, auv.Value]:
        filler = "x" * self.chance.choice([0, 3000, 9000])
        return {"n": self.chance.randrange(8), "s": self.chance.choice(["A", "b", 7]), "f": filler}

    def do_write(self, name: str, other: str) -> None:
        (self.directory / name).write_text(auv.format_json(self.value()))

    def do_write_in_place(self, name: str, other: str) -> None:
        with open(self.directory / name, "r+b") as file:
            file.write(b'{"n": %d ' % self.chance.randrange(8))

    def do_append(self, name: str, other: str) -> None:
        with open(self.directory / name, "ab") as file:
            file.write(self.chance.choice([b" ", b"x"]))

    def do_truncate(self, name: str, other: str) -> None:
        os.truncate(self.directory / name, self.chance.choice([0, 5, 100]))

    def do_allocate(self, name: str, other: str) -> None:
        with open(self.directory / name, "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, 9000)

    def do_unlink(self, name: str, other: str) -> None:
        (self.directory / name).unlink()

    def do_rename(self, name: str, other: str) -> None:
        (self.directory / name).rename(self.directory / other)

    def do_leave(self, name: str, other: str) -> None:
        (self.directory / name).rename(self.other / other)

    def do_come(self, name: str, other: str) -> None:
        (self.other / other).rename(self.directory / name)

    def do_link(self, name: str, other: str) -> None:
        os.link(self.directory / name, self.directory / other)

    def do_create(self, name: str, other: str) -> None:
        self.client.command("create", {"path": f"/p/{name}", "value": self.value()})

    def do_update(self, name: str, other: str) -> None:
        value = self.chance.randrange(8)
        self.client.run(f"update /p/{name} set n {value}")

    def do_move(self, name: str, other: str) -> None:
        self.client.run(f"move /p/{name} /p/{other}")

    def do_erase(self, name: str, other: str) -> None:
        self.client.run(f"erase /p/{name} --yes")

    def do_make_below(self, name: str, other: str) -> None:
        below = self.directory / f"{name}.d"
        below.mkdir(exist_ok=True)
        (below / other).write_text(auv.format_json(self.value()))

    def do_batch(self, name: str, other: str) -> None:
        self.client.command("batch", {"operations": [
            {"create": f"/p/{name}", "value": self.value()},
            {"update": f"/p/{other}", "changes": ["set", "s", "b"]},
        ]})  # fmt: skip


def held(directory: Path) -> list[tuple[str, dict[str, auv.Value]]]:
    """(name, record) of the files that are records, as Python reads them."""
    found = []
    for path in sorted(one for one in directory.iterdir() if one.is_file()):
        with contextlib.suppress(auv.AuvError):
            value = auv.parse(path.read_bytes())
            found.append((path.name, value if isinstance(value, dict) else {}))
    return found


def values_of(records: list[tuple[str, dict[str, auv.Value]]], name: str) -> list[auv.Value]:
    return sorted((value.get(name) for _, value in records), key=auv.sort_key)


def groups_of(values: list[auv.Value]) -> list[dict[str, auv.Value]]:
    """(How often, value) of sorted values, as `group ... | sort` gives it."""
    groups = itertools.groupby(values, key=auv.sort_key)
    return [{"s": next(found), "c": 1 + sum(1 for _ in found)} for _, found in groups]


def answers(client: Client, records: list[tuple[str, dict[str, auv.Value]]], state: str) -> int:
    """What an index says alone is what the files hold; how often it did."""
    numbers, texts = values_of(records, "n"), values_of(records, "s")
    known = [value for value in numbers if value is not None]
    first: dict[str, dict[str, auv.Value]] = {}
    for _, value in records:
        first.setdefault(auv.format_canonical(value.get("s")), {"s": value.get("s")})
    alone = 0
    for stages, wanted in (
        ("| count", [{"count": len(records)}]),
        ("where n between 2 and 6 | count", [{"count": sum(2 <= one <= 6 for one in known)}]),
        ("| group min(n) as a, max(n) as b", [{"a": min(known), "b": max(known)}]),
        ("| group count() as c by s | sort s", groups_of(texts)),
        ("| distinct s | select s", list(first.values())),
    ):
        rows, summary = ask(client, f"list records /p {state} {stages}")
        assert rows == wanted, stages
        alone += bool(summary["index"])
    return alone


@pytest.mark.parametrize("seed", range(3))
def test_queries_by_index_give_what_the_files_hold(
    mounted: Mounted, client: Client, seed: int
) -> None:
    directory, other = mounted.directory / "p", mounted.directory / "other"
    other.mkdir()
    for number in range(100):  # so that an index spares something
        (directory / f"z{number}").write_text('{"n": 100, "s": "Z"}')
    client.run("index /p n")
    client.run("index /p s --name text")
    edits = Edits(directory, other, client, seed)
    kept = []
    alone = 0
    for step in range(STEPS):
        edits.step()
        if step % 4:
            continue
        records = held(directory)
        alone += answers(client, records, "")
        if step % 20 == 0:
            kept.append((client.run("checkpoint")["id"], records))
        wanted = edits.chance.randrange(8)
        rows, summary = ask(client, f"list records /p where n = {wanted} | select @name")
        assert summary["index"] == "n"
        named = [name for name, value in records if auv.equal(value.get("n"), wanted)]
        assert [row["name"] for row in rows] == named
        rows, _ = ask(client, "list records /p where s in ['b', 7] | select @name")
        assert [row["name"] for row in rows] == [
            name for name, value in records if value.get("s") in ("b", 7)
        ]
        below = [one for one in directory.iterdir() if one.is_dir()]
        parts = sorted([(name, value) for name, value in records] + [
            (f"{one.name}/{name}", value) for one in below for name, value in held(one)
        ])  # fmt: skip
        rows, _ = ask(client, f"find /p where n = {wanted} | select substring(@path, 3) as path")
        named = [name for name, value in parts if auv.equal(value.get("n"), wanted)]
        assert [row["path"] for row in rows] == named
    for state, records in kept:
        alone += answers(client, records, f"as of {state}")
    assert alone > 60
    assert ask(client, "indexes /p --check")[1]["problems"] == 0
    for name in ("n", "text"):
        client.run(f"unindex /p {name} --yes")
