"""The three typed errors of the value room (docs/specs/Errors.md, "auv").

Nothing else leaves a decoder or a writer: `WireError` says where in the bytes, `TextError` where
in the text, `ValueFault` where in a Python value. All are `AffsError` of category invalid, so an
edge passes them on as they are.
"""

from typing import Any

from affs_fuse.errors import AffsError, Category

__all__ = ["AuvError", "TextError", "ValueFault", "WireError", "printable"]

_FOUND_CHARACTERS_MAX = 24


class AuvError(AffsError):
    """reason: a stable lower-case word per rule that was broken (docs/specs/AUV.md, "Reasons")."""

    def __init__(self, code: str, reason: str, message: str, details: dict[str, Any]) -> None:
        super().__init__(code, Category.INVALID, message, details={"reason": reason, **details})
        self.reason = reason


class WireError(AuvError):
    """Bytes that are no value in the wire profile. offset: of the first byte that breaks it."""

    def __init__(self, reason: str, offset: int, problem: str) -> None:
        super().__init__("auv.wire", reason, f"byte {offset}: {problem}", {"offset": offset})
        self.offset = offset
        self.problem = problem


class TextError(AuvError):
    """Text that is no AJIS document.

    line, column: from 1, the column in Unicode scalars. offset: in scalars from 0. expected: what
    would have been right there. found: a short piece of what stands there, "" at the end.
    """

    def __init__(
        self, reason: str, line: int, column: int, offset: int, expected: str, found: str
    ) -> None:
        shown = found[:_FOUND_CHARACTERS_MAX]
        seen = f"found {shown!r}" if shown else "found the end"
        super().__init__(
            "auv.text",
            reason,
            f"line {line}, column {column}: expected {expected}, {seen}",
            {"line": line, "column": column, "expected": expected, "found": printable(shown)},
        )
        self.line = line
        self.column = column
        self.offset = offset
        self.expected = expected
        self.found = shown


class ValueFault(AuvError):
    """A Python object that is no AUV value. path: where, `$` is the value itself: `$.a[3]`."""

    def __init__(self, reason: str, path: str, problem: str) -> None:
        super().__init__("auv.value", reason, f"{path}: {problem}", {"path": path})
        self.path = path
        self.problem = problem


def printable(text: str) -> str:
    """text with lone surrogates made visible (`\\udc80`), so that it is an AUV String."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
