"""`slow`: what took long."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import Integer, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.slow import KEPT_MAX

__all__ = ["SLOW"]


@dataclass(frozen=True, slots=True)
class Options:
    limit: int = option(
        Integer(minimum=1, maximum=KEPT_MAX), "how many at most", short="-l", default=50
    )


async def _run(context: Context, options: Options) -> Value:
    return context.observation.slow.newest(options.limit)


SLOW = Command(
    name="slow",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="the newest commands and requests of the kernel that took long",
    description=(
        f"Longer than the mount option `slow` (a second unless it says otherwise). The newest "
        f"{KEPT_MAX} since the daemon began; each is a line of its log, too. `watch` never counts: "
        "it lasts as long as somebody watches."
    ),
    options=Options,
    run=_run,
    result=Schema(
        Shape.TABLE,
        (
            Field("time_ns", "Ended", FieldKind.TIME),
            Field("seconds", "Took", FieldKind.DURATION),
            Field("what", "What"),
            Field("name", "Name"),
            Field("user", "User"),
            Field("trace", "Trace", FieldKind.ID, wide=True),
        ),
    ),
    examples=(Example("slow --limit 10", "what has been slow lately?"),),
)
