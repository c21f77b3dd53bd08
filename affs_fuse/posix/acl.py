"""POSIX ACLs as values of system.posix_acl_access and system.posix_acl_default.

The form is Linux' (include/uapi/linux/posix_acl_xattr.h): a version, then entries of tag,
permissions and id, all little-endian. Rules: fs/posix_acl.c and acl(5). An ACL here is a tuple of
entries in canonical order (owner, named users, owning group, named groups, mask, others; named
ones by id).
"""

import errno
import stat
import struct
from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.permissions import Credentials, permitted

__all__ = [
    "Acl",
    "Entry",
    "after_chmod",
    "inherit",
    "is_minimal",
    "mode_of",
    "pack",
    "parse",
    "permitted_by",
]

VERSION = 2
_HEADER = struct.Struct("<I")
_ENTRY = struct.Struct("<HHI")

USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER = 0x01, 0x02, 0x04, 0x08, 0x10, 0x20
_TAGS = (USER_OBJ, USER, GROUP_OBJ, GROUP, MASK, OTHER)
_NAMED = (USER, GROUP)
NO_ID = 0xFFFFFFFF


class Entry(NamedTuple):
    """id: of a named user or group, else NO_ID. perm: bits of 7."""

    tag: int
    perm: int
    id: int


Acl = tuple[Entry, ...]


def parse(value: bytes) -> Acl:
    """The ACL in an attribute's value; () for one without entries.

    Errors: EINVAL, or EOPNOTSUPP for another version.
    """
    if len(value) < _HEADER.size or (len(value) - _HEADER.size) % _ENTRY.size:
        raise posix_error(errno.EINVAL, "an ACL value of an impossible length")
    if _HEADER.unpack_from(value)[0] != VERSION:
        raise posix_error(errno.EOPNOTSUPP, "an ACL value of an unknown version")
    entries = [Entry(*fields) for fields in _ENTRY.iter_unpack(value[_HEADER.size :])]
    if not entries:
        return ()
    return _canonical(entries)


def pack(acl: Acl) -> bytes:
    return _HEADER.pack(VERSION) + b"".join(_ENTRY.pack(*entry) for entry in acl)


def mode_of(acl: Acl, mode: int) -> int:
    """`mode` with the nine permission bits that the ACL means; the group's are the mask where
    there is one.
    """
    perms = {entry.tag: entry.perm for entry in acl}
    group = perms.get(MASK, perms[GROUP_OBJ])
    return (mode & ~0o777) | perms[USER_OBJ] << 6 | group << 3 | perms[OTHER]


def is_minimal(acl: Acl) -> bool:
    """Whether the mode alone says all that the ACL says."""
    return len(acl) == 3


def after_chmod(acl: Acl, mode: int) -> Acl:
    """The ACL after chmod: owner, others, and the mask (the group where there is no mask) follow
    the mode.
    """
    masked = any(entry.tag == MASK for entry in acl)
    follows = {
        USER_OBJ: mode >> 6 & 7,
        OTHER: mode & 7,
        MASK if masked else GROUP_OBJ: mode >> 3 & 7,
    }
    return tuple(entry._replace(perm=follows.get(entry.tag, entry.perm)) for entry in acl)


def inherit(default: Acl, mode: int) -> tuple[Acl, int]:
    """(access ACL, mode) of an object made with `mode` in a directory with this default ACL."""
    masked = any(entry.tag == MASK for entry in default)
    narrow = {
        USER_OBJ: mode >> 6 & 7,
        OTHER: mode & 7,
        MASK if masked else GROUP_OBJ: mode >> 3 & 7,
    }
    access = tuple(entry._replace(perm=entry.perm & narrow.get(entry.tag, 7)) for entry in default)
    return access, mode_of(access, mode)


def permitted_by(acl: Acl, inode: Inode, credentials: Credentials, wanted: int) -> bool:
    """The access check of acl(5). wanted: bits of 7."""
    if credentials.privileged or credentials.uid == inode.uid:
        return permitted(inode.mode, inode.uid, inode.gid, credentials, wanted)
    mask = next((entry.perm for entry in acl if entry.tag == MASK), 7)
    in_a_group = False
    for entry in acl:
        if entry.tag == USER and entry.id == credentials.uid:
            return not wanted & ~(entry.perm & mask)
        if entry.tag in (GROUP_OBJ, GROUP):
            gid = inode.gid if entry.tag == GROUP_OBJ else entry.id
            if credentials.in_group(gid):
                in_a_group = True
                if not wanted & ~(entry.perm & mask):
                    return True
    return not in_a_group and not wanted & ~stat.S_IMODE(inode.mode) & 7


def _canonical(entries: list[Entry]) -> Acl:
    counts = dict.fromkeys(_TAGS, 0)
    for entry in entries:
        if entry.tag not in counts or entry.perm & ~7:
            raise posix_error(errno.EINVAL, "an ACL entry of an unknown kind")
        if entry.tag in _NAMED and entry.id == NO_ID:
            raise posix_error(errno.EINVAL, "an ACL entry without its user or group")
        counts[entry.tag] += 1
    named = counts[USER] + counts[GROUP]
    if any(counts[tag] != 1 for tag in (USER_OBJ, GROUP_OBJ, OTHER)) or counts[MASK] > 1:
        raise posix_error(errno.EINVAL, "an ACL has one entry each for owner, group and others")
    if named and not counts[MASK]:
        raise posix_error(errno.EINVAL, "an ACL with named entries needs a mask")
    plain = [entry if entry.tag in _NAMED else entry._replace(id=NO_ID) for entry in entries]
    keys = [(entry.tag, entry.id) for entry in plain]
    if len(set(keys)) != len(keys):
        raise posix_error(errno.EINVAL, "an ACL names a user or group twice")
    return tuple(sorted(plain, key=lambda entry: (_TAGS.index(entry.tag), entry.id)))
