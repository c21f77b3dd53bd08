"""`watch`: events as they happen."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.events import EVENT_KINDS
from affs_fuse.runtime.parameters import Choice, Integer, Text, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["WATCH"]


@dataclass(frozen=True, slots=True)
class Options:
    kinds: tuple[str, ...] = argument(
        Choice(EVENT_KINDS), "only these kinds of events", repeated=True
    )
    after: str | None = option(
        Text(64), "begin with what came after the event with this cursor, as far as it is known"
    )
    count: int | None = option(Integer(minimum=1), "end after so many events", short="-c")


async def _run(context: Context, options: Options) -> Value:
    subscription = context.events.subscribe(options.kinds, after=options.after)
    count = 0
    cursor = context.events.cursor
    try:
        while options.count is None or count < options.count:
            event = await subscription.receive()
            await context.reply.event(event)
            cursor = event["cursor"]
            count += 1
    finally:
        context.events.unsubscribe(subscription)
    return {"count": count, "cursor": cursor}


WATCH = Command(
    name="watch",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="events as they happen, until it is cancelled",
    description=(
        "A client that reads too slowly loses the oldest events and gets one `lost` event in "
        "their place; it should then read the state afresh. Each event has a cursor from which "
        "a later `watch --after` goes on, also after the daemon was started anew; where events "
        "may be missing, it says `lost`."
    ),
    options=Options,
    run=_run,
    essential=True,
    result=Schema(
        Shape.STREAM,
        (
            Field("time_ns", "Time", FieldKind.TIME),
            Field("kind", "Event"),
            Field("", "Details", FieldKind.REST),
            Field("number", "Number", FieldKind.COUNT, wide=True),
            Field("cursor", "Cursor", wide=True),
            Field("trace", "Trace", FieldKind.ID, wide=True),
        ),
    ),
    endless=True,
    errors=("event.cursor",),
    examples=(
        Example("watch", "everything"),
        Example("watch publish rollback", "only when the volume changes its mind"),
    ),
)
