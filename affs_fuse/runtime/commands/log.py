"""`log`: the operation log."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import CommandName, Flag, Integer, Moment, Text, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.undoing import in_force
from affs_fuse.volume.moments import parse_moment

__all__ = ["LOG"]

ENTRIES_MAX = 10_000
"""In one answer: about 5 MB, a third of the largest frame."""

PAGE_ENTRIES = 500


@dataclass(frozen=True, slots=True)
class Options:
    limit: int = option(
        Integer(minimum=1, maximum=ENTRIES_MAX),
        "how many entries",
        short="-l",
        default=50,
    )
    user: str | None = option(Text(256), "only what this user did", short="-u")
    command: str | None = option(CommandName(), "only this command", short="-c")
    since: str | None = option(Moment(), "only what came after this time", short="-s")
    failed: bool = option(Flag(), "only what failed", short="-f")


async def _run(context: Context, options: Options) -> Value:
    since_ns = parse_moment(options.since, context.clock.now_ns()) if options.since else None
    command = context.catalogue.find(options.command).name if options.command else None
    found: list[Plain] = []
    seen: list[Plain] = []
    before: int | None = None
    while len(found) < options.limit:
        page = await context.engine.operations(PAGE_ENTRIES, before)
        if not page:
            break
        seen = page + seen
        before = page[0]["number"]
        for entry in reversed(page):
            if since_ns is not None and entry["time_ns"] < since_ns:
                break
            if _fits(entry, options, command) and len(found) < options.limit:
                found.append(entry)
        else:
            continue
        break
    force = in_force(seen)
    hidden = () if context.session.role >= Role.ADMIN else ("before", "after")
    return [
        {
            **{key: value for key, value in entry.items() if key not in hidden},
            "undone": entry["number"] not in force,
        }
        for entry in reversed(found)
    ]


def _fits(entry: Plain, options: Options, command: str | None) -> bool:
    return (
        (command is None or entry["command"] == command)
        and (options.user is None or options.user in (entry["user"], str(entry["uid"])))
        and not (options.failed and entry["ok"])
    )


LOG = Command(
    name="log",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Looking",
    summary="who did what: the newest commands that changed the volume",
    description=(
        "The log belongs to the volume, not to a state: a rollback does not roll it back. An "
        "entry holds what it changed, before and after (only an admin sees that), so that `undo` "
        "can take it back. The "
        "oldest entries go when there are more than the rules of `retention` allow."
    ),
    options=Options,
    run=_run,
    result=Schema(
        Shape.TABLE,
        (
            Field("number", "No", FieldKind.COUNT),
            Field("time_ns", "Time", FieldKind.TIME),
            Field("user", "User"),
            Field("role", "Role", wide=True),
            Field("ok", "Ok", FieldKind.FLAG),
            Field("undone", "Undone", FieldKind.FLAG),
            Field("error", "Error"),
            Field("line", "Command"),
            Field("trace", "Trace", FieldKind.ID, wide=True),
        ),
    ),
    examples=(
        Example("log --limit 10", "what happened last?"),
        Example("log --failed --since 2h", "what went wrong in the last two hours?"),
        Example("log --user ann --command publish", "what did ann publish?"),
    ),
)
