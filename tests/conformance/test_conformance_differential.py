"""Random calls on ext4 and on AfFS side by side (differential.py): nothing may differ."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from differential import compare
from mounted import Mounted


@pytest.fixture
def places(ext4: Path, volume: Mounted) -> Iterator[list[Path]]:
    made = [Path(tempfile.mkdtemp(prefix="x", dir=root)) for root in (ext4, volume.directory)]
    before = os.getcwd()
    for place in made:
        place.chmod(0o777)
    yield made
    os.chdir(before)
    for place in made:
        shutil.rmtree(place)


@pytest.mark.parametrize("seed", range(4))
def test_nothing_differs(places: list[Path], seed: int) -> None:
    compare(places, seed, 300)


@pytest.mark.parametrize("seed", range(100, 104))
def test_nothing_differs_with_open_files(places: list[Path], seed: int) -> None:
    compare(places, seed, 300, with_handles=True)
