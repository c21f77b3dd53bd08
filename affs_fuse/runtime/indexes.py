"""Indexes declared, dropped, looked at and checked by command (docs/specs/Indexes.md).

To declare is to change the declaration of the directory; the rest is done by the upkeep, whoever
waits for it. Invariants:
- An index that is made anew gets another number, so nothing of the old one is taken for it.
- What is declared is durable when the call returns.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix import inodes
from affs_fuse.posix.batches import Changed, Declare, Path, StepError
from affs_fuse.posix.declarations import packed
from affs_fuse.posix.files_by_path import FilesByPath
from affs_fuse.posix.indexes import (
    DeclaredIndex,
    declared_indexes,
    next_index_id,
    pending_files,
    read_head,
    with_indexes,
)
from affs_fuse.posix.permissions import Credentials
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_audit import IndexAudit
from affs_fuse.query.index_values import read_expression
from affs_fuse.query.opening import path_error, path_parts
from affs_fuse.query.paths import path_text
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.index_upkeep import IndexUpkeep
from affs_fuse.runtime.indexes_port import Progress
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.opened_states import WORKING, OpenedStates
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.queries import credentials_of
from affs_fuse.runtime.steps import Steps
from affs_fuse.volume.volume import Volume

__all__ = ["INDEXES_MAX", "Indexes"]

INDEXES_MAX = 16
ATTEMPTS_MAX = 100
NAME_MAX = 64
PENDING_BYTES = 64 << 10
EVERYBODY = Credentials(0, 0)
"""Who checks an index reads all records, and tells nothing of what is in them."""

Choose = Callable[[tuple[DeclaredIndex, ...], int], list[DeclaredIndex]]
"""From the indexes there are, and the next number that is free: those that shall be."""


class Indexes:
    """Implements IndexesPort. Loop thread only."""

    def __init__(
        self, volume: Volume, files: FilesByPath, steps: Steps, loader: Loader,
        states: OpenedStates, upkeep: IndexUpkeep, commit: Callable[[], Awaitable[Any]],
    ) -> None:  # fmt: skip
        self._volume = volume
        self._files = files
        self._steps = steps
        self._loader = loader
        self._states = states
        self._upkeep = upkeep
        self._commit = commit

    # ---- looking ----

    async def rows(self, path: str, asker: Asker) -> list[Plain]:
        """As the port."""
        async with self._states.open(WORKING) as tree:
            reader = StateReader(self._volume, tree, credentials_of(asker.identity))
            rows = []
            for number in await self._directories(path, reader):
                shown, open_way = await self._loader.run(reader.directory_path, number)
                if open_way:
                    rows += await self._loader.run(self._rows, reader, number, shown)
        return rows

    async def _directories(self, path: str, reader: StateReader) -> Sequence[int]:
        if not path:
            return await self._loader.run(reader.collections)
        try:
            number, _ = await self._loader.run(reader.resolve, b"/".join(path_parts(path)))
        except OSError as error:
            raise path_error(error, path) from None
        return [number]

    def _rows(self, reader: StateReader, number: int, path: bytes) -> list[Plain]:
        inode = reader.inode(number)
        return [
            {
                "path": path_text(b"/" + path), "name": one.name, "expression": one.expression,
                **self._standing(reader.tree, number, one), "files": inode.size if inode else 0,
            }
            for one in declared_indexes(reader.declaration(number))
        ]  # fmt: skip

    def _standing(self, tree: Tree, number: int, one: DeclaredIndex) -> Plain:
        pending = len(pending_files(tree, number, 0, PENDING_BYTES))
        try:
            head = read_head(tree, number, one.id)
        except AffsError:
            return {"state": "damaged", "entries": 0, "pending": pending}
        if head is None:
            return {"state": "waiting", "entries": 0, "pending": pending}
        state = "ready" if head.usable else "building"
        if number in self._upkeep.damaged:
            state = "damaged"
        return {"state": state, "entries": head.shape.entries, "pending": pending}

    # ---- declaring ----

    async def create(
        self, path: str, expression: str, name: str, asker: Asker, progress: Progress, *,
        wait: bool,
    ) -> Plain:  # fmt: skip
        """As the port."""
        shape = read_expression(expression).shape
        name = name or expression[:NAME_MAX]

        def choose(there: tuple[DeclaredIndex, ...], free: int) -> list[DeclaredIndex]:
            for one in there:
                if one.name == name or _shape(one) == shape:
                    raise AffsError(
                        "index.exists", Category.EXISTS,
                        f"{path} has an index {one.name} of {one.expression}",
                        hint=f"unindex {path} {one.name} drops it", details={"path": path},
                    )  # fmt: skip
            if len(there) >= INDEXES_MAX:
                raise AffsError(
                    "index.too_many", Category.INVALID,
                    f"{path} has {len(there)} indexes, {INDEXES_MAX} at most",
                    details={"path": path},
                )  # fmt: skip
            return [*there, DeclaredIndex(free, name, expression)]

        number = await self._declare(path, asker, choose)
        if wait:
            await self._wait(number, progress)
        return next(row for row in await self.rows(path, asker) if row["name"] == name)

    async def drop(self, path: str, name: str, asker: Asker) -> Plain:
        """As the port."""
        row = await self._row(path, name, asker)

        def choose(there: tuple[DeclaredIndex, ...], free: int) -> list[DeclaredIndex]:
            return [one for one in there if one.name != name]

        await self._declare(path, asker, choose)
        return row

    async def rebuild(
        self, path: str, name: str, asker: Asker, progress: Progress, *, wait: bool
    ) -> list[Plain]:
        """As the port."""
        if name:
            await self._row(path, name, asker)

        def choose(there: tuple[DeclaredIndex, ...], free: int) -> list[DeclaredIndex]:
            chosen = []
            for one in there:
                anew = not name or one.name == name
                chosen.append(one._replace(id=free) if anew else one)
                free += anew
            return chosen

        number = await self._declare(path, asker, choose)
        if wait:
            await self._wait(number, progress)
        return [row for row in await self.rows(path, asker) if not name or row["name"] == name]

    async def _row(self, path: str, name: str, asker: Asker) -> Plain:
        rows = await self.rows(path, asker)
        for row in rows:
            if row["name"] == name:
                return row
        known = ", ".join(row["name"] for row in rows)
        raise AffsError(
            "index.not_found", Category.NOT_FOUND, f"{path} has no index {name}",
            hint=f"it has {known}" if known else "it has none", details={"path": path},
        )  # fmt: skip

    async def _declare(self, path: str, asker: Asker, choose: Choose) -> int:
        """The directory. Errors: record.*; those of choose."""
        credentials = credentials_of(asker.identity)
        parts = path_parts(path)
        for _ in range(ATTEMPTS_MAX):
            try:
                step = await self._loader.run(self._step, parts, credentials, choose)
                await self._steps.carry_out([step], credentials, lambda: _nothing)
            except OSError as error:
                raise path_error(error, path) from None
            except StepError as error:
                if not error.changed:
                    raise path_error(error.error, path) from None
            else:
                self._upkeep.damaged.pop(step.seen.number, None)
                return int(step.seen.number)
        raise AffsError(
            "record.busy", Category.BUSY, f"{path} keeps changing while it is looked at",
            hint="try again", retryable=True, details={"path": path},
        )  # fmt: skip

    def _step(self, parts: Path, credentials: Credentials, choose: Choose) -> Declare:
        """Errors: OSError; collection.damaged; those of choose; NodeMissing."""
        seen = self._files.look_at_directory(parts, credentials)
        declaration = self._files.collections.get(seen.number)
        free = next_index_id(self._volume.working.tree, seen.number, declaration)
        chosen = choose(declared_indexes(declaration), free)
        least = max([free, *(one.id + 1 for one in chosen)])
        return Declare(parts, packed(with_indexes(declaration, chosen, least)), seen)

    async def _wait(self, number: int, progress: Progress) -> None:
        """Until the indexes of a directory are ready; who stops waiting does not stop that."""
        while True:
            done, total, ready = await self._loader.run(self._progress, number)
            await progress(done, total)
            if ready or number in self._upkeep.damaged or not await self._upkeep.turn():
                break
        await self._commit()

    def _progress(self, number: int) -> tuple[int, int, bool]:
        """(entries of the index that has the fewest, files, whether all are ready)."""
        tree = self._volume.working.tree
        declared = declared_indexes(self._files.collections.get(number))
        heads = [read_head(tree, number, one.id) for one in declared]
        done = min((head.shape.entries if head is not None else 0 for head in heads), default=0)
        total = inodes.load_directory(tree, number).size
        return done, total, all(head is not None and head.usable for head in heads)

    # ---- checking ----

    async def check(
        self, path: str, asker: Asker, emit: Callable[[Plain], Awaitable[None]]
    ) -> Plain:
        """As the port."""
        found = files = indexes = 0
        await self._upkeep.catch_up()
        async with self._states.open(WORKING) as tree:
            mine = StateReader(self._volume, tree, credentials_of(asker.identity))
            all_of = StateReader(self._volume, tree, EVERYBODY)
            for number in await self._directories(path, mine):
                shown, open_way = await self._loader.run(mine.directory_path, number)
                if not open_way:
                    continue
                audit = IndexAudit(all_of, number)
                problems: list[str | None] = []
                await self._loader.each(audit, problems.append)
                for problem in filter(None, problems):
                    await emit({"path": path_text(b"/" + shown), "problem": problem})
                    found += 1
                files += audit.files
                indexes += len(audit.indexes)
        return {"indexes": indexes, "files": files, "problems": found}


def _nothing(changed: Sequence[Changed]) -> None:
    """There is nothing to be noted."""


def _shape(one: DeclaredIndex) -> Any:
    try:
        return read_expression(one.expression).shape
    except AffsError:
        return None

