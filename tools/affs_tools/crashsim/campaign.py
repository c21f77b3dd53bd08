"""Campaigns: which workloads, faults and mutants are run, over several processes, and what is said
of them."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from affs_tools.crashsim.explore import Explorer, Failure, Tally, replay
from affs_tools.crashsim.faults import Fault, explore_faults, fault_workloads, points_of
from affs_tools.crashsim.formatting import NAMES, explore_mkfs
from affs_tools.crashsim.mutants import Mutant, NoFit, hunt
from affs_tools.crashsim.states import Depth
from affs_tools.crashsim.workloads import Workload, find, pairs, singles, stories, triples

__all__ = [
    "Figures",
    "crash_tasks",
    "fault_tasks",
    "replayed",
    "run_mutants",
    "run_tasks",
    "sharded",
]

T = TypeVar("T")
R = TypeVar("R")
Task = Callable[[], Tally]
TRIPLES = 1200
FAULTS_PER_TASK = 200
_LONG = ("full", "ring-", "wide/")


@dataclass
class Figures:
    """One campaign's sum. seconds: of wall time."""

    tally: Tally
    seconds: float

    def lines(self) -> Iterator[str]:
        tally = self.tally
        rate = len(tally.digests or range(tally.states)) / max(self.seconds, 1e-9)
        yield f"workloads                {tally.workloads:>9,}"
        yield f"distinct states          {tally.states:>9,}"
        if tally.thorough:
            yield f"  gone on with           {tally.thorough:>9,}"
            yield f"crashed in recovery      {tally.recoveries:>9,}"
        for outcome, count in sorted(tally.outcomes.items()):
            yield f"  {outcome:<40} {count:>9,}"
        yield f"violations               {len(tally.failures):>9,}"
        yield f"seconds                  {self.seconds:>9,.0f}  ({rate:,.0f} a second)"


def crash_tasks(*, short: bool) -> list[Task]:
    """Everything, or the short form that tools/test runs (seeded: the same each time)."""
    tasks: list[Task] = []
    if short:
        chosen: Iterable[Workload] = [
            *(_shallow(workload) for workload in islice(singles(), 0, None, 4)),
            *(_shallow(one) for one in stories() if not one.name.startswith(_LONG)),
            *islice(pairs(), 0, None, 151),
        ]
        depth = Depth(None, 20)
    else:
        chosen = [*stories(), *singles(), *pairs(), *triples(TRIPLES)]
        depth = Depth(None, 400)
    for workload in chosen:
        tasks.append(partial(_explore, workload))
    for name in NAMES:
        tasks.append(partial(_mkfs, name, depth))
    return tasks


def _shallow(workload: Workload) -> Workload:
    return Workload(workload.name, workload.base, workload.steps, Depth(10, 4), Depth(4, 2), 10)


def _explore(workload: Workload) -> Tally:
    tally = Tally()
    Explorer(tally).explore(workload)
    return tally


def _mkfs(name: str, depth: Depth) -> Tally:
    tally = Tally()
    explore_mkfs(name, tally, depth)
    return tally


def fault_tasks(*, short: bool) -> list[Task]:
    """All points, or every 37th."""
    tasks: list[Task] = []
    for workload in fault_workloads():
        points = points_of(workload)[:: 37 if short else 1]
        for first in range(0, len(points), FAULTS_PER_TASK):
            tasks.append(partial(_faults, workload, points[first : first + FAULTS_PER_TASK]))
    return tasks


def _faults(workload: Workload, points: list[Fault]) -> Tally:
    tally = Tally()
    explore_faults(workload, tally, points)
    return tally


def run_tasks(tasks: list[Task], jobs: int) -> Figures:
    """All tasks; distinct states are counted over all of them."""
    total = Tally()
    begin = time.monotonic()
    for tally in sharded(_call, tasks, jobs):
        total.add(tally)
        if sys.stderr.isatty():
            print(f"\r{total.states:,} states", end="", file=sys.stderr)
    if total.digests:
        total.states = len(total.digests) - total.recoveries
    return Figures(total, time.monotonic() - begin)


def _call(task: Task) -> Tally:
    return task()


def sharded(
    function: Callable[[T], R], items: list[T], jobs: int, *, fresh: bool = False
) -> Iterator[R]:
    """function of each item, in any order. fresh: each in a process of its own."""
    if jobs <= 1 and not fresh:
        yield from map(function, items)
        return
    with get_context("fork").Pool(max(jobs, 1), maxtasksperchild=1 if fresh else None) as pool:
        yield from pool.imap_unordered(function, items)


def run_mutants(mutants: list[Mutant], jobs: int) -> Iterator[tuple[str, str, float]]:
    """(name, what caught it or "" if it lives, seconds) of each mutant."""
    yield from sharded(_hunt, mutants, jobs, fresh=True)


def _hunt(mutant: Mutant) -> tuple[str, str, float]:
    begin = time.monotonic()
    try:
        caught = hunt(mutant)
    except NoFit as error:
        return mutant.name, "", _said(error, begin)
    return mutant.name, caught, time.monotonic() - begin


def _said(error: NoFit, begin: float) -> float:
    print(f"crashsim: {error}", file=sys.stderr)
    return time.monotonic() - begin


def replayed(text: str) -> Failure | None:
    """Run one replay id again. Errors: KeyError, ValueError for an id that means nothing."""
    name, _, rest = text.rpartition("@")
    if name.startswith("fault/"):
        tally = Tally()
        workload = next(one for one in fault_workloads() if one.name == name)
        explore_faults(workload, tally, [Fault.parse(rest)])
        return tally.failures[0] if tally.failures else None
    workload = find(name)
    message = replay(workload, rest)
    return Failure(text, message, workload.steps) if message else None
