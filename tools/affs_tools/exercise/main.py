"""The command line of the exerciser."""

import argparse
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

from affs_tools.exercise.campaign import Outcome, attempt, campaign, remove, shrink
from affs_tools.exercise.steps import Settings, Step, load, save

__all__ = ["main"]

SECONDS_DEFAULT = 60.0
SHRINK_SECONDS = 120.0


def main(arguments: list[str] | None = None) -> int:
    """0: no difference. 1: one, with the log, the volume and the command that replays it."""
    given = _parser().parse_args(arguments)
    if given.replay:
        settings, steps = load(given.replay)
    else:
        settings, steps = _settings(given), []
    if given.directory:
        settings = replace(settings, verbs=False)
    folder = Path(tempfile.mkdtemp(prefix="affs-x-", dir=given.keep_in))
    if given.replay:
        outcome = attempt(settings, steps, folder / "run", given.directory)
    else:
        seconds = given.seconds if given.operations is None else None
        outcome = campaign(
            settings, folder / "run", given.directory, seconds=seconds, operations=given.operations
        )
    print(
        f"{settings.kind}, seed {settings.seed}: {len(outcome.steps)} steps in "
        f"{outcome.seconds:.1f} s, {'a DIFFERENCE' if outcome.difference else 'no difference'}"
    )
    if not outcome.difference:
        shutil.rmtree(folder)
        return 0
    _report(settings, outcome, folder, given)
    return 1


def _report(
    settings: Settings, outcome: Outcome, folder: Path, given: argparse.Namespace
) -> None:
    print(outcome.difference)
    log = folder / "failing.jsonl"
    if given.shrink_seconds:
        number = 0

        def fails(steps: list[Step]) -> bool:
            nonlocal number
            number += 1
            place = folder / f"try{number}"
            found = attempt(settings, steps, place, given.directory).difference
            remove(place)
            return bool(found)

        steps = shrink(fails, outcome.steps, given.shrink_seconds)
        print(f"{len(steps)} of {len(outcome.steps)} steps still fail:")
        for step in steps[:40]:
            print(f"  {dict(step)}")
    else:
        steps = outcome.steps
    save(log, settings, steps)
    print(f"the whole log and the volume: {folder / 'run'}")
    where = f" --directory {given.directory}" if given.directory else ""
    print(f"replay with: tools/exercise --replay {log}{where}")


def _settings(given: argparse.Namespace) -> Settings:
    return Settings(
        given.kind, given.seed, given.size, given.processes, "commit_interval=0",
        verbs=given.directory is None,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/exercise", description="Random use of a filesystem, judged by a model."
    )
    parser.add_argument("kind", nargs="?", choices=("file", "tree"), default="file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=SECONDS_DEFAULT)
    parser.add_argument("--operations", type=int, help="so many steps, however long they take")
    parser.add_argument("--size", type=int, default=1 << 18, help="of the file at most, in bytes")
    parser.add_argument("--processes", type=int, default=4, help="that work on the tree")
    parser.add_argument("--directory", type=Path, help="exercise this one, not a volume")
    parser.add_argument("--replay", type=Path, metavar="LOG", help="the steps of a log")
    parser.add_argument(
        "--shrink-seconds", type=float, default=SHRINK_SECONDS, help="0: do not shrink"
    )
    shm = Path("/dev/shm")
    parser.add_argument(
        "--keep-in", type=Path, default=shm if shm.is_dir() else None,
        help="where volume and log are made, and stay after a difference",
    )
    return parser
