"""affsctl as a program: its environment, and a pseudo-terminal to run it on."""

import contextlib
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "affs_ctl"]

HANG_S = 60.0
"""Nothing here takes that long, however busy the machine is."""

_CURSOR_QUESTION = b"\x1b[6n"
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]|\x1b[=>]|\r")


def environment(served: Any = None, **more: str) -> dict[str, str]:
    found = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'ctl'}", **more}
    if served is not None:
        found["AFFS_SOCKET"] = served.path
    return found


def await_watcher(served: Any) -> None:
    """Until somebody watches the events of the served runtime."""
    deadline = time.monotonic() + HANG_S
    while not served.runtime.events.statistics().subscribers:
        assert time.monotonic() < deadline
        time.sleep(0.01)


class Terminal:
    """affsctl on a pseudo-terminal of 24 lines and 80 columns, which answers where its cursor is as
    real ones do. text: all that was shown."""

    def __init__(
        self, served: Any, *words: str, program: Sequence[str] = PROGRAM, **variables: str
    ) -> None:
        self._pid, self._handle = pty.fork()
        if self._pid == 0:
            os.execvpe(
                program[0], [*program, *words], environment(served, TERM="xterm", **variables)
            )
        fcntl.ioctl(self._handle, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.text = ""
        self._seen = 0

    @property
    def plain(self) -> str:
        return _ESCAPES.sub("", self.text)

    def expect(self, wanted: str, timeout_s: float = HANG_S) -> None:
        """Waits until it is shown, behind what was expected before."""
        deadline = time.monotonic() + timeout_s
        while (at := self.plain.find(wanted, self._seen)) < 0:
            ready, _, _ = select.select([self._handle], [], [], deadline - time.monotonic())
            assert ready, f"{wanted!r} did not come: {self.plain!r}"
            self._take(os.read(self._handle, 4096))
        self._seen = at + len(wanted)

    def _take(self, data: bytes) -> None:
        self.text += data.decode(errors="replace")
        if _CURSOR_QUESTION in data:
            os.write(self._handle, b"\x1b[1;1R")

    def type(self, text: str) -> None:
        os.write(self._handle, text.encode())

    def end(self) -> int:
        """The exit status."""
        # A terminal whose other side is closed reads as an error.
        with contextlib.suppress(OSError):
            while data := os.read(self._handle, 4096):
                self._take(data)
        os.close(self._handle)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
