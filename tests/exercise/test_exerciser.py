"""The exerciser's short form on a mounted volume, and the exerciser itself: it finds what is wrong
and makes it short."""

import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from affs_tools.exercise.campaign import attempt, campaign, shrink
from affs_tools.exercise.file_run import compare
from affs_tools.exercise.steps import DifferenceError, Settings, Step, load, save

OPTIONS = "commit_interval=0"


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where there is such a place, with a short path for the socket's sake."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with TemporaryDirectory(prefix="affs-x-", dir=base) as name:
        yield Path(name)


@pytest.mark.slow
@pytest.mark.mount
@pytest.mark.parametrize("seed", [11, 12])
def test_one_file_on_a_volume(folder: Path, seed: int) -> None:
    settings = Settings("file", seed, options=OPTIONS)
    outcome = campaign(settings, folder, None, seconds=15)
    assert not outcome.difference, outcome.difference
    assert outcome.steps


@pytest.mark.slow
@pytest.mark.mount
def test_a_tree_on_a_volume(folder: Path) -> None:
    settings = Settings("tree", 13, options=OPTIONS)
    outcome = campaign(settings, folder, None, seconds=30)
    assert not outcome.difference, outcome.difference
    assert outcome.steps


@pytest.mark.parametrize("kind", ["file", "tree"])
def test_a_plain_directory_passes(folder: Path, kind: str) -> None:
    settings = Settings(kind, 14, verbs=False)
    outcome = campaign(settings, folder / "run", folder, operations=3000)
    assert outcome.difference == ""
    assert len(outcome.steps) == 3000


def test_the_same_seed_gives_the_same_steps_and_the_log_replays(folder: Path) -> None:
    settings = Settings("file", 15, verbs=False)
    first, again = (
        campaign(settings, folder / name, folder, operations=200) for name in ("a", "b")
    )
    assert first.steps == again.steps
    save(folder / "log", settings, first.steps)
    loaded, steps = load(folder / "log")
    assert loaded == settings
    assert attempt(loaded, steps, folder / "c", folder).steps == first.steps


def test_a_wrong_byte_is_a_difference() -> None:
    with pytest.raises(DifferenceError, match="1 differ, from 7 to 7"):
        compare(b"abxd", b"abcd", 5, "")
    with pytest.raises(DifferenceError, match="3 bytes, expected 4"):
        compare(b"abc", b"abcd", 0, "")


def test_an_exercise_that_dies_is_a_difference(folder: Path) -> None:
    steps: list[Step] = [{"do": "verify"}, {"do": "no such step"}]
    outcome = attempt(Settings("file", 1, verbs=False), steps, folder / "run", folder)
    assert outcome.difference
    assert outcome.steps == steps


def test_shrinking_leaves_what_is_needed() -> None:
    steps: list[Step] = [{"do": "read", "at": index} for index in range(100)]

    def fails(some: list[Step]) -> bool:
        return {17, 63} <= {step["at"] for step in some}

    assert [step["at"] for step in shrink(fails, steps, 30)] == [17, 63]
