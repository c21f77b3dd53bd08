"""What the operations on one state work with."""

from collections.abc import Callable

from affs_fuse.posix.declarations import Collections
from affs_fuse.posix.file_data import FileData
from affs_fuse.posix.handles import Handles
from affs_fuse.posix.indexes import Marks
from affs_fuse.posix.inodes import Stamp
from affs_fuse.posix.orphans import Orphans
from affs_fuse.volume.authors import acting_number
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState

__all__ = ["Context"]


class Context:
    """A state, its tree, its files' data, orphans and collections; after a rollback there is a new
    one.

    handles are the mount's and go on to the next context. referenced(number): does the kernel
    still know this object? (Handles are counted apart.)
    """

    __slots__ = (
        "_now_ns",
        "collections",
        "data",
        "entropy",
        "handles",
        "hash_key",
        "marks",
        "orphans",
        "referenced",
        "state",
        "tree",
        "volume",
    )

    def __init__(
        self,
        volume: Volume,
        state: WorkingState,
        handles: Handles,
        referenced: Callable[[int], bool],
    ) -> None:
        self.volume = volume
        self.hash_key = volume.hash_key
        self._now_ns = volume.clock.now_ns
        self.entropy = volume.entropy
        self.handles = handles
        self.referenced = referenced
        self.state = state
        self.tree = state.tree
        self.data = FileData(volume, state)
        self.orphans = Orphans(volume, state, self.data)
        self.collections = Collections(state.tree)
        self.marks = Marks(state.tree, self.collections)

    def stamp(self) -> Stamp:
        """Of what changes now."""
        volume = self.volume
        return Stamp(self._now_ns(), acting_number(), volume.generation)

    def in_use(self, number: int) -> bool:
        """Must an object without a name stay for now?"""
        return self.handles.of(number) is not None or self.referenced(number)
