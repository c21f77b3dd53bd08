"""Declarations of collections: what a directory says about the records that lie in it.

docs/specs/DiskLayout.md, "Collection". A declaration is an Object in canonical binary form, kept in
parts under its directory's number; the list under object 3 has every directory with one, so "is
there any, and which" is one look at a few items. Both belong to the namespace: commit, rollback and
`as of` cover them, and they go with the directory. What is in the Object is not known here
(`schema`: docs/specs/Collections.md).

The functions work on the tree of any state. `Collections` is of the state that the mount shows; a
rollback makes a new one, so what it remembers is never of another state.
"""

from collections.abc import Set as AbstractSet

from affs_fuse.auv import AuvError, Value, decode, encode_canonical
from affs_fuse.core.constants import (
    COLLECTION_PART_SIZE,
    COLLECTION_PARTS_MAX,
    ITEM_COLLECTION,
    OBJECT_COLLECTIONS,
)
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category

__all__ = ["DECLARATION_MAX", "Collections", "Declaration", "listed", "packed", "read", "stored"]

Declaration = dict[str, Value]

KNOWN_MAX = 1024
"""Declarations that are kept decoded; above the most that one batch can touch."""

DECLARATION_MAX = COLLECTION_PART_SIZE * COLLECTION_PARTS_MAX
"""Bytes in canonical binary form."""


def listed(tree: Tree) -> list[int]:
    """The directories of a state that have a declaration, by number. Errors: NodeMissing."""
    first = (OBJECT_COLLECTIONS, ITEM_COLLECTION, 0)
    end = (OBJECT_COLLECTIONS, ITEM_COLLECTION + 1, 0)
    return [number for _, _, number, _ in tree.iterate(first, end)]


def stored(tree: Tree, number: int) -> bytes:
    """The declaration of a directory as it lies there, b"" if it has none. Errors: NodeMissing."""
    return b"".join(_parts(tree, number))


def read(tree: Tree, number: int) -> Declaration | None:
    """The declaration of a directory, None if it has none. Errors: collection.damaged;
    NodeMissing."""
    data = stored(tree, number)
    if not data:
        return None
    try:
        value = decode(data)
    except AuvError as error:
        raise _damaged(number, error.message) from None
    if not isinstance(value, dict):
        raise _damaged(number, "it is no Object")
    return value


def packed(declaration: Declaration) -> bytes:
    """As it is stored. Errors: collection.too_large; those of the values."""
    data = encode_canonical(declaration)
    if len(data) > DECLARATION_MAX:
        raise AffsError(
            "collection.too_large", Category.INVALID,
            f"a declaration of {len(data)} bytes, {DECLARATION_MAX} at most",
            hint="leave something out, or split the collection",
        )  # fmt: skip
    return data


def _parts(tree: Tree, number: int) -> list[bytes]:
    first, end = (number, ITEM_COLLECTION, 0), (number, ITEM_COLLECTION + 1, 0)
    return [payload for _, _, _, payload in tree.iterate(first, end)]


def _damaged(number: int, why: str) -> AffsError:
    return AffsError(
        "collection.damaged", Category.CORRUPT,
        f"the declaration of directory {number} cannot be read: {why}",
        hint="see fsck.affs; declaring it anew replaces it, `collection drop` removes it",
    )  # fmt: skip


class Collections:
    """Of the working state. Errors of all methods: NodeMissing, with nothing changed."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._numbers: set[int] | None = None
        self._known: dict[int, Declaration | None] = {}

    @property
    def numbers(self) -> AbstractSet[int]:
        """The directories with a declaration. Read once from the tree."""
        return self._load()

    def _load(self) -> set[int]:
        if self._numbers is None:
            self._numbers = set(listed(self._tree))
        return self._numbers

    def get(self, number: int) -> Declaration | None:
        """The declaration of a directory; the same object until it changes (or, with very many,
        was dropped), so what is made of it may be kept by its identity. Errors: collection.damaged
        too."""
        if number not in self.numbers:
            return None
        if number not in self._known:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[number] = read(self._tree, number)
        return self._known[number]

    def plan(self, number: int, data: bytes) -> None:
        """Look up all that `put` needs. data: as `packed`, b"" for none."""
        assert len(data) <= DECLARATION_MAX
        self._load()
        self._tree.touch(OBJECT_COLLECTIONS, ITEM_COLLECTION, number)
        for index in range(COLLECTION_PARTS_MAX):
            self._tree.touch(number, ITEM_COLLECTION, index)

    def put(self, number: int, data: bytes) -> None:
        """The declaration of a directory from now on, b"" for none. After `plan`, nothing is
        missing; the caller has reserved room and stamps the inode."""
        for index in range(COLLECTION_PARTS_MAX):
            part = data[index * COLLECTION_PART_SIZE :][:COLLECTION_PART_SIZE]
            if part:
                self._tree.put(number, ITEM_COLLECTION, index, part)
            else:
                self._tree.delete(number, ITEM_COLLECTION, index)
        if data:
            self._tree.put(OBJECT_COLLECTIONS, ITEM_COLLECTION, number, b"")
        else:
            self._tree.delete(OBJECT_COLLECTIONS, ITEM_COLLECTION, number)
        self._note(number, there=bool(data))

    def plan_gone(self, number: int) -> None:
        """Look up all that `gone` needs."""
        if number in self.numbers:
            self._tree.touch(OBJECT_COLLECTIONS, ITEM_COLLECTION, number)

    def gone(self, number: int) -> None:
        """A directory loses its name: it leaves the list, its parts go with its other items."""
        if number in self.numbers:
            self._tree.delete(OBJECT_COLLECTIONS, ITEM_COLLECTION, number)
            self._note(number, there=False)

    def _note(self, number: int, *, there: bool) -> None:
        self._known.pop(number, None)
        numbers = self._load()
        (numbers.add if there else numbers.discard)(number)
