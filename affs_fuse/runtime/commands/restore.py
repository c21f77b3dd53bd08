"""`restore`: a deleted state comes back."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import StateReference, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["RESTORE"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str = argument(StateReference(), "which one, by its label or id")


async def _run(context: Context, options: Options) -> Value:
    state = await context.engine.restore_state(options.state)
    context.effects.note({"kept": {state["id"]: False}}, {"kept": {state["id"]: True}})
    return state


RESTORE = Command(
    name="restore",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Keeping",
    summary="bring back a deleted state that is still whole",
    description=(
        "`checkpoints --all` shows deleted states, and until when each can be restored. A writer "
        "that needs their room ends that time."
    ),
    options=Options,
    run=_run,
    result=Schema(Shape.DOCUMENT, headline="Restored {}."),
    errors=("state.not_found", "state.ambiguous", "state.reclaimed", "state.label_taken"),
    examples=(Example("restore before-upgrade", "I still need it"),),
)
