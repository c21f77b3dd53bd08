"""When to say "no space", so that what must always work always does.

disk-layout.md, "Space never runs out badly". Reserve A is for commit, rollback, deleting states
and reclaim alone; reserve B on top of it for unlink and truncate; everybody else must leave both.
Room is asked for before an operation changes anything, so the error comes instead of the change.
"""

from enum import IntEnum

from affs_fuse.volume.space import Space, no_space

__all__ = ["ReservePolicy", "RoomKind", "held_nodes_of", "nodes_of"]

OPERATION_NODES = 16
"""Nodes that one operation may add: the paths of a few keys, with splits."""

FURTHER_NODES = 8
"""Of each further operation in one turn: its few leaves, split, and what above them is not shared
with the first."""

FURTHER_NODES_HELD = 3
"""The same in memory, where a bound for the worst of all trees would be held for nothing. An
operation asks again for its own."""

ITEMS_PER_NODE = 100
"""Extent items that fit a node, pessimistically: what buffered blocks may need when they are
flushed.
"""

DIRTY_NODES_MAX = 8192
"""128 MiB of dirty nodes: a commit comes at the latest then."""


def nodes_of(operations: int) -> int:
    """Nodes that so many operations in one turn may add or change."""
    return OPERATION_NODES + FURTHER_NODES * (operations - 1)


def held_nodes_of(operations: int) -> int:
    """Nodes to have memory for before so many operations begin."""
    return OPERATION_NODES + FURTHER_NODES_HELD * (operations - 1)


class RoomKind(IntEnum):
    """NORMAL: anything that adds. REMOVE: unlink, rmdir, truncate. VERB: commit, rollback,
    delete.
    """

    NORMAL = 2
    REMOVE = 1
    VERB = 0


class ReservePolicy:
    """Decides from the allocator's figures; keeps none of its own."""

    def __init__(self, space: Space) -> None:
        self._space = space
        nodes_total = space.place_count * space.geometry.nodes_per_segment
        self.reserve_nodes = max(24, min(2048, nodes_total // 256))

    def require_nodes(
        self, kind: RoomKind, dirty_nodes: int, reserved_blocks: int, operations: int = 1
    ) -> None:
        """Room for so many operations beside what the next cut needs anyway. Errors:
        volume.no_space."""
        left = self._space.room().metadata_nodes - dirty_nodes
        if kind is RoomKind.NORMAL:
            left -= reserved_blocks // ITEMS_PER_NODE
        if left < kind * self.reserve_nodes + (nodes_of(operations) if kind else 0):
            raise no_space("metadata")

    def require_blocks(self, blocks: int, reserved_blocks: int) -> None:
        """Room for more buffered blocks. Errors: volume.no_space."""
        if blocks and self._space.room().data_blocks - reserved_blocks < blocks:
            raise no_space("file data")

    def presses(self, dirty_nodes: int) -> bool:
        """A quarter of the free metadata room, or of what may be in memory, is dirty."""
        return dirty_nodes > DIRTY_NODES_MAX or dirty_nodes * 4 > self._space.room().metadata_nodes
