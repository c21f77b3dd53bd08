"""The handlers of requests that pyfuse3 does not know: holes, room, nameless files, birth times.

Like operations.py: translate, call, translate back. The structures are those of linux/fuse.h; all
machines that the C core takes are little-endian.
"""

import errno
import os
import struct
from collections.abc import Callable

from affs_fuse.core.checksum import Buffer
from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.fuse.lookup_counts import LookupCounts
from affs_fuse.fuse.requests import Handler, Header
from affs_fuse.fuse.translate import SECTORS_PER_BLOCK, credentials_from
from affs_fuse.posix.attributes import Attributes
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.engine import Engine
from affs_fuse.volume.authors import acting

__all__ = ["MoreOperations"]

FALLOCATE, LSEEK, TMPFILE, STATX = 43, 46, 51, 52
"""Opcodes of the FUSE protocol."""
KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE = 1, 2, 16
"""Modes of fallocate(2). The kernel refuses all others itself."""
FOPEN_KEEP_CACHE = 2
STATX_BASIC_STATS, STATX_BTIME = 0x7FF, 0x800
SECOND_NS = 1_000_000_000

_FALLOCATE_IN = struct.Struct("<QQQII")
_LSEEK_IN, _LSEEK_OUT = struct.Struct("<QQII"), struct.Struct("<Q")
_CREATE_IN = struct.Struct("<IIII")
_ENTRY_OUT = struct.Struct("<QQQQII")
_ATTRIBUTES = struct.Struct("<QQQqqqIIIIIIIIII")
_OPEN_OUT = struct.Struct("<QII")
_STATX_OUT = struct.Struct("<QII16x")
_STATX = struct.Struct("<IIQIIIHxxQQQQqIxxxxqIxxxxqIxxxxqIxxxxIIII112x")


class MoreOperations:
    """One mount's. timeout_s: how long the kernel believes an answer without asking again. author:
    of a user and a process, as Operations has it."""

    def __init__(
        self,
        engine: Engine,
        namespace: Namespace,
        counts: LookupCounts,
        timeout_s: float,
        author: Callable[[int, int], int],
    ) -> None:
        self._author = author
        self._engine = engine
        self._namespace = namespace
        self._counts = counts
        self._timeout = divmod(int(timeout_s * SECOND_NS), SECOND_NS)

    @property
    def handlers(self) -> dict[int, Handler]:
        """By opcode."""
        return {
            FALLOCATE: self.fallocate, LSEEK: self.lseek, STATX: self.statx,
            TMPFILE: self.tmpfile,
        }  # fmt: skip

    async def lseek(self, header: Header, body: Buffer) -> bytes:
        handle, offset, whence, _ = _LSEEK_IN.unpack_from(body)
        if whence not in (os.SEEK_DATA, os.SEEK_HOLE):
            raise posix_error(errno.EINVAL)
        hole = whence == os.SEEK_HOLE
        return _LSEEK_OUT.pack(await self._engine.file_space.seek(handle, offset, hole=hole))

    async def fallocate(self, header: Header, body: Buffer) -> bytes:
        handle, offset, length, mode, _ = _FALLOCATE_IN.unpack_from(body)
        space = self._engine.file_space
        who = credentials_from(header.uid, header.gid, header.pid, 0)
        grow = not mode & KEEP_SIZE
        action = mode & ~KEEP_SIZE
        if action not in (0, PUNCH_HOLE, ZERO_RANGE):
            raise posix_error(errno.EOPNOTSUPP)
        with acting(self._author(header.uid, header.pid)):
            if not action:
                await space.fill(handle, offset, length, who, grow=grow)
                return b""
            await space.punch(handle, offset, length, who)
            if grow:
                await space.extend(handle, offset + length, who)
        return b""

    async def tmpfile(self, header: Header, body: Buffer) -> bytes:
        flags, mode, umask, _ = _CREATE_IN.unpack_from(body)
        who = credentials_from(header.uid, header.gid, header.pid, umask)
        with acting(self._author(header.uid, header.pid)):
            handle, attributes = await self._engine.run(
                self._namespace.create_nameless, header.node, mode, flags, who
            )
        self._counts.add(attributes.number)
        seconds, nanoseconds = self._timeout
        entry = _ENTRY_OUT.pack(
            attributes.number, attributes.inode.generation, seconds, seconds, nanoseconds,
            nanoseconds,
        )
        return entry + _attributes(attributes) + _OPEN_OUT.pack(handle, FOPEN_KEEP_CACHE, 0)

    async def statx(self, header: Header, body: Buffer) -> bytes:
        attributes = await self._engine.run(self._namespace.getattr, header.node)
        return _STATX_OUT.pack(*self._timeout, 0) + _statx(attributes)


def _attributes(attributes: Attributes) -> bytes:
    """struct fuse_attr."""
    number, inode = attributes
    times = [divmod(time, SECOND_NS) for time in (inode.atime_ns, inode.mtime_ns, inode.ctime_ns)]
    return _ATTRIBUTES.pack(
        number, inode.size, inode.blocks * SECTORS_PER_BLOCK,
        *(seconds for seconds, _ in times), *(rest for _, rest in times),
        inode.mode, inode.nlink, inode.uid, inode.gid, inode.rdev, BLOCK_SIZE, 0,
    )  # fmt: skip


def _statx(attributes: Attributes) -> bytes:
    """struct fuse_statx. The kernel puts the filesystem's own device number in."""
    number, inode = attributes
    times: list[int] = []
    for time in (inode.atime_ns, inode.btime_ns, inode.ctime_ns, inode.mtime_ns):
        times += divmod(time, SECOND_NS)
    return _STATX.pack(
        STATX_BASIC_STATS | STATX_BTIME, BLOCK_SIZE, 0,
        inode.nlink, inode.uid, inode.gid, inode.mode,
        number, inode.size, inode.blocks * SECTORS_PER_BLOCK, 0,
        *times, os.major(inode.rdev), os.minor(inode.rdev), 0, 0,
    )  # fmt: skip
