"""Volumes to ask: on a memory device, and mounted."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from affs_ctl.client import Client

TESTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / room) for room in ("posix", "fuse", "runtime", "tools")]

from mounted import Mounted  # noqa: E402 - found by the path just set
from query_harness import QueryBench  # noqa: E402


@pytest.fixture
def bench() -> QueryBench:
    return QueryBench()


@pytest.fixture(scope="module")
def shared_mount(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounted]:
    """One mount for all tests of a module."""
    with Mounted(tmp_path_factory.mktemp("q")) as made:
        yield made


@pytest.fixture
def mounted(shared_mount: Mounted) -> Mounted:
    """The shared mount, with nothing but an empty directory `p` in it. (Kept states stay.)"""
    for path in shared_mount.directory.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (shared_mount.directory / "p").mkdir()
    return shared_mount


@pytest.fixture
def client(mounted: Mounted) -> Iterator[Client]:
    with mounted.client() as made:
        yield made
