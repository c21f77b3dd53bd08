"""Paths of the volume as text: in arguments, queries, batches and messages.

A path is bytes, text is UTF-8. A path that is UTF-8 is its own text; any may be written as `b64:`
and the base64 of its bytes (docs/specs/CommandGrammar.md, "Paths"). Whatever takes a path as text
reads it here, and no text of a path holds anything but UTF-8.
"""

import base64
import binascii
import posixpath
from collections.abc import Mapping
from typing import Any

from affs_fuse.errors import AffsError, Category

__all__ = [
    "absolute_path", "exact_path", "is_path", "path_bytes", "path_fields", "path_named",
    "path_text",
]

EXACT = "b64:"
ROOTED = ("/", EXACT)


def is_path(text: str) -> bool:
    """Whether it is written as an absolute path may be."""
    return text.startswith(ROOTED)


def path_bytes(text: str) -> bytes:
    """The path that a text means. invalid: record.path."""
    if not text.startswith(EXACT):
        return text.encode()
    try:
        path = base64.b64decode(text[len(EXACT) :], validate=True)
    except (binascii.Error, ValueError):
        raise _wrong(text, "what follows b64: is no base64 of a path") from None
    if not path or b"\0" in path:
        raise _wrong(text, "a path has at least one byte, and no NUL")
    return path


def path_named(path: bytes) -> str:
    """A text that means this path."""
    try:
        text = path.decode()
    except UnicodeDecodeError:
        text = ""
    if text and not text.startswith(EXACT):
        return text
    return EXACT + base64.b64encode(path).decode()


def path_text(path: bytes) -> str:
    """For people: a byte that is no UTF-8 becomes U+FFFD."""
    return path.decode("utf-8", "replace")


def path_fields(path: bytes, key: str = "path") -> dict[str, Any]:
    """A path in a row: for people, and where that is not all its bytes beside it."""
    text = path_text(path)
    if text.encode() == path:
        return {key: text}
    return {key: text, f"{key}_b64": base64.b64encode(path).decode()}


def exact_path(row: Mapping[str, Any], key: str = "path") -> bytes:
    """Of a row that shows a path for people, and where that is not all has its bytes beside it."""
    exact: str = row.get(f"{key}_b64", "")
    return base64.b64decode(exact) if exact else row[key].encode()


def absolute_path(directory: str, text: str) -> str:
    """The path that text means in a directory, `.` and `..` taken out by their words alone.
    invalid: record.path."""
    if not (text.startswith(EXACT) or directory.startswith(EXACT)):
        return "/" + posixpath.normpath(posixpath.join("/", directory, text)).lstrip("/")
    joined = posixpath.join(b"/", path_bytes(directory), path_bytes(text))
    return path_named(b"/" + posixpath.normpath(joined).lstrip(b"/"))


def _wrong(text: str, what: str) -> AffsError:
    return AffsError(
        "record.path", Category.INVALID, f"{text}: {what}",
        hint="path_b64 of a row has it", details={"path": text},
    )  # fmt: skip
