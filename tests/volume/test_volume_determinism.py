"""The same operations give the same bytes (reliability.md): whatever Python's hash seed is, and as
often as one tries, with a cache that evicts as with one that need not. Another size of the cache
may give other bytes, since nodes merge with neighbours that are in memory."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(__file__).with_name("deterministic_run.py")


def sum_of(seed: int, cache_bytes: int, hash_seed: int) -> str:
    """The sum of the volume's bytes, and how many nodes were evicted."""
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(seed), str(cache_bytes)],
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed), "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("cache_bytes", "repeats"), [(1 << 20, 10), (64 << 20, 4)], ids=["evicting", "roomy"]
)
def test_the_same_operations_give_the_same_bytes(cache_bytes: int, repeats: int) -> None:
    with ThreadPoolExecutor(2) as pool:
        sums = list(
            pool.map(lambda hash_seed: sum_of(5, cache_bytes, hash_seed), range(repeats))
        )
    assert len({*sums}) == 1, sums
    evictions = int(sums[0].split()[1])
    assert (evictions > 0) == (cache_bytes == 1 << 20)


def test_another_seed_gives_other_bytes() -> None:
    assert sum_of(5, 1 << 20, 0).split()[0] != sum_of(6, 1 << 20, 0).split()[0]
