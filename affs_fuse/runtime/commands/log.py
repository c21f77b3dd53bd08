"""`log`: the operation log."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import Integer, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["LOG"]

ENTRIES_MAX = 10_000
"""In one answer: about 5 MB, a third of the largest frame."""


@dataclass(frozen=True, slots=True)
class Options:
    limit: int = option(
        Integer(minimum=1, maximum=ENTRIES_MAX),
        "how many entries",
        short="-l",
        default=50,
    )


async def _run(context: Context, options: Options) -> Value:
    return await context.engine.operations(options.limit)


LOG = Command(
    name="log",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="who did what: the newest commands that changed the volume",
    description=(
        "The log belongs to the volume, not to a state: a rollback does not roll it back."
    ),
    options=Options,
    run=_run,
    result=Schema(
        Shape.TABLE,
        (
            Field("number", "No", FieldKind.COUNT),
            Field("time_ns", "Time", FieldKind.TIME),
            Field("user", "User"),
            Field("role", "Role", wide=True),
            Field("ok", "Ok", FieldKind.FLAG),
            Field("error", "Error"),
            Field("line", "Command"),
            Field("trace", "Trace", FieldKind.ID, wide=True),
        ),
    ),
    examples=(Example("log --limit 10", "what happened last?"),),
)
