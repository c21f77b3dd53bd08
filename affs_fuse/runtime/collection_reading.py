"""Collections of a state, read for somebody who asks: which there are, and their records judged.

Whoever asks sees what they could read through the mount; kept states take the role admin.
"""

import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from affs_fuse.core.codec import Inode
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.permissions import SYSTEM
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.memory import Allowance, Pool
from affs_fuse.query.opening import find_file
from affs_fuse.query.paths import path_text
from affs_fuse.query.schema import RecordSchema
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.collection_survey import Judge, Survey
from affs_fuse.runtime.declared import Collection, collection_of
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.opened_states import WORKING, OpenedStates
from affs_fuse.runtime.policy import Identity, Policy, Role
from affs_fuse.runtime.ports import Emit, Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.record_walk import DirectoryFiles
from affs_fuse.volume.volume import Volume

__all__ = ["CollectionReading", "Directory", "not_declared"]


@dataclass(frozen=True, slots=True)
class Directory:
    """path: without the slash in front, as the state has it."""

    number: int
    inode: Inode
    path: bytes

    @property
    def shown(self) -> str:
        return path_text(b"/" + self.path)


class CollectionReading:
    """Loop thread only."""

    def __init__(
        self, volume: Volume, loader: Loader, states: OpenedStates, pool: Pool
    ) -> None:
        self._volume = volume
        self._loader = loader
        self._states = states
        self._pool = pool
        self.run = loader.run

    @asynccontextmanager
    async def open(self, asker: Asker, state: str = "") -> AsyncIterator[StateReader]:
        """state: "" for the working one as of now. Errors: policy.role, state.*; volume.*"""
        if state:
            Policy.demand(Role.ADMIN, asker.role, "asking a kept state")
        async with self._states.open(state or WORKING) as tree:
            yield StateReader(self._volume, tree, credentials_of(asker.identity))

    @asynccontextmanager
    async def whole(self) -> AsyncIterator[StateReader]:
        """The working state as of now, for the daemon itself. Errors: volume.*"""
        async with self._states.open(WORKING) as tree:
            yield StateReader(self._volume, tree, SYSTEM)

    def files(self, reader: StateReader, number: int, inode: Inode) -> DirectoryFiles:
        return DirectoryFiles(self._loader, reader, (number, inode, b""))

    async def directory(self, reader: StateReader, path: str) -> Directory:
        """Errors: record.not_found, record.denied, record.path, collection.no_directory."""
        entry = await self._loader.run(find_file, reader, path)
        if not stat.S_ISDIR(entry.inode.mode):
            raise AffsError(
                "collection.no_directory", Category.INVALID, f"{path} is no directory",
                hint="a collection is a directory with records in it", details={"path": path},
            )  # fmt: skip
        if not await self._loader.run(reader.may_list, entry.number, entry.inode):
            raise AffsError(
                "record.denied", Category.DENIED, f"{path} may not be listed by this user",
                details={"path": path},
            )  # fmt: skip
        return Directory(entry.number, entry.inode, entry.path.lstrip(b"/"))

    async def collection(self, reader: StateReader, directory: Directory) -> Collection:
        """Errors: collection.not_found, collection.damaged."""
        declaration = await self._loader.run(reader.declaration, directory.number)
        if declaration is not None and declaration.get("schema") is not None:
            return collection_of(directory.number, declaration)
        raise not_declared(directory.shown)

    def paths(self, identity: Identity) -> Sequence[str]:
        """Of directories that declare something, as the mount shows them; nothing is committed for
        it. Errors: NodeMissing."""
        reader = self._working(identity)
        places = [reader.directory_path(number) for number in reader.collections()]
        return [path_text(b"/" + path) for path, open_way in places if open_way]

    def schema_of(self, path: str, identity: Identity) -> RecordSchema | None:
        """Of the working state, None where there is none to be seen. Errors: NodeMissing."""
        reader = self._working(identity)
        try:
            entry = find_file(reader, path)
            if not reader.may_list(entry.number, entry.inode):
                return None
            declaration = reader.declaration(entry.number)
            return collection_of(entry.number, declaration).target if declaration else None
        except AffsError:
            return None

    def _working(self, identity: Identity) -> StateReader:
        return StateReader(
            self._volume, self._volume.working.tree, credentials_of(identity)
        )

    async def list(self, asker: Asker, state: str) -> list[Plain]:
        """One row each that the asker can reach, by path."""
        rows = []
        async with self.open(asker, state) as reader:
            for number in await self.run(reader.collections):
                path, open_way = await self.run(reader.directory_path, number)
                inode = await self.run(reader.inode, number)
                if open_way and inode is not None:
                    row = await self._row(reader, Directory(number, inode, path))
                    rows += [row] if row is not None else []
        return sorted(rows, key=lambda row: str(row["path"]))

    async def _row(self, reader: StateReader, directory: Directory) -> Plain | None:
        """None for a directory that declares something else than a schema."""
        row: Plain = {"path": directory.shown, "entries": directory.inode.size}
        try:
            collection = await self.collection(reader, directory)
        except AffsError as error:
            if error.code == "collection.not_found":
                return None
            return {**row, "fields": 0, "closed": False, "unique": [], "evolving": False,
                    "note": error.message}  # fmt: skip
        return {**row, **_summary(collection), "note": ""}

    async def show(self, path: str, asker: Asker, state: str) -> Plain:
        async with self.open(asker, state) as reader:
            directory = await self.directory(reader, path)
            collection = await self.collection(reader, directory)
        assert collection.schema is not None
        shown: Plain = {
            "path": directory.shown, "id": directory.inode.object_id.hex(),
            "entries": directory.inode.size, **_summary(collection),
            "schema": collection.schema.value,
        }  # fmt: skip
        if collection.evolution is not None:
            shown["becomes"] = collection.evolution.schema.value
        return shown

    async def check(self, path: str, asker: Asker, state: str, emit: Emit) -> Plain:
        """Each violation goes to emit. How it went: records, invalid, violations, denied,
        evolving."""
        async with self.open(asker, state) as reader:
            directory = await self.directory(reader, path)
            collection = await self.collection(reader, directory)
            schema = collection.target
            assert schema is not None
            async with self.survey(asker, reader, directory, schema, collection.admitted) as survey:
                while (judged := await survey.next()) is not None:
                    for finding in judged.findings:
                        await emit(finding)
        evolving = collection.evolution is not None
        return {**survey.counts.to_value(), "evolving": evolving}

    @asynccontextmanager
    async def survey(
        self, asker: Asker, reader: StateReader, directory: Directory, schema: RecordSchema,
        judge: Judge,
    ) -> AsyncIterator[Survey]:  # fmt: skip
        """schema: of the unique keys. judge: as Survey takes."""
        memory = Allowance(self._pool, asker.memory_bytes)
        place = directory.number, directory.inode, directory.path
        try:
            yield Survey(self._loader, reader, place, schema, judge, memory)
        finally:
            memory.close()


def not_declared(shown: str) -> AffsError:
    return AffsError(
        "collection.not_found", Category.NOT_FOUND, f"{shown} is no collection",
        hint="`collections` lists them, `declare` makes one", details={"path": shown},
    )  # fmt: skip


def _summary(collection: Collection) -> Plain:
    schema = collection.target
    assert schema is not None
    return {
        "fields": len(schema.record.fields), "closed": schema.record.closed,
        "unique": [" + ".join(key) for key in schema.value.get("unique", [])],
        "evolving": collection.evolution is not None,
    }  # fmt: skip
