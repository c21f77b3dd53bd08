"""What the host says about all volumes: /etc/affs/affs.toml, /etc/affs/conf.d/*.toml, and for
mounts of a user $XDG_CONFIG_HOME/affs/affs.toml as well.

    [hooks]
    programs = ["/usr/local/lib/affs/hooks/"]   # a program, or all that lie in a folder
    urls = ["http://127.0.0.1:9000/"]           # a URL, or all below one that ends with /

Invariants:
- A file that others than root and the mount's owner can write allows nothing.
- A file that cannot be understood allows nothing, and the mount goes on: the log says so.
"""

import logging
import os
import stat
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affs_fuse.errors import AffsError
from affs_fuse.runtime.hook import split_url

__all__ = ["HostConfig", "config_files", "read_host_config"]

_log = logging.getLogger("affs.daemon")

SYSTEM_FOLDER = "/etc/affs"


@dataclass(frozen=True, slots=True)
class HostConfig:
    """programs, urls: of [hooks]."""

    programs: tuple[str, ...] = ()
    urls: tuple[str, ...] = ()


def config_files(user_folder: str, folder: str = SYSTEM_FOLDER) -> list[Path]:
    """In the order in which they are read. user_folder: "" for none."""
    system = Path(folder)
    files = [system / "affs.toml", *sorted((system / "conf.d").glob("*.toml"))]
    return [*files, Path(user_folder) / "affs.toml"] if user_folder else files


def read_host_config(files: Iterable[Path], user_id: int) -> HostConfig:
    """All of them together. user_id: of the mount's owner."""
    programs: list[str] = []
    urls: list[str] = []
    for path in files:
        try:
            with open(path, "rb") as file:
                _check_owner(file.fileno(), user_id)
                hooks = _hooks_of(tomllib.load(file))
        except FileNotFoundError:
            continue
        except (OSError, ValueError, AffsError) as error:
            _log.warning("%s counts for nothing: %s", path, error)
            continue
        programs += hooks.programs
        urls += hooks.urls
    return HostConfig(tuple(programs), tuple(urls))


def _check_owner(descriptor: int, user_id: int) -> None:
    found = os.fstat(descriptor)
    if found.st_uid not in (0, user_id):
        raise ValueError("it belongs neither to root nor to the owner of the mount")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise ValueError("others can write to it")


def _hooks_of(document: dict[str, Any]) -> HostConfig:
    hooks = document.get("hooks", {})
    if not isinstance(hooks, dict):
        raise ValueError("hooks is no table")
    unknown = sorted(hooks.keys() - {"programs", "urls"})
    if unknown:
        raise ValueError(f"[hooks] has no {unknown[0]!r}; there are programs and urls")
    programs, urls = (_texts(hooks, name) for name in ("programs", "urls"))
    for path in programs:
        if not path.startswith("/"):
            raise ValueError(f"programs: {path!r} is no absolute path")
    for url in urls:
        split_url(url)
    return HostConfig(programs, urls)


def _texts(table: dict[str, Any], name: str) -> tuple[str, ...]:
    found = table.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise ValueError(f"{name} is no array of strings")
    return tuple(found)
