"""Daemons that are forked from a process which has everything imported: most of what starting one
costs is the interpreter, and a killer starts hundreds.

    python -m affs_tools.killsim.daemons     is that process; DaemonServer talks to it.
"""

import json
import os
import select
import signal
import subprocess
import sys
from types import TracebackType
from typing import Self

from affs_fuse.daemon.main import main as daemon_main
from affs_tools.parent import end_with_parent

__all__ = ["DaemonServer", "ForkedDaemon"]


class ForkedDaemon:
    """One daemon, with the calls of a Popen that a ground needs."""

    def __init__(self, server: "DaemonServer", pid: int) -> None:
        self.pid = pid
        self._server = server
        self._descriptor = os.pidfd_open(pid)
        self._status: int | None = None

    def poll(self) -> int | None:
        return self._await(0)

    def wait(self, timeout: float) -> int:
        status = self._await(timeout)
        if status is None:
            raise subprocess.TimeoutExpired("mount.affs", timeout)
        return status

    def kill(self) -> None:
        if self._status is None:
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def _await(self, timeout_s: float) -> int | None:
        if self._status is None:
            ended, _, _ = select.select([self._descriptor], [], [], timeout_s)
            if ended:
                os.close(self._descriptor)
                self._status = self._server.ask({"status": self.pid})
        return self._status


class DaemonServer:
    """The process with everything imported. close() ends it, and its daemons with it."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "affs_tools.killsim.daemons"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )

    def launch(self, words: list[str]) -> ForkedDaemon:
        """mount.affs with these words."""
        return ForkedDaemon(self, self.ask({"words": words}))

    def ask(self, question: dict[str, object]) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _serve() -> None:
    end_with_parent()
    for line in sys.stdin:
        question = json.loads(line)
        if "words" in question:
            answer = _fork(question["words"])
        else:
            answer = os.waitstatus_to_exitcode(os.waitpid(question["status"], 0)[1])
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


def _fork(words: list[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    end_with_parent()
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    status = 1
    try:
        status = daemon_main(words)
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve()
