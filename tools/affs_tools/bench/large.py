"""A volume with very many files: opening it, one small commit, and a rollback of ten files.

The volume is made through the library (the mount would only add its requests). Each figure is taken
in a process of its own, so that no cache of the making helps.
"""

import json
import stat
import subprocess
import sys
import time
from pathlib import Path

from affs_ctl.client import Client
from affs_ctl.discover import find
from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.bench.figures import Figure
from affs_tools.bench.mounts import affs_mount
from affs_tools.library import Library

__all__ = ["measure_large"]

FILES_A_DIRECTORY = 1000
FILES_A_COMMIT = 50_000
CHANGED_FILES = 10

OPEN_S_MAX = 1.0
OPEN_MIB_MAX = 300.0
ROLLBACK_MS_MAX = 200.0
COMMIT_MS_MAX = 50.0


def make_large(path: Path, files: int) -> None:
    """files empty ones in directories of a thousand, published."""
    size = max(1 << 30, files * 4096)
    make_volume(str(path), MkfsOptions(size_bytes=size))
    with Library(str(path)) as library:
        made = 0
        while made < files:
            number = library.mkdir(b"d%05d" % (made // FILES_A_DIRECTORY))
            for index in range(min(FILES_A_DIRECTORY, files - made)):
                library.call(
                    library.namespace.mknod, number, b"f%05d" % index, stat.S_IFREG | 0o644, 0,
                    library.credentials,
                )
                made += 1
            if made % FILES_A_COMMIT < FILES_A_DIRECTORY:
                library.commit()
        library.publish()


def change_some(library: Library) -> None:
    for index in range(CHANGED_FILES):
        library.write(b"d00000/f%05d" % index, b"changed")


def peak_mib(process: int | str) -> float:
    """The most memory that a process has had resident. (getrusage counts its parent's, too.)"""
    status = Path(f"/proc/{process}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(peak.split()[1]) / 1024


def probe(path: str) -> dict[str, float]:
    """What one process measures: opening, a commit, a rollback; milliseconds and MiB."""
    begin = time.monotonic()
    library = Library(path)
    library.number(b"d00000/f00000")
    opened = time.monotonic()
    open_mib = peak_mib("self")
    commits = []
    for index in range(5):
        library.write(b"small", b"%d" % index)
        start = time.monotonic()
        library.commit()
        commits.append((time.monotonic() - start) * 1e3)
    change_some(library)
    library.commit()
    target = library.volume.states.resolve("published")
    start = time.monotonic()
    library.rollback(target)
    rolled_back = time.monotonic()
    library.number(b"d00000/f00000")
    library.close()
    return {
        "open_s": opened - begin,
        "open_mib": open_mib,
        "commit_ms": sorted(commits)[len(commits) // 2],
        "rollback_ms": (rolled_back - start) * 1e3,
    }


def mounted_rollback_ms(volume: Path, directory: Path) -> tuple[float, float]:
    """Milliseconds until `rollback` answers on the live mount, and the daemon's MiB before it."""
    with affs_mount(volume, directory) as process:
        for index in range(CHANGED_FILES):
            (directory / "d00000" / f"f{index:05d}").write_bytes(b"changed")
        resident_mib = peak_mib(process.pid)
        with Client.connect(find(str(directory)).socket) as client:
            begin = time.monotonic()
            client.run("rollback --yes")
            took = (time.monotonic() - begin) * 1e3
        if (directory / "d00000" / "f00000").read_bytes():
            raise RuntimeError("the rollback did not bring the old content back")
    return took, resident_mib


def measure_large(scratch: Path, place: Path, files: int) -> list[Figure]:
    """place: where the volume goes; a tmpfs shows the engine, a disk the device."""
    volume = place / "large.affs"
    begin = time.monotonic()
    make_large(volume, files)
    making_s = time.monotonic() - begin
    try:
        done = subprocess.run(
            [sys.executable, "-m", "affs_tools.bench.large", str(volume)],
            check=True, stdout=subprocess.PIPE, text=True,
        )
        found: dict[str, float] = json.loads(done.stdout)
        mounted_ms, mounted_mib = mounted_rollback_ms(volume, scratch / "affs")
    finally:
        volume.unlink()
    section = f"A volume of {files:,} files"
    changed = f"{CHANGED_FILES} files differ"
    return [
        Figure(section, "made through the library", making_s, "s"),
        Figure(section, "open", found["open_s"], "s", value_max=OPEN_S_MAX),
        Figure(section, "memory after opening", found["open_mib"], "MiB", value_max=OPEN_MIB_MAX),
        Figure(
            section, "commit of a small change", found["commit_ms"], "ms", value_max=COMMIT_MS_MAX
        ),
        Figure(
            section, f"rollback, {changed}", found["rollback_ms"], "ms",
            value_max=ROLLBACK_MS_MAX,
        ),
        Figure(
            section, f"rollback on the mount, {changed}", mounted_ms, "ms",
            value_max=ROLLBACK_MS_MAX,
        ),
        Figure(section, "memory of the daemon", mounted_mib, "MiB", value_max=OPEN_MIB_MAX),
    ]


if __name__ == "__main__":
    print(json.dumps(probe(sys.argv[1])))
