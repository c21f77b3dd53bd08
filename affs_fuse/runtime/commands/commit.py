"""`commit`: the working state becomes durable."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import Text, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["COMMIT"]


@dataclass(frozen=True, slots=True)
class Options:
    message: str = option(Text(), "why, for the operation log", short="-m", default="")


async def _run(context: Context, options: Options) -> Value:
    return await context.engine.commit(options.message)


COMMIT = Command(
    name="commit",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group="Working",
    summary="make everything written so far durable",
    description=(
        "An atomic cut of the whole namespace, data that programs still hold in writable "
        "mappings included. When it answers, a crash no longer loses anything that was there "
        "when it began. It keeps no state to come back to: that is `checkpoint`."
    ),
    options=Options,
    run=_run,
    result=Schema(Shape.DOCUMENT, headline="Everything up to commit {seq} is durable."),
    examples=(Example("commit", "before pulling the plug"),),
)
