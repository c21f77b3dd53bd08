"""Which program is behind a request of the kernel: its name, for the table of authors.

The name is read from /proc/PID/comm, through a descriptor that stays open for the processes seen
last: it is bound to the process, so a number that is used again cannot mislead. A name is believed
for FRESH_S, since reading it takes as long as some requests; a process that execs is another
program so much later at most. Invariants: never fails, and at most PROCESSES_MAX descriptors.
"""

import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress

from affs_fuse.volume.authors import PROCESS, Author

__all__ = ["Actors"]

FRESH_S = 0.001
PROCESSES_MAX = 32
COMM_BYTES = 64


class _Process:
    """author: his number. until: of the monotonic clock."""

    __slots__ = ("author", "descriptor", "name", "uid", "until")

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self.uid = -1
        self.name = b""
        self.author = 0
        self.until = 0.0


class Actors:
    """number: of an author, as the engine gives it. Loop thread only."""

    def __init__(
        self, number: Callable[[Author], int], monotonic: Callable[[], float]
    ) -> None:
        self._number = number
        self._monotonic = monotonic
        self._known: OrderedDict[int, _Process] = OrderedDict()

    def author(self, uid: int, pid: int) -> int:
        """The number of whoever made a request; pid: of a thread, 0 where the kernel knows none."""
        found = self._known.get(pid)
        if found is not None and uid == found.uid and self._monotonic() < found.until:
            return found.author
        return self._look(uid, pid, found)

    def _look(self, uid: int, pid: int, found: _Process | None) -> int:
        name = b""
        if pid:
            name = self._name(found)
            if not name:
                self._drop(pid)
                found = self._open(pid)
                name = self._name(found)
        if found is None or not name:
            return self._number(Author(uid, PROCESS, ""))
        found.until = self._monotonic() + FRESH_S
        if (uid, name) != (found.uid, found.name):
            found.uid, found.name = uid, name
            text = name.decode("utf-8", "replace")
            found.author = self._number(Author(uid, PROCESS, text))
        return found.author

    @staticmethod
    def _name(process: _Process | None) -> bytes:
        """b"" for a process that is not there any more."""
        if process is None:
            return b""
        try:
            return os.pread(process.descriptor, COMM_BYTES, 0).rstrip(b"\n")
        except OSError:
            return b""

    def _open(self, pid: int) -> _Process | None:
        try:
            descriptor = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        while len(self._known) >= PROCESSES_MAX:
            self._drop(next(iter(self._known)))
        made = self._known[pid] = _Process(descriptor)
        return made

    def _drop(self, pid: int) -> None:
        process = self._known.pop(pid, None)
        if process is not None:
            with suppress(OSError):
                os.close(process.descriptor)

    def close(self) -> None:
        """Give the descriptors back."""
        for pid in [*self._known]:
            self._drop(pid)
