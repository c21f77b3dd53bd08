"""What a POSIX filesystem does, in dictionaries and bytes: the oracle of the namespace's tests.

Written from POSIX and the Linux manual pages, not from the code: no tree, no items, no buffers.
Callers give the number of each new object and set `now`. Permissions are not checked; who asks
matters only where an operation itself takes mode bits away.
"""

import copy
import errno
import stat
from dataclasses import dataclass, field

__all__ = ["Node", "PlainNamespace"]

ROOT = 1
DAY_NS = 86_400 * 10**9
EXCHANGE, NOREPLACE = 2, 1


def fail(number: int) -> OSError:
    return OSError(number, errno.errorcode[number])


@dataclass
class Node:
    """An object. data: of regular files; target: of links; entries, parent: of directories."""

    mode: int
    uid: int
    gid: int
    nlink: int
    atime: int
    mtime: int
    ctime: int
    btime: int
    rdev: int = 0
    data: bytearray = field(default_factory=bytearray)
    target: bytes = b""
    entries: dict[bytes, int] = field(default_factory=dict)
    parent: int = 0
    xattrs: dict[bytes, bytes] = field(default_factory=dict)

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_file(self) -> bool:
        return stat.S_ISREG(self.mode)

    @property
    def size(self) -> int:
        if self.is_directory:
            return len(self.entries)
        return len(self.data) if self.is_file else len(self.target)


class PlainNamespace:
    """nodes: by number. open: how many handles each object has. linkable: made without a name."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.nodes = {ROOT: Node(stat.S_IFDIR | 0o755, 0, 0, 2, now, now, now, now, parent=ROOT)}
        self.open: dict[int, int] = {}
        self.linkable: set[int] = set()

    # ---- states ----

    def snapshot(self) -> dict[int, Node]:
        return copy.deepcopy(self.nodes)

    def restore(self, nodes: dict[int, Node]) -> None:
        """Show another state; what has no name in it and no handle goes."""
        self.nodes = copy.deepcopy(nodes)
        self.reap()

    def reap(self) -> None:
        """Objects without names and handles go."""
        for number in [number for number, node in self.nodes.items() if not node.nlink]:
            if not self.open.get(number):
                del self.nodes[number]
                self.linkable.discard(number)

    # ---- looking ----

    def node(self, number: int) -> Node:
        if number not in self.nodes:
            raise fail(errno.ESTALE)
        return self.nodes[number]

    def folder(self, number: int) -> Node:
        node = self.node(number)
        if not node.is_directory:
            raise fail(errno.ENOTDIR)
        return node

    def lookup(self, parent: int, name: bytes) -> int:
        entries = self.folder(parent).entries
        if name not in entries:
            raise fail(errno.ENOENT)
        return entries[name]

    def access(self, number: int) -> None:
        """Something was read: relatime."""
        node = self.node(number)
        if node.atime <= node.mtime or node.atime <= node.ctime or self.now - node.atime >= DAY_NS:
            node.atime = self.now

    # ---- making ----

    def make(
        self, parent: int, name: bytes, mode: int, uid: int, gid: int, umask: int, number: int,
        *, target: bytes = b"", rdev: int = 0,
    ) -> None:  # fmt: skip
        """mode: type and bits, the umask not yet applied; uid 0 is privileged."""
        folder = self.folder(parent)
        if not folder.nlink:
            raise fail(errno.ENOENT)
        if name in folder.entries:
            raise fail(errno.EEXIST)
        if not stat.S_ISLNK(mode):
            mode &= ~umask
        setgid = folder.mode & stat.S_ISGID
        if setgid and stat.S_ISDIR(mode):
            mode |= stat.S_ISGID
        elif setgid and mode & stat.S_ISGID and mode & stat.S_IXGRP and uid and gid != folder.gid:
            mode &= ~stat.S_ISGID
        now = self.now
        node = Node(
            mode, uid, folder.gid if setgid else gid, 1, now, now, now, now, rdev, target=target
        )
        if node.is_directory:
            node.nlink, node.parent = 2, parent
            folder.nlink += 1
        self.nodes[number] = node
        folder.entries[name] = number
        folder.mtime = folder.ctime = now

    def make_nameless(
        self, parent: int, mode: int, uid: int, gid: int, umask: int, number: int
    ) -> None:
        """O_TMPFILE: what the directory gives it, as if it had a name there; the directory's times
        stay. The caller counts it as open before it reaps."""
        folder = self.folder(parent)
        times = folder.mtime, folder.ctime
        name = b"a name for a moment"
        self.make(parent, name, mode, uid, gid, umask, number)
        del folder.entries[name]
        folder.mtime, folder.ctime = times
        self.nodes[number].nlink = 0
        self.linkable.add(number)

    def link(self, number: int, parent: int, name: bytes) -> None:
        node = self.node(number)
        if node.is_directory:
            raise fail(errno.EPERM)
        folder = self.folder(parent)
        if not folder.nlink or not (node.nlink or number in self.linkable):
            raise fail(errno.ENOENT)
        if name in folder.entries:
            raise fail(errno.EEXIST)
        self.linkable.discard(number)
        folder.entries[name] = number
        node.nlink += 1
        node.ctime = folder.mtime = folder.ctime = self.now

    # ---- taking away ----

    def unlink(self, parent: int, name: bytes) -> None:
        number = self.lookup(parent, name)
        if self.nodes[number].is_directory:
            raise fail(errno.EISDIR)
        self._drop_entry(parent, name)
        self._drop_link(number)

    def rmdir(self, parent: int, name: bytes) -> None:
        number = self.lookup(parent, name)
        if not self.nodes[number].is_directory:
            raise fail(errno.ENOTDIR)
        if self.nodes[number].entries:
            raise fail(errno.ENOTEMPTY)
        self._drop_entry(parent, name)
        self.nodes[parent].nlink -= 1
        self._drop_link(number)

    def _drop_entry(self, parent: int, name: bytes) -> None:
        folder = self.nodes[parent]
        del folder.entries[name]
        folder.mtime = folder.ctime = self.now

    def _drop_link(self, number: int) -> None:
        node = self.nodes[number]
        node.nlink = 0 if node.is_directory else node.nlink - 1
        node.ctime = self.now
        self.reap()

    # ---- rename ----

    def rename(self, old: int, old_name: bytes, new: int, new_name: bytes, flags: int) -> None:
        if flags not in (0, EXCHANGE, NOREPLACE):
            raise fail(errno.EINVAL)
        moved = self.lookup(old, old_name)
        met = self.folder(new).entries.get(new_name)
        if met is not None and flags & NOREPLACE:
            raise fail(errno.EEXIST)
        if self._would_loop(moved, new):
            raise fail(errno.EINVAL)
        if flags & EXCHANGE:
            if met is None:
                raise fail(errno.ENOENT)
            if self._would_loop(met, old):
                raise fail(errno.EINVAL)
        if met == moved:
            return
        if flags & EXCHANGE:
            assert met is not None
            self._place(moved, old, new, new_name)
            self._place(met, new, old, old_name)
        else:
            self._replace(moved, met)
            if met is not None:
                self._drop_entry(new, new_name)
                self.nodes[new].nlink -= self.nodes[met].is_directory
            self._drop_entry(old, old_name)
            self._place(moved, old, new, new_name)
            if met is not None:
                self._drop_link(met)
        for number in (old, new):
            self.nodes[number].mtime = self.nodes[number].ctime = self.now

    def _would_loop(self, number: int, target: int) -> bool:
        while self.nodes[number].is_directory and target != number and target != ROOT:
            target = self.nodes[target].parent
        return target == number

    def _replace(self, moved: int, met: int | None) -> None:
        if met is None:
            return
        if self.nodes[met].is_directory:
            if not self.nodes[moved].is_directory:
                raise fail(errno.EISDIR)
            if self.nodes[met].entries:
                raise fail(errno.ENOTEMPTY)
        elif self.nodes[moved].is_directory:
            raise fail(errno.ENOTDIR)

    def _place(self, number: int, old: int, new: int, name: bytes) -> None:
        node = self.nodes[number]
        self.nodes[new].entries[name] = number
        node.ctime = self.now
        if node.is_directory:
            self.nodes[old].nlink -= 1
            self.nodes[new].nlink += 1
            node.parent = new

    # ---- content and attributes ----

    def write(self, number: int, offset: int, data: bytes, uid: int, gid: int) -> None:
        """The kernel takes setuid away itself, and setgid where the group may execute."""
        node = self.node(number)
        if not data:
            return
        if len(node.data) < offset:
            node.data.extend(bytes(offset - len(node.data)))
        node.data[offset : offset + len(data)] = data
        node.mtime = node.ctime = self.now
        node.xattrs.pop(b"security.capability", None)
        self.after_writing(number, uid, gid)

    def after_writing(self, number: int, uid: int, gid: int) -> None:
        node = self.node(number)
        if uid and gid != node.gid and not node.mode & stat.S_IXGRP:
            node.mode &= ~stat.S_ISGID

    def truncate(self, number: int, size: int, uid: int, gid: int, *, through_handle: bool) -> None:
        node = self.node(number)
        if node.is_directory:
            raise fail(errno.EISDIR)
        if not node.is_file:
            raise fail(errno.EINVAL)
        if size != len(node.data) or through_handle:
            node.mtime = self.now
        del node.data[size:]
        node.data.extend(bytes(size - len(node.data)))
        node.ctime = self.now
        self._take_privileges(node, uid, gid)

    def _take_privileges(self, node: Node, uid: int, gid: int) -> None:
        node.xattrs.pop(b"security.capability", None)
        if uid:
            self._take_bits(node, uid, gid)

    def _take_bits(self, node: Node, uid: int, gid: int) -> None:
        node.mode &= ~stat.S_ISUID
        if node.mode & stat.S_IXGRP or (uid and gid != node.gid):
            node.mode &= ~stat.S_ISGID

    def chmod(self, number: int, mode: int, uid: int, gid: int) -> None:
        node = self.node(number)
        if uid and gid != node.gid:
            mode &= ~stat.S_ISGID
        node.mode = stat.S_IFMT(node.mode) | mode
        node.ctime = self.now

    def chown(self, number: int, owner: int, group: int, uid: int, gid: int) -> None:
        node = self.node(number)
        if not node.is_directory:
            node.xattrs.pop(b"security.capability", None)
            self._take_bits(node, uid, gid)
        node.uid, node.gid = owner, group
        node.ctime = self.now

    def set_times(self, number: int, atime: int, mtime: int) -> None:
        node = self.node(number)
        node.atime, node.mtime, node.ctime = atime, mtime, self.now

    def set_xattr(
        self, number: int, name: bytes, value: bytes, *, create: bool, replace: bool
    ) -> None:
        node = self.node(number)
        if name.startswith(b"user.") and not (node.is_file or node.is_directory):
            raise fail(errno.EPERM)
        if create and name in node.xattrs:
            raise fail(errno.EEXIST)
        if replace and name not in node.xattrs:
            raise fail(errno.ENODATA)
        node.xattrs[name] = value
        node.ctime = self.now

    def remove_xattr(self, number: int, name: bytes) -> None:
        node = self.node(number)
        if name.startswith(b"user.") and not (node.is_file or node.is_directory):
            raise fail(errno.EPERM)
        if name not in node.xattrs:
            raise fail(errno.ENODATA)
        del node.xattrs[name]
        node.ctime = self.now
