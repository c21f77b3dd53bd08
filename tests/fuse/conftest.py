"""Fixtures of the tests that mount: folders on a memory filesystem, and a mounted volume."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from mounted import Mounted


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root and /dev/fuse there is nothing to mount."""
    if os.geteuid() == 0 and os.path.exists("/dev/fuse"):
        return
    for item in items:
        if "fuse" in item.path.parts and "folder" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.skip(reason="mounting takes root and /dev/fuse"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path, in memory where there is such a place."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="affs-", dir=base))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def mounted(folder: Path) -> Iterator[Mounted]:
    """A new volume of 256 MiB, mounted."""
    with Mounted(folder) as made:
        yield made
