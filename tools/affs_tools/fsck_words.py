"""What the parts of fsck.affs print: progress, findings, one line that sums a check up."""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any

from affs_fuse import auv
from affs_fuse.volume.verify import Progress, Report, Severity
from affs_tools.text import escape

__all__ = [
    "end_progress",
    "print_findings",
    "print_report",
    "print_value",
    "show_progress",
    "summary",
]


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



def end_progress(descriptor: int | None) -> None:
    """Take the line away again."""
    if descriptor == 0 and sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)


def print_report(path: str, report: Report, options: argparse.Namespace) -> None:
    if options.json or options.ajis:
        print_value({"volume": path, **report.to_auv()}, options)
        return
    print_findings(path, report, options)
    if not options.quiet:
        print(f"{escape(path)}: {summary(report, options.data)}")


def print_value(value: dict[str, Any], options: argparse.Namespace) -> None:
    """One document."""
    print(auv.format_json(value) if options.json else auv.format_canonical(value))


def print_findings(path: str, report: Report, options: argparse.Namespace) -> None:
    for finding in report.findings:
        if finding.severity is not Severity.NOTE or options.verbose:
            print(f"{escape(path)}: {escape(str(finding))}")
    if report.findings_dropped:
        print(f"{escape(path)}: and {report.findings_dropped} more")


def summary(report: Report, data: bool) -> str:
    errors = report.count(Severity.ERROR) + report.findings_dropped
    warnings = report.count(Severity.WARNING)
    found = "clean" if report.clean else "1 ERROR" if errors == 1 else f"{errors} ERRORS"
    if warnings:
        found += ", 1 warning" if warnings == 1 else f", {warnings} warnings"
    looked = (
        f"commit {report.seq}, {report.states} states, {report.objects} objects,"
        f" {report.nodes} nodes, {report.items} items"
    )
    checked = f", {report.data_blocks_checked} data blocks" if data else ""
    return f"{found} ({looked}{checked})"
