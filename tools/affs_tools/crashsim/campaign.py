"""Campaigns: which workloads, faults and mutants are run, over several processes, and what is said
of them."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from typing import TypeVar

from affs_tools.crashsim.crafted import all_names, explore_crafted
from affs_tools.crashsim.damage import (
    Damage,
    all_damages,
    explore_damages,
    flip_all_bits,
    metadata,
)
from affs_tools.crashsim.explore import Explorer, Failure, PointJudge, Tally, explore_points, replay
from affs_tools.crashsim.faults import Fault, fault_workloads, faults_of, judge_fault
from affs_tools.crashsim.formatting import NAMES, explore_mkfs
from affs_tools.crashsim.memory import WAYS, Shortage, judge_shortage, shortages_of
from affs_tools.crashsim.mutants import Mutant, NoFit, hunt
from affs_tools.crashsim.native_mutants import NativeMutant, hunt_native
from affs_tools.crashsim.pieces import Piece
from affs_tools.crashsim.states import Depth
from affs_tools.crashsim.workloads import (
    Workload,
    find,
    meetings,
    pairs,
    records,
    singles,
    stories,
    triples,
)

__all__ = [
    "Figures",
    "bit_tasks",
    "crafted_tasks",
    "crash_tasks",
    "damage_tasks",
    "fault_tasks",
    "memory_tasks",
    "processor_seconds",
    "replayed",
    "run_mutants",
    "run_tasks",
    "sharded",
]

T = TypeVar("T")
R = TypeVar("R")
P = TypeVar("P", Fault, Shortage)
Task = Callable[[], Tally]
TRIPLES = 2300
FAULTS_PER_TASK = 200
WORKLOADS_PER_TASK = 250
_LONG = (
    "full", "ring-", "wide/", "crowded/s", "crowded/o", "retention/2", "retention/4",
    "records/many",
)  # fmt: skip


@dataclass
class Figures:
    """One campaign's sum. seconds: of wall time; processor_seconds: of all processes, which says
    more on a machine that has other things to do."""

    tally: Tally
    seconds: float
    processor_seconds: float

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
        yield f"processor seconds        {self.processor_seconds:>9,.0f}"


def crash_tasks(*, short: bool) -> list[Task]:
    """Everything, or the short form that tools/test runs (seeded: the same each time)."""
    tasks: list[Task] = []
    if short:
        chosen: Iterable[Workload] = [
            *(_shallow(workload) for workload in islice(singles(), 0, None, 4)),
            *(_shallow(one) for one in stories() if not one.name.startswith(_LONG)),
            *islice(pairs(), 0, None, 151),
            *islice(meetings(), 0, None, 43),
            *islice(records(), 0, None, 29),
        ]
        depth = Depth(None, 20)
    else:
        chosen = [
            *stories(), *singles(), *pairs(), *meetings(), *records(), *triples(TRIPLES)
        ]  # fmt: skip
        depth = Depth(None, 400)
    for group in _alike(chosen):
        tasks.append(partial(_explore, group))
    for name in NAMES:
        tasks.append(partial(_mkfs, name, depth))
    return tasks


def _alike(workloads: Iterable[Workload]) -> list[list[Workload]]:
    """Groups for one task each. Workloads that begin with the same steps leave the same states up
    to there; side by side, each of these is judged once."""
    groups: list[list[Workload]] = []
    ordered = sorted(workloads, key=lambda one: (one.base, str(one.steps[0]), one.name))
    for workload in ordered:
        last = groups[-1] if groups else []
        alike = last and (last[0].base, last[0].steps[0]) == (workload.base, workload.steps[0])
        if alike and len(last) < WORKLOADS_PER_TASK:
            last.append(workload)
        else:
            groups.append([workload])
    return groups


def _shallow(workload: Workload) -> Workload:
    depth, lies = (Depth(10, 4), Depth(4, 2)) if len(workload.steps) < 12 else (Depth(4, 2),) * 2
    return Workload(workload.name, workload.base, workload.steps, depth, lies, 10)


def _explore(workloads: list[Workload]) -> Tally:
    tally = Tally()
    for workload in workloads:
        Explorer(tally).explore(workload)
    return tally


def _mkfs(name: str, depth: Depth) -> Tally:
    tally = Tally()
    explore_mkfs(name, tally, depth)
    return tally


def fault_tasks(*, short: bool) -> list[Task]:
    """All points, or every 13th."""
    return list(_point_tasks(faults_of, judge_fault, 13 if short else 1))


def memory_tasks(*, short: bool) -> list[Task]:
    """Every shortage of memory, or every 89th."""
    return list(_point_tasks(shortages_of, judge_shortage, 89 if short else 1))


def _point_tasks(
    points_of: Callable[[Workload], list[P]], judge: PointJudge[P], every: int
) -> Iterator[Task]:
    for workload in fault_workloads():
        points = points_of(workload)[::every]
        for first in range(0, len(points), FAULTS_PER_TASK):
            yield partial(_points, workload, points[first : first + FAULTS_PER_TASK], judge)


def _points(workload: Workload, points: Sequence[P], judge: PointJudge[P]) -> Tally:
    tally = Tally(workloads=1)
    explore_points(workload, tally, points, judge)
    return tally


def bit_tasks(*, short: bool) -> list[Task]:
    """Every bit of all live metadata, or of every 5th piece."""
    return [partial(_bits, piece) for piece in metadata()[:: 5 if short else 1]]


def _bits(piece: Piece) -> Tally:
    tally = Tally()
    flip_all_bits(piece, tally)
    return tally


def damage_tasks(*, short: bool) -> list[Task]:
    """Every damage, or every 11th."""
    every = all_damages(2 if short else 40)[:: 11 if short else 1]
    groups = [every[at : at + 100] for at in range(0, len(every), 100)]
    return [partial(_damages, group) for group in groups]


def _damages(chosen: Sequence[Damage]) -> Tally:
    tally = Tally()
    explore_damages(chosen, tally)
    return tally


def crafted_tasks(*, short: bool) -> list[Task]:
    """Every crafted image, or a seeded part."""
    names = all_names(short=short)
    return [partial(_crafted, names[at : at + 100]) for at in range(0, len(names), 100)]


def _crafted(names: list[str]) -> Tally:
    tally = Tally()
    explore_crafted(names, tally)
    return tally


def run_tasks(tasks: list[Task], jobs: int) -> Figures:
    """All tasks; distinct states are counted over all of them."""
    total = Tally()
    begin, used = time.monotonic(), processor_seconds()
    for tally in sharded(_call, tasks, jobs):
        total.add(tally)
        if sys.stderr.isatty():
            print(f"\r{total.states:,} states", end="", file=sys.stderr)
    if total.digests:
        total.states = len(total.digests) - total.recoveries
    return Figures(total, time.monotonic() - begin, processor_seconds() - used)


def processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


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


def run_mutants(
    mutants: Sequence[Mutant | NativeMutant], jobs: int
) -> Iterator[tuple[str, str, float]]:
    """(name, what caught it or "" if it lives, seconds) of each mutant."""
    yield from sharded(_hunt, list(mutants), jobs, fresh=True)


def _hunt(mutant: Mutant | NativeMutant) -> tuple[str, str, float]:
    begin = time.monotonic()
    try:
        caught = hunt(mutant) if isinstance(mutant, Mutant) else hunt_native(mutant)
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
        if rest.startswith(WAYS):
            explore_points(workload, tally, [Shortage.parse(rest)], judge_shortage)
        else:
            explore_points(workload, tally, [Fault.parse(rest)], judge_fault)
        return tally.failures[0] if tally.failures else None
    if name in ("damage", "crafted"):
        return _replayed_image(name, rest)
    workload = find(name)
    message = replay(workload, rest)
    return Failure(text, message, workload.steps) if message else None


def _replayed_image(name: str, rest: str) -> Failure | None:
    tally = Tally()
    if name == "crafted":
        explore_crafted([rest], tally)
    else:
        found = [one for many in (40, 2) for one in all_damages(many) if one.name == rest]
        if not found:
            raise KeyError(rest)
        explore_damages(found[:1], tally)
    return tally.failures[0] if tally.failures else None
