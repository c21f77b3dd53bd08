"""`publish`: what the volume vouches for."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.parameters import StateReference, Text, argument, option
from affs_fuse.runtime.plans import (
    CHANGES_FIELDS,
    UNDO_FIELDS,
    changes_between,
    undo_possible,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["PUBLISH"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str | None = argument(
        StateReference(), "a kept state; without it, the working state", default=None
    )
    message: str = option(Text(), "what is published", short="-m", default="")


async def _run(context: Context, options: Options) -> Value:
    state = await context.engine.publish(
        options.state, options.message, context.author, expect=context.expect
    )
    before: Plain = {"published": state["previous"]}
    after: Plain = {"published": state["id"]}
    if options.state is None:
        before["kept"], after["kept"] = {state["id"]: False}, {state["id"]: True}
    context.effects.note(before, after)
    return state


async def _plan(context: Context, options: Options) -> Plan:
    engine = context.engine
    answer = await engine.publish(options.state, "", context.author, dry_run=True)
    previous = answer["previous"]
    start = previous["id"] if previous is not None else None
    changes = await changes_between(engine, start, options.state or "working")
    how = "publishes the previous state again" if previous else "leaves nothing published"
    return Plan.made({**answer, **changes, "undo": undo_possible(how, None)})


PUBLISH = Command(
    name="publish",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group="Working",
    summary="commit, keep the state and make it the published one",
    description=(
        "One atomic step. `rollback` goes back to it, `.affs/published/` shows it. The state "
        "that was published before stays in the list of checkpoints, and `undo` publishes it again."
    ),
    options=Options,
    run=_run,
    plan=_plan,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT,
        headline="Published {}.",
        plan=(
            Field("state", "Would publish", FieldKind.STATE),
            Field("previous", "In place of", FieldKind.STATE),
            *CHANGES_FIELDS,
            *UNDO_FIELDS,
        ),
    ),
    errors=("state.not_found", "state.ambiguous"),
    examples=(
        Example('publish -m "release 4"', "vouch for what is there now"),
        Example("publish before-upgrade", "vouch for a state that was kept earlier"),
    ),
)
