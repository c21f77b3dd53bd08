"""affsctl: sends a command to the runtime of a mounted volume and shows the answer.

It has no logic of its own: the runtime parses the line, the result's schema lays it out, the
error's category gives the exit status. It imports neither trio nor the runtime, so that it starts
at once.
"""

import io
import os
import sys
from collections.abc import Callable, Sequence

from affs_ctl.client import Client
from affs_ctl.discover import Target, announcements, find, runtime_directories, token_offer
from affs_ctl.execute import EXIT_INTERRUPTED, Executor, ask_on_terminal, exit_status
from affs_ctl.interrupt import Interrupts
from affs_ctl.options import FORMATS, Options, parse_options, usage
from affs_ctl.output import Output, make_output
from affs_fuse import __version__
from affs_fuse.auv import format_json
from affs_fuse.errors import AffsError, Category

__all__ = ["exit_status", "main"]

EXIT_BROKEN_PIPE = 141


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
    output = _output(options)
    line = ""
    try:
        if options.shell or options.file is not None:
            return _converse(options)
        line = options.command_line()
        if not line.strip():
            sys.stderr.write(usage())
            return Category.INVALID.exit_status
        return _run(options, line, output)
    except AffsError as error:
        output.error(error)
        if error.code == "client.no_volume" and _asks_for_help(line):
            sys.stdout.write(usage())
        return exit_status(error)


def _output(options: Options) -> Output:
    return make_output(
        options.format, quiet=options.quiet, color=options.color, pager=options.pager
    )


def _about(options: Options) -> int:
    if options.help:
        sys.stdout.write(usage())
    elif options.version:
        plain = f"affsctl {__version__}"
        print(format_json({"affsctl": __version__}) if options.format else plain)
    else:
        from affs_ctl.complete import script

        sys.stdout.write(script(options.completion))
    return 0


def _asks_for_help(line: str) -> bool:
    return line.strip() != "" and line.split(None, 1)[0].lower() == "help"


def _target(options: Options, line: str) -> Target:
    try:
        return find(options.volume)
    except AffsError as error:
        named = options.volume is not None
        if error.code != "client.no_volume" or named or not _asks_for_help(line):
            raise
        return _any_volume(error)


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


def _run(options: Options, line: str, output: Output) -> int:
    interrupts = Interrupts()
    socket = _target(options, line).socket
    name = f"affsctl {__version__}"
    with Client.connect(socket, name=name, auth=token_offer(), wait=interrupts.wait) as client:
        executor = Executor(client, interrupts, timeout_s=options.timeout_s, ask=_ask(options))
        return executor.run(line, output).status


def _ask(options: Options) -> Callable[[str], bool] | None:
    """Only people are asked, and only where they can see the question and answer it."""
    both = sys.stdin.isatty() and sys.stderr.isatty()
    return ask_on_terminal if both and not options.format else None


def _converse(options: Options) -> int:
    if options.file is None and sys.stdin.isatty():
        from affs_ctl.shell import run_shell

        return run_shell(options)
    from affs_ctl.batch import run_batch

    return run_batch(options)
