"""What the conformance tests share: acting as somebody else, seeing which times an operation moves,
expecting an errno, making each type of file, and the calls that Python's os does not have.
"""

import ctypes
import errno
import os
import pickle
import stat
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
TICK_S = 0.011
"""Longer than the step of the clock that filesystems stamp with (CONFIG_HZ down to 100)."""
USER, OTHER, GROUP, OTHER_GROUP = 61001, 61002, 62001, 62002
"""Numbers that the machine has no names for."""

KINDS_OF_ENTRY = ("file", "directory", "fifo", "socket", "character", "block", "symlink")

PathLike = str | bytes | Path
Target = PathLike | int

_libc = ctypes.CDLL(None, use_errno=True)


def memory_folder() -> Path:
    """A new folder with a short path, in memory where there is such a place."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    made = Path(tempfile.mkdtemp(prefix="affs-", dir=base))
    made.chmod(0o755)
    return made


def call(name: str, *arguments: Any) -> int:
    """A libc function; raises OSError where it returns -1."""
    function = getattr(_libc, name)
    function.restype = ctypes.c_int
    result: int = function(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def renameat2(old: PathLike, new: PathLike, flags: int) -> None:
    call("renameat2", AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)


def fallocate(descriptor: int, mode: int, offset: int, length: int) -> None:
    call("fallocate", descriptor, mode, ctypes.c_long(offset), ctypes.c_long(length))


def linkat_descriptor(descriptor: int, new: PathLike) -> None:
    """Give the file behind a descriptor a name, by /proc."""
    path = f"/proc/self/fd/{descriptor}".encode()
    call("linkat", AT_FDCWD, path, AT_FDCWD, os.fsencode(new), 0x400)


@contextmanager
def fails(*numbers: int) -> Iterator[None]:
    """The block must raise an OSError with one of these errnos."""
    wanted = "/".join(errno.errorcode[number] for number in numbers)
    try:
        yield
    except OSError as error:
        if error.errno in numbers:
            return
        raise AssertionError(f"{error!r} instead of {wanted}") from error
    raise AssertionError(f"no error instead of {wanted}")


@contextmanager
def opened(path: PathLike, flags: int = os.O_RDONLY, mode: int = 0o666) -> Iterator[int]:
    """A descriptor, closed at the end."""
    descriptor = os.open(path, flags, mode)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def running_program(path: str) -> Iterator[None]:
    """A program of this name runs inside, and waits: it needs no page of its file any more."""
    write_file(path, read_file("/bin/cat"))
    os.chmod(path, 0o755)
    with subprocess.Popen([f"./{path}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        try:
            assert program.stdin is not None
            assert program.stdout is not None
            program.stdin.write(b"here\n")
            program.stdin.flush()
            assert program.stdout.readline() == b"here\n"
            yield
        finally:
            program.kill()


def fork() -> int:
    """os.fork, without its warning about the test runner's own threads."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def in_child(action: Callable[[], Any], prepare: Callable[[], None] = lambda: None) -> Any:
    """What the action gives or raises, run in a forked process after `prepare`."""
    reader, writer = os.pipe()
    pid = fork()
    if pid == 0:
        os.close(reader)
        try:
            try:
                prepare()
                answer = (True, action())
            except BaseException as error:  # noqa: BLE001 - told to the parent, which raises it
                answer = (False, error)
            with open(writer, "wb") as pipe:
                pickle.dump(answer, pipe)
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    os.waitpid(pid, 0)
    good, value = pickle.loads(data)
    if not good:
        raise value
    return value


def as_user(
    action: Callable[[], Any],
    uid: int = USER,
    gid: int = GROUP,
    groups: Iterable[int] = (),
    umask: int = 0o022,
) -> Any:
    """What the action gives or raises when this user runs it, with these supplementary groups."""

    def become() -> None:
        os.umask(umask)
        os.setgroups(list(groups))
        os.setgid(gid)
        os.setuid(uid)

    return in_child(action, become)


def times_of(target: Target) -> dict[str, int]:
    found = os.fstat(target) if isinstance(target, int) else os.lstat(target)
    return {"a": found.st_atime_ns, "m": found.st_mtime_ns, "c": found.st_ctime_ns}


def moved(action: Callable[[], object], *targets: Target) -> list[str]:
    """Which times ("a", "m", "c" in this order) of each target the action moves. A target that
    needs looking at after it lost its name is given as a descriptor."""
    before = [times_of(target) for target in targets]
    time.sleep(TICK_S)
    action()
    after = [times_of(target) for target in targets]
    return [
        "".join(letter for letter in "amc" if was[letter] != now[letter])
        for was, now in zip(before, after, strict=True)
    ]


def move_back(path: PathLike) -> None:
    """Access and modification time a day and more ago, so that relatime will move the first."""
    os.utime(path, ns=(10**18, 11 * 10**17), follow_symlinks=False)


def make(kind: str, path: PathLike, mode: int = 0o644) -> None:
    """A file of this type. mode: exactly (symbolic links have none)."""
    if kind == "directory":
        os.mkdir(path)
    elif kind == "symlink":
        os.symlink("nowhere", path)
        return
    else:
        types = {
            "file": stat.S_IFREG, "fifo": stat.S_IFIFO, "socket": stat.S_IFSOCK,
            "character": stat.S_IFCHR, "block": stat.S_IFBLK,
        }  # fmt: skip
        device = os.makedev(1, 3) if kind in ("character", "block") else 0
        os.mknod(path, types[kind] | 0o600, device)
    os.chmod(path, mode)


def unmake(kind: str, path: PathLike) -> None:
    (os.rmdir if kind == "directory" else os.unlink)(path)


def mode_of(path: PathLike) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def write_file(path: PathLike, data: bytes = b"") -> None:
    with open(path, "wb") as file:
        file.write(data)


def read_file(path: PathLike) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def settled_blocks_free() -> int:
    """f_bfree of the working directory's filesystem once nothing is on its way back: what earlier
    tests removed comes back with the commits after it, so commits are made until four in a row have
    changed nothing (AfFS holds freed blocks back for three)."""
    free, unchanged = -1, 0
    write_file("settling")
    with opened("settling", os.O_RDWR) as descriptor:
        for _ in range(200):
            os.pwrite(descriptor, b"x", 0)
            os.fsync(descriptor)
            before, free = free, os.statvfs(".").f_bfree
            unchanged = unchanged + 1 if free == before else 0
            if unchanged == 4:
                return free  # the file stays: its block, given back, would count later
    raise AssertionError("free space does not come to rest in 200 commits")
