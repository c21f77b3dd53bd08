"""Queries over a namespace on a memory device, without a runtime.

`QueryBench.rows(text)` is what a query gives, worked off in the smallest slices, and
`QueryBench.load(path, text)` puts files there. What is missing is loaded by the volume itself.
"""

import os
import re

from posix_harness import ROOT, Bench

from affs_fuse import auv
from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.posix.batches import Declare
from affs_fuse.posix.declarations import Declaration, packed
from affs_fuse.posix.indexes import (
    DeclaredIndex,
    declared_indexes,
    next_index_id,
    read_head,
    with_indexes,
)
from affs_fuse.posix.permissions import Credentials
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.execution import Execution
from affs_fuse.query.index_audit import IndexAudit
from affs_fuse.query.index_values import keys_of_content
from affs_fuse.query.memory import QUERY_BYTES_DEFAULT, Allowance, Pool
from affs_fuse.query.opening import choice_of, find_file, source_of
from affs_fuse.query.parser import parse_query
from affs_fuse.query.planning import plan_query
from affs_fuse.volume.index_check import IndexHead
from affs_fuse.volume.missing import DataMissing, NodeMissing

NOW = 10**18


class QueryBench(Bench):
    """A volume to ask. credentials: of whoever asks."""

    credentials = ROOT
    memory_bytes = QUERY_BYTES_DEFAULT
    indexes = True

    def directory(self, path: str) -> int:
        """The number of a directory, made with all above it where it is missing."""
        number = 1
        for name in path.strip("/").encode().split(b"/"):
            if name:
                try:
                    number = self.run(self.namespace.lookup, number, name).number
                except FileNotFoundError:
                    number = self.run(self.namespace.mkdir, number, name, 0o755, ROOT).number
        return number

    def load(self, path: str, text: str | bytes, credentials: Credentials = ROOT) -> int:
        """A file with this content; its number."""
        data = text.encode() if isinstance(text, str) else text
        parent, _, name = path.rpartition("/")
        flags = os.O_WRONLY | os.O_TRUNC
        handle, made = self.run(
            self.namespace.create, self.directory(parent), name.encode(), 0o644, flags, credentials
        )
        if data:
            self.run(self.namespace.write, handle, 0, data)
        self.run(self.namespace.release, handle)
        return made.number

    def put(self, path: str, value: auv.Value) -> int:
        """A record."""
        return self.load(path, auv.format_compact(value))

    # ---- indexes ----

    def add_index(self, path: str, name: str, expression: str) -> None:
        """Declare an index, in place of one of the same name."""
        number = self.find(path).number
        declaration = self._declaration(number)
        kept = [one for one in declared_indexes(declaration) if one.name != name]
        made = self.run(next_index_id, self.volume.working.tree, number, declaration)
        self._declare(path, [*kept, DeclaredIndex(made, name, expression)], made + 1)

    def drop_index(self, path: str, name: str) -> None:
        number = self.find(path).number
        declaration = self._declaration(number)
        kept = [one for one in declared_indexes(declaration) if one.name != name]
        made = self.run(next_index_id, self.volume.working.tree, number, declaration)
        self._declare(path, kept, made)

    def _declaration(self, number: int) -> Declaration | None:
        return self.run(lambda: self.namespace.files.collections.get(number))

    def _declare(self, path: str, indexes: list[DeclaredIndex], next_id: int) -> None:
        declaration = self._declaration(self.find(path).number)
        data = packed(with_indexes(declaration, indexes, next_id))
        parts = tuple(path.strip("/").encode().split(b"/"))
        seen = self.run(self.namespace.files.look_at_directory, parts, ROOT)
        self.run(self.namespace.files.apply, [Declare(parts, data, seen)], ROOT)

    def index_step(self) -> int | None:
        """One turn of the work for indexes."""
        return self.run(self.namespace.files.index_work(keys_of_content).step, lambda: True)

    def settle_indexes(self) -> None:
        while self.index_step() is not None:
            pass

    def index_head(self, path: str, name: str) -> IndexHead:
        number = self.find(path).number
        for one in declared_indexes(self._declaration(number)):
            if one.name == name:
                return self.run(read_head, self.volume.working.tree, number, one.id)
        raise LookupError(name)

    def items(self, path: str, kind: int) -> list[tuple[int, bytes]]:
        number, tree = self.find(path).number, self.volume.working.tree
        found = self.run(lambda: list(tree.iterate((number, kind, 0), (number, kind + 1, 0))))
        return [(offset, payload) for _, _, offset, payload in found]

    def audit(self, path: str, state: str | None = None) -> list[str]:
        """Hold the indexes of a directory against its files; nothing must be found. (The list is
        for `assert`.)"""
        reader = StateReader(self.volume, self.tree_of(state), ROOT)
        try:
            number, _ = self.run(reader.resolve, path.encode())
        except FileNotFoundError:
            return []
        audit = IndexAudit(reader, number)
        problems = []
        while (found := self.run(next, audit, "end")) != "end":
            if found is not None:
                problems.append(found)
        assert problems == []
        self.audited = audit
        return problems

    def tree_of(self, state: str | None) -> Tree:
        """Of a kept state by its label, or the working state as of now."""
        if state is None:
            self.commit()
            root = self.volume.last.root
            return Tree(self.volume.cache, TREE_NAMESPACE, root, writable=False)
        return self.volume.open_state(self.volume.states.resolve(state))

    def execution(self, text: str) -> Execution:
        plan = plan_query(text, parse_query(text), NOW)

        def open_source(source, wanted, report, memory, enough):
            reader = StateReader(self.volume, self.tree_of(source.state), self.credentials)
            since = self.tree_of(source.since) if source.since is not None else None
            return source_of(
                reader, since, source, wanted, report, memory, enough, indexes=self.indexes
            )

        self.pool = Pool()
        return Execution(text, plan, open_source, Allowance(self.pool, self.memory_bytes))

    def rows(self, text: str) -> list[auv.Value]:
        """What the query gives; self.report is what it tells, self.given what it gave until it
        failed."""
        execution = self.execution(text)
        self.report = execution.report
        found: list[auv.Value] = []
        self.given = found
        try:
            while (given := self.step(execution)) is not None:
                found += given
        finally:
            execution.close()
        assert self.pool.used == 0
        return found

    def how(self, text: str) -> str:
        """How the records of a query would be found, without the expressions of indexes."""
        plan = plan_query(text, parse_query(text), NOW)
        reader = StateReader(self.volume, self.tree_of(plan.source.state), self.credentials)
        entry = self.run(find_file, reader, plan.source.path)
        choice = self.run(choice_of, reader, plan.source, entry, plan.wanted)
        if choice is None:
            return "read"
        return re.sub(r" \(\w+\)", "", choice.text)

    def step(self, execution: Execution) -> list[auv.Value] | None:
        """One slice: no more than one row from the source."""
        while True:
            try:
                return execution.step(lambda: 1.0, 0.0)
            except (NodeMissing, DataMissing) as missing:
                load = self.volume.begin_load(missing)
                load.execute()
                self.volume.end_load(load)
