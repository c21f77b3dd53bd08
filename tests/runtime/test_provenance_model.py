"""`history`, `blame` and the attributes of who and when, against a plain model of random edits."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from runtime_engine import ROOT, RealRuntime, running

from affs_fuse import auv
from affs_fuse.core.constants import INLINE_MAX
from affs_fuse.posix.namespace import Changes
from affs_fuse.runtime.policy import Identity
from affs_fuse.volume.authors import COMMAND, PROCESS, Author, acting

ADMIN = Identity(0, 0, user="root")
AUTHORS = [Author(1000, PROCESS, "vim"), Author(1001, PROCESS, "sed"), Author(0, PROCESS, "")]
CASES = 12
STEPS = 60


@dataclass(frozen=True)
class Version:
    """An object as it is in some state. written: of a content in blocks, which is another one each
    time that it is written."""

    id: str
    name: str
    text: bytes
    mode: int
    change: int
    created: int
    changed: int
    by: Author
    written: int = 0


Files = dict[str, Version]


@dataclass
class Model:
    """working: by name. states: id -> (its files, id of its parent)."""

    working: Files = field(default_factory=dict)
    states: dict[str, tuple[Files, str]] = field(default_factory=dict)
    base: str = ""

    def lineage(self) -> list[tuple[str | None, Files]]:
        found: list[tuple[str | None, Files]] = [(None, self.working)]
        label = self.base
        while label:
            found.append((label, self.states[label][0]))
            label = self.states[label][1]
        return [*found, ("", {})]

    def all_pairs(self) -> list[tuple[str | None, Files, Files]]:
        def files(label: str) -> Files:
            return self.states[label][0] if label else {}

        pairs: list[tuple[str | None, Files, Files]] = [(None, self.working, files(self.base))]
        for label in reversed(self.states):
            pairs.append((label, files(label), files(self.states[label][1])))
        return pairs


def by_id(files: Files, id: str) -> Version | None:
    return next((one for one in files.values() if one.id == id), None)


def wanted_row(label: str | None, now: Files, before: Files, id: str) -> Any:
    one, other = by_id(now, id), by_id(before, id)
    if one is None and other is None:
        return None
    if one is None:
        assert other is not None
        successor = now.get(other.name)
        return label, "removed", [], f"/{other.name}", None, None, successor and successor.id
    by = one.by, one.changed
    if other is None:
        former = before.get(one.name)
        return label, "created", [], f"/{one.name}", *by, former and former.id
    what = []
    if (one.text, one.written) != (other.text, other.written):
        what.append("content")
    if one.name != other.name:
        what.append("name")
    if one.mode != other.mode:
        what.append("mode")
    if not what and one.change != other.change:
        what = ["times"]
    return (label, "changed", what, f"/{one.name}", *by, None) if what else None


def shown_row(row: Any) -> Any:
    by = row["by"]
    return (
        row["state"] and row["state"]["id"], row["kind"], row["what"], row["path"],
        by and Author(by["uid"], by["kind"], by["name"]), row["commit"],
        row.get("replaced") or row.get("replaced_by"),
    )  # fmt: skip


class Play:
    """Random steps on a volume, and the same on the model."""

    def __init__(self, made: RealRuntime, seed: int) -> None:
        self.made = made
        self.chance = random.Random(seed)
        self.model = Model()
        self.ids: list[str] = []

    async def step(self) -> None:
        made, chance, model = self.made, self.chance, self.model
        made.pass_time(1)
        names = sorted(model.working)
        verb = chance.choice(["write"] * 4 + ["touch", "chmod", "rename", "remove", "command"]
                             + ["commit", "checkpoint", "checkpoint", "rollback"])  # fmt: skip
        author = chance.choice(AUTHORS)
        number = made.engine.author(author)
        commit = made.volume.generation
        if verb == "write" or (verb == "touch" and not names):
            await self._write(chance.choice("abcd"), author, number)
        elif verb == "commit":
            await made.engine.commit("")
        elif verb == "checkpoint":
            kept = (await made.engine.checkpoint("", "", "me"))["id"]
            model.states[kept] = dict(model.working), model.base
            model.base = kept
        elif verb == "rollback" and model.states:
            await self._rollback(chance.choice(sorted(model.states)))
        elif names:
            name = chance.choice(names)
            one = model.working[name]
            with acting(number):
                if verb == "touch":
                    await self._run("setattr", int(one.id[-12:], 16), Changes(mtime_ns=1), ROOT)
                elif verb == "chmod":
                    mode = chance.choice([0o600, 0o644])
                    await self._run("setattr", int(one.id[-12:], 16), Changes(mode=mode), ROOT)
                    one = replace(one, mode=mode)
                elif verb == "rename":
                    new = chance.choice("abcd")
                    if new == name:
                        return
                    await self._run("rename", 1, name.encode(), 1, new.encode(), 0)
                    del model.working[name]
                    name, one = new, replace(one, name=new)
                elif verb == "remove":
                    await self.made.remove(name)
                    del model.working[name]
                    return
                elif verb == "command":
                    author = Author(0, COMMAND, "update")
                    desk = made.desk(ADMIN)
                    place, value = f"field{chance.randrange(3)}", chance.randrange(3)
                    await desk.ok(f"update /{name} set {place} {value}")
                    text = (await made.files())[name]
                    written = one.change + 1 if len(text) > INLINE_MAX else 0
                    one = replace(one, text=text, written=written)
                else:
                    return
            self._changed(name, one, author, commit)

    async def _run(self, name: str, *arguments: Any) -> Any:
        function = getattr(self.made.namespace, name)
        return await self.made.engine.run_and_clean(function, *arguments)

    def _changed(self, name: str, one: Version, author: Author, commit: int) -> None:
        self.model.working[name] = replace(
            one, by=author, changed=commit, change=one.change + 1
        )

    async def _write(self, name: str, author: Author, number: int) -> None:
        chance = self.chance
        value: Any = {"field0": chance.randrange(3), "deep": {"list": [chance.randrange(2), 1]}}
        if self.chance.random() < 0.3:
            value["pad"] = "x" * self.chance.choice([10, 5000])
        text = auv.format_compact(value).encode()
        commit = self.made.volume.generation
        with acting(number):
            await self.made.write(name, text)
        old = self.model.working.get(name)
        if old is None:
            inode = (await self._run("lookup", 1, name.encode())).inode
            old = Version(inode.object_id.hex(), name, b"", 0o644, 0, commit, 0, author)
            self.ids.append(old.id)
        written = old.change + 1 if len(text) > INLINE_MAX else 0
        self._changed(name, replace(old, text=text, written=written), author, commit)

    async def _rollback(self, label: str) -> None:
        answer = await self.made.engine.rollback(label)
        if answer["abandoned"] is not None:
            kept = answer["abandoned"]["id"]
            self.model.states[kept] = dict(self.model.working), self.model.base
        self.model.working = dict(self.model.states[label][0])
        self.model.base = label

    # ---- judging ----

    async def judge(self) -> None:
        made, model = self.made, self.model
        desk = made.desk(ADMIN)
        await made.engine.commit("")
        session = desk.session
        seen = {one.id for files, _ in model.states.values() for one in files.values()}
        seen |= {one.id for one in model.working.values()}
        lineage = model.lineage()
        for id in sorted({*self.ids} & seen):
            pairs = [(label, files, lineage[n + 1][1]) for n, (label, files) in
                     enumerate(lineage[:-1])]  # fmt: skip
            wanted = [wanted_row(*pair, id) for pair in pairs]
            rows = [row async for row in made.engine.history(
                id, session, state=None, everything=False)] if any(wanted) else []  # fmt: skip
            assert [shown_row(row) for row in rows] == [row for row in wanted if row]
        for name, one in model.working.items():
            rows = [row async for row in made.engine.history(
                f"/{name}", session, state=None, everything=True)]  # fmt: skip
            wanted = [wanted_row(*pair, one.id) for pair in model.all_pairs()]
            assert [shown_row(row) for row in rows] == [row for row in wanted if row]
            await self._judge_blame(name, one)
        await self._judge_query(desk)

    async def _judge_blame(self, name: str, one: Version) -> None:
        rows = {row["place"]: row async for row in self.made.engine.blame(
            f"/{name}", self.made.desk(ADMIN).session, state=None)}  # fmt: skip
        value = auv.parse(one.text)
        assert isinstance(value, dict)
        assert len(rows) == sum(3 - 1 if key == "deep" else 1 for key in value)
        for place, row in rows.items():
            giver = None
            wanted = leaf(one, place)
            assert auv.equal(row["value"], wanted)
            for label, files in self.model.lineage():
                version = by_id(files, one.id)
                if version is None or not auv.equal(leaf(version, place), wanted):
                    break
                giver = label, version.by, version.changed
            by = row["by"]
            shown = Author(by["uid"], by["kind"], by["name"])
            label = row["state"] and row["state"]["id"]
            assert giver is not None
            assert (label, shown, row["commit"]) == giver

    async def _judge_query(self, desk: Any) -> None:
        answers = desk.reply
        before = len(answers.items)
        await desk.ok(
            "list / | select name, created_commit, changed_commit, changed_by, changed_uid"
        )
        found = {row["name"]: row for row in answers.items[before:]}
        for name, one in self.model.working.items():
            assert found[name] == {
                "name": name, "created_commit": one.created, "changed_commit": one.changed,
                "changed_by": one.by.name, "changed_uid": one.by.uid,
            }  # fmt: skip


MISSING = "missing"


def leaf(version: Version, place: str) -> Any:
    value: Any = auv.parse(version.text)
    if place.startswith("deep.list["):
        return value["deep"]["list"][int(place[10])]
    return value.get(place, MISSING)


@pytest.mark.parametrize("seed", range(CASES))
async def test_random_edits(seed: int) -> None:
    async with running(seed) as made:
        play = Play(made, seed)
        for _ in range(STEPS):
            await play.step()
        await play.judge()
