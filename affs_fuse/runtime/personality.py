"""What a personality is: a manifest (docs/specs/Personality.md), read and applied.

Invariants, which tests prove for every command and every package, shipped or made up:
- It only tightens. A command that runs under a personality would have run without one, and does
  the same; what it adds are refusals and confirmations.
- Commands that are essential are always there, so nobody is locked out by a package.
- Defaults belong to queries alone, and are values that anybody could have typed.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from affs_fuse.auv import AuvError, Value, check
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Danger

__all__ = ["MANIFEST_BYTES_MAX", "NO_PERSONALITY", "Confirmation", "Personality", "read_manifest"]

MANIFEST = 1
"""Version of the manifest's form."""

MANIFEST_BYTES_MAX = 4096
LINES_MAX = 8
TEXT_CHARACTERS_MAX = 2000

NAME_PATTERN = re.compile(r"[a-z][a-z0-9-]{0,31}")
VERSION_PATTERN = re.compile(r"(\d{1,6})(?:\.(\d{1,6}))?(?:\.(\d{1,6}))?")

Version = tuple[int, int, int]


class Confirmation(IntEnum):
    """What a command takes before it runs: nothing, --yes (or a token), or a token alone."""

    NONE = 0
    YES = 1
    TOKEN = 2


_CONFIRMATIONS = {one.name.lower(): one for one in Confirmation}
_DANGERS = {one.word: one for one in Danger if one is not Danger.NONE}


@dataclass(frozen=True, slots=True)
class Personality:
    """groups: those that are enabled, None for all. disabled: single commands. confirm: at least
    this much, by name of a command or word of a danger. defaults: arguments of queries. labels:
    what commands are called by people. startup: lines for the beginning of an interactive
    session."""

    name: str
    version: Version
    title: str
    lowest: Version = (0, 0, 0)
    below: Version | None = None
    groups: frozenset[str] | None = None
    disabled: frozenset[str] = frozenset()
    confirm: Mapping[str, Confirmation] = field(default_factory=dict)
    defaults: Mapping[str, Mapping[str, Value]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    startup: tuple[str, ...] = ()
    help: str = ""

    def allows(self, command: Command[Any]) -> bool:
        """Whether the command is there."""
        if command.essential:
            return True
        if command.name in self.disabled:
            return False
        return self.groups is None or command.group in self.groups

    def demand(self, command: Command[Any]) -> None:
        """denied: personality.disabled."""
        if not self.allows(command):
            raise AffsError(
                "personality.disabled",
                Category.DENIED,
                f"{command.name} is not part of the personality {self.name} of this volume",
                hint="an administrator can choose another: use-personality NAME, or none",
                details={"command": command.name, "personality": self.name},
            )

    def confirmation(self, command: Command[Any], danger: Danger) -> Confirmation:
        """What a call of this danger takes: never less than without a personality."""
        levels = [Confirmation.YES if danger is Danger.DESTRUCTIVE else Confirmation.NONE]
        if command.plan is not None:
            words = [command.name, *(word for word, one in _DANGERS.items() if one <= danger)]
            levels += [self.confirm[word] for word in words if word in self.confirm]
        return max(levels)

    def fits(self, software: str) -> bool:
        """Whether it is made for this version of the software."""
        version = read_version(software)
        return self.lowest <= version and (self.below is None or version < self.below)

    @property
    def version_text(self) -> str:
        return ".".join(map(str, self.version))


NO_PERSONALITY = Personality("none", (0, 0, 0), "No personality")


def read_version(text: str) -> Version:
    """One to three numbers; what is left out is 0. invalid: personality.manifest."""
    found = VERSION_PATTERN.fullmatch(text)
    if found is None:
        raise _invalid(f"{text!r} is no version", "three numbers: 1.0.0")
    major, minor, patch = (int(part or 0) for part in found.groups())
    return major, minor, patch


def _invalid(problem: str, hint: str = "") -> AffsError:
    return AffsError(
        "personality.manifest", Category.INVALID, f"the manifest: {problem}",
        hint=hint or "docs/specs/Personality.md has its form",
    )  # fmt: skip


def read_manifest(text: str) -> Personality:
    """The manifest on its own; whether commands exist is `check_commands`' question. invalid:
    personality.manifest."""
    if len(text.encode("utf-8", "replace")) > MANIFEST_BYTES_MAX:
        raise _invalid(f"more than {MANIFEST_BYTES_MAX} bytes")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _invalid(f"no TOML: {error}") from None
    tables = ("personality", "commands", "confirm", "defaults", "labels", "startup", "help")
    _only(document, "", tables)
    about, commands, confirm, defaults, labels, startup, help_table = (
        _table(document, name) for name in tables
    )
    _only(about, "personality.", ("manifest", "name", "version", "title", "affs"))
    _only(commands, "commands.", ("groups", "disable"))
    _only(startup, "startup.", ("lines",))
    _only(help_table, "help.", ("text",))
    if about.get("manifest") != MANIFEST:
        raise _invalid(f"personality.manifest is {about.get('manifest')!r}; known is {MANIFEST}")
    name = _text(about, "personality.name")
    if not NAME_PATTERN.fullmatch(name) or name == NO_PERSONALITY.name:
        raise _invalid(f"personality.name: {name!r} is no name", "small letters, digits and -")
    lowest, below = _compatibility(_text(about, "personality.affs", ""))
    groups = _texts(commands, "commands.groups") if "groups" in commands else None
    lines = _texts(startup, "startup.lines")
    if len(lines) > LINES_MAX:
        raise _invalid(f"startup.lines: at most {LINES_MAX}")
    return Personality(
        name=name,
        version=read_version(_text(about, "personality.version")),
        title=_text(about, "personality.title"),
        lowest=lowest,
        below=below,
        groups=None if groups is None else frozenset(groups),
        disabled=frozenset(_texts(commands, "commands.disable")),
        confirm={word: _confirmation(confirm, word) for word in confirm},
        defaults={word: _defaults(defaults, word) for word in defaults},
        labels={word: _text(labels, f"labels.{word}") for word in labels},
        startup=tuple(lines),
        help=_text(help_table, "help.text", "").strip(),
    )


def _only(table: Mapping[str, Any], where: str, known: Iterable[str]) -> None:
    known = [*known]
    for key in table:
        if key not in known:
            raise _invalid(f"there is no {where}{key}", "there are: " + ", ".join(known))


def _table(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = document.get(name, {})
    if not isinstance(found, dict):
        raise _invalid(f"{name} is no table")
    return found


def _text(table: Mapping[str, Any], where: str, default: str | None = None) -> str:
    found = table.get(where.rpartition(".")[2], default)
    if not isinstance(found, str) or (not found and default is None):
        raise _invalid(f"{where} is missing, or no text")
    if len(found) > TEXT_CHARACTERS_MAX or "\0" in found:
        raise _invalid(f"{where}: more than {TEXT_CHARACTERS_MAX} characters, or a NUL")
    return found


def _texts(table: Mapping[str, Any], where: str) -> list[str]:
    found = table.get(where.rpartition(".")[2], [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise _invalid(f"{where} is no array of texts")
    return found


def _confirmation(table: Mapping[str, Any], word: str) -> Confirmation:
    level = table[word]
    if not isinstance(level, str) or level not in _CONFIRMATIONS:
        raise _invalid(f"confirm.{word} is none of {', '.join(_CONFIRMATIONS)}")
    return _CONFIRMATIONS[level]


def _defaults(table: Mapping[str, Any], word: str) -> dict[str, Value]:
    found = table[word]
    try:
        if isinstance(found, dict):
            check(found)
            return found
    except AuvError as error:
        raise _invalid(f"defaults.{word}: {error.message}") from None
    raise _invalid(f"defaults.{word} is no table")


def _compatibility(text: str) -> tuple[Version, Version | None]:
    lowest: Version = (0, 0, 0)
    below: Version | None = None
    for part in filter(None, (one.strip() for one in text.split(","))):
        if part.startswith(">="):
            lowest = read_version(part[2:].strip())
        elif part.startswith("<"):
            below = read_version(part[1:].strip())
        else:
            raise _invalid(f"personality.affs: {part!r}", "for example >=0.1, <2")
    return lowest, below


def check_commands(personality: Personality, commands: Mapping[str, Command[Any]]) -> None:
    """That what it says about commands makes sense here. invalid: personality.manifest."""
    groups = {command.group for command in commands.values()}
    for group in sorted(personality.groups or ()):
        if group not in groups:
            raise _invalid(f"no group {group!r}", "there are: " + ", ".join(sorted(groups)))
    for table, words in (
        ("commands.disable", personality.disabled),
        ("confirm", personality.confirm.keys() - _DANGERS.keys()),
        ("defaults", personality.defaults),
        ("labels", personality.labels),
    ):
        for word in sorted(words):
            if word not in commands:
                raise _invalid(f"{table}: no command {word!r}")
    for word in sorted(personality.disabled):
        if commands[word].essential:
            raise _invalid(f"commands.disable: {word} cannot be left out")
    for word in sorted(personality.confirm.keys() - _DANGERS.keys()):
        if commands[word].plan is None:
            raise _invalid(f"confirm.{word}: it has no plan that could be confirmed")
