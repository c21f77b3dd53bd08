"""A query's source over the trees that somebody else has opened and holds."""

import errno
import os
import stat
from collections.abc import Callable

from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.alone_choice import AloneChoice, choose_alone
from affs_fuse.query.alone_source import AloneSource, WalkAmong
from affs_fuse.query.index_choice import Choice, choose_index, choose_top
from affs_fuse.query.index_files import IntersectedFiles
from affs_fuse.query.index_source import Holder, IndexedFiles, OrderedFiles
from affs_fuse.query.index_top import TopBelow
from affs_fuse.query.index_walk import IndexedWalk, WalkBelow
from affs_fuse.query.memory import Allowance
from affs_fuse.query.paths import is_path, path_bytes
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import (
    SORTED_ENTRIES_MAX,
    ChangedFiles,
    EntryLoader,
    OneFile,
    Report,
    RowSource,
    TreeWalk,
    Wanted,
)
from affs_fuse.query.tree import Source

__all__ = ["asks_below", "choice_of", "find_file", "path_error", "path_parts", "source_of"]


def source_of(
    reader: StateReader,
    since: Tree | None,
    source: Source,
    wanted: Wanted,
    report: Report,
    memory: Allowance,
    enough: Callable[[], bool],
    *,
    indexes: bool = True,
) -> RowSource | AloneSource:
    """reader: of the state that is asked; since: the older state that it is compared with. enough:
    whether a sort has the rows that it wants. indexes: whether they may be asked.
    Errors: record.not_found, record.denied, record.path, index.damaged; NodeMissing."""
    entry = find_file(reader, source.path)
    if source.verb == "get":
        return OneFile(reader, entry, wanted, report)
    path = entry.path.lstrip(b"/")
    deep = source.verb == "find"
    if since is not None:
        return ChangedFiles(reader, since, path, wanted, report, deep=deep)
    choice = choice_of(reader, source, entry, wanted) if indexes else None
    if choice is not None:
        report.asked(choice.declared.name)
        holder = Holder(entry.number, path, entry.inode.size <= SORTED_ENTRIES_MAX)
        loader = EntryLoader(reader, wanted, report, by_index=True)
        if isinstance(choice, AloneChoice):
            below = deep and entry.inode.nlink != 2
            walk = _walk_below(reader, entry, path, wanted, report, memory) if below else None
            return AloneSource(reader, holder, entry.inode, choice, loader, memory, walk)
        if choice.below:
            walk_below = _walk_below(reader, entry, path, wanted, report, memory)
            return TopBelow(reader, entry.number, choice, memory, walk_below)
        if choice.order is not None:
            return OrderedFiles(reader, holder, choice, loader, memory, enough)
        for one in choice.also:
            report.asked(one.declared.name)
        indexed = IntersectedFiles if choice.also else IndexedFiles
        return indexed(reader, holder, choice, loader, memory)
    start = path, entry.number, entry.inode
    if indexes and asks_below(source, entry, wanted):
        return IndexedWalk(reader, start, wanted, report, memory)
    return TreeWalk(reader, start, wanted, report, memory, deep=deep)


def asks_below(source: Source, entry: Entry, wanted: Wanted) -> bool:
    """Whether a source goes through directories and asks the indexes of each where that helps."""
    deep = source.verb == "find" and stat.S_ISDIR(entry.inode.mode) and entry.inode.nlink != 2
    return deep and source.since is None and bool(wanted.hints.lookups)


def choice_of(
    reader: StateReader, source: Source, entry: Entry, wanted: Wanted
) -> Choice | AloneChoice | None:
    """The index that a source asks; None if it walks. Where directories lie below, an index can
    say something alone or give the first rows of a sort. Errors: index.damaged; NodeMissing."""
    inode = entry.inode
    if not wanted.hints or source.since is not None or not stat.S_ISDIR(inode.mode):
        return None
    if not reader.may_list(entry.number, inode):
        return None
    flat = source.verb == "list" or inode.nlink == 2
    alone = choose_alone(reader, entry.number, inode, wanted.hints, flat=flat)
    choose = choose_index if flat else choose_top
    return alone or choose(reader, entry.number, inode, wanted.hints)


def _walk_below(
    reader: StateReader, entry: Entry, path: bytes, wanted: Wanted, report: Report,
    memory: Allowance,
) -> WalkAmong:  # fmt: skip
    """Opens a walk through some files of the directory and everything below it."""
    start = path, entry.number, entry.inode
    return lambda files: WalkBelow(reader, start, wanted, report, memory, files)


def find_file(reader: StateReader, path: str) -> Entry:
    """A file by its path, or by its object id under the first of its names. Errors:
    record.not_found, record.denied, record.path; NodeMissing."""
    try:
        if is_path(path):
            return _by_path(reader, path)
        return _by_id(reader, path)
    except OSError as error:
        raise path_error(error, path) from None


def path_parts(path: str) -> tuple[bytes, ...]:
    """The names in a path. Errors: record.path."""
    parts = tuple(part for part in path_bytes(path).split(b"/") if part not in (b"", b"."))
    if b".." in parts:
        raise _wrong_path(path, "'..' is no part of a path here")
    return parts


def _by_path(reader: StateReader, path: str) -> Entry:
    parts = path_parts(path)
    number, inode = reader.resolve(b"/".join(parts))
    return Entry(number, inode, b"/".join(parts[:-1]), parts[-1] if parts else b"")


def _by_id(reader: StateReader, text: str) -> Entry:
    found, parts = reader.by_id(bytes.fromhex(text)), reader.path_of(bytes.fromhex(text))
    if found is None:
        raise posix_error(errno.ENOENT)
    if parts is None:
        raise posix_error(errno.EACCES)
    return Entry(*found, b"/".join(parts[:-1]), parts[-1])


def path_error(error: OSError, path: str) -> AffsError:
    """What an error of a path is to somebody who asked for a file or record."""
    details = {"path": path}
    number = error.errno or errno.EIO
    if number in (errno.EACCES, errno.EPERM):
        return AffsError(
            "record.denied", Category.DENIED, f"{path} is out of this user's reach", details=details
        )
    if number in (errno.ENOENT, errno.ESTALE):
        return AffsError(
            "record.not_found", Category.NOT_FOUND, f"there is no {path} in this state",
            details=details,
        )  # fmt: skip
    if number == errno.EEXIST:
        return AffsError(
            "record.exists", Category.EXISTS, f"there is something at {path} already",
            details=details,
        )  # fmt: skip
    if number in (errno.EISDIR, errno.ENXIO, errno.ELOOP):
        return AffsError(
            "record.no_file", Category.INVALID, f"{path} is no regular file, and so no record",
            details=details,
        )  # fmt: skip
    if number == errno.ENOTDIR:
        return _wrong_path(path, "something in front of a slash is no directory")
    return _wrong_path(path, os.strerror(number))


def _wrong_path(path: str, what: str) -> AffsError:
    return AffsError("record.path", Category.INVALID, f"{path}: {what}", details={"path": path})
