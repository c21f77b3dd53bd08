"""Rounds: mount, look, write and give verbs, kill, check the image, again.

The volume lives on from round to round; what a round leaves is where the next one begins.
"""

import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affs_fuse.device.file import open_device
from affs_fuse.volume.verify import verify_volume
from affs_tools.exercise.ground import VolumeGround
from affs_tools.fsck_indexes import check_indexes
from affs_tools.killsim.daemons import DaemonServer
from affs_tools.killsim.director import Director, Kept, ViolationError
from affs_tools.killsim.history import NEVER, allowed, explained
from affs_tools.killsim.journal import Writers
from affs_tools.killsim.model import Files
from affs_tools.killsim.records import DIRECTORY, prepare

__all__ = ["Figures", "run"]

VOLUME_BYTES = 256 << 20
OPTIONS = ("commit_interval=0.05", "commit_interval=0", "commit_interval=0.5,dirty=2M")
LIFE_S = (0.02, 0.7)
"""From the first operations of a round to its end."""

OPERATIONS_MAX = 100_000
"""Of one writer in one round, by far."""

JOIN_S = 60.0
LOOKED_AT = 3
"""Older kept states that are read whole in each round."""


@dataclass(slots=True)
class Figures:
    """Of a whole run. in_flight: rounds that ended inside of each verb; lost: operations that were
    not durable when the daemon was killed."""

    rounds: int = 0
    operations: int = 0
    acknowledged: int = 0
    lost: int = 0
    rollbacks: int = 0
    states: int = 0
    seconds: float = 0.0
    verbs: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        verbs = ", ".join(f"{count} {name}" for name, count in sorted(self.verbs.items()))
        return (
            f"{self.rounds} rounds in {self.seconds:.0f} s: {self.operations} operations"
            f" ({self.lost} of them lost with their daemon, none of {self.acknowledged} that were"
            f" acknowledged as durable), {self.states} kept states looked at; {verbs}"
        )


def run(
    folder: Path,
    *,
    rounds: int,
    seed: int,
    writers: int = 3,
    tell: Callable[[str], None] = lambda text: None,
) -> Figures:
    """Raises ViolationError with the round's number. folder: short, for the socket's sake."""
    started = time.monotonic()
    with DaemonServer() as server:
        campaign = _Campaign(folder, seed, writers, server)
        _carry_out(campaign, rounds, tell)
    campaign.figures.seconds = time.monotonic() - started
    return campaign.figures


def _carry_out(campaign: "_Campaign", rounds: int, tell: Callable[[str], None]) -> None:
    started = time.monotonic()
    try:
        for number in range(1, rounds + 1):
            try:
                campaign.round(number)
            except ViolationError as error:
                raise ViolationError(f"seed {campaign.seed}, round {number}: {error}") from error
            campaign.figures.seconds = time.monotonic() - started
            if number % 25 == 0:
                tell(str(campaign.figures))
        campaign.finish()
    finally:
        campaign.ground.close()


class _Campaign:
    def __init__(self, folder: Path, seed: int, writers: int, server: DaemonServer) -> None:
        self.seed = seed
        self.chance = random.Random(seed)
        self.names = [*(f"w{index}" for index in range(writers)), DIRECTORY]
        self.ground = VolumeGround(folder, OPTIONS[0], VOLUME_BYTES, server.launch)
        self.pid = 0
        self.ground.on_start = self._note_pid
        self.director = Director(self.ground, self.names, self.chance)
        self.files: list[Files] = [{} for _ in self.names]
        self.figures = Figures()

    def _note_pid(self, pid: int) -> None:
        self.pid = pid

    @property
    def places(self) -> list[Path]:
        return [self.ground.directory / name for name in self.names]

    def round(self, number: int) -> None:
        if number == 1:
            self.ground.start()
            for place in self.places:
                place.mkdir()
            prepare(self.ground.command)
            self.ground.command("commit")
        seed = self.seed * 100_000 + number
        first = number * OPERATIONS_MAX
        with Writers(self.places[:-1], self.files, seed, first) as writers:
            self._live(writers)
            writers.end()
            if writers.problems:
                raise ViolationError(f"an operation failed: {writers.problems[0]}")
            self._judge(writers)
        self.figures.rounds += 1

    def _live(self, writers: Writers) -> None:
        """Let them work, and kill the daemon."""
        killed = threading.Event()
        failures: list[BaseException] = []

        def direct() -> None:
            try:
                self.director.direct(writers, killed.is_set)
            except BaseException as error:  # noqa: BLE001 - raised in the main thread below
                failures.append(error)

        writers.wait_ready()
        self.director.strike.clear()
        thread = threading.Thread(target=direct, daemon=True)
        thread.start()
        self.director.strike.wait(LIFE_S[0] + self.chance.random() * (LIFE_S[1] - LIFE_S[0]))
        killed.set()
        os.kill(self.pid, signal.SIGKILL)
        thread.join(JOIN_S)
        if thread.is_alive():
            raise ViolationError(f"a verb hangs although its daemon is dead: {_place(thread)}")
        self.ground.crash()
        if failures:
            raise failures[0]

    def _judge(self, writers: Writers) -> None:
        """What the dead daemon left."""
        self._fsck()
        self.ground.options = self.chance.choice(OPTIONS)
        self.ground.start()
        found = self.director.read_all(self.ground.directory)
        points = allowed(writers.history, found)
        if points is None:
            why = explained(writers.history, found, writers.history.durable, NEVER)
            raise ViolationError(f"the volume shows what it must not: {why}")
        self._judge_states(writers)
        self.files = found
        lines = writers.history.lines
        self.figures.operations += writers.history.operations
        self.figures.lost += sum(
            sum(step.done < NEVER for step in line.steps[n + 1 :])
            for line, n in zip(lines, points, strict=True)
        )
        self.figures.acknowledged += sum(
            line.done_before(writers.history.durable) for line in lines
        )
        self.figures.verbs = dict(self.director.counts)

    def _judge_states(self, writers: Writers) -> None:
        director = self.director
        listed: dict[str, dict[str, Any]] = {
            state["id"]: state for state in self.ground.command("checkpoints")
        }
        by_label = {state["label"]: state for state in listed.values() if state["label"]}
        self._judge_published(listed)
        still: list[Kept] = []
        for state in director.kept:
            if not state.told and not state.id:
                self._find_untold(state, by_label)
            if not state.id:
                continue  # it was not made
            if state.id not in listed:
                if not state.deleting:
                    raise ViolationError(f"the kept state {state.label} is gone")
                continue
            if state.gone:
                raise ViolationError(f"the deleted state {state.label} is there")
            state.deleting, state.told = False, True
            still.append(state)
        director.kept = still
        unseen = [state for state in still if state.files is None]
        old = [state for state in still if state.files is not None]
        for state in unseen + self.chance.sample(old, min(LOOKED_AT, len(old))):
            director.look_at(state, writers)
            self.figures.states += 1

    def _find_untold(self, state: Kept, by_label: dict[str, dict[str, Any]]) -> None:
        """A checkpoint that was under way: its label says whether it was made."""
        found = by_label.get(state.label)
        if found is not None:
            state.id = found["id"]

    def _judge_published(self, listed: dict[str, dict[str, Any]]) -> None:
        director = self.director
        ids = [number for number, state in listed.items() if state["published"]]
        now = ids[0] if ids else ""
        before = director.published.id if director.published is not None else ""
        candidates = director.publishing
        director.publishing = []
        chosen = director.published
        if now != before:
            # Nothing else than what was under way: an old state, or one that nobody knows yet.
            known = [state for state in candidates if state.id == now]
            fresh = [state for state in candidates if not state.id]
            others = {state.id for state in director.kept}
            if known:
                chosen = known[0]
            elif fresh and now and now not in others:
                chosen = fresh[0]
                chosen.id = now
            else:
                raise ViolationError(f"{now or 'nothing'} is published instead of {before}")
        for state in director.kept:
            state.published = state is chosen
        director.published = chosen

    def _fsck(self) -> None:
        with open_device(str(self.ground.volume), read_only=True) as device:
            report = verify_volume(device, data=True)
        if report.clean:
            check_indexes(str(self.ground.volume), report)
        if not report.clean:
            raise ViolationError("\n".join(str(finding) for finding in report.findings[:20]))

    def finish(self) -> None:
        """The last mount is ended in an orderly way; everything that is kept is looked at."""
        for state in self.director.kept:
            self.director.look_at(state, None)
        self.ground.reopen()
        found = self.director.read_all(self.ground.directory)
        if found != self.files:
            raise ViolationError("an orderly end lost something")
        self.ground.reopen()
        problems = self.ground.problems()
        if problems:
            raise ViolationError(problems)
        self.ground.close()
        self._fsck()


def _place(thread: threading.Thread) -> str:
    """Where a thread is just now: the innermost calls first."""
    frame = sys._current_frames().get(thread.ident or 0)
    calls = reversed(traceback.extract_stack(frame)) if frame is not None else ()
    return ", ".join(f"{call.name} ({Path(call.filename).name}:{call.lineno})" for call in calls)
