"""`checkpoint`: commit, and keep the state."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import Label, Text, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["CHECKPOINT"]


@dataclass(frozen=True, slots=True)
class Options:
    label: str = option(Label(), "a name of its own, unique in the volume", short="-l", default="")
    message: str = option(Text(), "why it is kept", short="-m", default="")


async def _run(context: Context, options: Options) -> Value:
    state = await context.engine.checkpoint(options.label, options.message, context.author)
    context.effects.note({"kept": {state["id"]: False}}, {"kept": {state["id"]: True}})
    return state


CHECKPOINT = Command(
    name="checkpoint",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group="Working",
    summary="commit, and keep the state under an id and a label",
    description=(
        "The state stays as it is until it is deleted: browse it under `.affs/checkpoints/`, "
        "compare with it, go back to it."
    ),
    options=Options,
    run=_run,
    result=Schema(Shape.DOCUMENT, headline="Kept as {}."),
    errors=("state.label_taken",),
    examples=(
        Example("checkpoint -l before-upgrade", "a state to come back to"),
        Example('checkpoint -m "all tests green"', "with a word about why"),
    ),
)
