"""From an exception to the error value that a client gets: nothing leaves the runtime any other
way."""

import errno
import logging

from affs_fuse.errors import AffsError, Category

__all__ = ["as_affs_error"]

_log = logging.getLogger("affs.runtime")

_CATEGORIES = {
    errno.ENOENT: Category.NOT_FOUND,
    errno.EEXIST: Category.EXISTS,
    errno.EACCES: Category.DENIED,
    errno.EPERM: Category.DENIED,
    errno.EBUSY: Category.BUSY,
    errno.ENOSPC: Category.NO_SPACE,
    errno.EDQUOT: Category.NO_SPACE,
    errno.EROFS: Category.CONFLICT,
    errno.EINVAL: Category.INVALID,
    errno.ETIMEDOUT: Category.DEADLINE,
}


def as_affs_error(error: Exception, trace: str) -> AffsError:
    """Expected failures as they are, OSErrors by their errno, the rest as internal with a log
    entry."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, AffsError):
        return error
    if isinstance(error, OSError) and error.errno is not None:
        return AffsError(
            "runtime.os_error",
            _CATEGORIES.get(error.errno, Category.IO),
            error.strerror or str(error),
            details={"errno": error.errno},
        )
    _log.error("a request failed inside the runtime", exc_info=error, extra={"trace": trace})
    return AffsError(
        "runtime.internal",
        Category.INTERNAL,
        "the runtime failed on this request; its log has the details",
        hint=f"look for the trace {trace} in the log, and report it",
        details={"exception": type(error).__name__},
    )
