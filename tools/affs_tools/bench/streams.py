"""Large files: written through to the device, and read back cold, beside the host's filesystem."""

import subprocess
import time
from pathlib import Path

from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.bench.figures import Figure
from affs_tools.bench.mounts import affs_mount, drop_caches

__all__ = ["measure_streams"]

TIMES_MAX = 2.0
"""Half the host's speed is twice its time."""

BASIS = "the filesystem that the volume's file lies on"


def write_s(path: Path, mebibytes: int) -> float:
    """Seconds that dd takes, fsync included."""
    command = ["dd", "if=/dev/zero", f"of={path}", "bs=1M", f"count={mebibytes}", "conv=fsync"]
    return _timed(command)


def read_s(path: Path) -> float:
    return _timed(["dd", f"if={path}", "of=/dev/null", "bs=1M"])


def _timed(command: list[str]) -> float:
    begin = time.monotonic()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - begin


def measure_streams(scratch: Path, place: Path, mebibytes: int, rounds: int) -> list[Figure]:
    """place: a folder on a disk filesystem."""
    volume, plain = place / "streams.affs", place / "streams.plain"
    make_volume(str(volume), MkfsOptions(size_bytes=(mebibytes * 3 << 20) + (256 << 20)))
    writes: list[list[float]] = [[], []]
    reads: list[list[float]] = [[], []]
    try:
        for _ in range(rounds):
            writes[0].append(write_s(plain, mebibytes))
            if drop_caches():
                reads[0].append(read_s(plain))
            plain.unlink()
            with affs_mount(volume, scratch / "affs"):
                file = scratch / "affs" / "stream"
                writes[1].append(write_s(file, mebibytes))
            with affs_mount(volume, scratch / "affs"):
                if drop_caches():
                    reads[1].append(read_s(file))
                file.unlink()
    finally:
        volume.unlink(missing_ok=True)
        plain.unlink(missing_ok=True)
    section = f"Streams of {mebibytes} MiB"
    written = "dd bs=1M conv=fsync"
    figures = [
        Figure(section, written, min(writes[1]), "s", min(writes[0]), BASIS, TIMES_MAX)
    ]
    if reads[0]:
        figures.append(
            Figure(section, "cold read", min(reads[1]), "s", min(reads[0]), BASIS, TIMES_MAX)
        )
    return figures
