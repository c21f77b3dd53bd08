"""A query's source over the trees that somebody else has opened and holds."""

import errno
import os

from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.memory import Allowance
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import ChangedFiles, OneFile, Report, RowSource, TreeWalk, Wanted
from affs_fuse.query.tree import Source

__all__ = ["find_file", "path_error", "path_parts", "source_of"]


def source_of(
    reader: StateReader,
    since: Tree | None,
    source: Source,
    wanted: Wanted,
    report: Report,
    memory: Allowance,
) -> RowSource:
    """reader: of the state that is asked; since: the older state that it is compared with.
    Errors: record.not_found, record.denied, record.path; NodeMissing."""
    entry = find_file(reader, source.path)
    if source.verb == "get":
        return OneFile(reader, entry, wanted, report)
    path = entry.path.lstrip(b"/")
    deep = source.verb == "find"
    if since is not None:
        return ChangedFiles(reader, since, path, wanted, report, deep=deep)
    start = path, entry.number, entry.inode
    return TreeWalk(reader, start, wanted, report, memory, deep=deep)


def find_file(reader: StateReader, path: str) -> Entry:
    """A file by its path, or by its object id under the first of its names. Errors:
    record.not_found, record.denied, record.path; NodeMissing."""
    try:
        if path.startswith("/"):
            return _by_path(reader, path)
        return _by_id(reader, path)
    except OSError as error:
        raise path_error(error, path) from None


def path_parts(path: str) -> tuple[bytes, ...]:
    """The names in a path. Errors: record.path."""
    parts = tuple(part for part in os.fsencode(path).split(b"/") if part not in (b"", b"."))
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
