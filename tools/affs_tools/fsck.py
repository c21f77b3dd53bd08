"""fsck.affs: check a volume that is not mounted. Reads only, so it never makes anything worse.

Exit status, as fsck(8) has it, bits added up: 0 no errors, 4 errors found (nothing is corrected
here), 8 it could not be checked, 16 usage, 32 cancelled. Findings go to standard output, progress
to standard error or to the descriptor of -C.
"""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Callable
from typing import NoReturn

from affs_fuse import __version__, auv
from affs_fuse.device.file import open_device
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.verify import Progress, Report, Severity, verify_volume
from affs_tools import holder
from affs_tools.text import escape

__all__ = ["main"]

OK, UNCORRECTED, OPERATIONAL, USAGE, CANCELLED = 0, 4, 8, 16, 32

LOCK_WAIT_S = 30.0
"""How long a daemon may take to write its last commit after its mount has gone."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> Parser:
    parser = Parser(
        prog="fsck.affs",
        description="Check an AfFS volume: all kept states, all nodes, free space. Reads only.",
        epilog="Exit status: 0 clean, 4 errors, 8 could not check, 16 usage, 32 cancelled.",
    )
    parser.add_argument("volume", metavar="FILE|DEVICE")
    parser.add_argument("--data", action="store_true", help="also every checksum of file data")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="the report as one JSON document")
    output.add_argument("--ajis", action="store_true", help="the report as one AJIS document")
    parser.add_argument("-q", "--quiet", action="store_true", help="findings only")
    parser.add_argument("-v", "--verbose", action="store_true", help="notes as well")
    parser.add_argument(
        "-C", dest="progress_fd", type=int, nargs="?", const=0, metavar="FD",
        help="show progress, or write it to a file descriptor as fsck(8) wants it",
    )
    parser.add_argument(
        "-n", dest="live", action="store_true",
        help="change nothing (it never does), and check even while the volume is in use",
    )
    parser.add_argument("-V", "--version", action="version", version=f"fsck.affs {__version__}")
    for flag in ("-a", "-p", "-y", "-f"):
        parser.add_argument(flag, action="store_true", help=argparse.SUPPRESS)
    return parser


# ---- progress ----


def show_progress(descriptor: int | None) -> Callable[[Progress], None]:
    """To a person on a terminal (0), to a descriptor in fsck(8)'s form, or to nobody (None)."""
    if descriptor is None:
        return lambda progress: None
    if descriptor == 0:
        return _show_line
    passes: list[str] = []

    def write(progress: Progress) -> None:
        if progress.what not in passes:
            passes.append(progress.what)
        number = passes.index(progress.what) + 1
        line = f"{number} {progress.done} {progress.total or progress.done} \n"
        with contextlib.suppress(OSError):  # whoever asked is gone; the check goes on
            os.write(descriptor, line.encode())

    return write


def _show_line(progress: Progress) -> None:
    if sys.stderr.isatty():
        share = f" ({100 * progress.done // progress.total}%)" if progress.total else ""
        print(
            f"\r{progress.what}: {progress.done} {progress.unit}{share}\x1b[K",
            end="", file=sys.stderr, flush=True,
        )


# ---- in use? ----


def wait_until_unused(path: str) -> str:
    """Why the volume cannot be checked now, or "". A daemon that is just closing is waited for."""
    told = False
    deadline = time.monotonic() + LOCK_WAIT_S
    while user := holder.lock_holder(path):
        if directory := holder.mount_point(path):
            return f"it is mounted on {escape(directory)}; unmount it first, or use -n"
        if time.monotonic() > deadline:
            return f"{user} has it open; stop that first, or use -n"
        if not told:
            print(f"fsck.affs: {escape(path)}: waiting for {user} to close it", file=sys.stderr)
            told = True
        time.sleep(0.2)
    return ""


# ---- the report ----


def print_report(path: str, report: Report, options: argparse.Namespace) -> None:
    if options.json or options.ajis:
        value = {"volume": path, **report.to_auv()}
        print(auv.format_json(value) if options.json else auv.format_canonical(value))
        return
    for finding in report.findings:
        if finding.severity is not Severity.NOTE or options.verbose:
            print(f"{escape(path)}: {escape(str(finding))}")
    if report.findings_dropped:
        print(f"{escape(path)}: and {report.findings_dropped} more")
    if not options.quiet:
        print(f"{escape(path)}: {summary(report, options.data)}")


def summary(report: Report, data: bool) -> str:
    errors = report.count(Severity.ERROR) + report.findings_dropped
    warnings = report.count(Severity.WARNING)
    found = "clean" if report.clean else f"{errors} ERRORS"
    if warnings:
        found += f", {warnings} warnings"
    looked = (
        f"commit {report.seq}, {report.states} states, {report.objects} objects,"
        f" {report.nodes} nodes, {report.items} items"
    )
    checked = f", {report.data_blocks_checked} data blocks" if data else ""
    return f"{found} ({looked}{checked})"


def check(options: argparse.Namespace) -> int:
    """Errors: AffsError, OSError."""
    path = options.volume
    os.stat(path)
    if not options.live and (reason := wait_until_unused(path)):
        print(f"fsck.affs: {escape(path)}: {reason}", file=sys.stderr)
        return OPERATIONAL
    with open_device(path, read_only=True) as device:
        report = verify_volume(
            device, data=options.data, progress=show_progress(options.progress_fd)
        )
    if options.progress_fd == 0 and sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    print_report(path, report, options)
    return OK if report.clean else UNCORRECTED


def main(arguments: list[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        return check(options)
    except AffsError as error:
        hint = f"; {error.hint}" if error.hint else ""
        print(f"fsck.affs: {escape(error.message)}{hint}", file=sys.stderr)
        return UNCORRECTED if error.category is Category.CORRUPT else OPERATIONAL
    except OSError as error:
        print(f"fsck.affs: {escape(options.volume)}: {error.strerror}", file=sys.stderr)
        return OPERATIONAL
    except KeyboardInterrupt:
        print(f"\nfsck.affs: {escape(options.volume)}: cancelled", file=sys.stderr)
        return CANCELLED


if __name__ == "__main__":
    sys.exit(main())
