"""The files that lie directly in a directory, one by one, while the loop goes on."""

import stat
from collections.abc import AsyncIterator

import trio

from affs_fuse.core.codec import Inode
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.memory import Allowance, Pool
from affs_fuse.query.rows import Entry, Needs
from affs_fuse.query.sources import Report, TreeWalk, Wanted
from affs_fuse.runtime.loader import Loader

__all__ = ["directory_files"]

SLICE_ENTRIES = 64
_END = object()


async def directory_files(
    loader: Loader,
    reader: StateReader,
    number: int,
    inode: Inode,
    path: bytes = b"",
    memory: Allowance | None = None,
) -> AsyncIterator[Entry]:
    """Regular files alone, by the bytes of their names. path: of the directory, for theirs. Errors:
    query.memory; those of loading."""
    walk = TreeWalk(
        reader, (path, number, inode), Wanted(False, Needs.NOTHING, None), Report(),
        memory or Allowance(Pool()), deep=False,
    )  # fmt: skip
    steps = 0
    while True:
        steps += 1
        if not steps % SLICE_ENTRIES:
            await trio.lowlevel.checkpoint()
        entry = await loader.run(next, walk, _END)
        if entry is _END:
            return
        if isinstance(entry, Entry) and stat.S_ISREG(entry.inode.mode):
            yield entry
