"""Every call that the engine makes to its device fails in turn, once or for ever.

The rules: the operation ends with an error or works; nothing is served wrong; what was called
durable before the fault is there after it, whatever of the unflushed writes the host has thrown
away; after a failed barrier nothing is called durable any more, and the volume says that it is
read-only.
"""

import errno
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from affs_fuse.device.device import (
    ATTEMPTS_MAX,
    Buffer,
    Outcome,
    Result,
    classify,
)
from affs_fuse.errors import AffsError
from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.check import judge
from affs_tools.crashsim.device import Image, Recorder
from affs_tools.crashsim.explore import Base, base_of
from affs_tools.crashsim.model import Expected
from affs_tools.crashsim.record_stories import small_story
from affs_tools.crashsim.session import Session, Step
from affs_tools.crashsim.workloads import Workload, data

__all__ = ["KINDS", "Fault", "FaultyDevice", "fault_workloads", "faults_of", "judge_fault"]

ERRNOS = {
    "read": (errno.EIO, errno.ETIMEDOUT, errno.EINTR, 0),
    "write": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT, errno.EINTR, 0),
    "flush": (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.ETIMEDOUT),
    "allocate": (errno.EIO, errno.ENOSPC, errno.EDQUOT),
}
"""Of each kind of call; 0 stands for a transfer that stops half way (PARTIAL)."""
KINDS = tuple(ERRNOS)
OPERATION_NAMES = {name[3:] for name in vars(Session) if name.startswith("op_")}


@dataclass(frozen=True, slots=True)
class Fault:
    """Call number `index` (from 0) of a kind fails, and if sticky all later ones of the kind."""

    kind: str
    index: int
    errno: int
    sticky: bool

    def __str__(self) -> str:
        name = errno.errorcode[self.errno] if self.errno else "SHORT"
        return f"{self.kind}{self.index}.{name}.{'ever' if self.sticky else 'once'}"

    @classmethod
    def parse(cls, text: str) -> "Fault":
        """What str() gave. Errors: ValueError, AttributeError."""
        call, name, when = text.split(".")
        kind = call.rstrip("0123456789")
        number = 0 if name == "SHORT" else int(getattr(errno, name))
        return cls(kind, int(call[len(kind) :]), number, when == "ever")


class FaultyDevice(Recorder):
    """Counts calls and fails one. A failed write has written a little of it; a failed flush has
    thrown away what it should have written, and the next one says OK: as Linux does."""

    def __init__(self, image: Image, fault: Fault | None) -> None:
        super().__init__(image)
        self.fault = fault
        self.calls = dict.fromkeys(KINDS, 0)
        self.fired = 0
        self.unflushed: list[tuple[int, bytes]] = []

    def _fails(self, kind: str) -> Result | None:
        number = self.calls[kind]
        self.calls[kind] += 1
        fault = self.fault
        if fault is None or fault.kind != kind:
            return None
        if number != fault.index and not (fault.sticky and number > fault.index):
            return None
        self.fired += 1
        if not fault.errno:
            return Result(Outcome.PARTIAL, 0, errno.EIO)
        transient = classify(fault.errno) is Outcome.TRANSIENT
        return Result(classify(fault.errno), 0, fault.errno, ATTEMPTS_MAX if transient else 1)

    def read(self, offset: int, length: int) -> tuple[bytes, Result]:
        failed = self._fails("read")
        if failed is not None:
            data, _ = super().read(offset, length // 2)
            return data, replace(failed, bytes_done=len(data))
        return super().read(offset, length)

    def try_read(self, offset: int, length: int) -> bytes | None:
        return None

    def write(self, offset: int, buffers: Sequence[Buffer]) -> Result:
        data = b"".join(buffers)
        failed = self._fails("write")
        part = data[: len(data) // 16 // 512 * 512] if failed is not None else data
        self.unflushed.append((offset, bytes(self.image.content[offset : offset + len(part)])))
        result = super().write(offset, [part])
        return replace(failed, bytes_done=len(part)) if failed is not None else result

    def flush(self) -> Result:
        failed = self._fails("flush")
        if failed is not None:
            self.throw_away()
            return failed
        self.unflushed = []
        return super().flush()

    def allocate(self, offset: int, length: int) -> Result:
        return self._fails("allocate") or super().allocate(offset, length)

    def throw_away(self) -> None:
        """The host drops what was written since the last barrier."""
        for offset, old in reversed(self.unflushed):
            self.image.put(offset, old)
        self.unflushed = []


def fault_workloads() -> Iterator[Workload]:
    """Short stories with every kind of call in them."""
    commit: Step = ("commit",)
    tellings: dict[str, tuple[Step, ...]] = {
        "write": (("write", "/a/f", 1000, data("1", 50)), commit, ("mkdir", "/c/x"), commit),
        "large": (("create", "/c/b"), ("write", "/c/b", 0, data("2", 1_500_000)), ("ahead",),
                  commit, ("write", "/c/b", 5000, data("3", 90_000)), commit),
        "names": (("rename", "/a/f", "/b/k"), commit, ("unlink", "/a/k2"), ("clean",), commit),
        "publish": (("mkdir", "/c/x"), ("publish", "new"), ("write", "/b/k", 0, data("4", 5000)),
                    commit),
        "rollback": (("unlink", "/a/f"), ("rollback", "one"), ("rollback", ""), commit),
        "reclaim": (("delete", "one"), ("reclaim",), ("mkdir", "/c/x"), commit),
        "reopen": (("mkdir", "/c/x"), ("close",), ("write", "/a/f", 0, data("5", 100)), ("kill",),
                   commit),
        "held": (("hold", "h", "/b/k"), ("unlink", "/b/k"), ("unlink", "/a/k2"), commit,
                 ("let_go", "h"), ("clean",), commit),
        "indexes": (("create", "/c/1"), ("write", "/c/1", 0, b'{"n": 1}'), ("index", "/c", "n"),
                    ("index_work",), commit, ("write", "/c/1", 0, b'{"n": 2}'),
                    ("rename", "/a/g", "/c/g"), ("index_work",), commit, ("unlink", "/c/1"),
                    ("index", "/c"), ("index_work",), commit),
    }  # fmt: skip
    for name, steps in tellings.items():
        yield Workload(f"fault/{name}", "kept", steps)
    yield Workload("fault/records", "few-records", small_story())


def faults_of(workload: Workload) -> list[Fault]:
    """Every fault at every call that the workload makes."""
    base = base_of(workload.base)
    mark = base.image.mark()
    device = _run(base, workload, None).device
    base.image.revert(mark)
    return [
        Fault(kind, index, number, sticky)
        for kind in KINDS
        for index in range(device.calls[kind])
        for number in ERRNOS[kind]
        for sticky in (False, True)
    ]


@dataclass(slots=True)
class _Run:
    """durable: the last commit that was called durable; begun: the last that was cut. error: what
    ended the run before its time. session: None if the volume could not even be opened."""

    device: FaultyDevice
    expected: dict[int, Expected]
    durable: int
    begun: int
    error: AffsError | None = None
    session: Session | None = None


def _run(base: Base, workload: Workload, fault: Fault | None) -> _Run:
    device = FaultyDevice(base.image, fault)
    run = _Run(device, dict(base.expected), base.durable, base.durable)

    def mark(kind: str, seq: int) -> None:
        run.begun = max(run.begun, seq)
        if kind == "durable":
            run.durable = seq

    try:
        run.session = Session(
            device, base.model.copy(), replace(base.time), mark, expected=run.expected
        )
        for step in workload.steps:
            _do(run.session, step)
    except AffsError as error:
        run.error = error
    return run


def _do(session: Session, step: Step) -> None:
    """A step that fails is tried once more, if that means anything: it has changed nothing."""
    try:
        session.run([step])
    except AffsError:
        again = step[0] in ("commit", "ahead", "clean") or str(step[0]) in OPERATION_NAMES
        if not again or session.volume.read_only:
            raise
        session.run([step])


def judge_fault(base: Base, workload: Workload, fault: Fault) -> str:
    """What became of it, in a run of its own. Errors: Violation, Difference."""
    run = _run(base, workload, fault)
    if not run.device.fired:
        raise Violation("the fault was never met: the run is not deterministic")
    session = run.session
    if session is not None:
        with suppress(AffsError):
            session.finish_cut()
    if session is not None and run.begun > run.durable:
        if not session.volume.read_only_reason:
            raise Violation(f"commit {run.begun} failed, and the volume does not say so")
        try:
            session.volume.commit()
        except AffsError as error:
            if error.code != "volume.read_only":
                raise Violation(f"writing on gives {error.code}") from error
        else:
            raise Violation("a commit after a failed one was called durable")
    image = base.image
    for kept in (True, False):
        mark = image.mark()
        if not kept:
            run.device.throw_away()
        judge(image, run.expected, run.durable, run.begun, thorough=fault.index % 8 == 0)
        image.revert(mark)
    return f"{fault.kind}: {'worked' if run.error is None else run.error.code}"
