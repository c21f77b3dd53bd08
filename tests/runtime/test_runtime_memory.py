"""The memory of idempotency keys is bounded, and so are the statistics; policy and sessions."""

from typing import Any

import pytest
from runtime_fake import Ticking

from affs_fuse.clock import Clock
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.idempotency import IdempotencyMemory
from affs_fuse.runtime.policy import Identity, Policy, Role, Rule
from affs_fuse.runtime.session import Sessions
from affs_fuse.runtime.statistics import Requests


async def runs_of(memory: IdempotencyMemory, key: str, answer: Any = None) -> int:
    count = 0

    async def run() -> Any:
        nonlocal count
        count += 1
        return answer

    await memory.once(1, key, ["x"], run, lambda: None)
    return count


async def test_the_oldest_answers_are_forgotten_by_number() -> None:
    memory = IdempotencyMemory(answers_max=3)
    assert [await runs_of(memory, key) for key in "abcdbcda"] == [1, 1, 1, 1, 0, 0, 0, 1]


async def test_the_oldest_answers_are_forgotten_by_size() -> None:
    memory = IdempotencyMemory(bytes_max=2500)
    assert [await runs_of(memory, key, "x" * 1000) for key in "abcbca"] == [1, 1, 1, 0, 0, 1]
    assert await runs_of(memory, "large", "x" * 5000) == 1
    assert await runs_of(memory, "large") == 0


def test_requests_are_counted_by_command_and_time() -> None:
    requests = Requests()
    for seconds, failure in ((0.0004, None), (0.3, Category.BUSY), (60.0, None)):
        requests.begin()
        requests.end("commit", seconds, failure)
    requests.begin()
    requests.end("", 0.1, Category.INVALID)
    requests.begin()
    requests.abandoned()
    found = requests.statistics()
    assert (found.running, found.done, found.failed) == (0, 4, {"busy": 1, "invalid": 1})
    commit = found.commands["commit"]
    assert (commit.failed, commit.latency.count, commit.latency.seconds_max) == (1, 3, 60.0)


@pytest.mark.parametrize(
    ("uid", "role"), [(0, Role.ADMIN), (1000, Role.ADMIN), (7, Role.OPERATOR), (8, Role.OBSERVER)]
)
def test_roles(uid: int, role: Role) -> None:
    policy = Policy(owner_uid=1000, rules=lambda: [Rule(Role.OPERATOR, gid=50)])
    groups = frozenset({50}) if uid == 7 else frozenset()
    assert policy.role(Identity(uid=uid, gid=9, groups=groups)) is role


def test_a_role_includes_those_below() -> None:
    Policy.demand(Role.OPERATOR, Role.ADMIN, "commit")
    Policy.demand(Role.OPERATOR, Role.OPERATOR, "commit")
    with pytest.raises(AffsError) as caught:
        Policy.demand(Role.OPERATOR, Role.OBSERVER, "commit")
    assert caught.value.category is Category.DENIED


def test_sessions() -> None:
    time = Ticking()
    sessions = Sessions(Policy(owner_uid=1), Clock(now_ns=time.now_ns), time.entropy)
    first = sessions.open(Identity(1, 1), "a")
    second = sessions.open(Identity(2, 2), "b")
    assert sessions.list() == [first, second]
    assert first.id != second.id
    sessions.close(first)
    sessions.close(first)
    assert sessions.list() == [second]
    assert (sessions.statistics().open, sessions.statistics().opened) == (1, 2)


def test_sessions_without_a_connection_are_bounded() -> None:
    time = Ticking()
    sessions = Sessions(Policy(owner_uid=1), Clock(now_ns=time.now_ns), time.entropy)
    opened = [sessions.open(Identity(7, 7), "a") for _ in range(40)]
    other = sessions.open(Identity(8, 8), "b")
    for session in [*opened, other]:
        sessions.detach(session)
        sessions.detach(session)
    assert sessions.list() == [*opened[8:], other]
    many = [sessions.open(Identity(100 + number // 30, 1), "c") for number in range(400)]
    for session in many:
        sessions.detach(session)
    assert sessions.list() == many[-256:]
    time.ticks += 3600 * 1000 + 1
    assert sessions.list() == []
