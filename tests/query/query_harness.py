"""Queries over a namespace on a memory device, without a runtime.

`QueryBench.rows(text)` is what a query gives, worked off in the smallest slices, and
`QueryBench.load(path, text)` puts files there. What is missing is loaded by the volume itself.
"""

import os

from posix_harness import ROOT, Bench

from affs_fuse import auv
from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.posix.permissions import Credentials
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.execution import Execution
from affs_fuse.query.memory import QUERY_BYTES_DEFAULT, Allowance, Pool
from affs_fuse.query.opening import source_of
from affs_fuse.query.parser import parse_query
from affs_fuse.query.planning import plan_query
from affs_fuse.volume.missing import DataMissing, NodeMissing

NOW = 10**18


class QueryBench(Bench):
    """A volume to ask. credentials: of whoever asks."""

    credentials = ROOT
    memory_bytes = QUERY_BYTES_DEFAULT

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

    def tree_of(self, state: str | None) -> Tree:
        """Of a kept state by its label, or the working state as of now."""
        if state is None:
            self.commit()
            root = self.volume.last.root
            return Tree(self.volume.cache, TREE_NAMESPACE, root, writable=False)
        return self.volume.open_state(self.volume.states.resolve(state))

    def execution(self, text: str) -> Execution:
        plan = plan_query(text, parse_query(text), NOW)

        def open_source(source, wanted, report, memory):
            reader = StateReader(self.volume, self.tree_of(source.state), self.credentials)
            since = self.tree_of(source.since) if source.since is not None else None
            return source_of(reader, since, source, wanted, report, memory)

        self.pool = Pool()
        return Execution(text, plan, open_source, Allowance(self.pool, self.memory_bytes))

    def rows(self, text: str) -> list[auv.Value]:
        """What the query gives; self.report is what it tells."""
        execution = self.execution(text)
        self.report = execution.report
        found: list[auv.Value] = []
        try:
            while (given := self.step(execution)) is not None:
                found += given
        finally:
            execution.close()
        assert self.pool.used == 0
        return found

    def step(self, execution: Execution) -> list[auv.Value] | None:
        """One slice: no more than one row from the source."""
        while True:
            try:
                return execution.step(lambda: 1.0, 0.0)
            except (NodeMissing, DataMissing) as missing:
                load = self.volume.begin_load(missing)
                load.execute()
                self.volume.end_load(load)
