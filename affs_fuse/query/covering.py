"""What of a plan needs nothing of a record but the value of one expression.

Such a plan can be worked off over what an index of that expression has: each value, with how many
records have it (alone_source.py). `covered` makes the plan's first stages anew for rows that are
nothing but that value. Invariants:
- What the stages give is what they would give over the records, and in the same order.
- Up to the stage that ends `stages` nothing looks at how often or in which order equal rows come;
  what may fail fails before anything has come out, so that the records can be read instead.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

from affs_fuse.posix.index_keys import Range
from affs_fuse.query.index_use import Conditions, is_operand, never_fails
from affs_fuse.query.index_values import Shape, shape_of
from affs_fuse.query.rows import Scope
from affs_fuse.query.stages import StageMaker
from affs_fuse.query.tree import (
    Aggregate,
    Attribute,
    Count,
    Distinct,
    Exists,
    Expression,
    Group,
    Item,
    Limit,
    Name,
    Select,
    Skip,
    Sort,
    Stage,
    Where,
    Whole,
    children,
    expressions_of,
    with_children,
)

__all__ = ["VALUE", "VALUE_SCOPE", "Coverable", "Covered", "coverable", "covered"]

VALUE = "value"
"""The only column of a row that stands for a record."""

VALUE_SCOPE = Scope("rows", frozenset({VALUE}))
_LOSSLESS = frozenset(("count", "min", "max"))


class Coverable(NamedTuple):
    """The part of a query that could be covered, whatever by. late: conditions in front. stages:
    those behind that go along; following: the rest. streams: rows pass before all have come in;
    stops_early: the first ones may be enough."""

    late: tuple[Expression, ...]
    stages: tuple[Stage, ...]
    following: tuple[Stage, ...]
    streams: bool
    stops_early: bool


class Covered(NamedTuple):
    """makers: of the stages, in place of as many first ones of the plan. ranges: where the values
    lie that matter, None: anywhere. uses_value: whether anything is asked of the expression.
    ordered: whether it matters which value comes up first. counted: what lies in the ranges is only
    counted. ends: only the least and the greatest of it matter. streams: rows pass before all have
    come in; stops_early: the first ones may be enough."""

    makers: tuple[StageMaker, ...]
    ranges: tuple[Range, ...] | None
    uses_value: bool
    ordered: bool
    counted: bool
    ends: bool
    streams: bool
    stops_early: bool


def coverable(late: Sequence[Expression], rest: Sequence[Stage]) -> Coverable | None:
    """rest: the stages behind the conditions. None: rows as such matter, or how many of them are
    equal, or their order."""
    end = _end_of(rest)
    if end is None:
        return None
    collapses = [isinstance(stage, Distinct | Count | Group) for stage in rest]
    collapse = collapses.index(True)
    stops_early = False
    streams = isinstance(rest[collapse], Distinct)
    if streams:
        for stage in rest[collapse + 1 :]:
            if isinstance(stage, Sort | Group | Count):
                break
            stops_early = stops_early or isinstance(stage, Limit)
        if not (all(map(never_fails, late)) and _all_plain(rest)):
            return None
    stages, following = tuple(rest[: end + 1]), tuple(rest[end + 1 :])
    return Coverable(tuple(late), stages, following, streams, stops_early)


def _end_of(rest: Sequence[Stage]) -> int | None:
    """The stage behind which rows are known by their columns alone, if equal rows were brought
    together until then."""
    collapsed = False
    selected = False
    for index, stage in enumerate(rest):
        if isinstance(stage, Count | Group):
            if isinstance(stage, Group) and not collapsed and _collects(stage):
                return None
            return index
        if isinstance(stage, Select):
            if stage.everything:
                return None
            if collapsed:
                return index
            selected = True
        elif isinstance(stage, Distinct):
            if selected:
                return index
            if not stage.keys:
                return None
            collapsed = True
        elif not isinstance(stage, Where | Sort | Limit | Skip if collapsed else Where):
            return None
    return None


def _collects(stage: Group) -> bool:
    return any(one.function == "collect" for one in stage.aggregates)


def _all_plain(rest: Sequence[Stage]) -> bool:
    """Whether nothing can fail until all rows have come in."""
    for stage in rest:
        if isinstance(stage, Where):
            if not never_fails(stage.condition):
                return False
        elif not all(map(is_operand, expressions_of(stage))):
            return False
        if isinstance(stage, Group):
            return all(one.function in _LOSSLESS for one in stage.aggregates)
        if isinstance(stage, Sort | Count):
            return True
    return True


# ---- by one expression ----


MakeStage = Callable[[Stage, Scope, list[Stage]], tuple[StageMaker, Scope]]
"""A stage at work, and what rows are behind it; the last argument are the stages behind."""


def covered(
    what: Coverable, shape: Shape, conditions: Conditions, make: MakeStage
) -> Covered | None:
    """By the expression of this shape. None: something looks at more than that."""
    rewriting = _Rewriting(shape)
    stages: list[Stage] = []
    for part in what.late:
        condition = rewriting.of(part)
        if condition is None:
            return None
        stages.append(Where(condition, part.span))
    in_records = True
    for stage in what.stages:
        made = rewriting.stage(stage) if in_records else stage
        if made is None:
            return None
        stages.append(made)
        in_records = in_records and not isinstance(stage, Select)
    makers = []
    scope = VALUE_SCOPE
    for index, stage in enumerate(stages):
        maker, scope = make(stage, scope, [*stages[index + 1 :], *what.following])
        makers.append(maker)
    ranges, exact = conditions.of(shape)
    first = what.stages[0]
    return Covered(
        tuple(makers), ranges, rewriting.used,
        ordered=_order_matters([*what.stages, *what.following], shape),
        counted=exact and isinstance(first, Count),
        ends=exact and isinstance(first, Group) and _only_ends(first, shape),
        streams=what.streams,
        stops_early=what.stops_early,
    )  # fmt: skip


class _Rewriting:
    """Puts the column VALUE in place of an expression of this shape. used: whether it was there."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self.used = False

    def of(self, one: Expression) -> Expression | None:
        """None if it looks at anything else of a record."""
        if shape_of(one) == self._shape:
            self.used = True
            return Name(VALUE, one.span)
        if isinstance(one, Name | Attribute | Whole | Exists):
            return None
        parts = []
        for part in children(one):
            made = self.of(part)
            if made is None:
                return None
            parts.append(made)
        return with_children(one, parts)

    def stage(self, stage: Stage) -> Stage | None:
        made: list[Expression] = []
        for part in expressions_of(stage):
            found = self.of(part)
            if found is None:
                return None
            made.append(found)
        if isinstance(stage, Where):
            return replace(stage, condition=made[0])
        if isinstance(stage, Select):
            return replace(stage, items=_items(stage.items, made))
        if isinstance(stage, Sort):
            keys = zip(stage.keys, made, strict=True)
            return replace(stage, keys=tuple(replace(key, expression=e) for key, e in keys))
        if isinstance(stage, Distinct):
            return replace(stage, keys=tuple(made))
        if isinstance(stage, Group):
            aggregates = []
            for one in stage.aggregates:
                argument = made.pop(0) if one.argument is not None else None
                aggregates.append(replace(one, argument=argument))
            return replace(stage, aggregates=tuple(aggregates), keys=_items(stage.keys, made))
        return stage


def _items(items: Sequence[Item], made: Sequence[Expression]) -> tuple[Item, ...]:
    return tuple(replace(item, expression=one) for item, one in zip(items, made, strict=True))


def _only_ends(stage: Group, shape: Shape) -> bool:
    return not stage.keys and all(
        one.function in ("min", "max") and _is_of(one, {shape}) for one in stage.aggregates
    )


def _is_of(one: Aggregate, shapes: set[Shape]) -> bool:
    return one.argument is not None and shape_of(one.argument) in shapes


def _order_matters(stages: Sequence[Stage], shape: Shape) -> bool:
    """Whether a result depends on which of two values comes up first: not where rows that differ
    in the value are counted together, or sorted by it in the end."""
    known = {shape}
    unique = False
    for stage in stages:
        if isinstance(stage, Count):
            return False
        if isinstance(stage, Sort):
            return not unique or not any(shape_of(key.expression) in known for key in stage.keys)
        if isinstance(stage, Select):
            known = _renamed(stage.items, known)
        elif isinstance(stage, Distinct):
            unique = True
            if stage.keys and not any(shape_of(key) in known for key in stage.keys):
                return True
        elif isinstance(stage, Group):
            unique = True
            if _collects(stage):
                return True
            extremes = [one for one in stage.aggregates if one.function in ("min", "max")]
            if not all(_is_of(one, known) for one in extremes):
                return True
            if not stage.keys:
                return False
            known = _renamed(stage.keys, known)
        elif not isinstance(stage, Where):
            return True
        if not known:
            return True
    return True


def _renamed(items: Sequence[Item], known: set[Shape]) -> set[Shape]:
    """The columns that are the value itself."""
    return {
        shape_of(Name(item.name, item.span)) for item in items if shape_of(item.expression) in known
    }
