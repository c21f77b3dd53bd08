"""The allocator of the daemon keeps large buffers."""

import subprocess
import sys

PROGRAM = """
import resource
from affs_fuse.daemon.memory import keep_freed_buffers

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(200):
        bytes(bytearray(1 << 20))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

left_alone = faults()
print(keep_freed_buffers(), left_alone > 10 * faults())
"""


def test_large_buffers_are_used_again() -> None:
    """Page faults of 200 rounds with buffers of 1 MiB, before and after."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True True\n"
