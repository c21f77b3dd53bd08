"""The command line of the killer."""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from affs_tools.killsim.campaign import run
from affs_tools.killsim.director import ViolationError

__all__ = ["main"]

ROUNDS_DEFAULT = 500


def main(arguments: list[str] | None = None) -> int:
    """0: every promise was kept. 1: one was not; the volume stays."""
    given = _parser().parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="affs-k-", dir=given.keep_in))
    try:
        figures = run(
            folder, rounds=given.rounds, seed=given.seed, writers=given.writers,
            tell=lambda text: print(text, flush=True),
        )
    except ViolationError as error:
        print(f"VIOLATION: {error}\nthe volume and its log: {folder}", file=sys.stderr)
        return 1
    print(f"{figures}\nviolations: none")
    shutil.rmtree(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/killsim",
        description="Kill the daemon of a volume under load at random moments, and judge what it"
        " left.",
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS_DEFAULT)
    parser.add_argument("--seed", type=int, default=1, help="of all but the timing")
    parser.add_argument("--writers", type=int, default=3, help="processes that write")
    shm = Path("/dev/shm")
    parser.add_argument(
        "--keep-in", type=Path, default=shm if shm.is_dir() else None,
        help="where the volume is made, and stays after a violation",
    )
    return parser
