"""Moments and spans of time as people write them (docs/specs/CommandGrammar.md, "Times").

A span is a number and a unit: `90s`, `2h`, `7d`. A moment is a span ago (`2h ago`, or `2h` alone),
`now`, or a date with or without a time of day, in UTC unless it says otherwise:
`2026-11-28`, `2026-11-28T10:30`, `2026-11-28 10:30:05+01:00`.
"""

import re
from datetime import UTC, datetime

__all__ = ["MomentError", "parse_moment", "parse_span"]

UNITS_S = {
    "s": 1, "sec": 1, "second": 1, "m": 60, "min": 60, "minute": 60, "h": 3600, "hour": 3600,
    "d": 86_400, "day": 86_400, "w": 604_800, "week": 604_800,
    "month": 30 * 86_400, "y": 365 * 86_400, "year": 365 * 86_400,
}  # fmt: skip
SPAN_S_MAX = 1000 * 365 * 86_400
_SPAN = re.compile(r"([0-9]{1,12})\s*([a-z]+)")
_NANOSECONDS = 10**9


class MomentError(ValueError):
    """A text that is no moment or no span; the message says what is expected."""


def parse_span(text: str) -> int:
    """Seconds. Errors: MomentError."""
    match = _SPAN.fullmatch(text.strip().lower())
    unit = match[2] if match else ""
    if unit not in UNITS_S and unit.endswith("s"):
        unit = unit[:-1]
    if match is None or unit not in UNITS_S:
        raise MomentError(f"{text!r} is no span of time: write 90s, 15m, 2h, 7d or 4w")
    seconds = int(match[1]) * UNITS_S[unit]
    if seconds > SPAN_S_MAX:
        raise MomentError(f"{text!r} is longer than 1000 years")
    return seconds


def parse_moment(text: str, now_ns: int) -> int:
    """Nanoseconds since the epoch. Errors: MomentError."""
    word = text.strip().lower()
    if word == "now":
        return now_ns
    if _SPAN.fullmatch(word.removesuffix("ago").strip()):
        return now_ns - parse_span(word.removesuffix("ago")) * _NANOSECONDS
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        raise MomentError(
            f"{text!r} is no moment: write `2h ago`, 2026-11-28 or 2026-11-28T10:30"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime.fromtimestamp(0, UTC)
    microseconds = (since.days * 86_400 + since.seconds) * 10**6 + since.microseconds
    return microseconds * 1000
