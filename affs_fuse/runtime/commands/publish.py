"""`publish`: what the volume vouches for."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import StateReference, Text, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["PUBLISH"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str | None = argument(
        StateReference(), "a kept state; without it, the working state", default=None
    )
    message: str = option(Text(), "what is published", short="-m", default="")


async def _run(context: Context, options: Options) -> Value:
    return await context.engine.publish(options.state, options.message, context.author)


PUBLISH = Command(
    name="publish",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group="Working",
    summary="commit, keep the state and make it the published one",
    description=(
        "One atomic step. `rollback` goes back to it, `.affs/published/` shows it. The state "
        "that was published before stays in the list of checkpoints."
    ),
    options=Options,
    run=_run,
    result=Schema(Shape.DOCUMENT, headline="Published {}."),
    errors=("state.not_found", "state.ambiguous"),
    examples=(
        Example('publish -m "release 4"', "vouch for what is there now"),
        Example("publish before-upgrade", "vouch for a state that was kept earlier"),
    ),
)
