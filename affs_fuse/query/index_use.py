"""What a plan could ask an index for: ranges of values, or an order.

Known from the query alone, before anybody knows which indexes there are. A condition becomes ranges
that have every record fulfilling it, and perhaps others: rows from an index go through the stages
as all do. Conditions are of use only as long as nothing in front of them could fail for a record
that the index leaves out: a query must not depend on which indexes there are.
"""

from collections.abc import Callable, Sequence
from functools import reduce
from typing import NamedTuple

from affs_fuse.posix.index_keys import KEY_MAX, Range, above, below, equal_to, prefixed_by
from affs_fuse.query.expressions import Bound
from affs_fuse.query.index_values import Shape, shape_of
from affs_fuse.query.like import fixed_start, is_prefix
from affs_fuse.query.tree import (
    ArrayOf,
    Attribute,
    Between,
    Compare,
    Exists,
    Expression,
    In,
    Like,
    Literal,
    Logic,
    Name,
    Not,
    ObjectOf,
    Sort,
    Step,
    Whole,
    children,
)

__all__ = [
    "Bounds", "Conditions", "Order", "bounds_of", "intersected", "is_operand", "never_fails",
    "order_of",
]  # fmt: skip

RANGES_MAX = 1000
"""Values of an `in`; with more of them an index is no help."""

_MIRRORED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_OPERANDS = (Literal, Name, Attribute, Whole, Step, ArrayOf, ObjectOf)

Evaluate = Callable[[Expression], Bound]


class Bounds(NamedTuple):
    """A condition on one expression: its values lie in one of the ranges, which are in order and
    apart. exact: what lies there fulfils it."""

    shape: Shape
    ranges: tuple[Range, ...]
    exact: bool = True


class Order(NamedTuple):
    """The rows of a sort whose first `wanted` alone matter. stage: which stage of the plan it is.
    share: of the records that come to it, roughly. all_come: nothing is in front of it."""

    shape: Shape
    descending: bool
    wanted: int
    stage: int
    share: float
    all_come: bool


class Conditions:
    """Conditions that are looked at in this order."""

    def __init__(self, parts: Sequence[Expression], value: Evaluate) -> None:
        self._bounds = [bounds_of(part, value) for part in parts]
        self._certain = [never_fails(part) for part in parts]

    def usable(self) -> list[Bounds]:
        """What may be asked of indexes. One entry for each shape."""
        found: dict[Shape, Bounds] = {}
        for bounds, certain in zip(self._bounds, self._certain, strict=True):
            if bounds is not None:
                known = found.get(bounds.shape)
                found[bounds.shape] = bounds if known is None else _both(known, bounds)
            if not certain:
                break
        return list(found.values())

    def of(self, shape: Shape) -> tuple[tuple[Range, ...] | None, bool]:
        """Where the values of one expression lie, None: anywhere; and whether what lies there
        fulfils all conditions."""
        mine = [one for one in self._bounds if one is not None and one.shape == shape and one.exact]
        if len(mine) < len(self._bounds):
            usable = [one.ranges for one in self.usable() if one.shape == shape]
            return (usable[0] if usable else None), False
        return (reduce(_both, mine).ranges if mine else None), True


def _both(one: Bounds, other: Bounds) -> Bounds:
    ranges = intersected(one.ranges, other.ranges)
    return Bounds(one.shape, ranges, one.exact and other.exact)


def bounds_of(part: Expression, value: Evaluate) -> Bounds | None:
    """None for a condition that is no range."""
    if isinstance(part, Compare):
        return _of_comparison(part, value)
    if isinstance(part, Between):
        low, high = value(part.low), value(part.high)
        if not (low.constant and high.constant):
            return None
        least, most = above(low.run(None), including=True), below(high.run(None), including=True)
        return _bounds(part.operand, [Range(least.low, most.high)], value)
    if isinstance(part, In):
        container = value(part.container)
        many = container.run(None) if container.constant else None
        if type(many) is not list or len(many) > RANGES_MAX:
            return None
        return _bounds(part.element, [equal_to(one) for one in many], value)
    if isinstance(part, Like):
        return _of_pattern(part, value)
    if isinstance(part, Logic) and part.operator == "or":
        inner = [bounds_of(one, value) for one in part.parts]
        first = inner[0]
        if first is None or any(one is None or one.shape != first.shape for one in inner):
            return None
        ranges = [one for each in inner if each is not None for one in each.ranges]
        exact = all(each is not None and each.exact for each in inner)
        return Bounds(first.shape, _joined(ranges), exact)
    return None


def _of_comparison(part: Compare, value: Evaluate) -> Bounds | None:
    operator, one, other = part.operator, part.left, part.right
    bound = value(other)
    if not bound.constant:
        operator, one, bound = _MIRRORED[operator], part.right, value(part.left)
        if not bound.constant:
            return None
    wanted = bound.run(None)
    if operator == "=":
        found = [equal_to(wanted)]
    elif operator == "!=":
        found = [below(wanted, including=False), above(wanted, including=False)]
    elif operator[0] == "<":
        found = [below(wanted, including=operator == "<=")]
    else:
        found = [above(wanted, including=operator == ">=")]
    return _bounds(one, found, value)


def _of_pattern(part: Like, value: Evaluate) -> Bounds | None:
    pattern = value(part.pattern)
    if not pattern.constant:
        return None
    start, whole = fixed_start(pattern.run(None))
    if not start and not whole:
        return None
    found = _bounds(part.text, [equal_to(start) if whole else prefixed_by(start)], value)
    if found is None or whole or is_prefix(pattern.run(None)):
        return found
    return found._replace(exact=False)


def _bounds(one: Expression, ranges: list[Range], value: Evaluate) -> Bounds | None:
    """A range that ends at a key that was cut short has other values as well."""
    if value(one).constant:
        return None
    exact = all(len(one.low) < KEY_MAX and len(one.high) < KEY_MAX for one in ranges)
    return Bounds(shape_of(one), _joined(ranges), exact)


def _joined(ranges: Sequence[Range]) -> tuple[Range, ...]:
    """All that lies in one of them, in order and apart."""
    made: list[Range] = []
    for one in sorted(ranges):
        if one.empty:
            continue
        if made and one.low <= made[-1].high:
            made[-1] = Range(made[-1].low, max(made[-1].high, one.high))
        else:
            made.append(one)
    return tuple(made)


def intersected(some: Sequence[Range], others: Sequence[Range]) -> tuple[Range, ...]:
    """All that lies in both."""
    made: list[Range] = []
    at = beside = 0
    while at < len(some) and beside < len(others):
        one, other = some[at], others[beside]
        made.append(Range(max(one.low, other.low), min(one.high, other.high)))
        if one.high < other.high:
            at += 1
        else:
            beside += 1
    return _joined(made)


def never_fails(part: Expression) -> bool:
    """Whether a condition gives true or false for every record, whatever is in it."""
    if isinstance(part, Logic | Not):
        return all(never_fails(one) for one in children(part))
    if isinstance(part, In):
        return isinstance(part.container, ArrayOf | Literal) and _plain(part)
    if isinstance(part, Like):
        return isinstance(part.pattern, Literal) and _plain(part)
    return isinstance(part, Compare | Between | Exists) and _plain(part)


def _plain(part: Expression) -> bool:
    return all(is_operand(one) for one in children(part))


def is_operand(part: Expression) -> bool:
    """A value that can be had without an operation."""
    return isinstance(part, _OPERANDS) and all(is_operand(one) for one in children(part))


def order_of(
    sort: Sort, wanted: int, stage: int, share: float, *, all_come: bool
) -> Order | None:
    """None where an order by the first key is no help: the others could fail for a record that is
    left out."""
    if not all(is_operand(key.expression) for key in sort.keys[1:]):
        return None
    first = sort.keys[0]
    return Order(shape_of(first.expression), first.descending, wanted, stage, share, all_come)
