"""`like`: `%` stands for any text, `_` for one scalar, a backslash takes a meaning away.

A pattern is parts between `%`; each is found as early as it can be, which is always right, so the
time is at most text times pattern and no pattern makes it worse.
"""

from collections.abc import Callable

__all__ = ["compile_like", "fixed_start", "is_prefix"]

_ANY = None
"""In a part: `_`."""


def compile_like(pattern: str) -> Callable[[str], bool]:
    """Whether a whole text fits the pattern. ValueError for a backslash at its end."""
    parts = _parts(pattern)
    if len(parts) == 1:
        return _whole(parts[0])
    first, last, middle = parts[0], parts[-1], [part for part in parts[1:-1] if part]
    if not middle and all(one is not _ANY for one in first + last):
        return _ends("".join(map(str, first)), "".join(map(str, last)))
    finders = [_finder(part) for part in middle]

    def fits(text: str) -> bool:
        at, end = len(first), len(text) - len(last)
        if end < at or not _fits_at(first, text, 0) or not _fits_at(last, text, end):
            return False
        for find, part in zip(finders, middle, strict=True):
            found = find(text, at, end)
            if found < 0:
                return False
            at = found + len(part)
        return True

    return fits


def fixed_start(pattern: str) -> tuple[str, bool]:
    """(what every text that fits begins with, whether it is all of the text). ValueError as
    above."""
    parts = _parts(pattern)
    start: list[str] = []
    for letter in parts[0]:
        if letter is _ANY:
            return "".join(start), False
        start.append(letter)
    return "".join(start), len(parts) == 1


def is_prefix(pattern: str) -> bool:
    """Whether it says how a text begins and nothing else. ValueError as above."""
    first, *rest = _parts(pattern)
    return bool(rest) and not any(rest) and all(one is not _ANY for one in first)


def _parts(pattern: str) -> list[list[str | None]]:
    parts: list[list[str | None]] = [[]]
    escaped = False
    for letter in pattern:
        if escaped:
            parts[-1].append(letter)
            escaped = False
        elif letter == "\\":
            escaped = True
        elif letter == "%":
            parts.append([])
        else:
            parts[-1].append(_ANY if letter == "_" else letter)
    if escaped:
        raise ValueError("the pattern ends in a backslash")
    return parts


def _whole(part: list[str | None]) -> Callable[[str], bool]:
    return lambda text: len(text) == len(part) and _fits_at(part, text, 0)


def _ends(first: str, last: str) -> Callable[[str], bool]:
    shortest = len(first) + len(last)
    return lambda text: len(text) >= shortest and text.startswith(first) and text.endswith(last)


def _fits_at(part: list[str | None], text: str, at: int) -> bool:
    return all(
        one is _ANY or one == letter
        for one, letter in zip(part, text[at : at + len(part)], strict=True)
    )


def _finder(part: list[str | None]) -> Callable[[str, int, int], int]:
    if all(one is not _ANY for one in part):
        plain = "".join(map(str, part))
        return lambda text, at, end: text.find(plain, at, end)

    def find(text: str, at: int, end: int) -> int:
        for start in range(at, end - len(part) + 1):
            if _fits_at(part, text, start):
                return start
        return -1

    return find
