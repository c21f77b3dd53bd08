"""`pin`: one pin more."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import StateReference, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["PIN"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str = argument(StateReference(), "which one")


async def _run(context: Context, options: Options) -> Value:
    state = await context.engine.pin(options.state)
    pins = state["pins"]
    context.effects.note({"pins": {state["id"]: pins - 1}}, {"pins": {state["id"]: pins}})
    return state


PIN = Command(
    name="pin",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group="Keeping",
    summary="protect a kept state from deletion",
    description="Pins are counted: a state can be deleted when every pin is released.",
    options=Options,
    run=_run,
    result=Schema(Shape.DOCUMENT, headline="Pinned {}; pins now: {pins}."),
    errors=("state.not_found", "state.ambiguous"),
    examples=(Example("pin before-upgrade", "keep it for good"),),
)
