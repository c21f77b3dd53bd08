"""Extended attributes: user, trusted, security, and the two ACLs in system.

DiskLayout.md, "Extended attribute item"; xattr(7). One item for each name, at offset hash << 4 |
ordinal. Values too large for an item are an extent of their own, stored when they are set. Setting
an access ACL sets the mode; one that says no more than the mode is not stored (acl(5),
fs/posix_acl.c).
"""

import errno
import os
import stat
from typing import NamedTuple

from affs_fuse.core.checksum import name_hash
from affs_fuse.core.codec import Extent, Inode, Xattr
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_SMALL,
    ITEM_MAX,
    ITEM_XATTR,
    NAME_MAX,
    XATTR_EXTENT,
    XATTR_INLINE,
    XATTR_VALUE_MAX,
)
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError
from affs_fuse.posix import acl, inodes
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.extents import extent_payload
from affs_fuse.posix.file_data import FileData
from affs_fuse.posix.permissions import Credentials
from affs_fuse.volume.missing import BlockRead
from affs_fuse.volume.reserve import RoomKind

__all__ = [
    "ACL_ACCESS",
    "ACL_DEFAULT",
    "CAPABILITY",
    "Found",
    "drop",
    "find",
    "get_value",
    "has_any",
    "inline_value",
    "is_privileged",
    "list_names",
    "put_inline",
    "remove_value",
    "set_value",
]

ACL_ACCESS = b"system.posix_acl_access"
ACL_DEFAULT = b"system.posix_acl_default"
CAPABILITY = b"security.capability"
USER, TRUSTED, SECURITY = b"user.", b"trusted.", b"security."
ACL_BYTES_MAX = 4096
"""As the kernel takes from a FUSE filesystem; so every ACL stands in its item and can be
inherited.
"""
ORDINALS = 16


class Found(NamedTuple):
    """Where an attribute is, or would go. payload None: it is not there."""

    offset: int
    payload: bytes | None


def has_any(tree: Tree, number: int) -> bool:
    """Whether an object has attributes at all: one look-up that saves most others. Errors:
    NodeMissing.
    """
    item = tree.seek(number, ITEM_XATTR, 0)
    return item is not None and item[0] == number and item[1] == ITEM_XATTR


def find(tree: Tree, key: bytes, number: int, name: bytes) -> Found:
    """Errors: ENOSPC for the 17th name of one hash; NodeMissing."""
    at = name_hash(key, 0, name) << 4
    last = at + ORDINALS - 1
    free = -1
    while at <= last:
        item = tree.seek(number, ITEM_XATTR, at)
        if item is None or item[2] > last or item[1] != ITEM_XATTR or item[0] != number:
            return Found(at if free < 0 else free, None)
        if _name_of(item[3]) == name:
            return Found(item[2], item[3])
        if free < 0 and item[2] > at:
            free = at
        at = item[2] + 1
    if free < 0:
        raise posix_error(errno.ENOSPC, "too many attributes whose names have one hash")
    return Found(free, None)


def get_value(
    tree: Tree, key: bytes, number: int, name: bytes, credentials: Credentials, data: FileData
) -> bytes:
    """Errors: ENODATA, EOPNOTSUPP, ERANGE, ESTALE; NodeMissing, DataMissing."""
    _check_name(name)
    if name.startswith(TRUSTED) and not credentials.privileged:
        raise posix_error(errno.ENODATA)
    payload = find(tree, key, number, name).payload if has_any(tree, number) else None
    if payload is None:
        inodes.load(tree, number)
        raise posix_error(errno.ENODATA)
    return _value_of(payload, data)


def list_names(tree: Tree, number: int, credentials: Credentials) -> list[bytes]:
    """trusted.* only for those who may read it. Errors: ESTALE; NodeMissing."""
    names = [
        _name_of(payload)
        for _, _, _, payload in tree.iterate((number, ITEM_XATTR, 0), (number, ITEM_XATTR + 1, 0))
    ]
    if not names:
        inodes.load(tree, number)
    if credentials.privileged:
        return names
    return [name for name in names if not name.startswith(TRUSTED)]


def set_value(
    context: Context, number: int, name: bytes, value: bytes, flags: int, credentials: Credentials
) -> None:
    """flags: os.XATTR_CREATE, os.XATTR_REPLACE.

    Errors: EEXIST, ENODATA (flags), EOPNOTSUPP, ERANGE, E2BIG, EPERM, EACCES, EINVAL, ESTALE,
    ENOSPC; NodeMissing; volume.no_space, volume.read_only.
    """
    _check_name(name)
    if len(value) > XATTR_VALUE_MAX:
        raise posix_error(errno.E2BIG, f"a value has at most {XATTR_VALUE_MAX} bytes")
    inode = inodes.load(context.tree, number)
    _check_change(inode, name, credentials)
    if name in (ACL_ACCESS, ACL_DEFAULT):
        _set_acl(context, number, inode, name, value, credentials)
        return
    found = find(context.tree, context.hash_key, number, name)
    if found.payload is not None and flags & os.XATTR_CREATE:
        raise posix_error(errno.EEXIST)
    if found.payload is None and flags & os.XATTR_REPLACE:
        raise posix_error(errno.ENODATA)
    context.tree.touch(number, ITEM_XATTR, found.offset)
    context.volume.reserve_metadata(RoomKind.NORMAL)
    _put(context, number, name, value, found)
    opened = context.handles.of(number)
    if opened is not None:
        opened.plain = False
    inodes.save(context.tree, number, inodes.changed(inode, context.stamp()))


def remove_value(context: Context, number: int, name: bytes, credentials: Credentials) -> None:
    """Removing an ACL that is not there succeeds and changes nothing, as on ext4.

    Errors: ENODATA, EOPNOTSUPP, ERANGE, EPERM, EACCES, ESTALE; NodeMissing; volume.*.
    """
    _check_name(name)
    inode = inodes.load(context.tree, number)
    _check_change(inode, name, credentials)
    found = find(context.tree, context.hash_key, number, name)
    if found.payload is None:
        if name in (ACL_ACCESS, ACL_DEFAULT):
            return
        raise posix_error(errno.ENODATA)
    context.volume.reserve_metadata(RoomKind.REMOVE)
    drop(context, number, found)
    inodes.save(context.tree, number, inodes.changed(inode, context.stamp()))


def drop(context: Context, number: int, found: Found) -> None:
    """Delete an attribute that find() found, as part of a larger operation."""
    _drop_extent(context, found)
    context.tree.delete(number, ITEM_XATTR, found.offset)


def put_inline(tree: Tree, number: int, offset: int, name: bytes, value: bytes) -> None:
    """Put a value that fits its item."""
    payload = Xattr(len(value), len(name), XATTR_INLINE).pack() + name + value
    tree.put(number, ITEM_XATTR, offset, payload)


def _put(context: Context, number: int, name: bytes, value: bytes, found: Found) -> None:
    """Errors: volume.no_space before anything changes."""
    if len(value) <= ITEM_MAX - Xattr.SIZE - len(name):
        _drop_extent(context, found)
        put_inline(context.tree, number, found.offset, name, value)
        return
    blocks = -(-len(value) // BLOCK_SIZE)
    context.volume.reserve_data(blocks)
    try:
        placed = context.volume.store(value.ljust(blocks * BLOCK_SIZE, b"\0"), INTENT_SMALL)
    except AffsError:
        context.volume.release_data(blocks)
        raise
    if len(placed) > 1:
        for part in placed:
            context.volume.drop_blocks(part.address, part.blocks, part.birth, context.state)
        raise posix_error(errno.ENOSPC, "the free space is too scattered for so large an attribute")
    _drop_extent(context, found)
    part = placed[0]
    extent = extent_payload(part.address, part.birth, part.blocks, len(value), part.checksums)
    payload = Xattr(len(value), len(name), XATTR_EXTENT).pack() + name + extent
    context.tree.put(number, ITEM_XATTR, found.offset, payload)


def _set_acl(
    context: Context, number: int, inode: Inode, name: bytes, value: bytes, credentials: Credentials
) -> None:
    if len(value) > ACL_BYTES_MAX:
        raise posix_error(errno.E2BIG, f"an ACL has at most {ACL_BYTES_MAX} bytes")
    entries = acl.parse(value)
    mode = inode.mode
    if name == ACL_ACCESS and entries:
        mode = acl.mode_of(entries, mode)
        if not credentials.privileged and not credentials.in_group(inode.gid):
            mode &= ~stat.S_ISGID
        if acl.is_minimal(entries):
            entries = ()
    found = find(context.tree, context.hash_key, number, name)
    context.tree.touch(number, ITEM_XATTR, found.offset)
    context.volume.reserve_metadata(RoomKind.NORMAL)
    if entries:
        _put(context, number, name, acl.pack(entries), found)
    elif found.payload is not None:
        drop(context, number, found)
    changed = inodes.changed(inode, context.stamp())
    inodes.save(context.tree, number, changed._replace(mode=mode))


def _check_name(name: bytes) -> None:
    """Errors: ERANGE for an empty or too long name, EOPNOTSUPP for a namespace that is not ours."""
    if not 0 < len(name) <= NAME_MAX:
        raise posix_error(errno.ERANGE, f"an attribute's name has 1 to {NAME_MAX} bytes")
    if name in (ACL_ACCESS, ACL_DEFAULT):
        return
    if not name.startswith((USER, TRUSTED, SECURITY)):
        raise posix_error(errno.EOPNOTSUPP, "attributes are user.*, trusted.*, security.* or ACLs")
    if name in (USER, TRUSTED, SECURITY) or b"\0" in name:
        raise posix_error(errno.EINVAL)


def _check_change(inode: Inode, name: bytes, credentials: Credentials) -> None:
    kind = stat.S_IFMT(inode.mode)
    if name.startswith(USER) and kind not in (stat.S_IFREG, stat.S_IFDIR):
        raise posix_error(errno.EPERM, "user attributes belong to files and directories")
    if name.startswith(TRUSTED) and not credentials.privileged:
        raise posix_error(errno.EPERM)
    if name in (ACL_ACCESS, ACL_DEFAULT):
        if kind == stat.S_IFLNK:
            raise posix_error(errno.EOPNOTSUPP, "a symbolic link has no ACL")
        if name == ACL_DEFAULT and kind != stat.S_IFDIR:
            raise posix_error(errno.EACCES, "only a directory has a default ACL")
        if not credentials.privileged and credentials.uid != inode.uid:
            raise posix_error(errno.EPERM)


def _name_of(payload: bytes) -> bytes:
    return payload[Xattr.SIZE : Xattr.SIZE + Xattr.unpack(payload).name_length]


def is_privileged(payload: bytes) -> bool:
    """Whether an item is of an attribute that only the privileged may set."""
    return _name_of(payload).startswith((TRUSTED, SECURITY))


def inline_value(payload: bytes) -> bytes:
    """The value in an item that holds it itself (ACLs always do)."""
    return payload[Xattr.SIZE + Xattr.unpack(payload).name_length :]


def _value_of(payload: bytes, data: FileData) -> bytes:
    fixed = Xattr.unpack(payload)
    at = Xattr.SIZE + fixed.name_length
    if fixed.storage == XATTR_INLINE:
        return payload[at:]
    extent = Extent.unpack(payload, at)
    read = BlockRead(extent.address, extent.blocks, payload[at + Extent.SIZE :])
    return data.take_loaded([read])[0][: fixed.value_length]


def _drop_extent(context: Context, found: Found) -> None:
    if found.payload is None:
        return
    fixed = Xattr.unpack(found.payload)
    if fixed.storage == XATTR_EXTENT:
        extent = Extent.unpack(found.payload, Xattr.SIZE + fixed.name_length)
        context.volume.drop_blocks(extent.address, extent.blocks, extent.birth, context.state)
