"""The file name of each record of an import (docs/specs/Transfer.md, "Names").

An expression of the query language over the record, or, without one, the number of the record in
the input. What it gives becomes a name by formats/names.py.
"""

from affs_fuse.auv import Value
from affs_fuse.core.codec import Inode
from affs_fuse.formats import file_name
from affs_fuse.query.expression_parser import ExpressionParser
from affs_fuse.query.expressions import Compiler
from affs_fuse.query.faults import Trouble, fault
from affs_fuse.query.lexer import Lexer
from affs_fuse.query.rows import Entry, Getter, Scope
from affs_fuse.query.tree import Attribute, walk

__all__ = ["NameProblem", "Namer"]

NUMBER_DIGITS = 9


class NameProblem(Exception):
    """A record that has no name."""


class Namer:
    """text: of the expression, "" for numbers. invalid: query.*"""

    def __init__(self, text: str, now_ns: int) -> None:
        self._run = _compiled(text, now_ns) if text else None

    def name(self, value: Value, number: int) -> bytes:
        """NameProblem."""
        if self._run is None:
            return b"%0*d" % (NUMBER_DIGITS, number)
        entry = Entry(0, _NO_INODE, b"", b"")
        entry.value = value
        try:
            found = self._run(entry)
        except Trouble as trouble:
            raise NameProblem(trouble.message) from None
        name = file_name(found)
        if name is None:
            what = "is empty" if found == "" else "is no text and no number"
            raise NameProblem(f"what should be its name {what}")
        return name.encode()


_NO_INODE = Inode(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, bytes(16), 0, 0)


def _compiled(text: str, now_ns: int) -> Getter:
    lexer = Lexer(text)
    parsed = ExpressionParser(lexer).expression()
    rest = lexer.peek()
    if rest.kind != "end":
        raise fault(text, rest.span, f"expected the end of the expression, found {rest.shown}")
    for part in walk(parsed):
        if isinstance(part, Attribute):
            message = "a record that is imported has no attributes of a file yet"
            raise fault(text, part.span, message, code="query.field")
    return Compiler(text, Scope("records"), now_ns).value(parsed).run
