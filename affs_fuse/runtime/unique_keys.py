"""Which record of a collection has which unique key: by its indexes, where every key has one; else
a map in memory, made when it is first needed.

What a command adds, changes or takes away is noted in the turn in which it happens, so commands
never make two of a key. Names that came or went through the mount are found by the directory's
count of changes, and what lies there is then looked at anew. A file that was changed in place
through the mount may be missed until then; `check` looks at all. A hit is looked up before anybody
is refused, so a record that has long another key is in nobody's way.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import trio

from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.query.sources import RECORD_BYTES_MAX
from affs_fuse.runtime.collection_reading import CollectionReading
from affs_fuse.runtime.declared import Collection, Keys
from affs_fuse.runtime.indexed_keys import IndexedKeys, indexes_of

__all__ = ["KeyMap", "UniqueKeys"]

RECORDS_MAX = 200_000
"""In the maps of all collections together: some 300 bytes each."""



@dataclass(slots=True)
class KeyMap:
    """Of one collection, by its declaration. change: the directory's count when all was looked at.
    known: of each file its count of changes and its keys. holders: of each unique key, who has
    which."""

    collection: Collection
    change: int = -1
    known: dict[int, tuple[int, Keys]] = field(default_factory=dict)
    holders: list[dict[bytes, set[int]]] = field(default_factory=list)

    def note(self, number: int, change: int, keys: Keys) -> None:
        self.forget(number)
        self.known[number] = change, keys
        for held, key in zip(self.holders, keys, strict=True):
            if key is not None:
                held.setdefault(key, set()).add(number)

    def forget(self, number: int) -> None:
        _, keys = self.known.pop(number, (0, ()))
        for held, key in zip(self.holders, keys, strict=False):
            if key is not None:
                held[key].discard(number)
                if not held[key]:
                    del held[key]

    def holding(self, keys: Keys) -> Iterator[tuple[int, int]]:
        """(index of the unique key, number) of the files that were seen with one of these."""
        for index, (held, key) in enumerate(zip(self.holders, keys, strict=True)):
            if key is not None:
                yield from ((index, number) for number in sorted(held.get(key, ())))


class UniqueKeys:
    """Loop thread only."""

    def __init__(self, files: FilesByPath, reading: CollectionReading) -> None:
        self._files = files
        self._reading = reading
        self._run = reading.run
        self._maps: dict[int, KeyMap] = {}
        self._filling = trio.Lock()

    async def prepare(self, collections: Sequence[Collection]) -> None:
        """Let `get` have maps of these collections, all at once, that are as new as may be; none of
        those that have indexes. Errors: collection.too_many; those of loading."""
        wanted = []
        for collection in collections:
            if await self._run(self.by_index, collection) is not None:
                self._maps.pop(collection.number, None)
            else:
                wanted.append(collection)
        if len(wanted) > 1:
            await self._check_count(wanted)
        for collection in wanted:
            await self._prepare(collection, {one.number for one in wanted})

    async def _check_count(self, collections: list[Collection]) -> None:
        """Errors: collection.too_many for more than all maps together can have."""
        count = 0
        async with self._reading.whole() as reader:
            for collection in collections:
                inode = await self._run(reader.inode, collection.number)
                count += inode.size if inode is not None else 0
        if count > RECORDS_MAX:
            raise _too_many(count, len(collections))

    async def _prepare(self, collection: Collection, kept: set[int]) -> None:
        """kept: whose maps are wanted, too."""
        async with self._filling:  # meanwhile no command changes a record there: `get` has none
            number = collection.number
            known = self.get(collection)
            if known is not None and number in await self._run(self.fresh):
                return
            self._maps.pop(number, None)
            if known is None:
                assert collection.target is not None
                known = KeyMap(collection, holders=[{} for _ in collection.target.unique])
            await self._fill(number, known, kept)

    def by_index(self, collection: Collection) -> IndexedKeys | None:
        """Indexes to look keys up in now, if each unique key has one that is ready. Errors:
        NodeMissing."""
        indexes = indexes_of(collection)
        found = IndexedKeys(self._files, collection, indexes) if indexes is not None else None
        return found if found is not None and found.usable else None

    def get(self, collection: Collection) -> KeyMap | None:
        """Its map, if there is one of this very declaration."""
        known = self._maps.get(collection.number)
        same = known is not None and known.collection.declaration is collection.declaration
        return known if same else None

    def fresh(self) -> list[int]:
        """Collections whose map has all names that are there now. Errors: NodeMissing."""
        found = []
        for number, known in list(self._maps.items()):
            try:
                change = self._files.directory_change(number)
            except OSError:  # the directory is gone
                del self._maps[number]
                continue
            if change == known.change:
                found.append(number)
        return found

    def forget(self, numbers: set[int]) -> None:
        """A command changed these files, or took them away."""
        for known in self._maps.values():
            for number in numbers & known.known.keys():
                known.forget(number)

    def recheck(self, numbers: set[int]) -> None:
        """These files have another content, and nobody noted their keys: whoever asks next looks at
        them anew."""
        for known in self._maps.values():
            if numbers & known.known.keys():
                known.change = -1

    def settle(self, fresh: list[int]) -> None:
        """A command that noted all that it did changed directories whose maps were fresh."""
        for number in fresh:
            self._maps[number].change = self._files.directory_change(number)

    async def _fill(self, number: int, known: KeyMap, kept: set[int]) -> None:
        async with self._reading.whole() as reader:
            inode = await self._run(reader.inode, number)
            if inode is None:
                return
            if inode.size > RECORDS_MAX:
                raise _too_many(inode.size, 1)
            seen = set()
            files = self._reading.files(reader, number, inode)
            while (entry := await files.next()) is not None:
                seen.add(entry.number)
                before = known.known.get(entry.number)
                if before is not None and before[0] == entry.inode.change:
                    continue
                text = await self._run(reader.content, entry.number, entry.inode)
                known.note(entry.number, entry.inode.change, known.collection.keys_of(text))
            for gone in known.known.keys() - seen:
                known.forget(gone)
        known.change = inode.change
        self._maps[number] = known
        others = [one for one in self._maps if one not in kept]
        while others and sum(len(one.known) for one in self._maps.values()) > RECORDS_MAX:
            del self._maps[others.pop(0)]

    def holder(
        self, known: KeyMap, keys: Keys, others: set[int]
    ) -> tuple[int, int] | None:
        """(index of the key, file) of one that really has one of these keys now, and is not among
        others; what turns out to have another is noted. Errors: NodeMissing, DataMissing."""
        for index, file in list(known.holding(keys)):
            if file in others:
                continue
            found = self._files.look_in(known.collection.number, file, RECORD_BYTES_MAX)
            if found is None:
                known.forget(file)
                continue
            has = known.collection.keys_of(found[1])
            if has[index] == keys[index]:
                return index, file
            known.note(file, found[0].change, has)
        return None


def _too_many(count: int, collections: int) -> AffsError:
    what = "a collection" if collections == 1 else f"a change of {collections} collections"
    return AffsError(
        "collection.too_many", Category.UNSUPPORTED,
        f"{what} of {count:,} records: commands hold keys unique up to {RECORDS_MAX:,}",
        hint="with an index of each unique key there is no limit: index PATH FIELD",
    )  # fmt: skip
