"""A declaration as the runtime sees it: its schema read, and where it evolves, to what."""

from dataclasses import dataclass

from affs_fuse.auv import TextError, Value, parse_quick
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.declarations import Declaration
from affs_fuse.query.schema import RecordSchema
from affs_fuse.query.schema_changes import Evolution, parse_evolution
from affs_fuse.query.schema_check import Violation, unique_keys, violations
from affs_fuse.query.schema_reading import parse_schema

__all__ = ["Collection", "Keys", "collection_of"]

Keys = tuple[bytes | None, ...]
"""Of a record under each unique key; None where it has no such key."""


@dataclass(frozen=True, slots=True)
class Collection:
    """A declaration, read. schema: None where it has none (but indexes, say)."""

    number: int
    declaration: Declaration
    schema: RecordSchema | None
    evolution: Evolution | None = None

    def admitted(self, value: Value) -> tuple[Value, list[Violation]]:
        """A record as it is to be written, and what is wrong with it."""
        if self.evolution is not None:
            return self.evolution.migrated(value)
        if self.schema is None:
            return value, []
        return value, violations(self.schema.record, value)

    def keys_of(self, text: bytes) -> Keys:
        """Of a file's content, as it is to be; of what is no record, none."""
        if self.target is None:
            return ()
        try:
            value = parse_quick(text)
        except TextError:
            return tuple(None for _ in self.target.unique)
        return unique_keys(self.target, self.admitted(value)[0])

    @property
    def target(self) -> RecordSchema | None:
        """What records are to meet: the new schema while it evolves."""
        return self.evolution.schema if self.evolution is not None else self.schema


def collection_of(number: int, declaration: Declaration) -> Collection:
    """Errors: collection.damaged, for a schema that this version cannot read."""
    given = declaration.get("schema")
    if given is None:
        return Collection(number, declaration, None)
    try:
        schema = parse_schema(given)
        evolving = declaration.get("evolving")
        evolution = parse_evolution(schema, evolving) if evolving is not None else None
    except AffsError as error:
        raise AffsError(
            "collection.damaged", Category.CORRUPT,
            f"the schema of directory {number} cannot be read: {error.message}",
            hint="`undeclare` removes it, or declare it anew",
        ) from None  # fmt: skip
    return Collection(number, declaration, schema, evolution)
