"""Records by command, and queries over them, beside sqlite3 with the same values in one table.

The volume and the database lie on tmpfs, and everything goes through the control socket, as a
client would. The table has one column, the record as JSON. First both read everything; then both
get an index of the field that is sorted by, and of one that is looked up, and the same queries come
once more, at last of a kept state (which sqlite3 has none of).
"""

import json
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from affs_ctl.client import Client
from affs_ctl.discover import find
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.bench.figures import Figure
from affs_tools.bench.large import peak_mib
from affs_tools.bench.mounts import affs_mount

__all__ = ["measure_records"]

BATCH = 500
SINGLE = 200
ROUNDS = 3
BYTES_A_RECORD = 8192
"""Of the volume: room that batches ask for, beside what records take."""

INDEXED = ("score", "id", "home.city")
INDEXED_ROUNDS = 20
SCANS_MIN = 50.0
"""How many times faster than by scan a query by index has to be."""

INDEXED_RATIO_MAX = 10.0
QUERY_S_MAX = 3.0
BATCH_US_MAX = 500.0
SINGLE_MS_MAX = 5.0
DAEMON_MIB_MAX = 300.0

FILTER = (
    'find /r where age >= 30 and name like "name 1%" | sort score desc, id | limit 10 | select *',
    "SELECT data FROM r WHERE json_extract(data, '$.age') >= 30"
    " AND json_extract(data, '$.name') LIKE 'name 1%'"
    " ORDER BY json_extract(data, '$.score') DESC, json_extract(data, '$.id') LIMIT 10",
)
LOOKUP = (
    "find /r where id = {0} | select *",
    "SELECT data FROM r WHERE json_extract(data, '$.id') = {0}",
)
GROUP = (
    "find /r | group count() as n, avg(score) as score by home.city as city | sort city",
    "SELECT json_extract(data, '$.home.city') AS city, count(*), avg(json_extract(data, '$.score'))"
    " FROM r GROUP BY city ORDER BY city",
)
ALONE = (
    ("counted by an index alone", "find /r where id >= {0} | count",
     "SELECT count(*) FROM r WHERE json_extract(data, '$.id') >= {0}"),
    ("least and greatest by an index alone", "find /r | group min(id) as least, max(id) as most",
     "SELECT (SELECT min(json_extract(data, '$.id')) FROM r),"
     " (SELECT max(json_extract(data, '$.id')) FROM r)"),
    ("groups counted by an index alone",
     "find /r | group count() as n by home.city as city | sort city",
     "SELECT json_extract(data, '$.home.city') AS city, count(*) FROM r GROUP BY city"
     " ORDER BY city"),
)  # fmt: skip


def records(count: int) -> Iterator[dict[str, Any]]:
    """Always the same ones."""
    chance = random.Random(9)
    for number in range(count):
        yield {
            "id": number,
            "name": f"name {number % 1000}",
            "age": chance.randrange(100),
            "score": chance.random(),
            "home": {"city": f"city {number % 50}", "zip": f"{number % 9999:05}"},
            "tags": ["x", "y"],
        }


def measure_records(scratch: Path, memory: Path, count: int) -> list[Figure]:
    """count: of the records that are made and asked."""
    volume, directory = memory / "records.affs", scratch / "records"
    make_volume(str(volume), MkfsOptions(size_bytes=max(1 << 29, count * BYTES_A_RECORD)))
    database = sqlite3.connect(memory / "records.db")
    try:
        with affs_mount(volume, directory) as process:
            (directory / "r").mkdir()
            (directory / "single").mkdir()
            with Client.connect(find(str(directory)).socket, timeout_s=60) as client:
                figures = _making(client, database, count)
                figures += _asking(client, database, count)
                scan = figures[-2].value
                figures += _asking_indexes(client, database, count, scan)
            peak = peak_mib(process.pid)
            figures.append(_figure("memory of the daemon", peak, "MiB", 0.0, DAEMON_MIB_MAX))
    finally:
        database.close()
    return figures


_SECTION = "Records (beside: sqlite3)"


def _figure(what: str, value: float, unit: str, base: float, limit: float) -> Figure:
    return Figure(_SECTION, what, value, unit, base, "", value_max=limit)


def _making(client: Client, database: sqlite3.Connection, count: int) -> list[Figure]:
    batch: list[dict[str, Any]] = []
    spent = 0.0
    for number, value in enumerate(records(count)):
        batch.append({"create": f"/r/{number:07}", "value": value})
        if len(batch) == BATCH or number + 1 == count:
            begin = time.perf_counter()
            client.command("batch", {"operations": batch})
            spent += time.perf_counter() - begin
            batch = []
    database.execute("CREATE TABLE r (data TEXT)")
    begin = time.perf_counter()
    rows = [(json.dumps(value),) for value in records(count)]
    for start in range(0, count, BATCH):
        with database:
            database.executemany("INSERT INTO r VALUES (?)", rows[start : start + BATCH])
    theirs = time.perf_counter() - begin
    single = []
    for number, value in enumerate(records(SINGLE)):
        begin = time.perf_counter()
        client.command("create", {"path": f"/single/{number}", "value": value})
        single.append(time.perf_counter() - begin)
    database.execute("CREATE TABLE s (data TEXT)")
    base = []
    for row in rows[:SINGLE]:
        begin = time.perf_counter()
        with database:
            database.execute("INSERT INTO s VALUES (?)", row)
        base.append(time.perf_counter() - begin)
    return [
        _figure(f"making one, in batches of {BATCH}", spent / count * 1e6, "us",
                theirs / count * 1e6, BATCH_US_MAX),
        _figure("making one alone, with its commit", sum(single) / len(single) * 1e3, "ms",
                sum(base) / len(base) * 1e3, SINGLE_MS_MAX),
    ]  # fmt: skip


def _asking(client: Client, database: sqlite3.Connection, count: int) -> list[Figure]:
    figures = []
    for what, (line, statement), limit in (
        (f"filter, sort, limit over {count:,}", FILTER, QUERY_S_MAX),
        (f"group by a field over {count:,}", GROUP, 0.0),
    ):
        ours, theirs = [], []
        for _ in range(ROUNDS):
            begin = time.perf_counter()
            call = client.start(line)
            call.result()
            ours.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            rows = database.execute(statement).fetchall()
            theirs.append(time.perf_counter() - begin)
        _compare(call.items, rows)
        figures.append(_figure(what, median(ours), "s", median(theirs), limit))
    return figures


def _asking_indexes(
    client: Client, database: sqlite3.Connection, count: int, scan: float
) -> list[Figure]:
    """scan: seconds of the first query without an index."""
    figures = []
    for field in INDEXED:
        begin = time.perf_counter()
        client.command("index", {"path": "/r", "expression": field})
        ours = time.perf_counter() - begin
        begin = time.perf_counter()
        with database:
            name = field.replace(".", "_")
            database.execute(f"CREATE INDEX r_{name} ON r (json_extract(data, '$.{field}'))")
        theirs = time.perf_counter() - begin
        figures.append(_figure(f"an index of {field} built", ours, "s", theirs, 0.0))
    state = client.command("checkpoint", {})["id"]
    lookup = tuple(text.format(count // 2) for text in LOOKUP)
    least = scan / SCANS_MIN * 1e3
    for what, (line, statement), ratio, limit in (
        ("filter, sort, limit by index", FILTER, INDEXED_RATIO_MAX, least),
        ("the same of a kept state",
         (FILTER[0].replace("find /r", f"find /r as of {state}"), FILTER[1]), INDEXED_RATIO_MAX,
         least),
        # No ratio: a request alone takes longer than SQLite.
        ("one record looked up by index", lookup, 0.0, least),
        *((what, (line.format(count // 2), statement.format(count // 2)), 0.0, 0.0)
          for what, line, statement in ALONE),
    ):  # fmt: skip
        times, base = [], []
        for _ in range(INDEXED_ROUNDS):
            begin = time.perf_counter()
            call = client.start(line)
            summary = call.result()
            times.append(time.perf_counter() - begin)
            begin = time.perf_counter()
            rows = database.execute(statement).fetchall()
            base.append(time.perf_counter() - begin)
        assert summary["index"] in INDEXED, summary
        _compare(call.items, rows)
        ours, theirs = median(times) * 1e3, median(base) * 1e3
        figures.append(Figure(
            _SECTION, what, ours, "ms", theirs, ratio_max=ratio, value_max=limit,
        ))  # fmt: skip
    return figures


def _compare(items: list[Any], rows: list[tuple[Any, ...]]) -> None:
    """Both give the same."""
    assert len(items) == len(rows) > 0
    for item, row in zip(items, rows, strict=True):
        if isinstance(row[0], str) and row[0].startswith("{"):
            assert item == json.loads(row[0])
        elif "score" in item:
            assert item["city"] == row[0]
            assert item["n"] == row[1]
            assert abs(item["score"] - row[2]) < 1e-9
        else:
            assert tuple(item.values()) == row
