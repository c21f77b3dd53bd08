"""From what a user calls a volume to the socket of its mount (docs/specs/ControlProtocol.md).

Every mount daemon announces itself by `<uuid>.json` beside its socket. A volume may be named by a
mount point or any path below it, by the volume's file or device, by its UUID or by its label. Only
announcements that root or the user wrote are believed. Nothing here talks to a socket.
"""

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import RUNTIME_DIRECTORY, Announcement
from affs_fuse.protocol.announcement import ANNOUNCEMENT_BYTES_MAX, announcement_directories

__all__ = ["Target", "announcements", "find", "runtime_directories", "token_offer"]

FILESYSTEM_TYPE = "fuse.affs"
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OCTAL_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Target:
    """socket: its path. announcement: of the mount behind it, None when AFFS_SOCKET named the
    socket.
    """

    socket: str
    announcement: Announcement | None = None


def runtime_directories(environment: Mapping[str, str], uid: int) -> list[str]:
    """Where announcements are looked for, in order: one's own mounts, then those of root."""
    own = announcement_directories(environment.get("XDG_RUNTIME_DIR", ""), uid)
    return list(dict.fromkeys([*own, RUNTIME_DIRECTORY]))


def token_offer(environment: Mapping[str, str] = os.environ) -> dict[str, Value] | None:
    """What to offer in hello: the token in AFFS_TOKEN, or nothing, and then the user counts."""
    token = environment.get("AFFS_TOKEN")
    return {"token": token} if token else None


def find(
    volume: str | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    directories: Iterable[str] | None = None,
    mounts: Callable[[], str] | None = None,
) -> Target:
    """The socket for volume; None: AFFS_SOCKET, else AFFS_VOLUME, else the current directory's
    mount.

    mounts gives the text of /proc/self/mountinfo. AffsError "client.no_volume" (category not_found)
    when nothing matches, "client.ambiguous" when a label names several, "client.no_daemon" when a
    mount of ours is there but no daemon announces it.
    """
    if volume is None and environment.get("AFFS_SOCKET"):
        return Target(environment["AFFS_SOCKET"])
    if directories is None:
        directories = runtime_directories(environment, os.geteuid())
    search = _Search(announcements(directories), _read_mounts if mounts is None else mounts)
    named = volume if volume is not None else environment.get("AFFS_VOLUME") or None
    found = search.current_directory() if named is None else search.named(named)
    return Target(found.socket, found)


def announcements(directories: Iterable[str]) -> list[Announcement]:
    """All that can be read and believed, in the order of directories and names.

    A file that is no announcement is passed over: a daemon may be writing it just now.
    """
    result: list[Announcement] = []
    for directory in directories:
        for name in _names(directory):
            try:
                result.append(Announcement.parse(_read_trusted(os.path.join(directory, name))))
            except (OSError, AffsError):
                continue
    return result


def _names(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if name.endswith(".json"))
    except OSError:
        return []


def _read_trusted(path: str) -> bytes:
    """The content of a small regular file owned by root or this user; PermissionError otherwise."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
            raise PermissionError(f"{path} is not to be trusted")
        return os.read(handle, ANNOUNCEMENT_BYTES_MAX + 1)
    finally:
        os.close(handle)


def _read_mounts() -> str:
    with open("/proc/self/mountinfo", "rb") as file:
        return os.fsdecode(file.read())


@dataclass(frozen=True, slots=True)
class _Mount:
    """One line of mountinfo. device: "major:minor"; the same for every bind mount of one
    filesystem.
    """

    device: str
    point: str
    kind: str


class _Search:
    def __init__(self, known: list[Announcement], mounts: Callable[[], str]) -> None:
        self._known = known
        self._mounts = mounts

    def named(self, volume: str) -> Announcement:
        key, _, value = volume.partition("=")
        if key in ("UUID", "LABEL") and value:
            return self._by_identity(value, volume, uuid=key == "UUID", label=key == "LABEL")
        if os.path.exists(volume) or "/" in volume:
            return self._by_path(volume)
        return self._by_identity(volume, volume, uuid=True, label=True)

    def current_directory(self) -> Announcement:
        try:
            path = os.getcwd()
        except OSError as error:
            raise self._no_volume(
                f"the current directory cannot be read: {error.strerror}"
            ) from None
        found = self._by_mount(path)
        if found is None:
            raise self._no_volume("the current directory is on no AfFS volume")
        return found

    def _by_path(self, path: str) -> Announcement:
        # Not strict: a dead mount answers ENOTCONN; a deleted path below a mount still names it.
        real = os.path.realpath(path)
        found = self._by_file(real) or self._by_mount(real)
        if found is None and not os.path.lexists(path):
            raise self._no_volume(f"{path!r} does not exist")
        if found is None:
            raise self._no_volume(f"{path!r} is no mounted volume and on none")
        return found

    def _by_file(self, real: str) -> Announcement | None:
        """A volume's file or device, under any of its names; its own daemon comes first."""
        for known in sorted(self._known, key=lambda known: known.view):
            try:
                if os.path.samefile(real, known.volume):
                    return known
            except OSError:
                continue
        return None

    def _by_mount(self, real: str) -> Announcement | None:
        mounts = _parse_mounts(self._mounts())
        holder: _Mount | None = None
        for mount in mounts:
            # Of two mounts on one directory the later line hides the earlier.
            if _is_below(real, mount.point) and (
                holder is None or len(mount.point) >= len(holder.point)
            ):
                holder = mount
        if holder is None or holder.kind != FILESYSTEM_TYPE:
            return None
        points = {mount.point for mount in mounts if mount.device == holder.device}
        for known in self._known:
            if known.mountpoint in points:
                return known
        raise AffsError(
            "client.no_daemon",
            Category.NOT_FOUND,
            f"{holder.point!r} is an AfFS mount, but no daemon within reach announces it",
            hint="if its daemon has died: umount it, and mount it again",
        )

    def _by_identity(self, text: str, shown: str, *, uuid: bool, label: bool) -> Announcement:
        folded = text.lower()
        if uuid and _UUID.fullmatch(folded):
            found = [known for known in self._known if known.uuid.lower() == folded]
        else:
            found = [known for known in self._known if label and known.label == text]
        if not found:
            raise self._no_volume(f"no mounted volume is called {shown!r}")
        if len(found) > 1:
            # A killed daemon leaves its announcement behind.
            points = {mount.point for mount in _parse_mounts(self._mounts())}
            found = [known for known in found if known.mountpoint in points] or found
            # Beside the volume's own daemon, others may show its published state.
            found = [known for known in found if not known.view] or found
        if len(found) > 1:
            raise AffsError(
                "client.ambiguous",
                Category.CONFLICT,
                f"{len(found)} mounted volumes are called {shown!r}",
                hint="name one by its mount point: " + ", ".join(one.mountpoint for one in found),
            )
        return found[0]

    def _no_volume(self, problem: str) -> AffsError:
        """With what there is to choose from; what a killed daemon left behind is not among it."""
        points = {mount.point for mount in _parse_mounts(self._mounts())}
        known = [one for one in self._known if one.mountpoint in points]
        mounted = ", ".join(f"{one.mountpoint} ({one.label or one.uuid})" for one in known[:8])
        return AffsError(
            "client.no_volume",
            Category.NOT_FOUND,
            problem,
            hint=f"mounted are: {mounted}" if mounted else "no AfFS volume is mounted",
            details={
                "mounted": [os.fsencode(one.mountpoint).decode("utf-8", "replace") for one in known]
            },
        )


def _parse_mounts(text: str) -> list[_Mount]:
    """proc(5): id, parent, major:minor, root, mount point, options, fields up to "-", type ..."""
    result = []
    for line in text.splitlines():
        front, separator, back = line.partition(" - ")
        fields = front.split(" ")
        if separator and len(fields) >= 5:
            result.append(_Mount(fields[2], _unescape(fields[4]), back.split(" ")[0]))
    return result


def _unescape(path: str) -> str:
    return _OCTAL_ESCAPE.sub(lambda match: chr(int(match.group(1), 8)), path)


def _is_below(path: str, point: str) -> bool:
    return point == "/" or path == point or path.startswith(point + "/")
