"""`cd`, `pwd`, `lines` and `who`: the session itself, and the others.

Nothing on the volume changes by them, so they are queries.
"""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Example, Kind, NoOptions
from affs_fuse.runtime.parameters import Flag, Integer, PathText, Text, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.session import HISTORY_MAX

__all__ = ["CD", "LINES", "PWD", "WHO"]


@dataclass(frozen=True, slots=True)
class CdOptions:
    directory: str = argument(PathText(), "where to; without it, the root", default="/")


async def _cd(context: Context, options: CdOptions) -> Value:
    path = context.path(options.directory)
    await context.engine.check_directory(path, context.session)
    context.session.directory = path
    return {"directory": path}


async def _pwd(context: Context, options: NoOptions) -> Value:
    return {"directory": context.directory}


@dataclass(frozen=True, slots=True)
class LinesOptions:
    text: str = argument(Text(256), "only lines with this in them", default="")
    failed: bool = option(Flag(), "only what failed", short="-f")
    limit: int = option(
        Integer(minimum=1, maximum=HISTORY_MAX), "the newest so many", short="-l", default=50
    )


async def _lines(context: Context, options: LinesOptions) -> Value:
    found: list[Value] = [
        {
            "number": entry.number, "line": entry.line, "time_ns": entry.time_ns,
            "seconds": entry.seconds, "ok": not entry.error, "error": entry.error,
        }
        for entry in context.session.history
        if options.text in entry.line and not (options.failed and not entry.error)
    ]  # fmt: skip
    return found[-options.limit :]


async def _who(context: Context, options: NoOptions) -> Value:
    """An id is what a session is resumed by, so only an admin sees those of others."""
    own = context.session
    return [
        {
            "id": one.id if one is own or context.role >= Role.ADMIN else "",
            "user": one.identity.user,
            "uid": one.identity.uid,
            "role": one.role.word,
            "client": one.client,
            "attached": one.attached,
            "own": one is own,
            "directory": one.directory,
            "requests": one.requests,
            "opened_ns": one.opened_ns,
            "last_ns": one.last_ns,
            "token": one.identity.token or None,
        }
        for one in context.sessions.list()
    ]


CD = Command(
    name="cd",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Session",
    summary="what relative paths begin at, from now on",
    description=(
        "For this session alone, and for as long as it lasts; also after it is resumed. A request "
        "may have a directory of its own in its context."
    ),
    options=CdOptions,
    run=_cd,
    result=Schema(Shape.DOCUMENT, headline="{directory}"),
    errors=("record.not_found", "record.denied", "session.directory"),
    examples=(Example("cd /projects", "go there"), Example("cd ..", "one up")),
)

PWD = Command(
    name="pwd",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Session",
    summary="what relative paths begin at",
    description="The root until `cd` says otherwise.",
    options=NoOptions,
    run=_pwd,
    result=Schema(Shape.DOCUMENT, headline="{directory}"),
    examples=(Example("pwd", "where am I?"),),
)

LINES = Command(
    name="lines",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Session",
    summary="the lines of this session, and what became of them",
    description=(
        "The newest 200, kept by the daemon as long as the session. What everybody changed is in "
        "`log`."
    ),
    options=LinesOptions,
    run=_lines,
    result=Schema(
        Shape.TABLE,
        (
            Field("number", "No", FieldKind.COUNT),
            Field("time_ns", "Time", FieldKind.TIME),
            Field("seconds", "Took", FieldKind.DURATION),
            Field("error", "Error"),
            Field("line", "Line"),
        ),
    ),
    examples=(
        Example("lines --failed", "what went wrong?"),
        Example("lines rollback", "every line with that word"),
    ),
)

WHO = Command(
    name="who",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Session",
    summary="the sessions of this daemon",
    description=(
        "Those with a connection, and those that can still be resumed: for an hour after their "
        "connection ended, by the same user, who names the session in `hello`."
    ),
    options=NoOptions,
    run=_who,
    result=Schema(
        Shape.TABLE,
        (
            Field("user", "User"),
            Field("role", "Role"),
            Field("client", "Client"),
            Field("attached", "Connected", FieldKind.FLAG),
            Field("own", "You", FieldKind.FLAG),
            Field("directory", "Directory", FieldKind.PATH),
            Field("requests", "Requests", FieldKind.COUNT),
            Field("opened_ns", "Since", FieldKind.TIME),
            Field("last_ns", "Last", FieldKind.TIME),
            Field("id", "Id", FieldKind.ID, wide=True),
        ),
    ),
    examples=(Example("who", "who else is here?"),),
)
