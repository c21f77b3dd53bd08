"""A transcript for each command on a real mount: the line, its structured answer, and what it did
to the mount. One volume lives through all of them, in order."""

import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from mounted import Mounted

from affs_ctl.client import Client
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Event
from affs_fuse.runtime.commands import COMMANDS

Answer = Any


class Talk:
    """One session with a mounted volume. said: names of the commands that were given."""

    def __init__(self, mounted: Mounted, client: Client) -> None:
        self.mounted = mounted
        self.client = client
        self.said: set[str] = set()
        self.items: list[Any] = []

    def __call__(self, line: str, **fields: Any) -> Answer:
        """The answer to a line, of which these fields are as given. Parts of a streamed answer are
        in `items` afterwards."""
        call = self.client.start(line)
        answer: Any = call.result()
        self.items = call.items
        self.said.add(line.split()[0])
        for name, value in fields.items():
            assert answer[name] == value, (line, name, answer)
        return answer

    def fails(self, line: str) -> str:
        """The code of the error."""
        with pytest.raises(AffsError) as caught:
            self.client.run(line)
        self.said.add(line.split()[0])
        return caught.value.code

    def write(self, name: str, text: str) -> None:
        (self.mounted.directory / name).write_text(text)

    def files(self) -> dict[str, str]:
        found = self.mounted.directory.rglob("*")
        top = self.mounted.directory
        return {str(path.relative_to(top)): path.read_text() for path in found if path.is_file()}

    def kept(self) -> list[str]:
        """What `.affs/checkpoints` shows, by label."""
        shelf = self.mounted.directory / ".affs" / "checkpoints"
        return sorted(name for name in os.listdir(shelf) if len(name) < 32)

    def published(self) -> dict[str, str]:
        top = self.mounted.directory / ".affs" / "published"
        return {path.name: path.read_text() for path in top.iterdir() if path.is_file()}


@pytest.fixture
def talk(mounted: Mounted) -> Iterator[Talk]:
    talking = Talk(mounted, mounted.client())
    yield talking
    talking.client.close()


def states(talk: Talk) -> None:
    """commit, checkpoint, publish, pin, delete and their like."""
    talk.write("file", "one")
    seq = talk("commit", changed=True)["seq"]
    talk("status", dirty=False, seq=seq, published=None, mount=str(talk.mounted.directory))
    one = talk("checkpoint -l one -m first", label="one", message="first", pins=0)
    assert talk.kept() == ["one"]
    talk.write("file", "two!")
    plan = talk("publish --dry-run")["plan"]
    assert (plan["previous"], plan["added"]) == (None, 1)
    two = talk("publish", published=True, previous=None)
    assert talk.published() == {"file": "two!"}
    assert [state["id"] for state in talk("checkpoints")] == [one["id"], two["id"]]
    talk("show published", id=two["id"], parent=one["id"])
    talk("show @~1", id=one["id"])
    assert talk.fails("show '@{1y ago}'") == "state.not_found"
    talk("diff one published", count=1, changed=1, bytes=1)
    assert [(change["path"], change["what"]) for change in talk.items] == [
        ("/file", ["data", "meta"])
    ]
    talk("pin one", pins=1)
    assert talk.fails("delete one --yes") == "state.pinned"
    talk("unpin one", pins=0)
    hold = talk("hold one --lease 60", state=one["id"])
    assert talk("status")["holds"] == 1
    talk(f"hold --release {hold['hold']}")
    assert talk.fails("delete one") == "plan.unconfirmed"
    talk("delete one --yes", freed_bytes=None)
    assert talk.kept() == []
    talk("restore one", id=one["id"])
    assert talk.kept() == ["one"]


def going_back(talk: Talk) -> None:
    """rollback, undo, redo, and rules of retention."""
    talk.write("file", "three")
    talk.write("more", "x")
    plan = talk("rollback --dry-run")["plan"]
    assert (plan["removed"], plan["changed"], plan["undo"]["possible"]) == (1, 1, True)
    assert talk.files() == {"file": "three", "more": "x"}
    talk("rollback", removed=1, changed=1)
    assert talk.files() == {"file": "two!"}
    talk("undo")
    assert talk.files() == {"file": "three", "more": "x"}
    talk("redo")
    assert talk.files() == {"file": "two!"}
    talk("rollback --undo")
    assert talk.files() == {"file": "three", "more": "x"}
    assert talk("retention")["expires"] == []
    answer = talk("set-retention --keep-last 1 --expire-labelled yes")
    assert [state["label"] for state in answer["expires"]] == ["one"]
    talk("expire --yes", count=1, left=0)
    assert talk.kept() == []
    talk("undo 2")
    assert talk.kept() == ["one"]
    commands = [entry["command"] for entry in talk("log --limit 3")]
    assert commands == ["expire", "undo", "undo"]


def asking(talk: Talk) -> None:
    """Queries over files, space, verification, figures."""
    (talk.mounted.directory / "people").mkdir()
    talk.write("people/ann", '{"name": "ann", "age": 31}')
    talk.write("people/bob", '{"name": "bob", "age": 29}')
    talk("find /people where age > 30 | select name")
    assert talk.items == [{"name": "ann"}]
    talk("list /people | sort name desc | select name")
    assert talk.items == [{"name": "bob"}, {"name": "ann"}]
    talk("get /people/bob | select age")
    assert talk.items == [{"age": 29}]
    talk("explain find /people where age > 30")
    assert talk.items
    space = talk("df")
    assert space["total"] >= space["used"] > 0
    (talk.mounted.directory / "large").write_bytes(b"x" * 4_000_000)
    talk("commit")
    assert talk("df")["used"] >= space["used"] + 4_000_000
    report = talk("verify")
    assert not report.get("damage")
    assert not report.get("errors")
    assert talk("metrics")
    assert "affs_up" in talk("prometheus")["text"]
    assert talk("slow") is not None
    cursor = talk("status")["runtime"]["events"]["cursor"]
    talk("checkpoint -l watched")
    talk(f"watch checkpoint --count 1 --after {cursor}", count=1)


def records(talk: Talk) -> None:
    """Records are files: what commands do to them, programs see."""
    talk("""create /people/cid '{"name": "cid", "age": 50}'""")
    assert json.loads(talk.files()["people/cid"])["age"] == 50
    talk("update /people/cid set age 51")
    assert json.loads(talk.files()["people/cid"])["age"] == 51
    talk("move /people/cid /cid")
    assert "cid" in talk.files()
    talk("""batch '[{"create": "/people/dan", "value": {"age": 1}}]'""")
    assert json.loads(talk.files()["people/dan"]) == {"age": 1}
    assert talk.fails("erase /cid") == "plan.unconfirmed"
    talk("erase /cid --yes")
    assert not {"cid", "people/cid"} & talk.files().keys()


def collections(talk: Talk) -> None:
    """A directory with a schema, which imports keep to as well."""
    (talk.mounted.directory / "shop").mkdir()
    talk("""declare /shop '{"fields": {"n": {"type": "Int64", "max": 5}}}'""")
    assert len(talk("collections")) == 1
    assert talk("collection /shop")["path"] == "/shop"
    call = talk.client.start("import - /shop --format jsonl")
    event = next(part.event for part in call if isinstance(part, Event))
    data = b'{"n": 5}\n{"n": 6}\n{"n": 1}\n'
    talk.client.command("input", {"input": event["input"], "data": data, "end": True})
    assert call.result()["created"] == 2
    assert [(item["line"], item["code"]) for item in call.items] == [(2, "record.schema")]
    talk.write("shop/odd", '{"n": 9}')
    talk("check /shop")
    assert talk.items
    (talk.mounted.directory / "shop/odd").unlink()
    talk("evolve /shop rename n number --yes")
    assert json.loads(talk.files()["shop/000000003"]) == {"number": 1}
    talk("index /shop number")
    talk("indexes /shop")
    assert [one["name"] for one in talk.items] == ["number"]
    talk("reindex /shop")
    talk("find /shop where number = 1 | select number", rows=1)
    talk("unindex /shop number")
    talk("indexes /shop")
    assert talk.items == []
    talk("undeclare /shop")
    assert talk("collections") == []


def moving_records(talk: Talk) -> None:
    """Records from bytes of the client and back, and who changed them."""
    call = talk.client.start("import - /people --format jsonl --name name")
    event = next(part.event for part in call if isinstance(part, Event))
    assert event["kind"] == "input"
    line = b'{"name": "eve", "age": 4}\n'
    for data in (line, line + b"{"):
        talk.client.command("input", {"input": event["input"], "data": data})
    talk.client.command("input", {"input": event["input"], "end": True})
    assert call.result()["refused"] == 2
    talk.said |= {"import", "input"}
    assert json.loads(talk.files()["people/eve"]) == {"name": "eve", "age": 4}
    assert talk("imports") == []
    assert talk.fails("drop-import /people") == "import.nothing"
    talk('export --format csv find /people where name = "eve"', rows=1)
    assert talk.items == [b"name,age\neve,4\n"]
    talk("history /people/eve", changes=1)
    assert talk.items[0]["by"]["name"] == "import"
    talk("blame /people/eve", fields=2)
    assert [row["place"] for row in talk.items] == ["name", "age"]


def resumed(talk: Talk, session: str) -> Client | None:
    try:
        return Client.connect(str(talk.mounted.control), session=session)
    except AffsError as error:
        if error.code != "session.attached":
            raise
        return None


def access(talk: Talk) -> None:
    """Roles, tokens, the session."""
    talk("grant 54321 operator", role="operator", id=54321)
    assert [rule["id"] for rule in talk("roles")] == [54321]
    talk("revoke 1")
    assert talk("roles") == []
    token = talk("create-token --role observer -m 'for a test'")["secret"]["token"]
    with Client.connect(str(talk.mounted.control), auth={"token": token}) as client:
        assert client.welcome.role == "observer"
        with pytest.raises(AffsError) as caught:
            client.run("commit")
        assert caught.value.code == "policy.role"
        assert [one["note"] for one in talk("tokens")] == ["for a test"]
        talk("revoke-token 1")
        with pytest.raises(AffsError) as caught:
            client.run("ping")
        assert caught.value.code == "auth.refused"
    with pytest.raises(AffsError):
        Client.connect(str(talk.mounted.control), auth={"token": token})
    token = talk("create-token --role observer")["secret"]["token"]
    monitor = {"AFFS_TOKEN": token}
    assert talk.mounted.affsctl("who", environment=monitor)[-1]["role"] == "observer"
    talk.mounted.affsctl("commit", environment=monitor, status=13)
    talk.mounted.affsctl("ping", environment={"AFFS_TOKEN": "affs_1_wrong"}, status=13)
    talk("cd /people", directory="/people")
    talk("pwd", directory="/people")
    talk("diff one working --path ann", count=1)
    assert talk.fails("cd ann") == "session.directory"
    lines = [entry["line"] for entry in talk("lines --limit 3")]
    assert lines == ["pwd", "diff one working --path ann", "cd ann"]
    assert [one["own"] for one in talk("who") if one["attached"]] == [True]
    session = talk.client.welcome.session
    talk.client.close()
    while (client := resumed(talk, session)) is None:
        pass  # the daemon has not seen the connection end yet
    talk.client = client
    assert talk.client.welcome.resumed
    talk("pwd", directory="/people")
    talk("cd", directory="/")


def automation(talk: Talk) -> None:
    """Hooks and personalities."""
    assert talk("hooks") == []
    talk("hook page publish --post http://127.0.0.1:9/x", name="page")
    assert [hook["name"] for hook in talk("hooks")] == ["page"]
    talk("unhook page")
    assert talk("hooks") == []
    assert {one["name"] for one in talk("personalities")} >= {"minimal", "server"}
    talk("personality server")
    talk("use-personality server --dry-run")
    for line in ("install-personality", "upgrade-personality", "remove-personality"):
        talk.fails(line)


def about(talk: Talk) -> None:
    """The runtime about itself."""
    assert talk("ping")["version"]
    assert "rollback" in talk("help")["text"]
    talk("describe rollback", name="rollback", role="admin")
    candidates = talk("complete 'rollback --d'")["candidates"]
    assert [one["source"] for one in candidates] == ["--discard", "--dry-run"]


PARTS: tuple[Callable[[Talk], None], ...] = (
    states, going_back, asking, records, collections, moving_records, access, automation, about,
)  # fmt: skip


def test_every_command_answers_and_acts(talk: Talk) -> None:
    for part in PARTS:
        part(talk)
    assert talk.said == {command.name for command in COMMANDS}
    talk.client.close()
    talk.mounted.allowed.append("a hello was refused")
    talk.mounted.allowed += ["takes the role", "was revoked"]
    talk.mounted.unmount()
    assert os.listdir(talk.mounted.directory) == []
