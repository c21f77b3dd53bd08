"""One workload against the engine, the model beside it.

A workload is a list of steps, each a tuple (name, arguments...): an operation of the namespace, a
commit, a verb, a batch of data written ahead, a reopening. The engine goes first; what it refuses
the model must refuse too, but for lack of room. At every cut the model says what that commit must
show (`expected`); when the engine calls it durable, that is marked in the device's log.
"""

import errno
import os
import random
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ParamSpec, TypeVar

from affs_fuse.auv import Value
from affs_fuse.clock import Clock
from affs_fuse.core.tree import NodeMissing
from affs_fuse.device.device import Device
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import RENAME_EXCHANGE, Changes, Credentials, Namespace
from affs_fuse.query.index_values import keys_of_content
from affs_fuse.volume import verbs
from affs_fuse.volume.commit import Cut, CutRequest, write_failure
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.owner import Host
from affs_fuse.volume.reclaim import ReclaimJob, end_grace, next_job
from affs_fuse.volume.settings import SettingKind
from affs_fuse.volume.states import KeptState
from affs_fuse.volume.volume import Volume
from affs_fuse.volume.working import WorkingState
from affs_tools.crashsim.model import Expected, Kept, ModelError
from affs_tools.crashsim.model_records import RecordModel
from affs_tools.crashsim.record_steps import Change, RecordSteps

__all__ = ["TIME_NS", "Difference", "Session", "Step", "open_options", "pattern", "reuse_soon"]

Step = tuple[object, ...]
P = ParamSpec("P")
R = TypeVar("R")

TIME_NS = 10**18
STEP_NS = 10**6
ROOT = Credentials(0, 0)
NO_ROOM = {"volume.no_space", "device.no_space"}
INDEX_TURNS_MAX = 2000
"""Far more than the files of any workload need."""

AHEAD_BYTES, AHEAD_FILES = 1 << 20, 8


class Difference(Exception):
    """Engine and model do not agree: a violation."""


@dataclass
class Time:
    """A clock that only a session moves."""

    now_ns: int = TIME_NS

    def clock(self) -> Clock:
        return Clock(lambda: self.now_ns, lambda: self.now_ns / 1e9)


def open_options(device: Device, clock: Clock, seed: int = 7, **more: object) -> OpenOptions:
    """Options under which opening the same bytes does the same thing."""
    return OpenOptions(
        device=device,
        clock=clock,
        entropy=random.Random(seed).randbytes,
        host=Host(b"simulated".ljust(16), b"boot".ljust(16), 1, "crashsim"),
        cache_bytes=1 << 20,
        **more,  # type: ignore[arg-type]
    )


def pattern(seed: object, length: int) -> bytes:
    """Bytes that differ from block to block and from write to write."""
    return random.Random(str(seed)).randbytes(length)


def reuse_soon(volume: Volume) -> None:
    """Make every block that may be used again the next to be used: what is freed too early shows
    soon."""
    for segment in volume.space.segments.values():
        segment.cursor = 1


class WatchedVolume(Volume):
    """A volume that tells of every cut and of every commit that it takes for durable."""

    on_cut: Callable[[Cut], None]
    on_durable: Callable[[int], None]
    no_memory: Callable[[], None] | None = None

    def run(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return super().run(function, *args, **kwargs)
        except MemoryError:
            if self.no_memory is None or self.read_only:
                raise
            self.no_memory()
        return super().run(function, *args, **kwargs)  # it has changed nothing

    def cut(
        self, flush: Callable[[], None] | None = None, request: CutRequest | None = None
    ) -> Cut:
        cut = super().cut(flush, request)
        self.on_cut(cut)
        return cut

    def commit(
        self, flush: Callable[[], None] | None = None, request: CutRequest | None = None
    ) -> Cut:
        cut = None
        while cut is None:
            try:
                cut = self.cut(flush, request)
            except NodeMissing as missing:
                self._load_now(missing)
        self.write(cut)
        return cut

    def write(self, cut: Cut) -> None:
        """As the runtime does: what the host has no room for is written once more."""
        error: AffsError | None = None
        for _ in range(2):
            try:
                cut.write()
            except (AffsError, OSError, MemoryError) as failure:
                error = write_failure(failure)
                if error.code == "device.no_space":
                    continue
            else:
                error = None
            break
        self.complete(cut, error)

    def complete(self, cut: Cut, error: AffsError | None = None) -> None:
        super().complete(cut, error)
        self.on_durable(cut.seq)


@dataclass
class Session:
    """device: where the engine works. mark(kind, seq): told of "cut" and "durable". no_memory:
    called when an operation ran out of memory; it is then called again."""

    device: Device
    model: RecordModel
    time: Time
    mark: Callable[[str, int], None]
    seed: int = 7
    expected: dict[int, Expected] = field(default_factory=dict)
    refused: int = 0
    no_memory: Callable[[], None] | None = None

    def __post_init__(self) -> None:
        self._pending: Callable[[Cut], None] | None = None
        self._handles: dict[str, int] = {}
        self._cut: Cut | None = None
        self._job: ReclaimJob | None = None
        self.durable = 0
        self.do_open()

    def run(self, steps: list[Step]) -> None:
        """Errors: Difference; AffsError where the device fails."""
        for step in steps:
            self.time.now_ns += STEP_NS
            self.model.now_ns = self.time.now_ns
            name, *arguments = step
            getattr(self, f"do_{name}", self._operate(str(name)))(*arguments)
            reuse_soon(self.volume)

    def _operate(self, name: str) -> Callable[..., None]:
        """An operation of the namespace: engine first, then the model."""

        def both(*arguments: object) -> None:
            given = [_data_of(argument) for argument in arguments]
            try:
                getattr(self, f"op_{name}")(*given)
            except AffsError as error:
                if error.code not in NO_ROOM:
                    raise
                self.refused += 1
                return
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    self.refused += 1
                    return
                self._must_refuse(name, given, error)
                return
            try:
                self.model.operate(name, *given)
            except ModelError as error:
                raise Difference(f"{name}{arguments} must fail: {error}") from error

        return both

    def _must_refuse(self, name: str, given: list[object], error: OSError) -> None:
        try:
            self.model.operate(name, *given)
        except ModelError:
            return
        raise Difference(f"{name}{given} must work, but: {error!r}")

    # ---- operations ----

    def find(self, path: str) -> int:
        number = 1
        for part in path.strip("/").split("/") if path != "/" else ():
            number = self.volume.run(self.namespace.lookup, number, part.encode()).number
        return number

    def _place(self, path: str) -> tuple[int, bytes]:
        above, _, name = path.rpartition("/")
        return self.find(above or "/"), name.encode()

    def op_create(self, path: str) -> None:
        parent, name = self._place(path)
        handle, _ = self.volume.run(
            self.namespace.create, parent, name, 0o644, os.O_WRONLY | os.O_EXCL, ROOT
        )
        self.volume.run(self.namespace.release, handle)

    def op_fifo(self, path: str) -> None:
        parent, name = self._place(path)
        self.volume.run(self.namespace.mknod, parent, name, stat.S_IFIFO | 0o600, 0, ROOT)

    def op_mkdir(self, path: str) -> None:
        self.volume.run(self.namespace.mkdir, *self._place(path), 0o755, ROOT)

    def op_symlink(self, target: str, path: str) -> None:
        self.volume.run(self.namespace.symlink, *self._place(path), target.encode(), ROOT)

    def op_link(self, old: str, new: str) -> None:
        self.volume.run(self.namespace.link, self.find(old), *self._place(new))

    def op_unlink(self, path: str) -> None:
        self.volume.run(self.namespace.unlink, *self._place(path))

    def op_rmdir(self, path: str) -> None:
        self.volume.run(self.namespace.rmdir, *self._place(path))

    def op_rename(self, old: str, new: str) -> None:
        self.volume.run(self.namespace.rename, *self._place(old), *self._place(new), 0)

    def op_exchange(self, one: str, two: str) -> None:
        self.volume.run(
            self.namespace.rename, *self._place(one), *self._place(two), RENAME_EXCHANGE
        )

    def op_write(self, path: str, offset: int, data: bytes) -> None:
        handle = self.volume.run(self.namespace.open, self.find(path), os.O_WRONLY, ROOT)
        try:
            self.volume.run(self.namespace.write, handle, offset, data)
        finally:
            self.volume.run(self.namespace.release, handle)

    def op_truncate(self, path: str, size: int) -> None:
        self._change(path, Changes(size=size))

    def op_hold(self, name: str, path: str) -> None:
        self._handles[name] = self.volume.run(self.namespace.open, self.find(path), os.O_RDWR, ROOT)

    def op_write_held(self, name: str, offset: int, data: bytes) -> None:
        if name not in self._handles:  # holding it was refused
            raise OSError(errno.EBADF, "not held")
        self.volume.run(self.namespace.write, self._handles[name], offset, data)

    def op_let_go(self, name: str) -> None:
        self.volume.run(self.namespace.release, self._handles.pop(name))

    def _change(self, path: str, changes: Changes) -> None:
        self.volume.run(self.namespace.setattr, self.find(path), changes, ROOT)

    def op_chmod(self, path: str, mode: int) -> None:
        self._change(path, Changes(mode=mode))

    def op_chown(self, path: str, uid: int, gid: int) -> None:
        self._change(path, Changes(uid=uid, gid=gid))

    def op_utimens(self, path: str, mtime_ns: int) -> None:
        self._change(path, Changes(mtime_ns=mtime_ns))

    def op_setxattr(self, path: str, name: bytes, value: bytes) -> None:
        self.volume.run(self.namespace.setxattr, self.find(path), name, value, 0, ROOT)

    def op_removexattr(self, path: str, name: bytes) -> None:
        self.volume.run(self.namespace.removexattr, self.find(path), name, ROOT)

    # ---- records ----

    @property
    def _records(self) -> RecordSteps:
        return RecordSteps(self.volume, self.namespace, ROOT)

    def op_declare(self, path: str, schema: Value) -> None:
        self.volume.run(self._records.declare, path, schema)

    def op_batch(self, *changes: Change) -> None:
        self.volume.run(self._records.batch, changes)

    def op_index(self, path: str, *expressions: str) -> None:
        self.volume.run(self._records.index, path, expressions)

    def op_reindex(self, path: str) -> None:
        self.volume.run(self._records.reindex, path)

    def op_evolve(self, path: str, *words: Value) -> None:
        self.volume.run(self._records.evolve, path, words)

    def op_begin_evolving(self, path: str, *words: Value) -> None:
        self.volume.run(self._records.begin_evolving, path, words)

    def op_evolve_some(self, path: str, count: int) -> None:
        self.volume.run(self._records.evolve_some, path, count)

    def op_end_evolving(self, path: str) -> None:
        self.volume.run(self._records.end_evolving, path)

    # ---- life and commits ----

    def do_open(self) -> None:
        options = open_options(self.device, self.time.clock(), self.seed)
        volume = WatchedVolume.open("", options)
        assert isinstance(volume, WatchedVolume)
        self.volume = volume
        self.volume.on_cut = self._on_cut
        self.volume.on_durable = self._on_durable
        self.volume.no_memory = self.no_memory
        self.namespace = Namespace(self.volume, relatime="noatime")
        self.volume.run(self.namespace.load_orphans)
        self.durable = self.volume.durable_seq
        self._job = self._cut = None

    def do_close(self) -> None:
        """Commit and close cleanly, then open again."""
        self.do_commit()
        self.model.crash()
        self._handles.clear()
        self.volume.close()
        self.do_open()

    def do_kill(self) -> None:
        """The process dies after a commit; the device keeps what it was given."""
        self.do_commit()
        self.model.crash()
        self._handles.clear()
        self.do_open()

    def do_commit(self) -> None:
        self.volume.commit(self._flush)

    def do_begin_commit(self) -> None:
        """The cut alone: operations go on until end_commit."""
        self._cut = self.volume.cut(self._flush)

    def do_end_commit(self) -> None:
        assert self._cut is not None
        self.finish_cut()

    def finish_cut(self) -> None:
        """What is cut is written, whatever became of the volume since. Errors: AffsError."""
        cut, self._cut = self._cut, None
        if cut is not None:
            self.volume.write(cut)

    def do_ahead(self) -> None:
        """Write buffered data before the commit wants it."""
        while self.volume.run(self.namespace.take_off, AHEAD_BYTES, AHEAD_FILES):
            pass
        batch = self.volume.flights.take_batch()
        if batch is not None:
            batch.execute()
            self.volume.end_batch(batch)
        while self.volume.run(self.namespace.land, AHEAD_FILES):
            pass

    def do_clean(self) -> None:
        """Remove what has no name and is not in use, all of it."""
        while self.namespace.removals_pending:
            self.volume.run(self.namespace.remove_step)

    def _flush(self) -> None:
        self.volume.run(self.namespace.flush_all)

    def _on_cut(self, cut: Cut) -> None:
        if self._pending is not None:
            pending, self._pending = self._pending, None
            pending(cut)
        self.expected[cut.seq] = self.model.expected()
        self.mark("cut", cut.seq)

    def _on_durable(self, seq: int) -> None:
        self.durable = seq
        self.mark("durable", seq)

    # ---- verbs ----

    def do_checkpoint(self, label: str) -> None:
        self._keep(label, publish=False)

    def do_publish(self, label: str) -> None:
        self._keep(label, publish=True)

    def _keep(self, label: str, *, publish: bool) -> None:
        note = verbs.Note(label)
        request = (
            verbs.publish_request(self.volume, note, None)
            if publish
            else verbs.checkpoint_request(self.volume, note)
        )
        self._pending = lambda cut: self.model.keep(cut.seq, label, publish)
        self.volume.commit(self._flush, request)

    def do_publish_kept(self, label: str) -> None:
        state = self.volume.states.resolve(label)
        request = verbs.publish_request(self.volume, verbs.Note(), state)

        def publish(cut: Cut) -> None:
            self.model.published = state.seq

        self._pending = publish
        self.volume.commit(self._flush, request)

    def do_rollback(self, label: str, discard: bool = False) -> None:
        """label "": undo."""
        volume = self.volume
        target = verbs.rollback_target(volume, label or None, undo=not label)
        self._flush()
        abandoned = volume.attempt(self._switch, target)
        request = volume.run(verbs.seal_request, volume, abandoned, "", discard=discard)
        before = self.model.kept.get(self.model.ancestor)
        self._pending = lambda cut: self._rolled_back(cut, target.seq, discard, before)
        volume.commit(None, request)
        self._handles.clear()
        self.model.handles.clear()
        self.volume.run(self.namespace.load_orphans)

    def _switch(self, target: KeptState) -> WorkingState:
        abandoned = self.volume.begin_rollback(target)
        self.namespace.switch(self.volume.working)
        self.namespace.flush_all()
        return abandoned

    def _rolled_back(self, cut: Cut, target: int, discard: bool, before: Kept | None) -> None:
        sealed = cut.sealed is not None
        if not sealed and not discard and self.model.ancestor not in self.model.kept:
            raise Difference("a rollback kept nothing of a state that is deleted")
        if not sealed and before is not None and not self.model.shows(before):
            raise Difference("a rollback kept nothing, but the state had changed")
        self.model.rollback(target, cut.seq if sealed else 0, discard)

    def do_delete(self, label: str, grace_ns: int = 0) -> None:
        state = self.volume.states.resolve(label)
        self.do_commit()
        self.volume.run(verbs.delete, self.volume, state, grace_ns)
        self._pending = lambda cut: self.model.delete(state.seq)
        self.volume.commit(self._flush)

    def do_restore(self, label: str) -> None:
        state = self.volume.states.resolve_deleted(label)
        self.do_commit()
        verbs.restore(self.volume, state)
        self._pending = lambda cut: self.model.restore(state.seq)
        self.volume.commit(self._flush)

    def do_end_grace(self) -> None:
        """Room is needed."""
        end_grace(self.volume)

    def do_reclaim(self) -> None:
        """All that can be reclaimed."""
        verbs.reclaim_all(self.volume, self._flush)

    def do_begin_reclaim(self) -> None:
        """A job up to its comparison: operations and commits go on until end_reclaim."""
        self._job = next_job(self.volume)
        if self._job is None:
            return
        request = self._job.prepare()
        hidden = self.volume.commit(self._flush, request).kept if request is not None else None
        self._job.begin(hidden)

    def do_end_reclaim(self) -> None:
        job, self._job = self._job, None
        if job is None:
            return
        while not self.volume.run(job.step):
            pass
        self._flush()
        self.volume.run(job.apply)
        self.volume.commit(self._flush)

    def do_setting(self, kind: int, number: int, value: str | None) -> None:
        """Put a setting, or (None) delete it; durable with the next commit."""
        if value is None:
            self.volume.settings.delete(SettingKind(kind), number)
        else:
            self.volume.settings.put(SettingKind(kind), number, value)
        self.model.put_setting(kind, number, value)

    def do_index_work(self, turns: int = 0) -> None:
        """What waits for indexes is taken in, a file a turn; by default all of it."""
        work = self.namespace.files.index_work(keys_of_content)
        try:
            for _ in range(turns or INDEX_TURNS_MAX):
                if self.volume.run(work.step, lambda: False) is None:
                    self.model.settle()
                    return
        except AffsError as error:
            if error.code not in NO_ROOM:
                raise
            self.refused += 1
            return
        if not turns:
            raise Difference("indexes are never up to date")

    def do_pin(self, label: str) -> None:
        self.volume.run(verbs.pin, self.volume, self.volume.states.resolve(label))
        self.do_commit()


def _data_of(argument: object) -> object:
    """("bytes", seed, length) stands for that many bytes."""
    if isinstance(argument, tuple) and argument[0] == "bytes":
        _, seed, length = argument
        return pattern(seed, length)
    return argument
