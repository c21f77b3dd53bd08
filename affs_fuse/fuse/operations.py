"""The FUSE handlers: translate, call the namespace through the engine, translate back.

Nothing is decided here but what concerns the kernel alone: lookup counts, cache timeouts, and which
requests get "not implemented". Invariants:
- No handler lets anything out but FUSEError and what trio cancels with: any other exception would
  end pyfuse3's loop, and with it the mount. Unexpected ones become EIO, a log line and a count.
- "Not implemented" is said to flush and access only. getxattr must never say it (the kernel would
  stop asking for ACLs), nor open and opendir (reads would arrive without a handle).
- Every entry that is given to the kernel is counted, once the answer is certain.
"""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, TypeVar

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileInfo,
    FUSEError,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
)

from affs_fuse.fuse.actors import Actors
from affs_fuse.fuse.invalidation import KernelCaches
from affs_fuse.fuse.lookup_counts import LookupCounts
from affs_fuse.fuse.translate import (
    changes_of,
    credentials_of,
    entry_of,
    errno_of,
    is_door,
    negative_entry,
    statvfs_of,
)
from affs_fuse.posix.attributes import Attributes
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.engine import Engine
from affs_fuse.runtime.latency import Latencies, LatencyStatistics
from affs_fuse.volume.authors import acting

__all__ = ["CACHE_TIMEOUT_S", "CONTROL_XATTR", "OperationStatistics", "Operations"]

_log = logging.getLogger("affs.fuse")

CACHE_TIMEOUT_S = 86_400.0
"""The daemon is the only writer and says what else changes (semantics.md)."""

CONTROL_XATTR = b"user.affs.control"
"""Reads as the path of the control socket, so that clients find it from any path of the mount."""

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class OperationStatistics:
    """failures: handlers that ended in an unexpected exception. inodes: known to the kernel.
    read_bytes, written_bytes: given to and taken from programs. refusals: requests that ended in
    an errno, by its number (names that are not there are no refusal). latencies: by handler."""

    failures: int
    inodes: int
    read_bytes: int
    written_bytes: int
    refusals: dict[int, int]
    latencies: dict[str, LatencyStatistics]


def _handler(
    function: Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]]:
    """The one wrapper around every handler. It takes the time as well."""
    name = function.__name__

    @functools.wraps(function)
    async def guarded(self: "Operations", /, *arguments: P.args, **named: P.kwargs) -> R:
        monotonic = self._monotonic
        started = monotonic()
        try:
            return await function(self, *arguments, **named)
        except Exception as error:  # noqa: BLE001 - see the module's first invariant
            number = errno_of(error)
            if number is None:
                self.note_failure(name, error)
                number = errno.EIO
            self._refusals[number] = self._refusals.get(number, 0) + 1
        finally:
            self._latencies.note(name, monotonic() - started)
        raise FUSEError(number)

    return guarded


def _changing(
    function: Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]],
) -> Callable[Concatenate["Operations", P], Coroutine[Any, Any, R]]:
    """Of a handler that changes something for whoever its context names."""

    @functools.wraps(function)
    async def acted(self: "Operations", /, *arguments: P.args, **named: P.kwargs) -> R:
        context: Any = named["ctx"] if named else arguments[-1]
        with acting(self.author(context.uid, context.pid)):
            return await function(self, *arguments, **named)

    return acted


class Operations(pyfuse3.Operations):
    """One mount's handlers. control_path: what CONTROL_XATTR reads as, "" for none. timeout_s: how
    long the kernel believes an answer without asking again. monotonic: seconds. latencies: where
    the time of each request is noted."""

    supports_dot_lookup = True
    enable_writeback_cache = False
    enable_acl = True

    def __init__(
        self,
        engine: Engine,
        namespace: Namespace,
        kernel: KernelCaches,
        counts: LookupCounts,
        control_path: str = "",
        timeout_s: float = CACHE_TIMEOUT_S,
        *,
        monotonic: Callable[[], float],
        latencies: Latencies,
    ) -> None:
        super().__init__()
        self._engine = engine
        self._run = engine.run
        self._namespace = namespace
        self._kernel = kernel
        self._counts = counts
        self._control_path = control_path.encode()
        self._timeout_s = timeout_s
        self._monotonic = monotonic
        self._latencies = latencies
        self.author = Actors(engine.author, monotonic).author
        self._failures = 0
        self._read_bytes = 0
        self._written_bytes = 0
        self._refusals: dict[int, int] = {}

    def note_failure(self, name: str, error: Exception) -> None:
        self._failures += 1
        _log.error("%s failed in a way that should not happen", name, exc_info=error)

    def note_answer(self, name: str, started: float, number: int) -> None:
        """Of a request that was answered beside pyfuse3. started: of the monotonic clock; number:
        its errno, or 0."""
        if number:
            self._refusals[number] = self._refusals.get(number, 0) + 1
        self._latencies.note(name, self._monotonic() - started)

    def note_written(self, size: int) -> None:
        """By one request, in bytes; also by one that was answered beside pyfuse3."""
        self._written_bytes += size

    def statistics(self) -> OperationStatistics:
        return OperationStatistics(
            self._failures, len(self._counts), self._read_bytes, self._written_bytes,
            dict(self._refusals), self._latencies.statistics(),
        )

    def _entry(self, attributes: Attributes) -> EntryAttributes:
        return entry_of(attributes, self._timeout_s)

    def _counted(self, attributes: Attributes) -> EntryAttributes:
        entry = self._entry(attributes)
        self._counts.add(attributes.number)
        return entry

    # ---- names ----

    @_handler
    async def lookup(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            return self._counted(await self._run(self._namespace.lookup, parent_inode, name))
        except FileNotFoundError:
            return negative_entry(0 if is_door(parent_inode) else self._timeout_s)

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        try:
            gone = self._counts.forget(inode_list)
            self._kernel.forget(gone)
            self._engine.forget(gone)
        except Exception as error:  # noqa: BLE001 - nobody waits for an answer
            self.note_failure("forget", error)

    @_handler
    @_changing
    async def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        handle, attributes = await self._run(
            self._namespace.create, parent_inode, name, mode, flags, credentials_of(ctx)
        )
        return FileInfo(fh=handle, keep_cache=True), self._counted(attributes)

    @_handler
    @_changing
    async def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        return self._counted(
            await self._run(
                self._namespace.mkdir, parent_inode, name, mode, credentials_of(ctx)
            )
        )

    @_handler
    @_changing
    async def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        return self._counted(
            await self._run(
                self._namespace.mknod, parent_inode, name, mode, rdev, credentials_of(ctx)
            )
        )

    @_handler
    @_changing
    async def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return self._counted(
            await self._run(
                self._namespace.symlink, parent_inode, name, target, credentials_of(ctx)
            )
        )

    @_handler
    @_changing
    async def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        return self._counted(
            await self._run(self._namespace.link, inode, new_parent_inode, new_name)
        )

    @_handler
    @_changing
    async def unlink(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._run(self._namespace.unlink, parent_inode, name)

    @_handler
    @_changing
    async def rmdir(self, parent_inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._run(self._namespace.rmdir, parent_inode, name)

    @_handler
    @_changing
    async def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> None:
        await self._run(
            self._namespace.rename, parent_inode_old, name_old, parent_inode_new, name_new, flags
        )

    @_handler
    async def readlink(self, inode: int, ctx: RequestContext) -> bytes:
        return await self._run(self._namespace.readlink, inode)

    # ---- attributes ----

    @_handler
    async def getattr(self, inode: int, ctx: RequestContext) -> EntryAttributes:
        return self._entry(await self._run(self._namespace.getattr, inode))

    @_handler
    @_changing
    async def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        changes = changes_of(attr, fields)
        return self._entry(
            await self._engine.run_and_clean(
                self._namespace.setattr, inode, changes, credentials_of(ctx), fh
            )
        )

    @_handler
    async def statfs(self, ctx: RequestContext) -> StatvfsData:
        return statvfs_of(self._namespace.statfs())

    @_handler
    async def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> bytes:
        if name == CONTROL_XATTR and self._control_path:
            return self._control_path
        return await self._run(self._namespace.getxattr, inode, name, credentials_of(ctx))

    @_handler
    @_changing
    async def setxattr(
        self, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> None:
        await self._run(self._namespace.setxattr, inode, name, value, 0, credentials_of(ctx))

    @_handler
    async def listxattr(self, inode: int, ctx: RequestContext) -> Sequence[bytes]:
        return await self._run(self._namespace.listxattr, inode, credentials_of(ctx))

    @_handler
    @_changing
    async def removexattr(self, inode: int, name: bytes, ctx: RequestContext) -> None:
        await self._run(self._namespace.removexattr, inode, name, credentials_of(ctx))

    # ---- files ----

    @_handler
    async def open(self, inode: int, flags: int, ctx: RequestContext) -> FileInfo:
        handle = await self._run(self._namespace.open, inode, flags, credentials_of(ctx))
        if self._namespace.handle_of(handle).access_moved:
            self._kernel.invalidate_attributes(inode)
        return FileInfo(fh=handle, keep_cache=self._kernel.trusts(inode))

    @_handler
    async def read(self, fh: int, off: int, size: int) -> bytes:
        data = await self._run(self._namespace.read, fh, off, size)
        self._read_bytes += len(data)
        return data

    @_handler
    async def write(self, fh: int, off: int, buf: bytes) -> int:
        opener = self._namespace.handle_of(fh).credentials
        with acting(self.author(opener.uid, opener.pid)):
            written = await self._engine.write(fh, off, buf)
        self.note_written(written)
        return written

    @_handler
    async def release(self, fh: int) -> None:
        await self._engine.release(fh)

    @_handler
    async def fsync(self, fh: int, datasync: bool) -> None:
        await self._engine.sync()

    # ---- directories ----

    @_handler
    async def opendir(self, inode: int, ctx: RequestContext) -> int:
        return await self._run(self._namespace.opendir, inode, credentials_of(ctx))

    @_handler
    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        cookie = start_id
        while True:
            try:
                entries = await self._run(self._namespace.readdir, fh, cookie)
            except Exception:
                if cookie == start_id:
                    raise
                return  # What is in the reply already is counted; the next call says it again.
            if not entries:
                return
            for name, attributes, cookie in entries:
                entry = self._entry(attributes)
                if not pyfuse3.readdir_reply(token, name, entry, cookie):
                    return
                if name not in (b".", b".."):
                    self._counts.add(attributes.number)

    @_handler
    async def releasedir(self, fh: int) -> None:
        await self._run(self._namespace.releasedir, fh)

    @_handler
    async def fsyncdir(self, fh: int, datasync: bool) -> None:
        await self._engine.sync()


