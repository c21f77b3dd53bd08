"""CSV with a line of names (RFC 4180): each further record becomes an Object.

Only a quote at the beginning of a field opens a quoted one, so a stray quote costs its own line. A
line without quotes takes a short way.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.formats.columns import Columns, FieldProblem, absent
from affs_fuse.formats.reader import (
    TEXT_BYTES_MAX,
    Buffer,
    Found,
    Mark,
    Refused,
    broken_input,
    excerpt,
    too_large,
)

__all__ = ["CsvReader", "check_delimiter"]

_QUOTED = re.compile(rb'"((?:[^"]++|"")*+)"')


class _Row(NamedTuple):
    """Texts. starts: where each begins in the row's bytes; empty where nothing is quoted. end:
    index of the buffer behind the row."""

    fields: list[bytes]
    starts: list[int]
    end: int

    def start(self, index: int) -> int:
        if self.starts:
            return self.starts[index]
        return sum(len(field) + 1 for field in self.fields[:index])


class _Wrong(NamedTuple):
    """Not a row. at: index of the buffer."""

    message: str
    at: int


def check_delimiter(delimiter: str) -> bytes:
    """invalid: import.delimiter."""
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n\0':
        raise AffsError(
            "import.delimiter", Category.INVALID,
            f"{delimiter!r} cannot stand between fields",
            hint="it is one ASCII character: a comma, a semicolon, a tab ('\\t') ...",
        )  # fmt: skip
    return delimiter.encode()


class CsvReader:
    def __init__(self, delimiter: str = ",", columns: Columns = Columns()) -> None:  # noqa: B008
        self._delimiter = check_delimiter(delimiter)
        self._plain = re.compile(b'[^"\n' + re.escape(self._delimiter) + b"]*+")
        self._columns = columns
        self._buffer = Buffer()
        self._begun = False
        self._names: list[str] | None = None
        self._readers: list[tuple[str, Callable[[str], Value] | None]] = []
        self._goes_on = Mark()
        self._skipping: Refused | None = None

    @property
    def mark(self) -> Mark:
        return self._buffer.mark()

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def finish(self) -> None:
        self._buffer.finished = True

    def go_on(self, mark: Mark) -> None:
        self._goes_on = mark

    def next(self) -> Found | Refused | None:
        if self._names is None and not self._header():
            return None
        buffer = self._buffer
        while True:
            if self._skipping is not None:
                return self._skip_line()
            row = self._row()
            if row is None:
                if len(buffer.data) - buffer.at <= TEXT_BYTES_MAX:
                    return None
                self._give_up()
            elif isinstance(row, _Wrong):
                self._refuse(row)
            elif row.fields != [b""] or row.starts:
                return self._record(row)
            else:
                buffer.take(row.end)  # a blank line

    # ---- the line of names ----

    def _header(self) -> bool:
        """Whether the names are known. Errors: import.header."""
        buffer = self._buffer
        if not self._begun:
            self._begun = buffer.skip_mark()
            if not self._begun:
                return False
        row = self._row()
        if row is None:
            if buffer.finished:
                raise _wrong_header("there is no line of names", 1)
            if len(buffer.data) > TEXT_BYTES_MAX:
                raise _wrong_header("the line of names is too long", 1)
            return False
        if isinstance(row, _Wrong):
            raise _wrong_header(row.message, row.at + 1)
        names = []
        for index, field in enumerate(row.fields):
            start = row.start(index)
            try:
                names.append(field.decode("utf-8"))
            except UnicodeDecodeError:
                raise _wrong_header("a name that is not UTF-8", start + 1) from None
            if not names[-1] or names[-1] in names[:-1]:
                problem = "is there twice" if names[-1] else "is empty"
                raise _wrong_header(f"the name {names[-1]!r} {problem}", start + 1)
        for name, _ in self._columns.named:
            if name not in names:
                raise _wrong_header(f"there is no column {name!r}, which has a type", 1)
        buffer.take(row.end)
        buffer.skip_to(self._goes_on)
        self._names = names
        self._readers = [(name, self._columns.reader(name)) for name in names]
        return True

    # ---- rows ----

    def _row(self) -> _Row | _Wrong | None:
        """The next row of the buffer; None: more is needed, or there is none."""
        buffer = self._buffer
        data, at = buffer.data, buffer.at
        newline = data.find(b"\n", at)
        if newline < 0 and buffer.finished and at < len(data):
            newline = len(data)
        if newline >= 0 and data.find(b'"', at, newline) < 0:
            line = data[at:newline]
            if line.endswith(b"\r"):
                line = line[:-1]
            return _Row(line.split(self._delimiter), [], min(newline + 1, len(data)))
        if newline < 0 and (at == len(data) or data.find(b'"', at) < 0):
            return None
        return self._row_with_quotes()

    def _row_with_quotes(self) -> _Row | _Wrong | None:
        buffer = self._buffer
        data, at, finished = buffer.data, buffer.at, buffer.finished
        fields: list[bytes] = []
        starts: list[int] = []
        while True:
            starts.append(at - buffer.at)
            quoted = data[at : at + 1] == b'"'
            if quoted:
                match = _QUOTED.match(data, at)
                if match is None or (match.end() == len(data) and not finished):
                    return _Wrong("this quote is not closed", at) if finished else None
                field = match.group(1).replace(b'""', b'"')
            else:
                match = self._plain.match(data, at)
                assert match is not None, "the pattern matches the empty text"
                field = match.group()
            at = match.end()
            stop = data[at : at + 1]
            if quoted and stop == b"\r":
                if at + 1 == len(data) and not finished:
                    return None
                at += 1
                stop = data[at : at + 1]
            elif not quoted and stop in (b"\n", b"") and field.endswith(b"\r"):
                field = field[:-1]
            fields.append(field)
            if stop == self._delimiter:
                at += 1
                continue
            if stop == b"\n":
                return _Row(fields, starts, at + 1)
            if not stop:
                return _Row(fields, starts, at) if finished else None
            what = "more text behind a quoted field" if quoted else "a quote inside of a field"
            return _Wrong(what, at)

    def _record(self, row: _Row) -> Found | Refused:
        buffer, readers = self._buffer, self._readers
        line, column = buffer.line, buffer.column
        piece = buffer.take(row.end)
        if len(piece) > TEXT_BYTES_MAX:
            return too_large(line, column, piece)
        if len(row.fields) != len(readers):
            message = f"{len(row.fields)} fields, there are {len(readers)} names"
            return Refused("import.fields", message, line, column, excerpt(piece))
        value: dict[str, Value] = {}
        for index, (field, (name, read)) in enumerate(zip(row.fields, readers, strict=True)):
            try:
                text = field.decode("utf-8")
                found: Value = text if read is None else read(text)
            except UnicodeDecodeError:
                return _refused_field(row, index, piece, line, "expected UTF-8 text")
            except FieldProblem as problem:
                return _refused_field(row, index, piece, line, f"{name}: {problem}")
            if found is not absent:
                value[name] = found
        return Found(value, line, column)

    # ---- what is no row ----

    def _give_up(self) -> None:
        """A row that does not end: its first line is refused."""
        buffer = self._buffer
        self._skipping = too_large(buffer.line, buffer.column, buffer.data[buffer.at :])

    def _refuse(self, wrong: _Wrong) -> None:
        """Reading goes on behind the line of what is wrong; of a quote that nothing closes, behind
        its line."""
        buffer = self._buffer
        shown = excerpt(buffer.data[buffer.at : wrong.at + 1])
        buffer.take(wrong.at)
        self._skipping = Refused("import.value", wrong.message, buffer.line, buffer.column, shown)

    def _skip_line(self) -> Refused | None:
        buffer = self._buffer
        end = buffer.data.find(b"\n", buffer.at) + 1
        buffer.take(end or len(buffer.data))
        if not end and not buffer.finished:
            return None
        refused, self._skipping = self._skipping, None
        return refused


def _wrong_header(message: str, column: int) -> AffsError:
    return broken_input(message, 1, column, "import.header")


def _refused_field(row: _Row, index: int, piece: bytes, line: int, message: str) -> Refused:
    """With the line and column where the field begins."""
    before = piece[: row.start(index)]
    line += before.count(b"\n")
    column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
    return Refused("import.value", message, line, column, excerpt(piece))
