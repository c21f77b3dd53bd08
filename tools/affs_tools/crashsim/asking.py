"""Queries of one state: an index may spare reading, but never change what is answered.

The same question is asked with indexes and without; without, the records themselves are read, whose
content is compared with the model anyway.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

from affs_fuse.auv import Value, format_canonical
from affs_fuse.core.tree import Tree
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.indexes import declared_indexes
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.alone_source import AloneSource
from affs_fuse.query.execution import Execution
from affs_fuse.query.memory import Allowance, Pool
from affs_fuse.query.opening import source_of
from affs_fuse.query.parser import parse_query
from affs_fuse.query.paths import path_text
from affs_fuse.query.planning import plan_query
from affs_fuse.query.sources import Report, RowSource, Wanted
from affs_fuse.query.tree import Source
from affs_fuse.volume.missing import DataMissing, NodeMissing
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.session import ROOT

__all__ = ["Answer", "answer", "answers", "questions"]

NOW_NS = 10**18
QUESTIONS = (
    "find {path} where {expression} = 2 | select @name",
    'find {path} where {expression} >= "x7" | select @name',
    "find {path} | sort {expression} | limit 3 | select @name",
    "find {path} | group count() as many by {expression}",
)
"""The last one is answered by an index alone."""



class Answer(NamedTuple):
    """text: rows and what is told with them, or the error. asked: the index, or "". damaged:
    it is an error that tells of damage. rows: none with an error."""

    text: str
    rows: tuple[str, ...]
    asked: str
    damaged: bool


def questions(reader: StateReader) -> Iterator[str]:
    """Some for every index of every directory. Errors: AffsError of damage; NodeMissing."""
    for number in reader.collections():
        path = path_text(b"/" + reader.directory_path(number)[0])
        for one in declared_indexes(reader.declaration(number)):
            for text in QUESTIONS:
                yield text.format(path=path, expression=one.expression)


def answers(volume: Volume, tree: Tree) -> Iterator[tuple[str, Answer]]:
    """(question, answer with indexes). Errors: AffsError of damage."""
    reader = StateReader(volume, tree, ROOT)
    for line in dict.fromkeys(volume.run(lambda: list(questions(reader)))):
        yield line, answer(volume, tree, line)


def answer(volume: Volume, tree: Tree, line: str, *, indexes: bool = True) -> Answer:
    """As the runtime has it: where an index turns out to be damaged before the first row, the query
    is carried out without."""
    found, report = _ask(volume, tree, line, indexes=indexes)
    if indexes and _is_damage(found):
        found, report = _ask(volume, tree, line, indexes=False)
    if isinstance(found, AffsError):
        return Answer(f"{found.code}: {found.message}", (), report.index, _is_damage(found))
    text = format_canonical([found, report.refused, list(report.problems)])
    return Answer(text, tuple(map(format_canonical, found)), report.index, False)


def _is_damage(found: object) -> bool:
    return isinstance(found, AffsError) and found.category in (Category.CORRUPT, Category.IO)


def _ask(
    volume: Volume, tree: Tree, line: str, *, indexes: bool
) -> tuple[list[Value] | AffsError, Report]:
    def open_source(
        source: Source, wanted: Wanted, report: Report, memory: Allowance,
        enough: Callable[[], bool],
    ) -> RowSource | AloneSource:  # fmt: skip
        reader = StateReader(volume, tree, ROOT)
        return source_of(reader, None, source, wanted, report, memory, enough, indexes=indexes)

    report, rows = Report(), list[Value]()
    try:
        plan = plan_query(line, parse_query(line), NOW_NS)
        execution = Execution(line, plan, open_source, Allowance(Pool()))
        report = execution.report
        while (given := _step(volume, execution)) is not None:
            rows += given
    except AffsError as error:
        return error, report
    return rows, report


def _step(volume: Volume, execution: Execution) -> list[Value] | None:
    while True:
        try:
            return execution.step(lambda: 0.0, 1.0)
        except (NodeMissing, DataMissing) as missing:
            load = volume.begin_load(missing)
            load.execute()
            volume.end_load(load)
