"""`status`: the volume, its states and its space on one screen."""

import os

from affs_fuse.auv import Value
from affs_fuse.protocol import path_fields
from affs_fuse.runtime.command import Command, Context, Example, Kind, NoOptions
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["STATUS"]


async def _run(context: Context, options: NoOptions) -> Value:
    status = await context.engine.status()
    backends = [os.fsencode(path).decode("utf-8", "replace") for path in status["backends"]]
    mount = path_fields("mount", status["mount"])
    return {**status, **mount, "backends": backends, "runtime": context.runtime_status()}


STATUS = Command(
    name="status",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="the volume, its states and its space on one screen",
    description=(
        "What is mounted, whether all of it is durable, what is published, how full it is, and "
        "what works in the background. Programs also find counters of the runtime under "
        "`runtime`."
    ),
    options=NoOptions,
    run=_run,
    essential=True,
    result=Schema(
        Shape.DOCUMENT,
        (
            Field("label", "Label"),
            Field("uuid", "UUID"),
            Field("mount", "Mounted on", FieldKind.PATH),
            Field("backends", "Backends", FieldKind.LIST),
            Field("read_only", "Read-only", FieldKind.FLAG, wide=True),
            Field("read_only_reason", "Because"),
            Field("waits_for_room", "A commit waits for the host's room"),
            Field("degraded", "Degraded", FieldKind.FLAG, wide=True),
            Field("seq", "Last commit", FieldKind.COUNT),
            Field("commit_time_ns", "Committed", FieldKind.TIME),
            Field("dirty", "Uncommitted changes", FieldKind.FLAG),
            Field("dirty_bytes", "Uncommitted data", FieldKind.SIZE, wide=True),
            Field("published", "Published", FieldKind.STATE),
            Field("base", "Working on top of", FieldKind.STATE),
            Field("states", "Kept states", FieldKind.COUNT),
            Field("objects", "Objects", FieldKind.COUNT),
            Field("open_files", "Open files", FieldKind.COUNT, wide=True),
            Field("holds", "Holds", FieldKind.COUNT, wide=True),
            Field("space.used", "Used", FieldKind.SIZE),
            Field("space.available", "Available", FieldKind.SIZE),
            Field("space.total", "Size", FieldKind.SIZE),
            Field("space.reclaimable", "To be reclaimed", FieldKind.SIZE, wide=True),
            Field("jobs", "Jobs", FieldKind.LIST),
            Field("verified.oldest_ns", "All verified since", FieldKind.TIME),
            Field("verified.never", "Segments never verified", FieldKind.COUNT, wide=True),
            Field("verified.damage", "Known damage", FieldKind.COUNT, wide=True),
            Field("runtime.sessions.open", "Sessions", FieldKind.COUNT),
            Field("uptime_s", "Up for", FieldKind.DURATION),
            Field("version", "Version"),
        ),
    ),
    examples=(Example("status", "how is the volume?"),),
)
