"""Between pyfuse3's types and the namespace's; and from any failure to an errno."""

import errno
from functools import partial

import pyfuse3
from pyfuse3 import EntryAttributes, FUSEError, RequestContext, SetattrFields, StatvfsData

from affs_fuse.core.constants import BLOCK_SIZE, NAME_MAX, OBJECT_BITS
from affs_fuse.errors import AffsError
from affs_fuse.posix.attributes import Attributes, Changes
from affs_fuse.posix.permissions import Credentials
from affs_fuse.posix.views import DOOR_VIEW, LINKS
from affs_fuse.volume.statistics import StatFs

__all__ = [
    "SECTORS_PER_BLOCK",
    "changes_of",
    "credentials_from",
    "credentials_of",
    "entry_of",
    "errno_of",
    "is_door",
    "negative_entry",
    "statvfs_of",
]

SECTORS_PER_BLOCK = BLOCK_SIZE // 512


def entry_of(attributes: Attributes, timeout_s: float) -> EntryAttributes:
    """What the kernel gets about an inode, to be cached for timeout_s seconds.

    Labels and short ids of kept states come and go without the kernel's doing, so they are asked
    for each time.
    """
    number, inode = attributes
    entry = EntryAttributes()
    entry.st_ino = number
    entry.generation = inode.generation
    entry.entry_timeout = timeout_s
    if number >= LINKS and is_door(number):
        entry.entry_timeout = 0
    entry.attr_timeout = timeout_s
    entry.st_mode = inode.mode
    entry.st_nlink = inode.nlink
    entry.st_uid = inode.uid
    entry.st_gid = inode.gid
    entry.st_rdev = inode.rdev
    entry.st_size = inode.size
    entry.st_blocks = inode.blocks * SECTORS_PER_BLOCK
    entry.st_atime_ns = inode.atime_ns
    entry.st_mtime_ns = inode.mtime_ns
    entry.st_ctime_ns = inode.ctime_ns
    return entry


def is_door(number: int) -> bool:
    """Whether the inode is one of `.affs` itself, above the kept states."""
    return number >> OBJECT_BITS == DOOR_VIEW


def negative_entry(timeout_s: float) -> EntryAttributes:
    """"There is no such name", which the kernel may remember for timeout_s seconds."""
    entry = EntryAttributes()
    entry.st_ino = 0
    entry.entry_timeout = timeout_s
    return entry


def changes_of(attributes: EntryAttributes, fields: SetattrFields) -> Changes:
    """What a SETATTR request asks for."""
    return Changes(
        mode=attributes.st_mode & 0o7777 if fields.update_mode else None,
        uid=attributes.st_uid if fields.update_uid else None,
        gid=attributes.st_gid if fields.update_gid else None,
        size=attributes.st_size if fields.update_size else None,
        atime_ns=attributes.st_atime_ns if fields.update_atime else None,
        mtime_ns=attributes.st_mtime_ns if fields.update_mtime else None,
    )


def credentials_of(context: RequestContext) -> Credentials:
    return credentials_from(context.uid, context.gid, context.pid, context.umask)


def credentials_from(uid: int, gid: int, pid: int, umask: int) -> Credentials:
    """Who asks. Supplementary groups are looked up only if somebody needs them."""
    return Credentials(uid, gid, partial(_groups_of, pid), umask, pid)


def _groups_of(pid: int) -> frozenset[int]:
    """The process may have ended, or be of another pid namespace: then it has none for us."""
    try:
        return frozenset(pyfuse3.get_sup_groups(pid))
    except (OSError, RuntimeError, ValueError):
        return frozenset()


def statvfs_of(space: StatFs) -> StatvfsData:
    data = StatvfsData()
    data.f_bsize = BLOCK_SIZE
    data.f_frsize = BLOCK_SIZE
    data.f_blocks = space.blocks_total
    data.f_bfree = space.blocks_free
    data.f_bavail = space.blocks_available
    data.f_files = space.objects_total
    data.f_ffree = space.objects_free
    data.f_favail = space.objects_free
    data.f_namemax = NAME_MAX
    return data


def errno_of(error: Exception) -> int | None:
    """The errno of an expected failure; None for one that should not have happened."""
    if isinstance(error, OSError):
        return error.errno or errno.EIO
    if isinstance(error, AffsError):
        return error.errno
    if isinstance(error, FUSEError):
        return error.errno
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    return None
