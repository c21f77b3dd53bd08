"""How a mount tells clients where its socket is (docs/specs/ControlProtocol.md, "Announcement").

The daemon writes `<uuid>.json` beside `<uuid>.sock`; clients read every such file of a directory
they trust. A path is written twice when it is not UTF-8: readable under its name, exact under
`name_b64`. This module only builds and reads the bytes of that file.
"""

import binascii
import os
from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import AuvError, Limits, Value, format_pretty, parse
from affs_fuse.errors import AffsError, Category

__all__ = [
    "ANNOUNCEMENT_BYTES_MAX",
    "RUNTIME_DIRECTORY",
    "Announcement",
    "announcement_directories",
    "path_fields",
]

RUNTIME_DIRECTORY = "/run/affs"
"""Where the mounts of root are announced."""

ANNOUNCEMENT_BYTES_MAX = 64 << 10
_LIMITS = Limits(depth_max=8, string_bytes_max=ANNOUNCEMENT_BYTES_MAX, elements_max=256)


def announcement_directories(runtime_directory: str, uid: int) -> list[str]:
    """Where a user's mounts may be announced, best first. runtime_directory: XDG_RUNTIME_DIR or "".

    Without that variable and without a login session (su, cron) there is no /run/user/UID: the
    last place serves then. Who uses it checks its owner, as for every other.
    """
    if uid == 0:
        return [RUNTIME_DIRECTORY]
    if runtime_directory:
        return [os.path.join(runtime_directory, "affs")]
    return [f"/run/user/{uid}/affs", f"/tmp/affs-{uid}"]


@dataclass(frozen=True, slots=True)
class Announcement:
    """Paths are absolute and str as `os.fsdecode` gives them. uuid: lower case with hyphens. view:
    "" of the volume's own daemon, "published" of one that only shows the published state."""

    uuid: str
    label: str
    socket: str
    mountpoint: str
    volume: str
    pid: int
    view: str = ""

    def to_json(self) -> bytes:
        fields: dict[str, Value] = {"affs": 1, "uuid": self.uuid, "label": self.label}
        for name in ("socket", "mountpoint", "volume"):
            fields |= path_fields(name, getattr(self, name))
        fields["pid"] = self.pid
        if self.view:
            fields["view"] = self.view
        return format_pretty(fields).encode("utf-8") + b"\n"

    @classmethod
    def parse(cls, data: bytes) -> "Announcement":
        """AffsError "protocol.announcement" for anything that is no announcement."""
        if len(data) > ANNOUNCEMENT_BYTES_MAX:
            raise _fault("it is too large")
        try:
            fields = parse(data, _LIMITS)
        except AuvError as error:
            raise _fault(error.message) from None
        if not isinstance(fields, dict) or type(fields.get("affs")) is not int:
            raise _fault("it has no field affs")
        return cls(
            uuid=_text(fields, "uuid"),
            label=_text(fields, "label"),
            socket=_path(fields, "socket"),
            mountpoint=_path(fields, "mountpoint"),
            volume=_path(fields, "volume"),
            pid=_number(fields, "pid"),
            view=_text(fields, "view") if "view" in fields else "",
        )


def path_fields(name: str, path: str) -> dict[str, Value]:
    """A path as `os.fsdecode` gives it, as fields of an Object: name, and name_b64 if it must
    be.
    """
    exact = os.fsencode(path)
    try:
        return {name: exact.decode("utf-8")}
    except UnicodeDecodeError:
        readable = exact.decode("utf-8", "replace")
        return {name: readable, f"{name}_b64": binascii.b2a_base64(exact, newline=False).decode()}


def _path(fields: dict[str, Any], name: str) -> str:
    exact = fields.get(f"{name}_b64")
    if exact is None:
        path = _text(fields, name)
    else:
        try:
            path = os.fsdecode(binascii.a2b_base64(str(exact).encode(), strict_mode=True))
        except ValueError:
            raise _fault(f"{name}_b64 is no base64") from None
    if not path.startswith("/") or "\0" in path:
        raise _fault(f"{name} is no absolute path")
    return path


def _text(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise _fault(f"{name} is no String")
    return value


def _number(fields: dict[str, Any], name: str) -> int:
    value = fields.get(name)
    if type(value) is not int:
        raise _fault(f"{name} is no Int64")
    return value


def _fault(problem: str) -> AffsError:
    return AffsError("protocol.announcement", Category.INVALID, f"an announcement: {problem}")
