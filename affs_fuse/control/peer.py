"""Who is at the other end of a Unix socket, as the kernel saw it when it connected.

The credentials are the kernel's word: uid, gid and groups of the process that called connect(2).
The pid may belong to another process by now and decides nothing.
"""

import errno
import pwd
import socket
import struct
from typing import TypeAlias

import trio

from affs_fuse.runtime.policy import Identity

__all__ = ["peer_identity", "user_name"]

SO_PEERGROUPS = 59
"""asm-generic/socket.h; the socket module does not name it. (parisc and sparc number theirs
differently.)"""

GROUPS_MAX = 65_536
"""NGROUPS_MAX of Linux."""

_GROUPS_EXPECTED = 64
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
    size = _GROUPS_EXPECTED * _GID_BYTES
    while True:
        try:
            data = connected.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, size)
        except OSError as error:
            if error.errno == errno.ENOPROTOOPT:
                return ()
            if error.errno != errno.ERANGE or size >= GROUPS_MAX * _GID_BYTES:
                raise
            size *= 4
            continue
        return struct.unpack(f"={len(data) // _GID_BYTES}I", data)


def user_name(uid: int) -> str:
    """The account's name, or the digits of uid. May ask the network (NSS): call it in a worker
    thread."""
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OSError):
        return str(uid)
