"""fsck.affs --data: the indexes of the working state held against the records that they are of.

The check of volume/ knows items; what a record's value is, the query room knows. So the volume is
opened for reading, as a mount would, once everything else was found to be in order.
"""

from collections.abc import Iterator

from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.core.tree import Tree
from affs_fuse.posix.permissions import Credentials
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.index_audit import IndexAudit
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.verify import Report
from affs_fuse.volume.volume import Volume
from affs_tools.text import escape_name

__all__ = ["check_indexes", "index_problems", "report_indexes"]

_END = object()


def check_indexes(path: str, report: Report) -> None:
    """What is wrong goes to the report. Errors: AffsError."""
    with Volume.open(path, OpenOptions(read_only=True)) as volume:
        report_indexes(volume, report)


def report_indexes(volume: Volume, report: Report) -> None:
    """Of the newest commit of a volume that nobody changes. Errors: AffsError."""
    tree = Tree(volume.cache, TREE_NAMESPACE, volume.last.root, writable=False)
    for where, problem in index_problems(volume, tree):
        report.error("verify.index", problem, path=where, state="working")
    tree.close()


def index_problems(volume: Volume, tree: Tree) -> Iterator[tuple[str, str]]:
    """(directory, what is wrong with an index of it), of one state. Errors: AffsError."""
    reader = StateReader(volume, tree, Credentials(0, 0))
    for number in volume.run(reader.collections):
        where, _ = volume.run(reader.directory_path, number)
        audit = IndexAudit(reader, number)
        while (found := volume.run(next, audit, _END)) is not _END:
            if isinstance(found, str):
                yield "/" + escape_name(where), found
