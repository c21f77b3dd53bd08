"""A fresh namespace for each test, checked as fsck.affs does when the test has passed."""

from collections.abc import Iterator

import pytest
from posix_harness import Bench


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.check()
