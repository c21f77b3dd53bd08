"""mount(2), umount2(2) and the kernel's table of mounts, without libfuse.

Invariants:
- No function here touches a mounted filesystem but `probe`, which tells whether one answers.
- Paths are bytes as the kernel has them; `/proc/self/mountinfo`'s octal escapes are undone.
"""

import ctypes
import errno
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = [
    "FILESYSTEM_TYPE",
    "MNT_DETACH",
    "MNT_FORCE",
    "MOUNT_FLAGS",
    "MountEntry",
    "abort_connection",
    "is_dead",
    "mount",
    "mount_entries",
    "mount_entry_of",
    "open_abort",
    "parse_mountinfo",
    "set_read_ahead",
    "unmount",
]

FILESYSTEM_TYPE = "fuse.affs"

MNT_FORCE = 1
MNT_DETACH = 2

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_SYNCHRONOUS = 16
MS_DIRSYNC = 128
MS_NOSYMFOLLOW = 256
MS_NOATIME = 1024
MS_NODIRATIME = 2048
MS_SILENT = 32768
MS_POSIXACL = 1 << 16
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MS_LAZYTIME = 1 << 25

# Option word -> (flags to set, flags to clear).
MOUNT_FLAGS: dict[str, tuple[int, int]] = {
    "ro": (MS_RDONLY, 0),
    "rw": (0, MS_RDONLY),
    "nosuid": (MS_NOSUID, 0),
    "suid": (0, MS_NOSUID),
    "nodev": (MS_NODEV, 0),
    "dev": (0, MS_NODEV),
    "noexec": (MS_NOEXEC, 0),
    "exec": (0, MS_NOEXEC),
    "sync": (MS_SYNCHRONOUS, 0),
    "async": (0, MS_SYNCHRONOUS),
    "dirsync": (MS_DIRSYNC, 0),
    "nosymfollow": (MS_NOSYMFOLLOW, 0),
    "symfollow": (0, MS_NOSYMFOLLOW),
    "noatime": (MS_NOATIME, MS_RELATIME | MS_STRICTATIME),
    "atime": (0, MS_NOATIME),
    "nodiratime": (MS_NODIRATIME, 0),
    "diratime": (0, MS_NODIRATIME),
    "relatime": (MS_RELATIME, MS_NOATIME | MS_STRICTATIME),
    "norelatime": (0, MS_RELATIME),
    "strictatime": (MS_STRICTATIME, MS_NOATIME | MS_RELATIME),
    "nostrictatime": (0, MS_STRICTATIME),
    "lazytime": (MS_LAZYTIME, 0),
    "nolazytime": (0, MS_LAZYTIME),
    "silent": (MS_SILENT, 0),
    "loud": (0, MS_SILENT),
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = (
    ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p,
)
_libc.mount.restype = ctypes.c_int
_libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
_libc.umount2.restype = ctypes.c_int

_ESCAPE = re.compile(rb"\\([0-7]{3})")
_DEAD_ERRNOS = frozenset({errno.ENOTCONN, errno.ECONNABORTED})


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of mountinfo. device: (major, minor); options: the superblock's, comma separated."""

    mount_id: int
    device: tuple[int, int]
    root: bytes
    directory: bytes
    filesystem_type: str
    source: bytes
    options: str


def mount(source: str, directory: str, flags: int, options: str) -> None:
    """mount(2) of type fuse.affs. Raises OSError with the kernel's errno."""
    result = _libc.mount(
        os.fsencode(source), os.fsencode(directory), FILESYSTEM_TYPE.encode(), flags,
        os.fsencode(options),
    )
    if result != 0:
        _raise_errno(directory)


def unmount(directory: str | bytes, flags: int = 0) -> None:
    """umount2(2). Raises OSError with the kernel's errno."""
    if _libc.umount2(os.fsencode(directory), flags) != 0:
        _raise_errno(os.fsdecode(directory))


def _raise_errno(path: str) -> None:
    number = ctypes.get_errno()
    raise OSError(number, os.strerror(number), path)


def is_dead(directory: str | bytes) -> bool:
    """Whether a FUSE mount without a daemon lies at directory. OSError for all other faults."""
    try:
        os.stat(directory)
    except OSError as error:
        if error.errno in _DEAD_ERRNOS:
            return True
        raise
    return False


def parse_mountinfo(text: bytes) -> Iterator[MountEntry]:
    """The entries of a mountinfo file (proc(5)), in mount order."""
    for line in text.splitlines():
        left, _, right = line.partition(b" - ")
        fields = left.split(b" ")
        rest = right.split(b" ")
        if len(fields) < 6 or len(rest) < 3:
            continue
        major, _, minor = fields[2].partition(b":")
        yield MountEntry(
            mount_id=int(fields[0]),
            device=(int(major), int(minor)),
            root=_unescape(fields[3]),
            directory=_unescape(fields[4]),
            filesystem_type=rest[0].decode(errors="replace"),
            source=_unescape(rest[1]),
            options=rest[2].decode(errors="replace"),
        )


def _unescape(text: bytes) -> bytes:
    return _ESCAPE.sub(lambda match: bytes([int(match[1], 8)]), text)


def mount_entries() -> list[MountEntry]:
    """The mounts of this process's namespace."""
    with open("/proc/self/mountinfo", "rb") as file:
        return list(parse_mountinfo(file.read()))


def mount_entry_of(directory: str | bytes) -> MountEntry | None:
    """The topmost mount exactly at directory (an absolute path without symlinks), or None."""
    wanted = os.fsencode(directory)
    found = None
    for entry in mount_entries():
        if entry.directory == wanted:
            found = entry
    return found


def abort_connection(device: tuple[int, int]) -> None:
    """End a FUSE connection through fusectl: every waiting request fails with ECONNABORTED.

    device: of the mount, whose minor number names the connection. Raises OSError.
    """
    descriptor = open_abort(device)
    try:
        os.write(descriptor, b"1")
    finally:
        os.close(descriptor)


def open_abort(device: tuple[int, int]) -> int:
    """A descriptor that ends a FUSE connection when anything is written to it. It is bound to the
    connection: another one that gets the number later is not meant. Raises OSError."""
    path = f"/sys/fs/fuse/connections/{device[1]}/abort"
    return os.open(path, os.O_WRONLY | os.O_CLOEXEC)


def set_read_ahead(device: tuple[int, int], kibibytes: int) -> None:
    """How far the kernel reads ahead on this mount, in KiB. Raises OSError."""
    path = f"/sys/class/bdi/{device[0]}:{device[1]}/read_ahead_kb"
    with open(path, "w", encoding="ascii") as file:
        file.write(str(kibibytes))
