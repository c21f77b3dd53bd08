"""The registry as a personality shows it: for help, descriptions and completion, never for what
runs."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from affs_fuse.runtime.command import Command, Parsed
from affs_fuse.runtime.personality import Personality
from affs_fuse.runtime.registry import Registry

__all__ = ["Shown"]


class Shown:
    """A Catalogue (command.py): without what is left out, and with labels in front of summaries."""

    def __init__(self, registry: Registry, personality: Personality) -> None:
        self._registry = registry
        self._personality = personality

    def all(self) -> Iterable[Command[Any]]:
        shown = filter(self._personality.allows, self._registry.all())
        return [self._labelled(one) for one in shown]

    def find(self, name: str) -> Command[Any]:
        return self._labelled(self._registry.find(name))

    def parse_line(self, line: str) -> Parsed:
        return self._registry.parse_line(line)

    def _labelled(self, command: Command[Any]) -> Command[Any]:
        label = self._personality.labels.get(command.name)
        if label is None:
            return command
        return dataclasses.replace(command, summary=f"{label}: {command.summary}")
