"""What all readers have in common: the bytes that wait, and where in the input they stand.

A place is a line from 1 (a line ends with LF) and a column from 1 in Unicode scalars; bytes that
are no UTF-8 count one each. Invariants:
- `next` gives each record of the input once, in order; None means that more bytes are needed.
- What `next` gave is done with: `mark` tells where a later reader of the same input goes on.
- Memory is bounded by TEXT_BYTES_MAX and what was fed last.
"""

from typing import NamedTuple, Protocol

from affs_fuse.auv import TextError, Value
from affs_fuse.errors import AffsError, Category

__all__ = ["TEXT_BYTES_MAX", "Buffer", "Found", "Mark", "Reader", "Refused", "broken_input"]

TEXT_BYTES_MAX = 4 << 20
"""Of one record's text as it stands in the input, with its comments and white space."""

EXCERPT_CHARACTERS = 80
BOM = b"\xef\xbb\xbf"


class Mark(NamedTuple):
    """A place between two records. offset: bytes of the input in front of it. state: what else the
    reader needs to go on from there, a word of its own."""

    offset: int = 0
    line: int = 1
    column: int = 1
    state: str = ""


class Found(NamedTuple):
    """A record. line, column: where it begins."""

    value: Value
    line: int
    column: int


class Refused(NamedTuple):
    """What stands there is no record; the reader goes on behind it. line, column: of what is wrong.
    text: how the record begins."""

    code: str
    message: str
    line: int
    column: int
    text: str


class Reader(Protocol):
    """In this order: `feed` and `next` in turns, at the end `finish`, and `next` to the end."""

    @property
    def mark(self) -> Mark:
        """Behind the record that `next` gave last."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the input."""

    def finish(self) -> None:
        """There are no more."""

    def next(self) -> Found | Refused | None:
        """The next record, once; None: feed more, or all is read. Errors: import.syntax,
        import.header, import.too_large: the rest cannot be read."""

    def go_on(self, mark: Mark) -> None:
        """Before anything is fed: of the input, which comes from its beginning, nothing in front of
        a mark of an earlier reader is given again."""


def broken_input(message: str, line: int, column: int, code: str = "import.syntax") -> AffsError:
    """The input cannot be read any further."""
    return AffsError(
        code, Category.INVALID, f"line {line}, column {column}: {message}",
        hint="what came before is imported; mend the rest and go on with --resume",
        details={"line_number": line, "column_number": column},
    )  # fmt: skip


class Buffer:
    """Bytes that were fed and not yet taken."""

    def __init__(self) -> None:
        self.data = b""
        self.at = 0
        self.finished = False
        self.offset = 0
        self.line = 1
        self.column = 1
        self._target: Mark | None = None

    def feed(self, data: bytes) -> None:
        self.data = self.data[self.at :] + data
        self.at = 0
        if self._target is not None:
            self._skip(self._target)

    def skip_mark(self) -> bool:
        """A byte order mark at the beginning goes; False: more bytes are needed to tell."""
        head = self.data[self.at : self.at + len(BOM)]
        if head == BOM:
            self.at += len(BOM)
            self.offset += len(BOM)
        return self.finished or len(head) == len(BOM) or not BOM.startswith(head)

    def take(self, end: int) -> bytes:
        """The bytes up to an index of `data`, which are then behind us."""
        piece = self.data[self.at : end]
        self.offset += end - self.at
        self.at = end
        newline = piece.rfind(b"\n")
        if newline < 0:
            self.column += _length(piece)
        else:
            self.line += piece.count(b"\n")
            self.column = _length(piece[newline + 1 :]) + 1
        return piece

    def skip_to(self, mark: Mark) -> None:
        """Drop everything up to a mark that lies further on, also what is still to come."""
        if mark.offset > self.offset:
            self._skip(mark)

    def _skip(self, mark: Mark) -> None:
        end = self.offset + len(self.data) - self.at
        reached = end >= mark.offset
        self._target = None if reached else mark
        self.data = self.data[len(self.data) - (end - mark.offset) :] if reached else b""
        self.at = 0
        self.offset = mark.offset if reached else end
        self.line, self.column = mark.line, mark.column

    def mark(self, state: str = "") -> Mark:
        return Mark(self.offset, self.line, self.column, state)


def _length(piece: bytes) -> int:
    if piece.isascii():
        return len(piece)
    return len(piece.decode("utf-8", "replace"))


def excerpt(piece: bytes) -> str:
    """How a text begins, for people."""
    shown = piece[: 4 * EXCERPT_CHARACTERS].decode("utf-8", "replace").strip()
    return shown[:EXCERPT_CHARACTERS]


def too_large(line: int, column: int, piece: bytes) -> Refused:
    return Refused(
        "import.too_large", f"longer than {TEXT_BYTES_MAX >> 20} MiB", line, column, excerpt(piece)
    )


def refused_text(error: TextError, piece: bytes, line: int, column: int) -> Refused:
    """line, column: where the piece begins."""
    at_line, at_column = int(error.details["line"]), int(error.details["column"])
    if at_line == 1:
        at_column += column - 1
    return Refused(
        "import.value", f"expected {error.expected}", line + at_line - 1, at_column, excerpt(piece)
    )
