"""affsctl: sends a command to the runtime of a mounted volume and shows the answer.

It has no logic of its own: the runtime parses the line, the result's schema lays it out, the
error's category gives the exit status. It imports neither trio nor the runtime, so that it starts
at once.
"""

import io
import os
import sys
from collections.abc import Callable, Sequence

from affs_ctl.client import Call, Client
from affs_ctl.discover import Target, announcements, find, runtime_directories
from affs_ctl.options import FORMATS, USAGE, Options, parse_options
from affs_ctl.output import Output, People, make_output
from affs_fuse import __version__
from affs_fuse.auv import Value, format_json
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Item, Progress

__all__ = ["exit_status", "main"]

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141

_EXIT_BY_CODE = {
    "client.no_volume": 10,
    "client.ambiguous": 10,
    "client.no_daemon": 17,
    "client.unreachable": 17,
    "client.closed": 17,
}

_GRACE_S = 5.0
"""Beyond the deadline that the server keeps, for its answer to arrive."""

_CANCEL_WAIT_S = 3.0

_CONFIRMABLE = ("plan.unconfirmed", "plan.stale")


def exit_status(error: AffsError) -> int:
    """By category (docs/specs/Errors.md); what only the client can know has its own."""
    return _EXIT_BY_CODE.get(error.code, error.category.exit_status)


def main(arguments: Sequence[str] | None = None) -> int:
    """The program: its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # whatever the locale cannot show
    try:
        return _main(words)
    except BrokenPipeError:
        # Whoever read our output has gone. The interpreter flushes once more at exit: give it a
        # place.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _main(words: list[str]) -> int:
    if words[:1] == ["__complete"]:
        from affs_ctl.complete import print_candidates

        return print_candidates(words[1:])
    try:
        options = parse_options(words)
    except AffsError as error:
        wanted = next((name for name in FORMATS if f"--{name}" in words), "")
        make_output(wanted, quiet=False, color=True).error(error)
        return exit_status(error)
    if options.help or options.version or options.completion:
        return _about(options)
    output = make_output(options.format, quiet=options.quiet, color=options.color)
    try:
        line = options.command_line()
        if not line.strip():
            sys.stderr.write(USAGE)
            return Category.INVALID.exit_status
        with _connect(options, line) as client:
            return _run(client, line, options, output)
    except AffsError as error:
        output.error(error)
        if error.code == "client.no_volume" and _asks_for_help(line):
            sys.stdout.write(USAGE)
        return exit_status(error)


def _about(options: Options) -> int:
    if options.help:
        sys.stdout.write(USAGE)
    elif options.version:
        plain = f"affsctl {__version__}"
        print(format_json({"affsctl": __version__}) if options.format else plain)
    elif options.completion == "bash":
        from affs_ctl.complete import BASH

        sys.stdout.write(BASH)
    else:
        print(f"affsctl: no completion script for {options.completion!r}: bash", file=sys.stderr)
        return Category.INVALID.exit_status
    return 0


def _asks_for_help(line: str) -> bool:
    return line.split(None, 1)[0].lower() == "help"


def _connect(options: Options, line: str) -> Client:
    try:
        target = find(options.volume)
    except AffsError as error:
        named = options.volume is not None
        if error.code != "client.no_volume" or named or not _asks_for_help(line):
            raise
        target = _any_volume(error)
    return Client.connect(target.socket, name=f"affsctl {__version__}")


def _any_volume(error: AffsError) -> Target:
    """Every volume's runtime gives the same help."""
    known = announcements(runtime_directories(os.environ, os.geteuid()))
    if not known:
        raise AffsError(
            error.code,
            error.category,
            "the list of commands comes from the runtime of a mounted volume, and none is mounted",
            hint="mount one: mount.affs VOLUME DIRECTORY",
        ) from None
    return Target(known[0].socket, known[0])


def _run(client: Client, line: str, options: Options, output: Output) -> int:
    """The line, and once more as often as a plan is confirmed."""
    _fetch_schema(client, line, output)
    while True:
        try:
            value = _one(client, line, options, output)
        except AffsError as error:
            confirmed = _confirmed(error, output)
            if confirmed is None:
                raise
            line = confirmed
            continue
        output.result(value)
        status = value.get("exit_status", 0) if isinstance(value, dict) else 0
        return status if isinstance(status, int) else 0


def _fetch_schema(client: Client, line: str, output: Output) -> None:
    """How the result wants to be shown. What is wrong with a line will be said when it runs."""
    try:
        description = client.command("describe", {"line": line})
    except AffsError:
        return
    if isinstance(description, dict):
        output.schema(description)


def _one(client: Client, line: str, options: Options, output: Output) -> Value:
    timeout_s = options.timeout_s
    deadline_ms = None if timeout_s is None else max(1, int(timeout_s * 1000))
    call = client.start(line, deadline_ms=deadline_ms)
    try:
        for part in call.parts(None if timeout_s is None else timeout_s + _GRACE_S):
            if isinstance(part, Progress):
                output.progress(part)
            elif isinstance(part, Item):
                output.item(part.item)
            else:
                output.item(part.event)
        return call.result()
    except KeyboardInterrupt:
        _cancel(call)
        raise


def _cancel(call: Call) -> None:
    """Ask the server to stop, and wait a little for it to say that it has: then nothing goes on
    behind the user's back. A second interrupt does not wait."""
    try:
        call.cancel()
        for _ in call.parts(_CANCEL_WAIT_S):
            pass
    except AffsError:
        return


def _confirmed(error: AffsError, output: Output) -> str | None:
    """The line that does what the user was asked about and agreed to; None when nobody can be
    asked."""
    line = error.details.get("confirmed_line")
    if error.code not in _CONFIRMABLE or not isinstance(line, str):
        return None
    if not isinstance(output, People) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    if error.code == "plan.stale":
        output.error(error)
    output.plan(error.details.get("plan"))
    lasting = " It cannot be undone." if error.details.get("danger") == "destructive" else ""
    return line if _ask(f"Do it?{lasting} [y/N] ", input) else None


def _ask(question: str, read: Callable[[str], str]) -> bool:
    try:
        sys.stderr.write(question)
        sys.stderr.flush()
        return read("").strip().lower() in ("y", "yes")
    except EOFError:
        return False
