"""The collections of a volume as commands see them (docs/specs/Collections.md)."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from affs_fuse.auv import Value
from affs_fuse.query.schema import RecordSchema
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.expectation import Basis
from affs_fuse.runtime.policy import Identity

__all__ = ["CollectionsPort", "Logged", "Progress"]

Logged = Callable[[dict[str, Any], dict[str, Any], dict[str, Any]], dict[str, Any]]
"""From the result of a command and the two sides of its effect to an entry of the operation log,
for who puts it there himself."""

Progress = Callable[[int, int], Awaitable[None]]
"""(records that were gone through, about how many there are)."""


class CollectionsPort(Protocol):
    """state: a kept state, "" for the working one. Errors: collection.*, record.*, state.*;
    denied: policy.role, for a kept state."""

    async def list(self, asker: Asker, state: str) -> list[dict[str, Any]]:
        """Those that the asker can reach, by path: path, entries, fields (counts), closed, unique
        (texts), evolving, note (what is odd with it, or "")."""

    async def show(self, path: str, asker: Asker, state: str) -> dict[str, Any]:
        """path, id, entries, fields, closed, unique, evolving, schema; becomes (the new schema)
        while it evolves."""

    async def check(
        self, path: str, asker: Asker, state: str, emit: Callable[[Value], Awaitable[None]]
    ) -> dict[str, Any]:
        """Gives each violation to emit: path, line, column, field, rule, expected, found. records,
        invalid, violations, denied (counts), evolving."""

    async def declare(
        self, path: str, value: Value, asker: Asker, *, tolerate: bool = False,
        dry_run: bool = False, expect: Basis = None,
    ) -> dict[str, Any]:  # fmt: skip
        """value: the schema. tolerate: also if records violate it. Done, or with dry_run planned:
        path, id, records, invalid, violations, denied (counts), examples (first violations);
        schema, declared and before (both whole declarations, before may be None). Dry run: basis.
        conflict: collection.violations, collection.evolving, plan.stale."""

    async def undeclare(
        self, path: str, asker: Asker, *, dry_run: bool = False, expect: Basis = None
    ) -> dict[str, Any]:
        """path, id, before (the declaration), declared (what is left of it, or None)."""

    async def evolve(
        self, path: str, words: Sequence[Value], asker: Asker, progress: Progress, *,
        tolerate: bool = False, dry_run: bool = False, expect: Basis = None,
        logged: Logged | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """words: the changes. tolerate: records that cannot be migrated stay as they are. logged:
        makes the entry of the operation log, where records change. As
        `declare`, and changed (count of records), changes (the first: path, before, after),
        in_one_step."""

    async def resume(self, path: str, asker: Asker, progress: Progress) -> dict[str, Any]:
        """Brings an evolution to its end. path, id, changed, schema. conflict:
        collection.settled."""

    async def put_back(
        self, was: Sequence[Sequence[Value]], will: Sequence[Sequence[Value]], identity: Identity
    ) -> None:
        """For undo: each [id of a directory, declaration or None] that is as `was` says becomes as
        `will` says. conflict: collection.changed."""

    async def take_back(
        self, number: int, was: Sequence[Sequence[Value]], will: Sequence[Sequence[Value]],
        identity: Identity, logged: Logged,
    ) -> Sequence[dict[str, Any]]:  # fmt: skip
        """An evolution that was an operation of the log, undone in one step: declarations as of
        `put_back`, records as they were. action, path, id, version of each. conflict:
        collection.changed, record.changed, undo.impossible."""

    async def paths(self, identity: Identity) -> Sequence[str]:
        """Of directories that declare something and are within reach, as they are now."""

    async def schema_of(self, path: str, identity: Identity) -> RecordSchema | None:
        """What records in a directory are to be now; None where nothing is known of it."""
