"""The daemon's life: open, wire, mount, serve, and end without losing anything.

The composition root: every object of a mounted volume is made here and handed to those that need
it, and the one nursery is here. Invariants:
- Success is reported only after a request through the mount was answered.
- On SIGTERM and SIGINT the mount goes on being served while it is taken away: what the kernel still
  holds arrives and is committed (semantics.md; ending the session first loses dirty pages).
- Whatever ends the daemon, it tries to commit, and it leaves no mount of its own behind.
"""

import gc
import logging
import os
import signal
import sys
import threading
from contextlib import ExitStack

import trio

from affs_fuse.control import SocketFile, remove_dead_daemons
from affs_fuse.daemon.background import EXIT_INTERNAL, StatusPipe
from affs_fuse.daemon.config import Environment, MountConfig
from affs_fuse.daemon.follower import Follower, open_beside_owner
from affs_fuse.daemon.memory import keep_freed_buffers
from affs_fuse.daemon.notify import Notifier
from affs_fuse.daemon.privileges import give_up_capabilities, wanted_capabilities
from affs_fuse.daemon.wiring import Parts, build_parts, show_published
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Announcement
from affs_fuse.runtime.describe import uuid_text
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.volume import Volume

__all__ = ["EXIT_MOUNT_FAILED", "Service", "exit_status_of"]

_log = logging.getLogger("affs.daemon")

EXIT_USAGE = 1
EXIT_SYSTEM = 2
EXIT_MOUNT_FAILED = 32

SWITCH_INTERVAL_S = 0.0002
"""A worker that computes gives the loop its turn after this long."""

ANSWER_TIMEOUT_S = 30.0
STATUS_PERIOD_S = 15.0
END_TIMEOUT_S = 10.0
"""How long the end of the mount waits for processes that still have files open."""


def exit_status_of(error: AffsError) -> int:
    """mount(8)'s status for a mount that could not be made."""
    if error.code in ("mount.usage", "mount.option"):
        return EXIT_USAGE
    if error.category is Category.DENIED:
        return EXIT_USAGE
    if error.category is Category.INTERNAL:
        return EXIT_INTERNAL
    if error.code in ("mount.log", "mount.fork", "mount.device"):
        return EXIT_SYSTEM
    return EXIT_MOUNT_FAILED


class Service:
    """One mount, from opening the volume to closing it. version: of the software."""

    def __init__(
        self, config: MountConfig, environment: Environment, pipe: StatusPipe, version: str
    ) -> None:
        self._config = config
        self._environment = environment
        self._pipe = pipe
        self._version = version
        self._notifier = Notifier(environment.notify_socket)
        self._ended_by = ""

    def run(self) -> int:
        """The whole life; the exit status. AffsError before the mount answered, to be reported by
        the caller."""
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        keep_freed_buffers()
        config = self._config
        with ExitStack() as stack:
            volume = self._open_volume()
            stack.callback(volume.close)
            socket_file = self._open_control(volume)
            if socket_file is not None:
                stack.callback(socket_file.close)
            path = socket_file.path if socket_file is not None else ""
            parts = build_parts(volume, config, self._environment, path, self._version)
            if parts.exposition is not None:
                parts.exposition.open()
                stack.callback(parts.exposition.close)
            _freeze_startup_objects()
            parts.session.mount()
            stack.callback(parts.session.close)
            if self._environment.privileged:
                self._give_up_capabilities(parts, path)
            return trio.run(self._main, parts, socket_file)

    def _open_volume(self) -> Volume:
        config, options = self._config, self._open_options()
        following = config.view == "published"
        opener = open_beside_owner if following else Volume.open
        volume = opener(config.volume, options)
        try:
            for line in volume.report.notes:
                # Beside an owner the oldest commits are not whole any more: nothing is amiss.
                _log.log(logging.INFO if following else logging.WARNING, "%s", line)
            if following:
                show_published(volume)
        except BaseException:
            volume.close()
            raise
        return volume

    def _open_options(self) -> OpenOptions:
        config = self._config
        return OpenOptions(
            read_only=config.read_only,
            cache_bytes=config.cache_bytes,
            recover_previous=config.recover == "previous",
            takeover=config.takeover,
            sleep=_wait_for_heartbeat,
        )

    def _give_up_capabilities(self, parts: Parts, control_path: str) -> None:
        wanted = wanted_capabilities(_written_places(self._config, control_path))
        for_good = parts.volume.read_only or not parts.hooks.may_run_programs
        try:
            left = give_up_capabilities(wanted, for_good=for_good)
        except OSError as error:
            _log.warning("root's capabilities stay: %s", error.strerror)
            return
        more = "" if for_good else "; programs of hooks have all"
        _log.info("capabilities that are left: %s%s", ", ".join(sorted(left)) or "none", more)

    def _open_control(self, volume: Volume) -> SocketFile | None:
        config, environment = self._config, self._environment
        if config.control == "none":
            return None
        uuid = uuid_text(volume.uuid)
        name = uuid
        if config.view != "working":
            name = environment.view_name(uuid)
        remove_dead_daemons(environment.announcement_directory)
        path = config.control or environment.control_path(name)
        return SocketFile.open(
            path,
            mode=config.control_mode,
            group=config.control_group,
            announcement=Announcement(
                uuid=uuid,
                label=volume.label,
                socket=path,
                mountpoint=config.directory,
                volume=config.volume,
                pid=environment.process_id,
                view="" if config.view == "working" else config.view,
            ),
            announcement_path=environment.announcement_path(name),
        )

    # ---- the loop ----

    async def _main(self, parts: Parts, socket_file: SocketFile | None) -> int:
        status = EXIT_INTERNAL
        async with trio.open_nursery() as core:
            for task in parts.engine.core_tasks:
                core.start_soon(task)
            core.start_soon(self._watchdog)
            async with trio.open_nursery() as nursery:
                for task in parts.engine.tasks:
                    nursery.start_soon(task)
                if self._config.view == "published":
                    nursery.start_soon(self._follower(parts).serve)
                if socket_file is not None:
                    await nursery.start(parts.control.run, socket_file)
                if parts.exposition is not None:
                    nursery.start_soon(parts.exposition.serve)
                if not parts.volume.read_only:
                    nursery.start_soon(parts.hooks.serve)
                    nursery.start_soon(parts.upkeep.serve)
                nursery.start_soon(self._signals, parts, nursery)
                nursery.start_soon(self._announce, parts)
                status = await self._serve(parts)
                nursery.cancel_scope.cancel()
                core.start_soon(self._keep_patience, "committing")
            # A verb or job that could not be cancelled has ended by now, too.
            status = await self._finish(parts) or status
            core.cancel_scope.cancel()
        return status

    def _follower(self, parts: Parts) -> Follower:
        announcements = self._environment.owner_announcements(uuid_text(parts.volume.uuid))
        return Follower(
            parts.volume, parts.engine.viewing, announcements, self._open_options()
        )

    async def _serve(self, parts: Parts) -> int:
        """Until the mount is gone."""
        status = 0
        try:
            await parts.session.serve()
        except Exception as error:  # noqa: BLE001 - the data must be saved whatever went wrong
            _log.critical("serving the mount failed", exc_info=error)
            status = EXIT_INTERNAL
            await _detach(parts)
        _log.info("the mount on %s has ended", self._config.directory)
        return status

    async def _finish(self, parts: Parts) -> int:
        """The last commit."""
        try:
            await parts.engine.finish()
        except AffsError as error:
            _log.critical("the last commit failed: %s", error.message)
            return EXIT_SYSTEM
        return 0

    async def _announce(self, parts: Parts) -> None:
        """Wait for the mount's first answer, then say so."""
        answered = False
        with trio.move_on_after(ANSWER_TIMEOUT_S):
            try:
                await trio.to_thread.run_sync(parts.session.answers, abandon_on_cancel=True)
                answered = True
            except OSError as error:
                _log.error("the mount does not answer: %s", error)
        if not answered:
            self._pipe.report(
                EXIT_MOUNT_FAILED, f"mount.affs: {self._config.directory} does not answer"
            )
            await _detach(parts)
            return
        parts.session.tune()
        _log.info("mounted %s on %s", self._config.volume, self._config.directory)
        self._pipe.report(0)
        self._notifier.ready(f"mounted on {self._config.directory}")
        while self._notifier.listened_to:
            await trio.sleep(STATUS_PERIOD_S)
            if not self._ended_by:
                self._notifier.status(await self._status_line(parts))

    async def _status_line(self, parts: Parts) -> str:
        status = await parts.engine.status()
        parts_of_line = [f"mounted on {self._config.directory}", f"commit {status['seq']}"]
        if status["waits_for_room"]:
            parts_of_line.append(f"waits for the host's room: {status['waits_for_room']}")
        if status["read_only_reason"]:
            parts_of_line.append(f"read-only: {status['read_only_reason']}")
        elif status["dirty_bytes"]:
            parts_of_line.append(f"{status['dirty_bytes'] >> 20} MiB wait to be written")
        used, total = (status["space"][one] >> 20 for one in ("used", "total"))
        return ", ".join([*parts_of_line, f"{used} of {total} MiB used"])

    async def _watchdog(self) -> None:
        """To the very end: the last commit may take longer than the manager's patience."""
        period_s = self._environment.watchdog_us / 2e6
        while period_s:
            self._notifier.watchdog()
            await trio.sleep(period_s)

    async def _keep_patience(self, what: str) -> None:
        """While the end takes its time, the manager is asked for more of it again and again."""
        while self._notifier.listened_to:
            self._notifier.stopping(what, END_TIMEOUT_S * 3)
            await trio.sleep(END_TIMEOUT_S)

    # ---- the end ----

    async def _signals(self, parts: Parts, nursery: trio.Nursery) -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
            async for number in received:
                if self._ended_by:
                    _log.warning("a second signal: ending without waiting for open files")
                    parts.session.abort()
                    return
                self._ended_by = signal.Signals(number).name
                nursery.start_soon(self._keep_patience, "unmounting")
                nursery.start_soon(self._end, parts)

    async def _end(self, parts: Parts) -> None:
        """Take the mount away while it is being served."""
        _log.info("%s: unmounting %s", self._ended_by, self._config.directory)
        await _settle(parts)
        await _detach(parts)
        await trio.sleep(END_TIMEOUT_S)
        # Still here: somebody keeps files open. Their data is saved once more, then they lose them.
        _log.warning("files are still open after %g s; ending all the same", END_TIMEOUT_S)
        await _settle(parts)
        parts.session.abort()


def _written_places(config: MountConfig, control_path: str) -> list[str]:
    """What is opened again, and the directories in which files are made and removed, while the
    volume is mounted."""
    files = [control_path, config.log if config.log.startswith("/") else ""]
    if config.metrics is not None:
        files += [config.metrics.file, config.metrics.socket]
    places = [os.path.dirname(path) for path in files if path]
    return [*places, *([] if config.read_only else [config.volume])]


async def _settle(parts: Parts) -> None:
    try:
        await parts.engine.settle()
    except AffsError as error:
        _log.error("committing before the end failed: %s", error.message)


async def _detach(parts: Parts) -> None:
    try:
        await parts.session.detach()
    except AffsError as error:
        _log.error("%s", error.message)
        parts.session.abort()


def _wait_for_heartbeat(seconds: float) -> None:
    threading.Event().wait(seconds)


def _freeze_startup_objects() -> None:
    """What lives as long as the daemon need not be looked at by each garbage collection."""
    gc.collect()
    gc.freeze()
