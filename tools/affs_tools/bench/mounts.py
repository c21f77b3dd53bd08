"""Mounts that last as long as a `with` block: AfFS, and the filesystem that stores nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["affs_mount", "drop_caches", "null_mount"]

MOUNT_TIMEOUT_S = 30.0
END_TIMEOUT_S = 120.0


@contextmanager
def affs_mount(volume: Path, directory: Path, options: str = "") -> Iterator[subprocess.Popen[str]]:
    """Mount a volume; the daemon's process. Its last commit is written when the block ends."""
    command = [sys.executable, "-m", "affs_fuse.daemon.main", "--foreground"]
    words = ["-o", options] if options else []
    with _mounted([*command, str(volume), str(directory), *words], directory) as process:
        yield process


@contextmanager
def null_mount(directory: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "affs_tools.bench.nullfs", str(directory)]
    with _mounted(command, directory) as process:
        yield process


@contextmanager
def _mounted(command: list[str], directory: Path) -> Iterator[subprocess.Popen[str]]:
    directory.mkdir(parents=True, exist_ok=True)
    log = directory.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(command, text=True, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + MOUNT_TIMEOUT_S
        while not os.path.ismount(directory):
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"not mounted: {' '.join(command)}\n{log.read_text()}")
            time.sleep(0.02)
        yield process
    finally:
        _unmount(directory, process)


def _unmount(directory: Path, process: subprocess.Popen[str]) -> None:
    if os.path.ismount(directory):
        unmount = ["umount"] if os.geteuid() == 0 else ["fusermount3", "-u"]
        done = subprocess.run([*unmount, str(directory)], check=False)
        if done.returncode:  # busy: the daemon takes the mount away by itself when told to end
            process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise


def drop_caches() -> bool:
    """Make the host forget all clean pages and inodes; False where that takes rights that we
    lack."""
    os.sync()
    with suppress(OSError):
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
        return True
    return False
