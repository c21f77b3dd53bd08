"""The tokens of a query (docs/specs/QueryLanguage.md, "Tokens"), read one by one from a line.

What follows decides how it is read: after a source comes a path, after `as of` a state, both bare
words; so the parser asks for what it expects. Literals are AJIS, but `'...'` is a String as it
stands, as people who know SQL write it.
"""

import re
from typing import NamedTuple

from affs_fuse.auv import INT64_MAX, TextError, Value, parse_prefix
from affs_fuse.errors import AffsError
from affs_fuse.query.faults import Span, fault

__all__ = ["KEYWORDS", "MINIMUM_MAGNITUDE", "Lexer", "Token"]

KEYWORDS = frozenset(
    {"and", "or", "not", "like", "matches", "in", "exists", "between", "true", "false", "null"}
    | {"inf", "nan", "as", "by", "asc", "desc", "on", "of"}
)
"""Words that are no field names unless they stand in backquotes, in any letter case."""

MINIMUM_MAGNITUDE = INT64_MAX + 1
"""Read as a number only so that a minus in front of it can make it the lowest Int64."""

_SPACE = re.compile(r"[ \t\r\n]*")
_WORD = re.compile(r"[^\W\d]\w*")
_BARE = re.compile(r"[^\s|()'\"]+")
_SIZE = re.compile(r"(\d+(?:_\d{3})*)(KiB|MiB|GiB|TiB)(?!\w)")
_MAGNITUDE = re.compile(rf"{MINIMUM_MAGNITUDE}(?![\w.])")
_SYMBOLS = ("!=", "<=", ">=", "<>", "==", *"=<>+-*/%(),.[]{}|:$")
_UNITS = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}
_CONSTANTS: dict[str, Value] = {
    "true": True, "false": False, "null": None, "inf": float("inf"), "nan": float("nan"),
}  # fmt: skip


class Token(NamedTuple):
    """kind: name, quoted (a name in backquotes), attribute, literal, symbol, keyword, end. text: of
    a name without its quotes, of a keyword in lower case."""

    kind: str
    text: str
    span: Span
    value: Value = None

    @property
    def shown(self) -> str:
        """For messages."""
        if self.kind == "end":
            return "the end"
        return self.text if self.kind == "literal" else repr(self.text)


class Lexer:
    """line: the whole line, for messages; start: where the query begins in it."""

    def __init__(self, line: str, start: int = 0) -> None:
        self.line = line
        self._at = start
        self._ahead: Token | None = None

    @property
    def consumed(self) -> int:
        """Where the last token that was taken ends."""
        return self._at

    def peek(self) -> Token:
        """The next token, which stays. Errors: query.syntax."""
        if self._ahead is None:
            self._ahead = self._read()
        return self._ahead

    def next(self) -> Token:
        """The next token. Errors: query.syntax."""
        token = self.peek()
        self._ahead = None
        self._at = token.span.end
        return token

    def bare(self, expected: str) -> Token:
        """A word up to white space, a bar, a parenthesis or a quote; or a quoted String."""
        self._ahead = None
        start = self._skip()
        if self.line[start : start + 1] in ("'", '"'):
            token = self.next()
            return Token("literal", str(token.value), token.span, token.value)
        match = _BARE.match(self.line, start)
        if match is None:
            span = Span(start, min(start + 1, len(self.line)))
            raise self.error(span, f"expected {expected}, found {self.peek().shown}")
        self._at = match.end()
        return Token("bare", match.group(), Span(start, match.end()))

    def error(self, span: Span, message: str, hint: str = "") -> AffsError:
        return fault(self.line, span, message, hint=hint)

    def _skip(self) -> int:
        match = _SPACE.match(self.line, self._at)
        assert match is not None, "the pattern matches the empty text"
        return match.end()

    def _read(self) -> Token:
        start = self._skip()
        line = self.line
        if start >= len(line):
            return Token("end", "", Span(len(line), len(line)))
        lead = line[start]
        if lead == "`":
            return self._quoted_name(start)
        if lead == "'":
            return self._plain_string(start)
        if lead == "@":
            match = _WORD.match(line, start + 1)
            if match is None:
                raise self.error(Span(start, start + 1), "expected an attribute's name behind '@'")
            return Token("attribute", match.group(), Span(start, match.end()))
        if lead.isdecimal() or lead == '"' or line.startswith(('hex"', 'b64"', "U+"), start):
            return self._literal(start)
        match = _WORD.match(line, start)
        if match is not None:
            return _word(match)
        for symbol in _SYMBOLS:
            if line.startswith(symbol, start):
                return Token("symbol", symbol, Span(start, start + len(symbol)))
        raise self.error(Span(start, start + 1), f"{lead!r} has no meaning here")

    def _quoted_name(self, start: int) -> Token:
        end = self.line.find("`", start + 1)
        if end < 0:
            raise self.error(Span(start, start + 1), "a backquote is never closed")
        return Token("quoted", self.line[start + 1 : end], Span(start, end + 1))

    def _plain_string(self, start: int) -> Token:
        at = start + 1
        pieces = []
        while True:
            end = self.line.find("'", at)
            if end < 0:
                raise self.error(Span(start, start + 1), "a single quote is never closed")
            pieces.append(self.line[at:end])
            at = end + 1
            if self.line[at : at + 1] != "'":
                break
            at += 1
        value = "'".join(pieces)
        return Token("literal", self.line[start:at], Span(start, at), value)

    def _literal(self, start: int) -> Token:
        line = self.line
        size = _SIZE.match(line, start)
        if size is not None:
            value = int(size.group(1).replace("_", "")) << _UNITS[size.group(2)]
            span = Span(start, size.end())
            if value > INT64_MAX:
                raise self.error(span, "this size does not fit Int64")
            return Token("literal", size.group(), span, value)
        magnitude = _MAGNITUDE.match(line, start)
        if magnitude is not None:
            span = Span(start, magnitude.end())
            return Token("literal", magnitude.group(), span, MINIMUM_MAGNITUDE)
        try:
            value, end = parse_prefix(line, start, space_separators=False)
        except TextError as error:
            at = Span(error.offset, error.offset + 1)
            raise self.error(at, f"expected {error.expected}") from None
        return Token("literal", line[start:end], Span(start, end), value)


def _word(match: re.Match[str]) -> Token:
    text = match.group()
    span = Span(match.start(), match.end())
    folded = text.lower()
    if folded in _CONSTANTS:
        return Token("literal", text, span, _CONSTANTS[folded])
    if folded in KEYWORDS:
        return Token("keyword", folded, span)
    return Token("name", text, span)
