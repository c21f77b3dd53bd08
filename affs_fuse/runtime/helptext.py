"""Help for people, at 80 columns, from the registry; examples stand first."""

import textwrap
from collections.abc import Iterable
from typing import Any

from affs_fuse.runtime.command import Command, Danger
from affs_fuse.runtime.parameters import Parameter

__all__ = ["command_text", "option_words", "overview_text"]

_WIDTH = 80


def overview_text(commands: Iterable[Command[Any]]) -> str:
    """All commands by group, a line each."""
    groups: dict[str, list[Command[Any]]] = {}
    for command in commands:
        if not command.hidden:
            groups.setdefault(command.group, []).append(command)
    shown = [command for members in groups.values() for command in members]
    width = max((len(command.name) for command in shown), default=0)
    lines = []
    for group, members in groups.items():
        lines.append(f"{group}:")
        lines += [f"  {command.name:<{width}}  {command.summary}" for command in members]
        lines.append("")
    lines.append("`help COMMAND` tells more about one of them.")
    return "\n".join(lines)


def command_text(command: Command[Any]) -> str:
    """One command in full."""
    lines = [f"{command.name}: {command.summary}", ""]
    if command.examples:
        width = max(len(example.line) for example in command.examples)
        lines += [f"  {example.line:<{width}}  {example.help}" for example in command.examples]
        lines.append("")
    lines += textwrap.wrap(f"Usage: {command.usage}", _WIDTH, subsequent_indent="         ")
    lines += ["", *textwrap.wrap(command.description, _WIDTH)]
    if command.parameters:
        lines.append("")
        for parameter in command.parameters:
            lines += _parameter_lines(parameter)
    lines += ["", f"Role: {command.role.word}. {_danger_sentence(command)}".rstrip()]
    return "\n".join(lines)


def option_words(parameter: Parameter) -> str:
    """`-m, --message MESSAGE`, or STATE for a positional."""
    if parameter.positional:
        return parameter.word + ("..." if parameter.repeated else "")
    words = f"{parameter.short}, {parameter.word}" if parameter.short else parameter.word
    return f"{words} {parameter.name.upper()}" if parameter.type.takes_value else words


def _parameter_lines(parameter: Parameter) -> list[str]:
    text = parameter.help
    choices = parameter.type.choices()
    if choices:
        text += ": " + ", ".join(choices)
    described = parameter.describe()
    if "default" in described:
        text += f" (default {described['default']})"
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"  {option_words(parameter):<24} ",
        subsequent_indent=" " * 27,
    )


def _danger_sentence(command: Command[Any]) -> str:
    if command.danger is Danger.DESTRUCTIVE:
        return "It takes something away, so it asks for --yes or the token of a dry run."
    if command.destructive_with:
        flags = " or ".join("--" + name.replace("_", "-") for name in command.destructive_with)
        return f"With {flags} it takes something away: that asks for --yes or a token."
    return ""
