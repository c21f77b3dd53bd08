"""What an operation raises when it needs something that is not in memory.

The caller loads it (Volume.begin_load, Load.execute in a worker, Volume.end_load) and calls the
operation again from its beginning; an operation changes nothing before its last look-up
(architecture.md).
"""

from collections.abc import Callable
from dataclasses import dataclass

from affs_fuse.core.tree import NodeMissing, Tree

__all__ = ["BlockRead", "DataMissing", "NodeMissing"]


@dataclass(frozen=True, slots=True)
class BlockRead:
    """A run of whole data blocks of one segment. checksums: 4 bytes for each block, as in the
    extent. object: whose data it is, 0 where nobody would be told.
    """

    address: int
    blocks: int
    checksums: bytes
    object: int = 0


class DataMissing(Exception):
    """Data blocks are needed. deliver(list of bytes, one for each read) is called once they are
    there. tree: of the state that has them, for telling what is damaged.
    """

    def __init__(
        self, reads: list[BlockRead], deliver: Callable[[list[bytes]], None], tree: Tree
    ) -> None:
        super().__init__(f"{len(reads)} runs of data blocks")
        self.reads = reads
        self.deliver = deliver
        self.tree = tree
