"""How long a ping takes when many clients talk to a daemon whose mount is busy.

Each client has a connection of its own and pings once a period, so the number of requests a second
is given and what is measured is the wait. Beside it the same on a mount that has nothing to do.
Times are measured by a process that does nothing else. An error ends the measurement: no figure
could make up for it. Starvation shows in the client that missed the most of its turns.
"""

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import trio

from affs_ctl.trio_client import connect
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.bench.figures import Figure
from affs_tools.bench.mounts import affs_mount
from affs_tools.bench.requests import build_program

__all__ = ["measure_clients"]

PERIOD_S = 1.0
P99_MAX_MS = 50.0
MISSED_MAX_PERCENT = 20.0


async def _one(socket: str, index: int, count: int, seconds: float, found: list[float]) -> None:
    async with connect(socket, name=f"bench {index}") as client:
        await trio.sleep(PERIOD_S * index / count)
        end = trio.current_time() + seconds
        while (turn := trio.current_time()) < end:
            begun = time.perf_counter()
            await client.run("ping")
            found.append((time.perf_counter() - begun) * 1e3)
            await trio.sleep_until(turn + PERIOD_S)


async def _all(socket: str, count: int, seconds: float) -> list[list[float]]:
    found: list[list[float]] = [[] for _ in range(count)]
    async with trio.open_nursery() as nursery:
        for index, times in enumerate(found):
            nursery.start_soon(_one, socket, index, count, seconds, times)
    return found


class Pings(NamedTuple):
    """Of all clients, in milliseconds; missed: per cent of its turns, of the one that got the
    fewest."""

    median: float
    p99: float
    longest: float
    missed: float


def ping(socket: str, count: int, seconds: float) -> Pings:
    found = trio.run(_all, socket, count, seconds)
    parts = statistics.quantiles((one for times in found for one in times), n=100)
    turns = seconds / PERIOD_S
    missed = max(0.0, 100 * (1 - min(map(len, found)) / turns))
    return Pings(parts[49], parts[98], max(map(max, found)), missed)


@contextmanager
def _busy(program: Path, directory: Path) -> Iterator[None]:
    """Inside, small files are made, read and removed in the directory without a pause."""
    stop = threading.Event()
    rounds = [0]

    def work() -> None:
        while not stop.is_set():
            subprocess.run([program, directory, "500"], check=True, stdout=subprocess.DEVNULL)
            rounds[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    if not rounds[0]:
        raise RuntimeError("the load on the mount did not run")


def measure_clients(scratch: Path, place: Path, count: int, seconds: float) -> list[Figure]:
    """count: clients. place: where the volume's file goes."""
    program = build_program(scratch)
    volume = place / "clients.affs"
    socket = str(scratch / "c.sock")
    make_volume(str(volume), MkfsOptions(size_bytes=1 << 30))
    try:
        with affs_mount(volume, scratch / "clients", f"control={socket}"):
            idle = ping(socket, count, seconds)
            where = scratch / "clients/load"
            where.mkdir()
            with _busy(program, where):
                loaded = ping(socket, count, seconds)
    finally:
        volume.unlink()
    title = f"Ping, {count} clients, each every {PERIOD_S * 1e3:g} ms, the mount busy"
    basis = "the mount idle"
    return [
        Figure(title, "median", loaded.median, "ms", idle.median, basis),
        Figure(title, "99 %", loaded.p99, "ms", idle.p99, basis, value_max=P99_MAX_MS),
        Figure(title, "longest", loaded.longest, "ms", idle.longest, basis),
        Figure(
            title, "turns missed by the slowest client", loaded.missed, "%", idle.missed, basis,
            value_max=MISSED_MAX_PERCENT,
        ),
    ]
