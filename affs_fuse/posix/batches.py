"""Several changes of files in one turn: all of them happen, or none.

For callers that are not the kernel (commands about records), so permissions are checked here. Who
wants to change a file has looked at it before; it must still be as it was then. Steps must not name
a path or an object twice, so none depends on another. Everything is looked up, checked and reserved
before the first change; afterwards nothing can fail any more, and if something does all the same,
the volume becomes read-only rather than keep a half (volume/half_done.py).

A batch that misses a node is planned again from its beginning, so callers `check` each step first,
inside `NodeCache.keeping`: then nothing is missing any more.
"""

import errno
import stat
from collections.abc import Iterator
from typing import NamedTuple

from affs_fuse.core.codec import Inode, Name
from affs_fuse.core.constants import (
    ITEM_DENTRY,
    ITEM_INODE,
    ITEM_ORPHAN,
    ITEM_PARENT,
    OBJECT_BITS,
    OBJECT_ORPHANS,
    OBJECT_ROOT,
)
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix import changing, directory, inodes, linking, making, names, xattrs
from affs_fuse.posix.access import allows
from affs_fuse.posix.context import Context
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.imports import Cursor, put_cursor, touch_cursor
from affs_fuse.posix.permissions import (
    EXECUTE,
    READ,
    WRITE,
    Credentials,
    mode_after_truncating,
)
from affs_fuse.posix.renaming import RENAME_NOREPLACE, rename
from affs_fuse.posix.replacing import Replacement, plan_replace, replace
from affs_fuse.posix.restoring import Kept, plan_restore, restore
from affs_fuse.posix.xattrs import Found
from affs_fuse.volume.missing import DataMissing, NodeMissing
from affs_fuse.volume.reserve import RoomKind

__all__ = [
    "Changed", "Create", "Declare", "Link", "Move", "Path", "Remove", "Replace", "Restore", "Seen",
    "Step", "StepError", "apply", "check", "directory_number", "look", "look_at_directory",
    "look_in", "name_in", "parents_of", "resolve", "writable_directory",
]  # fmt: skip

OBJECT_LAST = (1 << OBJECT_BITS) - 1

Path = tuple[bytes, ...]
"""Names from the root on; never empty."""


class Seen(NamedTuple):
    """A file as somebody has looked at it."""

    number: int
    inode: Inode

    def still(self, number: int, inode: Inode) -> bool:
        """Whether it is that file, with that content, name and owner. Access times do not count."""
        same = self.inode._replace(atime_ns=0) == inode._replace(atime_ns=0)
        return number == self.number and same


class Create(NamedTuple):
    """A new regular file. mode: permission bits, the umask not yet applied."""

    path: Path
    data: bytes
    mode: int


class Replace(NamedTuple):
    """A new content."""

    path: Path
    data: bytes
    seen: Seen


class Remove(NamedTuple):
    path: Path
    seen: Seen


class Move(NamedTuple):
    """Another name, which is free."""

    path: Path
    target: Path
    seen: Seen


class Restore(NamedTuple):
    """A regular file that was there before, as it was."""

    path: Path
    data: bytes
    kept: Kept


class Link(NamedTuple):
    """One name more, which is free, of a file; or one of a file that has none any more, but is
    there."""

    path: Path
    seen: Seen

    @property
    def revives(self) -> bool:
        return not self.seen.inode.nlink


class Declare(NamedTuple):
    """Another declaration of a directory. data: as declarations.packed, b"" for none. seen: the
    directory; what lies in it directly, by name, is as it was then."""

    path: Path
    data: bytes
    seen: Seen


Step = Create | Replace | Remove | Move | Restore | Link | Declare


class Changed(NamedTuple):
    """What a step did. parents: directories whose entries changed. entries: (directory, name) that
    mean something else now. gone: the file has no name any more."""

    number: int
    inode: Inode
    parents: tuple[int, ...] = ()
    entries: tuple[tuple[int, bytes], ...] = ()
    gone: bool = False


class StepError(Exception):
    """A step cannot be done; nothing was. changed: the file is not as it was seen."""

    def __init__(self, index: int, error: OSError, *, changed: bool = False) -> None:
        super().__init__(str(error))
        self.index = index
        self.error = error
        self.changed = changed


class _Planned(NamedTuple):
    """A step whose look-ups are done. parent, target: directories of the names. indexed: those
    whose indexes are to know of another content. number: that a file gets which is made, 0 for the
    next one."""

    step: Step
    parent: int
    replacement: Replacement | None = None
    capability: Found | None = None
    target: int = 0
    indexed: tuple[int, ...] = ()
    number: int = 0

    @property
    def makes(self) -> bool:
        """Whether it takes a new number."""
        return isinstance(self.step, Create | Restore) and not self.number


def resolve(context: Context, path: Path, credentials: Credentials) -> tuple[int, Inode]:
    """(object, inode) of a path. Errors: ENOENT, ENOTDIR, EACCES, ENAMETOOLONG; NodeMissing."""
    number = _directory(context, path[:-1], credentials, {})
    _, entry = directory.locate(context.tree, context.hash_key, number, path[-1])
    if entry is None:
        raise posix_error(errno.ENOENT)
    return entry.object, inodes.load(context.tree, entry.object)


def look(
    context: Context, path: Path, credentials: Credentials, size_max: int
) -> tuple[Seen, bytes | None]:
    """A regular file and its content, None for one of more than size_max bytes. Errors: as
    `resolve`; EISDIR or ENXIO for what is no file; NodeMissing, DataMissing."""
    number, inode = resolve(context, path, credentials)
    if not stat.S_ISREG(inode.mode):
        raise posix_error(errno.EISDIR if stat.S_ISDIR(inode.mode) else errno.ENXIO)
    _demand(context, number, inode, credentials, READ)
    seen = Seen(number, inode)
    if inode.size > size_max:
        return seen, None
    return seen, context.data.read(number, inode, 0, inode.size)


def directory_number(context: Context, path: Path, credentials: Credentials) -> int:
    """The directory that may be searched; path: may be empty. Errors: as `resolve`."""
    return _directory(context, path, credentials, {})


def name_in(context: Context, parent: int, number: int) -> bytes:
    """A name of the object in this directory, b"" if it has none there. Errors: NodeMissing."""
    for link in _links(context, number):
        if Name.unpack(link).object == parent:
            return link[Name.SIZE :]
    return b""


def parents_of(context: Context, number: int) -> list[int]:
    """The directories in which an object has a name. Errors: NodeMissing."""
    return [Name.unpack(link).object for link in _links(context, number)]


def _links(context: Context, number: int) -> Iterator[bytes]:
    links = context.tree.iterate((number, ITEM_PARENT, 0), (number, ITEM_PARENT + 1, 0))
    return (payload for _, _, _, payload in links)


def look_in(
    context: Context, parent: int, number: int, size_max: int
) -> tuple[Inode, bytes] | None:
    """A regular file of at most so many bytes that has a name in this directory, and its content;
    None if the object is no such file. Errors: NodeMissing, DataMissing."""
    payload = context.tree.get(number, ITEM_INODE, 0)
    inode = Inode.unpack(payload) if payload is not None else None
    if inode is None or not stat.S_ISREG(inode.mode) or inode.size > size_max:
        return None
    if not name_in(context, parent, number):
        return None
    return inode, context.data.read(number, inode, 0, inode.size)


def look_at_directory(context: Context, path: Path, credentials: Credentials) -> Seen:
    """A directory that may be listed; path: may be empty. Errors: as `resolve`."""
    number = _directory(context, path, credentials, {})
    inode = inodes.load_directory(context.tree, number)
    _demand(context, number, inode, credentials, READ)
    return Seen(number, inode)


def writable_directory(context: Context, path: Path, credentials: Credentials) -> int:
    """A directory in which names may be made. path: may be empty. Errors: as `resolve`."""
    number = _directory(context, path, credentials, {})
    inode = inodes.load_directory(context.tree, number)
    _demand(context, number, inode, credentials, WRITE | EXECUTE)
    return number


def check(context: Context, step: Step, credentials: Credentials) -> None:
    """Whether a step could be done now; nothing is. Errors: StepError; NodeMissing."""
    _plan_all(context, [step], credentials)


def apply(
    context: Context, steps: list[Step], credentials: Credentials, cursor: Cursor | None = None,
    spare: int = 0,
) -> list[Changed]:  # fmt: skip
    """All steps, or none. cursor: of an import, put in the same turn. spare: further operations
    that there is to be room for. Errors: StepError (for the cursor with an index behind the last
    step); NodeMissing; volume.no_space, volume.read_only, volume.numbers_exhausted."""
    planned = _plan_all(context, steps, credentials)
    if cursor is not None:
        _plan_cursor(context, cursor, len(steps), credentials)
    _reserve(context, planned, spare + (cursor is not None))
    try:
        changed = [_apply(context, one, credentials) for one in planned]
        if cursor is not None:
            put_cursor(context.tree, cursor)
        return changed
    except (NodeMissing, DataMissing, AffsError, OSError) as error:
        raise AssertionError(f"a planned batch could not be applied: {error}") from error


def _plan_all(context: Context, steps: list[Step], credentials: Credentials) -> list[_Planned]:
    planned = []
    directories: dict[Path, int] = {}
    for index, step in enumerate(steps):
        try:
            planned.append(_plan(context, step, credentials, directories))
        except OSError as error:
            raise StepError(index, error, changed=error.errno == errno.ESTALE) from None
    return planned


def _plan_cursor(
    context: Context, cursor: Cursor, index: int, credentials: Credentials
) -> None:
    """Errors: StepError; ENOENT if the path names another directory now."""
    try:
        if _directory(context, cursor.path, credentials, {}) != cursor.directory:
            raise posix_error(errno.ENOENT)
    except OSError as error:
        raise StepError(index, error) from None
    touch_cursor(context.tree, cursor.directory)


def _reserve(context: Context, planned: list[_Planned], more: int) -> None:
    """more: operations beside them."""
    volume = context.volume
    volume.check_writable()
    made = sum(one.makes for one in planned)
    if made:
        # New objects follow this number, which is given up, so their items follow its place.
        context.tree.touch(volume.new_object(), ITEM_INODE, 0)
        if made > volume.objects_left:
            raise AffsError(
                "volume.numbers_exhausted", Category.NO_SPACE,
                f"{made} objects are more than can be made before the next commit",
                retryable=True,
            )  # fmt: skip
    blocks = sum(one.replacement.new_blocks for one in planned if one.replacement is not None)
    context.data.reserve(blocks)
    removes = not more and all(isinstance(one.step, Remove) for one in planned)
    try:
        kind = RoomKind.REMOVE if removes else RoomKind.NORMAL
        volume.reserve_metadata(kind, len(planned) + 1 + more)
    except (AffsError, MemoryError):
        if blocks:
            volume.release_data(blocks)
        raise


# ---- looking ----


def _directory(
    context: Context, path: Path, credentials: Credentials, known: dict[Path, int]
) -> int:
    """The number of a directory that may be searched. Errors: ENOENT, ENOTDIR, EACCES ..."""
    if path in known:
        return known[path]
    tree = context.tree
    number, inode = OBJECT_ROOT, inodes.load(tree, OBJECT_ROOT)
    for name in path:
        names.check_name(name)
        _demand(context, number, inode, credentials, EXECUTE)
        _, entry = directory.locate(tree, context.hash_key, number, name)
        if entry is None:
            raise posix_error(errno.ENOENT)
        number = entry.object
        inode = inodes.load_directory(tree, number)
    _demand(context, number, inode, credentials, EXECUTE)
    known[path] = number
    return number


def _demand(
    context: Context, number: int, inode: Inode, credentials: Credentials, wanted: int
) -> None:
    if not allows(context.tree, context.hash_key, number, inode, credentials, wanted):
        raise posix_error(errno.EACCES)


def _plan(
    context: Context, step: Step, credentials: Credentials, known: dict[Path, int]
) -> _Planned:
    if isinstance(step, Declare):
        return _plan_declaring(context, step, credentials, known)
    parent = _directory(context, step.path[:-1], credentials, known)
    if isinstance(step, Create | Restore):
        _plan_name(context, parent, step.path[-1], credentials)
        making.default_acl(context, parent)
        made = 0
        if isinstance(step, Restore):
            made = plan_restore(context, parent, step.path[-1], step.kept, credentials)
        # New numbers are above all others.
        context.marks.plan_member(parent, made or OBJECT_LAST)
        replacement = plan_replace(context.tree, context.data, 0, None, step.data)
        return _Planned(step, parent, replacement, number=made)
    if isinstance(step, Link):
        return _plan_link(context, step, parent, credentials)
    number, inode = _still(context, parent, step)
    if isinstance(step, Replace):
        _demand(context, number, inode, credentials, WRITE)
        capability = changing.find_capability(context, number)
        replacement = plan_replace(context.tree, context.data, number, inode, step.data)
        indexed = context.marks.plan_content(number)
        return _Planned(step, parent, replacement, capability, indexed=indexed)
    context.marks.plan_member(parent, number)
    _plan_leaving(context, parent, step.path[-1], number, inode, credentials)
    if isinstance(step, Remove):
        context.tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
        return _Planned(step, parent)
    target = _directory(context, step.target[:-1], credentials, known)
    name = step.target[-1]
    _plan_name(context, target, name, credentials)
    back, _ = directory.locate_link(context.tree, context.hash_key, number, target, name)
    making.check_free(back)
    context.marks.plan_member(target, number)
    return _Planned(step, parent, target=target)


def _plan_link(
    context: Context, step: Link, parent: int, credentials: Credentials
) -> _Planned:
    """Errors: ESTALE; EPERM for a file of others ..."""
    number = step.seen.number
    inode = inodes.load(context.tree, number)
    whole = context.orphans.is_whole(number) if step.revives else True
    if not whole or not step.seen.still(number, inode):
        raise posix_error(errno.ESTALE)
    if not credentials.privileged and credentials.uid != inode.uid:
        raise posix_error(errno.EPERM)
    _plan_name(context, parent, step.path[-1], credentials)
    back, _ = directory.locate_link(
        context.tree, context.hash_key, number, parent, step.path[-1]
    )
    making.check_free(back)
    context.tree.touch(number, ITEM_PARENT, back)
    context.tree.touch(OBJECT_ORPHANS, ITEM_ORPHAN, number)
    context.marks.plan_member(parent, number)
    return _Planned(step, parent)


def _plan_declaring(
    context: Context, step: Declare, credentials: Credentials, known: dict[Path, int]
) -> _Planned:
    """Errors: EACCES, EPERM (a directory of others), ESTALE ..."""
    number = _directory(context, step.path, credentials, known)
    inode = inodes.load_directory(context.tree, number)
    if not step.seen.still(number, inode):
        raise posix_error(errno.ESTALE)
    if not credentials.privileged and credentials.uid != inode.uid:
        raise posix_error(errno.EPERM)
    context.collections.plan(number, step.data)
    return _Planned(step, inode.parent)


def _still(context: Context, parent: int, step: Replace | Remove | Move) -> tuple[int, Inode]:
    """Errors: ESTALE if the file is not as it was seen."""
    _, entry = directory.locate(context.tree, context.hash_key, parent, step.path[-1])
    if entry is None:
        raise posix_error(errno.ESTALE)
    inode = inodes.load(context.tree, entry.object)
    if not step.seen.still(entry.object, inode):
        raise posix_error(errno.ESTALE)
    return entry.object, inode


def _plan_name(context: Context, parent: int, name: bytes, credentials: Credentials) -> None:
    """A name is to be made. Errors: EEXIST, EACCES, ENOSPC, ENAMETOOLONG, EPERM ..."""
    names.check_new_name(name)
    inode = making.load_parent(context, parent, name)
    _demand(context, parent, inode, credentials, WRITE | EXECUTE)
    offset, entry = directory.locate(context.tree, context.hash_key, parent, name)
    if entry is not None:
        raise posix_error(errno.EEXIST)
    making.check_free(offset)
    context.tree.touch(parent, ITEM_DENTRY, offset)


def _plan_leaving(
    context: Context, parent: int, name: bytes, number: int, inode: Inode, credentials: Credentials
) -> None:
    """A name is to be taken away. Errors: EACCES, EPERM (a sticky directory of others)."""
    above = making.load_parent(context, parent, name)
    _demand(context, parent, above, credentials, WRITE | EXECUTE)
    owner = credentials.uid in (inode.uid, above.uid)
    if above.mode & stat.S_ISVTX and not (owner or credentials.privileged):
        raise posix_error(errno.EPERM)
    linking.find_link(context, number, parent, name)


# ---- changing ----


def _apply(context: Context, planned: _Planned, credentials: Credentials) -> Changed:
    step, parent = planned.step, planned.parent
    if isinstance(step, Declare):
        return _declare(context, step)
    name = step.path[-1]
    entries = ((parent, name),)
    if isinstance(step, Create | Restore):
        if isinstance(step, Create):
            mode = stat.S_IFREG | step.mode
            number = making.make(context, parent, name, mode, credentials).number
        else:
            number = restore(context, parent, name, planned.number, step.kept, credentials)
        assert planned.replacement is not None
        replace(context.data, number, planned.replacement)
        inode = inodes.load(context.tree, number)._replace(size=len(step.data))
        inodes.save(context.tree, number, inode)
        return Changed(number, inode, (parent,), entries)
    number = step.seen.number
    if isinstance(step, Link):
        linked = linking.link(context, number, parent, name, revive=step.revives)
        return Changed(number, linked.inode, (parent,), entries)
    if isinstance(step, Replace):
        return Changed(number, _replace(context, planned, step, credentials))
    if isinstance(step, Remove):
        gone = linking.unlink(context, parent, name)
        return Changed(number, step.seen.inode, (parent,), entries, bool(gone))
    target = planned.target
    rename(context, parent, name, target, step.target[-1], RENAME_NOREPLACE)
    inode = inodes.load(context.tree, number)
    return Changed(number, inode, (parent, target), (*entries, (target, step.target[-1])))


def _replace(context: Context, planned: _Planned, step: Replace, credentials: Credentials) -> Inode:
    number = step.seen.number
    before = inodes.load(context.tree, number)
    assert planned.replacement is not None
    dropped = replace(context.data, number, planned.replacement)
    if planned.capability is not None:
        xattrs.drop(context, number, planned.capability)
    now = context.stamp()
    inode = inodes.changed(before, now)._replace(
        size=len(step.data),
        blocks=before.blocks - dropped,
        mtime_ns=now.time_ns,
        mode=mode_after_truncating(before, credentials),
    )
    inodes.save(context.tree, number, inode)
    context.marks.mark(number, *planned.indexed)
    return inode


def _declare(context: Context, step: Declare) -> Changed:
    number = step.seen.number
    context.collections.put(number, step.data)
    context.marks.note(number)
    inode = inodes.changed(inodes.load(context.tree, number), context.stamp())
    inodes.save(context.tree, number, inode)
    return Changed(number, inode)
