"""What C is shown of a buffer does not outlive the call, whatever keeps the frames that made it."""

import subprocess
import sys

PROGRAM = """
import gc
from affs_fuse.core import checksum, verify
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import NodeCache
from affs_fuse.core.codec import NO_POINTER

gc.disable()
block = memoryview(bytearray(16384))
uuid = bytes(16)
pointer = NO_POINTER._replace(address=1 << 32 | 4, birth=1, tree=1)
CALLS = [
    lambda view: verify.verify_superblock(view[:4096]),
    lambda view: verify.verify_owner(view[:4096]),
    lambda view: verify.verify_commit(view[:4096], uuid),
    lambda view: verify.verify_segment_header(view[:4096], uuid),
    lambda view: verify.verify_node(view, uuid, uuid),
    lambda view: verify.verify_item(1, (1, 1, 0), view[:3]),
    lambda view: checksum.first_bad_block(view, view[:1]),
    lambda view: checksum.copy_blocks(view[:4096], view[:100]),
    lambda view: NodeCache(1 << 20, uuid, uuid).install(pointer, view),
]
for call in CALLS:
    try:
        call(memoryview(bytearray(16384)))
    except (StructureError, ValueError) as error:
        kept = [error]
        kept.append(kept)  # a cycle that keeps the traceback, and so every frame
    else:
        raise AssertionError("nothing was refused")
    del kept
    gc.collect()
print("collected")
"""


def test_the_frames_of_a_refusal_can_be_collected() -> None:
    """Otherwise a damaged node could end the daemon, with the next garbage collection."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "collected\n"), done.stderr
