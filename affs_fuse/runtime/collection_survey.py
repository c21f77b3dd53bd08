"""Going through a collection: each record of a state held to a schema, with what is wrong where.

Invariants: every regular file that lies directly in the directory is looked at and none is changed;
what cannot be read or parsed is a finding like any other. Memory grows with the number of records
only where there are unique keys.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from affs_fuse.auv import TextError, Value, parse_quick, place_positions
from affs_fuse.core.codec import Inode
from affs_fuse.posix.permissions import READ
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.memory import Allowance
from affs_fuse.query.paths import path_text
from affs_fuse.query.rows import Entry
from affs_fuse.query.schema import RecordSchema
from affs_fuse.query.schema_check import Violation, unique_keys, unique_words
from affs_fuse.query.sources import RECORD_BYTES_MAX
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.record_walk import DirectoryFiles

__all__ = ["Counts", "Judged", "Survey"]

KEY_BYTES = 200
"""Of a unique key that is remembered, roughly."""

Judge = Callable[[Value], tuple[Value, list[Violation]]]


@dataclass(slots=True)
class Judged:
    """One file. text: b"" where it was not read. before, after: of a record, as it is and as it
    would be. findings: rows for people."""

    entry: Entry
    text: bytes = b""
    before: Value = None
    after: Value = None
    findings: list[Plain] = field(default_factory=list)


@dataclass(slots=True)
class Counts:
    """records: files looked at. invalid: those with something wrong. violations: in all. denied:
    not readable for who asks, so not judged."""

    records: int = 0
    invalid: int = 0
    violations: int = 0
    denied: int = 0

    def add(self, judged: Judged) -> None:
        self.records += 1
        self.violations += len(judged.findings)
        self.invalid += bool(judged.findings)

    def to_value(self) -> Plain:
        return {
            "records": self.records, "invalid": self.invalid, "violations": self.violations,
            "denied": self.denied,
        }  # fmt: skip


class Survey:
    """directory: number, inode, path. schema: for unique keys, of records as they would be. judge:
    what a record would be, and what is wrong with it then."""

    def __init__(
        self,
        loader: Loader,
        reader: StateReader,
        directory: tuple[int, Inode, bytes],
        schema: RecordSchema,
        judge: Judge,
        memory: Allowance,
    ) -> None:
        self._loader = loader
        self._reader = reader
        self._files = DirectoryFiles(loader, reader, directory, memory)
        self._schema = schema
        self._judge = judge
        self._memory = memory
        self._holders: list[dict[bytes, tuple[int, str]]] = [{} for _ in schema.unique]
        self.counts = Counts()

    async def next(self) -> Judged | None:
        """By the bytes of the names; None at the end. Errors: query.memory; those of loading."""
        while (entry := await self._files.next()) is not None:
            if not await self._loader.run(self._reader.may, entry.number, entry.inode, READ):
                self.counts.denied += 1
                continue
            judged = await self._judged(entry)
            self.counts.add(judged)
            return judged
        return None

    async def _judged(self, entry: Entry) -> Judged:
        judged = Judged(entry)
        if entry.inode.size > RECORD_BYTES_MAX:
            size = f"{entry.inode.size} bytes"
            self._find(judged, Violation((), "size", f"at most {RECORD_BYTES_MAX} bytes", size))
            return judged
        judged.text = await self._loader.run(self._reader.content, entry.number, entry.inode)
        try:
            judged.before = parse_quick(judged.text)
        except TextError as error:
            wrong = Violation((), "syntax", error.expected, error.found or "the end")
            self._find(judged, wrong, (error.line, error.column))
            return judged
        judged.after, wrongs = self._judge(judged.before)
        if wrongs:
            positions = place_positions(judged.text, [wrong.place for wrong in wrongs])
            for wrong, position in zip(wrongs, positions, strict=True):
                self._find(judged, wrong, position)
        else:
            self._check_keys(judged)
        return judged

    def _check_keys(self, judged: Judged) -> None:
        entry = judged.entry
        for index, key in enumerate(unique_keys(self._schema, judged.after)):
            if key is None:
                continue
            path = path_text(entry.path)
            held = self._holders[index]
            if key not in held:
                self._memory.take(KEY_BYTES + len(path), "unique keys")
            number, other = held.setdefault(key, (entry.number, path))
            if number != entry.number:
                place = self._schema.unique[index][0]
                words = unique_words(self._schema, index, judged.after)
                wrong = Violation(place, "unique", f"a key that {other} does not have", words)
                self._find(judged, wrong, place_positions(judged.text, [place])[0])

    def _find(self, judged: Judged, wrong: Violation, at: tuple[int, int] = (1, 1)) -> None:
        path = path_text(judged.entry.path)
        judged.findings.append({"path": path, "line": at[0], "column": at[1], **wrong.to_value()})
