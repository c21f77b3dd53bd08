"""`group`: one row for each group of rows, in the order in which the groups came up.

Sums stay Int64 while they fit; an average is a Float64; the order of minimum and maximum is that of
AUV. Null is left out of all of them, and of `count(x)`; `count()` counts rows.
"""

import math
from collections.abc import Iterator
from typing import Any, Protocol

from affs_fuse.auv import INT64_MAX, INT64_MIN, Value
from affs_fuse.query.faults import Span, Trouble
from affs_fuse.query.memory import Allowance
from affs_fuse.query.ordering import compare_values, key_of, size_of, text_type
from affs_fuse.query.rows import Getter
from affs_fuse.query.stages import RunStage, Sink

__all__ = ["AggregateMaker", "GroupStage", "maker_of"]


_LARGE = 1e280
"""Sums of as many smaller Float64s as there can be records stay finite."""


class _Total(Protocol):
    def add(self, value: Value) -> None:
        """One value more."""

    def add_many(self, value: Value, times: int) -> None:
        """The same several times, where rows come in no order. Trouble where the order could
        matter."""

    def result(self) -> Value:
        """What the group's row shows."""


class _Count:
    def __init__(self, span: Span, memory: Allowance) -> None:
        self._count = 0

    def add(self, value: Value) -> None:
        self._count += 1

    def add_many(self, value: Value, times: int) -> None:
        self._count += times

    def result(self) -> Value:
        return self._count


class _Sum:
    """Float64s are summed without loss and rounded once, so their order does not matter: what is
    kept are partial sums that do not overlap (Shewchuk)."""

    def __init__(self, span: Span, memory: Allowance) -> None:
        self._span = span
        self._integers = 0
        self._partials: list[float] = []
        self._special = 0.0
        self._has_floats = False
        self.count = 0

    def add(self, value: Value) -> None:
        kind = type(value)
        if kind is int:
            self._integers += value
        elif kind is float:
            self._has_floats = True
            self._add_float(value)
        else:
            raise Trouble("query.value", self._span, f"{text_type(value)} cannot be summed up")
        self.count += 1

    def add_many(self, value: Value, times: int) -> None:
        """Powers of two lose nothing; where a part of the sum could be too large for Float64, and
        the whole not, order matters."""
        self.add(value)
        self.count += times - 1
        if type(value) is int:
            self._integers += value * (times - 1)
        if type(value) is not float or not math.isfinite(value):
            return
        if abs(value) > _LARGE:
            raise Trouble("query.overflow", self._span, "the sum may not fit Float64")
        left = times - 1
        while left:
            if left & 1:
                self._add_float(value)
            value += value
            left >>= 1

    def _add_float(self, value: float) -> None:
        if not math.isfinite(value):
            self._special += value
            return
        kept = []
        for partial in self._partials:
            low, high = sorted((value, partial), key=abs)
            value = high + low
            rest = low - (value - high)
            if rest:
                kept.append(rest)
        kept.append(value)
        self._partials = kept

    def total(self) -> int | float:
        """Int64 unless a Float64 was there."""
        if not self._has_floats:
            return self._integers
        if self._special:
            return self._special
        self._add_float(float(self._integers))
        self._integers = 0
        if not all(map(math.isfinite, self._partials)):
            raise Trouble("query.overflow", self._span, "the sum does not fit Float64")
        return math.fsum(self._partials)

    def result(self) -> Value:
        if not self.count:
            return None
        total = self.total()
        if isinstance(total, int) and not INT64_MIN <= total <= INT64_MAX:
            hint = "float(x) makes Float64s of the values"
            raise Trouble("query.overflow", self._span, f"{total} does not fit Int64", hint)
        return total


class _Average(_Sum):
    def result(self) -> Value:
        return float(self.total()) / self.count if self.count else None


class _Minimum:
    _word = "min"
    _sign = -1

    def __init__(self, span: Span, memory: Allowance) -> None:
        self._memory = memory
        self._best: Value = None
        self._size = 0

    def add(self, value: Value) -> None:
        if self._best is None or compare_values(value, self._best) * self._sign > 0:
            size = size_of(value)
            if size > self._size:
                self._memory.take(size - self._size, self._word)
                self._size = size
            self._best = value

    def add_many(self, value: Value, times: int) -> None:
        self.add(value)

    def result(self) -> Value:
        return self._best


class _Maximum(_Minimum):
    _word = "max"
    _sign = 1


class _Collect:
    def __init__(self, span: Span, memory: Allowance) -> None:
        self._memory = memory
        self._values: list[Value] = []

    def add(self, value: Value) -> None:
        self._memory.take(size_of(value) + 8, "collect")
        self._values.append(value)

    def add_many(self, value: Value, times: int) -> None:
        for _ in range(times):
            self.add(value)

    def result(self) -> Value:
        return self._values


_TOTALS: dict[str, type] = {
    "count": _Count,
    "sum": _Sum,
    "min": _Minimum,
    "max": _Maximum,
    "avg": _Average,
    "collect": _Collect,
}


class AggregateMaker:
    """One aggregate of a group stage. argument None: each row counts."""

    def __init__(self, total: type, argument: Getter | None, span: Span) -> None:
        self._total = total
        self.argument = argument
        self._span = span

    def make(self, memory: Allowance) -> _Total:
        """For a new group."""
        made: _Total = self._total(self._span, memory)
        return made


def maker_of(function: str, argument: Getter | None, span: Span) -> AggregateMaker:
    """function: as it stands in the query."""
    return AggregateMaker(_TOTALS[function], argument, span)


class GroupStage(RunStage):
    """keys: (name, value of a row); without keys there is one group, also of no rows."""

    word = "group"

    def __init__(
        self,
        sink: Sink,
        keys: list[tuple[str, Getter]],
        aggregates: list[tuple[str, AggregateMaker]],
        memory: Allowance,
    ) -> None:
        super().__init__(sink)
        self._key_names = [name for name, _ in keys]
        self._key_runs = [run for _, run in keys]
        self._aggregates = aggregates
        self._arguments = [maker.argument for _, maker in aggregates]
        self._memory = memory
        self._groups: dict[Any, tuple[list[Value], list[_Total]]] = {}
        if not keys:
            self._new((), [])

    def _new(self, key: Any, values: list[Value]) -> tuple[list[Value], list[_Total]]:
        memory = self._memory
        memory.take(sum(map(size_of, values)) + 240 + 120 * len(self._aggregates), "group")
        group = values, [maker.make(memory) for _, maker in self._aggregates]
        self._groups[key] = group
        return group

    def push(self, row: Any) -> None:
        self.rows_in += 1
        for argument, total in zip(self._arguments, self._totals_of(row), strict=True):
            if argument is None:
                total.add(None)
                continue
            value = argument(row)
            if value is not None:
                total.add(value)

    def push_many(self, row: Any, times: int) -> None:
        self.rows_in += times
        for argument, total in zip(self._arguments, self._totals_of(row), strict=True):
            value = argument(row) if argument is not None else None
            if argument is None or value is not None:
                total.add_many(value, times)

    def _totals_of(self, row: Any) -> list[_Total]:
        """Of the group that a row belongs to."""
        values = [run(row) for run in self._key_runs]
        key = tuple([key_of(value) for value in values])
        group = self._groups.get(key)
        if group is None:
            group = self._new(key, values)
        return group[1]

    def drain(self) -> Iterator[Any]:
        for values, totals in self._groups.values():
            row = dict(zip(self._key_names, values, strict=True))
            for (name, _), total in zip(self._aggregates, totals, strict=True):
                row[name] = total.result()
            yield row
