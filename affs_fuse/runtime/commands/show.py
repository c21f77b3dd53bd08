"""`show`: one kept state."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import StateReference, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import FREES_FIELD, STATE_FIELDS, Field, FieldKind, Schema, Shape

__all__ = ["SHOW"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str = argument(StateReference(), "which one")


async def _run(context: Context, options: Options) -> Value:
    state = await context.engine.resolve_state(options.state)
    return {**state, "frees_bytes": await context.engine.frees(state["id"])}


SHOW = Command(
    name="show",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="everything about one kept state",
    description=(
        "A state is named by its id or any unambiguous beginning of it (4 digits at least), its "
        "label, `published`, `published~1` (the one published before), `@` (the newest kept), "
        "`@~2` (two before that), or `#17` (the one of commit 17; a shell wants it quoted). "
        "`Frees` is what deleting this state alone would free now."
    ),
    options=Options,
    run=_run,
    result=Schema(
        Shape.DOCUMENT, (*STATE_FIELDS, FREES_FIELD, Field("parent", "Parent", FieldKind.ID))
    ),
    errors=("state.not_found", "state.ambiguous"),
    examples=(
        Example("show published", "what does the volume vouch for?"),
        Example("show @~1", "the kept state before the newest"),
    ),
)
