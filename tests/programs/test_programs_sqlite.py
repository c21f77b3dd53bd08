"""SQLite on the mount, with both journals: work, a daemon killed in the middle, integrity."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from mounted import Mounted
from program import run

# EXTRA: less does not wait for the journal's removal to be durable, so the last transaction may be
# rolled back after a crash on any filesystem.
WRITER = """
import sqlite3, sys
base = sqlite3.connect("data.db", isolation_level=None)
base.execute("PRAGMA journal_mode=" + sys.argv[1])
base.execute("PRAGMA synchronous=EXTRA")
base.execute("CREATE TABLE IF NOT EXISTS t (n INTEGER PRIMARY KEY, text TEXT)")
base.execute("CREATE INDEX IF NOT EXISTS i ON t (text)")
n = base.execute("SELECT coalesce(max(n), 0) FROM t").fetchone()[0]
while True:
    base.execute("BEGIN IMMEDIATE")
    for _ in range(5):
        n += 1
        base.execute("INSERT INTO t VALUES (?, ?)", (n, "text %d " % (n * 7919 % 1000) * 20))
    base.execute("COMMIT")
    print(n, flush=True)
"""


def check(path: Path) -> int:
    """The database is sound; its last row."""
    with sqlite3.connect(path) as base:
        assert base.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        count, last = base.execute("SELECT count(*), max(n) FROM t").fetchone()
        assert count == last
    base.close()
    return int(last)


@pytest.mark.parametrize("journal", ["WAL", "DELETE", "TRUNCATE", "PERSIST"])
def test_killed_in_the_middle(mounted: Mounted, journal: str) -> None:
    """Every transaction that was told committed is there; none is there in part."""
    path = mounted.directory / "data.db"
    for _ in range(2):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, journal],
            cwd=mounted.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert writer.stdout is not None
        for _ in range(40):
            told = int(writer.stdout.readline())
        mounted.kill()
        lines = writer.communicate(timeout=60)[0].split()
        told = int(lines[-1]) if lines else told
        mounted.start()
        last = check(path)
        assert last in (told, told + 5)


@pytest.mark.parametrize("journal", ["WAL", "DELETE"])
def test_several_processes(mounted: Mounted, journal: str) -> None:
    program = WRITER.replace("while True:", "for _ in range(40):").replace(
        'n = base.execute("SELECT coalesce(max(n), 0) FROM t").fetchone()[0]\n', "n = 0\n"
    )
    program = program.replace(
        "        n += 1\n        base.execute(\"INSERT INTO t VALUES (?, ?)\", (n,",
        "        n += 1\n        base.execute(\"INSERT INTO t (text) VALUES (?)\", (",
    ).replace("* 20))", "* 20,))")
    program = program.replace('connect("data.db", ', 'connect("data.db", timeout=60, ')
    # Changing the mode takes a lock that sqlite does not wait for, on any filesystem.
    with closing(sqlite3.connect(mounted.directory / "data.db")) as base:
        base.execute(f"PRAGMA journal_mode = {journal}")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", program, journal],
            cwd=mounted.directory,
            stdout=subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    assert [writer.wait(60) for writer in writers] == [0, 0, 0]
    assert check(mounted.directory / "data.db") == 3 * 40 * 5


def test_the_program(mounted: Mounted) -> None:
    root = mounted.directory
    run("sqlite3", "a.db", "CREATE TABLE t(x); INSERT INTO t VALUES (1), (2);", cwd=root)
    run("sqlite3", "a.db", "VACUUM INTO 'b.db'; VACUUM;", cwd=root)
    assert run("sqlite3", "b.db", "SELECT sum(x) FROM t", cwd=root) == "3\n"
    assert run("sqlite3", "a.db", "PRAGMA integrity_check", cwd=root) == "ok\n"
