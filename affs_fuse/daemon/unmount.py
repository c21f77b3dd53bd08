"""umount.fuse.affs: unmount, and wait until the daemon has committed and closed the volume.

    umount.fuse.affs DIRECTORY [-flnrv] [-t TYPE] [-N NS]

umount(8) calls it where mount(8) has noted `uhelper=fuse.affs`; umount(8) alone returns while the
daemon still commits. The daemon is found by its announcement and waited for by a pidfd, which names
that process and no other that may get its number later. Exit statuses as umount(8): 0, 1 usage, 2
system error, 32 the unmount failed.
"""

import errno
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from affs_fuse.daemon.config import Environment
from affs_fuse.errors import AffsError
from affs_fuse.fuse import mount_table
from affs_fuse.protocol import RUNTIME_DIRECTORY, Announcement

__all__ = ["UnmountRequest", "main", "parse_unmount", "unmount_and_wait"]

EXIT_USAGE = 1
EXIT_SYSTEM = 2
EXIT_FAILED = 32

DAEMON_END_TIMEOUT_S = 120.0
ANNOUNCEMENT_BYTES_MAX = 65536

USAGE = "usage: umount.fuse.affs DIRECTORY [-flnrv] [-t TYPE]"


@dataclass(slots=True)
class UnmountRequest:
    """lazy: take the name away at once, whoever uses the mount. force: fail what waits."""

    directory: str = ""
    lazy: bool = False
    force: bool = False
    verbose: bool = False
    problem: str = ""
    positions: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """The exit status; the reason on stderr."""
    request = parse_unmount(list(sys.argv[1:] if arguments is None else arguments))
    if request.problem:
        sys.stderr.write(f"umount.fuse.affs: {request.problem}\n{USAGE}\n")
        return EXIT_USAGE
    status, text = unmount_and_wait(request, Environment.capture())
    if text and (status or request.verbose):
        sys.stderr.write(f"umount.fuse.affs: {text}\n")
    return status


def parse_unmount(arguments: list[str]) -> UnmountRequest:
    """problem: "" or what is wrong with the command line."""
    request = UnmountRequest()
    while arguments:
        argument = arguments.pop(0)
        if argument in ("-t", "-N", "-o"):
            if not arguments:
                request.problem = f"option {argument} needs a value"
                return request
            arguments.pop(0)
        elif argument.startswith("-") and len(argument) > 1:
            for letter in argument[1:]:
                if letter not in "flnrv":
                    request.problem = f"unknown option -{letter}"
                    return request
            request.lazy |= "l" in argument
            request.force |= "f" in argument
            request.verbose |= "v" in argument
        else:
            request.positions.append(argument)
    if len(request.positions) != 1:
        request.problem = "expected one DIRECTORY"
    else:
        request.directory = os.path.abspath(request.positions[0])
    return request


def unmount_and_wait(request: UnmountRequest, environment: Environment) -> tuple[int, str]:
    """(exit status, line for people)."""
    entry = mount_table.mount_entry_of(request.directory)
    if entry is None:
        resolved = os.path.realpath(request.directory)
        entry = mount_table.mount_entry_of(resolved)
    if entry is None or entry.filesystem_type != mount_table.FILESYSTEM_TYPE:
        return EXIT_FAILED, f"{request.directory}: no AfFS volume is mounted there"
    directory = os.fsdecode(entry.directory)
    daemon = _open_daemon(directory, environment)
    try:
        try:
            _unmount(directory, request, environment)
        except OSError as error:
            return _failure(directory, error)
        except subprocess.SubprocessError as error:
            return EXIT_FAILED, f"{directory}: {error}"
        if daemon is None or request.lazy:
            return 0, f"{directory} unmounted"
        if not select.select([daemon], [], [], DAEMON_END_TIMEOUT_S)[0]:
            waited = f"{DAEMON_END_TIMEOUT_S:.0f} s"
            return EXIT_SYSTEM, f"{directory}: unmounted, but its daemon still works after {waited}"
        return 0, f"{directory} unmounted, the volume is closed"
    finally:
        if daemon is not None:
            os.close(daemon)


def _failure(directory: str, error: OSError) -> tuple[int, str]:
    hints = {
        errno.EBUSY: "; fuser -vm shows who uses it, -l detaches it all the same",
        errno.EPERM: "; only root may unmount this",
    }
    return EXIT_FAILED, f"{directory}: {error.strerror}{hints.get(error.errno or 0, '')}"


def _unmount(directory: str, request: UnmountRequest, environment: Environment) -> None:
    if environment.privileged:
        flags = mount_table.MNT_DETACH if request.lazy else 0
        flags |= mount_table.MNT_FORCE if request.force else 0
        mount_table.unmount(directory, flags)
        return
    command = ["fusermount3", "-u"] + (["-z"] if request.lazy else []) + ["--", directory]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr.strip() or "fusermount3 failed")


def _open_daemon(directory: str, environment: Environment) -> int | None:
    """A pidfd of the daemon that serves this mount; None where it cannot be found."""
    for announcement in _announcements({RUNTIME_DIRECTORY, environment.announcement_directory}):
        if announcement.mountpoint == directory:
            with suppress(OSError):
                return os.pidfd_open(announcement.pid)
    return None


def _announcements(folders: set[str]) -> Iterator[Announcement]:
    for folder in sorted(folders):
        names: list[str] = []
        with suppress(OSError):
            names = sorted(name for name in os.listdir(folder) if name.endswith(".json"))
        for name in names:
            with suppress(OSError, AffsError), open(os.path.join(folder, name), "rb") as file:
                yield Announcement.parse(file.read(ANNOUNCEMENT_BYTES_MAX))


if __name__ == "__main__":
    sys.exit(main())
