"""The text under an AJIS parser: positions, faults, white space and comments (docs/specs/AJIS.md).

All token readers share one `Source`. Offsets count Unicode scalars; lines and columns are computed
only when a fault is made, so that they cost nothing on the way.
"""

import re

from affs_fuse.auv.errors import TextError
from affs_fuse.auv.limits import Limits

__all__ = ["SURROGATE", "Source", "decode_text"]

_SPACE = re.compile(r"[ \t\r\n]*")
_LINE_REST = re.compile(r"[^\r\n]*")
SURROGATE = re.compile("[\ud800-\udfff]")
_FOUND = re.compile(r"[A-Za-z0-9_.+-]{1,24}|.", re.DOTALL)


class Source:
    """text without lone surrogates, and the limits that its values must keep."""

    __slots__ = ("limits", "space_separators", "text")

    def __init__(self, text: str, limits: Limits, space_separators: bool) -> None:
        self.text = text
        self.limits = limits
        self.space_separators = space_separators
        surrogate = None if text.isascii() else SURROGATE.search(text)
        if surrogate is not None:
            raise self.fault("unicode", surrogate.start(), "no lone surrogate")

    def at(self, offset: int) -> str:
        """The scalar at offset, "" at the end."""
        return self.text[offset : offset + 1]

    def skip(self, offset: int) -> int:
        """Past white space and comments; an unfinished block comment is a fault."""
        text = self.text
        while True:
            match = _SPACE.match(text, offset)
            assert match is not None, "the pattern matches the empty text"
            offset = match.end()
            if text.startswith("//", offset):
                rest = _LINE_REST.match(text, offset)
                assert rest is not None, "the pattern matches the empty text"
                offset = rest.end()
            elif text.startswith("/*", offset):
                end = text.find("*/", offset + 2)
                if end < 0:
                    raise self.fault("comment", offset, "'*/' that ends this comment")
                offset = end + 2
            else:
                return offset

    def position(self, offset: int) -> tuple[int, int]:
        """Line and column, from 1."""
        return _position(self.text, offset)

    def fault(self, reason: str, offset: int, expected: str) -> TextError:
        line, column = _position(self.text, offset)
        found = _FOUND.match(self.text, offset)
        return TextError(
            reason, line, column, offset, expected, found.group() if found is not None else ""
        )


def decode_text(data: bytes) -> str:
    """UTF-8 bytes as text; TextError at the first byte that is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        line, column = _position(before, len(before))
        found = f"byte 0x{data[error.start]:02x}"
        raise TextError("unicode", line, column, len(before), "UTF-8 text", found) from None


def _position(text: str, offset: int) -> tuple[int, int]:
    """Line and column from 1. A line ends with LF, CR LF or CR."""
    returns = text.count("\r", 0, offset)
    pairs = text.count("\r\n", 0, offset) if returns else 0
    line = 1 + text.count("\n", 0, offset) + returns - pairs
    start = max(text.rfind("\n", 0, offset), text.rfind("\r", 0, offset)) + 1
    return line, offset - start + 1
