"""Running one program for a hook: its input, the time it may take, and how much of its output is
kept.

Invariants:
- The loop never waits for a program to start or to end. The program is started through /bin/sh,
  because starting one holds up the whole process until its file is open, and that may take as long
  as some network filesystem likes; /bin/sh is the host's own.
- It runs in a session of its own, with no descriptor and no environment of the daemon's; after its
  time, or when the daemon ends, everything that is left in that session's group is killed.
- Output beyond OUTPUT_BYTES_MAX is read and dropped.
"""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import trio

__all__ = ["OUTPUT_BYTES_MAX", "HookOutcome", "run_process", "through_shell"]

OUTPUT_BYTES_MAX = 4096
GRACE_S = 2.0


@dataclass(frozen=True, slots=True)
class HookOutcome:
    """status: of the process, negative for a signal. output: standard output and error, cut
    off."""

    status: int
    output: bytes
    timed_out: bool


def through_shell(path: str) -> list[str]:
    """The command that becomes the program at path, which is a word of its own and never code."""
    return ["/bin/sh", "-c", 'exec "$0"', path]


async def run_process(
    command: Sequence[str], data: bytes, environment: Mapping[str, str], timeout_s: float
) -> HookOutcome:
    """Errors: OSError if there is no /bin/sh, or no room for a process."""
    process = await trio.lowlevel.open_process(
        list(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        cwd="/", env=dict(environment), start_new_session=True,
    )  # fmt: skip
    output = bytearray()
    timed_out = True
    try:
        with trio.move_on_after(timeout_s):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_feed, process, data)
                nursery.start_soon(_collect, process, output)
                await process.wait()
                nursery.cancel_scope.deadline = trio.current_time() + GRACE_S
            timed_out = False
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)
    assert process.returncode is not None
    return HookOutcome(process.returncode, bytes(output), timed_out)


async def _feed(process: trio.Process, data: bytes) -> None:
    assert process.stdin is not None
    with suppress(trio.BrokenResourceError):  # it does not want to read
        await process.stdin.send_all(data)
    await process.stdin.aclose()


async def _collect(process: trio.Process, output: bytearray) -> None:
    assert process.stdout is not None
    async for piece in process.stdout:
        output += piece[: OUTPUT_BYTES_MAX - len(output)]


async def _end(process: trio.Process) -> None:
    """What is left of it, children included."""
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with trio.move_on_after(GRACE_S):
            await process.wait()
    _signal_group(process.pid, signal.SIGKILL)
    await process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            await trio.aclose_forcefully(stream)


def _signal_group(group: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # gone, or another user's by its own doing
        os.killpg(group, number)
