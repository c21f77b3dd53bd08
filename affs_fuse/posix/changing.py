"""Changing attributes: chmod, chown, truncate, utimensat; and what writing does to them.

fs/attr.c is the model: a change of owner takes setuid and setgid, truncating does so unless the
caller is privileged, and before a write the kernel does it; all of them take security.capability;
chmod goes into the access ACL.
"""

import errno
import stat
from typing import NamedTuple

from affs_fuse.core.checksum import Buffer
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import ITEM_XATTR
from affs_fuse.posix import acl, inodes, xattrs
from affs_fuse.posix.attributes import TIME_MAX_NS, TIME_MIN_NS, Attributes, Changes, reported
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.extents import OFFSET_END
from affs_fuse.posix.file_data import Truncation
from affs_fuse.posix.handles import Handle, OpenObject
from affs_fuse.posix.permissions import (
    Credentials,
    mode_after_chmod,
    mode_after_chown,
    mode_after_truncating,
    mode_after_writing,
)
from affs_fuse.posix.xattrs import Found
from affs_fuse.volume.reserve import RoomKind

__all__ = ["SIZE_MAX", "change", "find_capability", "write", "write_at"]

SIZE_MAX = OFFSET_END - 1
"""Bytes of the largest file."""
ID_NONE = 0xFFFFFFFF
_MASK = 4095


class _AclChange(NamedTuple):
    """The access ACL that a chmod changes, and its new value."""

    found: Found
    value: bytes


def change(
    context: Context,
    number: int,
    changes: Changes,
    credentials: Credentials,
    stamp: bool = False,
    *,
    writing: bool = False,
) -> Attributes:
    """setattr: all of `changes` or none. stamp: a new size moves mtime even if it is the old size
    (ftruncate and O_TRUNC, not truncate). writing: mode bits go as with a write (fallocate).

    Errors: EFBIG, EINVAL, EISDIR, ESTALE; NodeMissing; volume.no_space, volume.read_only.
    """
    tree = context.tree
    inode = inodes.load(tree, number)
    after = _with_owner_and_mode(inode, changes, credentials)
    truncation: Truncation | None = None
    capability: Found | None = None
    if changes.size is not None:
        _check_size(inode, changes.size)
        truncation = context.data.plan_truncate(number, inode, changes.size)
        rule = mode_after_writing if writing else mode_after_truncating
        kept = rule(inode._replace(mode=after.mode), credentials)
        after = after._replace(mode=kept)
    sheds = changes.size is not None or changes.uid is not None or changes.gid is not None
    if sheds and not stat.S_ISDIR(inode.mode):
        capability = find_capability(context, number)
    new_acl: _AclChange | None = None
    if changes.mode is not None:
        new_acl = _plan_acl(context, number, after.mode)
    removes = changes.size is not None and changes.size <= inode.size
    context.volume.reserve_metadata(RoomKind.REMOVE if removes else RoomKind.NORMAL)
    if truncation is not None and truncation.buffered is not None:
        context.data.reserve(1)

    now = context.now_ns()
    if truncation is not None:
        dropped = context.data.truncate(truncation)
        resized = stamp or truncation.size != inode.size
        after = after._replace(
            size=truncation.size,
            blocks=inode.blocks - dropped,
            mtime_ns=now if resized else after.mtime_ns,
        )
    if capability is not None:
        xattrs.drop(context, number, capability)
    if new_acl is not None:
        xattrs.put_inline(tree, number, new_acl.found.offset, xattrs.ACL_ACCESS, new_acl.value)
    after = inodes.changed(_with_times(after, changes), now)
    inodes.save(tree, number, after)
    opened = context.handles.of(number)
    if opened is not None:
        opened.size_told = after.size
    return reported(number, after, context.data.buffered_blocks(number))


def write(context: Context, handle: Handle, offset: int, data: Buffer) -> int:
    """Write `data` at `offset`; its length. With O_APPEND, an offset where the caller last saw the
    end of the file means where the end is now.

    Errors: EFBIG, EISDIR, ESTALE; NodeMissing, DataMissing; volume.no_space, volume.read_only.
    """
    length = len(data)
    if not length:
        return 0
    end_told = offset + length
    at = offset
    if handle.append and _is_append(handle.object, offset, end_told):
        at = inodes.load(context.tree, handle.number).size
    write_at(context, handle, at, data)
    handle.object.size_told = max(handle.object.size_told, end_told)
    return length


def write_at(context: Context, handle: Handle, offset: int, data: Buffer) -> None:
    """The same for at least one byte, and at this offset whatever the handle's flags say."""
    number = handle.number
    inode = inodes.load(context.tree, number)
    end = offset + len(data)
    if end > SIZE_MAX:
        raise posix_error(errno.EFBIG, "a file has less than 2^63 bytes")
    mode = mode_after_writing(inode, handle.credentials)
    capability: Found | None = None
    if not handle.object.plain:
        capability = find_capability(context, number)
    plan = context.data.plan_write(number, inode, offset, data)
    context.volume.reserve_metadata(RoomKind.NORMAL)
    context.data.reserve(plan.new_blocks)

    now = context.now_ns()
    dropped = context.data.write(plan, handle.append)
    if capability is not None:
        xattrs.drop(context, number, capability)
    handle.object.plain = True
    inodes.save(
        context.tree,
        number,
        inode._replace(
            size=max(inode.size, end),
            blocks=inode.blocks - dropped,
            mtime_ns=now,
            ctime_ns=now,
            mode=mode,
            change=inode.change + 1,
        ),
    )


def find_capability(context: Context, number: int) -> Found | None:
    """The file's security.capability, if it has one. Errors: NodeMissing."""
    if not xattrs.has_any(context.tree, number):
        return None
    found = xattrs.find(context.tree, context.hash_key, number, xattrs.CAPABILITY)
    return found if found.payload is not None else None


def _is_append(opened: OpenObject, offset: int, end: int) -> bool:
    """Whether a write through a handle that was opened with O_APPEND means the end of the file.

    The kernel sends appends to where it takes the end to be. Other offsets are meant: the flag may
    have been taken away (fcntl F_SETFL), and pages of shared mappings are written back through any
    handle that can write; pyfuse3 hands over nothing that tells them apart. A page lies before the
    end, is aligned, and is whole unless the file ends in it.
    """
    told = opened.size_told
    if offset == told:
        return True
    page = not offset & _MASK and offset < told and (not end & _MASK or end == told)
    return offset == opened.size_before and not page


def _check_size(inode: Inode, size: int) -> None:
    if stat.S_ISDIR(inode.mode):
        raise posix_error(errno.EISDIR)
    if not stat.S_ISREG(inode.mode) or size < 0:
        raise posix_error(errno.EINVAL)
    if size > SIZE_MAX:
        raise posix_error(errno.EFBIG, "a file has less than 2^63 bytes")


def _with_owner_and_mode(inode: Inode, changes: Changes, credentials: Credentials) -> Inode:
    uid = inode.uid if changes.uid is None else changes.uid
    gid = inode.gid if changes.gid is None else changes.gid
    if not (0 <= uid < ID_NONE and 0 <= gid < ID_NONE):
        raise posix_error(errno.EINVAL, "no such user or group id")
    mode = inode.mode
    if changes.mode is not None:
        mode = mode_after_chmod(inode, changes.mode, gid, credentials)
    if changes.uid is not None or changes.gid is not None:
        mode = mode_after_chown(inode, mode, credentials)
    if (mode, uid, gid) == (inode.mode, inode.uid, inode.gid):
        return inode
    return inode._replace(mode=mode, uid=uid, gid=gid)


def _with_times(inode: Inode, changes: Changes) -> Inode:
    if changes.atime_ns is None and changes.mtime_ns is None:
        return inode
    atime = inode.atime_ns if changes.atime_ns is None else changes.atime_ns
    mtime = inode.mtime_ns if changes.mtime_ns is None else changes.mtime_ns
    return inode._replace(atime_ns=_representable(atime), mtime_ns=_representable(mtime))


def _representable(time_ns: int) -> int:
    """Times beyond what an item holds become the nearest that it holds, as on other filesystems."""
    return min(max(time_ns, TIME_MIN_NS), TIME_MAX_NS)


def _plan_acl(context: Context, number: int, mode: int) -> _AclChange | None:
    """chmod of an object with an access ACL changes the ACL too. Errors: NodeMissing."""
    if not xattrs.has_any(context.tree, number):
        return None
    found = xattrs.find(context.tree, context.hash_key, number, xattrs.ACL_ACCESS)
    if found.payload is None:
        return None
    entries = acl.after_chmod(acl.parse(xattrs.inline_value(found.payload)), mode)
    context.tree.touch(number, ITEM_XATTR, found.offset)
    return _AclChange(found, acl.pack(entries))
