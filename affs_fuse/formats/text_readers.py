"""Readers of AJIS text, of which JSON is a part: lines, the elements of an Array, a sequence.

Where a value ends is found by its brackets, quotes and comments alone; then `parse_quick` reads it,
whose word on what is in it is final. So a value that is wrong inside costs itself and nothing else.
"""

import re
from typing import NoReturn

from affs_fuse.auv import TextError, parse_quick
from affs_fuse.formats.reader import (
    TEXT_BYTES_MAX,
    Buffer,
    Found,
    Mark,
    Refused,
    broken_input,
    excerpt,
    refused_text,
    too_large,
)

__all__ = ["ArrayReader", "LinesReader", "SequenceReader"]

_STRING = rb'"(?:[^"\\\n]++|\\[^\n])*+"'
_CHAR = rb"'(?:[^'\\\n]++|\\[^\n])*+'"
_COMMENT = rb"//[^\n]*+(?=\n)|/\*(?:[^*]++|\*(?!/))*+\*/"
_SLASH = rb"/(?=[^/*])"
_TOKENS = b"|".join((_STRING, _CHAR, _COMMENT, _SLASH))
_INSIDE = re.compile(rb"(?:[^\"'\[\]{}/]++|" + _TOKENS + rb")*+", re.DOTALL)
"""Up to the next bracket."""
_ELEMENT = re.compile(rb"(?:[^\"'\[\]{}/,]++|" + _TOKENS + rb")*+", re.DOTALL)
"""Up to the next bracket or comma."""
_LINE = re.compile(rb"(?:[^\"'\[\]{}/\n]++|" + _TOKENS + rb")*+", re.DOTALL)
"""Up to the next bracket or end of a line."""
_BLANK = re.compile(rb"(?:[ \t\r\n]++|" + _COMMENT + rb")*+", re.DOTALL)
_BLANK_END = re.compile(rb"(?:[ \t\r\n]++|//[^\n]*+|/\*(?:[^*]++|\*(?!/))*+\*/)*+", re.DOTALL)
"""The same where nothing follows."""

_OPEN = b"[{"
_CLOSE = b"]}"
_QUOTES = b"\"'"
_WRONG_STOPS = {
    b'"': "this quote is not closed on its line",
    b"'": "this quote is not closed on its line",
    b"": "the input ends inside of this",
}


class _Base:
    """state: of the mark."""

    def __init__(self) -> None:
        self._buffer = Buffer()
        self._state = ""
        self._begun = False

    @property
    def mark(self) -> Mark:
        return self._buffer.mark(self._state)

    def feed(self, data: bytes) -> None:
        self._buffer.feed(data)

    def finish(self) -> None:
        self._buffer.finished = True

    def go_on(self, mark: Mark) -> None:
        self._buffer.skip_to(mark)
        self._state = mark.state
        self._begun = bool(mark.offset)

    def _begin(self) -> bool:
        """Whether the beginning is behind us."""
        if not self._begun:
            self._begun = self._buffer.skip_mark()
        return self._begun

    def _read(self, end: int) -> Found | Refused | None:
        """The value whose text ends at an index of the buffer; None if there are only spaces and
        comments."""
        buffer = self._buffer
        blank = _BLANK_END.match(buffer.data, buffer.at, end)
        assert blank is not None, "the pattern matches the empty text"
        buffer.take(blank.end())
        line, column = buffer.line, buffer.column
        piece = buffer.take(end)
        if not piece:
            return None
        if len(piece) > TEXT_BYTES_MAX:
            return too_large(line, column, piece)
        try:
            return Found(parse_quick(piece), line, column)
        except TextError as error:
            return refused_text(error, piece, line, column)


class LinesReader(_Base):
    """JSON lines: each line that is not blank is one value."""

    def __init__(self) -> None:
        super().__init__()
        self._scanned = 0
        self._skipping: Refused | None = None

    def next(self) -> Found | Refused | None:
        if not self._begin():
            return None
        buffer = self._buffer
        while True:
            end = buffer.data.find(b"\n", max(buffer.at, self._scanned))
            if end < 0:
                if not buffer.finished:
                    self._wait()
                    return None
                end = len(buffer.data)
                if end == buffer.at:
                    return self._end_skipping()
            self._scanned = 0
            if self._skipping is not None:
                buffer.take(min(end + 1, len(buffer.data)))
                return self._end_skipping()
            found = self._read(end)
            buffer.take(min(end + 1, len(buffer.data)))
            if found is not None:
                return found

    def _wait(self) -> None:
        """What was looked at is not looked at again; of a line that is too long nothing is kept."""
        buffer = self._buffer
        if self._skipping is None and len(buffer.data) - buffer.at > TEXT_BYTES_MAX:
            self._skipping = too_large(buffer.line, buffer.column, buffer.data[buffer.at :])
        if self._skipping is not None:
            buffer.take(len(buffer.data))
        self._scanned = len(buffer.data) - buffer.at

    def _end_skipping(self) -> Refused | None:
        refused, self._skipping = self._skipping, None
        return refused


class _ScanningReader(_Base):
    """Finds where a value ends. outside: up to what may end it where no bracket is open."""

    def __init__(self, outside: re.Pattern[bytes]) -> None:
        super().__init__()
        self._outside = outside
        self._depth = 0
        self._scanned = 0

    def feed(self, data: bytes) -> None:
        self._scanned -= self._buffer.at
        super().feed(data)

    @property
    def _waiting_bytes(self) -> int:
        return len(self._buffer.data) - self._buffer.at

    def _stop(self) -> int | None:
        """Index of what ends a value: a comma or the end of a line, a closing bracket that is not
        its own, a quote that its line does not close, the end of the input. None: more is needed.
        """
        buffer = self._buffer
        data = buffer.data
        at = max(self._scanned, buffer.at)
        while True:
            match = (_INSIDE if self._depth else self._outside).match(data, at)
            assert match is not None, "the pattern matches the empty text"
            at = self._scanned = match.end()
            letter = data[at : at + 1]
            if not letter or letter == b"/" or (letter in _QUOTES and data.find(b"\n", at) < 0):
                return len(data) if buffer.finished else None
            if letter in _OPEN:
                self._depth += 1
            elif letter in _CLOSE and self._depth:
                self._depth -= 1
            else:
                return at
            at += 1

    def _next_value(self) -> None:
        self._depth = 0
        self._scanned = self._buffer.at


class ArrayReader(_ScanningReader):
    """A document: the elements of its Array; or, if it is no Array, the one value that it is.

    state: "" in front of it, "first" and "next" in front of an element, "end" behind it all."""

    def __init__(self) -> None:
        super().__init__(_ELEMENT)

    def next(self) -> Found | Refused | None:
        if not self._begin() or not (self._state or self._open()):
            return None
        if self._state == "single":
            return self._single()
        if self._state != "end":
            return self._element()
        self._check_end()
        return None

    def _blank(self) -> int:
        """Index of what follows white space and comments; the end where more is needed to tell."""
        buffer = self._buffer
        blank = (_BLANK_END if buffer.finished else _BLANK).match(buffer.data, buffer.at)
        assert blank is not None, "the pattern matches the empty text"
        at = blank.end()
        if buffer.data[at : at + 1] == b"/" and not buffer.finished:
            if self._waiting_bytes > TEXT_BYTES_MAX:
                self._fail("a comment that is too long", "import.too_large")
            return len(buffer.data)
        return at

    def _open(self) -> bool:
        """Past the bracket that begins the Array; False: more is needed."""
        buffer = self._buffer
        at = self._blank()
        letter = buffer.data[at : at + 1]
        if not letter:
            if buffer.finished:
                self._fail("a document is expected, and there is none")
            return False
        if letter == b"[":
            buffer.take(at + 1)
        self._state = "first" if letter == b"[" else "single"
        self._next_value()
        return True

    def _single(self) -> Found | Refused | None:
        buffer = self._buffer
        if self._waiting_bytes > TEXT_BYTES_MAX:
            limit = TEXT_BYTES_MAX >> 20
            self._fail(f"a value that is no Array has at most {limit} MiB", "import.too_large")
        if not buffer.finished:
            return None
        self._state = "end"
        return self._read(len(buffer.data))

    def _element(self) -> Found | Refused | None:
        buffer = self._buffer
        end = self._stop()
        if end is None:
            if self._waiting_bytes > TEXT_BYTES_MAX:
                self._fail(f"longer than {TEXT_BYTES_MAX >> 20} MiB", "import.too_large")
            return None
        letter = buffer.data[end : end + 1]
        if letter not in (b",", b"]"):
            buffer.take(end)
            self._fail(_WRONG_STOPS.get(letter, "this bracket closes nothing"))
        found = self._read(end)
        empty = letter == b"]" and self._state == "first"
        if found is None and not empty:
            found = Refused("import.value", "expected a value", buffer.line, buffer.column, "")
        buffer.take(end + 1)
        self._state = "next" if letter == b"," else "end"
        self._next_value()
        if found is None:
            self._check_end()
        return found

    def _check_end(self) -> None:
        """Nothing but white space and comments follows. Errors: import.syntax."""
        buffer = self._buffer
        at = self._blank()
        if at < len(buffer.data):
            buffer.take(at)
            self._fail("the end of the document is expected")
        if buffer.data[buffer.at :].isspace():
            buffer.take(at)

    def _fail(self, message: str, code: str = "import.syntax") -> NoReturn:
        raise broken_input(message, self._buffer.line, self._buffer.column, code)


class SequenceReader(_ScanningReader):
    """AJIS values one after the other. A value ends with the line on which its last bracket is
    closed."""

    def __init__(self) -> None:
        super().__init__(_LINE)
        self._skipping: Refused | None = None

    def next(self) -> Found | Refused | None:
        if not self._begin():
            return None
        while True:
            if self._skipping is not None:
                return self._skip_line()
            end = self._stop()
            if end is None:
                if self._waiting_bytes <= TEXT_BYTES_MAX:
                    return None
                self._refuse(f"longer than {TEXT_BYTES_MAX >> 20} MiB", "import.too_large")
                continue
            buffer = self._buffer
            letter = buffer.data[end : end + 1]
            if letter not in (b"\n", b""):
                wrong = _WRONG_STOPS.get(letter, "this bracket closes nothing")
                self._refuse(wrong, "import.value", end)
                continue
            found = self._read(end)
            buffer.take(min(end + 1, len(buffer.data)))
            self._next_value()
            if found is not None or buffer.at == len(buffer.data):
                return found

    def _refuse(self, message: str, code: str, at: int | None = None) -> None:
        """What has begun is no record; at: index of what is wrong with it. Reading goes on behind
        the line."""
        buffer = self._buffer
        shown = excerpt(buffer.data[buffer.at : None if at is None else at + 1])
        buffer.take(buffer.at if at is None else at)
        self._skipping = Refused(code, message, buffer.line, buffer.column, shown)

    def _skip_line(self) -> Refused | None:
        """What was refused, when its line is behind us; None: its end has not come yet."""
        buffer = self._buffer
        end = buffer.data.find(b"\n", buffer.at) + 1
        buffer.take(end or len(buffer.data))
        self._next_value()
        if not end and not buffer.finished:
            return None
        refused, self._skipping = self._skipping, None
        return refused
