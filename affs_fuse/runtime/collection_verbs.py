"""Declaring collections: a schema is held against all records first, and put in one step.

docs/specs/Collections.md. Invariants:
- A schema is declared only while all records of the working state meet it, or it was said that they
  need not; if a name came or went, or a command changed a record there, since they were looked at,
  they are looked at again.
- What is declared is durable when the call returns.
"""

import errno
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from affs_fuse.auv import Value, encode_canonical, equal
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.batches import Changed, Declare, Path, Seen, StepError
from affs_fuse.posix.declarations import Declaration, packed
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.posix.permissions import Credentials
from affs_fuse.query.opening import path_error, path_parts
from affs_fuse.query.paths import path_named
from affs_fuse.query.schema_check import violations
from affs_fuse.query.schema_reading import parse_schema
from affs_fuse.runtime.admission import Admission
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.collection_reading import CollectionReading, not_declared
from affs_fuse.runtime.collection_survey import Counts, Judged
from affs_fuse.runtime.declared import Collection, collection_of
from affs_fuse.runtime.expectation import Basis, demand
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.records import ATTEMPTS_MAX, busy
from affs_fuse.runtime.steps import Steps

__all__ = [
    "EXAMPLES_MAX", "CollectionVerbs", "Examples", "Standing", "basis_of", "changed",
    "demand_settled", "demand_valid",
]  # fmt: skip

EXAMPLES_MAX = 20


@dataclass(frozen=True, slots=True)
class Standing:
    """A directory as a verb found it. written: count of changes by command. collection: None where
    it has no declaration."""

    parts: Path
    shown: str
    seen: Seen
    written: int
    collection: Collection | None

    @property
    def declaration(self) -> Declaration:
        return self.collection.declaration if self.collection is not None else {}

    @property
    def object_id(self) -> str:
        return self.seen.inode.object_id.hex()

    def with_schema(self, schema: Value) -> Declaration:
        """The declaration with another schema, whatever else it has kept; None for none."""
        kept = {key: one for key, one in self.declaration.items() if key != "evolving"}
        if schema is None:
            return {key: one for key, one in kept.items() if key not in ("schema", "version")}
        return {**kept, "version": 1, "schema": schema}


@dataclass(slots=True)
class Examples:
    """What a survey found, for a plan: the first violations, and all records in one hash."""

    first: list[Plain] = field(default_factory=list)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def add(self, judged: Judged) -> None:
        entry = judged.entry
        self.first += judged.findings[: EXAMPLES_MAX - len(self.first)]
        self.digest.update(encode_canonical([entry.name, entry.number, entry.inode.change]))


class CollectionVerbs:
    """Loop thread only."""

    def __init__(
        self, files: FilesByPath, steps: Steps, admission: Admission, reading: CollectionReading
    ) -> None:
        self._files = files
        self._steps = steps
        self._run = steps.run
        self._admission = admission
        self._reading = reading

    async def declare(
        self, path: str, value: Value, asker: Asker, *, tolerate: bool = False,
        dry_run: bool = False, expect: Basis = None,
    ) -> Plain:  # fmt: skip
        """value: the schema. tolerate: also if records violate it. Done, or with dry_run planned:
        path, id, records, invalid, violations, denied (counts), examples; schema, declared and
        before (both whole declarations, before may be None). Errors: collection.*, record.*."""
        schema = parse_schema(value)
        for _ in range(ATTEMPTS_MAX):
            standing = await self.standing(path, asker.identity, damaged=True)
            demand_settled(standing)
            counts, examples = Counts(), Examples()
            await self.fetch(standing.seen.number)
            async with self._reading.open(asker) as reader:
                directory = await self._reading.directory(reader, path)
                async with self._reading.survey(
                    asker, reader, directory, schema,
                    lambda one: (one, violations(schema.record, one)),
                ) as survey:
                    while (judged := await survey.next()) is not None:
                        examples.add(judged)
                    counts = survey.counts
            declaration = standing.with_schema(schema.value)
            answer = {
                "path": standing.shown, "id": standing.object_id, **counts.to_value(),
                "examples": examples.first, "schema": schema.value, "declared": declaration,
                "before": standing.declaration or None,
            }  # fmt: skip
            basis = basis_of(standing, examples)
            if dry_run:
                return {**answer, "basis": basis}
            demand(expect, basis, "declaration")
            demand_valid(standing, counts, examples, tolerate=tolerate)
            if await self.put(standing, declaration, credentials_of(asker.identity)):
                return answer
        raise busy()

    async def undeclare(
        self, path: str, asker: Asker, *, dry_run: bool = False, expect: Basis = None
    ) -> Plain:
        """path, id, before (the declaration), declared (what is left of it, or None). Errors:
        collection.not_found ..."""
        for _ in range(ATTEMPTS_MAX):
            standing = await self.standing(path, asker.identity, damaged=True)
            if "schema" not in standing.declaration:
                raise not_declared(standing.shown)
            left = standing.with_schema(None)
            answer = {
                "path": standing.shown, "id": standing.object_id,
                "before": standing.declaration, "declared": left or None,
            }  # fmt: skip
            basis = _digest(standing.declaration)
            if dry_run:
                return {**answer, "basis": basis}
            demand(expect, basis, "declaration")
            if await self.put(standing, left, credentials_of(asker.identity)):
                return answer
        raise busy()

    async def put_back(
        self, was: Sequence[Sequence[Value]], will: Sequence[Sequence[Value]], identity: Identity
    ) -> None:
        """For undo: each [id of a directory, declaration or None] that is as `was` says becomes as
        `will` says. Errors: collection.changed, collection.not_found."""
        for one, (_, new) in zip(was, will, strict=True):
            standing = await self.standing_as(one, identity)
            if not await self.put(standing, dict(new or {}), credentials_of(identity)):
                raise changed(standing.shown)

    async def standing_as(self, was: Sequence[Value], identity: Identity) -> Standing:
        """Of the directory of [id, declaration or None], if it has this declaration. Errors:
        collection.changed, collection.not_found."""
        object_id, old = str(was[0]), was[1]
        credentials = credentials_of(identity)
        parts = await self._run(self._files.path_of, bytes.fromhex(object_id), credentials)
        if parts is None and int(object_id[-12:], 16) != 1:
            raise not_declared(f"the directory {object_id}")
        path = path_named(b"/" + b"/".join(parts or ()))
        standing = await self.standing(path, identity, damaged=True)
        if not equal(standing.declaration or None, old):
            raise changed(standing.shown)
        return standing

    # ---- for all who declare ----

    async def standing(self, path: str, identity: Identity, *, damaged: bool = False) -> Standing:
        """damaged: also one whose schema cannot be read. Errors: record.*, collection.*"""
        credentials = credentials_of(identity)
        parts = path_parts(path)
        try:
            seen: Seen = await self._run(self._files.look_at_directory, parts, credentials)
        except NotADirectoryError:
            raise AffsError(
                "collection.no_directory", Category.INVALID, f"{path} is no directory",
                hint="a collection is a directory with records in it", details={"path": path},
            ) from None  # fmt: skip
        except OSError as error:
            raise path_error(error, path) from None
        written = self._admission.written(seen.number)
        declaration = await self._run(self._declaration, seen.number)
        found = None
        if declaration is not None:
            try:
                found = collection_of(seen.number, declaration)
            except AffsError:
                if not damaged:
                    raise
                found = Collection(seen.number, declaration, None)
        return Standing(parts, path, seen, written, found)

    def _declaration(self, number: int) -> Declaration | None:
        """The same object until it changes; _DAMAGED for one that is to be replaced."""
        try:
            return self._files.collections.get(number)
        except AffsError:
            return _DAMAGED

    async def fetch(self, number: int) -> None:
        """Get what the kernel holds of files in this directory that somebody may be writing."""
        opened = self._steps.opened()
        held = [one for one in opened if number in await self._run(self._files.parents_of, one)]
        await self._steps.fetch(held)

    def guard(
        self, standing: Standing, *, held: bool = True
    ) -> Callable[[Sequence[Changed]], None]:
        """In the turn of the change. held: no command may have changed a record. What is to be done
        with what was changed. Errors: StepError; NodeMissing."""
        number = standing.seen.number
        known = standing.collection.declaration if standing.collection is not None else None
        written = held and self._admission.written(number) != standing.written
        if written or self._declaration(number) is not known:
            raise StepError(0, posix_error(errno.ESTALE), changed=True)
        return self._admission.recheck

    async def put(
        self, standing: Standing, declaration: Declaration, credentials: Credentials
    ) -> bool:
        """Whether it was still as it stood. Errors: record.denied ..."""
        data = packed(declaration) if declaration else b""
        step = Declare(standing.parts, data, standing.seen)

        try:
            await self._steps.carry_out([step], credentials, partial(self.guard, standing))
        except StepError as error:
            if not error.changed:
                raise path_error(error.error, standing.shown) from None
            return False
        return True


_DAMAGED: Declaration = {"schema": "damaged"}


def changed(shown: str) -> AffsError:
    return AffsError(
        "collection.changed", Category.CONFLICT, f"what {shown} declares has changed since",
        hint=f"collection {shown} shows it",
    )  # fmt: skip


def demand_settled(standing: Standing) -> None:
    """Errors: collection.evolving."""
    if standing.collection is not None and standing.collection.evolution is not None:
        raise AffsError(
            "collection.evolving", Category.CONFLICT,
            f"{standing.shown} is on the way to another schema",
            hint=f"evolve {standing.shown} --resume goes on with it",
            details={"path": standing.shown},
        )  # fmt: skip


def demand_valid(
    standing: Standing, counts: Counts, examples: Examples, *, tolerate: bool
) -> None:
    """Errors: collection.violations, unless they are tolerated."""
    if tolerate or not (counts.violations or counts.denied):
        return
    if examples.first:
        first = examples.first[0]
        what = (
            f"{counts.invalid} of {counts.records} records would violate it, the first "
            f"{first['path']}: {first['field']}: expected {first['expected']}, "
            f"found {first['found']}"
        )
    else:
        what = f"{counts.denied} files may not be read by this user"
    raise AffsError(
        "collection.violations", Category.CONFLICT, f"{standing.shown}: {what}",
        hint="--dry-run shows more; mend them, or declare it all the same with --tolerate",
        details={"path": standing.shown, **counts.to_value(), "examples": examples.first},
    )  # fmt: skip


def basis_of(standing: Standing, examples: Examples) -> Basis:
    return [_digest(standing.declaration), examples.digest.hexdigest()]


def _digest(value: Value) -> str:
    return hashlib.sha256(encode_canonical(value)).hexdigest()
