"""`diff`: what differs between two states."""

from contextlib import aclosing
from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.query.paths import exact_path, path_bytes
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import (
    Flag,
    Integer,
    PathText,
    StateReference,
    argument,
    option,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["DIFF"]

DIFFERENT_EXIT_STATUS = 4


@dataclass(frozen=True, slots=True)
class Options:
    a: str | None = argument(
        StateReference(), "from; without it, the published state", default=None
    )
    b: str | None = argument(StateReference(), "to; without it, the working state", default=None)
    path: str | None = option(PathText(), "only what lies below this path", short="-p")
    limit: int | None = option(Integer(minimum=1), "stop after so many changes", short="-l")
    exit_code: bool = option(Flag(), "let affsctl end with 4 when there are differences")


async def _run(context: Context, options: Options) -> Value:
    kinds: dict[str, int] = {"added": 0, "removed": 0, "changed": 0, "renamed": 0}
    growth = 0
    # One more than asked for tells whether there is more.
    top = context.path(options.path) if options.path is not None else None
    limit = None if options.limit is None or top is not None else options.limit + 1
    count = 0
    more = False
    async with aclosing(context.engine.diff(options.a, options.b, limit)) as changes:
        async for change in changes:
            if top is not None and not _touches(change, top):
                continue
            if count == options.limit:
                more = True
                break
            count += 1
            kinds[change["kind"]] += 1
            growth += change["bytes"]
            await context.reply.item(change)
    summary: dict[str, Value] = {**kinds, "count": count, "bytes": growth, "more": more}
    if options.exit_code and count:
        summary["exit_status"] = DIFFERENT_EXIT_STATUS
    return summary


def _touches(change: Plain, top: str) -> bool:
    """Whether it is at the path or below it, before or after."""
    wanted = path_bytes(top)
    places = [exact_path(change, key) for key in ("path", "from") if key in change]
    below = wanted.rstrip(b"/") + b"/"
    return any(path == wanted or path.startswith(below) for path in places)


DIFF = Command(
    name="diff",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="what differs between two states",
    description=(
        "Paths added, removed, changed and renamed, and by how many bytes each grew. `working` "
        "names the working state. Its cost is that of the difference, not of the volume."
    ),
    options=Options,
    run=_run,
    result=Schema(
        Shape.STREAM,
        (
            Field("kind", "Change"),
            Field("what", "What", FieldKind.LIST),
            Field("bytes", "Growth", FieldKind.GROWTH),
            Field("path", "Path", FieldKind.PATH),
            Field("from", "From", FieldKind.PATH),
        ),
        summary=(
            Field("added", "added", FieldKind.COUNT),
            Field("removed", "removed", FieldKind.COUNT),
            Field("changed", "changed", FieldKind.COUNT),
            Field("renamed", "renamed", FieldKind.COUNT),
            Field("bytes", "growth", FieldKind.GROWTH),
            Field("more", "there is more", FieldKind.FLAG),
        ),
    ),
    errors=("state.not_found", "state.ambiguous"),
    examples=(
        Example("diff", "what have I done since it was published?"),
        Example("diff before-upgrade after-upgrade", "between two kept states"),
        Example("diff @ working --limit 20", "the first changes since the newest kept state"),
    ),
)
