"""What one operation on a small file costs, beside a filesystem that stores nothing.

Both are mounted the same way and measured in turns; of several rounds the best counts, since a
neighbour can only make a round slower.
"""

import shutil
import subprocess
from pathlib import Path

from affs_fuse.volume.mkfs import MkfsOptions, make_volume
from affs_tools.bench.figures import Figure
from affs_tools.bench.mounts import affs_mount, null_mount

__all__ = ["build_program", "measure_requests"]

RATIO_MAX = 2.0
SOURCE = Path(__file__).with_name("small_files.c")


def build_program(folder: Path) -> Path:
    """The C program of the passes, compiled."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise RuntimeError("no C compiler; install gcc")
    program = folder / "small_files"
    subprocess.run([compiler, "-O2", "-Wall", "-o", str(program), str(SOURCE)], check=True)
    return program


def run_passes(program: Path, directory: Path, count: int) -> dict[str, float]:
    """Microseconds an operation by the name of the pass."""
    where = directory / "passes"
    where.mkdir(exist_ok=True)
    done = subprocess.run(
        [program, where, str(count)], check=True, stdout=subprocess.PIPE, text=True
    )
    return {name: float(us) for name, us in (line.split("\t") for line in done.stdout.splitlines())}


def measure_requests(scratch: Path, place: Path, count: int, rounds: int) -> list[Figure]:
    """count: files a pass. place: where the volume's file goes."""
    program = build_program(scratch)
    volume = place / "requests.affs"
    make_volume(str(volume), MkfsOptions(size_bytes=1 << 30))
    best: list[dict[str, float]] = [{}, {}]
    try:
        for _ in range(rounds):
            with null_mount(scratch / "null"):
                _keep_best(best[0], run_passes(program, scratch / "null", count))
            with affs_mount(volume, scratch / "affs"):
                _keep_best(best[1], run_passes(program, scratch / "affs", count))
    finally:
        volume.unlink()
    return [
        Figure(
            "Small files through the mount", name, best[1][name], "us", base,
            "a pyfuse3 filesystem that stores nothing, ACLs on, write-through", RATIO_MAX,
        )
        for name, base in best[0].items()
    ]


def _keep_best(best: dict[str, float], found: dict[str, float]) -> None:
    for name, value in found.items():
        best[name] = min(value, best.get(name, value))
