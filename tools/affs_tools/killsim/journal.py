"""The writers' processes, and the journal of what they told."""

import errno
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from affs_tools.killsim.history import History, Line, Step
from affs_tools.killsim.model import Files, applied

__all__ = ["Writers"]

GONE = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.EIO})
"""What an operation fails with when its mount dies. (EIO alone would hide damage: the image is
checked, and what is there read, after each round.)"""

READY_S = 30.0
END_S = 30.0


class Writers:
    """One process for each directory, and a thread that reads what it tells. start: what is in
    each, and in others that have no process. history: of the round, a line for each of them. first:
    number of each one's first operation; no two rounds share one."""

    def __init__(
        self, directories: list[Path], start: list[Files], seed: int, first: int
    ) -> None:
        self.history = History([Line([Step(files, 0, 0)]) for files in start])
        self.problems: list[str] = []
        self._changed = threading.Condition()
        self._ready = 0
        self._paused = 0
        self._ended = 0
        self._processes = []
        self._threads = []
        for index, directory in enumerate(directories):
            process = subprocess.Popen(
                [
                    sys.executable, "-m", "affs_tools.killsim.writer", str(directory),
                    str(seed * 1000 + index), str(first),
                ],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )
            thread = threading.Thread(target=self._read, args=(process, index), daemon=True)
            self._processes.append(process)
            self._threads.append(thread)
            thread.start()

    def wait_ready(self) -> None:
        """Until all of them work."""
        with self._changed:
            count = len(self._processes)
            if not self._changed.wait_for(lambda: self._ready == count, READY_S):
                raise RuntimeError("the writers do not begin")

    def pause(self) -> None:
        """Until none of them is inside of an operation. OSError when one has ended."""
        with self._changed:
            count, self._paused = len(self._processes), 0
            self._send()
            if not self._changed.wait_for(lambda: self._paused == count or self._ended, READY_S):
                raise RuntimeError("a writer stands still inside of an operation")
            if self._ended:
                raise BrokenPipeError("a writer has ended")

    def go_on(self) -> None:
        """After a pause; they look at their directories again."""
        self._send()

    def begin_rollback(self, number: int, targets: list[Files]) -> list[Step]:
        """A step in all lines."""
        with self._changed:
            now = time.monotonic_ns()
            steps = [Step(files, now, rollback=number) for files in targets]
            for line, step in zip(self.history.lines, steps, strict=True):
                line.begin(step)
            return steps

    def _send(self) -> None:
        for process in self._processes:
            assert process.stdin is not None
            os.write(process.stdin.fileno(), b".")

    def _read(self, process: "subprocess.Popen[bytes]", index: int) -> None:
        line = self.history.lines[index]
        assert process.stdout is not None
        for text in process.stdout:
            if text.endswith(b"\n"):
                with self._changed:
                    self._take(line, json.loads(text))
                    self._changed.notify_all()
        with self._changed:
            self._ended += 1
            self._changed.notify_all()

    def _take(self, line: Line, told: dict[str, Any]) -> None:
        kind, at = told["kind"], told["at"]
        if kind == "ready":
            self._ready += 1
        elif kind == "paused":
            self._paused += 1
        elif kind == "begun":
            operation = told["operation"]
            line.begin(Step(applied(line.now, operation), at, operation=operation))
        elif kind == "done":
            step = line.steps[-1]
            step.done = at
            self.history.operations += 1
            if step.operation[0] in ("fsync", "dirsync"):
                self.history.acknowledge(step.begun)
        elif kind == "failed" and told["errno"] not in GONE:
            self.problems.append(f"{line.steps[-1].operation}: errno {told['errno']}")

    def end(self) -> None:
        """After the mount has gone: they end by themselves, having told everything."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process, thread in zip(self._processes, self._threads, strict=True):
            process.wait(END_S)
            thread.join(END_S)
            assert process.stdout is not None
            process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
