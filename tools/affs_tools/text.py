"""Text for people: sizes in and out, names that cannot play tricks on a terminal."""

import unicodedata
from datetime import UTC, datetime

__all__ = ["escape", "escape_name", "format_size", "format_time", "parse_size"]

_UNITS = ("", "K", "M", "G", "T", "P", "E")


def parse_size(text: str) -> int:
    """Bytes of "4096", "64MiB", "64M", "1.5G"; units are powers of 1024. Errors: ValueError."""
    word = text.strip()
    lower = word.lower()
    for ending in ("ib", "b"):
        if lower.endswith(ending) and len(lower) > len(ending):
            lower = lower[: -len(ending)]
            break
    shift = 0
    if lower and lower[-1].upper() in _UNITS[1:]:
        shift = 10 * _UNITS.index(lower[-1].upper())
        lower = lower[:-1]
    whole, point, fraction = lower.partition(".")
    if not whole.isascii() or not whole.isdigit() or (point and not fraction.isdigit()):
        raise ValueError(f"{text!r} is no size; write 1G, 64MiB or a number of bytes")
    size = int(whole) << shift
    if fraction:
        part = int(fraction) << shift
        if part % 10 ** len(fraction):
            raise ValueError(f"{text!r} is no whole number of bytes")
        size += part // 10 ** len(fraction)
    return size


def format_size(size_bytes: int) -> str:
    """"1 GiB", "64.5 MiB", "17 bytes"."""
    amount = float(size_bytes)
    for unit in _UNITS:
        if amount < 1024 or unit == _UNITS[-1]:
            if not unit:
                return f"{size_bytes} bytes"
            return f"{amount:.1f}".removesuffix(".0") + f" {unit}iB"
        amount /= 1024
    raise AssertionError("unreachable")


def format_time(time_ns: int) -> str:
    """ISO 8601 in UTC to the nanosecond; years that a calendar cannot hold as a plain number."""
    seconds, rest = divmod(time_ns, 10**9)
    try:
        moment = datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_ns} ns"
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def escape(text: str) -> str:
    """The text with every character that a terminal might obey, or not show, written as \\x or
    \\u."""
    return "".join(_shown(character) for character in text)


def escape_name(name: bytes) -> str:
    """A file name for people: bytes that are not UTF-8 become \\xNN, so do control characters."""
    return escape(name.decode("utf-8", "surrogateescape"))


def _shown(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"\\x{code:02x}" if code < 0x100 else f"\\U{code:08x}"
    return character
