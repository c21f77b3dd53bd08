"""Makes a failure smaller: first fewer steps, then fewer writes missing.

What is left is the least that still fails under the same procedure, not necessarily with the same
words: a state that fails differently is a failure too.
"""

from dataclasses import replace

from affs_tools.crashsim.explore import Explorer, Failure, Tally, replay
from affs_tools.crashsim.session import Step
from affs_tools.crashsim.states import Depth, State
from affs_tools.crashsim.workloads import Workload, find

__all__ = ["shrink", "shrink_state", "shrink_steps"]

_DEPTH = Depth(64, 24)


def shrink(failure: Failure) -> Failure:
    """Faults, and what is not a workload of its own, stay as they are."""
    name, _, state = failure.replay.rpartition("@")
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
    best = _first_failure(workload, workload.steps)
    if best is None:
        return None
    index = 0
    while index < len(best.steps):
        steps = best.steps[:index] + best.steps[index + 1 :]
        found = _first_failure(workload, steps)
        if found is not None:
            best = found
        else:
            index += 1
    return best


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
