"""Whether an index alone can answer: decided when the state is open, as in index_choice.py.

It can where the plan is covered (covering.py) and few records have to be read all the same: those
of which the index is not sure, those that wait, and those whose keys do not tell the value. Who may
not read every file gets the first index that covers the query, whatever is in it.
"""

from typing import NamedTuple

from affs_fuse.core.codec import Inode
from affs_fuse.posix.index_keys import Range
from affs_fuse.posix.indexes import DeclaredIndex, open_index, pending_files
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.covering import Covered
from affs_fuse.query.index_choice import (
    EVERYTHING,
    PENDING_BYTES,
    PENDING_MAX,
    UNSURE_RANGE,
    CompleteIndex,
    IndexHints,
    complete_indexes,
    share_between,
    spares,
)
from affs_fuse.query.index_use import intersected
from affs_fuse.volume.index_check import IndexHead

__all__ = ["AloneChoice", "choose_alone"]

CONTAINERS = Range(b"\x80", b"\xff")
"""Keys of Arrays and Objects, which do not tell how these stand in the record."""


class AloneChoice(NamedTuple):
    """ranges: what to look at, all but unsure and pending files. records: that it stands for,
    roughly; read: that are read all the same. flat: no directories are gone through."""

    declared: DeclaredIndex
    head: IndexHead
    covered: Covered
    ranges: tuple[Range, ...]
    records: float
    read: float
    flat: bool = True

    @property
    def text(self) -> str:
        below = "" if self.flat else ", but for directories below"
        return f"from index {self.declared.name} ({self.declared.expression}) alone{below}"


def choose_alone(
    reader: StateReader, number: int, inode: Inode, hints: IndexHints, *, flat: bool
) -> AloneChoice | None:
    """number: a directory whose files are the rows; flat: no others are. None: records are to be
    read. Errors: NodeMissing, index.damaged."""
    if hints.cover is None or not (flat or reader.sees_all):
        return None
    best: AloneChoice | None = None
    for one in complete_indexes(reader, number):
        covered = hints.cover(one.shape)
        if covered is None or (not flat and (covered.ordered or covered.stops_early)):
            continue
        if reader.sees_all:
            found = _choice(reader, number, one, covered)
            best = found if best is None or found.read < best.read else best
        elif best is None and not covered.stops_early:
            size = float(inode.size)
            best = AloneChoice(one.declared, one.head, covered, _ranges(covered), size, size)
    if best is None:
        return None
    waiting = len(pending_files(reader.tree, number, 0, PENDING_BYTES))
    if waiting > PENDING_MAX:
        return None
    if reader.sees_all and not spares(best.read + waiting, inode):
        return None
    return best._replace(flat=flat)


def _choice(
    reader: StateReader, number: int, known: CompleteIndex, covered: Covered
) -> AloneChoice:
    pages = open_index(reader.tree, number, known.declared.id, known.head)
    total = known.head.shape.entries
    ranges = _ranges(covered)
    unsure = share_between(pages, (UNSURE_RANGE,)) * total
    untold = 0.0
    if covered.uses_value and not covered.counted:
        untold = share_between(pages, intersected(ranges, (CONTAINERS,))) * total
    records = share_between(pages, ranges) * total + unsure
    return AloneChoice(known.declared, known.head, covered, ranges, records, unsure + untold)


def _ranges(covered: Covered) -> tuple[Range, ...]:
    return covered.ranges if covered.ranges is not None else (EVERYTHING,)
