"""Group commit: many who ask, one commit at a time (docs/internals/commit.md).

Whoever asks before a commit's cut is served by it; whoever asks later, by the next. A commit is
asked for by fsync, by verbs, by memory pressure and by a timer. Invariants:
- One cut is in flight at most. The cut is one synchronous turn; its writing is a worker's.
- Between a rollback's switch and the end of its diverting no cut is made (`hold`): the abandoned
  state still changes. The first cut after it seals that state, whoever asked for it.
- After a failed commit the volume is read-only, and everybody who waited gets the error.
- A cut that the host has no room for is written again until it has. Nobody is kept waiting for that
  but the verb whose cut it is.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import trio

from affs_fuse.errors import AffsError, Category
from affs_fuse.posix.namespace import Namespace
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.latency import Latencies, LatencyStatistics
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.trace import current_trace, traced
from affs_fuse.runtime.workers import Workers
from affs_fuse.runtime.writeback import Writeback
from affs_fuse.volume.commit import Cut, CutRequest, write_failure
from affs_fuse.volume.missing import NodeMissing
from affs_fuse.volume.volume import Volume

__all__ = ["Committer", "CommitterStatistics", "Seal"]

_log = logging.getLogger("affs.engine")

CUT_DIRTY_BYTES_MAX = 16 << 20
"""Buffered data that a cut may have to place and checksum in its one turn."""

ROOM_RETRY_S = 1.0
ROOM_PATIENCE_S = 10.0
"""How long callers wait for the host's room before they get the error."""

Prepare = Callable[[], CutRequest]
"""Called in the cut's turn; what the cut shall do besides. May raise AffsError, changing
nothing."""


@dataclass(frozen=True, slots=True)
class CommitterStatistics:
    """commits: made since the start. waiting: callers that wait now. cut_ms_max: longest turn.
    bytes: written by commits. stages: how long each took: flush (data ahead of the cut), cut (its
    one turn), write (data, nodes and record with their barriers)."""

    commits: int
    waiting: int
    cut_ms_max: float
    bytes: int
    stages: dict[str, LatencyStatistics]


@dataclass(eq=False, slots=True)
class Seal:
    """What the next cut does about an abandoned state. cut: the one that did it."""

    prepare: Prepare
    cut: Cut | None = None


@dataclass(eq=False, slots=True)
class _Ticket:
    """One caller that waits. prepare: of a verb. patient: may be kept waiting by `hold`. trace: of
    the request that asks."""

    prepare: Prepare | None
    force: bool
    patient: bool
    trace: str
    done: trio.Event = field(default_factory=trio.Event)
    cut: Cut | None = None
    error: BaseException | None = None

    def end(self, cut: Cut | None, error: BaseException | None = None) -> None:
        self.cut, self.error = cut, error
        self.done.set()


class Committer:
    """interval_s: between commits by timer, 0 for none. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        namespace: Namespace,
        loader: Loader,
        workers: Workers,
        writeback: Writeback,
        events: EventBus,
        *,
        interval_s: float,
    ) -> None:
        self._volume = volume
        self._namespace = namespace
        self._loader = loader
        self._workers = workers
        self._writeback = writeback
        self._events = events
        self._interval_s = interval_s
        self._tickets: list[_Ticket] = []
        self._demand = trio.Event()
        self._seal: Seal | None = None
        self._held = False
        self._released = trio.Event()
        self._pauses = 0
        self._resumed = trio.Event()
        self._commits = 0
        self._cut_ms_max = 0.0
        self._bytes = 0
        self._stages = Latencies()
        self._told_read_only = volume.read_only
        self._ending = False
        self.waits_for_room = ""
        """Why a commit waits for the host's room; "" where none does."""

    # ---- asking ----

    @property
    def dirty(self) -> bool:
        """Whether a commit would make anything durable that is not."""
        if self._volume.device.read_only:
            return False
        return self._volume.dirty or self._namespace.dirty_bytes > 0

    async def commit(
        self, prepare: Prepare | None = None, *, force: bool = False, patient: bool = True
    ) -> Cut | None:
        """A commit whose cut comes after this call; None when everything is durable already.

        prepare: what else the cut shall do; force: commit even if nothing changed. patient False:
        do not wait while commits are held back. Errors: volume.*, device.*; engine.held.
        """
        if prepare is None and not force and not self.dirty and not self._volume.committing:
            return None
        if self._held and not patient:
            raise _held_error()
        ticket = _Ticket(prepare, force or prepare is not None, patient, current_trace())
        self._tickets.append(ticket)
        self._demand.set()
        try:
            await ticket.done.wait()
        except trio.Cancelled:
            # A verb that nobody waits for any more is not begun; one in flight goes on.
            if ticket in self._tickets:
                self._tickets.remove(ticket)
            raise
        if ticket.error is not None:
            raise ticket.error
        return ticket.cut

    def wake(self) -> None:
        """Memory or room runs short: commit soon."""
        self._demand.set()

    # ---- rollbacks ----

    @contextmanager
    def hold(self, prepare: Prepare) -> Iterator[Seal]:
        """No cut is made inside. What `prepare` asks for joins the first one made afterwards."""
        assert not self._held, "one rollback at a time"
        assert self._seal is None, "the last rollback is not sealed yet"
        self._held = True
        self._released = trio.Event()
        seal = self._seal = Seal(prepare)
        for ticket in [ticket for ticket in self._tickets if not ticket.patient]:
            self._tickets.remove(ticket)
            ticket.end(None, _held_error())
        try:
            yield seal
        finally:
            self._held = False
            self._released.set()

    # ---- jobs ----

    @contextmanager
    def pause(self) -> Iterator[None]:
        """No cut is made inside, which takes many turns and waits for nobody: what is done there
        becomes durable with one commit. Whoever asks for a commit waits."""
        self._pauses += 1
        try:
            yield
        finally:
            self._pauses -= 1
            self._resumed.set()
            self._resumed = trio.Event()

    # ---- committing ----

    async def serve(self) -> None:
        """Commit when asked and by timer, until cancelled; after that nobody waits for a commit."""
        try:
            await self._serve()
        finally:
            self._fail_silently(self._take_all_tickets())

    async def _serve(self) -> None:
        while True:
            timed_out = True
            with trio.move_on_after(self._interval_s or float("inf")):
                await self._demand.wait()
                timed_out = False
            self._demand = trio.Event()
            if timed_out and (not self.dirty or self._volume.read_only):
                continue
            with trio.CancelScope(shield=True):
                await self._commit_all()

    async def _commit_all(self) -> None:
        """One commit at least; more while verbs wait, since each of them needs a cut of its own."""
        first = True
        monotonic = self._volume.clock.monotonic
        while first or self._tickets:
            first = False
            started = monotonic()
            try:
                await self._writeback.flush(CUT_DIRTY_BYTES_MAX)
            except AffsError as error:
                self._fail(self._take_tickets(), error)
                return
            self._stages.note("flush", monotonic() - started)
            while self._held:
                await self._released.wait()
            await self._commit_once()

    def _take_all_tickets(self) -> list[_Ticket]:
        tickets, self._tickets = self._tickets, []
        return tickets

    def _fail_silently(self, tickets: list[_Ticket]) -> None:
        for ticket in tickets:
            if not ticket.done.is_set():
                ticket.end(None, _internal_error())

    def _take_tickets(self) -> list[_Ticket]:
        """All that one cut can serve: everybody who wants nothing special, and the first verb."""
        taken: list[_Ticket] = []
        verb = False
        for ticket in self._tickets:
            if ticket.prepare is not None and verb:
                break
            verb = verb or ticket.prepare is not None
            taken.append(ticket)
        del self._tickets[: len(taken)]
        return taken

    async def _commit_once(self) -> None:
        tickets = self._take_tickets()
        # A commit serves many; it is told under the trace of the verb in it, or of who came first.
        asking = sorted(tickets, key=lambda ticket: ticket.prepare is None)
        trace = next((ticket.trace for ticket in asking if ticket.trace), "")
        try:
            with traced(trace):
                await self._commit_for(tickets)
        finally:
            # Only an error of ours leaves somebody waiting here; nobody shall wait for ever.
            self._fail_silently(tickets)

    async def _commit_for(self, tickets: list[_Ticket]) -> None:
        forced = any(ticket.force for ticket in tickets)
        if not forced and self._seal is None and not self.dirty:
            for ticket in tickets:
                ticket.end(None)
            return
        try:
            cut = await self._make_cut(tickets)
        except AffsError as error:
            self._fail(tickets, error)
            return
        failure = await self._write(cut, tickets)
        if failure is not None:
            self._fail(tickets, failure)
            return
        self._commits += 1
        self._bytes += cut.size_bytes
        self._events.publish(
            "commit", seq=cut.seq, commit_time_ns=cut.record.time_ns, bytes=cut.size_bytes
        )
        for ticket in tickets:
            if not ticket.done.is_set():
                ticket.end(cut)

    async def _make_cut(self, tickets: list[_Ticket]) -> Cut:
        """The turn. A node that went missing since the data was accepted is loaded, and the turn
        begins again: what it had put into the tree by then stays there and is right."""
        clock = self._volume.clock
        while True:
            while self._pauses:
                await self._resumed.wait()
            started = clock.monotonic()
            try:
                self._events.save()
                self._namespace.flush_all()
                cut = self._volume.cut(None, self._request(tickets))
            except NodeMissing as missing:
                await self._loader.load(missing)
                continue
            if self._seal is not None:
                self._seal.cut, self._seal = cut, None
            seconds = clock.monotonic() - started
            self._stages.note("cut", seconds)
            self._cut_ms_max = max(self._cut_ms_max, seconds * 1e3)
            return cut

    def _request(self, tickets: list[_Ticket]) -> CutRequest:
        request = CutRequest()
        for ticket in tickets:
            if ticket.prepare is None or ticket.done.is_set():
                continue
            try:
                request = ticket.prepare()
            except AffsError as error:  # this verb's own; the others' commit goes on
                ticket.end(None, error)
        if self._seal is not None:
            seal = self._seal.prepare()
            request = replace(
                request,
                seal=seal.seal,
                seal_keep=seal.seal_keep,
                undo=seal.undo,
                undo_sealed=seal.undo_sealed,
            )
        return request

    async def _write(self, cut: Cut, tickets: list[_Ticket]) -> AffsError | None:
        monotonic = self._volume.clock.monotonic
        started = monotonic()
        error = await self._attempt(cut)
        if error is not None and error.code == "device.no_space":
            error = await self._write_when_there_is_room(cut, tickets, error)
        self._stages.note("write", monotonic() - started)
        try:
            self._volume.complete(cut, error)
        except AffsError as failure:
            return failure
        return None

    async def _attempt(self, cut: Cut) -> AffsError | None:
        try:
            await self._workers.commit(cut.write)
        except (AffsError, OSError, MemoryError) as failure:
            return write_failure(failure)
        return None

    async def _write_when_there_is_room(
        self, cut: Cut, tickets: list[_Ticket], error: AffsError
    ) -> AffsError | None:
        """The same images, again and again; what else than the lack of room ends it, if anything
        does. Meanwhile operations go on as far as memory and room for metadata reach."""
        refusal: AffsError | None = error
        waited = 0.0
        _log.error("commit %d waits: the host has no room for it: %s", cut.seq, error.message)
        self._events.publish("space", state="waiting", seq=cut.seq, reason=error.message)
        self.waits_for_room = error.message
        self._writeback.stall(_no_room_error(error))
        try:
            while refusal is not None and refusal.code == "device.no_space":
                if waited >= ROOM_PATIENCE_S:
                    self._refuse(tickets, _no_room_error(error))
                    if self._ending:
                        break
                await trio.sleep(ROOM_RETRY_S)
                waited += ROOM_RETRY_S
                refusal = await self._attempt(cut)
        finally:
            self.waits_for_room = ""
            self._writeback.stall(None)
        if refusal is None:
            _log.warning("there is room again: commit %d is written", cut.seq)
            self._events.publish("space", state="room", seq=cut.seq)
        return refusal

    def _refuse(self, tickets: list[_Ticket], error: AffsError) -> None:
        """Let nobody wait but verbs whose cut is made: those may still happen."""
        plain = [one for one in tickets if one.prepare is None or self._ending]
        for ticket in [*plain, *self._take_all_tickets()]:
            if not ticket.done.is_set():
                ticket.end(None, error)

    def end_patience(self) -> None:
        """The engine ends: a commit that waits for room is given up after a last while."""
        self._ending = True

    def _fail(self, tickets: list[_Ticket], error: AffsError) -> None:
        if self._volume.read_only:
            self.tell_read_only()
        else:
            _log.error("a commit failed, nothing is lost yet: %s", error.message)
        self._loader.report(error)
        for ticket in tickets:
            if not ticket.done.is_set():
                ticket.end(None, error)

    def tell_read_only(self) -> None:
        """If the volume has become read-only: say so in the log and as an event, once."""
        if not self._volume.read_only or self._told_read_only:
            return
        self._told_read_only = True
        _log.critical("the volume is read-only from now on: %s", self._volume.read_only_reason)
        self._events.publish("read_only", reason=self._volume.read_only_reason)

    def statistics(self) -> CommitterStatistics:
        return CommitterStatistics(
            self._commits, len(self._tickets), self._cut_ms_max, self._bytes,
            self._stages.statistics(),
        )


def _internal_error() -> AffsError:
    return AffsError(
        "runtime.internal", Category.INTERNAL, "a commit failed by an internal error",
        hint="the log has it; the volume is read-only now",
    )


def _no_room_error(error: AffsError) -> AffsError:
    return AffsError(
        "device.no_space", Category.NO_SPACE, f"a commit waits for room: {error.message}",
        hint="make room on the host's filesystem; the commit is tried again every second",
        retryable=True, details=error.details,
    )  # fmt: skip


def _held_error() -> AffsError:
    return AffsError(
        "engine.held", Category.BUSY, "a rollback is under way", hint="try again", retryable=True
    )
