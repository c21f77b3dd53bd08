"""The engine: the one door to a volume that is in use (architecture.md).

Everything that changes or reads a mounted volume, FUSE requests and commands alike, comes through
here, on the loop's thread. It is the one place that decides what goes to a worker. Invariants:
- An operation of the namespace runs whole in one turn of the loop, or not at all.
- Verbs (what makes, switches or deletes kept states) exclude each other.
- What the caller of a verb was told is durable.
"""

import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

import trio

from affs_fuse.core.checksum import Buffer
from affs_fuse.core.constants import OBJECT_BITS
from affs_fuse.errors import AffsError
from affs_fuse.posix.changing import Writing
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.authoring import author_number
from affs_fuse.runtime.collection_reading import CollectionReading
from affs_fuse.runtime.collections import Collections
from affs_fuse.runtime.committer import Committer, CommitterStatistics
from affs_fuse.runtime.damage_names import names_of_object
from affs_fuse.runtime.describe import space_dict, state_dict, uuid_text
from affs_fuse.runtime.differences import ObjectDiff, Paths, describe
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.expectation import Basis
from affs_fuse.runtime.file_space import FileSpace
from affs_fuse.runtime.governor import request_times
from affs_fuse.runtime.histories import Histories
from affs_fuse.runtime.holds import Hold, Holds
from affs_fuse.runtime.imports import Imports
from affs_fuse.runtime.index_upkeep import IndexUpkeep
from affs_fuse.runtime.indexes import Indexes
from affs_fuse.runtime.jobs import Jobs
from affs_fuse.runtime.kernel import KernelPort
from affs_fuse.runtime.latency import Latencies
from affs_fuse.runtime.ledger import Ledger
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.opened_states import EMPTY, WORKING, OpenedStates
from affs_fuse.runtime.operation_entries import append_entry, newest_entries
from affs_fuse.runtime.ports import Emit, Plain
from affs_fuse.runtime.queries import Queries
from affs_fuse.runtime.record_verbs import RecordVerbs
from affs_fuse.runtime.records import Records
from affs_fuse.runtime.rollback import LiveRollback
from affs_fuse.runtime.session import Session
from affs_fuse.runtime.state_changes import StateChanges
from affs_fuse.runtime.state_verbs import StateVerbs
from affs_fuse.runtime.steps import Steps
from affs_fuse.runtime.trace_log import TraceLog
from affs_fuse.runtime.verification import Verification
from affs_fuse.runtime.viewing import Viewing
from affs_fuse.runtime.volume_settings import VolumeSettings
from affs_fuse.runtime.workers import Workers, WorkerStatistics
from affs_fuse.runtime.writeback import Writeback, WritebackStatistics
from affs_fuse.volume import verbs
from affs_fuse.volume.missing import DataMissing, NodeMissing
from affs_fuse.volume.reclaim import next_end_of_grace
from affs_fuse.volume.volume import Volume

__all__ = ["Engine", "EngineSettings", "EngineStatistics"]

_log = logging.getLogger("affs.engine")

P = ParamSpec("P")
R = TypeVar("R")

PRESSURE_EVERY = 128
"""Operations between two looks at the memory that dirty nodes take."""

RIPENING_COMMITS_MAX = 3
"""Empty commits before "no space" is told: each lets blocks be used that were freed two before."""

HEARTBEAT_S = 4.0

MAKE_ROOM_S = 2.0
"""How long a writer without room waits until deleted states gave theirs. A rollback may wait for
that writer and has the lock that reclaiming wants, so the wait has an end."""
SLICE_CHANGES = 64


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """commit_interval_s: 0 for no timer. dirty_bytes: written data that may wait in memory.
    backends: paths, for people. version: of the software. following: the volume belongs to another
    daemon, and somebody moves this mount on when that one publishes (`viewing`)."""

    commit_interval_s: float = 5.0
    dirty_bytes: int = 128 << 20
    backends: tuple[str, ...] = ()
    version: str = ""
    following: bool = False


@dataclass(frozen=True, slots=True)
class EngineStatistics:
    """What the engine's parts have done since the start. operations: of the namespace."""

    operations: int
    committer: CommitterStatistics
    writeback: WritebackStatistics
    workers: WorkerStatistics


class Engine:
    """One volume, its namespace, and whoever works on them. `core_tasks` and `tasks` must run
    while it is used. latencies: of the mount's requests, which background work watches."""

    def __init__(
        self,
        volume: Volume,
        namespace: Namespace,
        events: EventBus,
        kernel: KernelPort,
        settings: EngineSettings,
        latencies: Latencies | None = None,
    ) -> None:
        self._volume = volume
        self.author = partial(author_number, volume)
        self._namespace = namespace
        self._events = events
        self._kernel = kernel
        self._settings = settings
        self._workers = Workers()
        self._loader = Loader(volume, self._workers, events, partial(names_of_object, volume))
        self._writeback = Writeback(
            volume, namespace, self._loader, self._workers, dirty_max=settings.dirty_bytes
        )
        self._committer = Committer(
            volume, namespace, self._loader, self._workers, self._writeback, events,
            interval_s=settings.commit_interval_s,
        )
        self._verbs = trio.Lock()
        self._jobs = Jobs(
            volume, namespace, self._loader, self._workers, self._committer, events, self._verbs
        )
        self._rollback = LiveRollback(
            volume, namespace, self._loader, self._committer, self._writeback, kernel
        )
        self._ledger = Ledger(volume, self._loader, self._committer, self._jobs.wake_reclaim)
        self._state_verbs = StateVerbs(
            volume, namespace, self._loader, self._committer, events, kernel, self._jobs,
            self._rollback, self._ledger, self._verbs,
        )
        self.verification = Verification(
            volume, self._loader, self._workers, self._committer, events,
            partial(request_times, latencies or Latencies()),
            self._jobs.wake_reclaim, following=settings.following,
        )
        self._state_changes = StateChanges(
            volume, self._committer, events, kernel, self._jobs, self._verbs
        )
        self.file_space = FileSpace(self.run, namespace, self._writeback, kernel)
        self._holds = Holds(volume, self._jobs.wake_reclaim)
        self._states = OpenedStates(volume, self._committer, self._jobs.wake_reclaim)
        self._index_upkeep = IndexUpkeep(volume, namespace, self._loader)
        self._queries = Queries(volume, self._loader, self._states, self._index_upkeep)
        self._begin_records()
        self.settings = VolumeSettings(volume, self._committer, events)
        self.viewing = Viewing(
            volume, namespace, self._loader, kernel, following=settings.following
        )
        self._operations = 0
        self._started = volume.clock.monotonic()
        self._started_ns = volume.clock.now_ns()

    def _begin_records(self) -> None:
        """What works on records and on what became of them."""
        files, commit = self._namespace.files, self._index_upkeep.before(self._committer.commit)
        steps = Steps(
            self._namespace, self._kernel, self.run_and_clean, commit, self._writeback.release,
            self._writeback.throttle,
        )
        self.indexes = Indexes(
            self._volume, files, steps, self._loader, self._states, self._index_upkeep,
            self._committer.commit,
        )
        reading = CollectionReading(
            self._volume, self._loader, self._states, self._queries.pool
        )
        log = TraceLog(self._volume)
        self.collections = Collections(files, steps, reading, log)
        records = Records(self._namespace, steps, self.collections.admission, log.bytes_max)
        verbs = RecordVerbs(log, records)
        self.change_records, self.plan_records = verbs.change, verbs.plan
        self.take_back_records = verbs.take_back
        self.plan_taking_back = verbs.plan_taking_back
        imports = Imports(files, records, self.run, commit, self._volume.clock, verbs.log)
        self.import_records, self.drop_import = imports.carry_out, imports.drop
        self.imports = imports.unfinished
        histories = Histories(self._volume, self._loader, self._states)
        self.history, self.blame = histories.history, histories.blame

    @property
    def core_tasks(self) -> list[Callable[[], Any]]:
        """Coroutine functions that must run until all of `tasks`, and whoever awaits the engine,
        have ended: verbs and jobs wait for them even when cancelled. None returns by itself, and
        an exception of one is not the end of the others."""
        return [self._guarded(self._committer.serve), self._guarded(self._writeback.serve)]

    @property
    def tasks(self) -> list[Callable[[], Any]]:
        """Coroutine functions that run as long as the engine is used; otherwise as
        `core_tasks`."""
        return [
            self._guarded(self._jobs.serve_reclaim),
            self._guarded(self._jobs.serve_clean),
            self._guarded(self._index_upkeep.serve),
            self._guarded(self._holds.serve),
            self._guarded(self.verification.serve),
            self._guarded(self._beat),
        ]

    def _guarded(self, task: Callable[[], Any]) -> Callable[[], Any]:
        async def guarded() -> None:
            while True:
                try:
                    await task()
                except Exception as error:  # noqa: BLE001 - reading must go on whatever fails
                    name = task.__qualname__
                    _log.critical("%s failed in a way that should not happen", name, exc_info=error)
                    self._volume.fail(f"an internal error in {name}: {error}")
                    self._committer.tell_read_only()
                    await trio.sleep(1)

        return guarded

    async def _beat(self) -> None:
        while True:
            await trio.sleep(HEARTBEAT_S)
            if self._volume.read_only:
                continue
            try:
                await self._workers.write(self._volume.heartbeat)
            except AffsError as error:
                self._loader.report(error)

    # ---- operations ----

    async def run(self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """An operation of the namespace, whole; what it misses is loaded, and it runs again.

        Errors: its own; device.*, volume.* of loading.
        """
        self._note_operation()
        try:
            return self._volume.attempt(function, *args, **kwargs)
        except (NodeMissing, DataMissing, AffsError) as error:
            first = error
        except Exception:
            self._committer.tell_read_only()
            raise
        return await self._run_again(first, lambda: function(*args, **kwargs))

    def _note_operation(self) -> None:
        self._operations += 1
        if not self._operations % PRESSURE_EVERY and self._volume.wants_commit:
            self._committer.wake()

    async def _run_again(
        self, failure: NodeMissing | DataMissing | AffsError, function: Callable[[], R]
    ) -> R:
        ripened = 0
        reread = False
        while True:
            try:
                if isinstance(failure, AffsError):
                    ripened += 1
                    if ripened > RIPENING_COMMITS_MAX or not self._may_pass(failure):
                        self._loader.report(failure)
                        raise failure
                    await self._ripen(failure)
                else:
                    await self._loader.load(failure)
            except AffsError as error:
                if reread or not await self.viewing.moved_on(error):
                    raise
                reread = True
            try:
                return self._volume.attempt(function)
            except (NodeMissing, DataMissing, AffsError) as error:
                failure = error
            except Exception:
                self._committer.tell_read_only()
                raise

    async def _ripen(self, failure: AffsError) -> None:
        """A commit that may help, after what has no name any more gave its room back; the failure
        itself where no commit can be waited for."""
        try:
            await self._finish_removals()
            await self._jobs.make_room(MAKE_ROOM_S)
            await self._committer.commit(force=True, patient=False)
        except AffsError as error:
            raise failure if error.code == "engine.held" else error from None

    async def _finish_removals(self) -> None:
        """As far as there is room for the steps: what waits may be a removal itself, which has no
        more room than they; then the commit is what helps."""
        try:
            while self._namespace.removals_pending and not self._volume.read_only:
                await self._loader.run(self._namespace.remove_step)
                await trio.lowlevel.checkpoint()
        except AffsError as error:
            if error.code != "volume.no_space":
                raise

    def _may_pass(self, error: AffsError) -> bool:
        """Whether a commit may help."""
        if self._volume.read_only:
            return False
        if error.code == "volume.numbers_exhausted":
            return True
        return error.code == "volume.no_space" and (
            self._volume.space.held_blocks > 0
            or self._namespace.dirty_bytes > 0
            or self._namespace.removals_pending
            or next_end_of_grace(self._volume) is not None
        )

    async def write(
        self, handle: int, offset: int, data: Buffer, told: Writing | None = None
    ) -> int:
        """Write to an open file; waits while too much is in memory. Errors: as `run`."""
        if self._writeback.full:
            await self._writeback.throttle()
        written = await self.run(self._namespace.write, handle, offset, data, told)
        self._writeback.wake_if_due()
        return written

    def write_at_once(self, handle: int, offset: int, data: Buffer, told: Writing) -> int | None:
        """The same in this turn of the loop. None, and nothing has happened, where something has
        to be waited for, or it fails: `write` finds out which."""
        if self._writeback.full:
            return None
        self._note_operation()
        try:
            written = self._volume.attempt(self._namespace.write, handle, offset, data, told)
        except (NodeMissing, DataMissing, AffsError, OSError):
            return None
        self._writeback.wake_if_due()
        return written

    def forget(self, inodes: Sequence[int]) -> None:
        """The kernel does not know these inodes any more."""
        namespace = self._namespace
        for inode in inodes:
            namespace.forget(inode)
            if inode >> OBJECT_BITS:
                self._jobs.wake_reclaim()
        if namespace.removals_pending:
            self._jobs.wake_clean()

    async def release(self, handle: int) -> None:
        """The last descriptor of a handle was closed."""
        await self.run_and_clean(self._namespace.release, handle)

    async def run_and_clean(
        self, function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """`run` for an operation that may leave something to be removed in steps."""
        result = await self.run(function, *args, **kwargs)
        if self._namespace.removals_pending:
            self._jobs.wake_clean()
        return result

    async def sync(self) -> None:
        """Everything that was done before this call is durable. Errors: volume.*, device.*"""
        await self._committer.commit()

    # ---- verbs ----

    async def commit(self, message: str) -> Plain:
        await self._index_upkeep.catch_up()  # what is kept then has its indexes
        return await self._state_verbs.commit(message)

    async def checkpoint(self, label: str, message: str, author: str) -> Plain:
        await self._index_upkeep.catch_up()
        return await self._state_verbs.checkpoint(label, message, author)

    async def publish(
        self, state: str | None, message: str, author: str, *, dry_run: bool = False,
        expect: Basis = None,
    ) -> Plain:  # fmt: skip
        await self._index_upkeep.catch_up()
        return await self._state_verbs.publish(
            state, message, author, dry_run=dry_run, expect=expect
        )

    async def rollback(
        self, state: str | None, *, undo: bool = False, discard: bool = False,
        dry_run: bool = False, force: bool = False, author: str = "", expect: Basis = None,
    ) -> Plain:  # fmt: skip
        return await self._state_verbs.rollback(
            state, undo=undo, discard=discard, dry_run=dry_run, force=force, author=author,
            expect=expect,
        )

    async def delete_state(
        self, state: str, *, grace_s: int = 0, dry_run: bool = False, expect: Basis = None
    ) -> Plain:
        return await self._state_verbs.delete_state(
            state, grace_s=grace_s, dry_run=dry_run, expect=expect
        )

    async def restore_state(self, state: str) -> Plain:
        return await self._state_changes.restore(state)

    async def change_states(self, before: Plain, after: Plain, *, grace_s: int) -> None:
        await self._state_changes.change(before, after, grace_s=grace_s)

    async def expire(
        self, choose: Callable[[list[Plain]], list[Plain]], grace_s: int, *, expect: Basis = None
    ) -> list[Plain]:
        return await self._state_changes.delete_all(choose, grace_s, expect=expect)

    async def pin(self, state: str) -> Plain:
        return await self._state_verbs.change_pins(state, verbs.pin)

    async def unpin(self, state: str, *, dry_run: bool = False, expect: Basis = None) -> Plain:
        return await self._state_verbs.change_pins(
            state, verbs.unpin, dry_run=dry_run, expect=expect
        )

    async def hold(self, state: str, lease_s: int) -> Plain:
        return self._hold_dict(self._holds.take(self._volume.find_state(state), lease_s))

    async def renew_hold(self, hold_id: str, lease_s: int) -> Plain:
        return self._hold_dict(self._holds.renew(hold_id, lease_s))

    async def release_hold(self, hold_id: str) -> Plain:
        return {**self._hold_dict(self._holds.release(hold_id)), "lease_s": 0}

    def _hold_dict(self, hold: Hold) -> Plain:
        published = self._volume.states.published
        return {
            "hold": hold.id,
            "state": hold.state.hex_id,
            "number": hold.state.number,
            "seq": hold.state.seq,
            "lease_s": hold.lease_s,
            "published": published.hex_id if published is not None else None,
        }

    # ---- questions ----

    async def states(self, include_hidden: bool = False) -> list[Plain]:
        table = self._volume.states
        chosen = table.all() if include_hidden else table.listed()
        return [state_dict(self._volume, state) for state in chosen]

    async def resolve_state(self, text: str) -> Plain:
        return state_dict(self._volume, self._volume.find_state(text))

    async def space(self) -> Plain:
        return space_dict(self._volume, await self._ledger.kept_bytes())

    async def frees(self, state: str) -> int:
        return await self._ledger.frees_bytes(self._volume.find_state(state))

    async def status(self) -> Plain:
        volume, namespace = self._volume, self._namespace
        published = volume.states.published
        base = volume.states.get(volume.working.ancestor)
        while base is not None and not base.listed:
            base = volume.states.get(base.parent)
        return {
            "uuid": uuid_text(volume.uuid),
            "label": volume.label,
            "backends": list(self._settings.backends),
            "mount": self._kernel.directory,
            "read_only": volume.read_only,
            "read_only_reason": volume.read_only_reason,
            "waits_for_room": self._committer.waits_for_room,
            "seq": volume.durable_seq,
            "commit_time_ns": volume.durable_time_ns,
            "dirty": volume.working.tree.root is None or namespace.dirty_bytes > 0,
            "dirty_bytes": self._writeback.backlog_bytes,
            "published": state_dict(volume, published) if published is not None else None,
            "base": state_dict(volume, base) if base is not None else None,
            "states": len(volume.states.listed()),
            "objects": volume.working.object_count,
            "holds": len(self._holds),
            "open_files": namespace.statistics().handles,
            "space": space_dict(volume, self._ledger.known_kept_bytes()),
            "jobs": [
                {"name": job.name, "done": job.done, "total": job.total, "unit": job.unit}
                for job in [
                    *self._jobs.running(), *self.verification.jobs(), *self._index_upkeep.jobs()
                ]
            ],
            "verified": self.verification.verified.summary(),
            "degraded": False,
            "uptime_s": volume.clock.monotonic() - self._started,
            "started_ns": self._started_ns,
            "version": self._settings.version,
        }

    def verify(
        self, *, path: str, state: str | None, since: str | None, author: str,
        errors_only: bool, detach: bool, full_speed: bool,
    ) -> AsyncGenerator[Plain, None]:
        return self.verification.carry_out(
            path=path, state=state, since=since, author=author, errors_only=errors_only,
            detach=detach, full_speed=full_speed,
        )

    async def cancel_verification(self) -> Plain:
        return await self.verification.cancel()

    async def verified(self) -> Plain:
        return self.verification.report()

    async def diff(
        self, a: str | None, b: str | None, limit: int | None
    ) -> AsyncGenerator[Plain, None]:
        if a is None:
            a = "published" if self._volume.states.published is not None else EMPTY
        opened = self._states.open
        async with opened(a) as left, opened(b or WORKING) as right:
            changes = ObjectDiff(left, right)
            paths = Paths(left), Paths(right)
            given = seen = 0
            while (change := await self._loader.run(next, changes, None)) is not None:
                seen += 1
                if not seen % SLICE_CHANGES:
                    await trio.lowlevel.checkpoint()
                for entry in await self._loader.run(describe, change, *paths):
                    if limit is not None and given >= limit:
                        return
                    given += 1
                    yield entry

    async def check_directory(self, path: str, asker: Session) -> None:
        await self.run(self._queries.check_directory, path, asker.identity)

    async def query(
        self, line: str, asker: Asker, emit: Emit, *, bare: bool = False
    ) -> Plain:
        return await self._queries.run(line, asker, emit, bare=bare)

    @property
    def seq(self) -> int:
        return self._volume.durable_seq

    async def explain(
        self, line: str, asker: Asker, *, analyze: bool
    ) -> tuple[list[Plain], Plain]:
        return await (self._queries.analyze if analyze else self._queries.explain)(line, asker)

    # ---- operation log ----

    async def operations(self, limit: int, before: int | None = None) -> list[Plain]:
        return newest_entries(self._volume, limit, before)

    async def record_operation(self, entry: Plain) -> int:
        number = append_entry(self._volume, entry)
        if entry.get("before"):
            await self._committer.commit()
        return number

    # ---- the end ----

    async def settle(self) -> None:
        """Fetch what the kernel holds, and make everything durable. Errors: volume.*, device.*"""
        await self._rollback.fetch_dirty_pages()
        await self._committer.commit()

    async def finish(self) -> None:
        """After the last operation: make everything durable. Errors: volume.*, device.*"""
        if not self._volume.read_only:
            self._events.end()
        self._committer.end_patience()
        await self._committer.commit()

    @property
    def busy(self) -> bool:
        """Whether workers write data at this moment."""
        return self._workers.busy

    def statistics(self) -> EngineStatistics:
        return EngineStatistics(
            self._operations,
            self._committer.statistics(),
            self._writeback.statistics(),
            self._workers.statistics(),
        )

