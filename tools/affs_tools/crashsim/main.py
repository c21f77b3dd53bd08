"""tools/crashsim: the crash simulator at a shell.

Exit status: 0 no violation, 1 violations, a living mutant or a replay that fails, 2 usage.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from affs_tools.crashsim import campaign
from affs_tools.crashsim.campaign import (
    Figures,
    Task,
    processor_seconds,
    replayed,
    run_mutants,
    run_tasks,
)
from affs_tools.crashsim.determinism import chosen, fingerprints_of_processes
from affs_tools.crashsim.mutants import MUTANTS
from affs_tools.crashsim.native_mutants import NATIVE_MUTANTS
from affs_tools.crashsim.shrink import shrink

__all__ = ["main"]

SHOWN_MAX = 20
SAME_BYTES_REPEATS = 10
FUZZ_RUNS = 200_000
FUZZ_SECONDS_MAX = 600

Tasks = Callable[..., list[Task]]
CAMPAIGNS: tuple[tuple[str, str, Tasks], ...] = (
    ("crashes", "Power loss", campaign.crash_tasks),
    ("faults", "Failing device calls", campaign.fault_tasks),
    ("memory", "Running out of memory", campaign.memory_tasks),
    ("bits", "Every bit of the metadata", campaign.bit_tasks),
    ("damage", "Damaged blocks", campaign.damage_tasks),
    ("crafted", "Crafted images", campaign.crafted_tasks),
)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/crashsim",
        description="Makes every state that a device may show after power loss, and judges it.",
    )
    parser.add_argument("--short", action="store_true", help="the seeded subset of tools/test")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument(
        "--part", type=_part, default=(0, 1), metavar="I/N", help="the I-th of N parts (I from 1)"
    )
    for option, title, _ in CAMPAIGNS:
        parser.add_argument(f"--{option}", action="store_true", help=f"only: {title.lower()}")
    parser.add_argument("--same-bytes", action="store_true", help="only: one seed, one image")
    parser.add_argument("--fuzz", action="store_true", help="only: the C core's readers, by clang")
    parser.add_argument("--mutants", nargs="*", metavar="NAME", help="only: planted bugs")
    parser.add_argument("--report", action="store_true", help="all of it (the default)")
    parser.add_argument("--replay", metavar="ID", help="one state again, shortened if it fails")
    return parser


def _part(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and 0 < int(index) <= int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not like 2/8")
    return int(index) - 1, int(count)


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    if given.replay:
        return _replay(given.replay)
    asked = [option for option, _, _ in CAMPAIGNS if getattr(given, option)]
    few = bool(asked) or given.same_bytes or given.fuzz or given.mutants is not None
    everything = given.report or not few
    bad = 0
    first, step = given.part
    looked_at: dict[str, int] = {}
    with _timed("Together", looked_at):
        for option, title, tasks in CAMPAIGNS:
            if everything or option in asked:
                figures = run_tasks(tasks(short=given.short)[first::step], given.jobs)
                looked_at[option] = figures.tally.states
                bad += _show(title, figures)
        if everything or given.same_bytes:
            with _timed("One seed, one image"):
                bad += _same_bytes(given.jobs, short=given.short)
        if everything or given.fuzz:
            with _timed("The C core's readers, with sanitizers"):
                bad += _fuzz(runs=2000 if given.short else FUZZ_RUNS)
        if everything or given.mutants is not None:
            with _timed("Planted bugs"):
                bad += _mutants(given.mutants or [], given.jobs)
    return 1 if bad else 0


@contextmanager
def _timed(title: str, looked_at: dict[str, int] | None = None) -> Iterator[None]:
    """What stands below a title, and what it took. looked_at: by campaign, for the sum of all,
    whose title comes last."""
    if looked_at is None:
        print(f"## {title}", flush=True)
    begin, used = time.monotonic(), processor_seconds()
    yield
    if looked_at is not None:
        print(f"## {title}")
        points = looked_at.get("faults", 0) + looked_at.get("memory", 0)
        print(f"distinct crash states    {looked_at.get('crashes', 0):>9,}")
        print(f"fault points             {points:>9,}")
    print(f"seconds                  {time.monotonic() - begin:>9,.0f}")
    print(f"processor seconds        {processor_seconds() - used:>9,.0f}\n", flush=True)


def _show(title: str, figures: Figures) -> int:
    print(f"## {title}")
    for line in figures.lines():
        print(line)
    for failure in figures.tally.failures[:SHOWN_MAX]:
        print(f"VIOLATION {failure.replay}\n    {failure.message}")
    print(flush=True)
    return len(figures.tally.failures)


def _same_bytes(jobs: int, *, short: bool) -> int:
    repeats = 2 if short else SAME_BYTES_REPEATS
    found = fingerprints_of_processes(repeats, short=short, jobs=jobs)
    print(f"workloads                {len(chosen(short=short)):>9,}")
    print(f"processes                {repeats:>9,}")
    print(f"different images         {len(set(found)):>9,}")
    return len(set(found)) - 1


def _fuzz(runs: int) -> int:
    """Each target of native/fuzz so many times."""
    script = Path(__file__).parents[3] / "native" / "fuzz" / "run"
    command = [str(script), str(FUZZ_SECONDS_MAX), "--runs", str(runs), "--seed", "1"]
    return int(subprocess.run(command, check=False).returncode != 0)


def _mutants(names: list[str], jobs: int) -> int:
    every = (*NATIVE_MUTANTS, *MUTANTS)  # the longest first
    picked = [mutant for mutant in every if not names or mutant.name in names]
    alive = 0
    for name, caught, seconds in run_mutants(picked, jobs):
        alive += not caught
        print(f"{'caught' if caught else 'ALIVE '} {seconds:5.1f} s  {name}", end="")
        print(f"  by {caught[:150]}" if caught else "", flush=True)
    print(f"{len(picked) - alive} of {len(picked)} caught")
    return alive


def _replay(text: str) -> int:
    try:
        failure = replayed(text)
    except (KeyError, ValueError, StopIteration) as error:
        print(f"crashsim: there is no state {text!r} ({error!r})", file=sys.stderr)
        return 2
    if failure is None:
        print(f"{text}: nothing is wrong")
        return 0
    print(f"VIOLATION {failure.replay}\n    {failure.message}")
    shorter = shrink(failure)
    print(f"shortest: {shorter.replay}\n    {shorter.message}")
    for step in shorter.steps:
        print(f"    {step}")
    return 1
