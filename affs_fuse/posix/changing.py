"""Changing attributes: chmod, chown, truncate, utimensat; and what writing does to them.

fs/attr.c is the model: a change of owner takes setuid and setgid, truncating and writing do so
unless the caller is privileged; all of them take security.capability; chmod goes into the access
ACL.
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
from affs_fuse.posix.handles import Handle
from affs_fuse.posix.permissions import (
    Credentials,
    mode_after_chmod,
    mode_after_chown,
    mode_after_opened_writing,
    mode_after_truncating,
    mode_after_writing,
)
from affs_fuse.posix.xattrs import Found
from affs_fuse.volume.reserve import RoomKind

__all__ = ["SIZE_MAX", "Writing", "change", "find_capability", "write", "write_at"]

SIZE_MAX = OFFSET_END - 1
"""Bytes of the largest file."""
ID_NONE = 0xFFFFFFFF
_MASK = 4095


class Writing(NamedTuple):
    """What a request tells of a write beside its bytes. drops: the writer may not keep setuid and
    setgid. append: its descriptor has O_APPEND now. paged: pages that were changed through a
    mapping, in nobody's name.
    """

    writer: Credentials
    drops: bool
    append: bool
    paged: bool


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
) -> Attributes:
    """setattr: all of `changes` or none. stamp: a new size moves mtime even if it is the old size
    (ftruncate and O_TRUNC, not truncate).

    Errors: EFBIG, EINVAL, EISDIR, ESTALE; NodeMissing; volume.no_space, volume.read_only.
    """
    tree = context.tree
    inode = inodes.load(tree, number)
    after = _with_owner_and_mode(inode, changes, credentials)
    truncation: Truncation | None = None
    capability: Found | None = None
    indexed: tuple[int, ...] = ()
    if changes.size is not None:
        _check_size(inode, changes.size)
        truncation = context.data.plan_truncate(number, inode, changes.size)
        indexed = context.marks.plan_content(number)
        after = after._replace(
            mode=mode_after_truncating(inode._replace(mode=after.mode), credentials)
        )
    sheds = changes.size is not None or _sheds_as_chown(inode, changes, credentials)
    if sheds and not stat.S_ISDIR(inode.mode):
        capability = find_capability(context, number)
    new_acl: _AclChange | None = None
    if changes.mode is not None:
        new_acl = _plan_acl(context, number, after.mode)
    removes = changes.size is not None and changes.size <= inode.size
    context.volume.reserve_metadata(RoomKind.REMOVE if removes else RoomKind.NORMAL)
    if truncation is not None and truncation.buffered is not None:
        context.data.reserve(1)

    now = context.stamp()
    if truncation is not None:
        dropped = context.data.truncate(truncation)
        resized = stamp or truncation.size != inode.size
        after = after._replace(
            size=truncation.size,
            blocks=inode.blocks - dropped,
            mtime_ns=now.time_ns if resized else after.mtime_ns,
        )
    if capability is not None:
        xattrs.drop(context, number, capability)
    if new_acl is not None:
        xattrs.put_inline(tree, number, new_acl.found.offset, xattrs.ACL_ACCESS, new_acl.value)
    after = inodes.changed(_with_times(after, changes), now)
    inodes.save(tree, number, after)
    context.marks.mark(number, *indexed)
    opened = context.handles.of(number)
    if opened is not None:
        opened.size_told = after.size
        opened.mode_moved |= changes.mode is None and after.mode != inode.mode
    return reported(number, after, context.data.buffered_blocks(number))


def write(
    context: Context, handle: Handle, offset: int, data: Buffer, told: Writing | None = None
) -> int:
    """Write `data` at `offset`; its length. With O_APPEND, an offset where the caller last saw the
    end of the file means where the end is now. told: None where nothing is known.

    Errors: EFBIG, EISDIR, ESTALE; NodeMissing, DataMissing; volume.no_space, volume.read_only.
    """
    length = len(data)
    if not length:
        return 0
    end_told = offset + length
    at = offset
    if _is_append(handle, offset, end_told, told):
        at = inodes.load(context.tree, handle.number).size
    write_at(context, handle, at, data, told)
    handle.object.size_told = max(handle.object.size_told, end_told)
    return length


def write_at(
    context: Context, handle: Handle, offset: int, data: Buffer, told: Writing | None = None
) -> None:
    """The same for at least one byte, and at this offset whatever the handle's flags say."""
    number = handle.number
    inode = inodes.load(context.tree, number)
    end = offset + len(data)
    if end > SIZE_MAX:
        raise posix_error(errno.EFBIG, "a file has less than 2^63 bytes")
    mode = _mode_after(inode, handle, told)
    capability: Found | None = None
    if not handle.object.plain:
        capability = find_capability(context, number)
    plan = context.data.plan_write(number, inode, offset, data)
    indexed = context.marks.plan_content(number)
    context.volume.reserve_metadata(RoomKind.NORMAL)
    context.data.reserve(plan.new_blocks)

    now = context.stamp()
    dropped = context.data.write(plan, handle.append)
    if capability is not None:
        xattrs.drop(context, number, capability)
    handle.object.plain = True
    handle.object.mode_moved |= mode != inode.mode
    inodes.save(
        context.tree,
        number,
        inode._replace(
            size=max(inode.size, end),
            blocks=inode.blocks - dropped,
            mtime_ns=now.time_ns,
            ctime_ns=now.time_ns,
            mode=mode,
            change=inode.change + 1,
            changed_by=now.author,
            changed_commit=now.commit,
        ),
    )
    context.marks.mark(number, *indexed)


def find_capability(context: Context, number: int) -> Found | None:
    """The file's security.capability, if it has one. Errors: NodeMissing."""
    if not xattrs.has_any(context.tree, number):
        return None
    found = xattrs.find(context.tree, context.hash_key, number, xattrs.CAPABILITY)
    return found if found.payload is not None else None


def _mode_after(inode: Inode, handle: Handle, told: Writing | None) -> int:
    if told is None:
        return mode_after_opened_writing(inode, handle.credentials)
    return mode_after_writing(inode, told.writer) if told.drops else inode.mode


def _is_append(handle: Handle, offset: int, end: int, told: Writing | None) -> bool:
    """Whether a write means the end of the file, wherever that is.

    The kernel sends appends to where it takes the end to be. Other offsets are meant, also where
    several appends are under way at once. Where the request does not tell, the flag may have been
    taken away meanwhile (fcntl F_SETFL), and it may be pages of a shared mapping, which are written
    back through any handle that can write: a page lies before the end, is aligned, and is whole
    unless the file ends in it.
    """
    appends = handle.append if told is None else told.append and not told.paged
    if not appends:
        return False
    opened = handle.object
    if offset == opened.size_told:
        return True
    if offset != opened.size_before:
        return False
    size = opened.size_told
    page = not offset & _MASK and offset < size and (not end & _MASK or end == size)
    return told is not None or not page


def _check_size(inode: Inode, size: int) -> None:
    if stat.S_ISDIR(inode.mode):
        raise posix_error(errno.EISDIR)
    if not stat.S_ISREG(inode.mode) or size < 0:
        raise posix_error(errno.EINVAL)
    if size > SIZE_MAX:
        raise posix_error(errno.EFBIG, "a file has less than 2^63 bytes")


def _sheds_as_chown(inode: Inode, changes: Changes, credentials: Credentials) -> bool:
    """Nothing to change is chown(2) without ids, which takes the owner, or the kernel asking before
    a write that takes the privileges anyway."""
    if changes == Changes():
        return credentials.privileged or credentials.uid == inode.uid
    return changes.uid is not None or changes.gid is not None


def _with_owner_and_mode(inode: Inode, changes: Changes, credentials: Credentials) -> Inode:
    uid = inode.uid if changes.uid is None else changes.uid
    gid = inode.gid if changes.gid is None else changes.gid
    if not (0 <= uid < ID_NONE and 0 <= gid < ID_NONE):
        raise posix_error(errno.EINVAL, "no such user or group id")
    mode = inode.mode
    if changes.mode is not None:
        mode = mode_after_chmod(inode, changes.mode, gid, credentials)
    if _sheds_as_chown(inode, changes, credentials):
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
