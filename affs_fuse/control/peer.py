"""Who is at the other end of a Unix socket, as the kernel saw it when it connected.

The credentials are the kernel's word: uid, gid and groups of the process that called connect(2).
The pid may belong to another process by now and decides nothing.
"""

import ctypes
import errno
import grp
import os
import pwd
import socket
import struct
from typing import TypeAlias

import trio

from affs_fuse.runtime.policy import Identity

__all__ = ["SystemAccounts", "peer_identity", "user_name"]

SO_PEERGROUPS = 59
"""asm-generic/socket.h; the socket module does not name it. (parisc and sparc number theirs
differently.)"""

_BUFFER_BYTES_MAX = 1024
"""What Python's getsockopt takes: 256 groups. Linux allows 65,536; beyond this, libc is asked."""

_LIBC = ctypes.CDLL(None, use_errno=True)
_UCRED = struct.Struct("=iII")
_GID_BYTES = 4

_Socket: TypeAlias = socket.socket | trio.socket.SocketType


def peer_identity(connected: _Socket) -> Identity:
    """Without the user's name, which may take a while to look up. OSError when it is no Unix
    socket."""
    pid, uid, gid = _UCRED.unpack(
        connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    )
    return Identity(uid=uid, gid=gid, groups=frozenset({gid, *_groups(connected)}), pid=pid)


def _groups(connected: _Socket) -> tuple[int, ...]:
    """Supplementary groups; none where the kernel is older than 4.13."""
    try:
        data = connected.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, _BUFFER_BYTES_MAX)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return ()
        if error.errno != errno.ERANGE:
            raise
        data = _many_groups(connected.fileno())
    return struct.unpack(f"={len(data) // _GID_BYTES}I", data)


def _many_groups(handle: int) -> bytes:
    """However many there are: the kernel says how much room it wants when it gets too little."""
    size = ctypes.c_uint32(_BUFFER_BYTES_MAX)
    while True:
        buffer = ctypes.create_string_buffer(size.value)
        offered = size.value
        if not _LIBC.getsockopt(
            handle, socket.SOL_SOCKET, SO_PEERGROUPS, buffer, ctypes.byref(size)
        ):
            return buffer.raw[: size.value]
        number = ctypes.get_errno()
        if number != errno.ERANGE or size.value <= offered:
            raise OSError(number, os.strerror(number))


def user_name(uid: int) -> str:
    """The account's name, or the digits of uid. May ask the network (NSS): call it in a worker
    thread."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)


class SystemAccounts:
    """The accounts of the system (runtime.accounts.Accounts)."""

    def user_id(self, name: str) -> int | None:
        try:
            return pwd.getpwnam(name).pw_uid
        except (KeyError, OSError):
            return None

    def group_id(self, name: str) -> int | None:
        try:
            return grp.getgrnam(name).gr_gid
        except (KeyError, OSError):
            return None

    def user_name(self, uid: int) -> str:
        return user_name(uid)

    def group_name(self, gid: int) -> str:
        try:
            return grp.getgrgid(gid).gr_name
        except (KeyError, OSError):
            return str(gid)
