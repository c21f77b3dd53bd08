"""fsck.affs --rebuild IMAGE --into NEW: recover what the leaves hold into a new volume.

The source is opened for reading. NEW must hold nothing, or --force must say that it may be
overwritten; a file that was made here goes again when the rebuild fails. The new volume is checked
before success is told.
"""

import argparse
import contextlib
import os
import stat
import sys

from affs_fuse.core.constants import BLOCK_SIZE
from affs_fuse.device.file import open_device
from affs_fuse.volume.mkfs import MkfsOptions, make_file
from affs_fuse.volume.rebuild import Rebuild, RebuildReport, StateReport
from affs_fuse.volume.verify import Report, verify_volume
from affs_tools.fsck_words import end_progress, print_value, show_progress
from affs_tools.mkfs import Refusal, check_unused, existing_size
from affs_tools.signatures import contents
from affs_tools.text import escape, format_size

__all__ = ["rebuild_volume"]

OK, UNCORRECTED, OPERATIONAL = 0, 4, 8

LOSSES_SHOWN = 50
"""Of each state, unless -v asks for all."""

KINDS = {
    "path": "names lead to nothing any more",
    "data": "ranges of data are lost and are holes now",
    "xattr": "extended attributes are lost",
    "collection": "declarations of collections are lost",
    "import": "unfinished imports cannot go on",
    "index": "directories lose their indexes (the daemon makes those of the working state anew)",
    "attributes": "objects lost owner, permissions and times",
    "unnamed": "objects lost their names",
    "restored": "names were found on one side only",
    "stale": "older versions were left out",
    "removed": "objects without a name were left out",
}

QUIET = frozenset({"removed", "stale", "index"})
"""No losses; named with -v."""


def rebuild_volume(source: str, options: argparse.Namespace) -> int:
    """Errors: AffsError, Refusal, OSError."""
    progress = show_progress(options.progress_fd)
    check: Report | None = None
    with open_device(source, read_only=True) as device:
        there = None if options.into is None else _look_at_target(source, options)
        rebuild = Rebuild(device, format_uuid=options.format_uuid, progress=progress)
        if options.dry_run:
            report = rebuild.check()
        else:
            size = _choose_size(rebuild, options, there)
            report, check = _write(rebuild, options, size, new=there is None)
    end_progress(options.progress_fd)
    _print(source, report, check, options)
    status = OK if report.whole else UNCORRECTED
    if check is not None and not check.clean:
        where = escape(options.into)
        print(f"fsck.affs: {where} is NOT CLEAN: {check.findings[0]}", file=sys.stderr)
        print(f"fsck.affs: {where} was kept; please report it", file=sys.stderr)
        status |= OPERATIONAL
    return status


def _look_at_target(source: str, options: argparse.Namespace) -> int | None:
    """The size of what is there, None for nothing. Errors: Refusal, OSError."""
    path = options.into
    there = existing_size(path)
    if there is None:
        return None
    if os.path.samefile(source, path):
        raise Refusal(f"{escape(path)} is the source itself, which is never written to")
    check_unused(path)
    found = contents(path)
    if found and not options.force:
        raise Refusal(f"{escape(path)} holds {found}; --force overwrites it")
    return there


def _choose_size(rebuild: Rebuild, options: argparse.Namespace, there: int | None) -> int:
    """Bytes of the new volume: what is asked for, what a device has, or what the source has."""
    size: int = options.size or rebuild.size_bytes
    if there is not None and stat.S_ISBLK(os.stat(options.into).st_mode):
        if options.size is not None and options.size > there:
            raise Refusal(f"{escape(options.into)} has {format_size(there)} only")
        size = options.size or there
    return size // BLOCK_SIZE * BLOCK_SIZE


def _write(
    rebuild: Rebuild, options: argparse.Namespace, size: int, *, new: bool
) -> tuple[RebuildReport, Report]:
    path = options.into
    try:
        if new or not stat.S_ISBLK(os.stat(path).st_mode):
            make_file(path, size)
        with open_device(path) as target:
            report = rebuild.write(target, MkfsOptions(size_bytes=size))
            check = verify_volume(target, data=True, progress=show_progress(options.progress_fd))
    except BaseException:
        if new:
            with contextlib.suppress(OSError):  # the first error is the one to tell
                os.unlink(path)
        raise
    return report, check


# ---- words ----


def _print(
    source: str, report: RebuildReport, check: Report | None, options: argparse.Namespace
) -> None:
    if options.json or options.ajis:
        value = {
            "source": source,
            "into": options.into,
            "dry_run": options.dry_run,
            "report": report.to_auv(),
            "check": None if check is None else check.to_auv(),
        }
        print_value(value, options)
        return
    name = escape(source)
    if not options.quiet:
        for note in report.notes:
            print(f"{name}: {escape(note)}")
    for note in report.ambiguous:
        print(f"{name}: not certain: {escape(note)}")
    for lost in report.lost_states:
        print(f"{name}: kept state lost: {escape(lost)}")
    for state in report.states:
        _print_state(name, state, options)
    if not options.quiet:
        print(f"{name}: {_summary(report, options)}")


def _print_state(name: str, state: StateReport, options: argparse.Namespace) -> None:
    shown = state.losses if options.verbose else state.losses[:LOSSES_SHOWN]
    where = f"{name}: state {escape(state.name)}"
    for loss in shown:
        if loss.kind not in QUIET or options.verbose:
            print(f"{where}: {escape(str(loss))}")
    if options.quiet:
        return
    for kind, count in sorted(state.counts.items()):
        print(f"{where}: {count} {KINDS.get(kind, kind)}")
    if state.lost_directory:
        print(f"{where}: what has no name is in {escape(state.lost_directory)}")
    how = "by pointers" if not state.by_births else "in part by births, where pointers were gone"
    expected = "" if state.objects_expected is None else f" of {state.objects_expected}"
    lost = f", {state.leaves_lost} leaves lost" if state.leaves_lost else ""
    print(
        f"{where}: {state.objects}{expected} objects, {state.names} names,"
        f" {format_size(state.data_bytes)} of data, {format_size(state.lost_data_bytes)} lost"
        f" ({state.leaves} leaves {how}{lost})"
    )


def _summary(report: RebuildReport, options: argparse.Namespace) -> str:
    whole = "nothing is known to be lost" if report.whole else "something is LOST"
    done = "would be recovered" if options.dry_run else f"recovered into {escape(options.into)}"
    gone = f", {report.nodes_gone} gone" if report.nodes_gone else ""
    bad = f", {report.unreadable_blocks} blocks unreadable" if report.unreadable_blocks else ""
    more = f", {report.system_items} settings and log entries" if report.system_items else ""
    more += f", {report.authors} authors" if report.authors else ""
    return (
        f"{len(report.states)} states{more} {done}: {whole} ({report.nodes} nodes found,"
        f" {report.nodes_misplaced} out of place{gone}{bad})"
    )
