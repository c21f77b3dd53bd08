"""`ping`: is somebody there?"""

from affs_fuse import __version__
from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind, NoOptions
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Schema, Shape

__all__ = ["PING"]


async def _run(context: Context, options: NoOptions) -> Value:
    return {"version": __version__, "time_ns": context.clock.now_ns()}


PING = Command(
    name="ping",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Asking",
    summary="see whether the runtime answers",
    description="Touches neither the engine nor the volume.",
    options=NoOptions,
    run=_run,
    essential=True,
    result=Schema(Shape.DOCUMENT, headline="AfFS {version} answers."),
    examples=(Example("ping", "is the daemon alive?"),),
)
