"""kill -9 under mixed load: the short form on a real mount, and a judge that finds faults."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from affs_tools.killsim.campaign import run
from affs_tools.killsim.history import NEVER, History, Line, Step, allowed
from affs_tools.killsim.model import Files, Operation, applied, is_part, perform, read_files
from affs_tools.killsim.records import choose_batch

ROUNDS = int(os.environ.get("AFFS_KILL_ROUNDS", "20"))
SEED = int(os.environ.get("AFFS_KILL_SEED", "20260101"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place, with a short path for the socket's sake."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="affs-k-", dir=base) as name:
        yield Path(name)


@pytest.mark.mount
@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.timeout(120 + 15 * ROUNDS)
def test_nothing_acknowledged_is_lost(folder: Path) -> None:
    figures = run(folder, rounds=ROUNDS, seed=SEED, writers=2)
    assert figures.rounds == ROUNDS
    assert figures.operations > figures.acknowledged > 0
    assert figures.states > 0
    print(figures)


A: Files = {"a": (b"", b"")}
AB: Files = {**A, "b": (b"", b"")}
ABC: Files = {**AB, "c": (b"", b"")}


def line(*steps: tuple[Files, int, int]) -> Line:
    return Line([Step({}, 0, 0), *(Step(files, begun, done) for files, begun, done in steps)])


def test_a_prefix_is_allowed_and_what_is_durable_must_be_there() -> None:
    history = History([line((A, 10, 11), (AB, 20, 21), (ABC, 30, NEVER))])
    assert [allowed(history, [files]) for files in ({}, A, AB, ABC)] == [(0,), (1,), (2,), (3,)]
    history.acknowledge(21)  # what was done before: the first one
    assert allowed(history, [{}]) is None
    assert allowed(history, [A]) == (1,)
    history.acknowledge(22)
    assert allowed(history, [A]) is None
    assert allowed(history, [{"b": (b"", b"")}]) is None
    assert allowed(history, [ABC], before=30) is None


def test_two_lines_have_to_be_cut_at_one_moment() -> None:
    history = History([line((A, 10, 11), (AB, 40, 41)), line((A, 20, 21))])
    assert allowed(history, [{}, {}]) == (0, 0)
    assert allowed(history, [{}, A]) is None, "it began after something missing had ended"
    assert allowed(history, [A, {}]) == (1, 0)
    assert allowed(history, [AB, {}]) is None
    assert allowed(history, [AB, A]) == (2, 1)


def test_what_was_under_way_together_may_be_there_in_any_choice() -> None:
    history = History([line((A, 10, 30)), line((A, 20, 40))])
    for found in ([{}, {}], [A, {}], [{}, A], [A, A]):
        assert allowed(history, found) is not None


def test_a_rollback_is_in_all_lines_or_in_none() -> None:
    history = History([line((A, 10, 11)), line((AB, 10, 11))])
    for one in history.lines:
        one.begin(Step({}, 20, NEVER, rollback=1))
    assert allowed(history, [{}, {}], after=12) == (2, 2)
    assert allowed(history, [A, AB], after=12) == (1, 1)
    assert allowed(history, [{}, AB], after=12) is None


WRITE: Operation = ["write", "a", 10, 10_000, 7]


def test_a_part_of_a_write_is_its_beginning() -> None:
    before: Files = {"a": (b"o" * 12_000, b"m"), "b": (b"x", b"")}
    whole = applied(before, WRITE)["a"][0]
    for end in (10, 4096, 9000, 10_010):
        part = whole[:end] + b"o" * (12_000 - end)
        assert is_part(before, WRITE, {**before, "a": (part, b"m")})
    middle = b"o" * 4096 + whole[4096:]
    assert not is_part(before, WRITE, {**before, "a": (middle, b"m")})
    assert not is_part(before, WRITE, {**before, "a": (whole, b"n")})
    assert not is_part(before, WRITE, {"a": (whole, b"m")})
    step = Step(applied(before, WRITE), 10, 11, operation=WRITE)
    history = History([Line([Step(before, 0, 0), step])])
    part = whole[:4096] + b"o" * (12_000 - 4096)
    assert allowed(history, [{**before, "a": (part, b"m")}]) == (0,)
    history.acknowledge(12)
    assert allowed(history, [{**before, "a": (part, b"m")}]) is None


def test_the_model_is_what_a_filesystem_does(folder: Path) -> None:
    files: Files = {}
    operations: list[Operation] = [
        ["create", "f1"], ["write", "f1", 0, 5000, 1], ["write", "f1", 4000, 3000, 2],
        ["truncate", "f1", 100], ["truncate", "f1", 9000], ["create", "f2"], ["mark", "f2", 3],
        ["rename", "f2", "f1"], ["symlink", "l4"], ["rename", "f1", "f1"], ["fsync", "f1"],
        ["create", "f5"], ["unlink", "l4"], ["dirsync"],
    ]
    for operation in operations:
        perform(str(folder), operation)
        files = applied(files, operation)
        found = {name: content for name, (content, _) in read_files(folder).items()}
        assert found == {name: content for name, (content, _) in files.items()}


def test_a_batch_of_records_is_there_whole_or_not_at_all() -> None:
    chance, files = random.Random(5), Files()
    for number in range(1, 200):
        operations, after = choose_batch(chance, files, number)
        history = History([line((after, 10, NEVER))])
        history.lines[0].steps[0].files = files
        assert allowed(history, [files]) is not None
        assert allowed(history, [after]) is not None
        for name in files.keys() ^ after.keys():
            half = {key: value for key, value in after.items() if key != name}
            if name in files:
                half[name] = files[name]
            if half not in (files, after):
                assert allowed(history, [half]) is None
        history.lines[0].steps[1].done = 11
        history.acknowledge(12)
        assert allowed(history, [files]) is None or files == after
        assert len({*map(str, operations)}) == len(operations)
        files = after
    assert len(files) > 5
