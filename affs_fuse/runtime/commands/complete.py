"""`complete`: what could come next in a line, for shells."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.completion import completions
from affs_fuse.runtime.parameters import (
    SOURCE_HOOKS,
    SOURCE_PERSONALITIES,
    Integer,
    Text,
    argument,
    option,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.query_completion import query_completions
from affs_fuse.runtime.results import Field, Schema, Shape
from affs_fuse.runtime.words import LINE_CHARACTERS_MAX

__all__ = ["COMPLETE"]


@dataclass(frozen=True, slots=True)
class Options:
    line: str = argument(Text(4 * LINE_CHARACTERS_MAX), "the line so far", default="")
    cursor: int | None = option(
        Integer(minimum=0), "characters in front of the cursor; without it, all of them"
    )


async def _run(context: Context, options: Options) -> Value:
    states = await context.engine.states()
    line = options.line if options.cursor is None else options.line[: options.cursor]
    found = completions(context.catalogue, states, line, _names(context))
    inside = await query_completions(
        context.catalogue, states, line, context.engine.collections, context.session.identity,
        context.path,
    )
    return {**found, **inside} if inside is not None else found


def _names(context: Context) -> dict[str, list[tuple[str, str]]]:
    packages = [(row["name"], row["title"]) for row in context.personalities.list()]
    hooks = context.observation.hooks
    return {
        SOURCE_PERSONALITIES: [*packages, ("none", "everything, as it is without one")],
        SOURCE_HOOKS: [(one.name, one.action) for one in hooks.all()] if hooks else [],
    }


COMPLETE = Command(
    name="complete",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Asking",
    summary="candidates for what comes next in a line",
    description=(
        "The answer names the place (column, length) that a candidate replaces, and for each "
        "candidate the text to put there, its kind and a word about it."
    ),
    options=Options,
    run=_run,
    essential=True,
    result=Schema(
        Shape.DOCUMENT,
        (Field("column", "Column"), Field("length", "Length"), Field("candidates", "Candidates")),
    ),
    examples=(Example("complete 'rollback --d'", "what fits here?"),),
    hidden=True,
)
