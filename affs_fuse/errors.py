"""Errors as values: stable codes, categories, exit statuses and errnos (docs/specs/Errors.md).

Below the edges an expected failure is an `AffsError`; at the control channel it becomes the AUV
object of `AffsError.to_auv`, at the mount the errno of its category. A broken contract is an
AssertionError.
"""

import errno
from enum import StrEnum
from typing import Any

__all__ = ["AffsError", "Category"]


class Category(StrEnum):
    """The closed set of categories; each has one exit status and one errno."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    EXISTS = "exists"
    CONFLICT = "conflict"
    DENIED = "denied"
    BUSY = "busy"
    NO_SPACE = "no_space"
    CORRUPT = "corrupt"
    IO = "io"
    UNSUPPORTED = "unsupported"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    INTERNAL = "internal"

    @property
    def exit_status(self) -> int:
        """Of affsctl, when a command ends with an error of this category."""
        return _EXIT_STATUSES[self]

    @property
    def errno(self) -> int:
        """What a program that works through the mount sees."""
        return _ERRNOS[self]


_EXIT_STATUSES = {
    Category.INVALID: 2,
    Category.NOT_FOUND: 16,
    Category.EXISTS: 1,
    Category.CONFLICT: 14,
    Category.DENIED: 13,
    Category.BUSY: 11,
    Category.NO_SPACE: 15,
    Category.CORRUPT: 19,
    Category.IO: 1,
    Category.UNSUPPORTED: 2,
    Category.CANCELLED: 130,
    Category.DEADLINE: 18,
    Category.INTERNAL: 1,
}

_ERRNOS = {
    Category.INVALID: errno.EINVAL,
    Category.NOT_FOUND: errno.ENOENT,
    Category.EXISTS: errno.EEXIST,
    Category.CONFLICT: errno.EAGAIN,
    Category.DENIED: errno.EACCES,
    Category.BUSY: errno.EBUSY,
    Category.NO_SPACE: errno.ENOSPC,
    Category.CORRUPT: errno.EIO,
    Category.IO: errno.EIO,
    Category.UNSUPPORTED: errno.EOPNOTSUPP,
    Category.CANCELLED: errno.EINTR,
    Category.DEADLINE: errno.ETIMEDOUT,
    Category.INTERNAL: errno.EIO,
}


class AffsError(Exception):
    """An expected failure.

    code: stable, dotted, lower case ("volume.not_affs"), listed in docs/specs/Errors.md.
    message: one line, what and where. hint: what to do, or "". details: AUV-able values.
    errno: what a program that works through the mount sees, the category's unless given.
    """

    def __init__(
        self,
        code: str,
        category: Category,
        message: str,
        *,
        hint: str = "",
        retryable: bool = False,
        details: dict[str, Any] | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.category = category
        self.message = message
        self.hint = hint
        self.retryable = retryable
        self.details = details or {}
        self.errno = category.errno if errno is None else errno

    def __reduce__(self) -> tuple[Any, ...]:
        """So that it can pass between processes, subclasses with other parameters too."""
        return _remade, (type(self), self.args, self.__dict__)

    def to_auv(self, trace: str = "") -> dict[str, Any]:
        """The object that answers carry (docs/specs/Errors.md, "Shape")."""
        return {
            "code": self.code,
            "category": str(self.category),
            "message": self.message,
            "hint": self.hint,
            "retryable": self.retryable,
            "trace": trace,
            "details": self.details,
        }


def _remade(kind: type[AffsError], arguments: tuple[Any, ...], fields: dict[str, Any]) -> AffsError:
    made = kind.__new__(kind, *arguments)
    made.__dict__.update(fields)
    return made
