"""Random edits of a collection by command and through the mount, against a model.

The model is a dict of file contents. It knows which are records, what is wrong with them (by the
plain rules of test_schema_model) and who has which key; so it knows what a command must refuse, and
what `check` must find.
"""

import json
import os
import random
from pathlib import Path

import pytest
from mounted import Mounted
from test_query_mounted import ask
from test_schema_model import wrong

from affs_ctl.client import Client
from affs_fuse import auv
from affs_fuse.errors import AffsError

pytestmark = pytest.mark.mount

SCHEMA = {
    "fields": {
        "id": {"type": "Int64", "required": True, "min": 0, "max": 30},
        "name": {"type": ["String", "Null"], "max_length": 3},
        "tags": {"type": "Array", "items": {"type": "String", "pattern": "^[a-c]*$"}},
    },
    "closed": True,
    "unique": ["id"],
}
RULE = {"type": "Object", **{key: SCHEMA[key] for key in ("fields", "closed")}}


class Model:
    def __init__(self, folder: Path, client: Client, seed: int) -> None:
        self.folder = folder
        self.client = client
        self.chance = random.Random(seed)
        self.files: dict[str, bytes] = {}

    # ---- what is known ----

    def value(self, name: str) -> auv.Value:
        """None where it does not parse; no record is Null."""
        try:
            return auv.parse(self.files[name])
        except auv.TextError:
            return None

    def holders(self, value: auv.Value) -> list[str]:
        """Files with the key of this value."""
        key = value.get("id") if isinstance(value, dict) else None
        return [
            name for name in sorted(self.files)
            if key is not None and isinstance(other := self.value(name), dict)
            and "id" in other and auv.equal(other["id"], key)
        ]  # fmt: skip

    def refuses(self, name: str, value: auv.Value) -> bool:
        return bool(wrong(RULE, value, "")) or bool({*self.holders(value)} - {name})

    def findings(self) -> set[tuple[str, str, str]]:
        found = set()
        seen: list[auv.Value] = []
        for name in sorted(self.files):
            value = self.value(name)
            if value is None:
                found.add((name, "$", "syntax"))
                continue
            bad = wrong(RULE, value, "")
            found |= {(name, *one) for one in bad}
            if bad:
                continue
            if any(auv.equal(value["id"], one) for one in seen):
                found.add((name, "id", "unique"))
            seen.append(value["id"])
        return found

    # ---- what happens ----

    def some_value(self) -> dict:
        chance = self.chance
        value: dict = {"id": chance.randrange(-1, 32)}
        if chance.random() < 0.5:
            value["name"] = chance.choice(["", "ab", "abcd", None, 5])
        if chance.random() < 0.4:
            value["tags"] = chance.choice([[], ["a", "b"], ["x"], "a"])
        if chance.random() < 0.05:
            value["more"] = 1
        return value

    def by_mount(self) -> None:
        chance = self.chance
        act = chance.randrange(4)
        if act == 0 and self.files:
            name = chance.choice(sorted(self.files))
            (self.folder / name).unlink()
            del self.files[name]
        elif act == 1 and self.files:
            name, target = chance.choice(sorted(self.files)), f"m{chance.randrange(40)}"
            os.rename(self.folder / name, self.folder / target)
            self.files[target] = self.files.pop(name)
        else:
            name = f"f{chance.randrange(25)}"
            text = json.dumps(self.some_value(), indent=chance.choice([None, 1])).encode()
            if chance.random() < 0.15:
                text = text[: chance.randrange(len(text))] or b"{"
            (self.folder / name).write_bytes(text)
            self.files[name] = text

    def by_command(self) -> None:
        chance = self.chance
        act = chance.randrange(4)
        name = f"f{chance.randrange(25)}"
        if act == 0 and name in self.files:
            self.client.run(f"erase /p/{name} --yes")
            del self.files[name]
        elif act == 1 and name in self.files:
            value = self.value(name)
            if isinstance(value, dict):
                changed = {**value, "id": chance.randrange(31)}
                self.run(f"update /p/{name} set id {changed['id']}", name, changed)
        elif name not in self.files:
            value = self.some_value()
            self.run(f"create /p/{name} {json.dumps(value)}", name, value)

    def run(self, line: str, name: str, value: auv.Value) -> None:
        """A command that the model knows to be refused or not. A key that a file got in place, by
        the mount, may be missed (docs/limits.md)."""
        refused = self.refuses(name, value)
        try:
            self.client.run(line)
        except AffsError as error:
            assert error.code == "record.schema", error  # noqa: PT017
            assert refused, (line, error)  # noqa: PT017
            return
        only_key = not wrong(RULE, value, "")
        assert not refused or only_key, line
        if refused:
            assert all(holder in self.edited for holder in {*self.holders(value)} - {name}), line
        self.files[name] = (self.folder / name).read_bytes()
        assert auv.equal(self.value(name), value)

    @property
    def edited(self) -> set[str]:
        """Files that the mount has written over. Kept simple: all that are not one line."""
        return {name for name in self.files if not self.files[name].endswith(b"\n")}

    def check(self) -> None:
        rows, summary = ask(self.client, "check /p")
        found = {(row["path"][3:], row["field"], row["rule"]) for row in rows}
        assert found == self.findings()
        assert summary["records"] == len(self.files)
        assert summary["invalid"] == len({name for name, _, _ in found})
        for row in rows:
            if row["rule"] == "type" and row["field"] == "name":
                lines = self.files[row["path"][3:]].decode().splitlines()
                assert lines[row["line"] - 1][row["column"] - 1] == "5"


@pytest.mark.parametrize("seed", range(3))
def test_check_finds_what_is_wrong(mounted: Mounted, seed: int) -> None:
    with mounted.client() as client:
        client.run(f"declare /p {auv.format_compact(SCHEMA)}")
        model = Model(mounted.directory / "p", client, seed)
        kept: dict[str, bytes] = {}
        for step in range(160):
            (model.by_mount if model.chance.random() < 0.4 else model.by_command)()
            if step % 20 == 19:
                model.check()
            if step == 60:
                kept = dict(model.files)
                client.run(f"checkpoint -l random-{seed}")
            if step == 120:
                client.run(f"rollback random-{seed} --yes")
                model.files = kept
                model.check()
