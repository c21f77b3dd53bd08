"""What mount.affs was asked to do: its command line and the few environment variables that count.

The only module of the daemon that reads the environment. See docs/mounting.md for the words.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from affs_fuse.control.exposition import Target, parse_target
from affs_fuse.daemon.options import (
    OPTIONS,
    Kind,
    normalize_option,
    parse_mode,
    parse_seconds,
    parse_size,
    split_options,
)
from affs_fuse.errors import AffsError, Category
from affs_fuse.fuse.mount_table import MOUNT_FLAGS, MS_NODEV, MS_NOSUID, MS_RDONLY
from affs_fuse.protocol import RUNTIME_DIRECTORY
from affs_fuse.protocol.announcement import announcement_directories
from affs_fuse.runtime.slow import SLOW_DEFAULT_S

__all__ = ["HELP", "CommandLine", "Environment", "MountConfig", "parse_arguments"]

CACHE_DEFAULT_BYTES = 128 << 20
CACHE_MIN_BYTES = 4 << 20
DIRTY_DEFAULT_BYTES = 128 << 20
DIRTY_MIN_BYTES = 4 << 20
COMMIT_INTERVAL_DEFAULT_S = 5.0


@dataclass(frozen=True, slots=True)
class Environment:
    """What the daemon takes from outside. Paths are "" where there is none."""

    notify_socket: str = ""
    watchdog_us: int = 0
    journal_stream: str = ""
    runtime_directory: str = ""
    config_directory: str = ""
    user_id: int = 0
    group_id: int = 0
    process_id: int = 0

    @classmethod
    def capture(cls, variables: Mapping[str, str] = os.environ) -> "Environment":
        watchdog = variables.get("WATCHDOG_USEC", "")
        return cls(
            notify_socket=variables.get("NOTIFY_SOCKET", ""),
            watchdog_us=int(watchdog) if watchdog.isdecimal() else 0,
            journal_stream=variables.get("JOURNAL_STREAM", ""),
            runtime_directory=variables.get("XDG_RUNTIME_DIR", ""),
            config_directory=_config_directory(variables),
            user_id=os.geteuid(),
            group_id=os.getegid(),
            process_id=os.getpid(),
        )

    @property
    def privileged(self) -> bool:
        return self.user_id == 0

    @property
    def announcement_directory(self) -> str:
        """Where clients look for mounts of this user: the first place whose parent is there."""
        places = announcement_directories(self.runtime_directory, self.user_id)
        return next((place for place in places if os.path.isdir(os.path.dirname(place))), places[0])

    def control_path(self, volume_uuid: str) -> str:
        """Where the control socket of a volume is, if no option says otherwise."""
        return os.path.join(self.announcement_directory, f"{volume_uuid}.sock")

    def announcement_path(self, volume_uuid: str) -> str:
        """Where the file lies that tells clients of the socket."""
        return os.path.join(self.announcement_directory, f"{volume_uuid}.json")

    def view_name(self, volume_uuid: str) -> str:
        """What a mount that only shows the published state is called in place of the UUID: there
        may be several, beside the volume's own daemon."""
        return f"{volume_uuid}.view.{self.process_id}"

    def owner_announcements(self, volume_uuid: str) -> list[str]:
        """Where the daemon that has the volume may have announced itself: ours, then root's."""
        directories = [self.announcement_directory, RUNTIME_DIRECTORY]
        return [os.path.join(each, f"{volume_uuid}.json") for each in dict.fromkeys(directories)]


def _config_directory(variables: Mapping[str, str]) -> str:
    """Of the user; root's is the host's."""
    if os.geteuid() == 0:
        return ""
    home = variables.get("HOME", "")
    base = variables.get("XDG_CONFIG_HOME") or (f"{home}/.config" if home else "")
    return os.path.join(base, "affs") if os.path.isabs(base) else ""


@dataclass(frozen=True, slots=True)
class MountConfig:
    """A mount as asked for. Paths are absolute; sizes in bytes; times in seconds.

    allow_other: None = the default of who mounts. control: "" = the default place, "none" = none.
    log: "" = the default target. metrics: None = nowhere. slow_s: 0 = off. atime: which rule the
    namespace keeps.
    """

    volume: str
    directory: str
    mount_flags: int = MS_NOSUID | MS_NODEV
    allow_other: bool | None = None
    allow_root: bool = False
    auto_unmount: bool = False
    fsname: str = ""
    commit_interval_s: float = COMMIT_INTERVAL_DEFAULT_S
    cache_bytes: int = CACHE_DEFAULT_BYTES
    dirty_bytes: int = DIRTY_DEFAULT_BYTES
    view: str = "working"
    control: str = ""
    control_mode: int = 0o600
    control_group: str = ""
    log: str = ""
    recover: str = "no"
    degraded: bool = False
    takeover: bool = False
    views: str = "owner"
    spin: str = "auto"
    channel: str = "own"
    metrics: Target | None = None
    hooks: str = "listed"
    log_format: str = "text"
    slow_s: float = SLOW_DEFAULT_S
    atime: str = "relatime"

    @property
    def read_only(self) -> bool:
        return bool(self.mount_flags & MS_RDONLY)


@dataclass(frozen=True, slots=True)
class CommandLine:
    """The command line, parsed. action: mount, help, version, install_helpers.

    words: the option words as given, for handing over to another helper; via_mount8: whether
    mount(8) called us and keeps the umount helper in its table.
    """

    action: str = "mount"
    config: MountConfig | None = None
    words: tuple[str, ...] = ()
    filesystem_type: str = ""
    foreground: bool = False
    fake: bool = False
    verbose: bool = False
    no_table: bool = False
    via_mount8: bool = False
    prefix: str = "/"


@dataclass(slots=True)
class _Scan:
    """The first pass: positions, switches and option words, not yet understood."""

    positions: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    filesystem_type: str = ""
    namespace: str = ""
    prefix: str = "/"
    switches: set[str] = field(default_factory=set)


def parse_arguments(arguments: Sequence[str]) -> CommandLine:
    """Errors: mount.usage, mount.option (both INVALID)."""
    scan = _scan(list(arguments))
    for switch, action in (("help", "help"), ("version", "version")):
        if switch in scan.switches:
            return CommandLine(action=action)
    if "install-helpers" in scan.switches:
        return CommandLine(action="install_helpers", prefix=scan.prefix)
    if len(scan.positions) != 2:
        raise _usage(f"expected VOLUME and DIRECTORY, got {len(scan.positions)} argument(s)")
    if scan.namespace:
        raise AffsError(
            "mount.option", Category.INVALID, "option -N is not supported",
            hint="run mount.affs inside the namespace, for example by nsenter(1)",
        )
    config = _config(scan)
    return CommandLine(
        config=config,
        words=tuple(scan.words),
        filesystem_type=scan.filesystem_type,
        foreground="foreground" in scan.switches,
        fake="f" in scan.switches,
        verbose="v" in scan.switches,
        no_table="n" in scan.switches,
        via_mount8=any(word.startswith("uhelper=") for word in scan.words),
    )


def _usage(message: str) -> AffsError:
    return AffsError("mount.usage", Category.INVALID, message, hint="see mount.affs --help")


def _scan(arguments: list[str]) -> _Scan:
    scan = _Scan()
    only_positions = False
    while arguments:
        argument = arguments.pop(0)
        if only_positions or argument == "-" or not argument.startswith("-"):
            scan.positions.append(argument)
        elif argument == "--":
            only_positions = True
        elif argument.startswith("--"):
            _scan_long(scan, argument[2:], arguments)
        else:
            _scan_short(scan, argument[1:], arguments)
    return scan


def _scan_short(scan: _Scan, letters: str, rest: list[str]) -> None:
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in "oNt":
            value = letters or (rest.pop(0) if rest else "")
            if not value:
                raise _usage(f"option -{letter} needs a value")
            if letter == "o":
                scan.words += split_options(value)
            elif letter == "N":
                scan.namespace = value
            else:
                scan.filesystem_type = value
            return
        if letter in "rw":
            scan.words.append({"r": "ro", "w": "rw"}[letter])
        elif letter == "h":
            scan.switches.add("help")
        elif letter == "V":
            scan.switches.add("version")
        elif letter in "sfnv":
            scan.switches.add(letter)
        else:
            raise _usage(f"unknown option -{letter}")


def _scan_long(scan: _Scan, word: str, rest: list[str]) -> None:
    name, equals, value = word.partition("=")
    if name in ("help", "version", "foreground", "install-helpers") and not equals:
        scan.switches.add(name)
        return
    long_flags = {"verbose": "v", "fake": "f", "sloppy": "s", "no-mtab": "n"}
    if name in long_flags and not equals:
        scan.switches.add(long_flags[name])
        return
    if name in ("options", "types", "prefix"):
        if not equals:
            if not rest:
                raise _usage(f"option --{name} needs a value")
            value = rest.pop(0)
        if name == "options":
            scan.words += split_options(value)
        elif name == "types":
            scan.filesystem_type = value
        else:
            scan.prefix = value
        return
    spec = OPTIONS.get(name.replace("-", "_"))
    if spec is not None and spec.kind not in (Kind.FLAG, Kind.IGNORED) and not equals and rest:
        word = f"{name}={rest.pop(0)}"
    scan.words.append(word)


def _config(scan: _Scan) -> MountConfig:
    volume, directory = scan.positions
    config = MountConfig(
        volume=os.path.abspath(volume) if "/" in volume or os.path.exists(volume) else volume,
        directory=os.path.abspath(directory),
    )
    sloppy = "s" in scan.switches
    for word in scan.words:
        found = normalize_option(word, sloppy=sloppy)
        if found is not None:
            config = _apply(config, found[0].name, found[1])
    if config.view == "published" and not config.read_only:
        raise AffsError(
            "mount.option", Category.INVALID, "view=published shows a state that cannot change",
            hint="add ro: -o ro,view=published",
        )
    return config


def _apply(config: MountConfig, name: str, value: str) -> MountConfig:
    if name in MOUNT_FLAGS:
        to_set, to_clear = MOUNT_FLAGS[name]
        atime = {"noatime": "noatime", "strictatime": "strictatime", "relatime": "relatime",
                 "atime": "relatime", "norelatime": "strictatime",
                 "nostrictatime": "relatime"}.get(name, config.atime)
        return replace(
            config, mount_flags=(config.mount_flags | to_set) & ~to_clear, atime=atime
        )
    if name == "default_permissions":
        return config
    if name in ("allow_other", "noallow_other"):
        return replace(config, allow_other=name == "allow_other")
    if name in ("allow_root", "auto_unmount", "degraded", "takeover"):
        changes: dict[str, Any] = {name: True}
        return replace(config, **changes)
    if name in ("cache", "cache_size"):
        return replace(config, cache_bytes=max(parse_size(name, value), CACHE_MIN_BYTES))
    if name == "dirty":
        return replace(config, dirty_bytes=max(parse_size(name, value), DIRTY_MIN_BYTES))
    if name == "commit_interval":
        return replace(config, commit_interval_s=parse_seconds(name, value))
    if name == "slow":
        return replace(config, slow_s=parse_seconds(name, value))
    if name == "metrics":
        return replace(config, metrics=parse_target(value))
    if name == "control_mode":
        return replace(config, control_mode=parse_mode(name, value))
    if name == "control":
        return replace(config, control=value if value == "none" else os.path.abspath(value))
    if name == "log":
        known = value in ("syslog", "journal", "stderr")
        return replace(config, log=value if known else os.path.abspath(value))
    texts: dict[str, Any] = {name: value}
    return replace(config, **texts)


def _help() -> str:
    lines = [
        "usage: mount.affs VOLUME DIRECTORY [-sfnvrw] [-t TYPE] [-o OPTION[,OPTION...]]",
        "       mount.affs --install-helpers [--prefix DIRECTORY]",
        "",
        "Mounts the AfFS volume VOLUME (a file or a block device) on DIRECTORY.",
        "",
        "  -o OPTIONS    comma separated; each also as --option[=VALUE]",
        "  -r, -w        the same as -o ro, -o rw",
        "  -s            ignore unknown options",
        "  -f            do everything but the mount",
        "  -n            accepted",
        "  -v            say what is done",
        "  --foreground  stay in the foreground, for service managers",
        "  --install-helpers  put mount.affs, mount.fuse.affs and umount.fuse.affs where",
        "                mount(8) and umount(8) find them (PREFIX/sbin)",
        "",
        "options of AfFS (default):",
    ]
    for spec in OPTIONS.values():
        if spec.help and spec.kind is not Kind.REFUSED:
            choices = "|".join(spec.choices) or spec.kind.value.upper()
            word = spec.name if spec.kind is Kind.FLAG else f"{spec.name}={choices}"
            lines.append(f"  {word:<28}{spec.help}")
    lines += [
        "",
        "and the generic ones of mount(8). Exit status: 0 mounted; 1 usage or permission;",
        "2 system error; 4 internal error; 8 interrupted; 32 the mount failed.",
    ]
    return "\n".join(lines)


HELP = _help()
