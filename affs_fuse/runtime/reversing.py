"""Taking back one operation of the log: from what it left behind to what was there before.

An undo reverses an operation, a redo an undo (undoing.py); both are done here, and noted as effects
that can be reversed in turn; of records they are logged in the turn of the change.
Invariant: what is not as the operation left it is left alone; the error says what came in between.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Context
from affs_fuse.runtime.expectation import Basis
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.retention import Rules
from affs_fuse.volume.settings import SettingKind

__all__ = ["check_reversible", "reverse"]

STATES_KEYS = ("published", "kept", "pins")


def check_reversible(entry: Plain) -> None:
    """conflict: undo.impossible, which says why."""
    number, command = entry["number"], entry["command"]
    if entry.get("too_large"):
        raise _impossible(
            entry, f"operation {number} ({command}) changed more than its log entry could hold",
            "a rollback to a kept state brings back records, `restore` deleted states one by one",
        )
    before = entry["before"]
    if "working" in before and before["working"] is None:
        raise _impossible(
            entry, f"operation {number} ({command} --discard) kept nothing of what it left",
            "`checkpoints` lists the states that can be returned to",
        )


async def reverse(context: Context, entry: Plain, expect: Basis = None) -> Plain:
    """Makes it so that the entry's `before` holds again. Its effect is noted. What it did: words,
    and the answer of the engine. expect: of a rollback that it takes. conflict: undo.impossible,
    state.changed, setting.changed, collection.changed, record.changed, plan.stale."""
    check_reversible(entry)
    before, after = entry["before"], entry["after"]
    done: Plain = {"operation": entry["number"], "command": entry["command"], "line": entry["line"]}
    if "records" in before:
        logged = partial(context.effects.entry, undoes=entry["number"])
        number = entry["number"]
        rows: Sequence[Plain]
        if "collections" in before:
            rows = await context.engine.collections.take_back(
                number, after["collections"], before["collections"], context.session.identity,
                logged,
            )  # fmt: skip
        else:
            rows = await context.engine.take_back_records(number, context.session, logged)
        shown = [{key: row[key] for key in row if key != "before"} for row in rows]
        return {**done, "records": shown}
    if "working" in before:
        answer = await _roll_back(context, entry, expect)
        context.effects.note(
            {"working": answer["left"]}, {"working": answer["target"]["id"]},
            undoes=entry["number"],
        )
        return {**done, "rollback": answer}
    if "collections" in before:
        await context.engine.collections.put_back(
            after["collections"], before["collections"], context.session.identity
        )
    elif "settings" in before:
        await _change_settings(context, after["settings"], before["settings"])
    else:
        rules = Rules.of(context.engine.settings)
        was = {key: after[key] for key in STATES_KEYS if key in after}
        will = {key: before[key] for key in STATES_KEYS if key in before}
        await context.engine.change_states(was, will, grace_s=rules.grace_s)
    context.effects.note(after, before, undoes=entry["number"])
    return done


async def _roll_back(context: Context, entry: Plain, expect: Basis) -> Plain:
    try:
        return await context.engine.rollback(
            entry["before"]["working"], author=context.author, expect=expect
        )
    except AffsError as error:
        if error.code != "state.not_found":
            raise
    raise _impossible(
        entry, f"the state {entry['before']['working'][:12]} that it left is kept no longer",
        "if `checkpoints --all` still shows it, `restore` brings it back",
    )


async def _change_settings(context: Context, was: list[list[Any]], will: list[list[Any]]) -> None:
    """conflict: setting.changed, unless they are as `was` says."""
    old, new = (
        {(SettingKind(kind), number): value for kind, number, value in side} for side in (was, will)
    )
    await context.engine.settings.change(new, expect=old)


def _impossible(entry: Plain, message: str, hint: str) -> AffsError:
    others = "`undo --operation N` undoes an earlier one"
    return AffsError(
        "undo.impossible", Category.CONFLICT, message, hint=f"{hint}; {others}",
        details={"operation": entry["number"]},
    )
