"""Who asks, and the rules about modes and owners that the kernel leaves to the filesystem.

The kernel checks permission bits and ACLs itself (default_permissions, FUSE_POSIX_ACL). What is
here follows Linux: fs/inode.c mode_strip_sgid, fs/attr.c setattr_should_drop_suidgid,
setattr_prepare.
"""

import stat
from collections.abc import Callable
from typing import NamedTuple

from affs_fuse.core.codec import Inode

__all__ = [
    "EXECUTE",
    "PRIVILEGE_BITS",
    "READ",
    "SYSTEM",
    "WRITE",
    "Credentials",
    "initial_gid",
    "initial_mode",
    "mode_after_chmod",
    "mode_after_chown",
    "mode_after_opened_writing",
    "mode_after_truncating",
    "mode_after_writing",
    "permitted",
]

READ, WRITE, EXECUTE = 4, 2, 1
PRIVILEGE_BITS = stat.S_ISUID | stat.S_ISGID


class Credentials(NamedTuple):
    """The process behind an operation. groups: its supplementary groups, or how to find them
    (asked only where they decide, because that means reading /proc).
    """

    uid: int
    gid: int
    groups: frozenset[int] | Callable[[], frozenset[int]] = frozenset()
    umask: int = 0
    pid: int = 0

    @property
    def privileged(self) -> bool:
        return self.uid == 0

    def in_group(self, gid: int) -> bool:
        if gid == self.gid:
            return True
        groups = self.groups
        return gid in (groups if isinstance(groups, frozenset) else groups())


SYSTEM = Credentials(0, 0)
"""The volume's own work."""


def initial_gid(parent: Inode, credentials: Credentials) -> int:
    """Group of a new object: below a setgid directory that directory's."""
    return parent.gid if parent.mode & stat.S_ISGID else credentials.gid


def initial_mode(mode: int, parent: Inode, credentials: Credentials, has_default_acl: bool) -> int:
    """Mode of a new object before any default ACL narrows it. mode: type and permission bits.

    The umask does not count where the directory has a default ACL (acl(5)).
    """
    if not has_default_acl and not stat.S_ISLNK(mode):
        mode &= ~(credentials.umask & 0o777)
    if parent.mode & stat.S_ISGID:
        if stat.S_ISDIR(mode):
            return mode | stat.S_ISGID
        executable = stat.S_ISGID | stat.S_IXGRP
        if mode & executable == executable and not _may_set_gid(credentials, parent.gid):
            mode &= ~stat.S_ISGID
    return mode


def mode_after_chmod(inode: Inode, mode: int, gid: int, credentials: Credentials) -> int:
    """The new mode; setgid goes when the caller is neither privileged nor in the group `gid`."""
    mode = stat.S_IFMT(inode.mode) | (mode & 0o7777)
    if mode & stat.S_ISGID and not _may_set_gid(credentials, gid):
        mode &= ~stat.S_ISGID
    return mode


def mode_after_chown(inode: Inode, mode: int, credentials: Credentials) -> int:
    """A change of owner or group takes setuid and setgid from all but directories, whoever asks;
    setgid without group execute (once a mark for mandatory locking) only from those not in the
    group.
    """
    if stat.S_ISDIR(mode):
        return mode
    return mode & ~_droppable(inode, mode, credentials)


def mode_after_truncating(inode: Inode, credentials: Credentials) -> int:
    """Truncating a regular file, or replacing its content as a whole, takes setuid and setgid,
    unless the caller is privileged.
    """
    return inode.mode if credentials.privileged else mode_after_writing(inode, credentials)


def mode_after_writing(inode: Inode, writer: Credentials) -> int:
    """Writing takes them from whoever has no privilege to keep them (CAP_FSETID)."""
    mode = inode.mode
    if not mode & PRIVILEGE_BITS:
        return mode
    return mode & ~_droppable(inode, mode, writer)


def mode_after_opened_writing(inode: Inode, opener: Credentials) -> int:
    """The same where nobody says who writes: the kernel knows, and has taken them before the write
    comes here, but for setgid without group execute. That is judged by who opened the file.
    """
    mode = inode.mode
    if mode & (stat.S_ISGID | stat.S_IXGRP) != stat.S_ISGID or _may_set_gid(opener, inode.gid):
        return mode
    return mode & ~stat.S_ISGID


def permitted(mode: int, owner: int, group: int, credentials: Credentials, wanted: int) -> bool:
    """Permission bits alone. wanted: bits of READ, WRITE, EXECUTE."""
    if credentials.privileged:
        return not wanted & EXECUTE or stat.S_ISDIR(mode) or bool(mode & 0o111)
    if credentials.uid == owner:
        granted = mode >> 6
    elif credentials.in_group(group):
        granted = mode >> 3
    else:
        granted = mode
    return not wanted & ~granted & 7


def _droppable(inode: Inode, mode: int, credentials: Credentials) -> int:
    drop = stat.S_ISUID
    if mode & stat.S_IXGRP or not _may_set_gid(credentials, inode.gid):
        drop |= stat.S_ISGID
    return drop


def _may_set_gid(credentials: Credentials, gid: int) -> bool:
    return credentials.privileged or credentials.in_group(gid)
