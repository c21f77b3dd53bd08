"""Import and export of many records, beside sqlite3 that reads the same lines into one table.

The volume, the input and the database lie on tmpfs. affsctl moves the bytes, as it would for
anybody, and every piece of the input is durable before the next is taken; sqlite3 commits as often.
"""

import json
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.bench.figures import Figure
from affs_tools.bench.large import peak_mib
from affs_tools.bench.mounts import affs_mount
from affs_tools.bench.records import records

__all__ = ["measure_transfer"]

BYTES_A_RECORD = 1024
LINES_A_COMMIT = 2000
"""Of the base: about a piece of an import."""

DAEMON_MIB_MAX = 300.0


def measure_transfer(scratch: Path, memory: Path, count: int) -> list[Figure]:
    """count: of the records of one import."""
    volume, directory = memory / "transfer.affs", scratch / "transfer"
    source = memory / "records.jsonl"
    make_volume(str(volume), MkfsOptions(size_bytes=max(1 << 29, count * BYTES_A_RECORD)))
    with source.open("w") as file:
        file.writelines(f"{json.dumps(record)}\n" for record in records(count))
    theirs = _sqlite(memory / "transfer.db", source)
    with affs_mount(volume, directory) as process:
        (directory / "r").mkdir()
        ours = _affsctl(directory, "import", str(source), "/r", "--name", "id")
        imported = peak_mib(process.pid)
        target = memory / "out.jsonl"
        out = _affsctl(directory, "export", "-o", str(target), "list records /r")
        lines = sum(1 for _ in target.open("rb"))
        assert lines == count, f"{lines} of {count} records came out again"
        exported = peak_mib(process.pid)
    each = 1e6 / count
    return [
        _figure(f"import of {count:,} records, each", ours * each, "us", theirs * each),
        _figure("export, each", out * each, "us"),
        _figure("memory of the daemon, importing", imported, "MiB", limit=DAEMON_MIB_MAX),
        _figure("memory of the daemon, afterwards", exported, "MiB", limit=DAEMON_MIB_MAX),
    ]


def _figure(what: str, value: float, unit: str, base: float = 0.0, limit: float = 0.0) -> Figure:
    return Figure("Transfer (beside: sqlite3)", what, value, unit, base, "", value_max=limit)


def _affsctl(directory: Path, *words: str) -> float:
    """Seconds."""
    begin = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "affs_ctl", "-V", str(directory), "-q", *words], check=True
    )
    return time.perf_counter() - begin


def _sqlite(path: Path, source: Path) -> float:
    """Seconds for the same lines as rows of one column, parsed and keyed by their id."""
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE r (id TEXT PRIMARY KEY, data TEXT)")
    begin = time.perf_counter()
    with source.open() as file:
        while batch := [line for _, line in zip(range(LINES_A_COMMIT), file, strict=False)]:
            with database:
                rows = ((json.loads(line)["id"], line) for line in batch)
                database.executemany("INSERT INTO r VALUES (?, ?)", rows)
    spent = time.perf_counter() - begin
    database.close()
    return spent
