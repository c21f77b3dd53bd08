"""Strings, Chars, Binaries and keywords of AJIS text (docs/specs/AJIS.md).

Each reader starts at the first scalar of its token and gives the value and the offset behind it.
Runs of ordinary text are taken by one match each, so the time is linear in the text.
"""

import binascii
import math
import re

from affs_fuse.auv.ajis_source import Source
from affs_fuse.auv.values import Char

__all__ = ["read_char", "read_key", "read_string", "read_word"]

_PLAIN = re.compile(r'[^"\\\x00-\x1f]*')
_HEX4 = re.compile(r"[0-9A-Fa-f]{4}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HEX_BODY = re.compile(r"[0-9A-Fa-f \t\r\n]*")
_BASE64_BODY = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_SCALAR_DIGITS = re.compile(r"[0-9A-Fa-f]+")
_ESCAPES = {
    '"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t",
}  # fmt: skip
_NO_SPACE = str.maketrans("", "", " \t\r\n")
_BASE64_INDEX = {
    letter: index
    for index, letter in enumerate(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    )
}


def read_string(source: Source, start: int) -> tuple[str, int]:
    """A String, from its opening quote."""
    return _read_quoted(source, start, "string", source.limits.string_bytes_max)


def read_key(source: Source, start: int) -> tuple[str, int]:
    """The key of an Object's entry."""
    if source.at(start) != '"':
        raise source.fault("key", start, "a key in double quotes")
    return _read_quoted(source, start, "key", source.limits.key_bytes_max)


def _read_quoted(source: Source, start: int, what: str, bytes_max: int) -> tuple[str, int]:
    text = source.text
    pieces: list[str] = []
    length = 0
    offset = start + 1
    while True:
        match = _PLAIN.match(text, offset)
        assert match is not None, "the pattern matches the empty text"
        pieces.append(match.group())
        length += match.end() - offset
        offset = match.end()
        stop = source.at(offset)
        if stop == '"':
            break
        if stop != "\\":
            raise _unfinished(source, offset, '"')
        scalar, offset = _read_escape(source, offset, "")
        pieces.append(scalar)
        length += 1
        if length > bytes_max:
            break
    result = "".join(pieces)
    if length > bytes_max or len(result.encode("utf-8")) > bytes_max:
        raise source.fault(f"{what}_size", start, f"a {what} of at most {bytes_max} bytes")
    return result, offset + 1


def _read_escape(source: Source, start: int, more: str) -> tuple[str, int]:
    """The scalar that an escape stands for. more: a letter that may be escaped besides."""
    letter = source.at(start + 1)
    simple = _ESCAPES.get(letter)
    if simple is not None:
        return simple, start + 2
    if letter and letter == more:
        return letter, start + 2
    if letter != "u":
        raise source.fault("escape", start, r"an escape: \" \\ \/ \b \f \n \r \t or \u")
    unit = _read_unit(source, start)
    end = start + 6
    if 0xD800 <= unit <= 0xDBFF and source.text.startswith("\\u", end):
        low = _read_unit(source, end)
        if 0xDC00 <= low <= 0xDFFF:
            return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00)), end + 6
    if 0xD800 <= unit <= 0xDFFF:
        raise source.fault("unicode", start, "a surrogate pair, no lone surrogate")
    return chr(unit), end


def _read_unit(source: Source, start: int) -> int:
    match = _HEX4.match(source.text, start + 2)
    if match is None:
        raise source.fault("escape", start, "four hexadecimal digits after \\u")
    return int(match.group(), 16)


def _unfinished(source: Source, offset: int, quote: str) -> Exception:
    if source.at(offset):
        return source.fault("control", offset, "no raw control character here; use an escape")
    return source.fault("unfinished", offset, f"{quote} that ends this")


def read_char(source: Source, start: int) -> tuple[Char, int]:
    """A Char in apostrophes, from the first of them."""
    letter = source.at(start + 1)
    if letter == "\\":
        letter, end = _read_escape(source, start + 1, "'")
    elif letter == "'":
        raise source.fault("char", start, "one character between the apostrophes")
    elif letter < " ":
        raise _unfinished(source, start + 1, "'")
    else:
        end = start + 2
    if not source.at(end):
        raise source.fault("unfinished", end, "' that ends this")
    if source.at(end) != "'":
        raise source.fault("char", end, "' after one character")
    return Char(letter), end + 1


def read_word(source: Source, start: int) -> tuple[bool | float | Char | bytes | None, int]:
    """A keyword, or a token that begins with one: hex"...", b64"...", U+0041."""
    match = _WORD.match(source.text, start)
    if match is None:
        raise source.fault("value", start, "a value")
    word = match.group()
    end = match.end()
    if word == "hex" and source.at(end) == '"':
        return _read_hex(source, end)
    if word == "b64" and source.at(end) == '"':
        return _read_base64(source, end)
    if word == "U" and source.at(end) == "+":
        return _read_scalar(source, start)
    if word in _EXACT_WORDS:
        return _EXACT_WORDS[word], end
    folded = word.lower()
    if folded in _FOLDED_WORDS:
        return _FOLDED_WORDS[folded], end
    raise source.fault("value", start, "a value")


_EXACT_WORDS = {"inf": math.inf, "nan": math.nan}
_FOLDED_WORDS = {"null": None, "true": True, "false": False}


def _read_hex(source: Source, quote: int) -> tuple[bytes, int]:
    match = _HEX_BODY.match(source.text, quote + 1)
    assert match is not None, "the pattern matches the empty text"
    if source.at(match.end()) != '"':
        raise source.fault("binary", match.end(), 'a hexadecimal digit or "')
    digits = match.group().translate(_NO_SPACE)
    if len(digits) % 2:
        raise source.fault("binary", match.end(), "an even number of hexadecimal digits")
    _check_binary(source, quote, len(digits) // 2)
    return bytes.fromhex(digits), match.end() + 1


def _read_base64(source: Source, quote: int) -> tuple[bytes, int]:
    match = _BASE64_BODY.match(source.text, quote + 1)
    assert match is not None, "the pattern matches the empty text"
    if source.at(match.end()) != '"':
        raise source.fault("binary", match.end(), 'a letter of base64 or "')
    body = match.group()
    if len(body) % 4:
        raise source.fault("binary", match.end(), "base64 padded by '=' to a multiple of 4")
    _check_binary(source, quote, len(body) // 4 * 3)
    padding = len(body) - len(body.rstrip("="))
    if padding and _BASE64_INDEX[body[-padding - 1]] & ((1 << 2 * padding) - 1):
        raise source.fault("binary", match.end() - padding - 1, "zero bits before the padding")
    return binascii.a2b_base64(body), match.end() + 1


def _check_binary(source: Source, quote: int, size: int) -> None:
    if size > source.limits.binary_bytes_max:
        limit = source.limits.binary_bytes_max
        raise source.fault("binary_size", quote, f"a Binary of at most {limit} bytes")


def _read_scalar(source: Source, start: int) -> tuple[Char, int]:
    match = _SCALAR_DIGITS.match(source.text, start + 2)
    count = len(match.group()) if match is not None else 0
    if match is None or not 4 <= count <= 6 or _WORD.match(source.text, match.end()) is not None:
        raise source.fault("char", start, "U+ and 4 to 6 hexadecimal digits")
    code = int(match.group(), 16)
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        raise source.fault("char", start, "a Unicode scalar")
    return Char(chr(code)), match.end()
