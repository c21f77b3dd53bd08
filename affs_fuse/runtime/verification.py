"""`verify`: everything of a volume in use read back from the medium, in the background.

One verification at a time. It reads in slices, as long as the mount does not feel it (governor),
from durable and immutable trees, past every cache (volume/scrub). Invariants:
- No turn of the loop waits for the device, and none is longer than decoding one node.
- A slice reads under a reader of the volume, so nothing it may read is written again meanwhile;
  nothing is held between slices.
- Its cursor lies in the system tree: after a restart it goes on where it was, a little before
  at most. What it found and when is kept there too.
- Whatever goes wrong in here ends this verification and nothing else.
"""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import trio

from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.device.device import MediumDevice
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.committer import Committer
from affs_fuse.runtime.damage_telling import DamageTeller
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.governor import SLICE_S, Governor, RequestTimes
from affs_fuse.runtime.jobs import JobProgress
from affs_fuse.runtime.loader import Loader
from affs_fuse.runtime.verification_run import MediumReader, Run
from affs_fuse.runtime.verification_scope import described, resolve_scope
from affs_fuse.runtime.verified import Verified
from affs_fuse.runtime.workers import Workers
from affs_fuse.volume.scrub import TreeScan
from affs_fuse.volume.scrub_headers import check_headers
from affs_fuse.volume.scrub_pass import Scope, ScopeKind, ScrubPass
from affs_fuse.volume.volume import Volume

__all__ = ["CURSOR_EVERY_S", "Run", "Verification"]

_log = logging.getLogger("affs.verify")

Plain = dict[str, Any]

CURSOR_EVERY_S = 5.0
"""How much of the work a restart may cost."""


class Verification:
    """times: of the mount's requests. released: told when a state that was held no longer is.
    following: the volume belongs to another daemon. Loop thread only."""

    def __init__(
        self,
        volume: Volume,
        loader: Loader,
        workers: Workers,
        committer: Committer,
        events: EventBus,
        times: Callable[[], RequestTimes],
        released: Callable[[], None],
        *,
        following: bool,
    ) -> None:
        self._volume = volume
        self._loader = loader
        self._workers = workers
        self._committer = committer
        self._events = events
        self._following = following
        self._run: Run | None = None
        self._wanted = trio.Event()
        self._saved_at = 0.0
        self._reader = MediumReader(volume, workers, times)
        self.verified = Verified(volume)
        self._teller = DamageTeller(
            volume, loader, events, self._reader, self.verified, released
        )

    # ---- asking ----

    @property
    def running(self) -> Run | None:
        return self._run

    def start(self, scope: Scope, author: str, *, full_speed: bool = False) -> Run:
        """Begin, or join the one of the same scope that is in work. busy: verification.running;
        unsupported: verification.not_owner."""
        if self._following:
            raise AffsError(
                "verification.not_owner", Category.UNSUPPORTED,
                "this mount only shows a state of another daemon's volume",
                hint="verify it where it is mounted for writing",
            )
        if self._run is not None:
            if self._run.scrub.scope == scope:
                return self._run
            raise AffsError(
                "verification.running", Category.BUSY,
                f"a verification of {described(self._run.scrub.scope)} is running",
                hint="wait for it, or end it with verify --cancel", retryable=True,
            )
        number = self.verified.next_number()
        scrub = ScrubPass.begin(self._volume, number, scope, author)
        return self._put_to_work(Run(scrub, Governor(full_speed=full_speed)))

    def _put_to_work(self, run: Run) -> Run:
        self._run = run
        self._wanted.set()
        return run

    async def carry_out(
        self, *, path: str, state: str | None, since: str | None, author: str,
        errors_only: bool, detach: bool, full_speed: bool,
    ) -> AsyncGenerator[Plain, None]:
        """Begin (or join) and follow; `ports.EnginePort.verify` says what it gives."""
        if not self._volume.read_only:  # what was written before this call belongs to it
            await self._committer.commit()
        scope = await resolve_scope(
            self._loader, self._volume, path, state, since, errors_only=errors_only
        )
        run = self.start(scope, author, full_speed=full_speed)
        if not detach:
            async with aclosing(self.follow(run)) as parts:
                async for part in parts:
                    yield part
        yield {"result": run.result if run.result is not None else self._unfinished(run)}

    def jobs(self) -> list[JobProgress]:
        """For `status`."""
        if self._run is None:
            return []
        now = self.progress(self._run)
        return [JobProgress("verify", now["done"], now["total"], now["unit"])]

    def report(self) -> Plain:
        """What is known: `ports.EnginePort.verified`."""
        running = None
        if self._run is not None:
            running = {
                **self._unfinished(self._run), **self.progress(self._run),
                "saved": self._run.saved_bytes,
            }
        return {
            **self.verified.summary(),
            "running": running,
            "results": self.verified.results(),
            "known": self.verified.damage(),
        }

    def _unfinished(self, run: Run) -> Plain:
        return self.verified.result_of(
            run.scrub, "running", "", bytes_read=run.bytes_done, medium=self._medium
        )

    async def cancel(self) -> Plain:
        """End the one in work; its result. not_found: verification.not_running."""
        run = self._run
        if run is None:
            raise AffsError(
                "verification.not_running", Category.NOT_FOUND, "no verification is running"
            )
        run.stop.set()
        async for _ in self.follow(run):
            pass
        assert run.result is not None
        return run.result

    async def follow(self, run: Run) -> AsyncGenerator[Plain, None]:
        """{"damage": ...} for everything found and {"progress": ...} now and then, until the
        end."""
        told = 0
        while True:
            moved = run.moved
            while told < len(run.found):
                told += 1
                yield {"damage": run.found[told - 1]}
            if run.result is not None:
                return
            yield {"progress": self.progress(run)}
            await moved.wait()

    def progress(self, run: Run) -> Plain:
        """total: 0 where it is not known."""
        whole = run.scrub.scope.kind is ScopeKind.VOLUME
        total = self._volume.space.used_blocks * BLOCK_SIZE if whole else 0
        note = run.scrub.state_name()
        if run.scrub.totals.damage:
            note += f", damaged: {run.scrub.totals.damage}"
        done = run.bytes_done
        return {"done": done, "total": max(total, done) if whole else 0, "unit": "bytes",
                "note": note}

    # ---- working ----

    async def serve(self) -> None:
        """Carry out what is asked for; never returns."""
        self._resume()
        while True:
            while self._run is None:
                await self._wanted.wait()
                self._wanted = trio.Event()
            await self._carry_out(self._run)

    def _resume(self) -> None:
        value = None if self._following else self.verified.cursor()
        if value is None:
            return
        try:
            scrub = ScrubPass.restore(self._volume, value)
        except (KeyError, ValueError, TypeError) as error:
            _log.warning("the cursor of a verification cannot be read: %r", error)
            self.verified.clear_cursor()
            return
        run = Run(scrub, Governor(), resumed=True)
        if scrub.known is None:  # which finds it once more
            run.found = [one for one in self.verified.damage() if one.get("run") == scrub.number]
        for entry in run.found:
            if entry.pop("unnamed", False):  # the daemon ended before anybody was told
                self._events.publish("corruption", **entry)
        self._put_to_work(run)

    async def _carry_out(self, run: Run) -> None:
        scope = described(run.scrub.scope)
        begun = "resumed" if run.resumed else "begun"
        _log.info("verification of %s %s", scope, begun)
        self._events.publish("job", name="verify", outcome=begun, number=run.scrub.number)
        outcome, code = "done", ""
        self._save(run)
        try:
            await self._read_all(run)
            if not run.scrub.done:
                outcome = "cancelled"
        except AffsError as error:
            outcome, code = "failed", error.code
            _log.error("verification of %s failed: %s", scope, error.message)
        except Exception as error:  # noqa: BLE001 - see the module's last invariant
            outcome, code = "failed", "runtime.internal"
            _log.critical("verifying failed in a way that should not happen", exc_info=error)
        except trio.Cancelled:
            self._save(run)
            raise
        await self._end(run, outcome, code)

    async def _end(self, run: Run, outcome: str, code: str) -> None:
        scrub = run.scrub
        run.result = self.verified.end(
            scrub, outcome, code, bytes_read=run.bytes_done, medium=self._medium
        )
        self._run = None
        with trio.CancelScope(shield=True):
            try:
                if not self._volume.read_only:
                    await self._committer.commit()
            except AffsError as error:
                _log.error("the result of a verification was not kept: %s", error.message)
        _log.info("verification of %s: %s, damaged: %d", described(scrub.scope), outcome,
                  scrub.totals.damage)
        self._events.publish(
            "job", name="verify", outcome=outcome, number=scrub.number, code=code,
            bytes=run.bytes_done, damage=scrub.totals.damage,
        )
        run.move()

    @property
    def _medium(self) -> str:
        device = self._volume.device
        return device.medium_path if isinstance(device, MediumDevice) else "memory"

    async def _read_all(self, run: Run) -> None:
        scrub = run.scrub
        if not scrub.headers_done:
            await self._headers(run)
        while not run.stop.is_set():
            before = self._reader.times()
            await self._slice(run)
            await self._reader.pause(run, before)
            await self._teller.name(run)
            now = self._volume.clock.monotonic()
            if scrub.done:
                return
            if now - self._saved_at >= CURSOR_EVERY_S:
                self._save(run)
            run.move()

    def _save(self, run: Run) -> None:
        self._saved_at = self._volume.clock.monotonic()
        run.saved_bytes = run.bytes_done
        self.verified.put_cursor(run.scrub)

    # ---- reading ----

    async def _headers(self, run: Run) -> None:
        volume, uuid = self._volume, self._volume.superblock.format_uuid
        for _ in range(2):  # a commit may have been made meanwhile, whose record is not whole yet
            record = run.scrub.durable_record()
            found = await self._workers.check(
                partial(check_headers, volume.device, uuid, record)
            )
            if not found:
                break
        run.scrub.headers_done = True
        run.scrub.totals.damage += len(found)
        for damage in found:
            self._teller.tell(run, damage, {})

    async def _slice(self, run: Run) -> None:
        scrub, monotonic = run.scrub, self._volume.clock.monotonic
        end = monotonic() + SLICE_S
        before = self._reader.times()
        reader = self._volume.begin_reading(durable=True)
        try:
            while monotonic() < end and not run.stop.is_set():
                scan = scrub.next_scan()
                if scan is None:
                    return
                state = scrub.state if scrub.state is not None else scrub.scope.state
                index = scrub.checking
                while not scan.done and not run.stop.is_set():
                    if monotonic() >= end:
                        if not scrub.indivisible:
                            break
                        await self._reader.pause(run, before)
                        before, end = self._reader.times(), monotonic() + SLICE_S
                    found = await self._reader.batch(scan, None if index else scrub)
                    if index is not None:  # its nodes have been told of, or will be
                        index.broken |= bool(found)
                        continue
                    for damage in found:
                        self._teller.note(run, state, damage)
                if scan.done:
                    await self._finish(run, scan, index.state if index is not None else state)
                else:
                    scrub.leave(scan)
        finally:
            self._volume.end_reading(reader)

    async def _finish(self, run: Run, scan: TreeScan, state: int) -> None:
        for damage in run.scrub.finish(scan):
            if damage is None:
                await trio.lowlevel.checkpoint()
            else:
                run.scrub.totals.damage += 1
                self._teller.note(run, state, damage)
