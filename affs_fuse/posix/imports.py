"""Where unfinished imports stand: an item for each directory that has one.

docs/specs/DiskLayout.md, "Import". The item lies in the namespace tree and changes in the same step
as the files that the import makes, so in every state it says exactly which of its records that
state has. What is in it is the business of who imports; a directory that is gone leaves an item
that says nothing, since numbers are never used again.
"""

from typing import NamedTuple

from affs_fuse.core.constants import ITEM_IMPORT, ITEM_INODE, OBJECT_IMPORTS
from affs_fuse.core.tree import Tree

__all__ = ["Cursor", "cursor_of", "cursors", "put_cursor", "touch_cursor"]


class Cursor(NamedTuple):
    """directory: its number; it must still be what the path names. payload: b"" ends it."""

    path: tuple[bytes, ...]
    directory: int
    payload: bytes


def cursor_of(tree: Tree, directory: int) -> bytes | None:
    """Errors: NodeMissing."""
    return tree.get(OBJECT_IMPORTS, ITEM_IMPORT, directory)


def cursors(tree: Tree) -> list[tuple[int, bytes]]:
    """(directory, payload) of all whose directory is there, by number. Errors: NodeMissing."""
    first, end = (OBJECT_IMPORTS, ITEM_IMPORT, 0), (OBJECT_IMPORTS, ITEM_IMPORT + 1, 0)
    found = [(number, payload) for _, _, number, payload in tree.iterate(first, end)]
    return [one for one in found if tree.get(one[0], ITEM_INODE, 0) is not None]


def touch_cursor(tree: Tree, directory: int) -> None:
    """Look up all that `put_cursor` needs. Errors: NodeMissing."""
    tree.touch(OBJECT_IMPORTS, ITEM_IMPORT, directory)


def put_cursor(tree: Tree, cursor: Cursor) -> None:
    if cursor.payload:
        tree.put(OBJECT_IMPORTS, ITEM_IMPORT, cursor.directory, cursor.payload)
    else:
        tree.delete(OBJECT_IMPORTS, ITEM_IMPORT, cursor.directory)
