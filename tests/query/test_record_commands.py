"""Changing records by command on a mounted volume, and through the mount beside it."""

import contextlib
import json
import mmap
import os
import threading
from pathlib import Path

import pytest
from mounted import Mounted
from test_query_mounted import ask

from affs_ctl.client import Client
from affs_fuse.errors import AffsError

pytestmark = pytest.mark.mount


def code_of(client: Client, line: str) -> AffsError:
    with pytest.raises(AffsError) as caught:
        client.run(line)
    return caught.value


def test_a_record_through_its_life(mounted: Mounted, client: Client) -> None:
    path = mounted.directory / "p/anna"
    assert not path.exists()  # the kernel remembers that there is nothing
    made = client.run('create /p/anna {"name": "Anna", "age": 31, "home": {"city": "Rome"}}')
    assert made["action"] == "created"
    assert json.loads(path.read_text()) == {"name": "Anna", "age": 31, "home": {"city": "Rome"}}
    assert os.listdir(mounted.directory / "p") == ["anna"]
    row = ask(client, "get /p/anna")[0][0]
    assert (row["id"], row["version"]) == (made["id"], made["version"])

    changed = client.run(
        'update /p/anna set age 32 set home.zip "00184" append tags "x" append tags \'"y"\' '
        'unset name merge home {"city": "Oslo", "more": {"a": 1}}'
    )
    wanted = {
        "age": 32, "home": {"city": "Oslo", "zip": "00184", "more": {"a": 1}}, "tags": ["x", "y"],
    }  # fmt: skip
    assert json.loads(path.read_text()) == wanted
    assert changed["before"]["age"] == 31
    assert changed["id"] == made["id"]
    assert changed["version"] != made["version"]

    moved = client.run(f"move {made['id']} /p/berta")
    assert (moved["from"], moved["path"], moved["id"]) == ("/p/anna", "/p/berta", made["id"])
    assert not path.exists()
    assert os.listdir(mounted.directory / "p") == ["berta"]
    assert ask(client, f"get {made['id']}")[0][0]["path"] == "/p/berta"

    error = code_of(client, "erase /p/berta")
    assert error.code == "plan.unconfirmed"
    assert error.details["plan"]["changes"][0]["before"] == wanted
    gone = client.run(error.details["confirmed_line"])
    assert (gone["action"], gone["before"]) == ("erased", wanted)
    assert os.listdir(mounted.directory / "p") == []
    assert code_of(client, f"get {made['id']}").code == "record.not_found"


def test_what_cannot_be_done_is_said(mounted: Mounted, client: Client) -> None:
    mounted.allowed.append("out of this user's reach")
    client.run("create /p/a 1")
    (mounted.directory / "p/bad").write_text('{"a": 1,\n "b" 2}')
    for line, code in [
        ("create /p/a 2", "record.exists"),
        ("create /none/a 2", "record.not_found"),
        ("create /p/a/b 2", "record.path"),
        ("create / 2", "record.path"),
        ("create /.affs 2", "record.denied"),
        (f"create /p/{'x' * 300} 2", "record.path"),
        ("update /p/none set a 1", "record.not_found"),
        ("update /p set a 1", "record.no_file"),
        ("update /p/a", "record.change"),
        ("update /p/a set b", "record.change"),
        ("update /p/a chnge b 1", "record.change"),
        ("update /p/a set b.c 1", "record.change"),
        ("update /p/a unset $", "record.change"),
        ("update /p/a append $ 2", "record.change"),
        ("update /p/a set b[ 2", "record.change"),
        ("update /p/bad set a 1", "record.syntax"),
        ("move /p/a /p/bad", "record.exists"),
        ("move /p/a /none/b", "record.not_found"),
        ("erase /p --yes", "record.no_file"),
        ("erase /p/none --yes", "record.not_found"),
        ("erase " + "0" * 32 + " --yes", "record.not_found"),
        ("update /p/a set $ 3 --if-version 0123456789abcdef", "record.version"),
    ]:
        assert code_of(client, line).code == code, line
    error = code_of(client, "update /p/bad set a 1")
    assert (error.details["line"], error.details["column"]) == (2, 6)
    assert (mounted.directory / "p/bad").read_text() == '{"a": 1,\n "b" 2}'
    assert (mounted.directory / "p/a").read_text() == "1\n"
    with pytest.raises(AffsError) as caught:
        client.command("batch", {"operations": [{"update": "0" * 31, "changes": ["unset", "a"]}]})
    assert caught.value.code == "record.not_found"


def test_versions_guard_against_changes_of_others(mounted: Mounted, client: Client) -> None:
    made = client.run('create /p/a {"n": 1}')
    again = client.run(f"update /p/a set n 2 --if-version {made['version']}")
    error = code_of(client, f"update /p/a set n 3 --if-version {made['version']}")
    assert (error.code, error.details["version"]) == ("record.version", again["version"])
    (mounted.directory / "p/a").write_text('{"n": 9}')
    assert code_of(client, f"move /p/a /p/b --if-version {again['version']}").code == (
        "record.version"
    )
    version = ask(client, "get /p/a | select @version")[0][0]["version"]
    assert client.run(f"erase /p/a --yes --if-version {version}")["action"] == "erased"


def test_a_dry_run_changes_nothing_and_its_token_holds_until_something_changes(
    mounted: Mounted, client: Client
) -> None:
    client.run('create /p/a {"n": 1}')
    plan = client.run("update /p/a set n 2 --dry-run")
    assert plan["plan"]["changes"] == [
        {"action": "update", "path": "/p/a", "before": {"n": 1}, "after": {"n": 2}}
    ]
    assert plan["plan"]["undo"]["possible"] is True
    assert (mounted.directory / "p/a").read_text() == '{"n":1}\n'
    (mounted.directory / "p/a").write_text('{"n": 5}')
    assert code_of(client, f"update /p/a set n 2 --token {plan['token']}").code == "plan.stale"
    plan = client.run("update /p/a set n 2 --dry-run")
    client.run(f"update /p/a set n 2 --token {plan['token']}")
    assert (mounted.directory / "p/a").read_text() == '{"n": 2}'


def test_open_files_and_cached_pages_show_the_new_content(mounted: Mounted, client: Client) -> None:
    path = mounted.directory / "p/a"
    for size in (10, 3000, 9000, 300_000):
        path.write_text(json.dumps({"t": "a" * size}))
        with path.open("rb") as reader, path.open("ab") as appender:
            assert len(reader.read()) == size + 9
            client.run('update /p/a set t "new"')
            reader.seek(0)
            assert reader.read() == b'{"t": "new"}'
            assert path.stat().st_size == 12
            appender.write(b"// more\n")
            appender.flush()
            assert path.read_text() == '{"t": "new"}// more\n'
        assert ask(client, "get /p/a | select t")[0] == [{"t": "new"}]
        path.unlink()


def test_modes_owners_and_times(mounted: Mounted, client: Client) -> None:
    client.run("create /p/a 1")
    path = mounted.directory / "p/a"
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o600)
    before = path.stat()
    client.run("update /p/a set $ 2")
    after = path.stat()
    assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)
    assert after.st_mtime_ns > before.st_mtime_ns
    folder = (mounted.directory / "p").stat().st_mtime_ns
    client.run("move /p/a /p/b")
    assert (mounted.directory / "p").stat().st_mtime_ns > folder


def test_batches_apply_wholly_or_not_at_all(mounted: Mounted, client: Client) -> None:
    client.run('create /p/a {"n": 1}')
    client.run("create /p/b 2")
    before = sorted(path.name for path in (mounted.directory / "p").iterdir())
    good = [
        {"create": "/p/c", "value": {"x": "y" * 5000}},
        {"update": "/p/a", "changes": ["set", "n", 7]},
        {"move": "/p/b", "to": "/p/d"},
    ]
    for bad, code in [
        ({"create": "/none/x", "value": 1}, "record.not_found"),
        ({"create": "/p/a/x", "value": 1}, "record.path"),
        ({"update": "/p/e", "changes": ["set", "n", 1]}, "record.not_found"),
        ({"create": "/p/d", "value": 1}, "record.twice"),
        ({"update": "/p/a", "changes": ["set", "n", 8]}, "record.twice"),
        ({"erase": "/p/c"}, "record.batch"),
        ({"update": "/p/a"}, "record.change"),
        ({"create": "/p/x"}, "record.batch"),
        ({"create": "/p/x", "value": 1, "vlaue": 2}, "record.batch"),
        ({"creat": "/p/x"}, "record.batch"),
        (3, "record.batch"),
    ]:
        with pytest.raises(AffsError) as caught:
            client.command("batch", {"operations": [*good, bad]})
        assert caught.value.code == code, bad
        assert sorted(path.name for path in (mounted.directory / "p").iterdir()) == before
        assert (mounted.directory / "p/a").read_text() == '{"n":1}\n'
    done = client.command("batch", {"operations": good})
    assert [one["action"] for one in done["records"]] == ["created", "updated", "moved"]
    assert sorted(path.name for path in (mounted.directory / "p").iterdir()) == ["a", "c", "d"]
    assert json.loads((mounted.directory / "p/c").read_text()) == {"x": "y" * 5000}
    erase = {"operations": [{"erase": "/p/a"}, {"erase": "/p/c"}], "erasures": True}
    with pytest.raises(AffsError, match="takes something away"):
        client.command("batch", erase)
    client.command("batch", {**erase, "yes": True})
    assert os.listdir(mounted.directory / "p") == ["d"]


def test_a_change_by_command_is_durable_when_it_returns(tmp_path: Path) -> None:
    with Mounted(tmp_path, options="commit_interval=0") as mounted:
        (mounted.directory / "p").mkdir()
        with mounted.client() as client:
            operations = [{"create": f"/p/r{n:03}", "value": {"n": n}} for n in range(500)]
            client.command("batch", {"operations": operations})
            client.run("update /p/r007 set n 70")
        mounted.kill()
        mounted.start()
        assert len(os.listdir(mounted.directory / "p")) == 500
        assert (mounted.directory / "p/r007").read_text() == '{"n":70}\n'


def test_concurrent_updates_lose_nothing(mounted: Mounted, client: Client) -> None:
    client.run('create /p/a {"log": []}')
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            with mounted.client() as own:
                for index in range(25):
                    own.run(f'update /p/a append log "{name}{index}"')
        except BaseException as error:  # noqa: BLE001 - told below
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    log = ask(client, "get /p/a | select log")[0][0]["log"]
    assert sorted(log) == sorted(f"{name}{index}" for name in "abc" for index in range(25))
    for name in "abc":
        assert [one for one in log if one[0] == name] == [f"{name}{n}" for n in range(25)]


def test_rollback_takes_records_back(mounted: Mounted, client: Client) -> None:
    made = client.run("create /p/a 1")
    client.run("checkpoint -l one")
    client.run("update /p/a set $ 2")
    client.run("create /p/b 3")
    client.run("rollback one")
    assert os.listdir(mounted.directory / "p") == ["a"]
    assert (mounted.directory / "p/a").read_text() == "1\n"
    assert ask(client, "get /p/a")[0][0]["version"] == made["version"]


def test_an_update_finds_what_was_written_through_a_mapping(
    mounted: Mounted, client: Client
) -> None:
    path = mounted.directory / "p/a"
    path.write_text('{"n": 1}')
    with path.open("r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapping:
        mapping[6:7] = b"7"  # no msync
        changed = client.run("update /p/a set m 2")
        assert changed["before"] == {"n": 7}
    assert path.read_text() == '{"n": 7, "m": 2}'


def test_a_killed_daemon_leaves_whole_batches(tmp_path: Path) -> None:
    """Batches one after the other until the daemon is killed: after it, each is there or not."""
    with Mounted(tmp_path) as mounted:
        (mounted.directory / "p").mkdir()
        for turn in range(3):
            confirmed = 0
            begun = threading.Event()

            def make(turn: int = turn, begun: threading.Event = begun) -> None:
                nonlocal confirmed
                with contextlib.suppress(AffsError), mounted.client() as client:
                    for batch in range(1000):
                        names = [f"/p/{turn}-{batch:04}-{n:02}" for n in range(40)]
                        made = [{"create": name, "value": {"b": batch}} for name in names]
                        client.command("batch", {"operations": made})
                        confirmed += 1
                        if confirmed == 5 + turn * 7:
                            begun.set()

            thread = threading.Thread(target=make)
            thread.start()
            assert begun.wait(60)
            mounted.kill()
            thread.join()
            mounted.start()
            found = [n for n in os.listdir(mounted.directory / "p") if n.startswith(f"{turn}-")]
            batches = {name.rsplit("-", 1)[0] for name in found}
            assert len(found) == 40 * len(batches)
            assert confirmed <= len(batches) <= confirmed + 1
            assert len(batches) == 1 + int(max(batches).split("-")[1])


def test_a_file_of_any_size_is_refused_before_it_is_read(mounted: Mounted, client: Client) -> None:
    """The path of a file with more in it than there is memory for is a slip, and nothing more."""
    path = mounted.directory / "p/image"
    path.touch()
    os.truncate(path, 1 << 44)
    os.link(path, mounted.directory / "p/again")
    for line in (
        "update /p/image set a 1", "erase /p/image --yes", "move /p/image /p/other", "get /p/image",
    ):  # fmt: skip
        error = code_of(client, line)
        assert error.code == "record.too_large"
        assert error.details["size"] == 1 << 44
    assert ask(client, "find /p | count")[0] == [{"count": 0}]
    assert path.stat().st_size == 1 << 44


def test_an_erased_name_does_not_come_back_to_a_file_that_is_no_record_any_more(
    mounted: Mounted, client: Client
) -> None:
    path = mounted.directory / "p/one"
    client.run("create /p/one 1")
    os.link(path, mounted.directory / "p/two")
    client.run("erase /p/one --yes")
    os.truncate(mounted.directory / "p/two", 1 << 44)
    assert code_of(client, "undo --yes").code == "record.too_large"
    assert not path.exists()
