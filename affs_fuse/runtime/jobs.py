"""Background work on a volume: reclaiming deleted states, removing what has no name any more.

Invariants:
- A job gives the loop back after each step of a few milliseconds.
- Reclaiming and the verbs exclude each other (`verbs`): what a job has compared must still be true
  when it frees.
- A job that fails is logged and tried again with the next reason to look, never in a loop.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import trio

from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.errors import AffsError
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.committer import Committer
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.workers import Workers
from affs_fuse.volume.commit import CutRequest
from affs_fuse.volume.reclaim import ReclaimJob, end_grace, next_end_of_grace, next_job
from affs_fuse.volume.volume import Volume

__all__ = ["JobProgress", "Jobs"]

_log = logging.getLogger("affs.engine")

CLEAN_RETRY_S = 1.0
LOOK_S = 3600.0

RESULTS_KEPT_MAX = 256
"""Of finished jobs, for those who wait for one of them."""


@dataclass(frozen=True, slots=True)
class JobProgress:
    """A job at work. total: 0 where it is not known beforehand."""

    name: str
    done: int
    total: int
    unit: str


class Jobs:
    """verbs: the lock under which states are made, switched and deleted. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        namespace: Namespace,
        loader: Loader,
        workers: Workers,
        committer: Committer,
        events: EventBus,
        verbs: trio.Lock,
    ) -> None:
        self._volume = volume
        self._namespace = namespace
        self._loader = loader
        self._workers = workers
        self._committer = committer
        self._events = events
        self._verbs = verbs
        self._reclaim_wanted = trio.Event()
        self._idle = False
        self._clean_wanted = trio.Event()
        self._orphans_unknown = False
        self._current: JobProgress | None = None
        self._freed: dict[int, int] = {}
        self._finished = trio.Event()

    def wake_reclaim(self) -> None:
        """A state was deleted, or one that could not be reclaimed now can."""
        self._idle = False
        self._reclaim_wanted.set()

    def wake_clean(self, *, switched: bool = False) -> None:
        """Something without a name may go now. switched: the working state is another one."""
        self._orphans_unknown |= switched
        self._clean_wanted.set()

    def running(self) -> list[JobProgress]:
        return [self._current] if self._current is not None else []

    async def freed_by(self, number: int, timeout_s: float) -> int | None:
        """Bytes that reclaiming this state freed; None if it takes longer than timeout_s."""
        with trio.move_on_after(timeout_s):
            while number not in self._freed:
                await self._finished.wait()
        return self._freed.get(number)

    async def serve_reclaim(self) -> None:
        """Reclaim whenever there is something to reclaim; never returns."""
        while True:
            try:
                while await self._reclaim_one():
                    pass
            except AffsError as error:
                _log.error("reclaiming a deleted state failed: %s", error.message)
                self._events.publish("job", name="reclaim", outcome="failed", code=error.code)
            self._finished.set()  # for those who wait for room: there is no more
            self._finished = trio.Event()
            self._idle = True
            with trio.move_on_after(self._until_grace_ends_s()):
                await self._reclaim_wanted.wait()
            self._reclaim_wanted = trio.Event()

    def _until_grace_ends_s(self) -> float:
        """Looked at again at least once in LOOK_S, since clocks are set now and then."""
        until_ns = next_end_of_grace(self._volume)
        if until_ns is None or self._volume.read_only:
            return float("inf")
        left_s = (until_ns - self._volume.clock.now_ns()) / 1e9
        return min(max(left_s, 0.0), LOOK_S)

    async def make_room(self, timeout_s: float) -> None:
        """A writer needs room: what was deleted cannot be restored from now on, and is reclaimed;
        returns when that is done, or after timeout_s."""
        if not end_grace(self._volume):
            return
        self._idle = False
        self.wake_reclaim()
        with trio.move_on_after(timeout_s):
            while not self._idle:
                await self._finished.wait()

    async def _reclaim_one(self) -> bool:
        if self._volume.read_only:
            return False
        async with self._verbs:
            job = next_job(self._volume)
            if job is None:
                return False
            try:
                with trio.CancelScope(shield=True):
                    freed = await self._reclaim(job)
            finally:
                self._current = None
        if len(self._freed) >= RESULTS_KEPT_MAX:
            del self._freed[next(iter(self._freed))]
        self._freed[job.state.number] = freed * BLOCK_SIZE
        self._finished.set()
        self._finished = trio.Event()
        self._events.publish(
            "job", name="reclaim", outcome="done", state=job.state.hex_id, bytes=freed * BLOCK_SIZE
        )
        return True

    async def _reclaim(self, job: ReclaimJob) -> int:
        """One state, whole; the blocks that it freed."""
        hidden = None
        if job.prepare() is not None:
            cut = await self._committer.commit(lambda: job.prepare() or CutRequest())
            hidden = cut.kept if cut is not None else None
        job.begin(hidden)
        while not await self._loader.run(job.step):
            self._current = JobProgress("reclaim", job.events, 0, "differences")
            await trio.lowlevel.checkpoint()
        await self._workers.check(job.sort)
        with self._committer.pause():
            freed = await self._loader.run(self._forget(job))
            await self._free(job)
        await self._committer.commit(force=True)
        return freed

    async def _free(self, job: ReclaimJob) -> None:
        """In many turns. What stops it between two of them has left the state half reclaimed in
        memory, and that must not become durable."""
        try:
            while not await self._loader.run(job.free_step):
                await trio.lowlevel.checkpoint()
        except BaseException:
            self._volume.fail("reclaiming a deleted state stopped half way")
            raise

    def _forget(self, job: ReclaimJob) -> Callable[[], int]:
        def forget() -> int:
            self._namespace.flush_all()
            return job.forget()

        return forget

    async def serve_clean(self) -> None:
        """Remove what nobody uses any more, in steps; never returns."""
        await self._load_orphans()
        told = False
        while True:
            try:
                while self._namespace.removals_pending and not self._volume.read_only:
                    await self._loader.run(self._namespace.remove_step)
                    await trio.lowlevel.checkpoint()
                told = False
            except AffsError as error:
                if not told:
                    told = True
                    _log.warning("objects without a name stay for now: %s", error.message)
                await trio.sleep(CLEAN_RETRY_S)
                await self._ripen()
                continue
            await self._clean_wanted.wait()
            self._clean_wanted = trio.Event()
            if self._orphans_unknown:
                await self._load_orphans()

    async def _ripen(self) -> None:
        """What was freed can be used again after a few commits, and removing takes some room."""
        try:
            if self._volume.space.held_blocks:
                await self._committer.commit(force=True)
        except AffsError as error:
            _log.debug("no commit to make room: %s", error.message)

    async def _load_orphans(self) -> None:
        self._orphans_unknown = False
        if not self._volume.read_only:
            try:
                await self._loader.run(self._namespace.load_orphans)
            except AffsError as error:
                _log.error("reading the list of objects without a name failed: %s", error.message)
