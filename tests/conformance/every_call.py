"""Every call that takes a path, as a function of that path: for errors that all of them share.

Each works on what the path names, or makes it, whatever type it is; it raises OSError where the
system call fails. None of them waits.
"""

import ctypes
import errno
import os
import stat
import struct
from collections.abc import Callable

from posix_kit import RENAME_EXCHANGE, RENAME_NOREPLACE, call, renameat2

ACL = struct.pack(
    "<I" + "HHI" * 3, 2, 1, 6, 0xFFFFFFFF, 4, 4, 0xFFFFFFFF, 0x20, 4, 0xFFFFFFFF
)  # fmt: skip
"""rw-r--r--, as system.posix_acl_access has it."""


def opened_and_closed(path: str, flags: int) -> None:
    os.close(os.open(path, flags, 0o644))


def access(path: str, mode: int = os.F_OK) -> None:
    call("access", path.encode(), mode)


def statfs(path: str) -> None:
    call("statfs", path.encode(), ctypes.create_string_buffer(512))


MAKING: dict[str, Callable[[str], object]] = {
    "open O_CREAT": lambda path: opened_and_closed(path, os.O_CREAT | os.O_WRONLY),
    "open O_EXCL": lambda path: opened_and_closed(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    "creat": lambda path: os.close(call("creat", path.encode(), 0o644)),
    "mkdir": os.mkdir,
    "mknod": lambda path: os.mknod(path, stat.S_IFREG | 0o600),
    "mkfifo": os.mkfifo,
    "symlink": lambda path: os.symlink("x", path),
    "link to": lambda path: os.link("file", path),
    "rename to": lambda path: os.rename("file", path),
    "rename no-replace": lambda path: renameat2("file", path, RENAME_NOREPLACE),
}
"""What makes the path's last name; "file" is a file beside it."""
CHANGING: dict[str, Callable[[str], object]] = {
    "open O_WRONLY": lambda path: opened_and_closed(path, os.O_WRONLY),
    "open O_TRUNC": lambda path: opened_and_closed(path, os.O_RDONLY | os.O_TRUNC),
    "link from": lambda path: os.link(path, "new"),
    "unlink": os.unlink,
    "rename from": lambda path: os.rename(path, "new"),
    "exchange": lambda path: renameat2("file", path, RENAME_EXCHANGE),
    "truncate": lambda path: os.truncate(path, 1),
    "chmod": lambda path: os.chmod(path, 0o600),
    "chown": lambda path: os.chown(path, 0, 0),
    "lchown": lambda path: os.lchown(path, 0, 0),
    "utimensat": os.utime,
    "setxattr": lambda path: os.setxattr(path, "user.x", b"1"),
    "removexattr": lambda path: os.removexattr(path, "user.kept"),
    "set an ACL": lambda path: os.setxattr(path, "system.posix_acl_access", ACL),
}
"""What changes a file that is there."""
OF_DIRECTORIES: dict[str, Callable[[str], object]] = {
    "rmdir": os.rmdir,
    "open O_TMPFILE": lambda path: opened_and_closed(path, os.O_TMPFILE | os.O_WRONLY),
}
LOOKING: dict[str, Callable[[str], object]] = {
    "open": lambda path: opened_and_closed(path, os.O_RDONLY),
    "open O_DIRECTORY": lambda path: opened_and_closed(path, os.O_RDONLY | os.O_DIRECTORY),
    "open O_PATH": lambda path: opened_and_closed(path, os.O_PATH),
    "access": access,
    "stat": os.stat,
    "lstat": os.lstat,
    "statfs": statfs,
    "readlink": os.readlink,
    "opendir": os.listdir,
    "chdir": os.chdir,
    "execve": lambda path: os.execv(path, ["x"]),
    "getxattr": lambda path: os.getxattr(path, "user.kept"),
    "listxattr": os.listxattr,
}
ALL = {**MAKING, **CHANGING, **OF_DIRECTORIES, **LOOKING}

OF_THE_LAST_LINK = {
    "open O_EXCL", "mkdir", "mknod", "mkfifo", "symlink", "link to", "rename to",
    "rename no-replace", "link from", "unlink", "rename from", "exchange", "lchown", "rmdir",
    "lstat", "readlink",
}  # fmt: skip
"""These work on a link at the end of the path itself, so that no loop begins there."""


def errno_of(action: Callable[[], object]) -> int:
    """0 if it does not fail."""
    try:
        action()
    except OSError as error:
        return error.errno or -1
    return 0


def name_of(number: int) -> str:
    return errno.errorcode.get(number, "no error")

