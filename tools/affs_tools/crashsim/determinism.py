"""One seed, one image: the same steps give the same bytes, whatever process does them.

Every run is done in processes whose hash seeds differ, so that an order which hangs on hashing, a
clock or chance that is not an argument shows itself. What is compared is a digest of all that was
written, in order, with every barrier, and of the device at the end.
"""

import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

from affs_tools.crashsim.device import Flush, Write
from affs_tools.crashsim.explore import base_of, record
from affs_tools.crashsim.workloads import Workload, records, singles, stories

__all__ = ["FINGERPRINT_MODULE", "chosen", "fingerprint", "fingerprints_of_processes"]

FINGERPRINT_MODULE = "affs_tools.crashsim.determinism"
_SLOW = ("full", "crowded/", "wide/")


def chosen(*, short: bool) -> list[Workload]:
    """The workloads whose images are compared."""
    alone = (one for one in records() if one.name.startswith("record/"))
    every = [*stories(), *singles(), *alone]
    return [one for one in every if not one.name.startswith(_SLOW)][:: 9 if short else 1]


def fingerprint(workloads: Iterable[Workload]) -> str:
    """Of everything that these runs write."""
    hasher = blake2b(digest_size=16)
    for workload in workloads:
        base = base_of(workload.base)
        hasher.update(workload.name.encode())
        mark = base.image.mark()
        for event in record(base, workload.steps).log:
            if isinstance(event, Write):
                hasher.update(event.offset.to_bytes(8, "little"))
                hasher.update(event.data)
                base.image.put(event.offset, event.data)
            elif isinstance(event, Flush):
                hasher.update(b"flush")
        hasher.update(base.image.content)
        base.image.revert(mark)
    return hasher.hexdigest()


def fingerprints_of_processes(repeats: int, *, short: bool, jobs: int = 1) -> list[str]:
    """One fingerprint from each of `repeats` new processes, each with a hash seed of its own; so
    many of them at once."""

    def fingerprint_with(seed: int) -> str:
        done = subprocess.run(
            [
                "env", f"PYTHONHASHSEED={seed}", sys.executable, "-m", FINGERPRINT_MODULE,
                *(["--short"] if short else []),
            ],
            capture_output=True,
            text=True,
            check=True,
        )  # fmt: skip
        return done.stdout.strip()

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(fingerprint_with, range(1, repeats + 1)))


if __name__ == "__main__":
    print(fingerprint(chosen(short="--short" in sys.argv)))
