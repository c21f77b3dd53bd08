"""How long `affsctl ping` takes, from its start to its end, beside a Python that does nothing."""

import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.bench.figures import Figure
from affs_tools.bench.mounts import affs_mount

__all__ = ["measure_start"]

MS_MAX = 150.0


def _took_ms(command: Sequence[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (time.perf_counter() - begun) * 1e3


def measure_start(scratch: Path, place: Path, rounds: int) -> list[Figure]:
    """place: where the volume's file goes. The medians of rounds that take turns."""
    volume = place / "start.affs"
    make_volume(str(volume), MkfsOptions(size_bytes=64 << 20))
    directory = scratch / "start"
    ping = [sys.executable, "-m", "affs_ctl", "-V", str(directory), "ping"]
    empty = [sys.executable, "-c", "pass"]
    pairs = []
    try:
        with affs_mount(volume, directory, f"control={scratch / 's.sock'}"):
            for _ in range(rounds):
                pairs.append((_took_ms(ping), _took_ms(empty)))
    finally:
        volume.unlink()
    took, base = (statistics.median(one) for one in zip(*pairs, strict=True))
    return [
        Figure(
            "Starting affsctl", "affsctl ping", took, "ms", base, "python -c pass",
            value_max=MS_MAX,
        )
    ]
