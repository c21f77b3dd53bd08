"""Writers of the formats: each value gives some bytes, the end perhaps some more.

The same values give the same bytes, and what a reader of the same format makes of them are the same
values again, as far as the format can hold them (docs/specs/Transfer.md, "What comes back").
"""

from collections.abc import Sequence
from typing import Protocol

from affs_fuse.auv import Value, format_json_quick, format_quick
from affs_fuse.errors import AffsError, Category
from affs_fuse.formats.columns import FieldProblem, field_text, parse_types
from affs_fuse.formats.csv_reader import check_delimiter

__all__ = ["Writer", "make_writer"]


class Writer(Protocol):
    """`add` for each row in order, then `end`."""

    def add(self, row: Value) -> bytes:
        """Errors: export.row."""

    def end(self) -> bytes:
        """What stands behind the last row."""


class _Lines:
    """A row on each line."""

    def __init__(self, json: bool) -> None:
        self._format = format_json_quick if json else format_quick

    def add(self, row: Value) -> bytes:
        return self._format(row).encode() + b"\n"

    def end(self) -> bytes:
        return b""


class _Array:
    """One JSON Array, an element on each line."""

    def __init__(self) -> None:
        self._front = b"[\n"

    def add(self, row: Value) -> bytes:
        front, self._front = self._front, b",\n"
        return front + format_json_quick(row).encode()

    def end(self) -> bytes:
        return b"[]\n" if self._front == b"[\n" else b"\n]\n"


class _Csv:
    """names: the columns; empty: those of the first row. kind: string or ajis."""

    def __init__(self, delimiter: str, names: Sequence[str], kind: str) -> None:
        self._delimiter = delimiter
        self._quoted = frozenset(f'{delimiter}"\r\n')
        self._names: list[str] = list(names)
        self._kind = kind
        self._rows = 0

    def add(self, row: Value) -> bytes:
        self._rows += 1
        if not isinstance(row, dict):
            raise self._error("is no Object, and so no line of CSV", "select its fields")
        head = b""
        if self._rows == 1:
            self._names = self._names or list(row)
            head = self._head()
        odd = row.keys() - set(self._names)
        if odd:
            hint = "name the columns with --columns, or select them"
            raise self._error(f"has a field {sorted(odd)[0]!r} that is no column", hint)
        fields = []
        for name in self._names:
            try:
                fields.append(field_text(row[name], self._kind) if name in row else "")
            except FieldProblem as problem:
                hint = "--types ajis writes any value, or select what is in it"
                raise self._error(f"{name}: {problem}", hint) from None
        return head + self._line(fields)

    def end(self) -> bytes:
        return self._head() if self._names and not self._rows else b""

    def _head(self) -> bytes:
        return self._line(self._names)

    def _line(self, fields: list[str]) -> bytes:
        line = self._delimiter.join([self._field(field) for field in fields])
        return f"{line}\n".encode() if line else b'""\n'

    def _field(self, text: str) -> str:
        if self._quoted.isdisjoint(text):
            return text
        doubled = text.replace('"', '""')
        return f'"{doubled}"'

    def _error(self, problem: str, hint: str) -> AffsError:
        return AffsError(
            "export.row", Category.INVALID, f"row {self._rows} {problem}", hint=hint,
            details={"row": self._rows},
        )  # fmt: skip


def make_writer(format: str, delimiter: str, columns: Sequence[str], types: str) -> Writer:
    """format: one of FORMATS; the rest is for csv. Errors: import.types, import.delimiter."""
    if format == "json":
        return _Array()
    if format != "csv":
        return _Lines(json=format == "jsonl")
    check_delimiter(delimiter)
    parsed = parse_types(types)
    if parsed.named or parsed.default not in ("string", "ajis"):
        raise AffsError(
            "import.types", Category.INVALID, "fields are written as string or as ajis, all of them"
        )
    return _Csv(delimiter, columns, parsed.default)
