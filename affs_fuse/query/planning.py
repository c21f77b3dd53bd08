"""From the tree of a query to a plan: every name bound, every stage ready to be made.

What can be known without looking at a row is decided here: which conditions the source applies
before it reads a file's content, what it reads at all, and that a sort of which only the first rows
are wanted keeps no more than these. `Plan.explain` shows it with estimates, which are rules of
thumb: nothing is counted for them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from math import prod
from typing import Any, NamedTuple

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.query.covering import Covered, coverable, covered
from affs_fuse.query.expressions import Compiler, needs_of
from affs_fuse.query.faults import fault
from affs_fuse.query.grouping import GroupStage, maker_of
from affs_fuse.query.index_choice import NO_HINTS, IndexHints
from affs_fuse.query.index_use import Conditions, never_fails, order_of
from affs_fuse.query.index_values import Shape
from affs_fuse.query.memory import Allowance
from affs_fuse.query.rows import Entry, Getter, Needs, Scope, file_row, record_row
from affs_fuse.query.selectivity import share_of
from affs_fuse.query.sources import Wanted
from affs_fuse.query.stages import (
    CountStage,
    DistinctStage,
    JoinStage,
    LimitStage,
    RunStage,
    SelectStage,
    Sink,
    SkipStage,
    SortStage,
    StageMaker,
    TopStage,
    WhereStage,
)
from affs_fuse.query.tree import (
    Count,
    Distinct,
    Expression,
    Group,
    Join,
    Limit,
    Logic,
    Query,
    Select,
    Skip,
    Sort,
    Source,
    Stage,
    Where,
    expressions_of,
)

__all__ = ["Plan", "PlannedStage", "Prospect", "plan_query"]

TOP_ROWS_MAX = 2000
"""Twice as many are sorted in one go; a sort that keeps more is done in runs."""

GROUPS_SHARE = 0.1


@dataclass(slots=True)
class PlannedStage:
    """text: as it stands in the line. make: the stage at work. inner: of a join. share: how many
    rows come out for each that comes in; most: at most so many in all."""

    text: str
    make: StageMaker
    inner: "Plan | None" = None
    share: float = 1.0
    most: int | None = None


@dataclass(slots=True)
class Plan:
    """result: a row as it leaves the query. Carrying a plan out does not change it, so it can be
    kept and carried out again, by several at once."""

    source: Source
    text: str
    wanted: Wanted
    early: list[str] = field(default_factory=list)
    stages: list[PlannedStage] = field(default_factory=list)
    result: Callable[[Any], Value] = field(default=lambda row: row)
    scope: Scope = field(default_factory=lambda: Scope("rows"))

    def explain(self, known: "Callable[[Plan], Prospect]") -> list[dict[str, Value]]:
        """One row for each step. known: what there is to say of the source of a plan, this one or
        the inner one of a join."""
        prospect = known(self)
        rows: float = prospect.rows
        if self.early:
            rows *= 0.5 ** len(self.early)
        found: list[dict[str, Value]] = [_step("source", self._source_text(prospect), rows)]
        for stage in self.stages:
            if stage.inner is not None:
                found += [{**step, "inside": "join"} for step in stage.inner.explain(known)]
            rows *= stage.share
            if stage.most is not None:
                rows = min(rows, stage.most)
            found.append(_step(stage.text.split()[0].lower(), stage.text, rows))
        return found

    def _source_text(self, prospect: "Prospect") -> str:
        parts = [self.text, prospect.how] if prospect.how else [self.text]
        parts += [f"early: {text}" for text in self.early]
        words = [str(need.name).lower() for need in Needs if need and need in self.wanted.needs]
        some = " of files that it is not sure of" if prospect.alone else ""
        parts.append(f"reads {', '.join(['inodes', *words])}{some}")
        return "; ".join(parts)


class Prospect(NamedTuple):
    """Of a source, before it is asked. rows: about how many it will give. how: by which index.
    alone: the index says all but of some records."""

    rows: int
    how: str = ""
    alone: bool = False


def _step(word: str, text: str, rows: float) -> dict[str, Value]:
    return {"step": word, "text": text, "rows": round(rows)}


def plan_query(line: str, query: Query, now_ns: int) -> Plan:
    """Errors: query.field, query.function, query.type, query.pattern, query.value ..."""
    return _Planner(line, now_ns).plan(query)


class _Planner:
    def __init__(self, line: str, now_ns: int) -> None:
        self._line = line
        self._now_ns = now_ns

    def plan(self, query: Query) -> Plan:
        source = query.source
        scope = Scope("records" if source.records else "files")
        stages = list(query.stages)
        early: list[Expression] = []
        late: list[Expression] = []
        while stages and isinstance(stages[0], Where):
            for part in _conjuncts(stages[0].condition):
                cheap = needs_of(part, scope) is Needs.NOTHING
                (early if cheap else late).append(part)
            del stages[0]
        needs = Needs.CONTENT if source.records else Needs.NOTHING
        conditions = [self._compiler(scope).condition(part) for part in early]
        text = self._line[source.span.start : source.span.end]
        plan = Plan(source, f"{source.verb} {text}", Wanted(source.records, needs, None))
        plan.early = [self._text(part) for part in early]
        for part in late:
            needs |= needs_of(part, scope)
            plan.stages.append(self._where(part, scope))
        for index, stage in enumerate(stages):
            if scope.kind != "rows":
                for expression in expressions_of(stage):
                    needs |= needs_of(expression, scope)
            planned, scope = self._stage(stage, scope, stages[index + 1 :])
            plan.stages.append(planned)
        hints = self._hints(source, early, late, stages)
        plan.wanted = Wanted(source.records, needs, _all_of(conditions), hints)
        plan.scope = scope
        plan.result = {"records": record_row, "files": file_row}.get(scope.kind, _same)
        return plan

    def _hints(
        self, source: Source, early: list[Expression], late: list[Expression], rest: list[Stage]
    ) -> IndexHints:
        """What an index could be asked for. rest: the stages behind the conditions."""
        if not source.records or source.verb == "get" or not all(map(never_fails, early)):
            return NO_HINTS
        conditions = Conditions(late, self._compiler(Scope("records")).value)
        order = None
        if rest and isinstance(rest[0], Sort) and all(map(never_fails, late)):
            count = _rows_taken(rest[1:])
            if count is not None and count <= TOP_ROWS_MAX:
                share = prod(share_of(part) for part in early + late)
                all_come = not early and not late
                order = order_of(rest[0], count, len(late), share, all_come=all_come)
        cover = None if early else self._cover(late, rest, conditions)
        return IndexHints(tuple(conditions.usable()), order, cover)

    def _cover(
        self, late: list[Expression], rest: list[Stage], conditions: Conditions
    ) -> Callable[[Shape], Covered | None] | None:
        """What of the plan can be worked off by an index of an expression alone."""
        what = coverable(late, rest)
        if what is None:
            return None

        def make(stage: Stage, scope: Scope, following: list[Stage]) -> tuple[StageMaker, Scope]:
            planned, behind = self._stage(stage, scope, following)
            return planned.make, behind

        return cache(lambda shape: covered(what, shape, conditions, make))

    def _compiler(self, scope: Scope) -> Compiler:
        return Compiler(self._line, scope, self._now_ns)

    def _text(self, part: Expression | Stage) -> str:
        return self._line[part.span.start : part.span.end]

    def _stage(
        self, stage: Stage, scope: Scope, following: list[Stage]
    ) -> tuple[PlannedStage, Scope]:
        """The stage, and what rows are behind it."""
        if isinstance(stage, Where):
            return self._where(stage.condition, scope), scope
        if isinstance(stage, Select):
            return self._select(stage, scope)
        if isinstance(stage, Sort):
            return self._sort(stage, scope, following), scope
        if isinstance(stage, Limit):
            count = stage.count
            limit = PlannedStage(
                self._text(stage), lambda sink, memory: LimitStage(sink, count), most=count
            )
            return limit, scope
        if isinstance(stage, Skip):
            left = stage.count
            return PlannedStage(
                self._text(stage), lambda sink, memory: SkipStage(sink, left)
            ), scope
        if isinstance(stage, Distinct):
            return self._distinct(stage, scope), scope
        if isinstance(stage, Count):
            counted = PlannedStage("count", lambda sink, memory: CountStage(sink), most=1)
            return counted, Scope("rows", frozenset({"count"}))
        if isinstance(stage, Group):
            return self._group(stage, scope)
        return self._join(stage, scope)

    def _where(self, condition: Expression, scope: Scope) -> PlannedStage:
        holds = self._compiler(scope).condition(condition)
        return PlannedStage(
            f"where {self._text(condition)}",
            lambda sink, memory: WhereStage(sink, holds),
            share=share_of(condition),
        )

    def _select(self, stage: Select, scope: Scope) -> tuple[PlannedStage, Scope]:
        compiler = self._compiler(scope)
        items: dict[str, Getter] = {}
        for item in stage.items:
            if item.name in items:
                message = f"two fields are called {item.name}"
                raise self._fault(item.expression, message, "write as NAME for one of them")
            items[item.name] = compiler.value(item.expression).run
        base = scope.whole() if stage.everything else None
        columns: frozenset[str] | None = frozenset(items)
        if stage.everything:
            known = scope.columns if scope.kind == "rows" else None
            columns = known | frozenset(items) if known is not None else None
        chosen = list(items.items())
        planned = PlannedStage(
            self._text(stage), lambda sink, memory: SelectStage(sink, chosen, base)
        )
        return planned, Scope("rows", columns)

    def _sort(self, stage: Sort, scope: Scope, following: list[Stage]) -> PlannedStage:
        compiler = self._compiler(scope)
        parts = [(compiler.value(key.expression).run, key.descending) for key in stage.keys]
        count = _rows_taken(following)
        if count is None or count > TOP_ROWS_MAX:
            return PlannedStage(
                self._text(stage), lambda sink, memory: SortStage(sink, parts, memory)
            )
        wanted = count
        return PlannedStage(
            f"{self._text(stage)} (the first {wanted})",
            lambda sink, memory: TopStage(sink, parts, wanted, memory),
            most=wanted,
        )

    def _distinct(self, stage: Distinct, scope: Scope) -> PlannedStage:
        compiler = self._compiler(scope)
        if stage.keys:
            runs = [compiler.value(key).run for key in stage.keys]
            key: Getter = lambda row: [run(row) for run in runs]  # noqa: E731
        else:
            key = scope.whole()
        return PlannedStage(
            self._text(stage), lambda sink, memory: DistinctStage(sink, key, memory), share=0.5
        )

    def _group(self, stage: Group, scope: Scope) -> tuple[PlannedStage, Scope]:
        compiler = self._compiler(scope)
        keys = [(item.name, compiler.value(item.expression).run) for item in stage.keys]
        aggregates = []
        for one in stage.aggregates:
            argument = None if one.argument is None else compiler.value(one.argument).run
            aggregates.append((one.name, maker_of(one.function, argument, one.span)))
        names = frozenset([name for name, _ in keys] + [name for name, _ in aggregates])
        planned = PlannedStage(
            self._text(stage),
            lambda sink, memory: GroupStage(sink, keys, aggregates, memory),
            share=GROUPS_SHARE,
            most=None if keys else 1,
        )
        return planned, Scope("rows", names)

    def _join(self, stage: Join, scope: Scope) -> tuple[PlannedStage, Scope]:
        inner = self.plan(stage.query)
        left = self._compiler(scope).value(stage.left).run
        if inner.scope.kind != "rows":
            needs = inner.wanted.needs | needs_of(stage.right, inner.scope)
            inner.wanted = replace(inner.wanted, needs=needs)
        right = self._compiler(inner.scope).value(stage.right).run
        name, outer = stage.name, stage.outer
        base = scope.whole()

        def make(sink: Sink, memory: Allowance) -> RunStage:
            return JoinStage(sink, (left, right), base, name, outer, memory)

        known = scope.columns if scope.kind == "rows" else None
        columns = known | {name} if known is not None else None
        return PlannedStage(self._text(stage), make, inner), Scope("rows", columns)

    def _fault(self, part: Expression, message: str, hint: str) -> AffsError:
        return fault(self._line, part.span, message, hint=hint)


def _same(row: Any) -> Value:
    return row


def _conjuncts(condition: Expression) -> list[Expression]:
    if isinstance(condition, Logic) and condition.operator == "and":
        return [part for one in condition.parts for part in _conjuncts(one)]
    return [condition]


def _all_of(conditions: list[Callable[[Any], bool]]) -> Callable[[Entry], bool] | None:
    if not conditions:
        return None
    if len(conditions) == 1:
        return conditions[0]
    return lambda entry: all(condition(entry) for condition in conditions)


def _rows_taken(following: list[Stage]) -> int | None:
    """How many of the rows of a sort can matter to what follows it; None: all of them."""
    skipped = 0
    for stage in following:
        if isinstance(stage, Skip):
            skipped += stage.count
        elif isinstance(stage, Limit):
            return skipped + stage.count
        elif not isinstance(stage, Select):
            return None
    return None
