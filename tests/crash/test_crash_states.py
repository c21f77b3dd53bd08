"""Every crash state and fault point of the short campaign holds: a seeded subset of what
tools/crashsim explores."""

from functools import partial

import pytest

from affs_tools.crashsim.campaign import crash_tasks, fault_tasks, memory_tasks, run_tasks
from affs_tools.crashsim.determinism import fingerprints_of_processes

SHARDS = 10
STATES_MIN, POINTS_MIN = 300, 30
"""Of each shard: fewer would mean that the simulator looks at nothing. A shard takes some seconds
of the processor, so that its time is not over on a machine that has other things to do."""


@pytest.mark.parametrize("shard", range(SHARDS))
def test_power_loss(shard: int) -> None:
    figures = run_tasks(crash_tasks(short=True)[shard::SHARDS], 1)
    assert not figures.tally.failures, figures.tally.failures[:3]
    assert figures.tally.states >= STATES_MIN
    assert figures.tally.recoveries
    assert figures.tally.outcomes["lie: served"]


def test_one_seed_gives_one_image() -> None:
    """In processes that hash differently."""
    assert len(set(fingerprints_of_processes(2, short=True))) == 1


@pytest.mark.parametrize("shard", range(3))
def test_running_out_of_memory(shard: int) -> None:
    figures = run_tasks([partial(task) for task in memory_tasks(short=True)[shard::3]], 1)
    assert not figures.tally.failures, figures.tally.failures[:3]
    assert figures.tally.states >= POINTS_MIN
    assert any("worked again" in outcome for outcome in figures.tally.outcomes)
    assert any("read-only" in outcome for outcome in figures.tally.outcomes)


@pytest.mark.parametrize("shard", range(3))
def test_failing_device_calls(shard: int) -> None:
    tasks = [partial(task) for task in fault_tasks(short=True)[shard::3]]
    figures = run_tasks(tasks, 1)
    assert not figures.tally.failures, figures.tally.failures[:3]
    assert figures.tally.states >= POINTS_MIN
