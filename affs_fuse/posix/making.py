"""Making objects: files, directories, symbolic links, special files.

POSIX open(O_CREAT), mkdir, mknod, symlink; what comes from the parent directory (group, setgid,
default ACL) follows Linux' inode_init_owner and posix_acl_create.
"""

import errno
import stat

from affs_fuse.core.checksum import name_hash
from affs_fuse.core.codec import Inode, pack_name
from affs_fuse.core.constants import (
    ITEM_DENTRY,
    ITEM_INODE,
    ITEM_ORPHAN,
    ITEM_PARENT,
    ITEM_SYMLINK,
    OBJECT_ORPHANS,
    OBJECT_ROOT,
    SYMLINK_MAX,
)
from affs_fuse.posix import acl, directory, inodes, names, xattrs
from affs_fuse.posix.acl import Acl
from affs_fuse.posix.attributes import Attributes, reported
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.permissions import Credentials, initial_gid, initial_mode
from affs_fuse.volume.reserve import RoomKind

__all__ = ["check_free", "default_acl", "load_parent", "make", "make_nameless"]

NODE_TYPES = frozenset((stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK))


def load_parent(context: Context, parent: int, name: bytes) -> Inode:
    """The directory that a name is to be made in or taken from.

    Errors: ENOENT if it was removed; EPERM for the reserved name; ENOTDIR, ESTALE; NodeMissing.
    """
    inode = inodes.load_directory(context.tree, parent)
    if not inode.nlink:
        raise posix_error(errno.ENOENT, "the directory was removed")
    if name == names.DOOR and parent == OBJECT_ROOT:
        raise posix_error(errno.EPERM, "the name .affs in the root directory is reserved")
    return inode


def check_free(offset: int) -> None:
    """Errors: ENOSPC if the directory cannot take one more name of this hash."""
    if offset == directory.FULL:
        raise posix_error(errno.ENOSPC, "too many names with one hash in this directory")


def make(
    context: Context,
    parent: int,
    name: bytes,
    mode: int,
    credentials: Credentials,
    *,
    rdev: int = 0,
    target: bytes = b"",
) -> Attributes:
    """A new object and its first name. mode: type and permission bits, the umask not yet applied.

    Errors: EEXIST, EINVAL, EMLINK, ENAMETOOLONG, ENOENT, ENOSPC, ENOTDIR, EPERM, ESTALE;
    NodeMissing; volume.no_space, volume.read_only.
    """
    names.check_new_name(name)
    kind = stat.S_IFMT(mode)
    if kind == stat.S_IFLNK:
        _check_target(target)
    tree, key = context.tree, context.hash_key
    parent_inode = load_parent(context, parent, name)
    offset, entry = directory.locate(tree, key, parent, name)
    if entry is not None:
        raise posix_error(errno.EEXIST)
    check_free(offset)
    is_directory = kind == stat.S_IFDIR
    if is_directory and parent_inode.nlink >= inodes.LINK_MAX:
        raise posix_error(errno.EMLINK)
    default = () if kind == stat.S_IFLNK else default_acl(context, parent)
    number = context.volume.new_object()
    tree.touch(number, ITEM_INODE, 0)
    tree.touch(parent, ITEM_DENTRY, offset)
    indexed = context.marks.plan_member(parent, number) if kind == stat.S_IFREG else 0
    context.volume.reserve_metadata(RoomKind.NORMAL)

    now = context.stamp()
    inode, access = _fresh(
        context, number, mode, parent_inode, credentials, default, now,
        rdev=rdev if kind in (stat.S_IFCHR, stat.S_IFBLK) else 0,
        parent=parent if is_directory else 0, size=len(target),
    )  # fmt: skip
    inodes.save(tree, number, inode)
    link = name_hash(key, parent, name) << directory.ORDINAL_BITS
    tree.put(number, ITEM_PARENT, link, pack_name(parent, kind >> 12, name))
    if target:
        tree.put(number, ITEM_SYMLINK, 0, target)
    if default:
        _put_acls(context, number, access, default if is_directory else ())
    tree.put(parent, ITEM_DENTRY, offset, pack_name(number, kind >> 12, name))
    context.marks.mark(number, indexed)
    links = 1 if is_directory else 0
    inodes.save(tree, parent, inodes.changed(parent_inode, now, links=links, entries=1))
    context.state.object_count += 1
    return reported(number, inode, 0)


def make_nameless(
    context: Context, parent: int, mode: int, credentials: Credentials
) -> Attributes:
    """A regular file without a name (O_TMPFILE), as one made in the directory `parent` would be.

    Errors: ENOENT, ENOTDIR, ESTALE; NodeMissing; volume.no_space, volume.read_only.
    """
    tree = context.tree
    parent_inode = load_parent(context, parent, b"")
    default = default_acl(context, parent)
    number = context.volume.new_object()
    tree.touch(number, ITEM_INODE, 0)
    tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
    context.volume.reserve_metadata(RoomKind.NORMAL)

    now = context.stamp()
    inode, access = _fresh(context, number, mode, parent_inode, credentials, default, now)
    inode = inode._replace(nlink=0)
    inodes.save(tree, number, inode)
    if default:
        _put_acls(context, number, access, ())
    context.orphans.add(number)
    context.state.object_count += 1
    return reported(number, inode, 0)


def _fresh(
    context: Context, number: int, mode: int, parent_inode: Inode, credentials: Credentials,
    default: Acl, now: inodes.Stamp, *, rdev: int = 0, parent: int = 0, size: int = 0,
) -> tuple[Inode, Acl]:  # fmt: skip
    """The inode of a new object with what it has from its directory; its access ACL, if any."""
    mode = initial_mode(mode, parent_inode, credentials, bool(default))
    access: Acl = ()
    if default:
        access, mode = acl.inherit(default, mode)
    gid = initial_gid(parent_inode, credentials)
    inode = inodes.new(
        number, mode, credentials.uid, gid, now, context.entropy,
        rdev=rdev, parent=parent, size=size,
    )  # fmt: skip
    return inode, access


def _check_target(target: bytes) -> None:
    if not target:
        raise posix_error(errno.ENOENT, "a symbolic link needs a target")
    if len(target) > SYMLINK_MAX:
        raise posix_error(errno.ENAMETOOLONG, f"a target has at most {SYMLINK_MAX} bytes")
    if b"\0" in target:
        raise posix_error(errno.EINVAL)


def default_acl(context: Context, parent: int) -> Acl:
    """What objects made in a directory inherit. Errors: NodeMissing."""
    if not xattrs.has_any(context.tree, parent):
        return ()
    found = xattrs.find(context.tree, context.hash_key, parent, xattrs.ACL_DEFAULT)
    if found.payload is None:
        return ()
    return acl.parse(xattrs.inline_value(found.payload))


def _put_acls(context: Context, number: int, access: Acl, default: Acl) -> None:
    for name, entries in ((xattrs.ACL_ACCESS, access), (xattrs.ACL_DEFAULT, default)):
        if entries and not (name == xattrs.ACL_ACCESS and acl.is_minimal(entries)):
            offset = name_hash(context.hash_key, 0, name) << directory.ORDINAL_BITS
            xattrs.put_inline(context.tree, number, offset, name, acl.pack(entries))
