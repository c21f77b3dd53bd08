"""The packages of a volume: those that come with the software, those installed, the one in use.

Invariants:
- What is in use is read anew for each request, so a change holds at once, for everybody.
- A package that cannot be read any more does not loosen anything: a strict one stands in for it.
"""

import logging
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from affs_fuse import __version__
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Kind
from affs_fuse.runtime.grammar import closest, did_you_mean, parse_arguments
from affs_fuse.runtime.personality import (
    NO_PERSONALITY,
    Confirmation,
    Personality,
    check_commands,
    read_manifest,
)
from affs_fuse.runtime.ports import Plain, SettingKey, SettingsPort
from affs_fuse.runtime.registry import Registry
from affs_fuse.volume.settings import SettingKind

__all__ = ["Personalities", "shipped_manifests"]

_log = logging.getLogger("affs.runtime")

Changes = Mapping[SettingKey, Value]
"""Of settings, for the command to make, so that they can be undone."""

PACKAGES_MAX = 32
IN_USE = 0
"""Number of the setting that names the package in use."""

STRICT = Personality(
    "unreadable", (0, 0, 0), "A package that cannot be read",
    confirm={"reversible": Confirmation.TOKEN, "destructive": Confirmation.TOKEN},
)  # fmt: skip


@cache
def shipped_manifests() -> Mapping[str, str]:
    """Manifests of the packages that come with the software, by name."""
    folder = files("affs_fuse.runtime") / "shipped"
    found = [one for one in folder.iterdir() if one.name.endswith(".toml")]
    return {
        one.name.removesuffix(".toml"): one.read_text(encoding="utf-8")
        for one in sorted(found, key=lambda one: one.name)
    }


@cache
def _read(manifest: str) -> Personality:
    return read_manifest(manifest)


class Personalities:
    """registry: which packages have to make sense of. Loop thread only."""

    def __init__(self, settings: SettingsPort, registry: Registry) -> None:
        self._settings = settings
        self._commands: dict[str, Command[Any]] = {one.name: one for one in registry.all()}
        self._registry = registry

    # ---- in use ----

    def in_use(self) -> Personality:
        """NO_PERSONALITY if there is none."""
        name = self._settings.get(SettingKind.PERSONALITY, IN_USE)
        if name is None:
            return NO_PERSONALITY
        try:
            _, manifest = self._installed()[str(name)]
            return _read(manifest)
        except (KeyError, AffsError) as error:
            _log.warning("the personality %s cannot be read: %s", name, error)
            return STRICT

    def _installed(self) -> dict[str, tuple[int, str]]:
        """Number and manifest by name."""
        found: dict[str, tuple[int, str]] = {}
        for number, value in self._settings.items(SettingKind.PACKAGES):
            if isinstance(value, dict):
                name, manifest = value.get("name"), value.get("manifest")
                if isinstance(name, str) and isinstance(manifest, str):
                    found[name] = (number, manifest)
        return found

    # ---- asking ----

    def list(self) -> list[Plain]:
        """A row per package, installed ones first."""
        installed = self._installed()
        rows = [self._row(name, manifest) for name, (_, manifest) in installed.items()]
        rest = [name for name in shipped_manifests() if name not in installed]
        return rows + [self._row(name, shipped_manifests()[name]) for name in rest]

    def _row(self, name: str, manifest: str) -> Plain:
        try:
            package = _read(manifest)
            about = {"title": package.title, "version": package.version_text, "problem": ""}
            if not package.fits(__version__):
                about["problem"] = f"not made for version {__version__}"
        except AffsError as error:
            about = {"title": "", "version": "", "problem": error.message}
        return {
            "name": name,
            **about,
            "in_use": self._settings.get(SettingKind.PERSONALITY, IN_USE) == name,
            "installed": name in self._installed(),
            "shipped": name in shipped_manifests(),
        }

    def show(self, name: str | None) -> Plain:
        """One package in full, the one in use without a name. not_found: personality.not_found."""
        package = self.in_use() if name is None else self.find(name)
        off = [one.name for one in self._commands.values() if not package.allows(one)]
        confirm = {word: level.name.lower() for word, level in package.confirm.items()}
        return {
            "name": package.name,
            "title": package.title,
            "version": package.version_text,
            "in_use": package.name == self.in_use().name,
            "left_out": off,
            "confirm": confirm,
            "defaults": {word: dict(given) for word, given in package.defaults.items()},
            "labels": dict(package.labels),
            "startup": list(package.startup),
            "help": package.help,
        }

    def find(self, name: str) -> Personality:
        """Installed or shipped; `none` too. not_found: personality.not_found."""
        if name == NO_PERSONALITY.name:
            return NO_PERSONALITY
        return _read(self._manifest(name))

    def _manifest(self, name: str) -> str:
        installed = self._installed()
        if name in installed:
            return installed[name][1]
        if name in shipped_manifests():
            return shipped_manifests()[name]
        known = [*{**installed, **shipped_manifests()}, NO_PERSONALITY.name]
        raise AffsError(
            "personality.not_found", Category.NOT_FOUND, f"no personality {name!r}",
            hint=did_you_mean(closest(name, known)) or "there are: " + ", ".join(known),
            details={"candidates": known},
        )

    # ---- changing ----

    def read(self, source: str) -> tuple[Personality, str]:
        """A package from its manifest, or from the name of one that is shipped, checked against
        this runtime. invalid: personality.manifest; not_found: personality.not_found;
        unsupported: personality.version."""
        plain_name = "\n" not in source and "[" not in source and "=" not in source
        manifest = self._manifest(source) if plain_name else source
        if plain_name and source in shipped_manifests():
            manifest = shipped_manifests()[source]
        package = _read(manifest)
        check_commands(package, self._commands)
        for name, given in package.defaults.items():
            self._check_defaults(name, given)
        for line in package.startup:
            self._check_startup(line)
        if not package.fits(__version__):
            raise AffsError(
                "personality.version", Category.UNSUPPORTED,
                f"{package.name} {package.version_text} is not made for version {__version__}",
                hint="look for another version of the package",
            )
        return package, manifest

    def _check_defaults(self, name: str, given: Mapping[str, Value]) -> None:
        command = self._commands[name]
        if command.kind is not Kind.QUERY:
            raise _problem(f"defaults.{name}: only queries have defaults")
        for word in given:
            known = {one.name: one for one in command.parameters if not one.positional}
            if word not in known:
                raise _problem(f"defaults.{name}: no option {word!r}")
        try:
            parse_arguments(command, {**_placeholders(command), **given})
        except AffsError as error:
            raise _problem(f"defaults.{name}: {error.message}") from None

    def _check_startup(self, line: str) -> None:
        """Only queries: what runs by itself changes nothing."""
        try:
            invocation = self._registry.parse_line(line)
        except AffsError as error:
            raise _problem(f"startup.lines: {line!r}: {error.message}") from None
        if invocation.command.kind is not Kind.QUERY or invocation.command.endless:
            raise _problem(f"startup.lines: {line!r} is no query that ends")

    def installation(self, source: str) -> Changes:
        """What installs it. As `read`; exists: personality.installed; busy:
        personality.too_many."""
        package, manifest = self.read(source)
        installed = self._installed()
        if package.name in installed:
            raise AffsError(
                "personality.installed", Category.EXISTS,
                f"the personality {package.name} is installed already",
                hint=f"upgrade-personality {package.name} takes a newer version of it",
            )
        if len(installed) >= PACKAGES_MAX:
            raise AffsError(
                "personality.too_many", Category.BUSY, f"a volume has at most {PACKAGES_MAX}",
                hint="remove one with remove-personality",
            )
        used = [number for number, _ in self._settings.items(SettingKind.PACKAGES)]
        return self._put(max(used, default=0) + 1, package.name, manifest)

    def _put(self, number: int, name: str, manifest: str) -> Changes:
        return {(SettingKind.PACKAGES, number): {"name": name, "manifest": manifest}}

    def upgrade_plan(self, source: str) -> Plain:
        """name, from, to. As `read`; not_found: personality.not_found; conflict:
        personality.not_newer."""
        package, _ = self.read(source)
        number, manifest = self._installed_one(package.name)
        old = _read(manifest)
        if package.version <= old.version:
            raise AffsError(
                "personality.not_newer", Category.CONFLICT,
                f"{package.name} {package.version_text} is not newer than {old.version_text}",
                hint="remove it first to go back",
            )
        return {
            "name": package.name, "from": old.version_text, "to": package.version_text,
            "number": number,
        }  # fmt: skip

    def upgrade(self, source: str) -> Changes:
        """As `upgrade_plan`."""
        plan = self.upgrade_plan(source)
        package, manifest = self.read(source)
        return self._put(plan["number"], package.name, manifest)

    def _installed_one(self, name: str) -> tuple[int, str]:
        installed = self._installed()
        if name not in installed:
            raise AffsError(
                "personality.not_found", Category.NOT_FOUND,
                f"the personality {name!r} is not installed",
                hint=did_you_mean(closest(name, installed)) or "personalities lists them",
            )
        return installed[name]

    def remove_plan(self, name: str) -> Plain:
        """The package as `show` gives it. not_found: personality.not_found; conflict:
        personality.in_use."""
        self._installed_one(name)
        if self._settings.get(SettingKind.PERSONALITY, IN_USE) == name:
            raise AffsError(
                "personality.in_use", Category.CONFLICT, f"the personality {name} is in use",
                hint="use-personality none first, or another",
            )
        return self.show(name)

    def removal(self, name: str) -> Changes:
        """As `remove_plan`."""
        self.remove_plan(name)
        number, _ = self._installed_one(name)
        return {(SettingKind.PACKAGES, number): None}

    def use_plan(self, name: str) -> Plain:
        """name, from; appears and disappears (lists of commands). As `find` and `read`."""
        old, new = self.in_use(), self.find(name)
        if new is not NO_PERSONALITY:
            self.read(self._manifest(name))
        before, after = (
            {one.name for one in self._commands.values() if package.allows(one)}
            for package in (old, new)
        )
        return {
            "name": new.name, "from": old.name, "appears": sorted(after - before),
            "disappears": sorted(before - after),
        }  # fmt: skip

    def choice(self, name: str) -> Changes:
        """As `use_plan`. One that is shipped is installed by it."""
        self.use_plan(name)
        key = (SettingKind.PERSONALITY, IN_USE)
        if name == NO_PERSONALITY.name:
            return {key: None}
        install = {} if name in self._installed() else self.installation(name)
        return {**install, key: name}


def _placeholders(command: Command[Any]) -> dict[str, Value]:
    return {one.name: "x" for one in command.parameters if one.required}


def _problem(text: str) -> AffsError:
    return AffsError(
        "personality.manifest", Category.INVALID, f"the manifest: {text}",
        hint="docs/specs/Personality.md has its form",
    )  # fmt: skip
