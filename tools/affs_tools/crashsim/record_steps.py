"""What commands about records do to a namespace, without a runtime: declarations, batches,
evolutions and indexes, through the same functions of posix/ and query/ that the runtime calls.
"""

import errno
from collections.abc import Callable, Sequence

from affs_fuse.auv import TextError, Value, equal, format_compact, parse_quick
from affs_fuse.errors import AffsError
from affs_fuse.posix.batches import Create, Declare, Move, Path, Remove, Replace, StepError
from affs_fuse.posix.batches import Step as BatchStep
from affs_fuse.posix.declarations import Declaration, packed
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.indexes import (
    DeclaredIndex,
    declared_indexes,
    next_index_id,
    with_indexes,
)
from affs_fuse.posix.namespace import Credentials, Namespace
from affs_fuse.query.schema_changes import Evolution, parse_evolution
from affs_fuse.query.schema_reading import parse_schema
from affs_fuse.volume.volume import Volume

__all__ = ["Change", "RecordSteps"]

MODE = 0o644
Change = tuple[object, ...]
"""(create, path, data), (replace, path, data), (remove, path) or (move, path, target)."""

Choose = Callable[[tuple[DeclaredIndex, ...], int], list[DeclaredIndex]]
"""From the indexes there are, and the next number that is free: those that shall be."""


class RecordSteps:
    """Each function is one operation, for Volume.run. Errors: OSError, AffsError; NodeMissing,
    DataMissing with nothing changed."""

    def __init__(self, volume: Volume, namespace: Namespace, credentials: Credentials) -> None:
        self._volume = volume
        self._namespace = namespace
        self._credentials = credentials

    def declare(self, path: str, schema: Value) -> None:
        """None: it has no schema any more."""
        declaration = self._declaration(path)
        self._carry_out([self._declare(path, _with_schema(declaration, schema))])

    def batch(self, changes: Sequence[Change]) -> None:
        """All of them, or none."""
        self._carry_out([self._step(*change) for change in changes])

    def index(self, path: str, expressions: Sequence[str]) -> None:
        """These are its indexes now; those that it had of one of them stay."""

        def choose(there: tuple[DeclaredIndex, ...], free: int) -> list[DeclaredIndex]:
            known = {one.expression: one for one in there}
            new = [text for text in expressions if text not in known]
            made = [DeclaredIndex(free + at, text, text) for at, text in enumerate(new)]
            return [*(known[text] for text in expressions if text in known), *made]

        self._put_indexes(path, choose)

    def reindex(self, path: str) -> None:
        """All of them are made anew."""
        self._put_indexes(
            path,
            lambda there, free: [one._replace(id=free + at) for at, one in enumerate(there)],
        )

    def evolve(self, path: str, words: Sequence[Value]) -> None:
        """Schema and records in one step."""
        declaration = self._declaration(path)
        evolution = self._evolution(declaration, words)
        declare = self._declare(path, _with_schema(declaration, evolution.schema.value))
        self._carry_out([declare, *self._migrations(path, evolution)])

    def begin_evolving(self, path: str, words: Sequence[Value]) -> None:
        """The declaration says so; the records follow."""
        declaration = self._declaration(path)
        self._evolution(declaration, words)
        self._carry_out([self._declare(path, {**declaration, "evolving": list(words)})])

    def evolve_some(self, path: str, count: int) -> None:
        """One batch: the first records that are left, by name."""
        found = self._migrations(path, self._under_way(self._declaration(path)))[:count]
        if found:
            self._carry_out(found)

    def end_evolving(self, path: str) -> None:
        """The new schema alone is declared."""
        declaration = self._declaration(path)
        schema = self._under_way(declaration).schema.value
        self._carry_out([self._declare(path, _with_schema(declaration, schema))])

    # ---- parts ----

    def _declaration(self, path: str) -> Declaration:
        files = self._namespace.files
        number = files.directory_number(_parts(path), self._credentials)
        return files.collections.get(number) or {}

    def _declare(self, path: str, declaration: Declaration) -> Declare:
        seen = self._namespace.files.look_at_directory(_parts(path), self._credentials)
        return Declare(_parts(path), packed(declaration) if declaration else b"", seen)

    def _put_indexes(self, path: str, choose: Choose) -> None:
        files = self._namespace.files
        number = files.directory_number(_parts(path), self._credentials)
        declaration = files.collections.get(number)
        free = next_index_id(self._volume.working.tree, number, declaration)
        chosen = choose(declared_indexes(declaration), free)
        least = max([free, *(one.id + 1 for one in chosen)])
        self._carry_out([self._declare(path, with_indexes(declaration, chosen, least))])

    def _step(self, verb: object, path: object, argument: object = b"") -> BatchStep:
        parts = _parts(str(path))
        data = argument if isinstance(argument, bytes) else b""
        if verb == "create":
            return Create(parts, data, MODE)
        seen, _ = self._namespace.files.look_at(parts, self._credentials)
        if verb == "replace":
            return Replace(parts, data, seen)
        if verb == "move":
            return Move(parts, _parts(str(argument)), seen)
        return Remove(parts, seen)

    def _carry_out(self, steps: list[BatchStep]) -> None:
        try:
            self._namespace.files.apply(steps, self._credentials)
        except StepError as error:
            raise error.error from None

    def _evolution(self, declaration: Declaration, words: Sequence[Value]) -> Evolution:
        if "schema" not in declaration or "evolving" in declaration:
            raise posix_error(errno.EINVAL, "no schema, or one that evolves")
        return _parsed(declaration, words)

    def _under_way(self, declaration: Declaration) -> Evolution:
        words = declaration.get("evolving")
        if not isinstance(words, list):
            raise posix_error(errno.EINVAL, "it does not evolve")
        return _parsed(declaration, words)

    def _migrations(self, path: str, evolution: Evolution) -> list[BatchStep]:
        """Of all records that change, by name; of a file with several names under the first."""
        files = self._namespace.files
        found: dict[int, BatchStep] = {}
        for name in sorted(self._names(path)):
            parts = (*_parts(path), name)
            try:
                seen, content = files.look_at(parts, self._credentials)
            except OSError:  # no file
                continue
            if content is None:
                continue
            try:
                before = parse_quick(content)
            except TextError:
                continue
            after, problems = evolution.migrated(before)
            if problems or equal(before, after) or seen.number in found:
                continue
            data = format_compact(after).encode() + b"\n"
            found[seen.number] = Replace(parts, data, seen)
        return list(found.values())

    def _names(self, path: str) -> list[bytes]:
        namespace = self._namespace
        number = namespace.files.directory_number(_parts(path), self._credentials)
        handle = namespace.opendir(number, self._credentials)
        try:
            found = namespace.readdir(handle, 0, 1000)
        finally:
            namespace.releasedir(handle)
        return [name for name, _, _ in found if name not in (b".", b"..")]


def _parsed(declaration: Declaration, words: Sequence[Value]) -> Evolution:
    try:
        return parse_evolution(parse_schema(declaration["schema"]), list(words))
    except AffsError as error:
        raise posix_error(errno.EINVAL, error.message) from None


def _parts(path: str) -> Path:
    return tuple(part.encode() for part in path.strip("/").split("/") if part)


def _with_schema(declaration: Declaration, schema: Value) -> Declaration:
    """As CollectionVerbs has it."""
    kept = {key: one for key, one in declaration.items() if key not in _OF_SCHEMA}
    return kept if schema is None else {**kept, "version": 1, "schema": schema}


_OF_SCHEMA = ("schema", "version", "evolving")
