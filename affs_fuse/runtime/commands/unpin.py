"""`unpin`: one pin less."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.parameters import StateReference, argument
from affs_fuse.runtime.plans import UNDO_FIELDS, undo_possible
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["UNPIN"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str = argument(StateReference(), "which one")


async def _run(context: Context, options: Options) -> Value:
    state = await context.engine.unpin(options.state, expect=context.expect)
    pins = state["pins"]
    context.effects.note({"pins": {state["id"]: pins + 1}}, {"pins": {state["id"]: pins}})
    return state


async def _plan(context: Context, options: Options) -> Plan:
    answer = await context.engine.unpin(options.state, dry_run=True)
    pins = answer["state"]["pins"] - 1
    undo = undo_possible("pins it again", None)
    return Plan.made({**answer, "pins": pins, "deletable": pins <= 0, "undo": undo})


UNPIN = Command(
    name="unpin",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Keeping",
    summary="release one pin of a kept state",
    description="With the last pin gone the state can be deleted, and retention may do so.",
    options=Options,
    run=_run,
    plan=_plan,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT,
        headline="Unpinned {}; pins now: {pins}.",
        plan=(
            Field("state", "Would unpin", FieldKind.STATE),
            Field("pins", "Pins left", FieldKind.COUNT),
            Field("deletable", "Can then be deleted", FieldKind.FLAG),
            *UNDO_FIELDS,
        ),
    ),
    errors=("state.not_found", "state.ambiguous", "state.not_pinned"),
    examples=(Example("unpin before-upgrade", "it may go"),),
)
