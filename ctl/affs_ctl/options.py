"""affsctl's own options. Everything else on its command line is for the runtime, which alone
understands it.

The long ones may stand anywhere before a `--`: no command has options of these names
(docs/specs/CommandGrammar.md, "Reserved names"). The short ones stand before the command.
"""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field

from affs_fuse.errors import AffsError, Category

__all__ = ["FORMATS", "USAGE", "Options", "parse_options", "quote_word"]

FORMATS = ("json", "jsonl", "ajis")

_FLAGS = (*(f"--{name}" for name in FORMATS), "--no-color", "--quiet", "--version", "--help")
_WITH_VALUE = ("--volume", "--timeout", "--completion")
_SHORT = {"-V": "--volume", "-q": "--quiet", "-h": "--help", "-c": "-c"}

TIMEOUT_S_MAX = 7 * 24 * 3600

USAGE = """\
usage: affsctl [-V VOLUME] [OPTION...] COMMAND [ARGUMENT...]
       affsctl [-V VOLUME] [OPTION...] -c LINE

Sends a command to the runtime of a mounted AfFS volume and shows the answer.

  -V, --volume VOLUME   a mount point or any path below it, a volume file, a UUID or a label
                        (default: $AFFS_VOLUME, else the volume of the current directory)
  --json                one JSON document
  --jsonl               one JSON value a line, as they come
  --ajis                one AJIS document, canonical
  --timeout SECONDS     give up after so long
  -c LINE               a whole command line in one argument
  -q, --quiet           no headlines and no progress
  --no-color            plain text; so does the environment variable NO_COLOR
  --completion bash     print the completion script of a shell
  --version             print the version of affsctl
  -h, --help            print this

The commands are those of the volume's runtime: `affsctl help` lists them, `affsctl help COMMAND`
tells about one.

Exit status: 0 done; 1 failed; 2 wrong usage; 4 differences found (diff --exit-code); 10 no such
volume; 11 busy; 13 no permission; 14 conflict, such as a stale plan; 15 no space; 16 not found;
17 no daemon answers; 18 out of time; 19 corrupt data; 130 interrupted.
"""


@dataclass(slots=True)
class Options:
    """words: for the runtime, as the shell split them. line: of -c. format: one of FORMATS, or ""
    for people."""

    volume: str | None = None
    format: str = ""
    quiet: bool = False
    color: bool = True
    timeout_s: float | None = None
    version: bool = False
    help: bool = False
    completion: str = ""
    line: str | None = None
    words: list[str] = field(default_factory=list)

    def command_line(self) -> str:
        """The line to send; "" when there is none."""
        if self.line is not None:
            return self.line
        return " ".join(quote_word(word) for word in self.words)


def quote_word(word: str) -> str:
    """The word in the runtime's grammar. A dash in front stays bare, so that an option stays one.
    AffsError cli.encoding when it is not UTF-8."""
    try:
        word.encode("utf-8")
    except UnicodeEncodeError:
        raise AffsError(
            "cli.encoding",
            Category.INVALID,
            f"an argument is not UTF-8: {word.encode('utf-8', 'backslashreplace').decode()}",
        ) from None
    bare = re.match(r"--?[A-Za-z0-9-]*=?|", word)
    assert bare is not None, "the pattern matches the empty string"
    rest = word[bare.end() :]
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
        if before_command and word[:2] in _SHORT and not word.startswith("--"):
            name, equals, value = _SHORT[word[:2]], word[2:], word[2:]
            if name in ("--quiet", "--help") and value:
                raise _usage(f"{word[:2]} takes no value")
        if name in _FLAGS and not equals:
            _flag(options, name)
        elif name in _WITH_VALUE or (name == "-c" and before_command):
            if not equals and not rest:
                raise _usage(f"{word} needs a value")
            _valued(options, name, value if equals else rest.pop(0))
        elif before_command and word.startswith("-") and word != "-":
            raise _usage(f"affsctl has no option {word}")
        else:
            options.words.append(word)
    if options.line is not None and options.words:
        raise _usage("-c takes the whole line in one argument")
    return options


def _flag(options: Options, name: str) -> None:
    if name[2:] in FORMATS:
        if options.format not in ("", name[2:]):
            raise _usage(f"--{options.format} and {name} exclude each other")
        options.format = name[2:]
    elif name == "--no-color":
        options.color = False
    elif name == "--quiet":
        options.quiet = True
    elif name == "--version":
        options.version = True
    elif options.words:
        options.words.append(name)  # of the command, and so for the runtime
    else:
        options.help = True


def _valued(options: Options, name: str, value: str) -> None:
    if name == "--volume":
        options.volume = value
    elif name == "--completion":
        options.completion = value
    elif name == "-c":
        options.line = value
    else:
        options.timeout_s = _seconds(value)


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
