"""Which record of a collection has a unique key, by its indexes: exact, however records changed.

An index of the very fields of a unique key has every file but those that wait to be taken in, and
these are looked at. Whoever it names is looked up before anybody is refused.
"""

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.posix.index_keys import equal_to
from affs_fuse.posix.indexes import declared_indexes
from affs_fuse.query.editing import Place
from affs_fuse.query.index_values import read_expression
from affs_fuse.query.schema import place_text
from affs_fuse.query.schema_check import key_parts
from affs_fuse.query.sources import RECORD_BYTES_MAX
from affs_fuse.runtime.declared import Collection, Keys

__all__ = ["IndexedKeys", "expression_of", "indexes_of"]

PENDING_BYTES = 64 << 10
"""Some thousand files."""

PENDING_MAX = 500
"""With more that wait to be taken in, the map in memory is quicker."""


def expression_of(places: tuple[Place, ...]) -> str:
    """The index that a unique key can be looked up in."""
    texts = [place_text(place) for place in places]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def indexes_of(collection: Collection) -> list[int] | None:
    """The index of each unique key; None unless each has one. Records that are to be migrated are
    not in it as they will be."""
    if collection.schema is None or collection.evolution is not None:
        return None
    shapes = {}
    for one in declared_indexes(collection.declaration):
        try:
            shapes[read_expression(one.expression).shape] = one.id
        except AffsError:  # of another version
            continue
    wanted = [read_expression(expression_of(key)).shape for key in collection.schema.unique]
    found = [shapes[shape] for shape in wanted if shape in shapes]
    return found if len(found) == len(wanted) else None


class IndexedKeys:
    """Of one collection, in one turn of the loop. Errors of all: NodeMissing, DataMissing."""

    def __init__(self, files: FilesByPath, collection: Collection, indexes: list[int]) -> None:
        self._files = files
        self._collection = collection
        self._indexes = indexes
        self._seen: dict[int, Keys] = {}
        self._waiting = files.pending_files(collection.number, PENDING_BYTES)

    @property
    def usable(self) -> bool:
        """Whether the indexes have all files, and few wait."""
        if len(self._waiting) > PENDING_MAX:
            return False
        try:
            return all(
                self._files.files_between(self._collection.number, one, b"", b"") is not None
                for one in self._indexes
            )
        except AffsError:  # damaged
            return False

    def holder(self, value: Value, keys: Keys, others: set[int]) -> tuple[int, int] | None:
        """(index of the key, file) of one that has one of these keys now and is not among
        others."""
        schema = self._collection.schema
        assert schema is not None
        for index, key in enumerate(keys):
            if key is None:
                continue
            parts = key_parts(schema.unique[index], value)
            span = equal_to(parts[0] if len(parts) == 1 else parts)
            named = self._files.files_between(
                self._collection.number, self._indexes[index], span.low, span.high
            )
            for file in [*(named or ()), *self._waiting]:
                if file not in others and self._keys(file)[index] == key:
                    return index, file
        return None

    def _keys(self, file: int) -> Keys:
        if file not in self._seen:
            found = self._files.look_in(self._collection.number, file, RECORD_BYTES_MAX)
            none: Keys = (None,) * len(self._indexes)
            self._seen[file] = self._collection.keys_of(found[1]) if found is not None else none
        return self._seen[file]
