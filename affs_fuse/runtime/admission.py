"""What may go into collections: held to by every command that changes records.

Invariants:
- A value that violates its collection's schema is refused before anything changes, and what holds
  then (declaration and unique keys) is looked at once more in the turn of the change.
- A volume without collections pays one look at a set.
- While a collection evolves, what is written is migrated first, so no command adds to what is left.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field

from affs_fuse.auv import TextError, Value, equal, parse_quick
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.batches import Changed, Path, StepError
from affs_fuse.posix.errors import posix_error
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.posix.permissions import Credentials
from affs_fuse.query.paths import path_bytes, path_named
from affs_fuse.query.schema_check import (
    Violation,
    unique_keys,
    unique_words,
    violations,
    with_defaults,
)
from affs_fuse.runtime.declared import Collection, collection_of
from affs_fuse.runtime.indexed_keys import IndexedKeys
from affs_fuse.runtime.unique_keys import KeyMap, UniqueKeys

__all__ = ["Admission", "Admitted", "Member", "key_taken"]

READ_MAX = 256
"""Schemas that are kept read."""

FRESH_ATTEMPTS = 3
"""After so many a map of unique keys counts that names came or went under by the mount."""


def _violation(path: str, found: list[Violation], **more: Value) -> AffsError:
    """The error of a record that may not be."""
    first = found[0]
    others = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    return AffsError(
        "record.schema", Category.INVALID, f"{path}: {first.message}{others}",
        hint="`collection` shows what the collection demands",
        details={"path": path, **first.to_value(), "count": len(found), **more},
    )  # fmt: skip


@dataclass(slots=True)
class Member:
    """A record in a directory, as a change makes it. step: which one. parent: path of the
    directory, None for an object that has its name there already. number, collection: what the
    directory was when the change was prepared."""

    step: int
    path: str
    parent: Path | None
    number: int
    collection: Collection | None
    value: Value = None
    keys: tuple[bytes | None, ...] = ()


@dataclass(slots=True)
class Admitted:
    """Of one batch. attempt: how often it was prepared before. held: there was a collection
    somewhere then. touched: objects that the steps change or take away, so their keys are free."""

    attempt: int = 0
    held: bool = False
    members: list[Member] = field(default_factory=list)
    touched: set[int] = field(default_factory=set)


class Admission:
    """Loop thread only."""

    def __init__(self, files: FilesByPath, keys: UniqueKeys) -> None:
        self._files = files
        self._keys = keys
        self._read: dict[int, Collection] = {}
        self._written: dict[int, int] = {}

    @property
    def wanted(self) -> bool:
        """Whether there is any collection. Errors: NodeMissing."""
        return bool(self._files.collections.numbers)

    def collection(self, number: int) -> Collection | None:
        """Of a directory; the same object until the declaration changes. Errors:
        collection.damaged; NodeMissing."""
        declaration = self._files.collections.get(number)
        if declaration is None:
            return None
        known = self._read.get(number)
        if known is None or known.declaration is not declaration:
            if len(self._read) >= READ_MAX:
                self._read.clear()
            known = self._read[number] = collection_of(number, declaration)
        return known

    def named(self, step: int, path: str, parent: Path, credentials: Credentials) -> Member:
        """A record that gets a name. Errors: as `collection`; NodeMissing."""
        try:
            number = self._files.directory_number(parent, credentials)
        except OSError:  # the step says so
            return Member(step, path, parent, 0, None)
        return Member(step, path, parent, number, self.collection(number))

    def of(self, step: int, path: str, object: int) -> list[Member]:
        """A record that is there, in each collection in which it has a name. Errors: as
        `collection`; NodeMissing."""
        parents = sorted(set(self._files.parents_of(object)) & self._files.collections.numbers)
        return [Member(step, path, None, number, self.collection(number)) for number in parents]

    def value(self, member: Member, value: Value, *, new: bool) -> Value:
        """The value as it is to be written under that name. new: defaults are filled in. Errors:
        record.schema."""
        collection = member.collection
        if collection is None or collection.target is None:
            return value
        if new:
            value = with_defaults(collection.target.record, value)
        value, wrong = collection.admitted(value)
        if wrong:
            raise _violation(member.path, wrong)
        member.value, member.keys = value, unique_keys(collection.target, value)
        return value

    def content(self, member: Member, text: bytes) -> None:
        """A file that is to be moved there, as it is. Errors: record.schema."""
        collection = member.collection
        if collection is None or collection.target is None:
            return
        try:
            value = parse_quick(text)
        except TextError as error:
            wrong = Violation((), "syntax", error.expected, error.found or "the end")
            raise _violation(member.path, [wrong], line=error.line, column=error.column) from None
        found = violations(collection.target.record, value)
        if found:
            raise _violation(member.path, found)
        member.value, member.keys = value, unique_keys(collection.target, value)

    def written(self, number: int) -> int:
        """Grows with every change of records in this collection by command."""
        return self._written.get(number, 0)

    def recheck(self, changed: Sequence[Changed]) -> None:
        """Records were changed by who keeps to one collection alone; they may have names in
        others, whose unique keys are to be looked at anew."""
        self._keys.recheck({one.number for one in changed})

    # ---- the guard ----

    async def prepare(self, admitted: Admitted) -> None:
        """Have the maps of unique keys that the guard will look at."""
        await self._keys.prepare(_with_keys(admitted))

    def guard(self, admitted: Admitted, credentials: Credentials) -> "Noting":
        """In the turn of the change: whether what was prepared still holds. Errors: StepError for
        what has changed; record.schema for a key that is taken; NodeMissing, DataMissing."""
        if self.wanted and not admitted.held:
            raise _outdated(0)  # the first collection was declared meanwhile
        numbers: dict[Path, int] = {}
        for member in admitted.members:
            number, parent = member.number, member.parent
            if parent is not None:
                if parent not in numbers:
                    numbers[parent] = self._number(member, parent, credentials)
                number = numbers[parent]
            if number != member.number or not _same(self.collection(number), member.collection):
                raise _outdated(member.step)
        fresh = self._keys.fresh()
        maps: dict[int, KeyMap] = {}
        indexed: dict[int, IndexedKeys] = {}
        for collection in _with_keys(admitted):
            number = collection.number
            by_index = self._keys.by_index(collection)
            if by_index is not None:
                indexed[number] = by_index
                continue
            known = self._keys.get(collection)
            if known is None or (number not in fresh and admitted.attempt < FRESH_ATTEMPTS):
                raise _outdated(0)
            maps[number] = known
        self._check_apart(admitted)
        for member in admitted.members:
            self._check_free(member, admitted.touched, maps, indexed)
        for member in admitted.members:
            if member.collection is not None:
                self._written[member.number] = self.written(member.number) + 1
        return Noting(self._keys, admitted, maps, fresh)

    def _number(self, member: Member, parent: Path, credentials: Credentials) -> int:
        try:
            return self._files.directory_number(parent, credentials)
        except OSError as error:
            raise StepError(member.step, error) from None

    def _check_apart(self, admitted: Admitted) -> None:
        """Errors: record.schema for two of a key in the batch itself."""
        taken: dict[tuple[int, int, bytes], Member] = {}
        for member in admitted.members:
            for index, key in enumerate(member.keys):
                if key is None:
                    continue
                other = taken.setdefault((member.number, index, key), member)
                if other is not member:
                    raise key_taken(member, index, other.path)

    def _check_free(
        self, member: Member, touched: set[int], maps: dict[int, KeyMap],
        indexed: dict[int, IndexedKeys],
    ) -> None:  # fmt: skip
        """Errors: record.schema for a key that a record has which stays as it is."""
        found = None
        if member.number in indexed:
            found = indexed[member.number].holder(member.value, member.keys, touched)
        elif member.number in maps:
            found = self._keys.holder(maps[member.number], member.keys, touched)
        if found is not None:
            name = self._files.name_in(member.number, found[1])
            parent = path_bytes(member.path).rpartition(b"/")[0]
            raise key_taken(member, found[0], path_named(parent + b"/" + name))


class Noting:
    """What is to be done with the maps of unique keys once the steps are carried out."""

    def __init__(
        self, keys: UniqueKeys, admitted: Admitted, maps: dict[int, KeyMap], fresh: list[int]
    ) -> None:
        self._keys = keys
        self._admitted = admitted
        self._maps = maps
        self._fresh = fresh

    def __call__(self, changed: Sequence[Changed]) -> None:
        self._keys.forget(self._admitted.touched)
        for member in self._admitted.members:
            known = self._maps.get(member.number)
            if known is not None:
                one = changed[member.step]
                known.note(one.number, one.inode.change, member.keys)
        self._keys.settle(self._fresh)


def _same(now: Collection | None, then: Collection | None) -> bool:
    if now is then or now is None or then is None:
        return now is then
    return now.declaration is then.declaration or equal(now.declaration, then.declaration)


def _with_keys(admitted: Admitted) -> list[Collection]:
    found = {}
    for member in admitted.members:
        collection = member.collection
        if collection is not None and collection.target is not None and collection.target.unique:
            found[member.number] = collection
    return list(found.values())


def _outdated(index: int) -> StepError:
    return StepError(index, posix_error(errno.ESTALE), changed=True)


def key_taken(member: Member, index: int, other: str) -> AffsError:
    """other: the path of the record that has the key."""
    assert member.collection is not None
    schema = member.collection.target
    assert schema is not None
    words = unique_words(schema, index, member.value)
    wrong = Violation(schema.unique[index][0], "unique", "a key that no other record has", words)
    error = _violation(member.path, [wrong], other=other, operation=member.step)
    error.message = f"{member.path}: {words}: {other} has this key already"
    return error
