"""What the operations on one state work with."""

from collections.abc import Callable

from affs_fuse.posix.declarations import Collections
from affs_fuse.posix.file_data import FileData
from affs_fuse.posix.handles import Handles
from affs_fuse.posix.indexes import Marks
from affs_fuse.posix.orphans import Orphans
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
        "collections",
        "data",
        "entropy",
        "handles",
        "hash_key",
        "marks",
        "now_ns",
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
        self.now_ns = volume.clock.now_ns
        self.entropy = volume.entropy
        self.handles = handles
        self.referenced = referenced
        self.state = state
        self.tree = state.tree
        self.data = FileData(volume, state)
        self.orphans = Orphans(volume, state, self.data)
        self.collections = Collections(state.tree)
        self.marks = Marks(state.tree, self.collections)

    def in_use(self, number: int) -> bool:
        """Must an object without a name stay for now?"""
        return self.handles.of(number) is not None or self.referenced(number)
