"""Runs workloads and judges every state that their logs may leave."""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from typing import TypeAlias, TypeVar
from zlib import crc32

from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.volume.barrier import Barrier
from affs_fuse.volume.mkfs import MkfsOptions, format_device
from affs_fuse.volume.superblock import write_superblock
from affs_tools.crashsim.bounds import Violation, in_time
from affs_tools.crashsim.check import Verdict, judge, judge_damaged, recovery_log
from affs_tools.crashsim.device import Event, Image, Mark, Recorder, Write
from affs_tools.crashsim.model import Expected
from affs_tools.crashsim.model_records import RecordModel
from affs_tools.crashsim.session import Difference, Session, Step, Time
from affs_tools.crashsim.states import (
    Depth,
    Epoch,
    State,
    epochs_of,
    lying_epochs,
    states_of,
)
from affs_tools.crashsim.workloads import BASES, PLACES, Workload

__all__ = [
    "Base",
    "Explorer",
    "Failure",
    "PointJudge",
    "Recording",
    "Tally",
    "base_of",
    "explore_points",
    "judge_each",
    "record",
    "replay",
]

IMAGE_BYTES = 64 << 20
RECOVERY_DEPTH = Depth(16, 12)


@dataclass
class Base:
    """A volume before a workload. The image is shared: whoever changes it reverts to `mark`."""

    image: Image
    model: RecordModel
    time: Time
    expected: dict[int, Expected]
    durable: int


@dataclass
class Recording:
    """One run: its log, what each commit must show, and the commit that was durable before it."""

    log: list[Event]
    expected: dict[int, Expected]
    durable: int


@dataclass(frozen=True, slots=True)
class Failure:
    """replay: what --replay takes. steps: of the workload, shortened if that was possible."""

    replay: str
    message: str
    steps: tuple[Step, ...] = ()


@dataclass
class Tally:
    """What was looked at. states: distinct ones after one crash; thorough: those of them that were
    gone on with; recoveries: distinct states after a crash in the recovery of such a one. digests:
    of all of them, with what had to hold. outcomes: of the states after one crash."""

    workloads: int = 0
    states: int = 0
    thorough: int = 0
    recoveries: int = 0
    digests: set[int] = field(default_factory=set)
    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def fail(self, replay: str, error: Exception, steps: tuple[Step, ...] = ()) -> None:
        """Any other error than one of the judge's was not handled by the engine."""
        known = isinstance(error, Violation | Difference)
        self.failures.append(Failure(replay, str(error) if known else repr(error), steps))

    def add(self, other: "Tally") -> None:
        self.workloads += other.workloads
        self.states += other.states
        self.thorough += other.thorough
        self.recoveries += other.recoveries
        self.digests |= other.digests
        self.outcomes += other.outcomes
        self.failures += other.failures


@cache
def base_of(name: str) -> Base:
    """The base of this name, made once in a process."""
    image = Image(IMAGE_BYTES)
    time = Time()
    model = RecordModel()
    model.now_ns = time.now_ns
    superblock = format_device(
        image, MkfsOptions(), clock=time.clock(), entropy=random.Random(3).randbytes
    )
    if name in PLACES:
        places = PLACES[name]
        superblock = superblock._replace(place_count=places, segment_count=places)
        write_superblock(image, Barrier(image), superblock)
    model.objects[1].mtime_ns = time.now_ns
    empty = model.expected()
    session = Session(image, model, time, lambda kind, seq: None)
    session.run(list(BASES[name]))
    model.crash()
    return Base(image, model, time, {1: empty, **session.expected}, session.durable)


P = TypeVar("P")
PointJudge: TypeAlias = Callable[[Base, Workload, P], str]
"""Judges a run of the workload in which this goes wrong; gives what became of it."""


def record(base: Base, steps: Iterable[Step]) -> Recording:
    """Run steps on a recording device; the image is as before afterwards. Errors: Difference."""
    mark = base.image.mark()
    recorder = Recorder(base.image)
    try:
        session = Session(
            recorder,
            base.model.copy(),
            replace(base.time),
            lambda kind, seq: recorder.log.append(Mark(kind, seq)),
        )
        session.run(list(steps))
    finally:
        base.image.revert(mark)
    return Recording(recorder.log, {**base.expected, **session.expected}, base.durable)


def judge_each(
    image: Image,
    tally: Tally,
    judges: Iterable[tuple[str, Callable[[], str]]],
    steps: tuple[Step, ...] = (),
) -> None:
    """Each fault, damage or lie alone: (replay id, what judges it and says what became of it).
    They go to `states`; the image is as before afterwards. steps: for the failures."""
    for name, judge_one in judges:
        mark = image.mark()
        tally.states += 1
        try:
            with in_time():
                outcome = judge_one()
            tally.outcomes[outcome] += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it was not handled
            tally.fail(name, error, steps)
        finally:
            image.revert(mark)


def explore_points(
    workload: Workload, tally: Tally, points: Sequence[P], judge_point: PointJudge[P]
) -> None:
    """Each fault in a run of the workload of its own."""
    base = base_of(workload.base)
    judges = [
        (f"{workload.name}@{point}", partial(judge_point, base, workload, point))
        for point in points
    ]
    judge_each(base.image, tally, judges, workload.steps)


class Explorer:
    """Judges the states of one workload. first_only: end at the first failure."""

    def __init__(self, tally: Tally, *, first_only: bool = False) -> None:
        self.tally = tally
        self._first_only = first_only

    def explore(self, workload: Workload) -> None:
        """All states of a workload; failures go to the tally."""
        self.tally.workloads += 1
        base = base_of(workload.base)
        try:
            recording = record(base, workload.steps)
        except Exception as error:  # noqa: BLE001 - whatever it is, the run failed
            self._fail(workload, "run", error)
            return
        mark = base.image.mark()
        try:
            self._explore_epochs(workload, base.image, recording)
        finally:
            base.image.revert(mark)

    def _explore_epochs(self, workload: Workload, image: Image, recording: Recording) -> None:
        epochs = epochs_of(recording.log, recording.durable)
        lies = {epoch.index: epoch for epoch in lying_epochs(epochs)}
        digest = crc32(workload.base.encode())
        for epoch in epochs:
            pages = _pages_of(lies.get(epoch.index, epoch))
            digest ^= image.digest_of(pages)
            for one, depth in ((epoch, workload.depth), (lies.get(epoch.index), workload.lies)):
                if one is None:
                    continue
                for state in states_of(one, depth, workload.name):
                    if (
                        self._judge(workload, image, recording, one, state, (digest, pages))
                        and self._first_only
                    ):
                        return
            for write in epoch.writes:
                image.put(write.offset, write.data)
            digest ^= image.digest_of(pages)

    def _judge(
        self,
        workload: Workload,
        image: Image,
        recording: Recording,
        epoch: Epoch,
        state: State,
        around: tuple[int, list[int]],
    ) -> bool:
        """Whether it failed. around: the digest of all but these pages, which the epoch writes."""
        mark = image.mark()
        try:
            apply(image, epoch, state)
            shown = around[0] ^ image.digest_of(around[1])
            digest = hash((shown, epoch.durable, epoch.begun, epoch.lied))
            if digest in self.tally.digests:
                return False
            self.tally.digests.add(digest)
            self.tally.states += 1
            thorough = digest % workload.thorough_every == 0
            with in_time():
                verdict = judge_state(image, recording, epoch, thorough=thorough)
            self.tally.thorough += thorough
            self.tally.outcomes[("lie: " if epoch.lied else "") + verdict.outcome] += 1
            if thorough and not epoch.lied:
                image.revert(mark)
                apply(image, epoch, state)
                with in_time():
                    self._explore_recovery(image, recording, shown, verdict)
        except Exception as error:  # noqa: BLE001 - whatever it is, the state failed
            self._fail(workload, str(state), error)
            return True
        finally:
            image.revert(mark)
        return False

    def _explore_recovery(
        self, image: Image, recording: Recording, digest: int, verdict: Verdict
    ) -> None:
        """Crash inside the recovery of a state, which the image shows and whose digest this is.
        Errors: Violation."""
        log = recovery_log(image)
        if log != recovery_log(image):
            raise Violation("recovering twice from the same bytes wrote different bytes")
        mark = image.mark()
        for epoch in epochs_of(log, verdict.seq):
            pages = _pages_of(epoch)
            digest ^= image.digest_of(pages)
            for state in states_of(epoch, RECOVERY_DEPTH, str(digest)):
                before = image.mark()
                apply(image, epoch, state)
                shown = hash((digest ^ image.digest_of(pages), verdict.seq, verdict.seq, False))
                if shown not in self.tally.digests:
                    self.tally.digests.add(shown)
                    self.tally.recoveries += 1
                    try:
                        judge(image, recording.expected, verdict.seq, verdict.seq, thorough=False)
                    except Violation as error:
                        raise Violation(
                            f"crashed again while recovering ({state}): {error}"
                        ) from error
                image.revert(before)
            for write in epoch.writes:
                image.put(write.offset, write.data)
            digest ^= image.digest_of(pages)
        image.revert(mark)

    def _fail(self, workload: Workload, state: str, error: Exception) -> None:
        self.tally.fail(f"{workload.name}@{state}", error, workload.steps)


def judge_state(image: Image, recording: Recording, epoch: Epoch, *, thorough: bool) -> Verdict:
    """Errors: Violation."""
    function = judge_damaged if epoch.lied else judge
    return function(image, recording.expected, epoch.durable, epoch.begun, thorough=thorough)


def apply(image: Image, epoch: Epoch, state: State) -> None:
    """Bring the image, which shows the epoch's beginning, into the state."""
    for index, write in enumerate(epoch.writes):
        if index in state.present:
            image.put(write.offset, write.data)
        elif state.torn is not None and state.torn[0] == index:
            _, first, last = state.torn
            image.put(write.offset + first, write.data[first:last])


def _pages_of(epoch: Epoch) -> list[int]:
    return sorted({page for write in epoch.writes for page in _pages(write)})


def _pages(write: Write) -> range:
    return range(write.offset // BLOCK_SIZE, -(-(write.offset + len(write.data)) // BLOCK_SIZE))


def replay(workload: Workload, state_text: str) -> str:
    """Run one state again; what was wrong with it, or "". Errors: ValueError."""
    tally = Tally()
    explorer = Explorer(tally)
    if state_text == "run":
        explorer.explore(replace(workload, depth=Depth(1, 0), lies=Depth(1, 0)))
        return tally.failures[0].message if tally.failures else ""
    state = State.parse(state_text)
    base = base_of(workload.base)
    recording = record(base, workload.steps)
    mark = base.image.mark()
    try:
        for epoch in _until(recording, state, base.image):
            explorer._judge(
                replace(workload, thorough_every=1), base.image, recording, epoch, state, (0, [])
            )
    finally:
        base.image.revert(mark)
    return tally.failures[0].message if tally.failures else ""


def _until(recording: Recording, state: State, image: Image) -> Iterator[Epoch]:
    """Applies all epochs before the state's, then gives that one."""
    epochs = epochs_of(recording.log, recording.durable)
    for epoch in epochs[: state.epoch]:
        for write in epoch.writes:
            image.put(write.offset, write.data)
    chosen = lying_epochs(epochs) if state.lied else epochs
    yield from (epoch for epoch in chosen if epoch.index == state.epoch)
