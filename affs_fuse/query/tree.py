"""What a query says, as a tree: expressions, stages, sources. Each part knows its place.

Nothing here has been looked up yet: names may name nothing, functions may be missing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from affs_fuse.auv import Value
from affs_fuse.query.faults import Span

__all__ = [
    "Aggregate", "ArrayOf", "Attribute", "Between", "Binary", "Call", "Compare", "Count",
    "Distinct", "Exists", "Expression", "Group", "In", "Item", "Join", "Like", "Limit", "Literal",
    "Logic", "Matches", "Name", "Not", "ObjectOf", "Query", "Select", "Skip", "Sort", "SortKey",
    "Source", "Stage", "Step", "Unary", "Where", "Whole", "children", "expressions_of", "height",
    "walk", "with_children",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Literal:
    value: Value
    span: Span


@dataclass(frozen=True, slots=True)
class Name:
    """A field of the row."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Attribute:
    """`@name`: of the file that the row comes from."""

    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Whole:
    """`$`: the row itself."""

    span: Span


@dataclass(frozen=True, slots=True)
class Step:
    """`base.key` or `base[index]`."""

    base: "Expression"
    key: str | int
    span: Span


@dataclass(frozen=True, slots=True)
class Unary:
    """`-operand`."""

    operand: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Binary:
    """Arithmetic. operator: + - * / div %."""

    operator: str
    left: "Expression"
    right: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Compare:
    """operator: = != < <= > >=."""

    operator: str
    left: "Expression"
    right: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Logic:
    """operator: and, or; at least two parts."""

    operator: str
    parts: tuple["Expression", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Not:
    operand: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Like:
    text: "Expression"
    pattern: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Matches:
    """pattern: a String literal."""

    text: "Expression"
    pattern: Literal
    span: Span


@dataclass(frozen=True, slots=True)
class In:
    element: "Expression"
    container: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Between:
    """Both ends belong to it."""

    operand: "Expression"
    low: "Expression"
    high: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Exists:
    """place: a field, an attribute or a step from one."""

    place: "Expression"
    span: Span


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    arguments: tuple["Expression", ...]
    name_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class ArrayOf:
    elements: tuple["Expression", ...]
    span: Span


@dataclass(frozen=True, slots=True)
class ObjectOf:
    entries: tuple[tuple[str, "Expression"], ...]
    span: Span


Expression: TypeAlias = (
    Literal | Name | Attribute | Whole | Step | Unary | Binary | Compare | Logic | Not | Like
    | Matches | In | Between | Exists | Call | ArrayOf | ObjectOf
)  # fmt: skip


def children(expression: Expression) -> tuple[Expression, ...]:
    """The parts of an expression."""
    found: tuple[Expression, ...] = ()
    if isinstance(expression, Binary | Compare):
        found = (expression.left, expression.right)
    elif isinstance(expression, Logic):
        found = expression.parts
    elif isinstance(expression, Step):
        found = (expression.base,)
    elif isinstance(expression, Not | Unary):
        found = (expression.operand,)
    elif isinstance(expression, Call):
        found = expression.arguments
    elif isinstance(expression, Like | Matches):
        found = (expression.text, expression.pattern)
    elif isinstance(expression, In):
        found = (expression.element, expression.container)
    elif isinstance(expression, Between):
        found = (expression.operand, expression.low, expression.high)
    elif isinstance(expression, Exists):
        found = (expression.place,)
    elif isinstance(expression, ArrayOf):
        found = expression.elements
    elif isinstance(expression, ObjectOf):
        found = tuple(value for _, value in expression.entries)
    return found


def with_children(expression: Expression, parts: Sequence[Any]) -> Expression:
    """The same expression of other parts, as many as `children` gives."""
    made = expression
    if isinstance(expression, Binary | Compare):
        made = replace(expression, left=parts[0], right=parts[1])
    elif isinstance(expression, Logic):
        made = replace(expression, parts=tuple(parts))
    elif isinstance(expression, Step):
        made = replace(expression, base=parts[0])
    elif isinstance(expression, Not | Unary):
        made = replace(expression, operand=parts[0])
    elif isinstance(expression, Call):
        made = replace(expression, arguments=tuple(parts))
    elif isinstance(expression, Like | Matches):
        made = replace(expression, text=parts[0], pattern=parts[1])
    elif isinstance(expression, In):
        made = replace(expression, element=parts[0], container=parts[1])
    elif isinstance(expression, Between):
        made = replace(expression, operand=parts[0], low=parts[1], high=parts[2])
    elif isinstance(expression, Exists):
        made = replace(expression, place=parts[0])
    elif isinstance(expression, ArrayOf):
        made = replace(expression, elements=tuple(parts))
    elif isinstance(expression, ObjectOf):
        keys = [key for key, _ in expression.entries]
        made = replace(expression, entries=tuple(zip(keys, parts, strict=True)))
    return made


def walk(expression: Expression) -> Iterator[Expression]:
    """The expression and all its parts; not recursive."""
    waiting = [expression]
    while waiting:
        one = waiting.pop()
        yield one
        waiting.extend(children(one))


def height(expression: Expression) -> int:
    """How deep its parts nest; 1 for one without parts."""
    level, deepest = [expression], 0
    while level:
        deepest += 1
        level = [part for one in level for part in children(one)]
    return deepest


@dataclass(frozen=True, slots=True)
class Item:
    """An expression and the name under which the result has it."""

    expression: Expression
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class Aggregate:
    """function: count, sum, min, max, avg, collect. argument None: of `count()` alone."""

    function: str
    argument: Expression | None
    name: str
    span: Span


@dataclass(frozen=True, slots=True)
class SortKey:
    expression: Expression
    descending: bool


@dataclass(frozen=True, slots=True)
class Where:
    condition: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Select:
    """everything: `*`, all fields of the row, stood first."""

    items: tuple[Item, ...]
    everything: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Sort:
    keys: tuple[SortKey, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Limit:
    count: int
    span: Span


@dataclass(frozen=True, slots=True)
class Skip:
    count: int
    span: Span


@dataclass(frozen=True, slots=True)
class Distinct:
    """keys (): the whole row."""

    keys: tuple[Expression, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Count:
    span: Span


@dataclass(frozen=True, slots=True)
class Group:
    aggregates: tuple[Aggregate, ...]
    keys: tuple[Item, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Join:
    """For each row, each row of `query` whose `right` equals the row's `left`, under `name`.
    outer: rows without a partner stay, with Null."""

    query: "Query"
    left: Expression
    right: Expression
    name: str
    outer: bool
    span: Span


Stage: TypeAlias = Where | Select | Sort | Limit | Skip | Distinct | Count | Group | Join


@dataclass(frozen=True, slots=True)
class Source:
    """verb: find (all below the path), list (the entries of the directory), get (the path alone).
    records: rows are the contents of files; otherwise rows are the files. state: as of which
    (None: the working state). since: only what differs from that state."""

    verb: str
    records: bool
    path: str
    state: str | None
    since: str | None
    path_span: Span
    span: Span


def expressions_of(stage: Stage) -> list[Expression]:
    """What a stage evaluates on the rows that it gets."""
    if isinstance(stage, Where):
        return [stage.condition]
    if isinstance(stage, Select):
        return [item.expression for item in stage.items]
    if isinstance(stage, Sort):
        return [key.expression for key in stage.keys]
    if isinstance(stage, Distinct):
        return list(stage.keys)
    if isinstance(stage, Group):
        arguments = [one.argument for one in stage.aggregates if one.argument is not None]
        return arguments + [item.expression for item in stage.keys]
    if isinstance(stage, Join):
        return [stage.left]
    return []


@dataclass(frozen=True, slots=True)
class Query:
    source: Source
    stages: tuple[Stage, ...]
    span: Span
