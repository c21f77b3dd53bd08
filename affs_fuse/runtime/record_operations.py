"""What a command asks to be done with one record."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.posix.restoring import Kept
from affs_fuse.query.editing import Change

__all__ = ["Operation"]


@dataclass(frozen=True, slots=True)
class Operation:
    """verb: create, update, move, erase; of an undo also rewrite, restore, link. path: or an
    object's id. value: of create. changes: of update. target: of move. if_version: the version that
    the record must have, "" for any. object_id: the object that it must be, b"" for any; of link
    the one that gets a name. content: of rewrite and restore. kept: of restore."""

    verb: str
    path: str
    value: Value = None
    changes: tuple[Change, ...] = ()
    target: str = ""
    if_version: str = ""
    object_id: bytes = b""
    content: bytes = b""
    kept: Kept | None = None
