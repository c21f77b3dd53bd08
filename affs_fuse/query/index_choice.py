"""Which index a source asks, if any: decided when the state is open, from figures of its indexes.

An index is asked where it spares reading most of a directory: the fewest records that it would
have looked at, as estimated from its pages, against all of them. Files that wait to be taken in are
looked at as well, so many of them speak against it.

Who may not read every file must not learn from these figures what is in the others. For them the
choice goes by the query alone, and no figure is shown.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

from affs_fuse.auv import AuvError, decode
from affs_fuse.core.codec import Inode
from affs_fuse.errors import AffsError
from affs_fuse.posix.index_keys import UNSURE, Range, range_of_key
from affs_fuse.posix.indexes import (
    DeclaredIndex,
    declared_indexes,
    open_index,
    pending_files,
    read_head,
)
from affs_fuse.posix.state_reader import StateReader
from affs_fuse.query.covering import Covered
from affs_fuse.query.index_use import Bounds, Order, intersected
from affs_fuse.query.index_values import Shape, read_expression
from affs_fuse.volume.index_check import IndexHead
from affs_fuse.volume.index_pages import IndexDamage, IndexPages

__all__ = [
    "EVERYTHING", "NO_HINTS", "PENDING_BYTES", "PENDING_MAX", "UNSURE_RANGE", "Choice",
    "CompleteIndex", "IndexHints", "choose_index", "choose_top", "complete_indexes",
    "share_between", "spares",
]  # fmt: skip

COST_BY_INDEX = 1.5
"""Of a record that an index names, against one that a walk comes by: its names are looked up."""

DECLARATIONS_KEPT = 64
COST_OF_ENTRY = 0.05
"""Of an entry in an index that is only gone through, against a record that is read."""

SPARED_MIN = 10.0
"""Records that a second index has to spare."""

PENDING_MAX = 1000
PENDING_BYTES = 64 << 10
EVERYTHING = Range(bytes([0x10]), b"\xff")
UNSURE_RANGE = range_of_key(UNSURE)


Cover = Callable[[Shape], Covered | None]


class IndexHints(NamedTuple):
    """What a plan could ask an index for. cover: what of it the values of an expression are enough
    for, None if it needs records, whatever the index."""

    lookups: tuple[Bounds, ...] = ()
    order: Order | None = None
    cover: Cover | None = None

    def __bool__(self) -> bool:
        return bool(self.lookups) or self.order is not None or self.cover is not None


NO_HINTS = IndexHints()


class Asked(NamedTuple):
    """An index, and what to look at in it, all but unsure and pending files. records: how many that
    is, roughly."""

    declared: DeclaredIndex
    head: IndexHead
    ranges: tuple[Range, ...]
    records: float


class Choice(NamedTuple):
    """order: read in that order, None: in the order of a walk. records: how many will be looked at,
    roughly. also: other indexes that rule out some of them. below: directories are gone through as
    well."""

    first: Asked
    order: Order | None
    records: float
    also: tuple[Asked, ...] = ()
    below: bool = False

    @property
    def declared(self) -> DeclaredIndex:
        return self.first.declared

    @property
    def head(self) -> IndexHead:
        return self.first.head

    @property
    def ranges(self) -> tuple[Range, ...]:
        return self.first.ranges

    @property
    def text(self) -> str:
        how = "first by" if self.order is not None else "looked up in"
        asked = [self.first, *self.also]
        names = [f"index {one.declared.name} ({one.declared.expression})" for one in asked]
        return f"{how} {' and '.join(names)}{', and directories below' if self.below else ''}"


class CompleteIndex(NamedTuple):
    declared: DeclaredIndex
    shape: Shape
    head: IndexHead


def choose_index(
    reader: StateReader, number: int, inode: Inode, hints: IndexHints
) -> Choice | None:
    """number: a directory whose files are the rows. None: walk. Errors: NodeMissing,
    index.damaged."""
    known = complete_indexes(reader, number)
    if not known:
        return None
    waiting = len(pending_files(reader.tree, number, 0, PENDING_BYTES))
    found = [choice for one in known if (choice := _choice(reader, number, one, hints))]
    if not found or waiting > PENDING_MAX:
        return None
    if not reader.sees_all:
        first = min(found, key=lambda choice: choice.order is not None)
        return first._replace(records=float(inode.size))
    best = min(found, key=lambda choice: choice.records)
    if best.order is None:
        others = [choice.first for choice in found if choice is not best and choice.order is None]
        best = _with_others(best, others, inode)
    return best if spares(best.records + waiting, inode) else None


def _with_others(best: Choice, others: list[Asked], inode: Inode) -> Choice:
    """The choice, with other indexes that spare more than it costs to go through their entries."""
    for other in sorted(others, key=lambda asked: asked.records):
        left = best.records * other.records / max(1, inode.size)
        if best.records - left > other.records * COST_OF_ENTRY + SPARED_MIN:
            best = best._replace(records=left, also=(*best.also, other))
    return best


def choose_top(
    reader: StateReader, number: int, inode: Inode, hints: IndexHints
) -> Choice | None:
    """The index by which the first rows of a sort come where directories lie below (index_top.py).
    Errors: NodeMissing, index.damaged."""
    order = hints.order
    if order is None or not order.all_come or not reader.sees_all:
        return None
    for known in complete_indexes(reader, number):
        if known.shape == order.shape:
            pages = open_index(reader.tree, number, known.declared.id, known.head)
            unsure = share_between(pages, (UNSURE_RANGE,)) * known.head.shape.entries
            waiting = len(pending_files(reader.tree, number, 0, PENDING_BYTES))
            if spares(order.wanted + unsure + waiting, inode):
                found = _choice_of(known, (EVERYTHING,), order, order.wanted + unsure)
                return found._replace(below=True)
    return None


def spares(records: float, inode: Inode) -> bool:
    """Whether looking at so many records by an index costs less than a walk through the
    directory."""
    return records * COST_BY_INDEX < inode.size


def complete_indexes(reader: StateReader, number: int) -> list[CompleteIndex]:
    """The complete indexes of a directory."""
    found = []
    for one in _declared_in(reader.stored_declaration(number)):
        head = read_head(reader.tree, number, one.id)
        if head is None or not head.usable or head.expression != one.expression:
            continue
        try:
            found.append(CompleteIndex(one, read_expression(one.expression).shape, head))
        except AffsError:
            raise IndexDamage(f"the expression of {one.name} cannot be read") from None
    return found


@lru_cache(DECLARATIONS_KEPT)
def _declared_in(stored: bytes) -> tuple[DeclaredIndex, ...]:
    """What a declaration that cannot be read says is nothing; who reads it itself is told."""
    try:
        declaration = decode(stored) if stored else None
    except AuvError:
        return ()
    return declared_indexes(declaration if isinstance(declaration, dict) else None)


def share_between(pages: IndexPages, wanted: Sequence[Range]) -> float:
    """Which part of the entries lies in these ranges, roughly. Errors: NodeMissing,
    index.damaged."""
    return sum(pages.position(one.high) - pages.position(one.low) for one in wanted)


def _choice(
    reader: StateReader, number: int, known: CompleteIndex, hints: IndexHints
) -> Choice | None:
    ranges: tuple[Range, ...] | None = None
    for bounds in hints.lookups:
        if bounds.shape == known.shape:
            ranges = intersected(ranges, bounds.ranges) if ranges is not None else bounds.ranges
    order = hints.order
    ordering = order is not None and order.shape == known.shape
    if ranges is None and not ordering:
        return None
    pages = open_index(reader.tree, number, known.declared.id, known.head)
    total = known.head.shape.entries

    def count(wanted: tuple[Range, ...]) -> float:
        return share_between(pages, wanted) * total

    unsure = count((UNSURE_RANGE,))
    looked_up: Choice | None = None
    if ranges is not None:
        looked_up = _choice_of(known, ranges, None, count(ranges) + unsure)
    if order is None or not ordering:
        return looked_up
    span = (Range(ranges[0].low, ranges[-1].high),) if ranges else (EVERYTHING,)
    if ranges == ():
        return looked_up
    rows = min(count(span), order.wanted / max(order.share, 1e-9)) + unsure
    ordered = _choice_of(known, span, order, rows)
    if looked_up is None:
        return ordered
    if not reader.sees_all or looked_up.records <= ordered.records:
        return looked_up
    return ordered


def _choice_of(
    known: CompleteIndex, ranges: tuple[Range, ...], order: Order | None, records: float
) -> Choice:
    return Choice(Asked(known.declared, known.head, ranges, records), order, records)
