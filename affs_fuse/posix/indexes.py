"""Indexes of a directory: what is declared, what is there, and what waits to be taken in.

docs/specs/Indexes.md. An index is declared in the declaration of its directory (declarations.py);
its pages are items of the directory. Invariants:
- A file of an indexed directory of which the content or the membership changes gets a PENDING item
  in the same turn (`mark`). So in every commit an index is right for all files that are not
  pending.
- Who asks an index takes pending files for unknown and looks at them.

The functions work on the tree of any state, `Marks` on that of the working state.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from affs_fuse.auv import Value
from affs_fuse.core.codec import Name
from affs_fuse.core.constants import (
    ITEM_INDEX,
    ITEM_INDEX_PENDING,
    ITEM_PARENT,
)
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError
from affs_fuse.posix.declarations import Collections, Declaration
from affs_fuse.posix.index_keys import object_of_entry
from affs_fuse.volume.index_check import INDEX_ID_MAX, IndexHead, page_of, split_page
from affs_fuse.volume.index_pages import IndexPages

__all__ = [
    "DeclaredIndex", "Marks", "declared_indexes", "files_between", "heads", "next_index_id",
    "open_index", "pending_files", "read_head", "with_indexes",
]  # fmt: skip

INDEXES = "indexes"
NEXT_INDEX = "next_index"


class DeclaredIndex(NamedTuple):
    """id: never used twice in a directory. name: for people, one of its kind in the directory."""

    id: int
    name: str
    expression: str


def declared_indexes(declaration: Declaration | None) -> tuple[DeclaredIndex, ...]:
    """What a declaration says about indexes, in the order of their ids. What has not the form is
    left out."""
    found = []
    listed = declaration.get(INDEXES) if declaration is not None else None
    for one in listed if isinstance(listed, list) else ():
        if isinstance(one, dict):
            index, name, text = one.get("id"), one.get("name"), one.get("expression")
            if not isinstance(index, int) or not 0 < index <= INDEX_ID_MAX:
                continue
            if isinstance(name, str) and isinstance(text, str):
                found.append(DeclaredIndex(index, name, text))
    return tuple(sorted(found))


def with_indexes(
    declaration: Declaration | None, indexes: Sequence[DeclaredIndex], next_id: int
) -> Declaration:
    """The declaration with these indexes in place of those it has."""
    rows: list[Value] = [one._asdict() for one in sorted(indexes)]
    return {**(declaration or {}), INDEXES: rows, NEXT_INDEX: next_id}


def next_index_id(tree: Tree, directory: int, declaration: Declaration | None) -> int:
    """An id that no index of the directory has or had. Errors: NodeMissing."""
    known = declaration.get(NEXT_INDEX) if declaration is not None else None
    least = known if type(known) is int else 1
    item = tree.seek(directory, ITEM_INDEX, page_of(INDEX_ID_MAX, 0), backward=True)
    if item is not None and item[:2] == (directory, ITEM_INDEX):
        least = max(least, split_page(item[2])[0] + 1)
    return least


# ---- reading, in any state; errors: NodeMissing, index.damaged ----


def read_head(tree: Tree, directory: int, index: int) -> IndexHead | None:
    """None if the index was not begun."""
    payload = tree.get(directory, ITEM_INDEX, page_of(index, 0))
    return _unpack_head(payload) if payload is not None else None


_unpack_head = lru_cache(64)(IndexHead.unpack)
"""Heads are read with every query; they do not change."""


def open_index(tree: Tree, directory: int, index: int, head: IndexHead) -> IndexPages:
    return IndexPages(
        lambda page: tree.get(directory, ITEM_INDEX, page_of(index, page)), head.shape
    )


def files_between(
    tree: Tree, directory: int, index: int, low: bytes, high: bytes
) -> list[int] | None:
    """The files with an entry from low up to, not including, high, as the index has it; None if it
    has not all files yet."""
    head = read_head(tree, directory, index)
    if head is None or not head.usable:
        return None
    pages = open_index(tree, directory, index, head)
    found: list[int] = []
    at: bytes | None = low
    while at is not None and at < high:
        chunk = pages.forward(at)
        found += [object_of_entry(entry) for entry in chunk.entries if entry < high]
        at = chunk.beyond
    return found


def heads(tree: Tree, directory: int) -> dict[int, bytes]:
    """The heads of all indexes of which there is anything, declared or not."""
    found: dict[int, bytes] = {}
    at = page_of(1, 0)
    while (item := tree.seek(directory, ITEM_INDEX, at)) is not None:
        if item[:2] != (directory, ITEM_INDEX):
            break
        index, page = split_page(item[2])
        found[index] = item[3] if page == 0 else b""
        if index == INDEX_ID_MAX:
            break
        at = page_of(index + 1, 0)
    return found


def pending_files(tree: Tree, directory: int, after: int, limit_bytes: int) -> list[int]:
    """The next files that wait to be taken in, by rising number; none at the end."""
    first = (directory, ITEM_INDEX_PENDING, after + 1)
    items = tree.scan(first, (directory, ITEM_INDEX_PENDING + 1, 0), limit_bytes)
    return [number for _, _, number, _ in items]


# ---- marking ----


class Marks:
    """Of the working state."""

    def __init__(self, tree: Tree, collections: Collections) -> None:
        self._tree = tree
        self._collections = collections
        self._waiting: set[int] | None = None
        self._known: tuple[Declaration | None, bool] = (None, False)

    @property
    def any(self) -> bool:
        """Whether there may be a directory with something to do for its indexes."""
        return self._waiting is None or bool(self._waiting)

    def waiting(self) -> list[int]:
        """The directories with something to do, or of which that is not known. Errors:
        NodeMissing."""
        if self._waiting is None:
            self._waiting = {n for n in self._collections.numbers if NEXT_INDEX in self._get(n)}
        return sorted(self._waiting)

    def settled(self, directory: int) -> None:
        """There is nothing to do for this one now."""
        if self._waiting is not None:
            self._waiting.discard(directory)

    def declared(self, directory: int) -> tuple[DeclaredIndex, ...]:
        """The indexes that a directory has to have. Errors: NodeMissing."""
        return declared_indexes(self._get(directory))

    def _get(self, directory: int) -> Declaration:
        try:
            return self._collections.get(directory) or {}
        except AffsError:  # a declaration that cannot be read declares nothing
            return {}

    def _is_indexed(self, directory: int) -> bool:
        declaration = self._get(directory)
        if self._known[0] is not declaration:
            self._known = declaration, bool(declared_indexes(declaration))
        return self._known[1]

    def plan_member(self, directory: int, number: int) -> int:
        """A file comes into a directory, or leaves it: which of its indexes are to know (0: none).
        Looks up all that `mark` needs. Errors: NodeMissing."""
        if directory not in self._collections.numbers or not self._is_indexed(directory):
            return 0
        self._tree.touch(directory, ITEM_INDEX_PENDING, number)
        return directory

    def plan_content(self, number: int) -> tuple[int, ...]:
        """A file's content changes: the directories whose indexes are to know. Looks up all that
        `mark` needs. Errors: NodeMissing."""
        if not self._collections.numbers:
            return ()
        found = []
        first, end = (number, ITEM_PARENT, 0), (number, ITEM_PARENT + 1, 0)
        for _, _, _, payload in self._tree.iterate(first, end):
            directory = self.plan_member(Name.unpack(payload).object, number)
            if directory and directory not in found:
                found.append(directory)
        return tuple(found)

    def mark(self, number: int, *directories: int) -> None:
        """The file waits to be taken in by the indexes of these directories, 0 for none."""
        for directory in directories:
            if directory:
                self._tree.put(directory, ITEM_INDEX_PENDING, number, b"")
                self.note(directory)

    def note(self, directory: int) -> None:
        """There is something to do for this directory: its declaration is another one, say."""
        if self._waiting is not None:
            self._waiting.add(directory)
