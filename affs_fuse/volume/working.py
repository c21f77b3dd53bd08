"""The working state, and the trees that a volume keeps open."""

from dataclasses import dataclass

from affs_fuse.core.constants import TREE_CHECKPOINT, TREE_SPACE, TREE_SYSTEM
from affs_fuse.core.tree import NodeCache, Tree

__all__ = ["SystemTrees", "WorkingState"]


@dataclass(slots=True, eq=False)
class WorkingState:
    """What the mount shows. A rollback replaces it by another object; the old one is the abandoned
    state.

    ancestor: number of its nearest kept ancestor, 0 none; ancestor_seq: that state's seq. Blocks
    born later than ancestor_seq belong to this state alone (disk-layout.md, "Birth rule").
    object_count: inodes; whoever makes or removes one counts here.
    """

    tree: Tree
    ancestor: int
    ancestor_seq: int
    object_count: int


@dataclass(slots=True, eq=False)
class SystemTrees:
    """Trees outside every kept state. Their nodes stay in a cache of their own that is never
    trimmed, so that a cut, which must not wait, finds all it changes."""

    cache: NodeCache
    checkpoint: Tree
    system: Tree
    space: Tree

    @classmethod
    def empty(cls, cache: NodeCache) -> "SystemTrees":
        return cls(
            cache,
            Tree(cache, TREE_CHECKPOINT, None),
            Tree(cache, TREE_SYSTEM, None),
            Tree(cache, TREE_SPACE, None),
        )

    @property
    def all(self) -> tuple[Tree, Tree, Tree]:
        """In the order in which a cut freezes them."""
        return self.checkpoint, self.system, self.space

    @property
    def dirty_count(self) -> int:
        return sum(tree.dirty_count for tree in self.all)
