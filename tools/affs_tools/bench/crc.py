"""CRC32C against google-crc32c, the fastest on PyPI: `python -m affs_tools.bench.crc`.

Prints one line for each size of buffer and each implementation that this machine has. The two are
measured in turns, in slices of about a millisecond, and the best slice of each counts, so that
other work on the machine disturbs both alike. Exit status 1 if the ratio at 1 MiB is below --least.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence

import google_crc32c

from affs_fuse.core import checksum

__all__ = ["main", "ratio"]

SIZES = (512, 4096, 16384, 1 << 20)
SIZE_JUDGED = 1 << 20
ROUNDS = 60
SLICE_BYTES = 16 << 20


def _slice_s(function: Callable[[bytes], object], data: bytes, count: int) -> float:
    begin = time.perf_counter()
    for _ in range(count):
        function(data)
    return (time.perf_counter() - begin) / count


def measure(size: int, rounds: int = ROUNDS) -> tuple[float, float]:
    """Seconds for one buffer of size bytes: ours, google-crc32c's."""
    data = bytes(index * 31 + (index >> 8) & 0xFF for index in range(size))
    if checksum.crc32c(data) != google_crc32c.value(data):
        raise AssertionError("the two do not compute the same")
    count = max(1, min(2000, SLICE_BYTES // size // 8))
    ours = theirs = float("inf")
    for _ in range(rounds):
        ours = min(ours, _slice_s(checksum.crc32c, data, count))
        theirs = min(theirs, _slice_s(google_crc32c.value, data, count))
    return ours, theirs


def ratio(size: int = SIZE_JUDGED, rounds: int = ROUNDS) -> float:
    """Our speed as a multiple of google-crc32c's."""
    ours, theirs = measure(size, rounds)
    return theirs / ours


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--least", type=float, default=0.8, help="ratio to reach (default 0.8)")
    least: float = parser.parse_args(arguments).least
    judged = 0.0
    best = checksum.implementation()
    for name in ("portable", "sse42", "arm"):
        try:
            checksum.select(name)
        except ValueError:
            continue
        for size in SIZES:
            ours, theirs = measure(size, rounds=ROUNDS if name == best else 5)
            if name == best and size == SIZE_JUDGED:
                judged = theirs / ours
            print(
                f"{name:9} {size:8} bytes  {size / ours / 1e9:6.2f} GB/s  "
                f"google-crc32c {size / theirs / 1e9:6.2f} GB/s  ratio {theirs / ours:5.2f}"
            )
    checksum.select("auto")
    print(f"{best} at {SIZE_JUDGED} bytes: {judged:.2f} of google-crc32c, wanted {least:.2f}")
    return 0 if judged >= least else 1


if __name__ == "__main__":
    sys.exit(main())
