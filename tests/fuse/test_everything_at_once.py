"""Everything at once: processes that change files, and all verbs in random order; then fsck.

AFFS_BUSY_SECONDS sets for how long, AFFS_BUSY_SEED with which choices.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mounted import ENVIRONMENT, Mounted, fsck

from affs_fuse.errors import AffsError

SECONDS = float(os.environ.get("AFFS_BUSY_SECONDS", "4"))
SEED = int(os.environ.get("AFFS_BUSY_SEED", "7"))
PROGRAM = Path(__file__).with_name("busy_writer.py")

# What a verb may answer here; anything else is a fault.
EXPECTED = {
    "state.none_published", "state.nothing_to_undo", "state.published", "state.not_found",
    "volume.no_space",
}


class Verbs:
    """Random verbs over one connection."""

    def __init__(self, mounted: Mounted, chance: random.Random) -> None:
        self.client = mounted.client()
        self.chance = chance
        self.labels: list[str] = []
        self.made = 0

    def line(self) -> str:
        kinds = [
            "checkpoint", "publish", "rollback", "rollback --undo", "rollback --discard --yes",
            "rollback --dry-run", "diff", "commit", "status", "to", "delete",
        ]
        kind = self.chance.choice(kinds)
        if kind == "checkpoint":
            self.made += 1
            self.labels.append(f"L{self.made}")
            return f"checkpoint -l L{self.made}"
        if kind == "to":
            return f"rollback {self.chance.choice(self.labels)}" if self.labels else "ping"
        if kind == "delete" and self.labels:
            label = self.labels.pop(self.chance.randrange(len(self.labels)))
            return f"delete {label} --yes"
        return "df" if kind == "delete" else kind

    def run(self) -> None:
        line = self.line()
        try:
            self.client.start(line).result(timeout_s=30)
        except AffsError as error:
            if error.code not in EXPECTED:
                raise AssertionError(f"{line}: {error.code}: {error}") from error


@pytest.mark.parametrize("size_mib", [192, 72])
@pytest.mark.timeout(120 + 2 * SECONDS)
def test_verbs_among_writers(folder: Path, size_mib: int) -> None:
    """72 MiB fill up: then there is no space again and again."""
    chance = random.Random(SEED)
    with Mounted(folder, size_bytes=size_mib << 20, options="commit_interval=0.3") as mounted:
        mounted.allowed = ["objects without a name stay"]
        verbs = Verbs(mounted, chance)
        writers = [
            subprocess.Popen(
                [sys.executable, str(PROGRAM), str(mounted.directory), str(10 * SEED + number)],
                env=ENVIRONMENT,
            )
            for number in range(3)
        ]
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                verbs.run()
                time.sleep(chance.random() * 0.1)
            assert all(writer.poll() is None for writer in writers), "a writer failed"
        finally:
            for writer in writers:
                writer.kill()
                writer.wait()
        status = verbs.client.start("status").result(timeout_s=30)
        assert isinstance(status, dict)
        assert status["read_only"] is False
        verbs.client.close()
        mounted.unmount()
        fsck(mounted.volume)
