"""A plan at work, in slices.

`step` goes on until its time is over and gives the rows that have come out meanwhile. A source that
misses something raises out of it with nothing lost: load it, and call `step` again. The inner sides
of joins come first, each as a phase of its own; then the query itself. Invariants:
- A step stops between any two rows, and a row costs little: nothing here waits or takes long.
- Memory beyond rows on their way is counted (`memory`), and given back by `close`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.query.alone_source import AloneSource, Many, NotAlone
from affs_fuse.query.faults import Trouble
from affs_fuse.query.memory import Allowance
from affs_fuse.query.paths import path_text
from affs_fuse.query.planning import Plan
from affs_fuse.query.rows import Entry
from affs_fuse.query.sources import Report, RowSource, Wanted
from affs_fuse.query.stages import JoinStage, ManySink, RunStage, Sink, StageMaker
from affs_fuse.query.tree import Source

__all__ = ["Execution", "OpenSource"]

OpenSource = Callable[
    [Source, Wanted, Report, Allowance, Callable[[], bool]], RowSource | AloneSource
]
"""Opens the source of a query or of the inner side of a join; the last argument says whether its
sort has the rows that it wants. May raise what a source raises."""

OUT_ROWS_MAX = 256
"""Rows that one step gives at most: what is sent before the next one."""

_END: Any = object()


@dataclass(slots=True)
class _Phase:
    """joins: the last one first. source, alone: one of them at most; None: not opened yet. before:
    report and memory when it was opened. reads: nothing comes from an index alone. row: the one
    that was fed last. at, rest: which stage is giving what it has kept, and that."""

    plan: Plan
    stages: list[RunStage]
    first: Sink
    end: Sink
    inner: "dict[int, _Phase]"
    joins: list[JoinStage]
    source: RowSource | None = None
    alone: AloneSource | None = None
    before: tuple[Report, int] | None = None
    reads: bool = False
    row: Entry | None = None
    fed: int = 0
    at: int = -1
    rest: Iterator[Any] | None = None


class Execution:
    """line: for messages."""

    def __init__(self, line: str, plan: Plan, open_source: OpenSource, memory: Allowance) -> None:
        self._line = line
        self._open = open_source
        self._memory = memory
        self._out: list[Value] = []
        self._phases: list[_Phase] = []
        self.report = Report()
        self.rows = 0
        self.steps = 0
        result = plan.result
        out = self._out

        def leave(row: Any) -> None:
            out.append(result(row))

        self._main = self._add_phase(plan, leave)

    def _add_phase(self, plan: Plan, sink: Sink) -> _Phase:
        """The phases of the joins inside come before the plan's own."""
        end = sink
        stages: list[RunStage] = []
        inner: dict[int, _Phase] = {}
        for planned in reversed(plan.stages):
            stage = planned.make(sink, self._memory)
            if planned.inner is not None:
                assert isinstance(stage, JoinStage)
                inner[id(stage)] = self._add_phase(planned.inner, _inner_sink(planned.inner, stage))
            stages.append(stage)
            sink = stage.push
        stages.reverse()
        joins = [stage for stage in reversed(stages) if isinstance(stage, JoinStage)]
        phase = _Phase(plan, stages, sink, end, inner, joins)
        self._phases.append(phase)
        return phase

    def step(self, monotonic: Callable[[], float], until: float) -> list[Value] | None:
        """Rows that came out until then, or None at the end. Errors: NodeMissing, DataMissing (call
        again); query.*, record.*, and those of the source."""
        out = self._out
        self.steps += 1
        while self._phases:
            phase = self._phases[0]
            if phase.rest is None:
                ended = self._feed(phase, monotonic, until)
            else:
                ended = self._drain(phase, monotonic, until)
            if not ended:
                break
            del self._phases[0]
            if out:
                break
        if out:
            given = out.copy()
            out.clear()
            self.rows += len(given)
            return given
        return [] if self._phases else None

    def _feed(self, phase: _Phase, monotonic: Callable[[], float], until: float) -> bool:
        """Rows from the source; whether the phase has ended (never: draining comes first)."""
        if phase.source is None and phase.alone is None:
            self._open_source(phase)
        if phase.alone is not None:
            return self._feed_alone(phase, phase.alone, monotonic, until)
        source, first, out = phase.source, phase.first, self._out
        assert source is not None
        closing = [stage for stage in phase.stages if type(stage).closed is not RunStage.closed]
        try:
            while True:
                if closing and _closed(closing):
                    break
                if not phase.joins or not _join_on(phase.joins):
                    entry = next(source, _END)
                    if entry is _END:
                        break
                    if entry is not None:
                        phase.fed += 1
                        phase.row = entry
                        first(entry)
                if monotonic() >= until or len(out) >= OUT_ROWS_MAX:
                    return False
        except Trouble as trouble:
            raise self._error(trouble, phase.row) from None
        phase.rest = iter(())
        return self._drain(phase, monotonic, until)

    def _open_source(self, phase: _Phase) -> None:
        plan = phase.plan
        wanted = plan.wanted
        if phase.reads:
            wanted = replace(wanted, hints=wanted.hints._replace(cover=None))
        before = self.report.copy(), self._memory.used
        source = self._open(plan.source, wanted, self.report, self._memory, _enough_for(phase))
        if isinstance(source, AloneSource):
            phase.alone, phase.before = source, before
            self._make_first(phase, list(source.covered.makers), many=True)
        else:
            phase.source = source

    def _make_first(self, phase: _Phase, makers: list[StageMaker], *, many: bool) -> None:
        """Make the first stages of a plan anew. many: for equal rows at once."""
        stages = phase.stages
        for index in reversed(range(len(makers))):
            sink = phase.end if index + 1 == len(stages) else stages[index + 1].push
            if many and index + 1 < len(makers):
                sink = ManySink(stages[index + 1])
            stages[index] = makers[index](sink, self._memory)
        phase.first = stages[0].push

    def _feed_alone(
        self, phase: _Phase, source: AloneSource, monotonic: Callable[[], float], until: float
    ) -> bool:
        """As `_feed`, of rows that stand for many records."""
        stages, out = phase.stages, self._out
        last = stages[len(source.covered.makers) - 1]
        while not _closed(stages):
            if not phase.joins or not _join_on(phase.joins):
                try:
                    many = next(source, _END)
                    if many is _END:
                        break
                    if many is not None:
                        phase.fed += many.times
                        _push_many(stages, last, many)
                except (NotAlone, Trouble) as reason:
                    self._read_instead(phase, str(reason))
                    return False
            if monotonic() >= until or len(out) >= OUT_ROWS_MAX:
                return False
        phase.rest = iter(())
        return self._drain(phase, monotonic, until)

    def _read_instead(self, phase: _Phase, why: str) -> None:
        """Begin again, with records: nothing has passed the stages that were made anew."""
        assert phase.alone is not None
        assert phase.before is not None
        report, used = phase.before
        self.report.set(report)
        self.report.note = f"not from the index alone: {why}"
        self._memory.give(self._memory.used - used)
        makers = [stage.make for stage in phase.plan.stages]
        self._make_first(phase, makers[: len(phase.alone.covered.makers)], many=False)
        phase.alone, phase.reads, phase.fed = None, True, 0

    def _drain(self, phase: _Phase, monotonic: Callable[[], float], until: float) -> bool:
        """What the stages have kept, one after the other; whether that was all."""
        stages, out = phase.stages, self._out
        rest = phase.rest
        assert rest is not None
        while True:
            try:
                useless = any(stage.closed for stage in stages[phase.at + 1 :])
                if useless or not phase.joins or not _join_on(phase.joins):
                    row = next(rest, _END)
                    if row is _END or useless:
                        phase.at += 1
                        if phase.at == len(stages):
                            return True
                        rest = phase.rest = stages[phase.at].drain()
                        continue
                    stages[phase.at].give(row)
            except Trouble as trouble:
                raise self._error(trouble, None) from None
            if monotonic() >= until or len(out) >= OUT_ROWS_MAX:
                return False

    @property
    def ended(self) -> bool:
        """Whether everything has come out: another step would give None."""
        return not self._phases and not self._out

    @property
    def memory_peak(self) -> int:
        """The most bytes that were kept at once."""
        return self._memory.peak

    def counts(self) -> list[tuple[int, int]]:
        """Rows that went into and came out of each step, in the order of `Plan.explain`."""
        return self._counts_of(self._main)

    def _counts_of(self, phase: _Phase) -> list[tuple[int, int]]:
        found = [(phase.fed, phase.fed)]
        for stage in phase.stages:
            inner = phase.inner.get(id(stage))
            if inner is not None:
                found += self._counts_of(inner)
            found.append((stage.rows_in, stage.rows_out))
        return found

    def _error(self, trouble: Trouble, entry: Entry | None) -> AffsError:
        span = trouble.span
        details: dict[str, Value] = {
            "line": self._line, "column": span.start + 1, "length": max(1, span.end - span.start),
        }  # fmt: skip
        where = ""
        if entry is not None:
            details["path"] = path_text(entry.path)
            where = f"{path_text(entry.path)}: "
        message = where + trouble.message
        return AffsError(
            trouble.code, Category.INVALID, message, hint=trouble.hint, details=details
        )

    def close(self) -> None:
        """Give back the memory. Idempotent."""
        self._memory.close()


def _closed(stages: list[RunStage]) -> bool:
    for stage in stages:  # noqa: SIM110 - `any` costs three times as much, for each row
        if stage.closed:
            return True
    return False


def _push_many(stages: list[RunStage], last: RunStage, many: Many) -> None:
    if not many.counted:
        stages[0].push_many(many.row, many.times)
        return
    for stage in stages:
        if stage is last:
            break
        stage.pass_by(many.times)
    last.push_many(many.row, many.times)


def _enough_for(phase: _Phase) -> Callable[[], bool]:
    """Whether the sort of the plan has got as many rows as it wants."""
    order = phase.plan.wanted.hints.order
    if order is None:
        return lambda: False
    stage, wanted = phase.stages[order.stage], order.wanted
    return lambda: stage.rows_in >= wanted


def _join_on(joins: list[JoinStage]) -> bool:
    """Whether some join still had matches to give, of which it has given some now."""
    return any(join.go_on() for join in joins)


def _inner_sink(plan: Plan, stage: JoinStage) -> Sink:
    shown = plan.scope.whole()
    return lambda row: stage.add(row, shown(row))
