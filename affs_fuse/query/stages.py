"""The stages of a pipeline at work: each takes rows one by one and passes rows on.

A stage gets rows by `push` and the end by `drain`, which gives what it has kept; both are short
steps, so that the execution can stop between any two of them. `closed` says that no further row can
change what a stage gives. Rows keep their order, so the result for one state is always the same.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import merge
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.query.memory import Allowance
from affs_fuse.query.ordering import Descending, key_of, size_of
from affs_fuse.query.rows import Entry, Getter

__all__ = [
    "CountStage", "DistinctStage", "JoinStage", "LimitStage", "ManySink", "RunStage", "SelectStage",
    "SkipStage", "SortStage", "StageMaker", "TopStage", "WhereStage", "row_size",
]  # fmt: skip

Sink = Callable[[Any], None]

RUN_ROWS = 512
"""Sorted at once: a millisecond or two."""

MATCHES_AT_ONCE = 64
"""Of one row with the inner rows of a join; the rest waits for the next turn."""

TOP_ROWS_MIN = 16
"""Kept before a sort that wants few rows drops what cannot be among them."""

ENTRY_BYTES = 640
"""Of an Entry with its inode, beside its content."""


def row_size(row: Any) -> int:
    """Bytes that a row takes while it is kept."""
    if type(row) is Entry:
        return ENTRY_BYTES + size_of(row.value) + len(row.text)
    return size_of(row)


class RunStage:
    """Base: passes everything on. rows_in, rows_out: counted for `explain analyze`."""

    word = ""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self.rows_in = 0
        self.rows_out = 0

    @property
    def closed(self) -> bool:
        return False

    def push(self, row: Any) -> None:
        """Take a row."""
        self.rows_in += 1
        self.give(row)

    def push_many(self, row: Any, times: int) -> None:
        """Take so many equal rows."""
        for _ in range(times):
            self.push(row)

    def give(self, row: Any) -> None:
        """Pass a row on."""
        self.rows_out += 1
        self._sink(row)

    def give_many(self, row: Any, times: int) -> None:
        """Pass so many equal rows on."""
        sink = self._sink
        if type(sink) is ManySink:
            self.rows_out += times
            sink.many(row, times)
            return
        for _ in range(times):
            self.give(row)

    def pass_by(self, times: int) -> None:
        """So many rows are known to go through, and go another way."""
        self.rows_in += times
        self.rows_out += times

    def drain(self) -> Iterator[Any]:
        """After the last row: what was kept, in order. The caller passes it on by `give`."""
        return iter(())


class ManySink:
    """A stage as the sink of another one, also for equal rows at once."""

    def __init__(self, stage: RunStage) -> None:
        self._push = stage.push
        self.many = stage.push_many

    def __call__(self, row: Any) -> None:
        self._push(row)


StageMaker = Callable[[Sink, Allowance], RunStage]


class WhereStage(RunStage):
    word = "where"

    def __init__(self, sink: Sink, condition: Callable[[Any], bool]) -> None:
        super().__init__(sink)
        self._condition = condition

    def push(self, row: Any) -> None:
        self.rows_in += 1
        if self._condition(row):
            self.rows_out += 1
            self._sink(row)

    def push_many(self, row: Any, times: int) -> None:
        self.rows_in += times
        if self._condition(row):
            self.give_many(row, times)


class SelectStage(RunStage):
    """base: what `*` stands for, as a function of the row; None without it."""

    word = "select"

    def __init__(
        self, sink: Sink, items: list[tuple[str, Getter]], base: Getter | None = None
    ) -> None:
        super().__init__(sink)
        self._items = items
        self._base = base

    def push(self, row: Any) -> None:
        self.rows_in += 1
        if self._base is None:
            self.give({name: run(row) for name, run in self._items})
            return
        base = self._base(row)
        made = dict(base) if type(base) is dict else {"value": base}
        for name, run in self._items:
            made[name] = run(row)
        self.give(made)

    def push_many(self, row: Any, times: int) -> None:
        assert self._base is None, "nothing stands for a whole record"
        self.rows_in += times
        self.give_many({name: run(row) for name, run in self._items}, times)


class LimitStage(RunStage):
    word = "limit"

    def __init__(self, sink: Sink, count: int) -> None:
        super().__init__(sink)
        self._left = count

    @property
    def closed(self) -> bool:
        return self._left <= 0

    def push(self, row: Any) -> None:
        self.rows_in += 1
        if self._left > 0:
            self._left -= 1
            self.give(row)


class SkipStage(RunStage):
    word = "skip"

    def __init__(self, sink: Sink, count: int) -> None:
        super().__init__(sink)
        self._left = count

    def push(self, row: Any) -> None:
        self.rows_in += 1
        if self._left > 0:
            self._left -= 1
            return
        self.give(row)


class CountStage(RunStage):
    word = "count"

    def push(self, row: Any) -> None:
        self.rows_in += 1

    def push_many(self, row: Any, times: int) -> None:
        self.rows_in += times

    def drain(self) -> Iterator[Any]:
        yield {"count": self.rows_in}


class DistinctStage(RunStage):
    """The first row of each key stays."""

    word = "distinct"

    def __init__(self, sink: Sink, key: Getter, memory: Allowance) -> None:
        super().__init__(sink)
        self._key = key
        self._memory = memory
        self._seen: set[Any] = set()

    def push(self, row: Any) -> None:
        self.rows_in += 1
        value = self._key(row)
        key = key_of(value)
        if key not in self._seen:
            self._memory.take(size_of(value) + 64, "distinct")
            self._seen.add(key)
            self.give(row)

    def push_many(self, row: Any, times: int) -> None:
        self.push(row)
        self.rows_in += times - 1


class _Keys:
    """Sort keys of rows: one tuple whose order is that of all keys."""

    def __init__(self, parts: list[tuple[Getter, bool]]) -> None:
        self._parts = parts
        self._single = parts[0][0] if len(parts) == 1 and not parts[0][1] else None

    def of(self, row: Any) -> Any:
        if self._single is not None:
            return key_of(self._single(row))
        return tuple(
            [
                Descending(key_of(run(row))) if descending else key_of(run(row))
                for run, descending in self._parts
            ]
        )


class SortStage(RunStage):
    """Stable: rows with equal keys stay in their order. Sorted in runs, which drain() merges."""

    word = "sort"

    def __init__(self, sink: Sink, parts: list[tuple[Getter, bool]], memory: Allowance) -> None:
        super().__init__(sink)
        self._keys = _Keys(parts)
        self._memory = memory
        self._run: list[tuple[Any, int, Any]] = []
        self._runs: list[list[tuple[Any, int, Any]]] = []

    def push(self, row: Any) -> None:
        self.rows_in += 1
        self._memory.take(row_size(row) + 160, "sort")
        self._run.append((self._keys.of(row), self.rows_in, row))
        if len(self._run) >= RUN_ROWS:
            self._end_run()

    def _end_run(self) -> None:
        self._run.sort(key=_place)
        self._runs.append(self._run)
        self._run = []

    def drain(self) -> Iterator[Any]:
        self._end_run()
        for _, _, row in merge(*self._runs, key=_place):
            yield row


class TopStage(RunStage):
    """A sort of which only the first rows are wanted: keeps no more than twice as many."""

    word = "sort"

    def __init__(
        self, sink: Sink, parts: list[tuple[Getter, bool]], count: int, memory: Allowance
    ) -> None:
        super().__init__(sink)
        self._keys = _Keys(parts)
        self._count = count
        self._memory = memory
        self._rows: list[tuple[Any, int, Any]] = []
        self._bound: Any = None

    def push(self, row: Any) -> None:
        self.rows_in += 1
        key = self._keys.of(row)
        if self._bound is not None and not key < self._bound:
            return
        self._memory.take(row_size(row) + 160, "sort")
        self._rows.append((key, self.rows_in, row))
        if len(self._rows) >= max(2 * self._count, TOP_ROWS_MIN):
            self._cut()

    def _cut(self) -> None:
        self._rows.sort(key=_place)
        dropped = self._rows[self._count :]
        del self._rows[self._count :]
        self._memory.give(sum(row_size(row) + 160 for _, _, row in dropped))
        if self._rows and len(self._rows) == self._count:
            self._bound = self._rows[-1][0]

    def drain(self) -> Iterator[Any]:
        self._cut()
        for _, _, row in self._rows:
            yield row


def _place(kept: tuple[Any, int, Any]) -> tuple[Any, int]:
    return kept[0], kept[1]


class JoinStage(RunStage):
    """The inner rows come first, by `add`; then each row meets those whose key equals its own, in
    their order. base: the row's own fields."""

    word = "join"

    def __init__(
        self,
        sink: Sink,
        keys: tuple[Getter, Getter],
        base: Getter,
        name: str,
        outer: bool,
        memory: Allowance,
    ) -> None:
        super().__init__(sink)
        self._left, self._right = keys
        self._base = base
        self._name = name
        self._outer = outer
        self._memory = memory
        self._inner: dict[Any, list[Value]] = {}
        self._waiting: deque[tuple[Value, Sequence[Value], int]] = deque()
        self.rows_inner = 0

    def add(self, row: Any, value: Value) -> None:
        """An inner row, and what of it the result shows. Null joins nothing."""
        key = self._right(row)
        if key is None:
            return
        self._memory.take(size_of(value) + size_of(key) + 96, "join")
        self._inner.setdefault(key_of(key), []).append(value)
        self.rows_inner += 1

    def push(self, row: Any) -> None:
        self.rows_in += 1
        key = self._left(row)
        found: Sequence[Value] = ()
        if key is not None:
            found = self._inner.get(key_of(key), ())
        if not found and self._outer:
            found = (None,)
        if found:
            self._waiting.append((self._base(row), found, 0))
            if len(self._waiting) == 1:
                self.go_on()

    def go_on(self) -> bool:
        """Give some of the matches that wait, if any do; whether there were."""
        if not self._waiting:
            return False
        base, found, at = self._waiting[0]
        for value in found[at : at + MATCHES_AT_ONCE]:
            made = dict(base) if type(base) is dict else {"value": base}
            made[self._name] = value
            self.give(made)
        if at + MATCHES_AT_ONCE < len(found):
            self._waiting[0] = (base, found, at + MATCHES_AT_ONCE)
        else:
            self._waiting.popleft()
        return True
