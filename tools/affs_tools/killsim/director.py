"""The verbs that one person gives while others write, and what is known of the states they made.

What was told is known; what was under way when the daemon died may have happened or not. Invariant:
every verb is noted before it is given and after it was answered, with the moments.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from affs_fuse.errors import AffsError
from affs_tools.exercise.ground import VolumeGround
from affs_tools.killsim.history import NEVER, Step, allowed, explained
from affs_tools.killsim.journal import Writers
from affs_tools.killsim.model import Files, read_files
from affs_tools.killsim.records import DIRECTORY, choose_batch, read_records

__all__ = ["Director", "Kept", "ViolationError"]

KEPT_MAX = 6
PAUSE_S = 0.08
STRIKES = 0.1
"""Of the verbs after whose answer the daemon is killed at once: what was told must be durable by
then, not a moment later by somebody's fsync."""


class ViolationError(AssertionError):
    """A promise was broken."""


@dataclass(slots=True)
class Kept:
    """One kept state. files: of each directory, once they were seen; begun, done: of the verb.
    told: it was acknowledged. deleting: its deletion was begun, gone: and acknowledged."""

    label: str
    begun: int
    done: int = NEVER
    id: str = ""
    files: list[Files] | None = None
    told: bool = False
    published: bool = False
    deleting: bool = False
    gone: bool = False


@dataclass(slots=True)
class Director:
    """directories: of the writers, and last the one of the records, which change by command.
    strike: set when the daemon is to be killed now. published: the state that was last acknowledged
    as published; publishing: those of which publishing was begun after it."""

    ground: VolumeGround
    directories: list[str]
    chance: random.Random
    strike: threading.Event = field(default_factory=threading.Event)
    kept: list[Kept] = field(default_factory=list)
    published: Kept | None = None
    publishing: list[Kept] = field(default_factory=list)
    rollbacks: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    _number: int = 0

    # ---- giving verbs ----

    def direct(self, writers: Writers, ended: Callable[[], bool]) -> None:
        """Until the daemon has gone."""
        while not ended():
            time.sleep(self.chance.random() * PAUSE_S)
            try:
                self._one(writers)
                if self.chance.random() < STRIKES:
                    self.strike.set()
                    return
            except AffsError as error:
                if error.category not in ("io", "deadline") and not ended():
                    raise ViolationError(f"a verb was refused: {error.message}") from error
                return
            except OSError:
                if not ended():
                    raise
                return

    def _one(self, writers: Writers) -> None:
        roll = self.chance.random()
        if self.chance.random() < 0.3:
            self._batch(writers)
            return
        alive = [state for state in self.kept if not state.deleting and state.told]
        if roll < 0.2:
            self._commit(writers)
        elif roll < 0.45 or not alive:
            self._checkpoint(writers)
        elif roll < 0.6:
            self._publish(writers, None)
        elif roll < 0.65:
            self._publish(writers, self.chance.choice(alive))
        elif roll < 0.85:
            self._rollback(writers, self.chance.choice(alive))
        elif roll < 0.9:
            self._command("verify", detach=True, full_speed=True)
        if len(alive) > KEPT_MAX:
            self._delete(self.chance.choice([one for one in alive if not one.published]))

    def _command(self, name: str, **arguments: Any) -> Any:
        answer = self.ground.command(name, **arguments)
        self.counts[name] = self.counts.get(name, 0) + 1
        return answer

    def _commit(self, writers: Writers) -> None:
        begun = time.monotonic_ns()
        self._command("commit")
        writers.history.acknowledge(begun)

    def _batch(self, writers: Writers) -> None:
        line = writers.history.lines[-1]
        self._number += 1
        operations, after = choose_batch(self.chance, line.now, self._number)
        step = Step(after, time.monotonic_ns())
        line.begin(step)
        self._command("batch", operations=operations, erasures=True, yes=True)
        # It is in the commit that it waited for, as is all that was done before it.
        step.done = step.begun + 1
        writers.history.acknowledge(step.begun + 2)

    def _checkpoint(self, writers: Writers) -> None:
        state = self._new()
        self.kept.append(state)
        answer = self._command("checkpoint", label=state.label)
        state.done, state.told, state.id = time.monotonic_ns(), True, answer["id"]
        writers.history.acknowledge(state.begun)

    def _publish(self, writers: Writers, old: Kept | None) -> None:
        state = old if old is not None else self._new()
        begun = time.monotonic_ns()
        self.publishing.append(state)
        if old is None:
            self.kept.append(state)
            answer = self._command("publish")
            state.done, state.told, state.id = time.monotonic_ns(), True, answer["id"]
        else:
            self._command("publish", state=old.id)
        for other in self.kept:
            other.published = other is state
        self.published, self.publishing = state, []
        writers.history.acknowledge(begun)

    def _new(self) -> Kept:
        self._number += 1
        return Kept(f"k{self._number}", time.monotonic_ns())

    def _delete(self, state: Kept) -> None:
        state.deleting = True
        self._command("delete", state=state.id, yes=True)
        state.gone = True

    def _rollback(self, writers: Writers, state: Kept) -> None:
        writers.pause()
        self.look_at(state, writers)
        assert state.files is not None
        self.rollbacks += 1
        steps = writers.begin_rollback(self.rollbacks, state.files)
        self._command("rollback", state=state.id)
        for step in steps:
            step.done = time.monotonic_ns()
        writers.history.acknowledge(time.monotonic_ns())
        found = self.read_all(self.ground.directory)
        if found != state.files:
            raise ViolationError(f"after a rollback to {state.label} something differs")
        writers.go_on()

    # ---- looking ----

    def read_all(self, root: Path) -> list[Files]:
        """Every directory below it, the records last."""
        files = [read_files(root / name) for name in self.directories[:-1]]
        return [*files, read_records(root / DIRECTORY)]

    def look_at(self, state: Kept, writers: Writers | None) -> None:
        """That a kept state shows what it showed before; at the first look, what it may show."""
        view = self.ground.directory / ".affs" / "checkpoints" / state.id
        found = self.read_all(view)
        if state.files is not None:
            if found != state.files:
                raise ViolationError(f"the kept state {state.label} has changed")
            return
        assert writers is not None, "a state of an earlier round that nobody has looked at"
        points = allowed(
            writers.history, found, after=state.begun, before=state.done
        )
        if points is None:
            why = explained(writers.history, found, state.begun, state.done)
            raise ViolationError(f"the kept state {state.label} is no cut of what was done: {why}")
        state.files = found
