"""A regular file or a block device of the host.

Ownership: a device opened for writing holds flock(LOCK_EX) on the descriptor, and a block device
is opened with O_EXCL besides, so the kernel refuses it while it is mounted. A loop device over the
same file is looked for in /sys, since flock does not see it. Opened for reading it takes no lock.
"""

import contextlib
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from affs_fuse.device.device import (
    ATTEMPTS_MAX,
    Buffer,
    DeviceIdentity,
    Outcome,
    Result,
    classify,
)
from affs_fuse.device.direct_writer import DirectWriter
from affs_fuse.device.medium import DirectReader
from affs_fuse.errors import AffsError, Category

__all__ = ["FileDevice", "open_device"]

_BLKGETSIZE64 = 0x80081272
DIRECT_FILESYSTEMS = frozenset({"ext4", "xfs"})
"""Where O_DIRECT means what it says: others copy all the same, or checksum what may change."""

_IOV_MAX = 1024
_SYNC_WRITE, _SYNC_AND_WAIT = 2, 1 | 2 | 4

_sync_file_range = ctypes.CDLL(None, use_errno=True).sync_file_range
_sync_file_range.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
_sync_file_range.restype = ctypes.c_int


class FileDevice:
    """The open descriptor of a file or block device; see device.Device for the calls."""

    def __init__(self, descriptor: int, path: str, *, read_only: bool) -> None:
        self._descriptor = descriptor
        self._read_only = read_only
        status = os.fstat(descriptor)
        self._is_block = stat.S_ISBLK(status.st_mode)
        self._size_bytes = _block_size(descriptor) if self._is_block else status.st_size
        self._nowait = True
        self._in_memory = False
        self._direct: DirectReader | None = None
        self._medium_path = ""
        self._writer: DirectWriter | None = None
        self._writes_direct = not read_only
        self._lock = threading.Lock()
        self._identity = DeviceIdentity(
            "block" if self._is_block else "file",
            path,
            status.st_rdev if self._is_block else status.st_dev,
            0 if self._is_block else status.st_ino,
        )

    @property
    def size_bytes(self) -> int:
        return self._size_bytes

    @property
    def read_only(self) -> bool:
        return self._read_only

    @property
    def identity(self) -> DeviceIdentity:
        return self._identity

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        if offset < 0 or length < 0 or offset + length > self._size_bytes:
            return b"", Result(Outcome.PERMANENT, 0, errno.EINVAL)
        parts: list[bytes] = []
        done = attempts = 0
        while done < length:
            attempts += 1
            try:
                part = os.pread(self._descriptor, length - done, offset + done)
            except OSError as error:
                outcome = classify(error.errno or errno.EIO)
                if outcome is Outcome.TRANSIENT and attempts < ATTEMPTS_MAX:
                    continue
                return b"".join(parts), _failed(outcome, done, error, attempts)
            if not part:  # the file was truncated under us
                return b"".join(parts), Result(Outcome.PARTIAL, done, errno.EIO, attempts)
            parts.append(part)
            done += len(part)
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        return data, Result(Outcome.OK, done, 0, max(attempts, 1))

    def read_medium(self, offset: int, length: int) -> tuple[bytes, Result]:
        if not self._medium_path:
            self._medium_path = "memory" if _on_tmpfs(self._descriptor) else "direct"
            if self._medium_path == "direct":
                self._direct = DirectReader.open(self._descriptor)
        if self._direct is not None and (found := self._direct.read(offset, length)) is not None:
            return found, Result(Outcome.OK, length)
        # No such way, or it failed: the ordinary one has the words for what is wrong.
        if self._medium_path == "direct":
            self._medium_path = "dropped"
        with contextlib.suppress(OSError):
            os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        return self.read(offset, length)

    @property
    def medium_path(self) -> str:
        return self._medium_path

    def try_read(self, offset: int, length: int) -> bytes | None:
        if not self._nowait or offset < 0 or offset + length > self._size_bytes:
            return None
        buffer = bytearray(length)
        flags = 0 if self._in_memory else os.RWF_NOWAIT
        try:
            done = os.preadv(self._descriptor, [buffer], offset, flags)
        except OSError as error:
            if error.errno == errno.EOPNOTSUPP and not self._in_memory:
                # tmpfs does not know the flag, and has no device to wait for.
                self._in_memory = self._nowait = _on_tmpfs(self._descriptor)
                return self.try_read(offset, length)
            return None
        return bytes(buffer) if done == length else None

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        if self._read_only:
            return Result(Outcome.DENIED, 0, errno.EBADF)
        left = [memoryview(buffer).cast("B") for buffer in buffers if len(buffer)]
        total = sum(len(view) for view in left)
        if offset < 0 or offset + total > self._size_bytes:
            return Result(Outcome.NO_SPACE, 0, errno.EFBIG)
        done = attempts = 0
        while left:
            attempts += 1
            try:
                count = os.pwritev(self._descriptor, left[:_IOV_MAX], offset + done)
            except OSError as error:
                outcome = classify(error.errno or errno.EIO)
                if outcome is Outcome.TRANSIENT and attempts < ATTEMPTS_MAX:
                    continue
                return _failed(outcome, done, error, attempts)
            done += count
            left = _after(left, count)
        return Result(Outcome.OK, done, 0, max(attempts, 1))

    def borrow_buffer(self) -> mmap.mmap | None:
        with self._lock:
            if self._writes_direct and self._writer is None:
                if self._is_block or _filesystem_of(self._descriptor) in DIRECT_FILESYSTEMS:
                    self._writer = DirectWriter.open(self._descriptor)
                self._writes_direct = self._writer is not None
            return self._writer.borrow() if self._writes_direct and self._writer else None

    def give_buffer_back(self, buffer: mmap.mmap) -> None:
        assert self._writer is not None
        self._writer.give_back(buffer)

    def write_direct(self, offset: int, buffer: mmap.mmap, length: int) -> Result:
        assert self._writer is not None
        if offset < 0 or offset + length > self._size_bytes:
            return Result(Outcome.NO_SPACE, 0, errno.EFBIG)
        result = self._writer.write(offset, buffer, length)
        if result is None:  # the host promised more than it does
            self._writes_direct = False
            with memoryview(buffer) as view:
                return self.write(offset, [view[:length]])
        return result

    def flush(self) -> Result:
        if self._read_only:
            return Result(Outcome.OK)
        try:
            os.fdatasync(self._descriptor)
        except OSError as error:
            return _failed(classify(error.errno or errno.EIO), 0, error, 1)
        return Result(Outcome.OK)

    def begin_write_out(self, offset: int, length: int) -> Result:
        return self._sync_range(offset, length, _SYNC_WRITE)

    def end_write_out(self, offset: int, length: int) -> Result:
        result = self._sync_range(offset, length, _SYNC_AND_WAIT)
        if result.ok:
            with contextlib.suppress(OSError):  # a host that keeps its copy is none the worse
                os.posix_fadvise(self._descriptor, offset, length, os.POSIX_FADV_DONTNEED)
        return result

    def _sync_range(self, offset: int, length: int, flags: int) -> Result:
        if _sync_file_range(self._descriptor, offset, length, flags) == 0:
            return Result(Outcome.OK, length)
        number = ctypes.get_errno()
        if number in (errno.ENOSYS, errno.EINVAL, errno.ESPIPE):  # this host has no such notion
            return Result(Outcome.OK, length)
        return _failed(classify(number), 0, OSError(number, os.strerror(number)), 1)

    def allocate(self, offset: int, length: int) -> Result:
        if self._is_block:
            return Result(Outcome.OK, length)
        try:
            os.posix_fallocate(self._descriptor, offset, length)
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.EINVAL):
                return Result(Outcome.OK, length)
            return _failed(classify(error.errno or errno.EIO), 0, error, 1)
        return Result(Outcome.OK, length)

    def close(self) -> None:
        if self._direct is not None:
            self._direct.close()
            self._direct = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "FileDevice":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_device(path: str, *, read_only: bool = False) -> FileDevice:
    """Open and, for writing, lock a file or block device.

    Errors: device.not_found, device.denied, device.unsuitable (a directory, say), device.busy,
    device.io.
    """
    # Without O_NONBLOCK, opening a fifo waits for somebody at its other end.
    flags = os.O_CLOEXEC | os.O_NONBLOCK | (os.O_RDONLY if read_only else os.O_RDWR)
    with contextlib.suppress(OSError):
        if not read_only and stat.S_ISBLK(os.stat(path).st_mode):
            flags |= os.O_EXCL
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        raise _open_error(path, error) from error
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISBLK(mode) and not read_only and not flags & os.O_EXCL:
            # The name led to something else a moment ago.
            raise AffsError(
                "device.busy", Category.BUSY, f"{path} changed while it was being opened",
                retryable=True,
            )
        if not (stat.S_ISREG(mode) or stat.S_ISBLK(mode)):
            raise AffsError(
                "device.unsuitable",
                Category.INVALID,
                f"{path} is neither a regular file nor a block device",
            )
        if not read_only:
            _lock(descriptor, path)
        return FileDevice(descriptor, path, read_only=read_only)
    except OSError as error:
        os.close(descriptor)
        raise _open_error(path, error) from error
    except BaseException:
        os.close(descriptor)
        raise


def _lock(descriptor: int, path: str) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AffsError(
            "device.busy",
            Category.BUSY,
            f"{path} is in use by another process",
            hint="unmount the volume, or use affsctl to work on it while it is mounted",
            retryable=True,
        ) from error
    if stat.S_ISREG(os.fstat(descriptor).st_mode) and (loop := _loop_over(path)):
        raise AffsError(
            "device.busy",
            Category.BUSY,
            f"{path} is the backing file of {loop}",
            hint=f"use {loop} itself, or detach it with losetup -d {loop}",
        )


def _loop_over(path: str) -> str:
    """The name of a loop device over this file, or ""."""
    real = os.path.realpath(path)
    for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):
            if backing.read_text().rstrip("\n") == real:
                return f"/dev/{backing.parent.parent.name}"
    return ""


def _open_error(path: str, error: OSError) -> AffsError:
    text = error.strerror or str(error)
    if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENXIO, errno.ENODEV):
        return AffsError("device.not_found", Category.NOT_FOUND, f"cannot open {path}: {text}")
    if error.errno == errno.EBUSY:
        return AffsError(
            "device.busy",
            Category.BUSY,
            f"{path} is in use (mounted, or held by another program)",
            retryable=True,
        )
    if error.errno == errno.EISDIR:
        return AffsError(
            "device.unsuitable",
            Category.INVALID,
            f"{path} is neither a regular file nor a block device",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return AffsError("device.denied", Category.DENIED, f"cannot open {path}: {text}")
    return AffsError("device.io", Category.IO, f"cannot open {path}: {text}")


def _failed(outcome: Outcome, done: int, error: OSError, attempts: int) -> Result:
    return Result(outcome, done, error.errno or errno.EIO, attempts)


def _after(views: list[memoryview], count: int) -> list[memoryview]:
    """What is left of the views when their first `count` bytes are done."""
    for index, view in enumerate(views):
        if count < len(view):
            return [view[count:], *views[index + 1 :]]
        count -= len(view)
    return []


def _on_tmpfs(descriptor: int) -> bool:
    """Does this file's filesystem keep its files in memory?"""
    return _filesystem_of(descriptor) == "tmpfs"


def _filesystem_of(descriptor: int) -> str:
    """The type of the filesystem that this file lies on; "" if it is not known."""
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == number:
                return rest.split()[0]
    return ""


def _block_size(descriptor: int) -> int:
    answer = fcntl.ioctl(descriptor, _BLKGETSIZE64, b"\0" * 8)
    return int(struct.unpack("Q", answer)[0])
