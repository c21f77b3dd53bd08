"""kill -9 of the daemon at random moments under a writing load (semantics.md, promises 1 and 2).

Each reopening must find a prefix of what the writer did, with everything that was fsynced, and a
volume that fsck.affs calls clean. AFFS_KILL_ROUNDS sets how many (the issue's 50; the short form
takes fewer).
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mounted import ENVIRONMENT, Mounted

ROUNDS = int(os.environ.get("AFFS_KILL_ROUNDS", "6"))
SEED = int(os.environ.get("AFFS_KILL_SEED", "20260101"))
KEPT = 20
"""Files that the writer leaves; older ones it deletes."""

WRITER = """
import os, sys
root, log, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
acknowledged = os.open(log, os.O_WRONLY | os.O_APPEND)
os.chdir(root)
os.write(1, b"here")  # before the mount goes away: else this would write below the mount point
try:
    while True:
        with open("new", "wb", buffering=0) as file:
            file.write(b"%08d" % number * (1 + number % 3000))
            if number % 5 == 0:
                os.fsync(file.fileno())
        os.rename("new", f"f{number:08}")
        if number % 5 == 1:
            folder = os.open(".", os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
            os.write(acknowledged, b"%d\\n" % number)
        if number >= 20:
            os.unlink(f"f{number - 20:08}")
        number += 1
except OSError:
    pass
"""


def content_of(number: int) -> bytes:
    return b"%08d" % number * (1 + number % 3000)


def check_prefix(directory: Path, acknowledged: int) -> int:
    """The number of the newest file; everything that it implies is there, and nothing else."""
    names = sorted(name for name in os.listdir(directory) if name != "new")
    numbers = [int(name[1:]) for name in names]
    newest = numbers[-1] if numbers else -1
    assert newest >= acknowledged, f"{newest} is there, {acknowledged} was acknowledged"
    # Steps of one file: rename, delete the 20th before it. So KEPT or one more are there.
    first = max(0, newest - KEPT + 1)
    wanted = list(range(first, newest + 1))
    assert numbers in (wanted, [first - 1, *wanted])
    for number in numbers:
        assert (directory / f"f{number:08}").read_bytes() == content_of(number)
    return newest


def fsck(volume: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "affs_tools.fsck", "--data", str(volume)],
        env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.timeout(60 + 6 * ROUNDS)
def test_a_prefix_survives(folder: Path) -> None:
    chance = random.Random(SEED)
    log = folder / "acknowledged"
    log.write_bytes(b"")
    # Commits come from the timer as well as from fsync.
    mounted = Mounted(folder, options="commit_interval=0.05")
    newest = -1
    try:
        for turn in range(ROUNDS):
            mounted.start()
            newest = check_prefix(mounted.directory, newest)
            # Finish the step that was cut off: the next writer begins with a new one.
            (mounted.directory / f"f{newest - KEPT:08}").unlink(missing_ok=True)
            with subprocess.Popen(
                [sys.executable, "-c", WRITER, mounted.directory, log, str(newest + 1)],
                stdout=subprocess.PIPE,
            ) as writer:
                assert writer.stdout is not None
                assert writer.stdout.read(4) == b"here"
                time.sleep(0.05 + chance.random() * 0.4)
                mounted.kill()
                writer.wait(20)
            lines = log.read_bytes().split()
            newest = max(newest, int(lines[-1]) if lines else -1)
            fsck(mounted.volume)
            assert newest >= 0 or turn == 0
        mounted.start()
        check_prefix(mounted.directory, newest)
        mounted.unmount()
    finally:
        mounted.close()
    mounted.allowed = ["did not close", "unclean", "not closed"]
    mounted.check_log()
    fsck(mounted.volume)
