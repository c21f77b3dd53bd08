"""Text on its way to a terminal: what fits the screen is printed, what does not goes through a
pager.

Lines are held back until it is clear which of the two it is; `idle` and live lines (events) end the
waiting. Which pager: AFFS_PAGER, else PAGER, else less; empty or `cat` for none.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    import subprocess

__all__ = ["Page", "PagerClosed", "pager_command", "terminal_size"]

_LESS_OPTIONS = "FRX"


class PagerClosed(Exception):
    """The reader has left the pager: nothing more is wanted."""


def pager_command(environment: Mapping[str, str], stream: TextIO) -> str:
    """The pager for what goes to stream, "" for none."""
    if not stream.isatty() or environment.get("TERM") == "dumb":
        return ""
    for name in ("AFFS_PAGER", "PAGER"):
        if name in environment:
            command = environment[name].strip()
            return "" if command == "cat" else command
    from shutil import which

    return "less" if which("less") else ""


def terminal_size() -> tuple[int, int]:
    """Columns and lines. shutil is loaded for a terminal alone: in a script affsctl is to start at
    once."""
    from shutil import get_terminal_size

    return get_terminal_size()


class Page:
    """One answer. command: of the pager, "" for none. on_pager: called when the pager takes the
    screen."""

    def __init__(self, command: str, on_pager: Callable[[], None]) -> None:
        self._command = command
        self._on_pager = on_pager
        self._held: list[str] = []
        self._rows = 0
        self._process: subprocess.Popen[str] | None = None
        self._live = not command

    def line(self, text: str, *, flush: bool = False) -> None:
        """One line, which may hold colours. PagerClosed."""
        if self._process is not None:
            self._feed([text])
        elif self._live:
            print(text, flush=flush)
        else:
            columns, rows = terminal_size()
            self._held.append(text)
            self._rows += sum(1 + max(0, len(row) - 1) // columns for row in text.split("\n"))
            if self._rows >= rows:
                self._start()

    def idle(self) -> None:
        """Nothing comes just now, and somebody waits: show what there is."""
        if self._process is None and not self._live:
            self._live = True
            self._release()
            sys.stdout.flush()

    def end(self) -> None:
        """The answer is complete: show it, and wait until it was read. Another may follow."""
        self._live = not self._command
        self._rows = 0
        if self._process is None:
            self._release()
            return
        process, self._process = self._process, None
        assert process.stdin is not None, "it was opened as a pipe"
        with _interrupts_are_the_pagers():
            try:
                process.stdin.close()
            except BrokenPipeError:
                self._held.clear()  # the reader has left before the end
            process.wait()

    def _release(self) -> None:
        for text in self._held:
            print(text)
        self._held.clear()

    def _start(self) -> None:
        import subprocess

        sys.stdout.flush()
        held, self._held = self._held, []
        environment = {"LESS": _LESS_OPTIONS, "LV": "-c", **os.environ}
        try:
            self._process = subprocess.Popen(
                self._command,
                shell=True,
                stdin=subprocess.PIPE,
                env=environment,
                encoding=sys.stdout.encoding,
                errors="backslashreplace",
            )
        except OSError:
            self._live = True
            self._held = held
            self._release()
            return
        self._on_pager()
        self._feed(held)

    def _feed(self, lines: list[str]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None, "it was opened as a pipe"
        try:
            self._process.stdin.writelines(line + "\n" for line in lines)
            self._process.stdin.flush()
        except BrokenPipeError:
            raise PagerClosed from None


@contextmanager
def _interrupts_are_the_pagers() -> Iterator[None]:
    """Ctrl-C reaches the pager too, which knows what to do with it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
