"""fsck.affs --repair: check, plan, rehearse in memory, write, check again (docs/storage.md).

The volume stays locked from the first check to the last. With -n the plan is printed and nothing is
written: the device is opened for reading.
"""

import argparse
import time
from dataclasses import dataclass

from affs_fuse.device.device import Device
from affs_fuse.device.file import open_device
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume.opening import OpenOptions
from affs_fuse.volume.repair import Plan, Repair, make_plan, rehearse, repair
from affs_fuse.volume.verify import Report, examine_volume, verify_volume
from affs_tools.fsck_words import (
    end_progress,
    print_findings,
    print_value,
    show_progress,
    summary,
)
from affs_tools.text import escape

__all__ = ["repair_volume"]

OK, CORRECTED, UNCORRECTED = 0, 1, 4

WHY_LEFT = {
    "verify.node": "a lost node cannot be made up; roll back to a whole state, or use --rebuild",
    "verify.unreadable": "what cannot be read cannot be made up",
    "verify.data": "the data is lost; take the file from a kept state or a copy",
    "verify.superblock": "no whole copy proves what should be there",
    "verify.ring_slot": "neither ring has the record; 64 commits write over it",
    "verify.no_commit": "--rebuild recovers what the leaves hold",
    "verify.index": "mount the volume, and `affsctl reindex` makes it anew from the records",
    "verify.ring_conflict": "two hosts wrote; nobody knows which commit is the newest",
}
"""Why a finding is left alone; others are a matter of judgement, or lie in a kept state."""

KEPT = "kept states are never changed; delete it once it is not needed"
JUDGEMENT = "nothing proves which side is right"


@dataclass(slots=True)
class Outcome:
    """What became of one repair. after: None where nothing was planned."""

    before: Report
    plan: Plan
    after: Report | None
    done: list[Repair]
    written: int


def repair_volume(path: str, options: argparse.Namespace) -> int:
    """Errors: AffsError, OSError."""
    with open_device(path, read_only=options.dry_run) as device:
        outcome = _run(device, options)
    end_progress(options.progress_fd)
    _print(path, outcome, options)
    left = outcome.after or outcome.before
    status = OK if left.clean else UNCORRECTED
    return status | (CORRECTED if outcome.done and not options.dry_run else OK)


def _run(device: Device, options: argparse.Namespace) -> Outcome:
    progress = show_progress(options.progress_fd)
    found = examine_volume(device, data=options.data, progress=progress)
    plan = make_plan(device, found)
    opening = OpenOptions(sleep=time.sleep)
    if not plan.repairs:
        return Outcome(found.report, plan, None, [], 0)
    try:
        after, written = rehearse(device, plan, found.report, opening)
    except AffsError as error:
        if error.category is not Category.CORRUPT and error.code != "volume.no_space":
            raise
        plan = _without_commit(plan, error.message)
        if not plan.repairs:
            return Outcome(found.report, plan, None, [], 0)
        after, written = rehearse(device, plan, found.report, opening)
    if not options.dry_run:
        repair(device, plan, opening)
        after = verify_volume(device, data=options.data, progress=progress)
    elif options.data:
        after.findings += [each for each in found.report.findings if each.code == "verify.data"]
    return Outcome(found.report, plan, after, plan.repairs, written)


def _without_commit(plan: Plan, reason: str) -> Plan:
    """What lies at fixed places can be put right all the same."""
    places = {f"@{write.offset // 4096}" for write in plan.blocks}
    kept = [each for each in plan.repairs if each.where in places]
    return Plan(repairs=kept, blocks=plan.blocks, refusal=reason)


def _print(path: str, outcome: Outcome, options: argparse.Namespace) -> None:
    left = outcome.after or outcome.before
    if options.json or options.ajis:
        value = {
            "volume": path,
            "before": outcome.before.to_auv(),
            "repairs": [each.to_auv() for each in outcome.done],
            "written_bytes": outcome.written,
            "dry_run": options.dry_run,
            "refusal": outcome.plan.refusal,
            "after": None if outcome.after is None else outcome.after.to_auv(),
        }
        print_value(value, options)
        return
    name = escape(path)
    print_findings(path, outcome.before, options)
    if not options.quiet:
        print(f"{name}: {summary(outcome.before, options.data)}")
    word = "would be repaired" if options.dry_run else "repaired"
    for each in outcome.done:
        print(f"{name}: {word}: {escape(str(each))}, {each.size_bytes} bytes")
    if outcome.plan.refusal and not outcome.before.clean:
        print(f"{name}: nothing in trees is repaired: {escape(outcome.plan.refusal)}")
    _print_left(name, left)
    if outcome.done and not options.quiet:
        wrote = "would write" if options.dry_run else "wrote"
        print(f"{name}: {summary(left, options.data)}; {wrote} {outcome.written} bytes")


def _print_left(name: str, left: Report) -> None:
    working = ("", "working")
    for finding in left.findings:
        if finding.code in ("verify.not_closed", "verify.state_unjudged"):
            continue
        why = WHY_LEFT.get(finding.code, JUDGEMENT if finding.state in working else KEPT)
        print(f"{name}: left: {escape(str(finding))}: {why}")
