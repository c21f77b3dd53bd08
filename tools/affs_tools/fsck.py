"""fsck.affs: check a volume that is not mounted; with --repair put right what is provable, with
--rebuild recover it into a new one.

A check alone only reads. Exit status, as fsck(8) has it, bits added up: 0 no errors, 1 errors were
corrected, 4 errors are left, 8 it could not be checked, 16 usage, 32 cancelled. Findings go to
standard output, progress to standard error or to the descriptor of -C.
"""

import argparse
import os
import sys
import time
from typing import NoReturn

from affs_fuse import __version__
from affs_fuse.device.file import open_device
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.verify import verify_volume
from affs_tools import holder
from affs_tools.fsck_indexes import check_indexes
from affs_tools.fsck_rebuild import rebuild_volume
from affs_tools.fsck_repair import repair_volume
from affs_tools.fsck_words import end_progress, print_report, show_progress
from affs_tools.mkfs import Refusal, size_argument, uuid_argument
from affs_tools.text import escape

__all__ = ["main"]

OK, UNCORRECTED, OPERATIONAL, USAGE, CANCELLED = 0, 4, 8, 16, 32

LOCK_WAIT_S = 30.0
"""How long a daemon may take to write its last commit after its mount has gone."""

DESCRIPTION = """\
Check an AfFS volume: all kept states, all nodes, free space. A check only reads. --repair puts
right what is provable: free-space maps and counts, a broken superblock copy, ring slot or owner
block. What is not provable is left and named; kept states are never changed. --rebuild recovers a
volume whose superblocks, rings or inner nodes are gone into a new one; it only reads the old one.
"""

EPILOG = """\
Exit status, added up: 0 clean, 1 errors corrected, 4 errors left (with --repair -n: that would be),
8 could not check, 16 usage, 32 cancelled."""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser() -> Parser:
    parser = Parser(prog="fsck.affs", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("volume", metavar="FILE|DEVICE")
    parser.add_argument(
        "--data", action="store_true",
        help="also every checksum of file data, and indexes against records",
    )
    parser.add_argument(
        "--repair", action="store_true", help="put right what is provable; with -n print the plan"
    )
    parser.add_argument(
        "-a", "-p", "-y", dest="unasked", action="store_true",
        help="as --repair: every repair is safe, so none is asked about",
    )
    parser.add_argument(
        "-n", "--dry-run", dest="dry_run", action="store_true",
        help="change nothing; a plain check then runs even while the volume is in use",
    )
    parser.add_argument(
        "--rebuild", action="store_true",
        help="recover what the leaves hold into a new volume; with -n say what that would be",
    )
    parser.add_argument("--into", metavar="NEW", help="the new volume's file or device")
    parser.add_argument("--size", type=size_argument, help="of the new volume; the old one's")
    parser.add_argument("--force", action="store_true", help="overwrite what NEW holds")
    parser.add_argument(
        "--format-uuid", type=uuid_argument, metavar="UUID",
        help="which volume, where structures of several are found",
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="the report as one JSON document")
    output.add_argument("--ajis", action="store_true", help="the report as one AJIS document")
    parser.add_argument("-q", "--quiet", action="store_true", help="findings only")
    parser.add_argument("-v", "--verbose", action="store_true", help="notes as well")
    parser.add_argument(
        "-C", dest="progress_fd", type=int, nargs="?", const=0, metavar="FD",
        help="show progress, or write it to a file descriptor as fsck(8) wants it",
    )
    parser.add_argument("-f", action="store_true", help="a whole check, which every check is")
    parser.add_argument("-V", "--version", action="version", version=f"fsck.affs {__version__}")
    return parser


# ---- in use? ----


def wait_until_unused(path: str) -> str:
    """Why the volume cannot be checked now, or "". A daemon that is just closing is waited for."""
    told = False
    deadline = time.monotonic() + LOCK_WAIT_S
    while user := holder.lock_holder(path):
        if directory := holder.mount_point(path):
            where = f"it is mounted on {escape(directory)} ({user} has it open)"
            return f"{where}; unmount it first, or use -n for a mere check"
        if time.monotonic() > deadline:
            return f"{user} has it open; stop that first, or use -n for a mere check"
        if not told:
            print(f"fsck.affs: {escape(path)}: waiting for {user} to close it", file=sys.stderr)
            told = True
        time.sleep(0.2)
    return ""


# ---- the command ----


def check(options: argparse.Namespace) -> int:
    """Errors: AffsError, OSError."""
    path = options.volume
    os.stat(path)
    live = options.dry_run and not options.repair and not options.rebuild
    if not live and (reason := wait_until_unused(path)):
        print(f"fsck.affs: {escape(path)}: {reason}", file=sys.stderr)
        return OPERATIONAL
    if options.repair:
        return repair_volume(path, options)
    if options.rebuild:
        return rebuild_volume(path, options)
    with open_device(path, read_only=True) as device:
        report = verify_volume(
            device, data=options.data, progress=show_progress(options.progress_fd)
        )
    if options.data and report.clean:
        check_indexes(path, report)
    end_progress(options.progress_fd)
    print_report(path, report, options)
    return OK if report.clean else UNCORRECTED


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.unasked and options.dry_run:
        parser.error("-n goes with none of -a, -p and -y")
    options.repair |= options.unasked
    if options.rebuild and (options.repair or options.data):
        parser.error("--rebuild goes with neither --repair nor --data")
    if options.rebuild and options.into is None and not options.dry_run:
        parser.error("--rebuild takes --into NEW, or -n")
    of_rebuild = (options.into, options.size, options.format_uuid, options.force or None)
    if not options.rebuild and any(each is not None for each in of_rebuild):
        parser.error("--into, --size, --force and --format-uuid belong to --rebuild")
    return options


def main(arguments: list[str] | None = None) -> int:
    options = parse(arguments)
    try:
        return check(options)
    except AffsError as error:
        hint = f"; {error.hint}" if error.hint else ""
        print(f"fsck.affs: {escape(error.message)}{hint}", file=sys.stderr)
        return UNCORRECTED if error.category is Category.CORRUPT else OPERATIONAL
    except Refusal as refusal:
        print(f"fsck.affs: {refusal}", file=sys.stderr)
        return OPERATIONAL
    except OSError as error:
        where = escape(str(error.filename or options.volume))
        print(f"fsck.affs: {where}: {error.strerror}", file=sys.stderr)
        return OPERATIONAL
    except KeyboardInterrupt:
        print(f"\nfsck.affs: {escape(options.volume)}: cancelled", file=sys.stderr)
        return CANCELLED


if __name__ == "__main__":
    sys.exit(main())
