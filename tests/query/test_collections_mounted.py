"""Collections on a mounted volume: declared, held to, violated by the mount, evolved, undone."""

import json
import subprocess
import threading
from pathlib import Path

import pytest
from mounted import Mounted
from test_query_mounted import ask
from test_transfer import affsctl, rows

from affs_ctl.client import Client
from affs_fuse.auv import format_compact
from affs_fuse.errors import AffsError

pytestmark = pytest.mark.mount

PEOPLE = {
    "fields": {
        "name": {"type": "String", "required": True, "min_length": 1},
        "age": {"type": ["Int64", "Null"], "min": 0, "max": 150},
        "home.city": {"type": "String", "required": True},
        "state": {"enum": ["new", "known"], "default": "new"},
    },
    "closed": True,
    "unique": ["name"],
}


def refused(client: Client, line: str) -> AffsError:
    with pytest.raises(AffsError) as caught:
        client.run(line)
    return caught.value


def declare(client: Client, schema: dict, *more: str) -> dict:
    return client.run(" ".join(["declare /p", format_compact(schema), *more]))


def create(client: Client, at: str, **value: object) -> dict:
    return client.run(f"create /p/{at} {json.dumps(value)}")


def test_a_collection_through_its_life(mounted: Mounted, client: Client) -> None:
    folder = mounted.directory / "p"
    create(client, "anna", name="Anna", age=31, home={"city": "Rome"})
    declared = declare(client, PEOPLE)
    assert (declared["records"], declared["violations"]) == (1, 0)
    assert [row["path"] for row in client.run("collections")] == ["/p"]
    shown = client.run("collection /p")
    assert shown["schema"]["fields"]["home"]["required"] is True
    assert shown["unique"] == ["name"]

    create(client, "bob", name="Bob", age=None, home={"city": "Oslo"})
    assert json.loads((folder / "bob").read_text())["state"] == "new"  # the default
    error = refused(client, 'create /p/cleo {"name": "", "age": 151, "home": {}, "more": 1}')
    assert error.code == "record.schema"
    assert (error.details["path"], error.details["field"]) == ("/p/cleo", "age")
    assert (error.details["expected"], error.details["count"]) == ("0 to 150", 4)
    error = refused(client, "update /p/bob set age 200")
    assert "age: expected 0 to 150, found Int64 200" in error.message
    assert refused(client, 'create /p/b2 {"name": "Bob", "home": {"city": "Rome"}}').details[
        "other"
    ] == "/p/bob"
    client.run('create /else {"name": 1, "home": {"city": "Rome"}}')
    assert refused(client, "move /else /p/else").details["rule"] == "type"
    batch = [{"update": "/p/anna", "changes": ["set", "age", 32]}, {"create": "/p/x", "value": 1}]
    error = refused(client, f"batch {json.dumps(batch)}")
    assert (error.code, error.details["operation"]) == ("record.schema", 1)
    assert json.loads((folder / "anna").read_text())["age"] == 31
    assert sorted(path.name for path in folder.iterdir()) == ["anna", "bob"]

    # the mount never refuses; check tells
    subprocess.run(["sed", "-i", 's/"age":31/"age":\\n "old"/', folder / "anna"], check=True)
    (folder / "broken").write_text('{"name": "X",\n  "home" }')
    (folder / "twin").write_text('{"name": "Bob", "home": {"city": "Oslo"}, "state": "known"}')
    rows, summary = ask(client, "check /p")
    told = [(row["path"], row["line"], row["column"], row["rule"]) for row in rows]
    assert told == [
        ("/p/anna", 2, 2, "type"), ("/p/broken", 2, 10, "syntax"), ("/p/twin", 1, 10, "unique"),
    ]  # fmt: skip
    assert (summary["records"], summary["invalid"], summary["violations"]) == (4, 3, 3)
    assert refused(client, "update /p/anna set state known").code == "record.schema"
    client.run("update /p/anna set age 33 set state known")
    client.run("erase /p/broken --yes")
    client.run("erase /p/twin --yes")
    assert ask(client, "check /p")[1]["violations"] == 0


def test_rollback_brings_both_back(mounted: Mounted, client: Client) -> None:
    create(client, "a", name="A", home={"city": "Rome"})
    client.run("checkpoint -l bare")
    declare(client, PEOPLE)
    client.run("checkpoint -l declared")
    plan = client.run('evolve /p rename name full add size {"type": "Int64", "default": 1} -n')
    assert plan["plan"]["changed"] == 1
    assert plan["plan"]["changes"][0]["after"] == {
        "full": "A", "home": {"city": "Rome"}, "size": 1,
    }  # fmt: skip
    line = 'evolve /p rename name full add size {"type": "Int64", "default": 1}'
    done = client.run(f"{line} --token {plan['token']}")
    assert (done["changed"], done["in_one_step"]) == (1, True)
    value = json.loads((mounted.directory / "p/a").read_text())
    assert value == {"full": "A", "home": {"city": "Rome"}, "size": 1}
    assert client.run("collection /p")["unique"] == ["full"]
    assert client.run("collection /p --as-of declared")["unique"] == ["name"]
    assert ask(client, "check /p --as-of declared")[1]["violations"] == 0
    assert refused(client, "collection /p --as-of bare").code == "collection.not_found"
    assert client.run("collections --as-of bare") == []
    rows, _ = ask(client, "diff declared")
    assert {(row["path"], *row["what"]) for row in rows} == {
        ("/p", "collection"), ("/p/a", "data", "meta"),
    }  # fmt: skip

    client.run("rollback declared --yes")
    assert client.run("collection /p")["unique"] == ["name"]
    assert refused(client, 'create /p/b {"full": "B"}').details["field"] == "home"
    assert refused(client, 'create /p/b {"name": "A", "home": {"city": "x"}}').details["other"]
    client.run("rollback bare --yes")
    client.run('create /p/b {"anything": 1}')
    client.run("rollback --undo --yes")
    assert client.run("collection /p")["unique"] == ["name"]


def test_declaring_looks_first(mounted: Mounted, client: Client) -> None:
    create(client, "a", name="A", home={"city": "Rome"})
    (mounted.directory / "p/b").write_text('{"name": 5}')
    (mounted.directory / "p/c").write_text("no record")
    plan = declare(client, PEOPLE, "--dry-run")["plan"]
    assert (plan["records"], plan["invalid"], plan["violations"]) == (3, 2, 3)
    assert plan["examples"][0]["path"] == "/p/b"
    error = refused(client, f"declare /p {format_compact(PEOPLE)}")
    assert error.code == "collection.violations"
    assert error.details["examples"] == plan["examples"]
    assert client.run("collections") == []
    declare(client, PEOPLE, "--tolerate")
    assert ask(client, "check /p")[1]["invalid"] == 2

    plan = client.run("undeclare /p --dry-run")
    create(client, "d", name="D", home={"city": "Rome"})
    declare(client, {**PEOPLE, "closed": False}, "--tolerate")
    error = refused(client, f"undeclare /p --token {plan['token']}")
    assert error.code == "plan.stale"
    plan = declare(client, PEOPLE, "--tolerate", "--dry-run")
    (mounted.directory / "p/new").write_text("1")
    line = f"declare /p {format_compact(PEOPLE)} --tolerate --token {plan['token']}"
    assert refused(client, line).code == "plan.stale"


def test_undo(mounted: Mounted, client: Client) -> None:
    create(client, "a", name="A", home={"city": "Rome"})
    declare(client, PEOPLE)
    client.run("undeclare /p")
    assert client.run("collections") == []
    client.run("undo")
    assert client.run("collection /p")["closed"] is True
    client.run("undo")
    assert client.run("collections") == []
    client.run("redo")
    client.run("redo")
    assert client.run("collections") == []
    client.run("undo")
    client.run('evolve /p rule age {"type": ["Int64", "Null"], "min": 0} --yes')
    assert "max" not in client.run("collection /p")["schema"]["fields"]["age"]
    client.run("undo")
    assert client.run("collection /p")["schema"]["fields"]["age"]["max"] == 150
    client.run('evolve /p rename name full --yes')
    assert json.loads((mounted.directory / "p/a").read_text())["full"] == "A"
    client.run("undo")
    assert json.loads((mounted.directory / "p/a").read_text())["name"] == "A"
    assert "name" in client.run("collection /p")["schema"]["fields"]
    client.run("redo")
    client.run("update /p/a set age 9")
    client.run("undo 2")
    client.run('evolve /p rename name full --yes')
    client.run("declare /p {}")
    number = client.run("log --command evolve --limit 1")[0]["number"]
    assert refused(client, f"undo --operation {number}").code == "collection.changed"


def test_a_large_evolution_takes_steps(mounted: Mounted, client: Client) -> None:
    """More records than one batch: in between both forms are valid, at the end one."""
    for start in range(0, 2500, 500):
        operations = [
            {"create": f"/p/r{n:04}", "value": {"n": n}} for n in range(start, start + 500)
        ]
        client.run(f"batch {json.dumps(operations)}")
    schema = {"fields": {"n": {"type": "Int64", "required": True}}, "unique": ["n"]}
    declare(client, schema)
    line = 'evolve /p rename n number add tag {"type": "String", "default": "x"}'
    plan = client.run(f"{line} --dry-run")["plan"]
    assert (plan["changed"], plan["in_one_step"]) == (2500, False)
    assert len(plan["changes"]) == 20
    done = client.run(f"{line} --yes")
    assert done["changed"] == 2500
    shown = client.run("collection /p")
    assert (shown["evolving"], shown["unique"]) == (False, ["number"])
    assert json.loads((mounted.directory / "p/r2499").read_text()) == {"number": 2499, "tag": "x"}
    assert ask(client, "check /p")[1]["violations"] == 0
    assert refused(client, 'create /p/x {"number": 17}').details["other"] == "/p/r0017"
    assert refused(client, "evolve /p --resume --yes").code == "collection.settled"


def test_commands_at_once_never_make_two_of_a_key(mounted: Mounted) -> None:
    with mounted.client() as client:
        declare(client, {"fields": {"id": {"type": "Int64", "required": True}}, "unique": ["id"]})
    made: list[str] = []

    def work(name: str) -> None:
        with mounted.client() as client:
            for index in range(40):
                try:
                    client.run(f'create /p/{name}{index} {{"id": {index}}}')
                    made.append(f"{name}{index}")
                except AffsError as error:
                    assert error.code == "record.schema"  # noqa: PT017

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 40
    with mounted.client() as client:
        assert ask(client, "check /p")[1] == {
            "records": 40, "invalid": 0, "violations": 0, "denied": 0, "evolving": False,
        }  # fmt: skip


def test_an_import_is_held_to_the_schema(mounted: Mounted, client: Client, tmp_path: Path) -> None:
    """What violates it is told with its place; the rest is imported."""
    declare(client, PEOPLE)
    people = [
        {"name": "Anna", "home": {"city": "Rome"}}, {"name": "", "home": {"city": "Rome"}},
        {"name": "Bob", "home": {"city": "Oslo"}}, {"name": "Anna", "home": {"city": "Bergen"}},
        {"name": "Cleo"},
    ]  # fmt: skip
    source = tmp_path / "people.jsonl"
    source.write_text("".join(json.dumps(one) + "\n" for one in people))
    told = rows(affsctl(mounted, "import", str(source), "/p", status=1))
    told.sort(key=lambda row: row["record"])
    assert [(row["record"], row["line"], row["code"]) for row in told] == [
        (2, 2, "record.schema"), (4, 4, "record.schema"), (5, 5, "record.schema"),
    ]  # fmt: skip
    assert "has this key already" in told[1]["message"]
    names = ask(client, "find /p | sort name | select name, state")[0]
    assert names == [{"name": "Anna", "state": "new"}, {"name": "Bob", "state": "new"}]
    assert ask(client, "check /p")[1]["violations"] == 0


def test_a_killed_daemon_leaves_an_evolution_that_goes_on(tmp_path: Path) -> None:
    """Wherever it was: each record has the old form or the new, and the collection says so."""
    with Mounted(tmp_path, size_bytes=512 << 20) as mounted:
        (mounted.directory / "p").mkdir()
        with mounted.client() as client:
            for start in range(0, 3000, 500):
                batch = [
                    {"create": f"/p/r{n}", "value": {"n": n}} for n in range(start, start + 500)
                ]
                client.run(f"batch {json.dumps(batch)}")
            declare(client, {"fields": {"n": {"type": "Int64", "required": True}}})
            call = client.start("evolve /p rename n number --yes")
            assert next(call.parts()), "the first batch is done"
            mounted.kill()
        mounted.start()
        with mounted.client() as client:
            shown = client.run("collection /p")
            assert shown["evolving"] is True
            assert ask(client, "check /p")[1]["violations"] == 0
            forms = ask(client, "find /p | group count() as n by exists number as done")[0]
            assert sum(row["n"] for row in forms) == 3000
            assert {row["done"] for row in forms} == {True, False}
            client.run("evolve /p --resume --yes")
            assert ask(client, "find /p where exists number | count")[0] == [{"count": 3000}]
            assert client.run("collection /p")["evolving"] is False
