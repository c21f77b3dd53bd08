"""Splitting a command line into words (docs/specs/CommandGrammar.md, "Words").

Shell-like, so that a line reads the same here and in a shell, and AJIS literals in brackets are one
word each. A word keeps its source and its place: an error can point at it, and a parameter that
takes a value of any type reads the source, where quotes still say what is a String.
"""

from dataclasses import dataclass

from affs_fuse.auv import TextError, parse
from affs_fuse.errors import AffsError, Category

__all__ = ["LINE_CHARACTERS_MAX", "Word", "quote", "read_word", "split", "syntax_error"]

LINE_CHARACTERS_MAX = 65_536
"""Half of the kernel's limit for one argument of a program (MAX_ARG_STRLEN, 128 KiB)."""

_SPACE = " \t\r\n"
_BARE_SAFE = frozenset(
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_./:@~=,+%^#-"
)
_CLOSERS = {"[": "]", "{": "}"}


@dataclass(frozen=True, slots=True)
class Word:
    """text: what it spells, quoting removed. source: as it stands in the line. start, end:
    half-open, in Unicode scalars from 0. bare: no part of it is quoted or escaped. pipe: it is the
    separator `|`."""

    text: str
    source: str
    start: int
    end: int
    bare: bool = True
    pipe: bool = False

    @property
    def option_like(self) -> bool:
        """Whether it stands for options: a bare `-` in front, and no number."""
        return (
            self.source.startswith("-")
            and len(self.source) > 1
            and not (self.source[1].isdigit() or self.source[1] == ".")
        )


def syntax_error(
    line: str, start: int, end: int, message: str, *, code: str = "command.syntax", hint: str = ""
) -> AffsError:
    """An invalid-error that points at line[start:end] (docs/specs/Errors.md, "Place in a line")."""
    return AffsError(
        code,
        Category.INVALID,
        message,
        hint=hint,
        details={"line": line, "column": start + 1, "length": max(1, end - start)},
    )


def split(line: str) -> list[Word]:
    """The words of a line; invalid: command.syntax (unfinished quotes or brackets),
    command.line_length."""
    _check_length(line)
    return _Splitter(line).run()


def read_word(line: str, start: int) -> Word | None:
    """The first word from start on, None at the end: for lines whose rest is no words. invalid: as
    `split`."""
    _check_length(line)
    return _Splitter(line, start).next()


def _check_length(line: str) -> None:
    if len(line) > LINE_CHARACTERS_MAX:
        raise AffsError(
            "command.line_length",
            Category.INVALID,
            f"the line has {len(line)} characters, the limit is {LINE_CHARACTERS_MAX}",
        )


def quote(word: str) -> str:
    """The shortest source that `split` gives back as this one word."""
    if word and _BARE_SAFE.issuperset(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"


class _Splitter:
    def __init__(self, line: str, start: int = 0) -> None:
        self._line = line
        self._at = start

    def run(self) -> list[Word]:
        words: list[Word] = []
        while (word := self.next()) is not None:
            words.append(word)
        return words

    def next(self) -> Word | None:
        line = self._line
        while self._at < len(line) and line[self._at] in _SPACE:
            self._at += 1
        if self._at == len(line):
            return None
        start = self._at
        if line[start] == "|":
            self._at += 1
            return Word("|", "|", start, self._at, pipe=True)
        return self._literal() if line[start] in _CLOSERS else self._word()

    def _ends(self) -> bool:
        return self._at == len(self._line) or self._line[self._at] in _SPACE + "|"

    def _word(self) -> Word:
        start = self._at
        pieces: list[str] = []
        bare = True
        while not self._ends():
            character = self._line[self._at]
            if character == "'":
                pieces.append(self._raw())
            elif character == '"':
                pieces.append(self._string())
            elif character == "\\":
                if self._at + 1 == len(self._line):
                    raise self._error(self._at, "the line ends in a backslash")
                pieces.append(self._line[self._at + 1])
                self._at += 2
            else:
                pieces.append(character)
                self._at += 1
                continue
            bare = False
        return Word("".join(pieces), self._line[start : self._at], start, self._at, bare)

    def _raw(self) -> str:
        start = self._at
        end = self._line.find("'", start + 1)
        if end < 0:
            raise self._error(start, "a single quote is never closed")
        self._at = end + 1
        return self._line[start + 1 : end]

    def _string(self) -> str:
        start = self._at
        end = self._skip_string(start)
        self._at = end
        try:
            value = parse(self._line[start:end])
        except TextError as error:
            raise syntax_error(
                self._line,
                start + error.offset,
                start + error.offset + 1,
                f"in a string: expected {error.expected}",
            ) from None
        assert isinstance(value, str), "double quotes spell a String"
        return value

    def _skip_string(self, start: int) -> int:
        """The index after the closing quote; start is at an opening `"`."""
        at = start + 1
        while at < len(self._line) and self._line[at] != '"':
            at += 2 if self._line[at] == "\\" else 1
        if at >= len(self._line):
            raise self._error(start, "a double quote is never closed")
        return at + 1

    def _literal(self) -> Word:
        """An Array or Object: up to its closing bracket. Only strings, characters and brackets are
        looked at here; whoever takes the word parses it."""
        start = self._at
        open_brackets: list[int] = []
        while self._at < len(self._line):
            character = self._line[self._at]
            if character == '"':
                self._at = self._skip_string(self._at)
                continue
            if character == "'":
                self._skip_character()
                continue
            self._at += 1
            if character in _CLOSERS:
                open_brackets.append(self._at - 1)
            elif character in "]}":
                opener = open_brackets.pop()
                if _CLOSERS[self._line[opener]] != character:
                    raise self._error(self._at - 1, f"{character!r} closes {self._line[opener]!r}")
                if not open_brackets:
                    break
        else:
            raise self._error(start, f"{self._line[start]!r} is never closed")
        if not self._ends():
            raise self._error(self._at, "a space has to follow a literal in brackets")
        source = self._line[start : self._at]
        return Word(source, source, start, self._at)

    def _skip_character(self) -> None:
        start = self._at
        at = start + 1
        while at < len(self._line) and self._line[at] != "'":
            at += 2 if self._line[at] == "\\" else 1
        if at >= len(self._line):
            raise self._error(start, "a single quote is never closed")
        self._at = at + 1

    def _error(self, at: int, message: str) -> AffsError:
        return syntax_error(self._line, at, at + 1, message)
