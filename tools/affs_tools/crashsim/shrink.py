"""Makes a failure smaller: first fewer steps, then fewer writes missing; of a fault or a shortage
fewer steps in which one of its kind still fails, at whatever call.

What is left is the least that still fails under the same procedure, not necessarily with the same
words: a state that fails differently is a failure too.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from affs_tools.crashsim.explore import Explorer, Failure, Tally, explore_points, replay
from affs_tools.crashsim.faults import Fault, fault_workloads, faults_of, judge_fault
from affs_tools.crashsim.memory import WAYS, Shortage, judge_shortage, shortages_of
from affs_tools.crashsim.session import Step
from affs_tools.crashsim.states import Depth, State
from affs_tools.crashsim.workloads import Workload, find

__all__ = ["shrink", "shrink_state", "shrink_steps"]

_DEPTH = Depth(64, 24)


def shrink(failure: Failure) -> Failure:
    """Damage and crafted images stay as they are."""
    name, _, state = failure.replay.rpartition("@")
    faulty = {one.name: one for one in fault_workloads()}
    if name in faulty:
        return _fewest(failure, partial(_first_point, faulty[name], state))
    try:
        workload = find(name)
    except KeyError:
        return failure
    shorter = shrink_steps(workload)
    if shorter is not None and len(shorter.steps) < len(failure.steps):
        return shorter
    return failure if state == "run" else shrink_state(workload, failure)


def shrink_steps(workload: Workload) -> Failure | None:
    """Leave out steps one by one as long as something fails."""
    first = _first_failure(workload, workload.steps)
    return first and _fewest(first, partial(_first_failure, workload))


def _fewest(best: Failure, attempt: Callable[[tuple[Step, ...]], Failure | None]) -> Failure:
    index = 0
    while index < len(best.steps):
        found = attempt(best.steps[:index] + best.steps[index + 1 :])
        if found is not None:
            best = found
        else:
            index += 1
    return best


def _first_point(workload: Workload, text: str, steps: tuple[Step, ...]) -> Failure | None:
    """A fault like this one that fails with these steps."""
    tried, tally = replace(workload, steps=steps), Tally()
    for explore in _alike(tried, text, tally):
        explore()
        if tally.failures:
            return tally.failures[0]
    return None


def _alike(workload: Workload, text: str, tally: Tally) -> Iterator[Callable[[], None]]:
    """Faults that differ from this one in their call alone, one after the other."""
    if text.startswith(WAYS):
        short = Shortage.parse(text)
        for shortage in shortages_of(workload):
            if replace(shortage, index=short.index) == short:
                yield partial(explore_points, workload, tally, [shortage], judge_shortage)
        return
    wanted = Fault.parse(text)
    for fault in faults_of(workload):
        if replace(fault, index=wanted.index) == wanted:
            yield partial(explore_points, workload, tally, [fault], judge_fault)


def _first_failure(workload: Workload, steps: tuple[Step, ...]) -> Failure | None:
    tally = Tally()
    tried = replace(workload, steps=steps, depth=_DEPTH, lies=Depth(16, 8), thorough_every=1)
    Explorer(tally, first_only=True).explore(tried)
    sound = [one for one in tally.failures if not one.replay.endswith("@run")]
    return sound[0] if sound else None


def shrink_state(workload: Workload, failure: Failure) -> Failure:
    """As few writes missing as possible: the state nearest to one without a crash."""
    state = State.parse(failure.replay.rpartition("@")[2])
    best = failure
    for index in range(64):
        torn = state.torn is not None and state.torn[0] == index
        if index in state.present or torn:
            continue
        nearer = replace(state, present=state.present | {index})
        try:
            message = replay(workload, str(nearer))
        except IndexError:
            break
        if message:
            state = nearer
            best = Failure(f"{workload.name}@{nearer}", message, workload.steps)
    return best
