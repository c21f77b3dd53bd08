"""Files that come back: one that lost its last name is made anew as it was, one that has names
still gets the lost one.

The object gets its old number, and so its id, where nothing of it is left: in later states it is
the same object, as after a rollback. Where it is there still, because somebody has it open or the
kernel knows it, it just gets its name back (batches.Link), unless it has another content by now:
then what comes back is another object with the former content and attributes.
"""

import errno
import stat
from typing import NamedTuple

from affs_fuse.core.checksum import name_hash
from affs_fuse.core.codec import Inode, Xattr, pack_name
from affs_fuse.core.constants import (
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_PARENT,
    ITEM_XATTR,
    XATTR_INLINE,
)
from affs_fuse.core.tree import Tree
from affs_fuse.posix import directory, inodes, xattrs
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.making import load_parent
from affs_fuse.posix.permissions import PRIVILEGE_BITS, Credentials

__all__ = ["Kept", "attributes_of", "plan_restore", "restore"]


class Kept(NamedTuple):
    """What a file was, but for its content and names. attributes: items of extended attributes,
    (offset, payload) each."""

    inode: Inode
    attributes: tuple[tuple[int, bytes], ...]


def attributes_of(tree: Tree, number: int) -> tuple[tuple[int, bytes], ...] | None:
    """As Kept has them; None where a value does not stand in its item. Errors: NodeMissing."""
    items = tree.iterate((number, ITEM_XATTR, 0), (number, ITEM_XATTR + 1, 0))
    found = tuple((offset, payload) for _, _, offset, payload in items)
    if any(Xattr.unpack(payload).storage != XATTR_INLINE for _, payload in found):
        return None
    return found


def plan_restore(
    context: Context, parent: int, name: bytes, kept: Kept, credentials: Credentials
) -> int:
    """Looks up what `restore` needs, but for the directory's part; the number that the object gets,
    0 for a new one. Errors: EPERM for what the user may not give away; NodeMissing."""
    inode = kept.inode
    owned = credentials.uid == inode.uid and credentials.in_group(inode.gid)
    if not owned and not credentials.privileged:
        raise posix_error(errno.EPERM)
    number = inodes.number_of(inode.object_id)
    tree = context.tree
    item = tree.seek(number, 0, 0)
    if item is not None and item[0] == number:
        return 0
    link = name_hash(context.hash_key, parent, name) << directory.ORDINAL_BITS
    places = ((ITEM_INODE, 0), (ITEM_PARENT, link), (ITEM_INLINE, 0), (ITEM_EXTENT, 0))
    for kind, offset in places:
        tree.touch(number, kind, offset)
    for offset, _ in kept.attributes:
        tree.touch(number, ITEM_XATTR, offset)
    return number


def restore(
    context: Context, parent: int, name: bytes, number: int, kept: Kept, credentials: Credentials
) -> int:
    """The object, still without content, and its name. number: as plan_restore gave it. Its number.
    """
    tree, key, now = context.tree, context.hash_key, context.stamp()
    inode = inodes.changed(kept.inode, now)._replace(
        size=0, blocks=0, nlink=1, mode=_mode(kept.inode, credentials)
    )
    if not number:
        number = context.volume.new_object()
        inode = inode._replace(
            object_id=inodes.object_id(number, context.entropy), created_commit=now.commit
        )
    inodes.save(tree, number, inode)
    kind = inodes.type_of(inode.mode)
    link = name_hash(key, parent, name) << directory.ORDINAL_BITS
    tree.put(number, ITEM_PARENT, link, pack_name(parent, kind, name))
    for offset, payload in kept.attributes:
        if credentials.privileged or not xattrs.is_privileged(payload):
            tree.put(number, ITEM_XATTR, offset, payload)
    above = load_parent(context, parent, name)
    offset, _ = directory.locate(tree, key, parent, name)
    tree.put(parent, ITEM_DENTRY, offset, pack_name(number, kind, name))
    context.marks.mark(number, context.marks.plan_member(parent, number))
    inodes.save(tree, parent, inodes.changed(above, now, entries=1))
    context.state.object_count += 1
    return number


def _mode(inode: Inode, credentials: Credentials) -> int:
    kept = inode.mode if credentials.privileged else inode.mode & ~PRIVILEGE_BITS
    return stat.S_IFREG | stat.S_IMODE(kept)
