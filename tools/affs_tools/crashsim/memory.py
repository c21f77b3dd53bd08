"""Every call of the C core runs out of memory in turn, and every allocation inside it.

Three ways: an allocation of the core fails ("malloc"); a call of the core raises MemoryError before
it has done anything ("before"), or when it has done all and its result cannot be made ("after").
Once, or for ever: that is until somebody is told; then there is memory again.

The rules: an operation that fails so has changed nothing and works when it is called again, or the
volume has become read-only and says so. What was called durable is there, nothing is half done.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from types import ModuleType

from affs_fuse.core import memory
from affs_fuse.errors import AffsError
from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.check import judge
from affs_tools.crashsim.explore import Base, base_of
from affs_tools.crashsim.faults import FaultyDevice
from affs_tools.crashsim.model import Expected
from affs_tools.crashsim.session import Session, Step
from affs_tools.crashsim.workloads import Workload

__all__ = ["WAYS", "Shortage", "judge_shortage", "shortages_of"]

WAYS = ("malloc", "before", "after")
_MODULES = ("bitmap", "checksum", "codec", "tree", "verify")
_NEVER = 1 << 62


@dataclass(frozen=True, slots=True)
class Shortage:
    """Call number `index` (from 0) has no memory, and if sticky all later ones."""

    way: str
    index: int
    sticky: bool

    def __str__(self) -> str:
        return f"{self.way}{self.index}.NOMEM.{'ever' if self.sticky else 'once'}"

    @classmethod
    def parse(cls, text: str) -> "Shortage":
        """What str() gave. Errors: ValueError."""
        call, _, when = text.split(".")
        way = call.rstrip("0123456789")
        if way not in WAYS:
            raise ValueError(f"no way of running out of memory: {way}")
        return cls(way, int(call[len(way) :]), when == "ever")


class _Core:
    """Stands in for the compiled module: counts the calls, and fails one."""

    def __init__(self, real: object, shortage: Shortage | None) -> None:
        self._real = real
        self.calls = 0
        self.fired = 0
        self.shortage = shortage if shortage is None or shortage.way != "malloc" else None

    def __getattr__(self, name: str) -> object:
        found = getattr(self._real, name)
        if name.endswith("_free") or not callable(found):
            return found

        def call(*arguments: object) -> object:
            number = self.calls
            self.calls += 1
            shortage = self.shortage
            hit = shortage is not None and (
                number == shortage.index or (shortage.sticky and number > shortage.index)
            )
            if hit and shortage is not None and shortage.way == "before":
                del arguments  # which a traceback would keep: see core/abi.py
                self._fail(name)
            result = found(*arguments)
            del arguments
            if hit:
                self._fail(name)
            return result

        return call

    def _fail(self, name: str) -> None:
        self.fired += 1
        raise MemoryError(f"planted at {name}")


@contextmanager
def _short(shortage: Shortage | None) -> Iterator[_Core]:
    modules: list[ModuleType] = [import_module(f"affs_fuse.core.{name}") for name in _MODULES]
    real = modules[0].__dict__["lib"]
    core = _Core(real, shortage)
    for module in modules:
        module.__dict__["lib"] = core
    if shortage is not None and shortage.way == "malloc":
        memory.fail_allocation(shortage.index, for_ever=shortage.sticky)
    else:
        memory.let_allocations_succeed()
    try:
        yield core
    finally:
        memory.let_allocations_succeed()
        for module in modules:
            module.__dict__["lib"] = real


def shortages_of(workload: Workload) -> list[Shortage]:
    """Every shortage that the workload can meet."""
    base = base_of(workload.base)
    mark = base.image.mark()
    with _short(None) as core:
        _Run(base, workload, core).run()
        counts = {"malloc": memory.allocation_count(), "before": core.calls, "after": core.calls}
    base.image.revert(mark)
    return [
        Shortage(way, index, sticky)
        for way in WAYS
        for index in range(counts[way])
        for sticky in (False, True)
    ]


class _Run:
    """One run of a workload. told: how often somebody was told that there is no memory."""

    def __init__(self, base: Base, workload: Workload, core: _Core) -> None:
        self.device = FaultyDevice(base.image, None)
        self.expected: dict[int, Expected] = dict(base.expected)
        self.durable = self.begun = base.durable
        self.told = 0
        self.session: Session | None = None
        self._base, self._workload, self._core = base, workload, core

    def run(self) -> None:
        """Errors: Difference, Violation; AffsError with which the volume became read-only."""
        for _ in range(2):
            try:
                self.session = self._opened()
                break
            except MemoryError:
                self._memory_is_back()
        if self.session is None:
            raise Violation("it cannot be opened although there is memory again")
        for step in self._workload.steps:
            self._do(self.session, step)

    def _opened(self) -> Session:
        base = self._base
        model, time = base.model.copy(), replace(base.time)
        return Session(
            self.device, model, time, self._mark,
            expected=self.expected, no_memory=self._memory_is_back,
        )  # fmt: skip

    def _mark(self, kind: str, seq: int) -> None:
        self.begun = max(self.begun, seq)
        if kind == "durable":
            self.durable = seq

    def _do(self, session: Session, step: Step) -> None:
        try:
            session.run([step])
        except MemoryError:
            self._memory_is_back()
            if session.volume.read_only:
                raise
            session.run([step])

    def _memory_is_back(self) -> None:
        self.told += 1
        self._core.shortage = None
        memory.let_allocations_succeed()


def judge_shortage(base: Base, workload: Workload, shortage: Shortage) -> str:
    """What became of it, in a run of its own. Errors: Violation, Difference."""
    outcome = "worked"
    with _short(shortage) as core:
        run = _Run(base, workload, core)
        try:
            run.run()
        except (AffsError, MemoryError) as error:
            outcome = error.code if isinstance(error, AffsError) else "MemoryError"
    session = run.session
    if session is None:
        raise Violation("the first opening failed for good")
    with suppress(AffsError):
        session.finish_cut()
    if outcome != "worked" or run.begun > run.durable:
        _must_be_read_only(session, outcome)
    image = base.image
    for kept in (True, False):
        mark = image.mark()
        if not kept:
            run.device.throw_away()
        thorough = shortage.index % 16 == 0
        judge(image, run.expected, run.durable, run.begun, thorough=thorough)
        image.revert(mark)
    if outcome != "worked":
        return f"{shortage.way}: read-only ({outcome})"
    return f"{shortage.way}: {'worked again' if run.told else 'not noticed'}"


def _must_be_read_only(session: Session, outcome: str) -> None:
    if not session.volume.read_only_reason:
        raise Violation(f"it ended with {outcome}, and the volume does not say why")
    try:
        session.volume.commit()
    except AffsError as error:
        if error.code != "volume.read_only":
            raise Violation(f"writing on gives {error.code}") from error
    else:
        raise Violation("a commit of half a change was called durable")
