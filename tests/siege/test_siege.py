"""The short form of the siege: hostile clients on the control socket of a real daemon, of which the
mount, the daemon's memory and honest clients notice nothing that lasts."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from affs_fuse.protocol import ServerConnection
from affs_tools.siege.main import besiege
from affs_tools.siege.messages import bomb, hello, honest, hostile

MESSAGES = int(os.environ.get("AFFS_SIEGE_MESSAGES", "3000"))
MEMORY_MAX = 400 << 20
"""Of the daemon: what it has anyway, half-sent frames up to their limit, and large values."""

TURN_MAX_S = 60.0
"""A guard against a mount that hangs, on any machine."""


@pytest.fixture
def folder() -> Iterator[Path]:
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="affs-s-", dir=base) as name:
        yield Path(name)


@pytest.mark.mount
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting, and being somebody else, takes root")
@pytest.mark.timeout(300)
def test_a_siege_leaves_nothing_behind(folder: Path) -> None:
    outcome = besiege(folder, messages=MESSAGES, seed=int(os.environ.get("AFFS_SIEGE_SEED", "3")),
                      quiet_s=0.3)
    print(outcome)
    assert outcome.messages >= MESSAGES
    assert outcome.read_bytes > 0
    assert outcome.connections > 1000
    assert not outcome.during.failures
    assert outcome.during.times
    assert max(outcome.during.times) < TURN_MAX_S
    assert outcome.during.memory_max < MEMORY_MAX
    assert outcome.during.descriptors_max < 700
    assert outcome.log_bytes < 1 << 20
    assert outcome.answers
    assert not outcome.problems


def test_the_seed_decides_what_is_sent() -> None:
    def sent(seed: int) -> list[bytes]:
        chance = random.Random(seed)
        return [hostile(chance, number) for number in range(200)]

    assert sent(1) == sent(1)
    assert sent(1) != sent(2)


def test_hostile_messages_are_refused_and_honest_ones_are_not() -> None:
    """Whatever they are, they cost an answer: never an exception."""
    chance = random.Random(9)
    fatal = refused = 0
    for number in range(3000):
        server = ServerConnection()
        server.receive(hello())
        for message in server.receive(hostile(chance, number)):
            reply = getattr(message, "reply", None)
            refused += reply is not None
            fatal += reply is not None and message.fatal  # type: ignore[union-attr]
    assert 0 < fatal < refused
    assert refused > 1500
    server = ServerConnection()
    server.receive(hello())
    assert not hasattr(server.receive(honest(chance, 1))[0], "reply")
    (refusal,) = server.receive(bomb(chance))
    assert not getattr(refusal, "fatal", True)
