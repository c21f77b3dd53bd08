"""What is watched meanwhile: how long the mount's operations take, and what the daemon holds."""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from types import TracebackType
from typing import Self

__all__ = ["Watch", "memory_bytes"]

SAMPLE_S = 0.05


def memory_bytes(pid: int, field_name: str = "VmRSS") -> int:
    """Of a process; 0 when it has gone."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field_name + ":"):
                return int(line.split()[1]) << 10
    return 0


@dataclass(slots=True)
class Watch:
    """Writes, reads and removes a file of the directory, over and over, until the block ends.
    times: seconds of each turn; memory_max, descriptors_max: of the daemon."""

    directory: Path
    pid: int
    times: list[float] = field(default_factory=list)
    memory_max: int = 0
    descriptors_max: int = 0
    failures: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def __enter__(self) -> Self:
        for function in (self._use, self._look):
            thread = threading.Thread(target=function, daemon=True)
            self._threads.append(thread)
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _use(self) -> None:
        path = self.directory / "watched"
        content = os.urandom(10_000)
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                path.write_bytes(content)
                if path.read_bytes() != content:
                    self.failures.append("a file shows other bytes than were written")
                path.unlink()
            except OSError as error:
                self.failures.append(str(error))
                return
            self.times.append(time.monotonic() - begun)
            self._stop.wait(0.005)

    def _look(self) -> None:
        while not self._stop.is_set():
            self.memory_max = max(self.memory_max, memory_bytes(self.pid))
            try:
                count = len(os.listdir(f"/proc/{self.pid}/fd"))
            except OSError:
                count = 0
            self.descriptors_max = max(self.descriptors_max, count)
            self._stop.wait(SAMPLE_S)

    def describe(self) -> str:
        times = sorted(self.times) or [0.0]
        return (
            f"{len(self.times)} turns, median {median(times) * 1e3:.1f} ms, 99 %"
            f" {times[len(times) * 99 // 100] * 1e3:.1f} ms, longest {times[-1] * 1e3:.0f} ms;"
            f" memory at most {self.memory_max >> 20} MiB, {self.descriptors_max} descriptors"
        )
