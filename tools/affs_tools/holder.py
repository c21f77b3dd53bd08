"""Is a volume in use, and by whom? What mkfs, fsck and dump ask before they open it.

A process that has a volume open for writing holds flock on a file, O_EXCL on a block device
(docs/architecture.md). The mount table names the mount point where there is one.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

__all__ = ["lock_holder", "loop_device", "mount_point"]

MOUNTS = Path("/proc/self/mounts")


def unescape_mount(word: str) -> str:
    """A field of /proc/mounts: space, tab, newline and backslash stand there in octal."""
    return word.encode("latin-1", "backslashreplace").decode("unicode_escape")


def mount_point(path: str) -> str:
    """Where the file or device is mounted, or ""."""
    real = os.path.realpath(path)
    for line in MOUNTS.read_text(errors="surrogateescape").splitlines():
        source, directory, *_ = line.split(" ")
        source = unescape_mount(source)
        if source.startswith("/") and os.path.realpath(source) == real:
            return unescape_mount(directory)
    return ""


def loop_device(path: str) -> str:
    """The loop device whose backing file this is, or ""."""
    real = os.path.realpath(path)
    for backing in sorted(Path("/sys/block").glob("loop*/loop/backing_file")):
        try:
            text = backing.read_text().rstrip("\n")
        except OSError:  # detached meanwhile
            continue
        if text == real:
            return f"/dev/{backing.parent.parent.name}"
    return ""


def lock_holder(path: str) -> str:
    """Who has it open for writing: "process 123", "another process", or "" for nobody.

    Errors: OSError of opening it.
    """
    status = os.stat(path)
    flags = os.O_RDONLY | os.O_CLOEXEC
    if stat.S_ISBLK(status.st_mode):
        try:
            os.close(os.open(path, flags | os.O_EXCL))
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            return "another process, or a mount,"
        return ""
    descriptor = os.open(path, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        process = _lock_owner(status)
        return f"process {process}" if process else "another process"
    finally:
        os.close(descriptor)
    return ""


def _lock_owner(status: os.stat_result) -> int:
    """The pid in /proc/locks that holds flock on this file, 0 if it cannot be seen."""
    wanted = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if "FLOCK" in words and wanted in words and words[1] != "->":
            return int(words[words.index(wanted) - 1])
    return 0
