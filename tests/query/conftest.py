"""A volume to ask, on a memory device."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "posix"))

from query_harness import QueryBench


@pytest.fixture
def bench() -> QueryBench:
    return QueryBench()
