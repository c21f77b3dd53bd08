"""The registry: the single source of truth about commands."""

from collections.abc import Iterable, Mapping
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command
from affs_fuse.runtime.grammar import (
    Invocation,
    closest,
    did_you_mean,
    first_word,
    parse_arguments,
    parse_words,
    split_for,
)

__all__ = ["Registry"]


class Registry:
    """Constant after construction. Names are unique in any letter case."""

    def __init__(self, commands: Iterable[Command[Any]]) -> None:
        self._commands: dict[str, Command[Any]] = {}
        for command in commands:
            assert command.name not in self._commands, f"{command.name} is declared twice"
            self._commands[command.name] = command

    def all(self) -> Iterable[Command[Any]]:
        """In the order of declaration."""
        return self._commands.values()

    def find(self, name: str) -> Command[Any]:
        """By name in any letter case. invalid: command.unknown, details.candidates."""
        command = self._commands.get(name.lower())
        if command is None:
            candidates = closest(name, self._commands)
            quoted = len(name.split()) > 1
            raise AffsError(
                "command.unknown",
                Category.INVALID,
                f"no command {name!r}",
                hint=did_you_mean(candidates)
                or ("quote the parts, or give the line to affsctl -c" if quoted else "")
                or "`help` lists the commands",
                details={"candidates": candidates},
            )
        return command

    def parse_line(self, line: str) -> Invocation:
        """invalid: every code of docs/specs/CommandGrammar.md, "Errors"."""
        name = first_word(line)
        try:
            command = self.find(name.text)
        except AffsError as error:
            place = {"line": line, "column": name.start + 1, "length": len(name.source)}
            error.details = {**error.details, **place}
            raise
        return self._or_help(parse_words(line, split_for(line, command), command))

    def parse_arguments(self, name: str, arguments: Mapping[str, Value]) -> Invocation:
        """A command by name with its arguments as values."""
        return parse_arguments(self.find(name), arguments)

    def _or_help(self, invocation: Invocation) -> Invocation:
        if not invocation.wants_help:
            return invocation
        return parse_arguments(self.find("help"), {"topic": invocation.command.name})
