"""One FUSE mount: made by mount(2) as root, by fusermount3 for other users, served by pyfuse3.

Root's way opens /dev/fuse itself and hands the descriptor to libfuse. Only so does the kernel get
MS_POSIXACL (without it the umask is applied before default ACLs), and only so does mount(2)'s errno
reach the user. Invariants:
- Who mounted unmounts, by the process that keeps the mount (keeper.py) where root did; libfuse's
  own unmount is never used on a mount made here.
- The session is closed only after every thread that may still notify the kernel has ended; its
  owner sees to that by awaiting them inside the nursery that runs `serve`.
"""

import logging
import os
import subprocess
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

import pyfuse3
import trio

from affs_fuse.errors import AffsError, Category
from affs_fuse.fuse import mount_table
from affs_fuse.fuse.keeper import Keeper
from affs_fuse.fuse.more_operations import MoreOperations
from affs_fuse.fuse.operations import Operations
from affs_fuse.fuse.requests import RequestServer
from affs_fuse.fuse.spin import SpinningLowlevel, SpinningTrio, SpinStatistics, spin_is_worth_it
from affs_fuse.fuse.writing import WRITE, Writes

__all__ = ["MountRequest", "Session", "clear_dead_mount"]

_log = logging.getLogger("affs.fuse")

TASKS_MAX = 4096
"""Requests that may wait at once. One that does not fit would keep the kernel's answers from being
read, and a rollback waits for those."""

READ_AHEAD_KIB = 1024
"""One read of the largest size that a request may have."""

FUSERMOUNT_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class MountRequest:
    """source: what the mount table shows. directory: absolute. flags: of mount(2), as MS_POSIXACL
    is not. words: of the generic options, for fusermount3. privileged: mount(2) or fusermount3."""

    source: str
    directory: str
    flags: int
    words: tuple[str, ...]
    allow_other: bool
    allow_root: bool
    auto_unmount: bool
    privileged: bool
    user_id: int
    group_id: int


def clear_dead_mount(directory: str, *, privileged: bool) -> bool:
    """Take away a mount of ours whose daemon has died. Whether there was one.

    Errors: mount.directory (no such directory), mount.dead (not ours, or cannot be removed).
    """
    try:
        if not mount_table.is_dead(directory):
            if not os.path.isdir(directory):
                raise AffsError(
                    "mount.directory", Category.INVALID, f"{directory} is not a directory",
                    hint="name an existing directory to mount on",
                )
            return False
    except OSError as error:
        raise AffsError(
            "mount.directory", Category.NOT_FOUND, f"{directory}: {error.strerror}",
            hint="name an existing directory to mount on",
        ) from error
    entry = mount_table.mount_entry_of(directory)
    if entry is None or entry.filesystem_type != mount_table.FILESYSTEM_TYPE:
        kind = entry.filesystem_type if entry is not None else "unknown"
        raise AffsError(
            "mount.dead", Category.BUSY, f"a dead mount of type {kind} lies on {directory}",
            hint=f"umount -l {directory}",
        )
    _detach(directory, privileged=privileged)
    _log.warning("took away the dead mount on %s", directory)
    return True


def _detach(directory: str, *, privileged: bool) -> None:
    """Lazy unmount; returns once the name is free. Errors: mount.dead."""
    try:
        if privileged:
            mount_table.unmount(directory, mount_table.MNT_DETACH)
            return
        subprocess.run(
            ["fusermount3", "-u", "-z", "--", directory],
            check=True, capture_output=True, timeout=FUSERMOUNT_TIMEOUT_S,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise _not_unmounted(directory, error) from error


def _not_unmounted(directory: str, error: Exception) -> AffsError:
    return AffsError(
        "mount.dead", Category.BUSY, f"cannot unmount {directory}: {error}",
        hint=f"umount -l {directory}",
    )


class Session:
    """A mount and its request loop. One a process: pyfuse3 keeps the session in its module."""

    def __init__(
        self, operations: Operations, more: MoreOperations, writes: Writes,
        request: MountRequest, *, spin: str, channel: bool, busy: Callable[[], bool],
        monotonic: Callable[[], float],
    ) -> None:
        self._operations = operations
        self._requests = RequestServer(
            {**more.handlers, WRITE: writes.write}, writes.take, operations, monotonic,
            channel=channel,
        )
        self._request = request
        self._entry: mount_table.MountEntry | None = None
        self._keeper: Keeper | None = None
        polls = spin == "on" or (spin == "auto" and spin_is_worth_it())
        self._lowlevel = SpinningLowlevel(monotonic, busy, spin=polls)
        self._open = False

    def mount(self) -> None:
        """Make the mount; requests wait in the kernel until `serve` runs. Before the process has
        another thread. Errors: mount.*"""
        # pyfuse3 looks its loop up in this attribute at every use; see fuse/spin.py.
        vars(pyfuse3)["trio"] = SpinningTrio(self._lowlevel)
        if self._request.privileged:
            self._mount_directly()
        else:
            self._mount_by_fusermount()
        self._open = True
        self._entry = mount_table.mount_entry_of(self._request.directory)
        if self._entry is not None:
            self._keep(self._entry)

    def _keep(self, entry: mount_table.MountEntry) -> None:
        try:
            self._keeper = Keeper.start(self._request.directory, entry.device)
        except OSError as error:
            self.close()
            with suppress(AffsError):
                _detach(self._request.directory, privileged=self._request.privileged)
            raise AffsError(
                "mount.fork", Category.IO,
                f"cannot start the process that keeps the mount: {error.strerror}",
                hint="see ulimit -u and the free memory",
            ) from error

    def _mount_directly(self) -> None:
        request = self._request
        try:
            descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise AffsError(
                "mount.device", Category.IO, f"cannot open /dev/fuse: {error.strerror}",
                hint="load the kernel module: modprobe fuse",
            ) from error
        words = [
            f"fd={descriptor}", "rootmode=40000", f"user_id={request.user_id}",
            f"group_id={request.group_id}", "default_permissions",
        ]
        if request.allow_other:
            words.append("allow_other")
        try:
            mount_table.mount(
                request.source, request.directory, request.flags | mount_table.MS_POSIXACL,
                ",".join(words),
            )
        except OSError as error:
            os.close(descriptor)
            raise AffsError(
                "mount.failed", Category.DENIED if error.errno == 1 else Category.IO,
                f"mounting on {request.directory} failed: {error.strerror}",
                hint="see dmesg for what the kernel says",
            ) from error
        try:
            pyfuse3.init(self._operations, f"/dev/fd/{descriptor}", set())
        except RuntimeError as error:
            mount_table.unmount(request.directory, mount_table.MNT_DETACH)
            os.close(descriptor)
            raise AffsError(
                "mount.failed", Category.IO, f"libfuse refused the mount: {error}",
                hint="libfuse 3.9 or newer is needed",
            ) from error

    def _mount_by_fusermount(self) -> None:
        request = self._request
        source = request.source.encode("ascii", "replace").decode().replace(",", "_")
        options = {"default_permissions", "subtype=affs", f"fsname={source}", *request.words}
        for wanted, word in (
            (request.allow_other, "allow_other"),
            (request.allow_root and not request.allow_other, "allow_root"),
            (request.auto_unmount, "auto_unmount"),
        ):
            if wanted:
                options.add(word)
        try:
            pyfuse3.init(self._operations, request.directory, options)
        except RuntimeError as error:
            raise AffsError(
                "mount.failed", Category.DENIED,
                f"fusermount3 did not mount {request.directory} (its reason stands above)",
                hint="the directory must be yours; allow_other needs user_allow_other in fuse.conf",
            ) from error

    async def serve(self) -> None:
        """Answer requests until the mount is gone."""
        await self._requests.serve(partial(pyfuse3.main, max_tasks=TASKS_MAX))

    def tune(self) -> None:
        """After the first answer: read ahead as far as one request reaches."""
        if not self._requests.pass_by():
            _log.warning("pyfuse3 was loaded too early: holes, fallocate and O_TMPFILE do not work")
        elif not self._requests.channel():
            _log.info("requests are read by libfuse: writing is slower than it could be")
        if self._entry is None or not self._request.privileged:
            return
        try:
            mount_table.set_read_ahead(self._entry.device, READ_AHEAD_KIB)
        except OSError as error:
            _log.info("the kernel's read-ahead stays as it is: %s", error)

    def answers(self) -> None:
        """In a worker thread: wait until a request on the mount's root was answered. OSError."""
        os.stat(self._request.directory)

    async def detach(self) -> None:
        """Take the mount's name away; what is open is served on. Errors: mount.dead."""
        await trio.to_thread.run_sync(self._detach_now)

    def _detach_now(self) -> None:
        entry = mount_table.mount_entry_of(self._request.directory)
        if entry is None or self._entry is None or entry.device != self._entry.device:
            return
        if self._keeper is None or not self._request.privileged:
            _detach(self._request.directory, privileged=self._request.privileged)
            return
        try:
            self._keeper.unmount()
        except OSError as error:
            raise _not_unmounted(self._request.directory, error) from error

    def abort(self) -> None:
        """Stop serving, whoever still has files open: `serve` returns, and `close` ends the
        connection."""
        if self._open:
            pyfuse3.terminate()

    def close(self) -> None:
        """After `serve` has ended."""
        if self._open:
            self._open = False
            pyfuse3.close(unmount=not self._request.privileged)
        if self._keeper is not None:
            self._keeper.close()
            self._keeper = None

    def spin_statistics(self) -> SpinStatistics:
        return self._lowlevel.statistics()
