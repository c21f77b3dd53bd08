"""The header regions of a volume in use, read back from the medium: both superblocks, and the
newest durable record and its parent in both rings.

Only what nobody writes meanwhile is looked at: the slots of these two records are written again 62
commits later at the earliest.
"""

from affs_fuse.core.codec import Commit, Superblock, verify_commit, verify_superblock
from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device
from affs_fuse.volume import layout
from affs_fuse.volume.scrub import Damage, read_medium
from affs_fuse.volume.verify_nodes import FIRST_KEY

__all__ = ["check_headers"]


def check_headers(device: Device, uuid: bytes, record: Commit) -> list[Damage]:
    """In a worker. record: of the newest durable commit."""
    found: list[Damage] = []
    for region in range(len(layout.REGIONS)):
        problem = _superblock_problem(device, uuid, region)
        if problem:
            block = layout.superblock_offset(region) // BLOCK_SIZE
            found.append(_damage("verify.superblock", f"superblock {region + 1} {problem}", block))
        for seq in (record.seq, record.parent_seq):
            problem = _record_problem(device, uuid, region, seq) if seq else ""
            if problem:
                block = layout.ring_offset(region, seq) // BLOCK_SIZE
                text = f"the record of commit {seq} in ring {region + 1} {problem}"
                found.append(_damage("verify.ring_slot", text, block))
    return found


def _superblock_problem(device: Device, uuid: bytes, region: int) -> str:
    block, result = read_medium(device, layout.superblock_offset(region), BLOCK_SIZE)
    if not result.ok:
        return f"cannot be read (errno {result.errno})"
    try:
        verify_superblock(block)
    except StructureError as error:
        return f"is damaged ({error.reason})"
    return "" if Superblock.unpack(block).format_uuid == uuid else "is of another volume"


def _record_problem(device: Device, uuid: bytes, region: int, seq: int) -> str:
    block, result = read_medium(device, layout.ring_offset(region, seq), BLOCK_SIZE)
    if not result.ok:
        return f"cannot be read (errno {result.errno})"
    try:
        verify_commit(block, uuid)
    except StructureError as error:
        return f"is damaged ({error.reason})"
    return "" if Commit.unpack(block).seq == seq else "is of another commit"


def _damage(code: str, message: str, block: int) -> Damage:
    return Damage(code, message, f"@{block}", 0, FIRST_KEY, FIRST_KEY, -1)
