"""A small process beside the daemon that can do two things to its mount which the daemon cannot.

Unmount: a daemon that has given its capabilities up may not (daemon/privileges.py). And let go: a
thread that tells the kernel something (invalidation.py) may wait there for a page of a request that
is under way. If the daemon is killed just then, nobody answers that request, the thread waits for
ever, SIGKILL or not, and /dev/fuse stays open through it: the kernel goes on waiting for a daemon
that is dead, and with it whoever uses the mount. Invariants:
- It knows one mount, by directory and device, and touches no other.
- It holds nothing of the daemon's but its end of a socket, and ends when the daemon has.
- A daemon that ended by itself or was killed and is gone needs nothing done: the kernel has ended
  the connection.
"""

import ctypes
import os
import select
import signal
import socket
import struct
from contextlib import suppress
from typing import NoReturn, Self

from affs_fuse.fuse import mount_table

__all__ = ["Keeper"]

_PR_SET_PDEATHSIG = 1
_UNMOUNT = b"u"
_ANSWER = struct.Struct("<i")
_DESCRIPTORS_MAX = 1 << 16

ANSWER_TIMEOUT_S = 10.0
STUCK_AFTER_S = 1.0
"""A daemon that is dying, and still there after this long, cannot end by itself."""

_libc = ctypes.CDLL(None, use_errno=True)


class Keeper:
    """The daemon's side."""

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self._channel = channel
        self._pid = pid

    @classmethod
    def start(cls, directory: str, device: tuple[int, int]) -> Self:
        """Of the mount on directory. In the process's first thread, as long as it has no other, for
        the kernel tells of the end of the thread that forked. OSError."""
        ours, theirs = socket.socketpair()
        daemon = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            _keep(theirs, directory, device, daemon)
        theirs.close()
        ours.settimeout(ANSWER_TIMEOUT_S)
        return cls(ours, pid)

    def unmount(self) -> None:
        """Take the mount's name away; what is open is served on. OSError."""
        self._channel.sendall(_UNMOUNT)
        answer = self._channel.recv(_ANSWER.size)
        if len(answer) != _ANSWER.size:
            raise OSError("the process that keeps the mount has gone")
        (number,) = _ANSWER.unpack(answer)
        if number:
            raise OSError(number, os.strerror(number))

    def close(self) -> None:
        """It ends."""
        self._channel.close()
        with suppress(ChildProcessError):  # whoever embeds the daemon may have waited for it
            os.waitpid(self._pid, 0)


def _keep(
    channel: socket.socket, directory: str, device: tuple[int, int], daemon: int
) -> NoReturn:
    """The whole life of the process."""
    try:
        _watch(channel, directory, device, daemon)
    finally:
        os._exit(0)


def _watch(
    channel: socket.socket, directory: str, device: tuple[int, int], daemon: int
) -> None:
    """Until the daemon has ended, or has been helped to."""
    watched = _settle(channel, daemon)
    abort = _open_abort(device)
    told = _hear_of_its_death()
    # If it has died meanwhile, nobody tells.
    while os.getppid() == daemon and told not in _ready(channel.fileno(), told):
        if channel.recv(1) != _UNMOUNT:
            return  # it has ended, or goes on without a mount
        channel.sendall(_ANSWER.pack(_unmount(directory, device, mount_table.MNT_DETACH)))
    if not _ready(watched, timeout_s=STUCK_AFTER_S):
        _let_go(directory, device, abort)


def _ready(*descriptors: int, timeout_s: float | None = None) -> list[int]:
    """Those that can be read; a pidfd can when its process has gone, all its threads with it."""
    return select.select(descriptors, [], [], timeout_s)[0]


def _settle(channel: socket.socket, daemon: int) -> int:
    """Hold nothing that others wait for; a descriptor of the daemon's process."""
    # A service manager may end all processes of a service: this one ends after the daemon.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.closerange(3, channel.fileno())
    os.closerange(channel.fileno() + 1, _DESCRIPTORS_MAX)
    os.chdir("/")
    return os.pidfd_open(daemon)


def _hear_of_its_death() -> int:
    """A descriptor that can be read when the thread that forked this process has ended, also where
    another thread of it cannot."""
    reader, writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.signal(signal.SIGUSR1, lambda number, frame: None)
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGUSR1, 0, 0, 0)
    return reader


def _unmount(directory: str, device: tuple[int, int], flags: int) -> int:
    """An errno, 0 when it is done or somebody else's mount is there."""
    try:
        entry = mount_table.mount_entry_of(directory)
        if entry is not None and entry.device == device:
            mount_table.unmount(directory, flags)
    except OSError as error:
        return error.errno or 1
    return 0


def _open_abort(device: tuple[int, int]) -> int:
    """What ends this connection and no later one of the same number; -1 where there is none, as in
    many containers."""
    try:
        return mount_table.open_abort(device)
    except OSError:
        return -1


def _let_go(directory: str, device: tuple[int, int], abort: int) -> None:
    """End the kernel's connection: what waits for the daemon fails, and the daemon can end."""
    if abort >= 0:
        os.write(abort, b"1")
    else:
        _unmount(directory, device, mount_table.MNT_FORCE)
