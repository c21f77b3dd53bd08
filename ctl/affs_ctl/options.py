"""affsctl's own options. Everything else on its command line is for the runtime, which alone
understands it.

The long ones may stand anywhere before a `--`: no command has options of these names
(docs/specs/CommandGrammar.md, "Reserved names"). The short ones stand before the command.
"""

import base64
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from affs_fuse.errors import AffsError, Category

__all__ = [
    "EXIT_STATUSES",
    "FORMATS",
    "OWN_OPTIONS",
    "PURPOSE",
    "SHELLS",
    "SYNOPSES",
    "Options",
    "OwnOption",
    "parse_options",
    "quote_word",
    "usage",
]

FORMATS = ("json", "jsonl", "ajis", "wire")
SHELLS = ("bash", "zsh", "fish")

TIMEOUT_S_MAX = 7 * 24 * 3600

_SHELL_WORDS = ("shell", "sh")


@dataclass(frozen=True, slots=True)
class OwnOption:
    """One of affsctl's options. value: what its value is called, "" for a flag. leading: it stands
    before the command alone. choices: of the value, where they are few."""

    long: str
    help: str
    short: str = ""
    value: str = ""
    leading: bool = False
    choices: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """`-V, --volume VOLUME`."""
        names = ", ".join(name for name in (self.short, self.long) if name)
        return f"{names} {self.value}".rstrip()


OWN_OPTIONS = (
    OwnOption(
        "--volume",
        "a mount point or any path below it, a volume file, a UUID or a label (default: "
        "$AFFS_VOLUME, else the volume of the current directory)",
        short="-V",
        value="VOLUME",
    ),
    OwnOption("--json", "one JSON document"),
    OwnOption("--jsonl", "one JSON value a line, as they come"),
    OwnOption("--ajis", "one AJIS document, canonical"),
    OwnOption("--wire", "the messages of the answer, in frames, as the channel carries them"),
    OwnOption("--timeout", "give up after so long", value="SECONDS"),
    OwnOption("", "a whole command line in one argument", short="-c", value="LINE", leading=True),
    OwnOption(
        "--file",
        "the lines of a file, one after the other; - is the standard input",
        short="-f",
        value="FILE",
        leading=True,
    ),
    OwnOption("--stop-on-error", "with -f: end at the first line that fails", leading=True),
    OwnOption("--no-rc", "with shell: leave ~/.affsrc alone", leading=True),
    OwnOption("--quiet", "no headlines and no progress", short="-q"),
    OwnOption("--no-color", "plain text; so does the environment variable NO_COLOR"),
    OwnOption("--no-pager", "never through $AFFS_PAGER, $PAGER or less"),
    OwnOption(
        "--completion",
        "print the completion script for bash, zsh or fish",
        value="SHELL",
        leading=True,
        choices=SHELLS,
    ),
    OwnOption("--version", "print the version of affsctl"),
    OwnOption("--help", "print this", short="-h"),
)
"""In the order of the usage text. The others may stand anywhere before a `--`."""

PURPOSE = "Sends a command to the runtime of a mounted AfFS volume and shows the answer"

SYNOPSES = (
    "affsctl [-V VOLUME] [OPTION...] COMMAND [ARGUMENT...]",
    "affsctl [-V VOLUME] [OPTION...] -c LINE",
    "affsctl [-V VOLUME] [OPTION...] -f FILE [--stop-on-error]",
    "affsctl [-V VOLUME] [OPTION...] shell [--no-rc]",
)

EXIT_STATUSES = (
    (0, "done"),
    (1, "failed"),
    (2, "wrong usage"),
    (4, "differences found (diff --exit-code)"),
    (10, "no such volume"),
    (11, "busy"),
    (13, "no permission"),
    (14, "conflict, such as a stale plan"),
    (15, "no space"),
    (16, "not found"),
    (17, "no daemon answers"),
    (18, "out of time"),
    (19, "corrupt data"),
    (130, "interrupted"),
)

_BY_NAME = {name: one for one in OWN_OPTIONS for name in (one.short, one.long) if name}
_HELP_COLUMN = 27
_WIDTH = 100


def usage() -> str:
    """What --help prints."""
    from textwrap import wrap

    lines = [("usage: " if not at else "       ") + text for at, text in enumerate(SYNOPSES)]
    lines += [
        "",
        "Sends a command to the runtime of a mounted AfFS volume and shows the answer.",
        "",
    ]
    for one in OWN_OPTIONS:
        first, *more = wrap(one.help, _WIDTH - _HELP_COLUMN)
        indent = "" if one.short else "    "
        lines.append(f"  {indent + one.words:<{_HELP_COLUMN - 3}} {first}")
        lines += [" " * _HELP_COLUMN + text for text in more]
    statuses = "; ".join(f"{number} {what}" for number, what in EXIT_STATUSES)
    lines += [
        "",
        *wrap(
            "The commands are those of the volume's runtime: `affsctl help` lists them, `affsctl "
            "help COMMAND` tells about one. `shell` is affsctl's own: an interactive shell, or "
            "the lines of the standard input if that is no terminal.",
            _WIDTH,
        ),
        "",
        *wrap(f"Exit status: {statuses}.", _WIDTH),
    ]
    return "\n".join(lines) + "\n"


@dataclass(slots=True)
class Options:
    """words: for the runtime, as the shell split them. line: of -c. format: one of FORMATS, or ""
    for people. file: of lines, "-" for the standard input. shell: `affsctl shell`."""

    volume: str | None = None
    format: str = ""
    quiet: bool = False
    color: bool = True
    pager: bool = True
    timeout_s: float | None = None
    version: bool = False
    help: bool = False
    completion: str = ""
    file: str | None = None
    stop_on_error: bool = False
    shell: bool = False
    rc: bool = True
    line: str | None = None
    words: list[str] = field(default_factory=list)

    def command_line(self) -> str:
        """The line to send; "" when there is none."""
        if self.line is not None:
            return self.line
        return " ".join(quote_word(word) for word in self.words)


def quote_word(word: str) -> str:
    """The word in the runtime's grammar. A dash in front stays bare, so that an option stays one.
    AffsError cli.encoding when it is not UTF-8, and not clearly a path, which can be given by its
    bytes."""
    bare = re.match(r"--?[A-Za-z0-9-]*=?|", word)
    assert bare is not None, "the pattern matches the empty string"
    rest = word[bare.end() :]
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        if not rest.startswith(("/", "./", "../")):
            raise AffsError(
                "cli.encoding",
                Category.INVALID,
                f"an argument is not UTF-8: {word.encode('utf-8', 'backslashreplace').decode()}",
                hint="a path that is not begins with /, ./ or ../",
            ) from None
        rest = "b64:" + base64.b64encode(os.fsencode(rest)).decode()
    return bare.group() + (shlex.quote(rest) if rest or not bare.group() else "")


def parse_options(arguments: Sequence[str]) -> Options:
    """AffsError cli.usage."""
    options = Options()
    rest = list(arguments)
    while rest:
        word = rest.pop(0)
        if word == "--":
            options.words += [word, *rest] if options.words else rest
            break
        before_command = not options.words
        name, equals, value = word.partition("=")
        if before_command and word[:1] == "-" and word[:2] in _BY_NAME and word[1:2] != "-":
            name, equals, value = word[:2], word[2:], word[2:]
        own = _BY_NAME.get(name)
        if own is not None and (before_command or (not own.leading and name == own.long)):
            if not own.value and not equals:
                _flag(options, own)
                continue
            if own.value:
                if not equals and not rest:
                    raise _usage(f"{word} needs a value")
                _valued(options, own, value if equals else rest.pop(0))
                continue
            if before_command:
                raise _usage(f"{name} takes no value")
        if before_command and word.startswith("-") and word != "-":
            raise _usage(f"affsctl has no option {word}")
        if before_command and not options.shell and word.lower() in _SHELL_WORDS:
            options.shell = True
        else:
            options.words.append(word)
    _check(options)
    return options


def _check(options: Options) -> None:
    """What excludes each other."""
    if options.line is not None and options.words:
        raise _usage("-c takes the whole line in one argument")
    if options.shell and (options.words or options.line is not None):
        raise _usage("shell takes no command; for the lines of a file there is -f FILE")
    if options.file is not None and (options.words or options.line is not None):
        raise _usage("-f takes its lines from the file, and no command")
    if options.stop_on_error and options.file is None and not options.shell:
        raise _usage("--stop-on-error is for -f FILE")


def _flag(options: Options, own: OwnOption) -> None:
    name = own.long[2:]
    if name in FORMATS:
        if options.format not in ("", name):
            raise _usage(f"--{options.format} and --{name} exclude each other")
        options.format = name
    elif name == "help" and options.words:
        options.words.append("--help")  # of the command, and so for the runtime
    elif name in ("no-color", "no-pager", "no-rc"):
        setattr(options, name[3:], False)
    else:
        setattr(options, name.replace("-", "_"), True)


def _valued(options: Options, own: OwnOption, value: str) -> None:
    if own.choices and value not in own.choices:
        raise _usage(f"{own.long} takes one of {', '.join(own.choices)}, not {value!r}")
    if own.long == "--timeout":
        options.timeout_s = _seconds(value)
    elif own.short == "-c":
        options.line = value
    else:
        setattr(options, own.long[2:], value)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= TIMEOUT_S_MAX:
        raise _usage(f"--timeout takes seconds, more than 0, not {text!r}")
    return seconds


def _usage(message: str) -> AffsError:
    return AffsError("cli.usage", Category.INVALID, message, hint="affsctl --help")
