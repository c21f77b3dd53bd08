"""What a hook is, and which ones this host lets a volume have (docs/security.md, "Hooks").

A hook stands in the volume, so it may have been put there by somebody else. Invariants:
- It names a program without arguments, or a URL: nothing of a volume becomes part of a command
  line.
- A hook that the host does not list does not run, whoever declared it, unless whoever mounted said
  that this volume may have any.
"""

import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.events import EVENT_KINDS
from affs_fuse.runtime.ports import Plain

__all__ = ["HOOKED_KINDS", "TIMEOUT_DEFAULT_S", "TIMEOUT_MAX_S", "Hook", "HookRules"]

TIMEOUT_DEFAULT_S = 30
TIMEOUT_MAX_S = 600

HOOKED_KINDS = {kind: text for kind, text in EVENT_KINDS.items() if kind != "hook"}
"""A hook on hooks would call itself."""

NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
PATH_BYTES_MAX = 1024
URL_PATTERN = re.compile(r"https?://[!-~]{1,1024}")


@dataclass(frozen=True, slots=True)
class Hook:
    """on: kinds of events. program: absolute path, or "" and url is what is posted to. user: who
    declared it, for people."""

    name: str
    on: tuple[str, ...]
    program: str
    url: str
    timeout_s: int
    user: str

    @property
    def action(self) -> str:
        return self.program or self.url

    def to_auv(self) -> Plain:
        return {
            "name": self.name,
            "on": list(self.on),
            "program": self.program,
            "url": self.url,
            "timeout_s": self.timeout_s,
            "user": self.user,
        }

    @classmethod
    def from_auv(cls, value: Value) -> "Hook | None":
        """None for what is no hook: a volume may hold anything."""
        if not isinstance(value, dict):
            return None
        on = value.get("on")
        try:
            hook = cls(
                value["name"], tuple(on if isinstance(on, list) else ()), value["program"],
                value["url"], value["timeout_s"], value["user"],
            )  # fmt: skip
            hook.check()
        except (KeyError, TypeError, AffsError):
            return None
        return hook

    def check(self) -> None:
        """invalid: hook.invalid."""
        texts = (self.name, self.program, self.url, self.user)
        if not all(isinstance(text, str) for text in (*texts, *self.on)):
            raise _invalid("a field is no String")
        if not NAME_PATTERN.fullmatch(self.name):
            raise _invalid(f"{self.name!r} is no name", "letters, digits, and inside them - _ .")
        if not self.on or not set(self.on) <= HOOKED_KINDS.keys():
            raise _invalid("it names no event that hooks can have", ", ".join(HOOKED_KINDS))
        if isinstance(self.timeout_s, bool) or not isinstance(self.timeout_s, int):
            raise _invalid("the timeout is no integer")
        if not 1 <= self.timeout_s <= TIMEOUT_MAX_S:
            raise _invalid(f"the timeout is outside 1 to {TIMEOUT_MAX_S} seconds")
        if bool(self.program) == bool(self.url):
            raise _invalid("it takes a program or a URL, one of the two")
        if self.program:
            _check_path(self.program)
        else:
            split_url(self.url)


def _invalid(problem: str, hint: str = "") -> AffsError:
    return AffsError("hook.invalid", Category.INVALID, f"no hook: {problem}", hint=hint)


def _check_path(path: str) -> None:
    plain = path.isprintable() and len(path.encode("utf-8", "replace")) <= PATH_BYTES_MAX
    if not plain or not path.startswith("/") or os.path.normpath(path) != path:
        raise _invalid(
            f"{path!r} is no plain absolute path", "a program is called without arguments"
        )


def split_url(url: str) -> SplitResult:
    """invalid: hook.invalid."""
    try:
        parts = urlsplit(url)
        port_is_sound = parts.port is None or parts.port > 0
    except ValueError:
        raise _invalid(f"{url!r} is no URL") from None
    sound = URL_PATTERN.fullmatch(url) and parts.hostname and port_is_sound
    if not sound or "@" in parts.netloc or parts.fragment or ".." in parts.path.split("/"):
        raise _invalid(f"{url!r} is no plain http or https URL")
    return parts


@dataclass(frozen=True, slots=True)
class HookRules:
    """What this host and this mount allow. mode: off, listed, all. programs: paths, or folders with
    a `/` at the end for what lies directly in them. urls: those, and what lies below one that ends
    with `/`. owner_uid: of the mount, whose programs may run besides root's."""

    mode: str = "listed"
    programs: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()
    owner_uid: int = 0

    @property
    def may_run_programs(self) -> bool:
        """Whether there can be a hook with a program that is not refused."""
        return self.mode == "all" or (self.mode == "listed" and bool(self.programs))

    def refusal(self, hook: Hook) -> str:
        """Why the hook may not run here; "" if it may."""
        if self.mode == "off":
            return "hooks are off for this mount (-o hooks=off)"
        if self.mode == "all" or self._listed(hook):
            return ""
        return "this host does not list it ([hooks] in /etc/affs/affs.toml)"

    def _listed(self, hook: Hook) -> bool:
        if hook.url:
            return _below(hook.url, self.urls)
        folder = os.path.dirname(hook.program).rstrip("/") + "/"
        return hook.program in self.programs or folder in self.programs

    def program_problem(self, path: str, own_device: int) -> str:
        """Why this file may not be run; "" if it may. Looks at the file, so not on the loop.
        own_device: of the mount itself, from which nothing is run: starting a program would wait
        for the very daemon that starts it, and its files are those of the volume."""
        try:
            found = os.stat(path)
            folder = os.stat(os.path.dirname(path))
        except OSError as error:
            return error.strerror or str(error)
        if found.st_dev == own_device:
            return "it lies on this volume"
        if not stat.S_ISREG(found.st_mode) or not found.st_mode & 0o111:
            return "it is no program"
        return self._doubt(found, "it") or self._doubt(folder, "its folder")

    def _doubt(self, found: os.stat_result, what: str) -> str:
        if found.st_uid not in (0, self.owner_uid):
            return f"{what} belongs neither to root nor to the owner of the mount"
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"others can write to {what}"
        return ""


def _below(url: str, allowed: Iterable[str]) -> bool:
    asked = split_url(url)
    for one in allowed:
        try:
            known = split_url(one)
        except AffsError:
            continue  # whoever reads the list has said so
        same_host = (asked.scheme, asked.hostname, asked.port) == (
            known.scheme, known.hostname, known.port,
        )  # fmt: skip
        below = known.path.endswith("/") and asked.path.startswith(known.path)
        if same_host and (below or (asked.path, asked.query) == (known.path, known.query)):
            return True
    return False
