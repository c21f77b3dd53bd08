"""The command line of the siege, and the siege itself."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from affs_tools.exercise.ground import VolumeGround
from affs_tools.siege.watch import Watch, memory_bytes

__all__ = ["Outcome", "besiege", "main"]

MESSAGES_DEFAULT = 100_000
NOBODY = 65534
QUIET_S = 2.0
OPTIONS = "control_mode=0666,commit_interval=1"
VOLUME_BYTES = 128 << 20


@dataclass(slots=True)
class Outcome:
    """before, during: what was watched. settled_bytes: memory after it. problems: of the log."""

    messages: int
    connections: int
    read_bytes: int
    seconds: float
    before: Watch
    during: Watch
    settled_bytes: int
    problems: str
    answers: bool
    log_bytes: int

    def __str__(self) -> str:
        return (
            f"{self.messages} messages on {self.connections} connections in {self.seconds:.0f} s"
            f" ({self.messages / self.seconds:.0f}/s), {self.read_bytes >> 10} KiB of answers"
            f" read, {self.log_bytes >> 10} KiB of log\n"
            f"before: {self.before.describe()}\nduring: {self.during.describe()}\n"
            f"after:  {self.settled_bytes >> 20} MiB"
        )


def besiege(folder: Path, *, messages: int, seed: int, quiet_s: float = QUIET_S) -> Outcome:
    """A volume of its own, attacked by this user and by nobody. folder: short."""
    ground = VolumeGround(folder, OPTIONS, VOLUME_BYTES)
    pids: list[int] = []
    ground.on_start = pids.append
    ground.start()
    try:
        folder.chmod(0o755)
        ground.command("publish")
        control = str(folder / "control")
        with Watch(ground.directory, pids[0]) as before:
            time.sleep(quiet_s)
        begun = time.monotonic()
        with Watch(ground.directory, pids[0]) as during:
            told = _attack(control, messages, seed)
        seconds = time.monotonic() - begun
        answers = ground.command("status")["mount"] == str(ground.directory)
        time.sleep(quiet_s)
        settled = memory_bytes(pids[0])
        log_bytes = (folder / "log").stat().st_size
        ground.reopen()
        return Outcome(
            sum(one["messages"] for one in told), sum(one["connections"] for one in told),
            sum(one["read_bytes"] for one in told), seconds, before, during, settled,
            ground.problems(), answers, log_bytes,
        )
    finally:
        ground.close()


def _attack(control: str, messages: int, seed: int) -> list[dict[str, int]]:
    users = [os.geteuid()] + ([NOBODY] if os.geteuid() == 0 else [])
    processes = [
        subprocess.Popen(
            [
                sys.executable, "-m", "affs_tools.siege.attackers", control, str(seed + number),
                str(messages // len(users)), str(user),
            ],
            stdout=subprocess.PIPE, text=True,
        )
        for number, user in enumerate(users)
    ]
    told = []
    for process in processes:
        output, _ = process.communicate()
        if process.returncode:
            raise RuntimeError(f"an attacker ended with status {process.returncode}")
        told.append(json.loads(output))
    return told


def main(arguments: list[str] | None = None) -> int:
    """0: the daemon went on as if nothing had happened."""
    given = _parser().parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="affs-s-", dir=given.keep_in) as name:
        outcome = besiege(Path(name), messages=given.messages, seed=given.seed)
    print(outcome)
    bad = [*outcome.during.failures, *outcome.problems.splitlines()]
    if not outcome.answers:
        bad.append("an honest client gets no answer")
    for problem in bad[:20]:
        print(f"PROBLEM: {problem}", file=sys.stderr)
    return 1 if bad else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/siege", description="Hostile clients on the control socket of a real daemon."
    )
    parser.add_argument("--messages", type=int, default=MESSAGES_DEFAULT)
    parser.add_argument("--seed", type=int, default=1)
    shm = Path("/dev/shm")
    parser.add_argument("--keep-in", type=Path, default=shm if shm.is_dir() else None)
    return parser
