"""What an index holds of a record: the value of its expression, as a key.

An index's expression looks at the record alone: not at the clock, nor at attributes of the file,
which change without its content. Two expressions are the same if their shapes are: how they are
written (spaces, `age` or `$["age"]`) does not matter.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from affs_fuse.auv import TextError, parse_quick
from affs_fuse.core.codec import Inode
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.index_keys import UNSURE, key_of_value
from affs_fuse.query.expression_parser import ExpressionParser
from affs_fuse.query.expressions import Compiler
from affs_fuse.query.faults import Trouble, fault
from affs_fuse.query.lexer import Lexer
from affs_fuse.query.ordering import key_of
from affs_fuse.query.rows import Entry, Getter, Scope
from affs_fuse.query.tree import (
    Attribute,
    Call,
    Expression,
    Literal,
    Name,
    ObjectOf,
    Step,
    children,
    walk,
)

__all__ = ["IndexedExpression", "key_of_row", "keys_of_content", "read_expression", "shape_of"]

Shape = tuple[Any, ...]

EXPRESSION_MAX = 1000
"""Characters."""

_NO_INODE = Inode(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes(16), 0, 0)


class IndexedExpression(NamedTuple):
    """run: its value for an entry; raises Trouble for a value that an operation does not take."""

    text: str
    shape: Shape
    run: Getter


@lru_cache(256)
def read_expression(text: str) -> IndexedExpression:
    """Errors: query.syntax and others of expressions, index.expression."""
    if len(text) > EXPRESSION_MAX:
        raise AffsError(
            "index.expression", Category.INVALID,
            f"an expression of {len(text)} characters, {EXPRESSION_MAX} at most",
        )  # fmt: skip
    lexer = Lexer(text)
    parsed = ExpressionParser(lexer).expression()
    if lexer.peek().kind != "end":
        raise fault(text, lexer.peek().span, "expected the end of the expression")
    for part in walk(parsed):
        if isinstance(part, Attribute):
            what = f"@{part.name} is of the file, an index looks at the record alone"
            raise fault(text, part.span, what, code="index.expression")
        if isinstance(part, Call) and part.function.lower() == "now":
            what = "now() is another one each time, an index needs what stays"
            raise fault(text, part.span, what, code="index.expression")
    bound = Compiler(text, Scope("records"), 0).value(parsed)
    if bound.constant:
        what = "this is the same for every record"
        raise fault(text, parsed.span, what, code="index.expression", hint="name a field")
    return IndexedExpression(text, shape_of(parsed), bound.run)


def shape_of(expression: Expression) -> Shape:
    """Equal for expressions that mean the same by their form."""
    kind = type(expression).__name__
    if isinstance(expression, Literal):
        return kind, key_of(expression.value)
    if isinstance(expression, Name):
        return "Step", expression.name, ("Whole", None)  # as $["name"]
    inner = tuple(shape_of(part) for part in children(expression))
    if isinstance(expression, Step):
        return kind, expression.key, *inner
    if isinstance(expression, Call):
        return kind, expression.function.lower(), *inner
    if isinstance(expression, Attribute):
        return kind, expression.name
    if isinstance(expression, ObjectOf):
        return kind, tuple(key for key, _ in expression.entries), *inner
    return kind, getattr(expression, "operator", None), *inner


def keys_of_content(expressions: Sequence[str], content: bytes | None) -> list[bytes]:
    """The keys of a file, one for each expression. content None: it cannot be a record."""
    if content is None:
        return [UNSURE] * len(expressions)
    entry = Entry(0, _NO_INODE, b"", b"")
    try:
        entry.value = parse_quick(content)
    except TextError:
        return [UNSURE] * len(expressions)
    return [key_of_row(read_expression(text), entry) for text in expressions]


def key_of_row(expression: IndexedExpression, entry: Entry) -> bytes:
    """UNSURE where the expression fails: a query that asks it has to fail too."""
    try:
        value = expression.run(entry)
    except Trouble:
        return UNSURE
    return key_of_value(value)
