"""What flows through a pipeline, and what names mean in it.

At the source a row is an `Entry`: a file with its attributes and, if the query asks for it, its
content. After select, group, count or join it is a plain Object (dict). A `Scope` says which of
both, and turns names into functions of a row.
"""

import hashlib
import stat
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.core.codec import Inode
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INLINE_MAX,
    INTENT_APPEND,
    INTENT_LARGE,
    INTENT_MEDIUM,
    INTENT_SMALL,
    OBJECT_BITS,
)
from affs_fuse.query.paths import path_fields, path_text
from affs_fuse.volume.authors import Author

__all__ = [
    "ATTRIBUTES", "KIND_WORDS", "MISSING", "Entry", "FileAttribute", "Getter", "Needs", "Scope",
    "content_version", "file_row", "record_row",
]  # fmt: skip

Row = Any
Getter = Callable[[Row], Value]

MISSING: Any = object()
"""What a place function gives where there is nothing; no row ever holds it."""


class Needs(IntFlag):
    """What a query asks of each file beside its inode; the source reads no more than that."""

    NOTHING = 0
    CONTENT = 1
    XATTRS = 2
    BIRTHS = 4
    AUTHORS = 8


class Entry:
    """One file of a state, under one of its names. directory: path of the directory without the
    slash in front, name: b"" for the root. value, text: the record, and the bytes it was read from.
    change: added, changed or "" (known only to `changed since`)."""

    __slots__ = (
        "author", "birth", "change", "directory", "inode", "name", "number", "text", "value",
        "xattrs",
    )  # fmt: skip

    def __init__(self, number: int, inode: Inode, directory: bytes, name: bytes) -> None:
        self.number = number
        self.inode = inode
        self.directory = directory
        self.name = name
        self.value: Value = None
        self.text = b""
        self.xattrs: dict[str, Value] = {}
        self.birth: int | None = None
        self.author: Author | None = None
        self.change = ""

    @property
    def path(self) -> bytes:
        return b"/" + self.directory + b"/" + self.name if self.directory else b"/" + self.name


def content_version(text: bytes) -> str:
    """16 hex digits that change with the content of a record and with nothing else."""
    return hashlib.blake2b(text, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class FileAttribute:
    """One attribute of files. kind: the Python type of its value."""

    name: str
    kind: type
    get: Callable[[Entry], Value]
    about: str
    needs: Needs = Needs.NOTHING


KIND_WORDS = {
    stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "character", stat.S_IFBLK: "block",
}  # fmt: skip
_DATA_WORDS = {
    INTENT_SMALL: "small", INTENT_MEDIUM: "medium", INTENT_LARGE: "large", INTENT_APPEND: "append",
}  # fmt: skip


def _data_kind(entry: Entry) -> str:
    inode = entry.inode
    if not stat.S_ISREG(inode.mode) or not inode.size:
        return "none"
    if not inode.blocks:
        return "inline" if inode.size <= INLINE_MAX else "hole"
    return _DATA_WORDS.get(inode.data_kind, "other")


def _depth(entry: Entry) -> int:
    return entry.path.count(b"/") if entry.name else 0


def _extension(entry: Entry) -> str:
    stem, dot, extension = entry.name.rpartition(b".")
    return path_text(extension) if dot and stem else ""


def _declared() -> list[FileAttribute]:
    one = FileAttribute
    return [
        one("path", str, lambda entry: path_text(entry.path), "from the root of the volume"),
        one("name", str, lambda entry: path_text(entry.name), "the last part of the path"),
        one("directory", str, lambda entry: path_text(b"/" + entry.directory),
            "the path without the name"),
        one("extension", str, _extension, "what follows the last dot of the name, or \"\""),
        one("depth", int, _depth, "parts of the path; 0 for the root"),
        one("kind", str, lambda entry: KIND_WORDS.get(stat.S_IFMT(entry.inode.mode), "other"),
            "file, directory, symlink, fifo, socket, character, block"),
        one("size", int, lambda entry: entry.inode.size, "bytes; of a directory, its entries"),
        one("blocks", int, lambda entry: entry.inode.blocks, "blocks of 4 KiB that its data takes"),
        one("allocated", int, lambda entry: entry.inode.blocks * BLOCK_SIZE, "blocks, in bytes"),
        one("mode", int, lambda entry: stat.S_IMODE(entry.inode.mode), "permission bits: 0o644"),
        one("uid", int, lambda entry: entry.inode.uid, "number of its owner"),
        one("gid", int, lambda entry: entry.inode.gid, "number of its group"),
        one("links", int, lambda entry: entry.inode.nlink, "names that it has"),
        one("mtime", int, lambda entry: entry.inode.mtime_ns, "last change of content, ns"),
        one("ctime", int, lambda entry: entry.inode.ctime_ns, "last change of any kind, ns"),
        one("atime", int, lambda entry: entry.inode.atime_ns, "last access, ns (relatime)"),
        one("btime", int, lambda entry: entry.inode.btime_ns, "when it was made, ns"),
        one("id", str, lambda entry: entry.inode.object_id.hex(),
            "32 hex digits that stay when it is renamed"),
        one("number", int, lambda entry: entry.number & ((1 << OBJECT_BITS) - 1), "inode number"),
        one("data_kind", str, _data_kind, "none, inline, hole, small, medium, large, append"),
        one("data_commit", int, lambda entry: entry.birth,
            "number of the commit that wrote the newest of its extents; Null without extents",
            Needs.BIRTHS),
        one("created_commit", int, lambda entry: entry.inode.created_commit or None,
            "number of the commit that had it first; Null where that is not known"),
        one("changed_commit", int, lambda entry: entry.inode.changed_commit or None,
            "number of the commit that has its last change"),
        one("changed_by", str, lambda entry: entry.author.name if entry.author else None,
            "program or command that made its last change; Null where nobody knows", Needs.AUTHORS),
        one("changed_uid", int, lambda entry: entry.author.uid if entry.author else None,
            "number of the user who did", Needs.AUTHORS),
        one("changed_how", str, lambda entry: entry.author.kind if entry.author else None,
            "process or command", Needs.AUTHORS),
        one("xattrs", dict, lambda entry: entry.xattrs,
            "extended attributes: Strings, or Binary where they are no UTF-8", Needs.XATTRS),
        one("change", str, lambda entry: entry.change,
            "with `changed since`: added or changed; otherwise \"\""),
        one("version", str, lambda entry: content_version(entry.text),
            "of a record: 16 hex digits that change with its content", Needs.CONTENT),
    ]  # fmt: skip


ATTRIBUTES: dict[str, FileAttribute] = {one.name: one for one in _declared()}
_SHOWN = ("path", "kind", "size", "mode", "uid", "gid", "mtime", "id")
"""Of a file, where the query selects nothing."""


def file_row(entry: Entry) -> dict[str, Value]:
    """A file's row as it leaves a query that selects nothing."""
    row = {name: ATTRIBUTES[name].get(entry) for name in _SHOWN}
    return {**row, **path_fields(entry.path)}


def record_row(entry: Entry) -> dict[str, Value]:
    """The same of a record."""
    row: dict[str, Value] = {
        "path": path_text(entry.path),
        "id": entry.inode.object_id.hex(),
        "version": content_version(entry.text),
        "value": entry.value,
    }
    return {**row, **path_fields(entry.path)}


@dataclass(frozen=True, slots=True)
class Scope:
    """What rows are at some place of a pipeline. kind: records (Entry, names are fields of its
    value), files (Entry, names are attributes), rows (dict). columns: of rows, the names that there
    are; None where nobody knows."""

    kind: str
    columns: frozenset[str] | None = None

    @property
    def has_attributes(self) -> bool:
        return self.kind != "rows"

    def known_names(self) -> Iterable[str]:
        """For suggestions."""
        if self.kind == "files":
            return ATTRIBUTES
        return self.columns or ()

    def place(self, name: str) -> Getter | None:
        """What a name stands for, or MISSING in a row without it; None if it can stand for
        nothing."""
        if self.kind == "files":
            attribute = ATTRIBUTES.get(name)
            return attribute.get if attribute is not None else None
        if self.kind == "records":

            def of_record(entry: Entry) -> Value:
                value = entry.value
                return value.get(name, MISSING) if type(value) is dict else MISSING

            return of_record
        if self.columns is not None and name not in self.columns:
            return None
        return lambda row: row.get(name, MISSING)

    def whole(self) -> Getter:
        """What `$` stands for."""
        if self.kind == "files":
            return file_row
        if self.kind == "records":
            return lambda entry: entry.value
        return lambda row: row
