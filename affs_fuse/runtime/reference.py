"""docs/commands.md from the registry: `python -m affs_fuse.runtime.reference docs/commands.md`
writes it.

A test compares the page with what this module makes, so it is always current.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from affs_fuse.runtime.command import Command, Danger
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.helptext import option_words
from affs_fuse.runtime.parameters import Parameter

__all__ = ["commands_page", "main"]

_HEAD = """\
# Commands

What `affsctl COMMAND` and every other client can ask of a mounted volume. This page is made from
the registry of the runtime (`python -m affs_fuse.runtime.reference docs/commands.md`); `affsctl
help` says the same of the volume at hand. How a line is written is in
[CommandGrammar](specs/CommandGrammar.md), errors and exit statuses in [Errors](specs/Errors.md).

A *query* changes nothing. A *command* is written into the operation log, with who gave it. The role
is the lowest that may use it: observer, operator or admin. Root and the owner of the mount are
admin.
"""


def commands_page(commands: Iterable[Command[Any]]) -> str:
    """The whole page."""
    groups: dict[str, list[Command[Any]]] = {}
    for command in commands:
        groups.setdefault(command.group, []).append(command)
    parts = [_HEAD]
    for group, members in groups.items():
        parts.append(f"| {group} | |\n| --- | --- |")
        for command in members:
            parts[-1] += f"\n| [`{command.name}`](#{command.name}) | {command.summary} |"
        parts[-1] += "\n"
    parts += [_section(command) for members in groups.values() for command in members]
    return "\n".join(parts)


def _section(command: Command[Any]) -> str:
    lines = [f"## `{command.name}`", "", command.summary[0].upper() + command.summary[1:] + ".", ""]
    lines += ["```text", command.usage, "```", "", command.description, ""]
    if command.parameters:
        lines += ["| Parameter | |", "| --- | --- |"]
        lines += [_parameter_row(parameter) for parameter in command.parameters]
        lines.append("")
    lines += [f"- `{example.line}`: {example.help}" for example in command.examples]
    lines += ["", f"{command.kind.capitalize()}, role {command.role.word}.{_danger(command)}"]
    if command.errors:
        lines.append(
            "Errors of its own: " + ", ".join(f"`{code}`" for code in command.errors) + "."
        )
    return "\n".join(lines) + "\n"


def _parameter_row(parameter: Parameter) -> str:
    text = parameter.help
    choices = parameter.type.choices()
    if choices:
        text += ": " + ", ".join(choices)
    default = parameter.describe().get("default")
    if default is not None:
        text += f" (default {default})"
    return f"| `{option_words(parameter)}` | {text} |"


def _danger(command: Command[Any]) -> str:
    if command.danger is Danger.DESTRUCTIVE:
        return " It takes something away, so it asks for `--yes` or the token of a dry run."
    if command.destructive_with:
        flags = " and ".join(f"`--{name.replace('_', '-')}`" for name in command.destructive_with)
        return f" With {flags} it takes something away: that asks for `--yes` or a token."
    return ""


def main(arguments: list[str]) -> int:
    """Writes the page to the path in arguments."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m affs_fuse.runtime.reference FILE\n")
        return 2
    Path(arguments[0]).write_text(commands_page(COMMANDS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
