"""A volume to ask, on a memory device."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / room) for room in ("posix", "fuse")]

from query_harness import QueryBench  # noqa: E402 - found by the path just set


@pytest.fixture
def bench() -> QueryBench:
    return QueryBench()
