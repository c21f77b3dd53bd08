"""`affsctl -f FILE`: the lines of a file or of the standard input, over one connection.

Lines are read as they come, and each answer is out before the next line is read, so a program may
hold a conversation.
"""

import sys
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext

from affs_ctl.client import Client
from affs_ctl.conversation import Conversation
from affs_ctl.discover import find, token_offer
from affs_ctl.interrupt import Interrupts
from affs_ctl.link import Link
from affs_ctl.options import Options
from affs_ctl.output import make_output
from affs_fuse import __version__
from affs_fuse.errors import AffsError, Category

__all__ = ["open_link", "run_batch"]


def open_link(options: Options, interrupts: Interrupts, name: str) -> Link:
    """A connection to the volume of the options. AffsError as of `find` and `Client.connect`."""
    socket = find(options.volume).socket

    def connect(session: str) -> Client:
        return Client.connect(
            socket, name=f"{name} {__version__}", session=session, auth=token_offer(),
            wait=interrupts.wait,
        )

    return Link(connect)


def run_batch(options: Options) -> int:
    """The exit status: that of the first line that failed. cli.file when there is no such file."""
    interrupts = Interrupts()
    link = open_link(options, interrupts, "affsctl batch")
    conversation = Conversation(
        link,
        lambda form, expanded: make_output(
            form, quiet=options.quiet, color=options.color, expanded=expanded
        ),
        interrupts,
        form=options.format,
        timeout_s=options.timeout_s,
    )
    name = options.file or "-"
    try:
        with _lines(name) as lines:
            shown = "<stdin>" if name == "-" else name
            return conversation.take_all(lines, shown, stop_on_error=options.stop_on_error)
    except UnicodeDecodeError:
        raise _file_error(name, "it is not UTF-8") from None
    finally:
        link.close()


def _lines(name: str) -> AbstractContextManager[Iterable[str]]:
    if name == "-":
        return nullcontext(sys.stdin)
    try:
        return open(name, encoding="utf-8")
    except OSError as error:
        raise _file_error(name, error.strerror or str(error)) from None


def _file_error(name: str, problem: str) -> AffsError:
    return AffsError("cli.file", Category.INVALID, f"cannot read lines from {name!r}: {problem}")
