"""May somebody do something with an object? Permission bits, and the access ACL where there is one.

The kernel checks this for what comes through the mount; here it is for what does not (a query, a
record's command), and for opening what a create found to be there.
"""

from affs_fuse.core.codec import Inode
from affs_fuse.core.tree import Tree
from affs_fuse.posix import xattrs
from affs_fuse.posix.acl import parse, permitted_by
from affs_fuse.posix.permissions import Credentials, permitted

__all__ = ["allows"]


def allows(
    tree: Tree, hash_key: bytes, number: int, inode: Inode, credentials: Credentials, wanted: int
) -> bool:
    """wanted: bits of READ, WRITE, EXECUTE. Errors: NodeMissing."""
    if not credentials.privileged and xattrs.has_any(tree, number):
        found = xattrs.find(tree, hash_key, number, xattrs.ACL_ACCESS)
        if found.payload is not None:
            acl = parse(xattrs.inline_value(found.payload))
            return permitted_by(acl, inode, credentials, wanted)
    return permitted(inode.mode, inode.uid, inode.gid, credentials, wanted)
