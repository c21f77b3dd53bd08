"""The files that lie directly in a directory, one by one, while the loop goes on."""

import stat

import trio

from affs_fuse.core.codec import Inode
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.memory import Allowance, Pool
from affs_fuse.query.rows import Entry, Needs
from affs_fuse.query.sources import Report, TreeWalk, Wanted
from affs_fuse.runtime.loader import Loader

__all__ = ["DirectoryFiles"]

SLICE_ENTRIES = 64
_END = object()


class DirectoryFiles:
    """Regular files alone, by the bytes of their names. path: of the directory, for theirs."""

    def __init__(
        self,
        loader: Loader,
        reader: StateReader,
        directory: tuple[int, Inode, bytes],
        memory: Allowance | None = None,
    ) -> None:
        number, inode, path = directory
        self._loader = loader
        self._walk = TreeWalk(
            reader, (path, number, inode), Wanted(False, Needs.NOTHING, None), Report(),
            memory or Allowance(Pool()), deep=False,
        )  # fmt: skip
        self._steps = 0

    async def next(self) -> Entry | None:
        """None at the end. Errors: query.memory; those of loading."""
        while True:
            self._steps += 1
            if not self._steps % SLICE_ENTRIES:
                await trio.lowlevel.checkpoint()
            entry = await self._loader.run(next, self._walk, _END)
            if entry is _END:
                return None
            if isinstance(entry, Entry) and stat.S_ISREG(entry.inode.mode):
                return entry
