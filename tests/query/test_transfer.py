"""Import and export by affsctl on a mounted volume: what becomes of files of the client."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mounted import END_TIMEOUT_S, ENVIRONMENT, Mounted, fsck
from test_query_mounted import ask

from affs_ctl.client import Client
from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Event

pytestmark = pytest.mark.mount


def affsctl(
    mounted: Mounted, *words: str, status: int = 0, input: bytes = b"", text: bool = False
) -> bytes:
    """What it writes; text: for people."""
    form = () if text else ("--jsonl",)
    done = subprocess.run(
        [sys.executable, "-m", "affs_ctl", "-V", str(mounted.directory), *form, *words],
        env=ENVIRONMENT, capture_output=True, check=False, timeout=END_TIMEOUT_S, input=input,
    )  # fmt: skip
    assert done.returncode == status, f"{words}: {done.stdout!r}{done.stderr!r}"
    return done.stdout if status in (0, 1) else done.stderr


def rows(output: bytes) -> list[dict]:
    return [json.loads(line) for line in output.splitlines()]


def contents(directory: Path) -> dict[str, object]:
    return {path.name: json.loads(path.read_text()) for path in directory.iterdir()}


def test_a_table_becomes_records_and_a_table_again(mounted: Mounted, tmp_path: Path) -> None:
    source = tmp_path / "people.csv"
    source.write_text('id,name,age\n7,"Anna, B.",31\n8,B/c,\n9,Carl,x\n7,Dora,2\n"bad\n../x,E,1\n')
    words = ("import", str(source), "/p", "--name", "id", "--types", "guess,age=integer")
    told = rows(affsctl(mounted, *words, "--dry-run", status=1))
    assert not list((mounted.directory / "p").iterdir())
    assert [(row["record"], row["line"], row["column"], row["code"]) for row in told] == [
        (3, 4, 8, "import.value"), (4, 5, 1, "record.exists"), (5, 6, 1, "import.value"),
    ]  # fmt: skip
    told = rows(affsctl(mounted, *words, "--report", str(tmp_path / "report"), status=1))
    assert told == []
    told = rows((tmp_path / "report").read_bytes())
    assert [(row["record"], row["code"]) for row in told] == [
        (3, "import.value"), (4, "record.exists"), (5, "import.value"),
    ]  # fmt: skip
    assert told[1]["name"] == "7"
    assert contents(mounted.directory / "p") == {
        "7": {"id": 7, "name": "Anna, B.", "age": 31}, "8": {"id": 8, "name": "B/c"},
        "..%2Fx": {"id": "../x", "name": "E", "age": 1},
    }  # fmt: skip
    target = tmp_path / "out.csv"
    export = ("export", "-o", str(target), "find /p | sort name | select id, name, age")
    assert affsctl(mounted, *export) == b""
    assert target.read_text() == 'id,name,age\n7,"Anna, B.",31\n8,B/c,\n../x,E,1\n'
    assert b"is there already" in mounted.run_affsctl(*export).stderr.encode()
    affsctl(mounted, "export", "--overwrite", *export[1:])
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_every_format_comes_back(mounted: Mounted, tmp_path: Path) -> None:
    values = [
        {"a": "1", "b": ""}, {"a": 'x,"\n', "b": "é"}, {"a": "null", "b": "\t"},
    ]  # fmt: skip
    typed = [*values, {"a": [1, None, True], "b": 2.5}, {"b": -0.0, "a": {"c": {}}}]
    odd = [*typed, {"a": auv.Char("x"), "b": b"\0\1"}, [1], "text", None, {"b": float("inf")}]
    for format, chosen, types in [
        ("jsonl", typed, ()), ("json", typed, ()), ("ajis", odd, ()), ("csv", values, ()),
        ("csv", typed, ("--types", "ajis")),
    ]:  # fmt: skip
        folder = mounted.directory / "p" / f"{format}{len(types)}"
        folder.mkdir()
        source = tmp_path / "source"
        source.write_text("".join(f"{auv.format_compact(value)}\n" for value in chosen))
        path = f"/p/{folder.name}"
        affsctl(mounted, "import", str(source), path, "--format", "ajis")
        made = [tmp_path / f"{folder.name}-{n}.{format}" for n in range(2)]
        affsctl(mounted, "export", *types, "-o", str(made[0]), f"find {path}")
        for file in folder.iterdir():
            file.unlink()
        affsctl(mounted, "import", str(made[0]), path, *types)
        affsctl(mounted, "export", *types, "-o", str(made[1]), f"find {path}")
        assert made[0].read_bytes() == made[1].read_bytes()
        back = [auv.parse(file.read_text()) for file in sorted(folder.iterdir())]
        assert auv.equal(back, chosen), format


def test_what_stands_in_the_way(mounted: Mounted, tmp_path: Path) -> None:
    lines = b'{"k": "a", "n": {"x": 1}}\n{"k": "b"}\n'
    words = ("import", "-", "/p", "--format", "jsonl", "--name", "k")
    affsctl(mounted, *words, input=lines)
    newer = b'{"k": "a", "n": {"y": 2}}\n{"k": "c"}\n{"k": "a", "z": 3}\n'
    assert len(rows(affsctl(mounted, *words, input=newer, status=1))) == 2
    (mounted.directory / "p/c").unlink()
    affsctl(mounted, *words, "--on-conflict", "skip", input=newer)
    assert contents(mounted.directory / "p")["a"] == {"k": "a", "n": {"x": 1}}
    affsctl(mounted, *words, "--on-conflict", "update", input=newer)
    assert contents(mounted.directory / "p")["a"] == {"k": "a", "n": {"x": 1, "y": 2}, "z": 3}
    affsctl(mounted, *words, "--on-conflict", "replace", input=newer)
    assert contents(mounted.directory / "p")["a"] == {"k": "a", "z": 3}
    (mounted.directory / "p/a").write_text("{no record")
    told = rows(affsctl(mounted, *words, "--on-conflict", "replace", input=newer, status=1))
    assert [row["code"] for row in told] == ["record.syntax"] * 2
    assert (mounted.directory / "p/a").read_text() == "{no record"


def test_all_or_nothing(mounted: Mounted) -> None:
    words = ("import", "-", "/p", "-f", "jsonl", "--name", "k", "--all-or-nothing")
    bad = b'{"k": 1}\n{"k": 1}\n'
    assert b"import.refused" in affsctl(mounted, *words, input=bad, status=2)
    assert not list((mounted.directory / "p").iterdir())
    many = b"".join(b'{"k": %d}\n' % number for number in range(1001))
    assert b"import.too_many" in affsctl(mounted, *words, input=many, status=2)
    affsctl(mounted, *words, input=many.rsplit(b"\n", 2)[0])
    assert len(list((mounted.directory / "p").iterdir())) == 1000


def test_errors_of_files_and_words_are_said(mounted: Mounted, tmp_path: Path) -> None:
    mounted.allowed.append("out of this user's reach")
    source = tmp_path / "x.jsonl"
    source.write_text("1\n")
    for words, code in [
        ((str(tmp_path / "none.csv"), "/p"), "cli.file"),
        ((str(source), "/none"), "record.not_found"),
        ((str(source), "/p", "--name", "a +"), "query.syntax"),
        ((str(source), "/p", "--name", "@path"), "query.field"),
        ((str(source), "/p", "--format", "csv", "--types", "x"), "import.types"),
        ((str(source), "/p", "--format", "csv", "--delimiter", "::"), "import.delimiter"),
        ((str(tmp_path / "x"), "/p"), "import.format"),
        ((str(source), "/p", "--resume"), "import.nothing"),
        ((str(source), "/p", "--name", "x" * 1025), "command.value"),
    ]:
        done = mounted.run_affsctl("import", *words)
        assert done.returncode
        assert json.loads(done.stderr)["error"]["code"] == code, words
    broken = b'[{"a": 1}, {"b": 2}'
    error = affsctl(mounted, "import", "-", "/p", "--format", "json", input=broken, status=2)
    assert json.loads(error)["error"]["details"]["created"] == 1
    assert len(rows(affsctl(mounted, "imports"))) == 1
    source.write_text('[{"a": 2}]')
    words = ("import", str(source), "/p", "--format", "json")
    assert b"import.unfinished" in affsctl(mounted, *words, status=14)
    assert b"import.changed" in affsctl(mounted, *words, "--resume", status=14)
    assert b"import.terms" in affsctl(
        mounted, "import", str(source), "/p", "--format", "csv", "--resume", status=14
    )
    source.write_bytes(broken + b', {"c": 3}]')
    affsctl(mounted, *words, "--resume")
    assert [path.name for path in sorted((mounted.directory / "p").iterdir())] == [
        "000000001", "000000002", "000000003",
    ]  # fmt: skip
    assert rows(affsctl(mounted, "imports")) == []
    affsctl(mounted, "import", "-", "/p", "--format", "json", "--name", "a",
            input=b'[{"a": 1},', status=2)  # fmt: skip
    affsctl(mounted, "drop-import", "/p")
    assert b"import.nothing" in affsctl(mounted, "drop-import", "/p", status=16)


def test_an_export_that_fails_leaves_no_file(mounted: Mounted, tmp_path: Path) -> None:
    (mounted.directory / "p/a").write_text('{"x": [1]}')
    (mounted.directory / "p/b").write_text("{no record")
    target = tmp_path / "x.csv"
    error = affsctl(mounted, "export", "-o", str(target), "find /p", status=2)
    assert json.loads(error)["error"]["code"] == "export.row"
    assert list(tmp_path.iterdir()) == []
    output = affsctl(mounted, "export", "find /p", status=1, text=True)
    assert output == b'{"x":[1]}\n'
    assert affsctl(mounted, "export", "find /none", status=16)
    (mounted.directory / "p/b").unlink()
    affsctl(mounted, "checkpoint", "-l", "exported")
    (mounted.directory / "p/a").write_text("2")
    words = ("export", "find /p as of exported")
    assert affsctl(mounted, *words, text=True) == b'{"x":[1]}\n'


def lines_of(count: int) -> bytes:
    return b"".join(
        b'{"k": "r%d", "pad": "%s"}\n' % (number, b"x" * 40) if number % 10 else b"{wrong\n"
        for number in range(count)
    )


def wanted_of(count: int) -> set[str]:
    return {f"r{number}" for number in range(count) if number % 10}


class Feeder:
    """An import whose bytes are sent one piece at a time."""

    def __init__(self, client: Client, *words: str) -> None:
        self._client = client
        self.call = client.start(" ".join(("import x /p --format jsonl --name k", *words)))
        events = (part.event for part in self.call if isinstance(part, Event))
        self.input = next((event["input"] for event in events if event["kind"] == "input"), "")
        if not self.input:
            self.call.result()

    def send(self, data: bytes, *, end: bool = False) -> None:
        """Returns when it was taken."""
        self._client.command("input", {"input": self.input, "data": data, "end": end})


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + END_TIMEOUT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("pieces", [1, 4])
def test_a_killed_daemon_lost_nothing_and_did_nothing_twice(tmp_path: Path, pieces: int) -> None:
    count = 3000
    data = lines_of(count)
    source = tmp_path / "x.jsonl"
    source.write_bytes(data)
    with Mounted(tmp_path) as mounted:
        (mounted.directory / "p").mkdir()
        with mounted.client() as client:
            feeder = Feeder(client)
            for at in range(pieces):
                feeder.send(data[at * 20_000 : (at + 1) * 20_000])
            wait_until(lambda: bool(client.run("imports")))
            client.run("commit")
            mounted.kill()
        mounted.start()
        [begun] = rows(affsctl(mounted, "imports"))
        there = {path.name for path in (mounted.directory / "p").iterdir()}
        assert begun["created"] == len(there)
        assert begun["offset"] <= 20_000 * pieces
        report = tmp_path / "report"
        affsctl(mounted, "import", str(source), "/p", "--resume", "--report", str(report), status=1)
        assert {path.name for path in (mounted.directory / "p").iterdir()} == wanted_of(count)
        told = {row["record"] for row in rows(report.read_bytes())}
        assert told >= {n + 1 for n in range(0, count, 10) if n + 1 > begun["records"]}
        mounted.unmount()
        fsck(mounted.volume)


def test_a_killed_client_and_a_rollback(mounted: Mounted, tmp_path: Path) -> None:
    count = 2000
    data = lines_of(count)
    source = tmp_path / "x.jsonl"
    source.write_bytes(data)
    half = len(data) // 2
    with mounted.client() as client:
        feeder = Feeder(client)
        feeder.send(data[:half])
        with pytest.raises(AffsError) as caught, mounted.client() as other:
            Feeder(other, "--resume").send(data)
        assert caught.value.code == "import.running"
        feeder.send(data[half : half + 500])
        client.run("checkpoint -l half")
    with mounted.client() as client:
        with pytest.raises(AffsError) as caught:
            client.command("input", {"input": feeder.input, "data": b"x"})
        assert caught.value.code == "input.closed"
        [begun] = client.run("imports")
        assert begun["source"] == "x"
    process = subprocess.Popen(
        [sys.executable, "-m", "affs_ctl", "-V", str(mounted.directory), "import", "-", "/p",
         "--resume"],
        env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    with process:
        assert process.stdin is not None
        process.stdin.write(data[: half + 20_000])
        process.stdin.flush()
        with mounted.client() as client:
            wait_until(lambda: client.run("imports")[0]["offset"] > begun["offset"])
        process.send_signal(signal.SIGKILL)
    for _ in range(2):
        affsctl(mounted, "import", str(source), "/p", "--resume", status=1)
        names = {path.name for path in (mounted.directory / "p").iterdir()}
        assert names == wanted_of(count)
        with mounted.client() as client:
            assert client.run("imports") == []
            client.run("rollback half --yes")
            [back] = client.run("imports")
            names = {path.name for path in (mounted.directory / "p").iterdir()}
            assert back["created"] == len(names) < len(wanted_of(count))
    affsctl(mounted, "drop-import", "/p")


def test_nobody_imports_more_than_they_may_write(mounted: Mounted) -> None:
    mounted.allowed += ["out of this user's reach", "policy.role"]
    with mounted.client() as client:
        client.run("grant 12345 operator --path /p")
        tokens = [client.run(f"create-token --role {role}")["secret"]["token"]
                  for role in ("observer", "operator")]  # fmt: skip
    (mounted.directory / "p").chmod(0o755)
    path = str(mounted.control)
    with Client.connect(path, auth={"token": tokens[0]}, timeout_s=END_TIMEOUT_S) as client:
        with pytest.raises(AffsError) as caught:
            client.run("import x /p --format jsonl")
        assert caught.value.code == "policy.role"
        assert ask(client, "export find /p")[1]["rows"] == 0
    with Client.connect(path, auth={"token": tokens[1]}, timeout_s=END_TIMEOUT_S) as client:
        feeder = Feeder(client)
        feeder.send(b'{"k": 1}\n', end=True)
        assert feeder.call.result()["created"] == 1
        entry = [one for one in client.run("log") if one["command"] == "import"][-1]
        assert entry["result"]["created"] == 1


def test_an_import_goes_on_where_the_directory_is_now(mounted: Mounted) -> None:
    with mounted.client() as client:
        feeder = Feeder(client)
        feeder.send(b'{"k": 1}\n{"k": 2')
        wait_until(lambda: bool(client.run("imports")))
        os.rename(mounted.directory / "p", mounted.directory / "q")
        feeder.send(b"}\n", end=True)
        with pytest.raises(AffsError) as caught:
            feeder.call.result()
        assert caught.value.code == "import.directory"
        assert client.run("imports")[0]["path"] == "/q"
        entry = client.run("log --failed")[-1]
        assert (entry["command"], entry["error"]) == ("import", "import.directory")
    affsctl(mounted, "import", "-", "/q", "--resume", input=b'{"k": 1}\n{"k": 2}\n')
    assert sorted(os.listdir(mounted.directory / "q")) == ["1", "2"]
