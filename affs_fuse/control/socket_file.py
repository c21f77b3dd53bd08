"""The socket's place in the file system, and the announcement beside it
(docs/specs/ControlProtocol.md).

Invariants:
- The socket is never open to more than its mode says, not even for a moment: on Linux bind(2) takes
  the mode of the inode from the socket itself, so it is narrowed there first.
- A socket of a daemon that still answers is left alone; one that nobody listens on is replaced.
- On close only what this object made is removed.
"""

import errno
import grp
import os
import socket
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Announcement

__all__ = ["SOCKET_PATH_BYTES_MAX", "SocketFile", "remove_dead_daemons"]

SOCKET_PATH_BYTES_MAX = 107
"""sockaddr_un has 108, one of them for the final zero."""

BACKLOG = 512


class SocketFile:
    """A listening socket with its file and announcement. Use as a context manager, or close()."""

    def __init__(
        self, listening: socket.socket, path: str, made: tuple[int, int], announced: str
    ) -> None:
        self.socket = listening
        self.path = path
        self._made = made
        self._announced = announced

    @classmethod
    def open(
        cls,
        path: str,
        *,
        mode: int = 0o600,
        group: str = "",
        announcement: Announcement | None = None,
        announcement_path: str = "",
    ) -> Self:
        """Bind and listen at path; the directory is made (0755) if it is missing. group: name or
        number that the socket belongs to. The announcement goes to announcement_path.

        AffsError: control.socket_path (too long), control.directory (others could put files there),
        control.in_use (somebody answers), control.group, control.socket (whatever else the system
        says).
        """
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES_MAX:
            raise AffsError(
                "control.socket_path",
                Category.INVALID,
                f"a socket's path has at most {SOCKET_PATH_BYTES_MAX} bytes, this one more: {path}",
                hint="choose a shorter one: -o control=PATH",
            )
        group_id = _group_id(group) if group else -1
        try:
            _prepare_directory(os.path.dirname(path))
            _remove_stale(path)
            listening, made = _bind(path, mode, group_id)
        except OSError as error:
            raise _failed(path, error) from error
        try:
            if announcement is not None:
                _prepare_directory(os.path.dirname(announcement_path))
                _write_announcement(announcement_path, announcement)
        except BaseException as error:
            listening.close()
            os.unlink(path)
            if isinstance(error, OSError):
                raise _failed(announcement_path, error) from error
            raise
        return cls(listening, path, made, announcement_path if announcement is not None else "")

    def close(self) -> None:
        """Stop listening and remove both files. May be called again."""
        self.socket.close()
        if self._announced:
            _unlink(self._announced)
            self._announced = ""
        try:
            found = os.lstat(self.path)
        except OSError:
            return
        if (found.st_dev, found.st_ino) == self._made:
            _unlink(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def remove_dead_daemons(directory: str) -> None:
    """Remove what killed daemons have left: their announcements, which nobody else takes away as
    long as the volume is not mounted again, and their sockets. Only files of our own user; those of
    a daemon that answers stay: it listens before it announces itself."""
    with suppress(FileNotFoundError):
        for found in Path(directory).glob("*.json"):
            with suppress(OSError, AffsError):
                if found.lstat().st_uid == os.geteuid():
                    _remove_if_dead(found)


def _remove_if_dead(path: Path) -> None:
    before = path.lstat()
    announced = Announcement.parse(path.read_bytes())
    with suppress(FileNotFoundError):
        _remove_stale(announced.socket)  # raises for one that somebody listens on
    now = path.lstat()
    if (now.st_ino, now.st_mtime_ns) == (before.st_ino, before.st_mtime_ns):
        _unlink(str(path))


def _failed(path: str, error: OSError) -> AffsError:
    category = Category.DENIED if error.errno in (errno.EACCES, errno.EPERM) else Category.IO
    return AffsError(
        "control.socket",
        category,
        f"cannot make the control socket at {path}: {error.strerror or error}",
        hint="choose another place: -o control=PATH, or control=none to do without",
    )


def _group_id(group: str) -> int:
    if group.isascii() and group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise AffsError(
            "control.group", Category.NOT_FOUND, f"no group {group!r} for the control socket"
        ) from None


def _prepare_directory(directory: str) -> None:
    """Make it where it is missing; refuse one in which, or beside which, others could replace
    our files."""
    os.makedirs(directory, mode=0o755, exist_ok=True)
    for place in (directory, os.path.dirname(directory)):
        # Who made a symbolic link decides where it leads; in /tmp that may be anybody.
        linked = os.lstat(place).st_uid not in (0, os.geteuid())
        found = os.stat(place)
        ours = found.st_uid in (0, os.geteuid())
        shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if linked or not ours or shared:
            raise AffsError(
                "control.directory",
                Category.DENIED,
                f"{place} is no safe place for a control socket: others can change it",
                hint="it has to belong to you or root, and be writable for nobody else",
            )


def _remove_stale(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise AffsError(
            "control.in_use",
            Category.EXISTS,
            f"{path} exists and is no socket",
            hint="remove it, or choose another place: -o control=PATH",
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        # EAGAIN too means that somebody listens: its backlog is full.
        if probe.connect_ex(path) in (errno.ECONNREFUSED, errno.ENOENT):
            _unlink(path)
            return
    raise AffsError(
        "control.in_use",
        Category.BUSY,
        f"another daemon answers at {path}",
        hint="is the volume mounted already? affsctl ping asks it",
    )


def _bind(path: str, mode: int, group_id: int) -> tuple[socket.socket, tuple[int, int]]:
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        os.fchmod(listening.fileno(), 0o600 & mode)
        listening.bind(path)
        try:
            if group_id >= 0:
                os.chown(path, -1, group_id, follow_symlinks=False)
            os.chmod(path, mode)
            listening.listen(BACKLOG)
            made = os.lstat(path)
        except BaseException:
            os.unlink(path)
            raise
    except BaseException:
        listening.close()
        raise
    return listening, (made.st_dev, made.st_ino)


def _write_announcement(path: str, announcement: Announcement) -> None:
    """Whole or not at all. Readable for everybody, as /proc/mounts is: it lets a client say that it
    is the socket which it may not use."""
    temporary = f"{path}.{os.getpid()}.new"
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        with open(handle, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(announcement.to_json())
        os.rename(temporary, path)
    except BaseException:
        _unlink(temporary)
        raise


def _unlink(path: str) -> None:
    with suppress(FileNotFoundError):
        os.unlink(path)
