"""`unpin`: one pin less."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import StateReference, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["UNPIN"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str = argument(StateReference(), "which one")


async def _run(context: Context, options: Options) -> Value:
    return await context.engine.unpin(options.state)


UNPIN = Command(
    name="unpin",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Keeping",
    summary="release one pin of a kept state",
    description="With the last pin gone the state can be deleted, and retention may do so.",
    options=Options,
    run=_run,
    result=Schema(Shape.DOCUMENT, headline="Unpinned {}; pins now: {pins}."),
    errors=("state.not_found", "state.ambiguous", "state.not_pinned"),
    examples=(Example("unpin before-upgrade", "it may go"),),
)
