"""Fixtures of the tests that run real programs on a mount of their own.

A program that is missing is an error, not a skip: tools/setup --dev installs them all.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parents[1] / "fuse"))

from mounted import Mounted


@pytest.fixture
def folder() -> Iterator[Path]:
    """An empty folder with a short path, in memory where there is such a place."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="affs-", dir=base))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def mounted(folder: Path) -> Iterator[Mounted]:
    """A new volume, mounted so that device nodes work."""
    with Mounted(folder, options="dev,suid", size_bytes=1 << 30) as made:
        yield made


@pytest.fixture
def root(mounted: Mounted) -> Path:
    return mounted.directory


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without root and /dev/fuse there is nothing to mount."""
    if os.geteuid() == 0 and os.path.exists("/dev/fuse"):
        return
    for item in items:
        if "programs" in item.path.parts:
            item.add_marker(pytest.mark.skip(reason="mounting takes root and /dev/fuse"))
