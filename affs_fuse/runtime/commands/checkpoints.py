"""`checkpoints`: the kept states."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import Flag, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import FREES_FIELD, STATE_FIELDS, Schema, Shape

__all__ = ["CHECKPOINTS"]


@dataclass(frozen=True, slots=True)
class Options:
    all: bool = option(
        Flag(), "hidden states too: deleted ones that still wait for others", short="-a"
    )
    sizes: bool = option(Flag(), "count for each what deleting it alone would free now")


async def _run(context: Context, options: Options) -> Value:
    states = await context.engine.states(options.all)
    if options.sizes:
        for state in states:
            if {"hidden", "doomed"}.intersection(state["flags"]):
                continue
            state["frees_bytes"] = await context.engine.frees(state["id"])
    return states


CHECKPOINTS = Command(
    name="checkpoints",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="the kept states, oldest first",
    description="Checkpoints, published states, and what rollbacks put aside (flag `automatic`).",
    options=Options,
    run=_run,
    result=Schema(Shape.TABLE, (*STATE_FIELDS, FREES_FIELD)),
    examples=(
        Example("checkpoints", "what can I go back to?"),
        Example("checkpoints --sizes", "which of them is worth deleting?"),
    ),
)
