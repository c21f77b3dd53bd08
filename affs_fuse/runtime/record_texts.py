"""The text of records as commands write it: a new one on one line, a changed one as it was but for
what changed (docs/specs/Records.md, "Text")."""

import trio

from affs_fuse.auv import TextError, Value, edited_text, format_quick, parse_quick
from affs_fuse.query.paths import path_bytes
from affs_fuse.query.sources import RECORD_BYTES_MAX, record_problem, record_too_large

__all__ = ["changed_aside", "changed_text", "parsed", "text_of", "value_of"]

TURN_BYTES = 4 << 10
"""Of a text that is changed within a turn of the loop: some milliseconds."""


def value_of(data: bytes) -> Value:
    """None where it does not parse."""
    try:
        return parse_quick(data)
    except TextError:
        return None


def text_of(value: Value, path: str) -> bytes:
    """A new record as it is stored: one line."""
    return _bounded(format_quick(value) + "\n", path)


async def changed_aside(data: bytes, before: Value, after: Value, path: str) -> bytes:
    """As `changed_text`. A large text takes seconds, which no turn of the loop may: in a thread it
    makes the loop slower, but leaves it its turns."""
    if len(data) <= TURN_BYTES:
        return changed_text(data, before, after, path)
    return await trio.to_thread.run_sync(changed_text, data, before, after, path)


def changed_text(data: bytes, before: Value, after: Value, path: str) -> bytes:
    """A record with another value; of its text what did not change stays."""
    text, plain = data.decode(), format_quick(before)
    if text.startswith(plain) and not text[len(plain) :].strip("\n"):  # as commands write it
        return _bounded(format_quick(after) + text[len(plain) :], path)
    return _bounded(edited_text(text, after), path)


def _bounded(text: str, path: str) -> bytes:
    data = text.encode()
    if len(data) > RECORD_BYTES_MAX:
        raise record_too_large(path_bytes(path), len(data))
    return data


def parsed(data: bytes, path: str) -> Value:
    try:
        return parse_quick(data)
    except TextError as error:
        raise record_problem(path_bytes(path), error) from None
