"""`df`: where the space is."""

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind, NoOptions
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["DF"]


async def _run(context: Context, options: NoOptions) -> Value:
    return await context.engine.space()


DF = Command(
    name="df",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="where the space is",
    description=(
        "What the working state uses, what only kept states hold (deleting them frees it), what "
        "is freed but not yet usable, and what is left for writers."
    ),
    options=NoOptions,
    run=_run,
    result=Schema(
        Shape.DOCUMENT,
        (
            Field("total", "Size", FieldKind.SIZE),
            Field("used", "Used", FieldKind.SIZE),
            Field("live", "  by the working state", FieldKind.SIZE),
            Field("kept", "  by kept states alone", FieldKind.SIZE),
            Field("reclaimable", "To be reclaimed", FieldKind.SIZE),
            Field("reserved", "Reserved", FieldKind.SIZE),
            Field("free", "Free", FieldKind.SIZE),
            Field("available", "Available to writers", FieldKind.SIZE),
            Field("objects", "Objects", FieldKind.COUNT),
            Field("objects_free", "Objects left", FieldKind.COUNT),
        ),
    ),
    examples=(Example("df", "why is it full?"),),
)
