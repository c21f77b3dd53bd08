"""Names of existing objects: link, unlink, rmdir.

When the last name goes the object is listed as an orphan in the same operation (orphans.py).
"""

import errno
import stat

from affs_fuse.core.codec import Inode, pack_name
from affs_fuse.core.constants import ITEM_DENTRY, ITEM_ORPHAN, ITEM_PARENT, OBJECT_ORPHANS
from affs_fuse.posix import directory, inodes, names
from affs_fuse.posix.attributes import Attributes, reported
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.making import check_free, load_parent
from affs_fuse.volume.reserve import RoomKind

__all__ = ["find_link", "link", "rmdir", "unlink"]


def link(
    context: Context, number: int, parent: int, name: bytes, *, revive: bool = False
) -> Attributes:
    """Another name, or the first one of a file that was made without. revive: or one of a file that
    lost its last name, and is still whole.

    Errors: EEXIST, EMLINK, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EPERM, ESTALE; NodeMissing;
    volume.*.
    """
    names.check_new_name(name)
    tree, key = context.tree, context.hash_key
    inode = inodes.load(tree, number)
    if stat.S_ISDIR(inode.mode):
        raise posix_error(errno.EPERM, "a directory has one name only")
    parent_inode = load_parent(context, parent, name)
    opened = context.handles.of(number)
    nameless = revive or (opened is not None and opened.nameless)
    if not inode.nlink and not nameless:
        raise posix_error(errno.ENOENT, "the object has no name any more")
    offset, entry = directory.locate(tree, key, parent, name)
    if entry is not None:
        raise posix_error(errno.EEXIST)
    check_free(offset)
    if inode.nlink >= inodes.LINK_MAX:
        raise posix_error(errno.EMLINK)
    back, _ = directory.locate_link(tree, key, number, parent, name)
    check_free(back)
    tree.touch(number, ITEM_PARENT, back)
    tree.touch(parent, ITEM_DENTRY, offset)
    tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
    indexed = context.marks.plan_member(parent, number)
    context.volume.reserve_metadata(RoomKind.NORMAL)

    now = context.stamp()
    if nameless:
        context.orphans.take_back(number)
    if opened is not None:
        opened.nameless = False
    kind = inodes.type_of(inode.mode)
    inode = inodes.changed(inode, now, links=1)
    inodes.save(tree, number, inode)
    tree.put(number, ITEM_PARENT, back, pack_name(parent, kind, name))
    tree.put(parent, ITEM_DENTRY, offset, pack_name(number, kind, name))
    context.marks.mark(number, indexed)
    inodes.save(tree, parent, inodes.changed(parent_inode, now, entries=1))
    return reported(number, inode, context.data.buffered_blocks(number))


def unlink(context: Context, parent: int, name: bytes) -> int:
    """Take a name away. The object's number if that was its last one, else 0.

    Errors: EISDIR, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, ESTALE; NodeMissing; volume.*.
    """
    names.check_name(name)
    if name in names.DOTS:
        raise posix_error(errno.EISDIR)
    tree = context.tree
    parent_inode = load_parent(context, parent, name)
    offset, entry = directory.locate(tree, context.hash_key, parent, name)
    if entry is None:
        raise posix_error(errno.ENOENT)
    if entry.kind == directory.DT_DIRECTORY:
        raise posix_error(errno.EISDIR)
    number = entry.object
    inode = inodes.load(tree, number)
    back = find_link(context, number, parent, name)
    if inode.nlink == 1:
        tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
    indexed = context.marks.plan_member(parent, number)
    context.volume.reserve_metadata(RoomKind.REMOVE)

    now = context.stamp()
    tree.delete(parent, ITEM_DENTRY, offset)
    context.marks.mark(number, indexed)
    inodes.save(tree, parent, inodes.changed(parent_inode, now, entries=-1))
    return drop_name(context, number, inode, back, now)


def rmdir(context: Context, parent: int, name: bytes) -> int:
    """Remove an empty directory; its number.

    Errors: EINVAL ('.'), ENOTEMPTY, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, ESTALE; NodeMissing;
    volume.*.
    """
    names.check_name(name)
    if name in names.DOTS:
        raise posix_error(errno.EINVAL if name == b"." else errno.ENOTEMPTY)
    tree = context.tree
    parent_inode = load_parent(context, parent, name)
    offset, entry = directory.locate(tree, context.hash_key, parent, name)
    if entry is None:
        raise posix_error(errno.ENOENT)
    if entry.kind != directory.DT_DIRECTORY:
        raise posix_error(errno.ENOTDIR)
    number = entry.object
    inode = inodes.load(tree, number)
    if inode.size:
        raise posix_error(errno.ENOTEMPTY)
    back = find_link(context, number, parent, name)
    tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
    context.collections.plan_gone(number)
    context.volume.reserve_metadata(RoomKind.REMOVE)

    now = context.stamp()
    tree.delete(parent, ITEM_DENTRY, offset)
    inodes.save(tree, parent, inodes.changed(parent_inode, now, links=-1, entries=-1))
    return drop_name(context, number, inode, back, now)


def find_link(context: Context, number: int, parent: int, name: bytes) -> int:
    """Offset of the parent link that belongs to a directory entry; FULL if, by damage, there is
    none.
    """
    offset, found = directory.locate_link(context.tree, context.hash_key, number, parent, name)
    return offset if found is not None else directory.FULL


def drop_name(context: Context, number: int, inode: Inode, back: int, now: inodes.Stamp) -> int:
    """An object loses a name whose entry is gone; its number if it has none left, else 0.

    The places of the parent link and of the ORPHAN item were looked up before, and of a directory
    what `Collections.gone` needs.
    """
    if back != directory.FULL:
        context.tree.delete(number, ITEM_PARENT, back)
    links = -inode.nlink if stat.S_ISDIR(inode.mode) else -1
    inode = inodes.changed(inode, now, links=links)
    inodes.save(context.tree, number, inode)
    if inode.nlink:
        return 0
    context.orphans.add(number)
    if stat.S_ISDIR(inode.mode):
        context.collections.gone(number)
    return number
