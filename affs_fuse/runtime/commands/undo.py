"""`undo` and `redo`: operations of the log are taken back, and done again."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, NoOptions, Plan
from affs_fuse.runtime.parameters import Integer, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.reversing import check_reversible, reverse
from affs_fuse.runtime.undoing import changes_something, find_redo, find_undo, in_force

__all__ = ["REDO", "UNDO"]

ENTRIES_SEARCHED = 5000
COUNT_MAX = 100

_FIELDS = (
    Field("operation", "No", FieldKind.COUNT),
    Field("command", "What"),
    Field("line", "Line"),
)


@dataclass(frozen=True, slots=True)
class Options:
    count: int = argument(Integer(minimum=1, maximum=COUNT_MAX), "how many operations", default=1)
    operation: int | None = option(
        Integer(minimum=1), "take back this one alone, by its number in `log`"
    )


async def _chosen(context: Context, options: Options) -> list[Plain]:
    """The operations that are to be taken back, newest first."""
    entries = await context.engine.operations(ENTRIES_SEARCHED)
    if options.operation is not None:
        return [_by_number(entries, options.operation)]
    found = find_undo(entries, options.count)
    if len(found) < options.count:
        raise AffsError(
            "undo.nothing",
            Category.NOT_FOUND,
            f"there are {len(found)} operations to undo" if found else "there is nothing to undo",
            hint="`log` shows what was done",
        )
    return found


def _by_number(entries: list[Plain], number: int) -> Plain:
    found = [entry for entry in entries if entry["number"] == number]
    if not found or not changes_something(found[0]):
        raise AffsError(
            "undo.nothing",
            Category.NOT_FOUND,
            f"operation {number} is not in the log" if not found
            else f"operation {number} ({found[0]['command']}) changed nothing to take back",
            hint="`log` shows what was done",
        )
    if number not in in_force(entries):
        raise AffsError(
            "undo.nothing", Category.NOT_FOUND, f"operation {number} is undone already",
            hint="`redo` does it again",
        )
    return found[0]


async def _plan_of(context: Context, entries: list[Plain]) -> Plan:
    """The first rollback among them is planned as it would be now; so are changes of records, as
    far as none is taken back before them."""
    planned: list[Value] = []
    changes: list[Value] = []
    rollback: Plain | None = None
    for entry in entries:
        check_reversible(entry)
        step: Plain = {
            "operation": entry["number"], "command": entry["command"], "line": entry["line"],
            "user": entry["user"], "time_ns": entry["time_ns"],
            "before": entry["after"], "after": entry["before"],
        }
        if "working" in entry["before"] and rollback is None:
            rollback = await context.engine.rollback(entry["before"]["working"], dry_run=True)
            step["rollback"] = {key: rollback[key] for key in rollback if key != "basis"}
        if entry["before"].keys() == {"records"} and not planned:
            plan = await context.engine.plan_taking_back(entry["number"], context.session)
            changes = plan["changes"]
        planned.append(step)
    basis: list[Value] = [
        [entry["number"] for entry in entries],
        rollback["basis"] if rollback is not None else None,
    ]
    undo = {"possible": True, "how": "`redo` does it again", "until_ns": None, "why": ""}
    return Plan({"operations": planned, "changes": changes, "undo": undo}, basis)


async def _reverse_all(context: Context, entries: list[Plain]) -> list[Plain]:
    numbers: list[Value] = [entry["number"] for entry in entries]
    expected: Value = None
    if isinstance(context.expect, list):
        if context.expect[0] != numbers:
            raise AffsError(
                "plan.stale", Category.CONFLICT, "something was done since this plan was made"
            )
        expected = context.expect[1]
    done = []
    for entry in entries:
        rolls_back = "working" in entry["before"]
        done.append(await reverse(context, entry, expected if rolls_back else None))
        expected = None if rolls_back else expected
    return done


async def _undo(context: Context, options: Options) -> Value:
    return {"undone": await _reverse_all(context, await _chosen(context, options))}


async def _plan_undo(context: Context, options: Options) -> Plan:
    return await _plan_of(context, await _chosen(context, options))


async def _last_undo(context: Context) -> Plain:
    entry = find_redo(await context.engine.operations(ENTRIES_SEARCHED))
    if entry is None:
        raise AffsError(
            "undo.nothing",
            Category.NOT_FOUND,
            "there is no undo to be taken back, or something else was done since",
            hint="`log` shows what was done",
        )
    return entry


async def _redo(context: Context, options: NoOptions) -> Value:
    return {"redone": await _reverse_all(context, [await _last_undo(context)])}


async def _plan_redo(context: Context, options: NoOptions) -> Plan:
    return await _plan_of(context, [await _last_undo(context)])


_PLAN_FIELDS = (
    Field("operations", "Would take back", FieldKind.LIST),
    Field("changes", "Would change", FieldKind.LIST, wide=True),
)
_ERRORS = (
    "undo.nothing", "undo.impossible", "state.changed", "setting.changed", "collection.changed",
    "record.changed", "record.schema", "record.denied", "state.reclaimed", "state.label_taken",
    "state.pinned",
)  # fmt: skip

UNDO = Command(
    name="undo",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Working",
    summary="take back what the last commands changed",
    description=(
        "Works on the operation log: a checkpoint is deleted again, a publication moved back, a "
        "rollback left again for what it had put aside, a deleted state restored as long as it is "
        "whole, settings and pins set to what they were; records become what they were, unless "
        "somebody changed them since. Commits are not taken back: `rollback` "
        "and `restore` return to what was kept. What an undo gives up is kept in turn, so `redo` "
        "brings it back."
    ),
    options=Options,
    run=_undo,
    plan=_plan_undo,
    danger=Danger.REVERSIBLE,
    result=Schema(Shape.DOCUMENT, (Field("undone", "Undone", FieldKind.LIST),), plan=_PLAN_FIELDS),
    errors=_ERRORS,
    examples=(
        Example("undo --dry-run", "what would be taken back?"),
        Example("undo", "take it back"),
        Example("undo 3", "the last three, newest first"),
        Example("undo --operation 17", "only number 17 of `log`"),
    ),
)

REDO = Command(
    name="redo",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Working",
    summary="do again what the last undo took back",
    description=(
        "As long as nobody did anything else since; `undo --operation` takes back a single "
        "operation whatever came later."
    ),
    options=NoOptions,
    run=_redo,
    plan=_plan_redo,
    danger=Danger.REVERSIBLE,
    result=Schema(Shape.DOCUMENT, (Field("redone", "Redone", FieldKind.LIST),), plan=_PLAN_FIELDS),
    errors=_ERRORS,
    examples=(Example("redo", "no, it was right"),),
)
