"""Errors of queries: each points at the part of the line that it is about.

`fault` makes the error value of a text that cannot be read or bound. `Trouble` is what evaluating a
row raises; the execution, which knows the row, makes the error value of it.
"""

from typing import NamedTuple

from affs_fuse.errors import AffsError, Category

__all__ = ["Span", "Trouble", "fault"]


class Span(NamedTuple):
    """A half-open part of the line, in Unicode scalars from 0."""

    start: int
    end: int

    def to(self, other: "Span") -> "Span":
        """From the beginning of this one to the end of the other."""
        return Span(self.start, other.end)


class Trouble(Exception):
    """A value that an operation does not take. code: one of docs/specs/Errors.md, "Queries"."""

    def __init__(self, code: str, span: Span, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.span = span
        self.message = message
        self.hint = hint


def fault(
    line: str, span: Span, message: str, *, code: str = "query.syntax", hint: str = ""
) -> AffsError:
    """An invalid-error that points at the span (docs/specs/Errors.md, "Place in a line")."""
    details = {"line": line, "column": span.start + 1, "length": max(1, span.end - span.start)}
    return AffsError(code, Category.INVALID, message, hint=hint, details=details)
