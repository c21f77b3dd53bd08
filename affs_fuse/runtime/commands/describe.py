"""`describe`: the registry as a value, for programs."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import CommandName, Text, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape
from affs_fuse.runtime.words import LINE_CHARACTERS_MAX

__all__ = ["DESCRIBE"]


@dataclass(frozen=True, slots=True)
class Options:
    topic: str | None = argument(CommandName(), "a command; without it, all", default=None)
    line: str | None = option(Text(4 * LINE_CHARACTERS_MAX), "the command that this line means")


async def _run(context: Context, options: Options) -> Value:
    if options.line is not None:
        return context.catalogue.parse_line(options.line).command.describe()
    if options.topic is not None:
        return context.catalogue.find(options.topic).describe()
    return {"commands": [command.describe() for command in context.catalogue.all()]}


DESCRIBE = Command(
    name="describe",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Asking",
    summary="commands with parameters, types, roles, results and examples, as a value",
    description="Everything a client needs to offer a command it has never heard of.",
    options=Options,
    run=_run,
    essential=True,
    result=Schema(Shape.DOCUMENT),
    examples=(Example("describe rollback", "all about one command"),),
)
