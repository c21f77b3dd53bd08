"""Manual pages in section 1, made from descriptions of commands: affsctl(1) and one for each
command.

`python -m affs_tools.pages` writes them to docs/man/, and a test holds them current. They use the
man macros alone and hold no date, so the same registry always gives the same bytes.
"""

import re
from collections.abc import Sequence
from typing import Any

from affs_ctl.options import EXIT_STATUSES, OWN_OPTIONS, PURPOSE, SYNOPSES

__all__ = ["make_manual"]

Description = dict[str, Any]

_HEAD = '.\\" Made from the registry of commands by `python -m affs_tools.pages`.\n'


def make_manual(commands: Sequence[Description]) -> dict[str, str]:
    """By the name of the file. commands: as `describe` answers them."""
    pages = {"affsctl.1": _overview(commands)}
    for command in commands:
        pages[f"affsctl-{command['name']}.1"] = _command_page(command)
    return pages


def _overview(commands: Sequence[Description]) -> str:
    lines = [_title("affsctl"), ".SH NAME", f"affsctl \\- {_text(_lowered(PURPOSE))}"]
    lines.append(".SH SYNOPSIS")
    for at, synopsis in enumerate(SYNOPSES):
        lines += [".br"] if at else []
        lines.append(_bold_first(synopsis))
    lines += [
        ".SH DESCRIPTION",
        f"{_text(PURPOSE)}.",
        "What a command means, how it is written and how its result is shown comes from the",
        "runtime; each has a page of its own.",
        "With \\fBshell\\fR lines are typed one after the other, with completion and history.",
        ".SH OPTIONS",
    ]
    for one in OWN_OPTIONS:
        lines += [".TP", _option(one.short, one.long, one.value), _text(one.help)]
    lines.append(".SH COMMANDS")
    groups: dict[str, list[Description]] = {}
    for command in commands:
        if not command["hidden"]:
            groups.setdefault(command["group"], []).append(command)
    for group, members in groups.items():
        lines.append(f".SS {_text(group)}")
        for command in members:
            lines += [".TP", f"\\fBaffsctl\\-{_text(command['name'])}\\fR(1)"]
            lines.append(_text(command["summary"]))
    lines += [*_exit_statuses(), *_environment()]
    names = [f"affsctl-{command['name']}" for command in commands if not command["hidden"]]
    return "\n".join([*lines, *_see_also(names)]) + "\n"


def _command_page(command: Description) -> str:
    name = f"affsctl-{command['name']}"
    lines = [
        _title(name),
        ".SH NAME",
        f"{_text(name)} \\- {_text(command['summary'])}",
        ".SH SYNOPSIS",
        _bold_first(f"affsctl {command['usage']}", words=2),
        ".SH DESCRIPTION",
        _text(command["description"]),
        ".PP",
        _kind_sentence(command),
    ]
    if command["parameters"]:
        lines.append(".SH OPTIONS")
    for one in command["parameters"]:
        value = "" if one["positional"] or one["type"] == "flag" else one["name"].upper()
        word = one["word"] + ("..." if one["repeated"] else "")
        about = one["help"]
        if one.get("values"):
            about += ": " + ", ".join(one["values"])
        if "default" in one:
            about += f" (default {one['default']})"
        lines += [".TP", _option(one.get("short", ""), word, value), _text(about)]
    if command["examples"]:
        lines.append(".SH EXAMPLES")
    for example in command["examples"]:
        lines += [".TP", f"\\fBaffsctl {_text(example['line'])}\\fR", _text(example["help"])]
    if command["errors"]:
        lines.append(".SH ERRORS")
        codes = ", ".join(f"\\fB{_text(code)}\\fR" for code in command["errors"])
        lines.append(f"Of its own, beside those that every command can give: {codes}.")
    return "\n".join([*lines, *_exit_statuses(), *_see_also(["affsctl"])]) + "\n"


def _title(name: str) -> str:
    return f'{_HEAD}.TH {name.upper()} 1 "" "AfFS" "AfFS"'


def _kind_sentence(command: Description) -> str:
    kind = "a query: it changes nothing" if command["kind"] == "query" else "a command"
    text = f"It is {kind}. It takes the role {command['role']} or a higher one."
    if command["danger"] == "destructive":
        text += " It takes something away, so it asks for --yes or the token of a dry run."
    elif command["destructive_with"]:
        flags = " or ".join("--" + name.replace("_", "-") for name in command["destructive_with"])
        text += f" With {flags} it takes something away: that asks for --yes or a token."
    return _text(text)


def _exit_statuses() -> list[str]:
    text = "; ".join(f"{number} {what}" for number, what in EXIT_STATUSES)
    return [".SH EXIT STATUS", f"{_text(text)}."]


def _environment() -> list[str]:
    return [
        ".SH ENVIRONMENT",
        ".TP",
        "\\fBAFFS_VOLUME\\fR",
        "The volume, where \\fB\\-V\\fR names none.",
        ".TP",
        "\\fBAFFS_SOCKET\\fR",
        "The path of a control socket, where neither names a volume.",
        ".TP",
        "\\fBAFFS_TOKEN\\fR",
        "A token of \\fBcreate\\-token\\fR, to be its user in place of one's own.",
        ".TP",
        "\\fBAFFS_PAGER\\fR, \\fBPAGER\\fR",
        "The pager for what does not fit the screen; empty for none.",
        ".TP",
        "\\fBNO_COLOR\\fR",
        "Without colour, if it is set to anything.",
        ".SH FILES",
        ".TP",
        "\\fI~/.affsrc\\fR",
        "Lines that the shell takes before the first one that is typed.",
        ".TP",
        "\\fI$XDG_STATE_HOME/affs/history\\fR",
        "What was typed in the shell. A line that begins with a space is not kept.",
    ]


def _see_also(names: Sequence[str]) -> list[str]:
    return [".SH SEE ALSO", ",\n".join(f"\\fB{_text(name)}\\fR(1)" for name in names)]


def _option(short: str, long: str, value: str) -> str:
    names = ", ".join(f"\\fB{_text(name)}\\fR" for name in (short, long) if name)
    return f"{names} \\fI{_text(value)}\\fR" if value else names


def _bold_first(usage: str, words: int = 1) -> str:
    parts = usage.split(" ")
    rest = " ".join(parts[words:])
    return f"\\fB{_text(' '.join(parts[:words]))}\\fR {_text(rest)}".rstrip()


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _text(text: str) -> str:
    """Running text: nothing in it is taken for a request; `code` is bold."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti")
    escaped = escaped.replace("^", "\\(ha").replace("'", "\\(aq").replace('"', "\\(dq")
    escaped = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", escaped)
    return "\\&" + escaped if escaped.startswith((".", "'")) else escaped
