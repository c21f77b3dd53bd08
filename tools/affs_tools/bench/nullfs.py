"""A filesystem that stores nothing: what pyfuse3 itself costs, hence the floor for AfFS.

`python -m affs_tools.bench.nullfs DIRECTORY` mounts it in the foreground. It asks of the kernel
what AfFS asks (ACLs on, write-through, long timeouts, cached negative names, pages kept), remembers
names and sizes in dicts, and gives zeros for data. The one module outside affs_fuse/fuse that
imports pyfuse3.
"""

import errno
import stat
import sys
from dataclasses import dataclass, field

import pyfuse3
import trio
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
)

__all__ = ["NullFilesystem", "main"]

TIMEOUT_S = 300.0
FILES_MAX = 1 << 20


@dataclass(slots=True)
class Entry:
    mode: int
    size: int = 0
    children: dict[bytes, int] = field(default_factory=dict)


class NullFilesystem(pyfuse3.Operations):
    """One request, one dict look-up, one reply."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = True

    def __init__(self) -> None:
        super().__init__()
        self._entries = {pyfuse3.ROOT_INODE: Entry(stat.S_IFDIR | 0o755)}
        self._next = pyfuse3.ROOT_INODE + 1
        self._zeros = bytes(1 << 20)
        self._absent = EntryAttributes()
        self._absent.st_ino = 0
        self._absent.entry_timeout = TIMEOUT_S

    def _attributes(self, number: int) -> EntryAttributes:
        entry = self._entries[number]
        attributes = EntryAttributes()
        attributes.st_ino = number
        attributes.st_mode = entry.mode
        attributes.st_size = entry.size
        attributes.st_nlink = 1
        attributes.st_blksize = 4096
        attributes.st_blocks = entry.size + 511 >> 9
        attributes.attr_timeout = TIMEOUT_S
        attributes.entry_timeout = TIMEOUT_S
        return attributes

    def _add(self, parent: int, name: bytes, mode: int) -> EntryAttributes:
        number = self._next
        self._next += 1
        self._entries[number] = Entry(mode)
        self._entries[parent].children[name] = number
        return self._attributes(number)

    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext | None = None
    ) -> EntryAttributes:
        number = self._entries[parent_inode].children.get(name)
        return self._absent if number is None else self._attributes(number)

    async def getattr(self, inode: InodeT, ctx: RequestContext | None = None) -> EntryAttributes:
        return self._attributes(inode)

    async def setattr(
        self, inode: InodeT, attr: EntryAttributes, fields: SetattrFields,
        fh: FileHandleT | None, ctx: RequestContext,
    ) -> EntryAttributes:
        entry = self._entries[inode]
        if fields.update_size:
            entry.size = attr.st_size
        if fields.update_mode:
            entry.mode = attr.st_mode
        return self._attributes(inode)

    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        attributes = self._add(parent_inode, name, mode | stat.S_IFREG)
        return FileInfo(fh=attributes.st_ino, keep_cache=True), attributes

    async def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        return self._add(parent_inode, name, mode | stat.S_IFDIR)

    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        del self._entries[parent_inode].children[name]

    rmdir = unlink

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        return FileInfo(fh=inode, keep_cache=True)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        return self._zeros[:size]

    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        entry = self._entries[fh]
        entry.size = max(entry.size, off + len(buf))
        return len(buf)

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        return inode

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        children = list(self._entries[fh].children.items())
        for index in range(start_id, len(children)):
            name, number = children[index]
            if not pyfuse3.readdir_reply(token, name, self._attributes(number), index + 1):
                return

    async def getxattr(self, inode: InodeT, name: FileNameT, ctx: RequestContext) -> bytes:
        raise FUSEError(errno.ENODATA)

    async def flush(self, fh: FileHandleT) -> None:
        raise FUSEError(errno.ENOSYS)

    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        figures = StatvfsData()
        figures.f_bsize = figures.f_frsize = 4096
        figures.f_blocks = figures.f_bfree = figures.f_bavail = 1 << 30
        figures.f_files = figures.f_ffree = figures.f_favail = FILES_MAX
        figures.f_namemax = 255
        return figures


def main(arguments: list[str]) -> int:
    options = {*pyfuse3.default_options, "allow_other", "fsname=null", "subtype=null"}
    pyfuse3.init(NullFilesystem(), arguments[0], options)
    try:
        trio.run(pyfuse3.main)
    finally:
        pyfuse3.close(unmount=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
