"""Going into the background, but only after the mount answers.

The parent waits on a pipe for one report (exit status and a line of text) and ends with it, so
mount(8) sees why a mount failed. Invariants:
- fork happens before any thread, loop or open volume exists.
- The child keeps stderr until it has reported, then has nothing of the caller's.
- A child that ends without a report is an internal error to the caller, never a success.
"""

import contextlib
import os
import resource
import signal
import sys

from affs_fuse.errors import AffsError, Category

__all__ = ["EXIT_INTERNAL", "EXIT_INTERRUPTED", "StatusPipe", "fork_daemon"]

EXIT_INTERNAL = 4
EXIT_INTERRUPTED = 8
_REPORT_MAX_BYTES = 65536
_DESCRIPTORS_MAX = 4096


class StatusPipe:
    """The child's end. report() once; after it the process is a daemon. In the foreground: None."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    @property
    def waited_for(self) -> bool:
        """Whether a parent will print what is reported."""
        return self._descriptor is not None

    def report(self, status: int, text: str = "") -> None:
        """Tell the waiting parent; later calls do nothing."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # The parent may have been killed: then nobody waits for this.
        with contextlib.suppress(BrokenPipeError):
            os.write(descriptor, f"{status}\n{text}".encode(errors="replace"))
        os.close(descriptor)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(null, standard)
        os.close(null)


def fork_daemon() -> StatusPipe:
    """Returns in the child only. The parent prints the child's report and exits with its status."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    sys.stdout.flush()
    sys.stderr.flush()
    try:
        child = os.fork()
    except OSError as error:
        raise AffsError(
            "mount.fork", Category.IO, f"cannot start the daemon: {error.strerror}",
            hint="see ulimit -u and the free memory",
        ) from error
    if child != 0:
        os.close(writer)
        os._exit(_wait_for_report(reader, child))
    os.close(reader)
    os.setsid()
    os.chdir("/")
    # A daemon that inherited a script's lock file would hold that lock for as long as it lives.
    limit = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], _DESCRIPTORS_MAX)
    os.closerange(3, writer)
    os.closerange(writer + 1, limit)
    return StatusPipe(writer)


def _wait_for_report(reader: int, child: int) -> int:
    interrupted = False

    def interrupt(number: int, frame: object) -> None:
        nonlocal interrupted
        interrupted = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGTERM)

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    report = b""
    while len(report) < _REPORT_MAX_BYTES:
        piece = os.read(reader, _REPORT_MAX_BYTES)
        if not piece:
            break
        report += piece
    if interrupted:
        sys.stderr.write("mount.affs: interrupted; not mounted\n")
        return EXIT_INTERRUPTED
    status, newline, text = report.decode(errors="replace").partition("\n")
    if not newline:
        _, wait_status = os.waitpid(child, 0)
        code = os.waitstatus_to_exitcode(wait_status)
        how = f"signal {-code}" if code < 0 else f"status {code}"
        sys.stderr.write(f"mount.affs: the daemon ended ({how}) before the mount answered\n")
        return EXIT_INTERNAL
    if text:
        sys.stderr.write(text.rstrip("\n") + "\n")
    return int(status)
