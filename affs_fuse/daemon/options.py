"""The option words of mount.affs: one table, from which parsing, checking and help are made.

Invariants:
- Every word that mount(8) may pass is known here, so an unknown word is the user's mistake.
- Parsing touches nothing outside its arguments.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from affs_fuse.errors import AffsError, Category
from affs_fuse.fuse.mount_table import MOUNT_FLAGS

__all__ = [
    "OPTIONS",
    "Kind",
    "OptionSpec",
    "normalize_option",
    "parse_mode",
    "parse_seconds",
    "parse_size",
    "split_options",
]

_SIZE_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SIZE_MAX_BYTES = 1 << 50
_SECONDS_MAX = 86_400.0


class Kind(Enum):
    """What follows the option's `=`."""

    FLAG = "flag"
    TEXT = "text"
    PATH = "path"
    SIZE = "size"
    SECONDS = "seconds"
    MODE = "mode"
    CHOICE = "choice"
    IGNORED = "ignored"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OptionSpec:
    """One option word. choices: of a CHOICE; help: a line for --help, or why it is refused."""

    name: str
    kind: Kind
    help: str = ""
    choices: tuple[str, ...] = ()


def _specs() -> Iterator[OptionSpec]:
    for name in MOUNT_FLAGS:
        yield OptionSpec(name, Kind.FLAG)
    for name in (
        "defaults", "auto", "noauto", "user", "nouser", "users", "nousers", "owner", "noowner",
        "group", "nogroup", "nofail", "_netdev", "comment", "uhelper", "helper", "loop", "offset",
        "sizelimit", "mand", "nomand", "iversion", "noiversion",
    ):
        yield OptionSpec(name, Kind.IGNORED)
    for name, reason in (
        ("remount", "unmount and mount again instead"),
        ("uid", "AfFS keeps owners of its own; use chown"),
        ("gid", "AfFS keeps groups of its own; use chgrp"),
        ("umask", "AfFS keeps modes of its own; use chmod"),
        ("bind", "a bind mount needs no helper"),
    ):
        yield OptionSpec(name, Kind.REFUSED, reason)
    yield from (
        OptionSpec("allow_other", Kind.FLAG, "let all users in (root's default)"),
        OptionSpec("noallow_other", Kind.FLAG, "let the mounting user in alone (users' default)"),
        OptionSpec("allow_root", Kind.FLAG, "let the mounting user and root in"),
        OptionSpec("default_permissions", Kind.FLAG, "the kernel checks permissions (always on)"),
        OptionSpec("auto_unmount", Kind.FLAG, "unmount when the daemon dies (users' mounts)"),
        OptionSpec("fsname", Kind.TEXT, "what the mount table shows as source"),
        OptionSpec("commit_interval", Kind.SECONDS, "seconds between commits, 0 = off (5)"),
        OptionSpec("cache", Kind.SIZE, "memory for tree nodes (128M)"),
        OptionSpec("cache_size", Kind.SIZE, "the same"),
        OptionSpec("dirty", Kind.SIZE, "written data kept in memory before writers wait (128M)"),
        OptionSpec("view", Kind.CHOICE, "which state to show (working)", ("working", "published")),
        OptionSpec("control", Kind.PATH, "path of the control socket, or none"),
        OptionSpec("control_mode", Kind.MODE, "its mode, octal (0600)"),
        OptionSpec("control_group", Kind.TEXT, "its group"),
        OptionSpec("log", Kind.PATH, "syslog, journal, stderr or a file"),
        OptionSpec("log_format", Kind.CHOICE, "one line an event, as (text)", ("text", "json")),
        OptionSpec("metrics", Kind.TEXT,
                   "offer metrics at a loopback port, a socket's path, or keep FILE.prom"),
        OptionSpec("hooks", Kind.CHOICE, "which hooks of the volume may run (listed)",
                   ("off", "listed", "all")),
        OptionSpec("slow", Kind.SECONDS, "log what takes longer, 0 = off (1)"),
        OptionSpec("recover", Kind.CHOICE, "what to do about a damaged newest commit",
                   ("no", "previous")),
        OptionSpec("degraded", Kind.FLAG, "mount though a backend is missing"),
        OptionSpec("takeover", Kind.FLAG, "take the volume from another host's dead owner"),
        OptionSpec("views", Kind.CHOICE, "who may enter .affs (owner)", ("owner", "all")),
        OptionSpec("spin", Kind.CHOICE, "poll briefly for the next request (auto)",
                   ("on", "off", "auto")),
        OptionSpec("channel", Kind.CHOICE, "who reads requests from the kernel (own)",
                   ("own", "libfuse")),
    )


OPTIONS: dict[str, OptionSpec] = {spec.name: spec for spec in _specs()}


def split_options(text: str) -> list[str]:
    """The words of one -o argument; a comma in double quotes or after a backslash is literal."""
    words: list[str] = []
    word: list[str] = []
    quoted = escaped = False
    for character in text:
        if escaped:
            word.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character == '"':
            quoted = not quoted
        elif character == "," and not quoted:
            words.append("".join(word))
            word = []
        else:
            word.append(character)
    words.append("".join(word))
    return [word for word in words if word]


def normalize_option(word: str, *, sloppy: bool) -> tuple[OptionSpec, str] | None:
    """The option and its value ("" for none); None for one to be ignored.

    Errors: mount.option (INVALID) for an unknown word, a value where none may be, or none where
    one must.
    """
    name, equals, value = word.partition("=")
    if name.startswith(("x-", "X-")):
        return None
    spec = OPTIONS.get(name) or OPTIONS.get(name.replace("-", "_"))
    if spec is None:
        if sloppy:
            return None
        close = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}?" if close else "see mount.affs --help"
        raise _option_error(f"unknown option {name!r}", hint)
    if spec.kind is Kind.IGNORED:
        return None
    if spec.kind is Kind.REFUSED:
        if sloppy:
            return None
        raise _option_error(f"option {name!r} is not supported", spec.help)
    if spec.kind is Kind.FLAG and equals:
        raise _option_error(f"option {name!r} takes no value", f"write {name!r} alone")
    if spec.kind is not Kind.FLAG and not value:
        raise _option_error(f"option {name!r} needs a value", f"write {name}=...")
    if spec.kind is Kind.CHOICE and value not in spec.choices:
        allowed = ", ".join(spec.choices)
        raise _option_error(f"option {name}={value} is not understood", f"one of: {allowed}")
    return spec, value


def parse_size(name: str, text: str) -> int:
    """Bytes of "64M", "1g", "4096". Errors: mount.option."""
    number = text.rstrip("bBiI")
    unit = number[-1:].lower()
    if unit in _SIZE_UNITS and unit:
        number = number[:-1]
    else:
        unit = ""
    if not number.isascii() or not number.isdecimal():
        raise _option_error(f"option {name}={text} is no size", f"for example {name}=256M")
    size = int(number) * _SIZE_UNITS[unit]
    if size > _SIZE_MAX_BYTES:
        raise _option_error(f"option {name}={text} is too large", "at most 1024T")
    return size


def parse_seconds(name: str, text: str) -> float:
    """Errors: mount.option."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= _SECONDS_MAX:
        raise _option_error(
            f"option {name}={text} is no time in seconds", f"0 (off) to {int(_SECONDS_MAX)}"
        )
    return seconds


def parse_mode(name: str, text: str) -> int:
    """Errors: mount.option."""
    try:
        mode = int(text, 8)
    except ValueError:
        mode = -1
    if not 0 <= mode <= 0o777:
        raise _option_error(f"option {name}={text} is no file mode", "octal, for example 0660")
    return mode


def _option_error(message: str, hint: str) -> AffsError:
    return AffsError("mount.option", Category.INVALID, message, hint=hint)
