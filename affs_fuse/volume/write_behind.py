"""Streams on their way to the medium: written out early, and not kept twice in memory.

A large file that is written passes through two page caches, the mount's and the host's. Left alone,
the host's copies fill memory that the mount's could use, and all of them are written out only at
the commit's barrier. So once a worker has written a long run, the host is asked to write it out at
once, and when WINDOW_BYTES have gone by, to let its copy go. Invariants:
- Nothing here makes anything durable; the barrier of the commit does, as ever.
- The host reports a failed write-out once, and this may be who is told: so an error here is as good
  as a failed barrier, and is raised.
- Small writes are left to the host: they are likely to be read again.
"""

import threading
from collections import deque

from affs_fuse.device.device import Buffer, Device, Result, StreamDevice, device_error

__all__ = ["RUN_BYTES_MIN", "WINDOW_BYTES", "WriteBehind"]

RUN_BYTES_MIN = 1 << 20
WINDOW_BYTES = 24 << 20


class WriteBehind:
    """Of one device; does nothing where the device cannot. Called by workers, several at once."""

    def __init__(self, device: Device) -> None:
        self._device = device if isinstance(device, StreamDevice) else None
        self._lock = threading.Lock()
        self._behind: deque[tuple[int, int]] = deque()
        self._bytes = 0

    def follow(self, writes: list[tuple[int, Buffer]]) -> None:
        """These (device offset, bytes) were written just now. Errors: device.io."""
        device = self._device
        if device is None:
            return
        for offset, length in _long_runs(writes):
            self._demand(device.begin_write_out(offset, length), offset)
            with self._lock:
                self._behind.append((offset, length))
                self._bytes += length
        while (oldest := self._oldest()) is not None:
            self._demand(device.end_write_out(*oldest), oldest[0])

    def _oldest(self) -> tuple[int, int] | None:
        """A run that is to be let go, if the window is full."""
        with self._lock:
            if self._bytes <= WINDOW_BYTES:
                return None
            run = self._behind.popleft()
            self._bytes -= run[1]
            return run

    def _demand(self, result: Result, offset: int) -> None:
        if not result.ok:
            assert self._device is not None
            raise device_error("writing out", self._device.identity, offset, result)


def _long_runs(writes: list[tuple[int, Buffer]]) -> list[tuple[int, int]]:
    """(offset, length) of neighbours that together make RUN_BYTES_MIN or more."""
    runs: list[tuple[int, int]] = []
    for offset, data in sorted(writes, key=lambda write: write[0]):
        if runs and sum(runs[-1]) == offset:
            runs[-1] = (runs[-1][0], runs[-1][1] + len(data))
        else:
            runs.append((offset, len(data)))
    return [run for run in runs if run[1] >= RUN_BYTES_MIN]
