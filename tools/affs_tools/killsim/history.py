"""What happened in one round, as far as was told outside of the mount, and which states it allows.

Each writer's history is a line of states; a rollback is a step in all of them at once. A state of
the volume is a choice of one point in each line. It is allowed if
- nothing that was acknowledged as durable is missing,
- it is a cut: nothing is there that began after something missing had ended, in any two lines,
- a rollback is in all lines or in none.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from affs_tools.killsim.model import Files, Operation, is_part

__all__ = ["NEVER", "History", "Line", "Step", "allowed", "explained"]

NEVER = 1 << 63


@dataclass(slots=True)
class Step:
    """begun, done: monotonic nanoseconds; done is NEVER while it is under way. rollback: number of
    the rollback that it is, 0 for an operation."""

    files: Files
    begun: int
    done: int = NEVER
    rollback: int = 0
    operation: Operation = field(default_factory=list)


@dataclass(slots=True)
class Line:
    """One writer's states: steps[0] is where the round began."""

    steps: list[Step]

    def begin(self, step: Step) -> None:
        self.steps.append(step)

    @property
    def now(self) -> Files:
        return self.steps[-1].files

    def done_before(self, moment: int) -> int:
        """The newest step that was done before then."""
        return max(n for n, step in enumerate(self.steps) if step.done < moment)

    def begun_before(self, moment: int) -> int:
        return max(n for n, step in enumerate(self.steps) if step.begun < moment)


@dataclass(slots=True)
class History:
    """durable: moments before which everything that was done is acknowledged as durable."""

    lines: list[Line]
    durable: int = 1
    operations: int = 0

    def acknowledge(self, moment: int) -> None:
        self.durable = max(self.durable, moment)


def allowed(
    history: History, found: Sequence[Files], *, after: int | None = None, before: int = NEVER
) -> tuple[int, ...] | None:
    """The point that these directories are in, or None if no state that may be shows them.

    after: everything done before this moment has to be there (default: what is durable); before:
    nothing that began later may be there.
    """
    least = history.durable if after is None else after
    choices: list[list[Point]] = []
    for line, files in zip(history.lines, found, strict=True):
        low, high = line.done_before(least), line.begun_before(before)
        choices.append([
            point
            for n in range(low, high + 1)
            if (point := _fitting(line, n, files, high)) is not None
        ])
    for points in product(*choices):
        if _is_cut(history.lines, points) and _rollbacks_agree(history.lines, points):
            return tuple(point.whole for point in points)
    return None


class Point(NamedTuple):
    """Steps up to `whole` are there whole; `begun` is that one, or the next if it is there in
    part."""

    whole: int
    begun: int


def _fitting(line: Line, n: int, files: Files, high: int) -> Point | None:
    """The point at step n, if these files show it. The kernel may hand a write over in pieces,
    and a cut may come between two of them."""
    step = line.steps[n]
    if step.files == files:
        return Point(n, n)
    if n < high and is_part(step.files, line.steps[n + 1].operation, files):
        return Point(n, n + 1)
    return None


def explained(history: History, found: Sequence[Files], after: int, before: int) -> str:
    """Why `allowed` says no, for people."""
    texts = []
    for number, (line, files) in enumerate(zip(history.lines, found, strict=True)):
        low, high = line.done_before(after), line.begun_before(before)
        fits = [n for n, step in enumerate(line.steps) if step.files == files]
        text = f"writer {number}: {fits or 'no point'} where {low} to {high} may be"
        for n in fits[-1:]:
            text += f" (begun {line.steps[n].begun}"
            missing = line.steps[n + 1 : n + 2]
            text += f", next done {missing[0].done})" if missing else ")"
        nearest = line.steps[high].files
        if not fits:
            names = sorted(
                name for name in nearest.keys() | files.keys()
                if nearest.get(name) != files.get(name)
            )
            text += f", differs from the newest in {names[:5]}"
        texts.append(text)
    return "; ".join(texts)


def _is_cut(lines: Sequence[Line], points: Sequence[Point]) -> bool:
    newest = max(line.steps[at.begun].begun for line, at in zip(lines, points, strict=True))
    missing = [
        line.steps[at.whole + 1].done
        for line, at in zip(lines, points, strict=True)
        if at.whole + 1 < len(line.steps)
    ]
    return newest <= min(missing, default=NEVER)


def _rollbacks_agree(lines: Sequence[Line], points: Sequence[Point]) -> bool:
    seen = [
        tuple(_rollbacks(line, at.whole)) for line, at in zip(lines, points, strict=True)
    ]
    return len({*seen}) == 1


def _rollbacks(line: Line, point: int) -> Iterator[int]:
    return (step.rollback for step in line.steps[: point + 1] if step.rollback)
