"""A query's source over the trees that somebody else has opened and holds."""

import errno

from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.permissions import EXECUTE
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.memory import Allowance
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import ChangedFiles, OneFile, Report, RowSource, TreeWalk, Wanted
from affs_fuse.query.tree import Source

__all__ = ["find_file", "source_of"]


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
        raise _explained(error, path) from None


def _by_path(reader: StateReader, path: str) -> Entry:
    parts = [part for part in path.encode().split(b"/") if part not in (b"", b".")]
    if b".." in parts:
        raise AffsError(
            "record.path", Category.INVALID, f"{path}: '..' is no part of a path here",
            details={"path": path},
        )  # fmt: skip
    number, inode = reader.resolve(b"/".join(parts))
    return Entry(number, inode, b"/".join(parts[:-1]), parts[-1] if parts else b"")


def _by_id(reader: StateReader, text: str) -> Entry:
    found = reader.by_id(bytes.fromhex(text))
    if found is None:
        raise posix_error(errno.ENOENT)
    number, inode = found
    places = reader.places(number)
    if not places:
        return Entry(number, inode, b"", b"")
    parent, name = places[0]
    directory, open_way = reader.directory_path(parent)
    above = reader.inode(parent)
    if not open_way or above is None or not reader.may(parent, above, EXECUTE):
        raise posix_error(errno.EACCES)
    return Entry(number, inode, directory, name)


def _explained(error: OSError, path: str) -> AffsError:
    details = {"path": path}
    if error.errno == errno.EACCES:
        return AffsError(
            "record.denied", Category.DENIED, f"{path} may not be reached by this user",
            details=details,
        )  # fmt: skip
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
        return AffsError(
            "record.not_found", Category.NOT_FOUND, f"there is no {path} in this state",
            details=details,
        )  # fmt: skip
    return AffsError("record.path", Category.INVALID, f"{path}: {error.strerror}", details=details)
