"""mkfs.affs: make a volume in a file or on a block device.

Refuses what is in use and what already holds something, unless forced; never asks. Exit status: 0
made (or, with -n, could be made), 1 not, with one line that says why.
"""

import argparse
import contextlib
import os
import stat
import sys
import uuid
from typing import NoReturn

from affs_fuse import __version__
from affs_fuse.clock import SYSTEM_CLOCK, system_entropy
from affs_fuse.core.codec import Superblock
from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.errors import AffsError
from affs_fuse.volume.mkfs import MkfsOptions, make_volume, plan_superblock
from affs_tools import holder
from affs_tools.signatures import contents
from affs_tools.text import escape, format_size, parse_size

__all__ = [
    "Refusal",
    "check_unused",
    "existing_size",
    "main",
    "size_argument",
    "uuid_argument",
]


class Refusal(Exception):
    """Why no volume is made, in one line."""


class Parser(argparse.ArgumentParser):
    """mkfs programs know the exit statuses 0 and 1 only."""

    def error(self, message: str) -> NoReturn:
        self.exit(1, f"{self.prog}: {message}; see {self.prog} --help\n")


def size_argument(text: str) -> int:
    try:
        return parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def uuid_argument(text: str) -> bytes:
    try:
        return uuid.UUID(text).bytes
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no UUID") from error


def make_parser() -> Parser:
    parser = Parser(
        prog="mkfs.affs",
        description="Make an AfFS volume in a file or on a block device.",
        epilog="Sizes take K, M, G, T (powers of 1024). A new file is sparse.",
    )
    parser.add_argument("target", metavar="FILE|DEVICE")
    parser.add_argument("--size", type=size_argument, help="needed where there is no file yet")
    parser.add_argument("-L", "--label", default="", help="name of the volume, up to 64 bytes")
    parser.add_argument("-U", "--uuid", type=uuid_argument, help="UUID of the volume")
    parser.add_argument("--segment-size", type=size_argument, help="a power of two, 256K to 1G")
    parser.add_argument(
        "--max-size", type=size_argument, help="plan for growth up to this size of the volume"
    )
    parser.add_argument("-n", "--dry-run", action="store_true", help="check and say, make nothing")
    parser.add_argument("-f", "--force", action="store_true", help="overwrite what is there")
    parser.add_argument("-q", "--quiet", action="store_true", help="no word on success")
    parser.add_argument("-V", "--version", action="version", version=f"mkfs.affs {__version__}")
    return parser


def check_unused(path: str) -> None:
    """Errors: Refusal where the target is mounted or open for writing somewhere; OSError."""
    if directory := holder.mount_point(path):
        raise Refusal(f"it is mounted on {escape(directory)}; unmount it first")
    if stat.S_ISREG(os.stat(path).st_mode) and (loop := holder.loop_device(path)):
        raise Refusal(f"it is the backing file of {loop}; detach it with losetup -d {loop}")
    if user := holder.lock_holder(path):
        raise Refusal(f"{user} has it open; stop that first")


def existing_size(path: str) -> int | None:
    """Bytes of what is there, None if nothing is. Errors: Refusal, OSError."""
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISREG(status.st_mode):
        return status.st_size
    if not stat.S_ISBLK(status.st_mode):
        raise Refusal("it is neither a regular file nor a block device")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.lseek(descriptor, 0, os.SEEK_END)
    finally:
        os.close(descriptor)


def decide_size(options: argparse.Namespace, there: int | None) -> int:
    """Bytes of the volume. Errors: Refusal."""
    if there is not None:
        check_unused(options.target)
        found = contents(options.target)
        if found and not options.force:
            raise Refusal(f"it holds {found}; -f overwrites it")
    if options.size is None:
        if not there:
            raise Refusal("its size is not known; give --size, for example --size 1G")
        return there
    size = int(options.size)
    if there is not None and stat.S_ISBLK(os.stat(options.target).st_mode) and size > there:
        raise Refusal(f"the device has {format_size(there)} only")
    return size


def volume_options(options: argparse.Namespace, size: int) -> MkfsOptions:
    """The root directory belongs to whoever makes the volume: an ordinary user can then use it."""
    return MkfsOptions(
        size_bytes=size,
        label=options.label,
        user_uuid=options.uuid,
        segment_size_bytes=options.segment_size,
        size_max_bytes=options.max_size,
        root_uid=os.geteuid(),
        root_gid=os.getegid(),
    )


def describe(path: str, superblock: Superblock) -> str:
    size = superblock.device_blocks * BLOCK_SIZE
    label = superblock.label[: superblock.label_length].decode("utf-8", "replace")
    words = [
        f"{format_size(size)}",
        f"{superblock.place_count} segments of {format_size(1 << superblock.segment_shift)}",
        f"UUID {uuid.UUID(bytes=superblock.user_uuid)}",
        *([f"label {escape(label)}"] if label else []),
    ]
    return f"{escape(path)}: {', '.join(words)}"


def run(options: argparse.Namespace) -> str:
    """Make the volume; the line for people. Errors: Refusal, AffsError, OSError."""
    path = options.target
    there = existing_size(path)
    size = decide_size(options, there) // BLOCK_SIZE * BLOCK_SIZE
    if options.max_size is not None and options.max_size < size:
        raise Refusal("--max-size is smaller than the volume")
    wanted = volume_options(options, size)
    planned = plan_superblock(size, wanted, SYSTEM_CLOCK.now_ns(), system_entropy)
    if options.dry_run:
        return f"nothing was written; it would be {describe(path, planned)}"
    try:
        superblock = make_volume(path, wanted, clock=SYSTEM_CLOCK, entropy=system_entropy)
    except BaseException:
        if there is None:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                os.unlink(path)
        raise
    return describe(path, superblock)


def main(arguments: list[str] | None = None) -> int:
    options = make_parser().parse_args(arguments)
    try:
        line = run(options)
    except Refusal as refusal:
        print(f"mkfs.affs: {escape(options.target)}: {refusal}", file=sys.stderr)
        return 1
    except AffsError as error:
        hint = f"; {error.hint}" if error.hint else ""
        print(f"mkfs.affs: {escape(error.message)}{hint}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"mkfs.affs: {escape(options.target)}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"mkfs.affs: {escape(options.target)}: interrupted", file=sys.stderr)
        return 1
    if not options.quiet:
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
