"""rename(2) and renameat2(2).

All names, links and counts change in one operation. The kernel has checked permissions and sticky
bits and holds the directories' locks; the tree's own rules (no directory below itself, what may
replace what) are checked here again, because not every caller is the kernel.
"""

import errno
from typing import NamedTuple

from affs_fuse.core.codec import Inode, pack_name
from affs_fuse.core.constants import ITEM_DENTRY, ITEM_ORPHAN, ITEM_PARENT, OBJECT_ORPHANS
from affs_fuse.posix import directory, inodes, names
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.linking import drop_name, find_link
from affs_fuse.posix.making import check_free, load_parent
from affs_fuse.volume.reserve import RoomKind

__all__ = ["RENAME_EXCHANGE", "RENAME_NOREPLACE", "rename"]

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2


class _Place(NamedTuple):
    """A name in a directory: where its entry is, or would go."""

    parent: int
    name: bytes
    parent_inode: Inode
    offset: int


class _Named(NamedTuple):
    """The object that an entry names; back: offset of the parent link that belongs to it."""

    number: int
    kind: int
    inode: Inode
    back: int

    @property
    def is_directory(self) -> bool:
        return self.kind == directory.DT_DIRECTORY


def rename(
    context: Context, old_parent: int, old_name: bytes, new_parent: int, new_name: bytes, flags: int
) -> int:
    """flags: RENAME_NOREPLACE or RENAME_EXCHANGE. The number of an object that lost its last name,
    or 0.

    Errors: EBUSY ('.' and '..'), EEXIST, EINVAL, EISDIR, EMLINK, ENAMETOOLONG, ENOENT, ENOSPC,
    ENOTDIR, ENOTEMPTY, EPERM, ESTALE; NodeMissing; volume.*.
    """
    if flags not in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
        raise posix_error(errno.EINVAL, "unknown flags of rename")
    for name in (old_name, new_name):
        names.check_name(name)
        if name in names.DOTS:
            raise posix_error(errno.EBUSY)
    old, moved = _look(context, old_parent, old_name)
    if moved is None:
        raise posix_error(errno.ENOENT)
    new, met = _look(context, new_parent, new_name)
    if met is not None and flags & RENAME_NOREPLACE:
        raise posix_error(errno.EEXIST)
    _check_loop(context, old, moved, new)
    if flags & RENAME_EXCHANGE:
        if met is None:
            raise posix_error(errno.ENOENT)
        _check_loop(context, new, met, old)
        if met.number != moved.number:
            _exchange(context, old, moved, new, met)
        return 0
    if met is not None:
        if met.number == moved.number:
            return 0
        _check_replace(moved, met)
    return _move(context, old, moved, new, met)


def _look(context: Context, parent: int, name: bytes) -> tuple[_Place, _Named | None]:
    parent_inode = load_parent(context, parent, name)
    offset, entry = directory.locate(context.tree, context.hash_key, parent, name)
    place = _Place(parent, name, parent_inode, offset)
    if entry is None:
        return place, None
    inode = inodes.load(context.tree, entry.object)
    back = find_link(context, entry.object, parent, name)
    return place, _Named(entry.object, entry.kind, inode, back)


def _check_loop(context: Context, source: _Place, named: _Named, target: _Place) -> None:
    """Errors: EINVAL if a directory would come to lie below itself."""
    crosses = named.is_directory and source.parent != target.parent
    if crosses and directory.lies_below(context.tree, target.parent, named.number):
        raise posix_error(errno.EINVAL, "a directory cannot be moved into itself")


def _check_replace(moved: _Named, met: _Named) -> None:
    if met.is_directory:
        if not moved.is_directory:
            raise posix_error(errno.EISDIR)
        if met.inode.size:
            raise posix_error(errno.ENOTEMPTY)
    elif moved.is_directory:
        raise posix_error(errno.ENOTDIR)


def _check_links(place: _Place, gained: int) -> None:
    """Errors: EMLINK if the directory cannot have so many more subdirectories."""
    if gained > 0 and place.parent_inode.nlink >= inodes.LINK_MAX:
        raise posix_error(errno.EMLINK)


def _move(context: Context, old: _Place, moved: _Named, new: _Place, met: _Named | None) -> int:
    check_free(new.offset)
    crosses = old.parent != new.parent
    gained = 1 if moved.is_directory and crosses else 0
    lost = 1 if met is not None and met.is_directory else 0
    _check_links(new, gained - lost)
    back = _place_link(context, moved, new)
    context.tree.touch(new.parent, ITEM_DENTRY, new.offset)
    if met is not None:
        context.tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, met.number)
        if met.is_directory:
            context.collections.plan_gone(met.number)
    marked = _plan_marks(context, (old, moved), (new, moved)) if crosses else []
    marked += _plan_marks(context, (new, met)) if met is not None else []
    context.volume.reserve_metadata(RoomKind.NORMAL)

    now = context.stamp()
    context.tree.delete(old.parent, ITEM_DENTRY, old.offset)
    _put_name(context, moved, new, back, now)
    entries = 0 if met is not None else 1
    if crosses:
        changed = inodes.changed(old.parent_inode, now, links=-gained, entries=-1)
        inodes.save(context.tree, old.parent, changed)
    else:
        entries -= 1
    changed = inodes.changed(new.parent_inode, now, links=gained - lost, entries=entries)
    inodes.save(context.tree, new.parent, changed)
    _mark(context, marked)
    return drop_name(context, met.number, met.inode, met.back, now) if met is not None else 0


def _exchange(context: Context, old: _Place, moved: _Named, new: _Place, met: _Named) -> None:
    """Both names stay, each names the other's object."""
    links = 0
    if old.parent != new.parent:
        links = int(met.is_directory) - int(moved.is_directory)
    _check_links(old, links)
    _check_links(new, -links)
    back_moved = _place_link(context, moved, new)
    back_met = _place_link(context, met, old)
    marked: list[tuple[int, int]] = []
    if old.parent != new.parent:
        marked = _plan_marks(context, (old, moved), (new, moved), (old, met), (new, met))
    context.volume.reserve_metadata(RoomKind.NORMAL)

    now = context.stamp()
    _put_name(context, moved, new, back_moved, now)
    _put_name(context, met, old, back_met, now)
    if old.parent != new.parent:
        changed = inodes.changed(new.parent_inode, now, links=-links, entries=0)
        inodes.save(context.tree, new.parent, changed)
    changed = inodes.changed(old.parent_inode, now, links=links, entries=0)
    inodes.save(context.tree, old.parent, changed)
    _mark(context, marked)


def _plan_marks(context: Context, *pairs: tuple[_Place, _Named]) -> list[tuple[int, int]]:
    """(object, directory) for each object that comes into or leaves an indexed directory."""
    return [
        (named.number, context.marks.plan_member(place.parent, named.number))
        for place, named in pairs
        if not named.is_directory
    ]


def _mark(context: Context, marked: list[tuple[int, int]]) -> None:
    for number, holder in marked:
        context.marks.mark(number, holder)


def _place_link(context: Context, named: _Named, target: _Place) -> int:
    """Where the parent link of an object's name-to-be goes; its place is load-checked."""
    back, _ = directory.locate_link(
        context.tree, context.hash_key, named.number, target.parent, target.name
    )
    check_free(back)
    context.tree.touch(named.number, ITEM_PARENT, back)
    return back


def _put_name(
    context: Context, named: _Named, target: _Place, back: int, now: inodes.Stamp
) -> None:
    """Let the entry at `target` name this object instead of its old one."""
    tree, number = context.tree, named.number
    payload = pack_name(number, named.kind, target.name)
    tree.put(target.parent, ITEM_DENTRY, target.offset, payload)
    if named.back != directory.FULL:
        tree.delete(number, ITEM_PARENT, named.back)
    tree.put(number, ITEM_PARENT, back, pack_name(target.parent, named.kind, target.name))
    inode = inodes.changed(named.inode, now)
    inodes.save(tree, number, inode._replace(parent=target.parent) if inode.parent else inode)
