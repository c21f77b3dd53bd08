"""Runs a list of steps, each attempt in a process of its own, and makes a failing list shorter.

A process of its own because a mapping of a filesystem that misbehaves ends in SIGBUS, and because
one that hangs has to be ended from outside: without progress for STALL_S the daemon is killed.
"""

import multiprocessing
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from affs_fuse.errors import AffsError
from affs_fuse.fuse import mount_table
from affs_tools.exercise.file_run import FileRun
from affs_tools.exercise.file_steps import file_steps
from affs_tools.exercise.ground import Ground, VolumeGround
from affs_tools.exercise.steps import DifferenceError, Settings, Step, line, load, save
from affs_tools.exercise.tree import TreeRun, tree_steps
from affs_tools.parent import end_with_parent

__all__ = ["Outcome", "attempt", "campaign", "remove", "shrink"]

STALL_S = 60.0

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Outcome:
    """steps: those that were done, the failing one included. difference: empty if there is none."""

    steps: list[Step]
    difference: str
    seconds: float


def steps_of(settings: Settings) -> Iterator[Step]:
    return file_steps(settings) if settings.kind == "file" else tree_steps(settings)


def campaign(
    settings: Settings,
    folder: Path,
    directory: Path | None,
    *,
    seconds: float | None = None,
    operations: int | None = None,
) -> Outcome:
    """Draw steps from the seed until time or number are used up, or something differs."""
    return attempt(settings, islice(steps_of(settings), operations), folder, directory, seconds)


def attempt(
    settings: Settings,
    steps: Iterable[Step],
    folder: Path,
    directory: Path | None,
    seconds: float | None = None,
) -> Outcome:
    """Do steps on fresh ground: a new volume in folder, or a new folder below directory.

    The volume stays in folder. What was done stands in folder/log from before it is done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "log.jsonl"
    shared = _fork.Array("q", [0, 0])  # progress, the daemon's process id
    receiver, sender = _fork.Pipe(duplex=False)
    deadline = None if seconds is None else time.monotonic() + seconds
    arguments = (settings, steps, folder, directory, deadline, shared, sender)
    child = _fork.Process(target=_attempt, args=arguments)
    begin = time.monotonic()
    child.start()
    sender.close()
    stalled = _watch(child, shared)
    difference = ""
    with suppress(EOFError):
        difference = receiver.recv()
    if child.exitcode:
        difference = difference or f"the exercise ended with {child.exitcode}"
    if stalled:
        difference = f"no progress for {STALL_S:.0f} s; then {difference}"
    _take_down(folder)
    done = load(log)[1]
    return Outcome(done, difference, time.monotonic() - begin)


def _watch(child: Any, shared: Any) -> bool:
    """Until the child has ended; whether it had to be helped."""
    last, since, stalled = -1, time.monotonic(), False
    while child.is_alive():
        child.join(0.05)
        now = shared[0]
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > STALL_S:
            stalled = True
            with suppress(ProcessLookupError):
                if shared[1]:
                    os.kill(shared[1], signal.SIGKILL)
            child.join(5)
            child.kill()
            since = time.monotonic()
    return stalled


def _attempt(
    settings: Settings,
    steps: Iterable[Step],
    folder: Path,
    directory: Path | None,
    deadline: float | None,
    shared: Any,
    sender: Any,
) -> None:
    """The child."""
    end_with_parent()
    ground = _ground(settings, folder, directory)

    def started(pid: int) -> None:
        shared[1] = pid

    ground.on_start = started
    done: list[Step] = []
    difference = ""
    log = folder / "log.jsonl"
    save(log, settings, [])
    try:
        ground.start()
        run: FileRun | TreeRun
        run = FileRun(ground, settings) if settings.kind == "file" else TreeRun(ground, settings)
        with log.open("a", buffering=1) as file:
            for step in steps:
                if deadline is not None and time.monotonic() > deadline:
                    break
                done.append(step)
                file.write(line(step))
                run.do(step)
                shared[0] += 1
        run.finish()
        difference = ground.problems()
    except (DifferenceError, RuntimeError, OSError, AffsError) as error:
        difference = f"step {len(done)} {dict(done[-1]) if done else ''}: {error}"
    finally:
        ground.close()
    sender.send(difference)
    sender.close()


def _ground(settings: Settings, folder: Path, directory: Path | None) -> Ground:
    if directory is None:
        return VolumeGround(folder, settings.options)
    return Ground(Path(tempfile.mkdtemp(prefix="exercise-", dir=directory)))


def _take_down(folder: Path) -> None:
    """What a killed child has left."""
    while mount_table.mount_entry_of(str(folder / "m")) is not None:
        mount_table.unmount(str(folder / "m"), mount_table.MNT_DETACH)


def shrink(
    fails: Callable[[list[Step]], bool], steps: list[Step], seconds: float
) -> list[Step]:
    """The fewest steps that still fail: halves, then quarters ... then single ones are left out.

    fails(steps) says whether they still do. Ends early, with what it has, after seconds.
    """
    deadline = time.monotonic() + seconds
    size = (len(steps) + 1) // 2
    while size:
        at = 0
        while at < len(steps):
            if time.monotonic() > deadline:
                return steps
            fewer = steps[:at] + steps[at + size :]
            if fewer and fails(fewer):
                steps = fewer
            else:
                at += size
        size = size // 2
    return steps


def remove(folder: Path) -> None:
    """Away with the ground of an attempt."""
    _take_down(folder)
    shutil.rmtree(folder, ignore_errors=True)
