"""Numbers of AJIS text (docs/specs/AJIS.md, "Numbers").

A reader starts at the sign or the first digit and gives the value and the offset behind it. Digit
groups are checked while they are read, one regular expression match per run, so the time is linear
in the text and no digit string longer than Int64 needs is ever turned into an int.
"""

import math
import re
from dataclasses import dataclass

from affs_fuse.auv.ajis_source import Source
from affs_fuse.auv.values import INT64_MAX, INT64_MIN

__all__ = ["read_number"]

_WORD_PART = re.compile(r"[A-Za-z0-9_.]")


@dataclass(frozen=True, slots=True)
class _Base:
    """One notation of integers. digit_count_max: of the longest Int64 in it, leading zeros
    apart.
    """

    radix: int
    name: str
    digits: re.Pattern[str]
    digit_count_max: int


_DECIMAL = _Base(10, "decimal", re.compile(r"[0-9]+"), 19)
_BASES = {
    "x": _Base(16, "hexadecimal", re.compile(r"[0-9A-Fa-f]+"), 16),
    "o": _Base(8, "octal", re.compile(r"[0-7]+"), 22),
    "b": _Base(2, "binary", re.compile(r"[01]+"), 64),
}


def read_number(source: Source, start: int) -> tuple[int | float, int]:
    """The number at start and the offset behind it; TextError when there is none."""
    negative = source.at(start) == "-"
    offset = start + 1 if negative else start
    if negative and source.text.startswith("inf", offset):
        _require_end(source, offset + 3)
        return -math.inf, offset + 3
    base = _BASES.get(source.at(offset + 1)) if source.at(offset) == "0" else None
    if base is not None:
        digits, end = _read_groups(source, offset + 2, base)
        _require_end(source, end)
        return _integer(source, start, negative, digits, base), end
    digits, end = _read_groups(source, offset, _DECIMAL)
    tail_end = _read_tail(source, end)
    _require_end(source, tail_end)
    if tail_end == end:
        return _integer(source, start, negative, digits, _DECIMAL), end
    return _float(source, start, negative, digits, source.text[end:tail_end]), tail_end


def _read_groups(source: Source, start: int, base: _Base) -> tuple[str, int]:
    """The digits without their separators, grouping checked, and the offset behind them."""
    text = source.text
    first = base.digits.match(text, start)
    if first is None:
        raise source.fault("number", start, f"a {base.name} digit")
    if base is _DECIMAL and first.end() - start > 1 and text[start] == "0":
        raise source.fault("leading_zero", start, "a number without leading zeros")
    separator = source.at(first.end())
    if not _separates(source, first.end(), separator, base):
        return first.group(), first.end()
    size = _group_size(source, start, first.group(), base)
    groups = [first.group()]
    offset = first.end()
    while source.at(offset) == separator:
        group = base.digits.match(text, offset + 1)
        if group is None:
            if separator == " ":
                break
            raise source.fault("separator", offset + 1, f"a {base.name} digit after the separator")
        if group.end() - group.start() != size:
            raise source.fault("separator", offset + 1, f"a group of exactly {size} digits")
        groups.append(group.group())
        offset = group.end()
    other = source.at(offset)
    if other != separator and _separates(source, offset, other, base):
        raise source.fault("separator", offset, "one kind of digit separator in a number")
    return "".join(groups), offset


def _separates(source: Source, offset: int, candidate: str, base: _Base) -> bool:
    """Whether candidate, at offset behind a digit, can only be meant as a digit separator."""
    if candidate == "_":
        return True
    if candidate != " " or not source.space_separators:
        return False
    return base.digits.match(source.text, offset + 1) is not None


def _group_size(source: Source, start: int, first: str, base: _Base) -> int:
    """How many digits each group after the first has; TextError when the first is a wrong one."""
    count = len(first)
    if base.radix == 16:
        if count > 4:
            raise source.fault("separator", start, "a first group of 1 to 4 digits")
        return 2 if count <= 2 else 4
    size = 4 if base.radix == 2 else 3
    if count > size:
        raise source.fault("separator", start, f"a first group of 1 to {size} digits")
    if base.radix != 2 and not first.strip("0"):
        raise source.fault("leading_zero", start, "a first group that is not zero")
    return size


def _read_tail(source: Source, offset: int) -> int:
    """Past fraction, exponent and suffix, each of which makes the number a Float64."""
    if source.at(offset) == ".":
        offset = _read_plain_digits(source, offset + 1, "a digit after the point")
    if source.at(offset) in ("e", "E"):
        offset += 2 if source.at(offset + 1) in ("+", "-") else 1
        offset = _read_plain_digits(source, offset, "a digit of the exponent")
    if source.at(offset) in ("f", "F"):
        offset += 1
    return offset


def _read_plain_digits(source: Source, offset: int, expected: str) -> int:
    match = _DECIMAL.digits.match(source.text, offset)
    if match is None:
        raise source.fault("number", offset, expected)
    if source.at(match.end()) == "_":
        raise source.fault("separator", match.end(), "no separator behind the integer part")
    return match.end()


def _require_end(source: Source, offset: int) -> None:
    if _WORD_PART.match(source.text, offset) is not None:
        raise source.fault("number", offset, "the end of the number")


def _integer(source: Source, start: int, negative: bool, digits: str, base: _Base) -> int:
    significant = digits.lstrip("0") or "0"
    if len(significant) <= base.digit_count_max:
        number = int(significant, base.radix)
        number = -number if negative else number
        if INT64_MIN <= number <= INT64_MAX:
            return number
    raise source.fault("number_range", start, f"an integer from {INT64_MIN} to {INT64_MAX}")


def _float(source: Source, start: int, negative: bool, digits: str, tail: str) -> float:
    number = float(digits + tail.rstrip("fF"))
    if math.isinf(number):
        raise source.fault("number_range", start, "a number in the range of Float64")
    return -number if negative else number
