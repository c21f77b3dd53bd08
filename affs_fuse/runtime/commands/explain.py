"""`explain`: how a query would be worked off, or was."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.commands.find import QUERY_ERRORS, QueryOptions, asker_of
from affs_fuse.runtime.parameters import Flag, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["EXPLAIN"]


@dataclass(frozen=True, slots=True)
class Options(QueryOptions):
    analyze: bool = option(Flag(), "run the query and tell what happened", short="-a")


async def _run(context: Context, options: Options) -> Value:
    first, _, rest = options.query.partition(" ")
    analyze = options.analyze or first.lower() == "analyze"
    line = rest.lstrip() if first.lower() == "analyze" else options.query
    steps, summary = await context.engine.explain(
        line, asker_of(context, options), analyze=analyze
    )
    for step in steps:
        await context.reply.item(step)
    return summary


EXPLAIN = Command(
    name="explain",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Records and queries",
    summary="the steps of a query with estimates, or with what happened",
    description=(
        "One row for each step: what it does, and how many rows are expected to come out, by rules "
        "of thumb. `explain analyze QUERY` runs the query, throws its rows away, and adds how many "
        "went in and came out, the time, and how much was kept in memory."
    ),
    options=Options,
    run=_run,
    result=Schema(
        Shape.STREAM,
        (
            Field("step", "Step"),
            Field("rows", "Estimate", FieldKind.COUNT),
            Field("in", "In", FieldKind.COUNT),
            Field("out", "Out", FieldKind.COUNT),
            Field("text", "What"),
            Field("inside", "Inside", wide=True),
        ),
        summary=(
            Field("files", "files", FieldKind.COUNT),
            Field("rows", "rows", FieldKind.COUNT),
            Field("seconds", "time", FieldKind.DURATION),
            Field("memory_bytes", "memory", FieldKind.SIZE),
        ),
    ),
    errors=QUERY_ERRORS,
    examples=(
        Example("explain find /people where age > 30 | sort age | limit 3", "before it runs"),
        Example("explain analyze find /people where age > 30 | count", "what it costs"),
    ),
)
