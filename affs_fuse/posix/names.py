"""Names of directory entries: 1 to 255 bytes, any byte but '/' and NUL; they need not be UTF-8."""

import errno

from affs_fuse.core.constants import NAME_MAX
from affs_fuse.posix.errors import posix_error

__all__ = ["DOOR", "DOTS", "check_name", "check_new_name"]

DOTS = (b".", b"..")
DOOR = b".affs"
"""Name in the root directory of the door to the views of kept states; reserved, never in the tree.
"""


def check_name(name: bytes) -> None:
    """Errors: ENAMETOOLONG; ENOENT for the empty name; EINVAL for a byte that no name has."""
    if len(name) > NAME_MAX:
        raise posix_error(errno.ENAMETOOLONG, f"a name has at most {NAME_MAX} bytes")
    if not name:
        raise posix_error(errno.ENOENT, "the empty name names nothing")
    if b"/" in name or b"\0" in name:
        raise posix_error(errno.EINVAL, "a name holds neither '/' nor NUL")


def check_new_name(name: bytes) -> None:
    """The same for a name to be made. Errors: also EEXIST for '.' and '..'."""
    check_name(name)
    if name in DOTS:
        raise posix_error(errno.EEXIST)
