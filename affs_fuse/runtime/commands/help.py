"""`help`: the registry for people."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.helptext import command_text, overview_text
from affs_fuse.runtime.parameters import CommandName, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["HELP"]


@dataclass(frozen=True, slots=True)
class Options:
    topic: str | None = argument(CommandName(), "a command; without it, the list", default=None)


async def _run(context: Context, options: Options) -> Value:
    if options.topic is None:
        return {"topic": None, "text": overview_text(context.catalogue.all())}
    command = context.catalogue.find(options.topic)
    return {"topic": command.name, "text": command_text(command)}


HELP = Command(
    name="help",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Asking",
    summary="the commands, or one of them in full",
    description="`COMMAND --help` is the same as `help COMMAND`.",
    options=Options,
    run=_run,
    essential=True,
    result=Schema(Shape.TEXT),
    examples=(Example("help", "what can I say?"), Example("help rollback", "one command in full")),
)
