"""Queries at work on a volume in use: the states they ask are held, and the loop goes on.

Invariants:
- A query reads states that do not change: the working state as of its beginning, and kept ones.
- Slices of SLICE_S, one query at a time: between two of them everything else has its turn.
- Who asks sees what they could read through the mount; kept states take the role admin, as the
  directory .affs does.
- A query for which an index turns out to be damaged, or that takes too much memory by it, is
  carried out without: by then it has given nothing, since an index is asked before the first row
  comes out.
"""

import re
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, replace
from functools import lru_cache

import trio

from affs_fuse.auv import Value
from affs_fuse.core.codec import Inode
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.found_files import FoundFiles
from affs_fuse.posix.permissions import EXECUTE, Credentials
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.alone_choice import AloneChoice
from affs_fuse.query.alone_source import AloneSource
from affs_fuse.query.execution import Execution
from affs_fuse.query.index_choice import Choice
from affs_fuse.query.memory import Allowance, Pool
from affs_fuse.query.opening import asks_below, choice_of, find_file, source_of
from affs_fuse.query.parser import parse_query
from affs_fuse.query.planning import Plan, Prospect, plan_query
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import Report, RowSource, Wanted
from affs_fuse.query.tree import Source
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.index_upkeep import IndexUpkeep
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.opened_states import WORKING, OpenedStates
from affs_fuse.runtime.policy import Identity, Policy, Role
from affs_fuse.runtime.ports import Emit, Plain
from affs_fuse.volume.missing import DataMissing, NodeMissing
from affs_fuse.volume.volume import Volume

__all__ = ["Queries", "credentials_of"]

SLICE_S = 0.002

PLANNED_LINE_MAX = 4096
PLANS_KEPT = 256
_NOT_KEPT = re.compile("now|matches", re.IGNORECASE)
"""now() is another time for each query, and a pattern remembers how far its work went."""


def credentials_of(identity: Identity) -> Credentials:
    """What a peer of the control socket may do with files: no more than through the mount."""
    return Credentials(identity.uid, identity.gid, identity.groups, pid=identity.pid)


class Queries:
    """Loop thread only."""

    def __init__(
        self, volume: Volume, loader: Loader, states: OpenedStates, indexes: IndexUpkeep
    ) -> None:
        self._volume = volume
        self._loader = loader
        self._states = states
        self._indexes = indexes
        self.pool = Pool()
        self._found = FoundFiles()
        self._turn = trio.Lock()
        self._under_way = 0

    def check_directory(self, path: str, identity: Identity) -> None:
        """An operation on the working state. Errors: record.not_found, record.denied,
        session.directory; NodeMissing."""
        reader = StateReader(self._volume, self._volume.working.tree, credentials_of(identity))
        entry = find_file(reader, path)
        if not stat.S_ISDIR(entry.inode.mode):
            raise AffsError(
                "session.directory",
                Category.INVALID,
                f"{path} is no directory",
                hint="`cd` goes to directories",
            )
        if not reader.may(entry.number, entry.inode, EXECUTE):
            raise AffsError(
                "session.directory",
                Category.INVALID,
                f"{path} is not open to you",
                hint="it takes the right to search the directory",
            )

    async def run(
        self, line: str, asker: Asker, emit: Emit, *, bare: bool = False
    ) -> Plain:
        """Every row of a query goes to emit, which may wait; bare: of records the value alone. How
        it went: rows, files, refused, denied, problems, index, note. Errors: query.*, record.*,
        state.*, policy.role; of loading."""
        plan = self._plan(line, asker)
        if bare and plan.scope.kind == "records":
            plan = replace(plan, result=plan.scope.whole())
        execution = await self._carry_out(line, plan, asker, emit)
        return {"rows": execution.rows, **asdict(execution.report)}

    async def _carry_out(self, line: str, plan: Plan, asker: Asker, emit: Emit) -> Execution:
        await self._indexes.catch_up()
        execution: Execution | None = None
        try:
            async with self._execution(line, plan, asker, indexes=True) as execution:
                await self._work(execution, emit)
                return execution
        except AffsError as error:
            damage = error.category in (Category.CORRUPT, Category.IO)
            useless = damage or error.code == "query.memory"
            if execution is None or execution.rows or not useless:
                raise
            if not execution.report.index and error.code != "index.damaged":
                raise
            note = f"without the index: {error.message}"
        async with self._execution(line, plan, asker, indexes=False) as execution:
            execution.report.note = note
            await self._work(execution, emit)
            return execution

    async def explain(self, line: str, asker: Asker) -> tuple[list[Plain], Plain]:
        """The steps of a query with estimates, and how many files there may be; nothing is read but
        the way to them. Errors: as `run`."""
        plan = self._plan(line, asker)
        known: dict[int, Prospect] = {}
        files = 0
        for one in reversed(_plans(plan)):
            files, known[id(one)] = await self._prospect(one, asker)
        return plan.explain(lambda one: known[id(one)]), {"files": files}

    async def _prospect(self, plan: Plan, asker: Asker) -> tuple[int, Prospect]:
        """(how many files its source may have, how they would be found)."""
        source = plan.source
        async with self._states.open(source.state or WORKING) as tree:
            reader = StateReader(self._volume, tree, credentials_of(asker.identity))
            entry = await self._loader.run(find_file, reader, source.path)
            choice, note = await self._choice(reader, source, entry, plan)
        files = self._estimate(source, entry.inode)
        if choice is None:
            return files, Prospect(files, note)
        below = source.verb == "find" and entry.inode.nlink != 2
        rows = files if below else min(files, round(choice.records))
        return files, Prospect(rows, choice.text, isinstance(choice, AloneChoice))

    async def _choice(
        self, reader: StateReader, source: Source, entry: Entry, plan: Plan
    ) -> tuple[Choice | AloneChoice | None, str]:
        """The index that would be asked, and what else there is to say of indexes."""
        try:
            choice = await self._loader.run(choice_of, reader, source, entry, plan.wanted)
            below = choice is None and asks_below(source, entry, plan.wanted)
            return choice, "each directory by its own indexes where they help" if below else ""
        except AffsError as error:
            if error.code != "index.damaged":
                raise
            return None, error.message

    async def analyze(self, line: str, asker: Asker) -> tuple[list[Plain], Plain]:
        """The same after the query has run, its rows thrown away: also what went in and came out of
        each step, the time, and the most that was kept. Errors: as `run`."""
        steps, _ = await self.explain(line, asker)
        plan = self._plan(line, asker)
        started = self._volume.clock.monotonic()
        execution = await self._carry_out(line, plan, asker, _drop)
        counts, peak = execution.counts(), execution.memory_peak
        for step, (rows_in, rows_out) in zip(steps, counts, strict=True):
            step["in"], step["out"] = rows_in, rows_out
        report = asdict(execution.report)
        seconds = self._volume.clock.monotonic() - started
        return steps, {
            "rows": execution.rows, **report, "seconds": seconds, "memory_bytes": peak,
            "slices": execution.steps,
        }  # fmt: skip

    def _plan(self, line: str, asker: Asker) -> Plan:
        if len(line) <= PLANNED_LINE_MAX and _NOT_KEPT.search(line) is None:
            plan = _kept_plan(line, asker.directory)
        else:
            query = parse_query(line, asker.directory)
            plan = plan_query(line, query, self._volume.clock.now_ns())
        if any(source.state or source.since for source in _sources(plan)):
            Policy.demand(Role.ADMIN, asker.role, "asking a kept state")
        return plan

    def _estimate(self, source: Source, inode: Inode) -> int:
        """At most so many files; a directory without directories in it has as many as entries."""
        if source.verb == "get" or not inode.parent:
            return 1
        if source.verb == "list" or inode.nlink == 2:
            return inode.size
        return self._volume.working.object_count

    @asynccontextmanager
    async def _execution(
        self, line: str, plan: Plan, asker: Asker, *, indexes: bool
    ) -> AsyncIterator[Execution]:
        async with AsyncExitStack() as stack:
            trees: dict[str, Tree] = {}
            for source in _sources(plan):
                for text in (source.state or WORKING, source.since):
                    if text is not None and text not in trees:
                        trees[text] = await stack.enter_async_context(self._states.open(text))
            memory = Allowance(self.pool, asker.memory_bytes)
            stack.callback(memory.close)
            credentials = credentials_of(asker.identity)

            def open_source(
                source: Source, wanted: Wanted, report: Report, memory: Allowance,
                enough: Callable[[], bool],
            ) -> RowSource | AloneSource:
                tree = trees[source.state or WORKING]
                since = trees[source.since] if source.since is not None else None
                root = tree.root
                known = self._found.of(root) if root is not None else None
                reader = StateReader(self._volume, tree, credentials, known)
                return source_of(
                    reader, since, source, wanted, report, memory, enough, indexes=indexes
                )

            yield Execution(line, plan, open_source, memory)

    async def _work(self, execution: Execution, emit: Emit) -> None:
        self._under_way += 1
        try:
            while not execution.ended:
                try:
                    rows = await self._slice(execution)
                except (NodeMissing, DataMissing) as error:
                    missing = error
                else:
                    for row in rows or ():
                        await emit(row)
                    if not execution.ended:
                        await trio.lowlevel.checkpoint()
                    continue
                await self._loader.load(missing)
        finally:
            self._under_way -= 1

    async def _slice(self, execution: Execution) -> list[Value] | None:
        """A step, in a turn of its own where there are other queries."""
        monotonic = self._volume.clock.monotonic
        if self._under_way == 1:
            await trio.lowlevel.checkpoint_if_cancelled()
            return execution.step(monotonic, monotonic() + SLICE_S)
        async with self._turn:
            return execution.step(monotonic, monotonic() + SLICE_S)


@lru_cache(PLANS_KEPT)
def _kept_plan(line: str, directory: str) -> Plan:
    """What the line says is all that its plan depends on, and carrying it out does not change
    it."""
    return plan_query(line, parse_query(line, directory), 0)


async def _drop(row: Value) -> None:
    """For rows that nobody wants."""


def _plans(plan: Plan) -> list[Plan]:
    """The plan and those of the inner sides of its joins."""
    found = [plan]
    for stage in plan.stages:
        if stage.inner is not None:
            found += _plans(stage.inner)
    return found


def _sources(plan: Plan) -> list[Source]:
    return [one.source for one in _plans(plan)]
