"""`history` and `blame`: who changed a file or a record, when, and by what
(docs/specs/Provenance.md)."""

from contextlib import aclosing
from dataclasses import dataclass

import trio

from affs_fuse.auv import Value
from affs_fuse.query.parser import is_object_id
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.operation_finder import OperationFinder
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
from affs_fuse.volume.authors import COMMAND

__all__ = ["BLAME", "HISTORY"]

LIMIT_MAX = 1_000_000
_GROUP = "Records and queries"
_STATE_HELP = "as of this kept state, instead of the working one"


@dataclass(frozen=True, slots=True)
class HistoryOptions:
    path: str = argument(PathText(), "of anything, or an object's id")
    limit: int | None = option(
        Integer(minimum=1, maximum=LIMIT_MAX), "the newest so many changes", short="-l"
    )
    all: bool = option(Flag(), "also in states that this one does not descend from", short="-a")
    state: str | None = option(StateReference(), _STATE_HELP, short="-s")


@dataclass(frozen=True, slots=True)
class BlameOptions:
    path: str = argument(PathText(), "of a record, or its id")
    state: str | None = option(StateReference(), _STATE_HELP, short="-s")


class _People:
    """Names of users, and what the operation log knows."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._finder = OperationFinder(context.engine)
        self._users: dict[int, str] = {}

    async def completed(self, row: Plain, object_id: str) -> Plain:
        """With the user's name, and the operations that may have made the change."""
        by = row["by"]
        if by is None:
            return {**row, "operations": []}
        uid = by["uid"]
        if uid not in self._users:
            name = self._context.accounts.user_name
            self._users[uid] = await trio.to_thread.run_sync(name, uid)
        operations: list[Plain] = []
        if by["kind"] == COMMAND and row["commit"] is not None:
            operations = await self._finder.find(row["commit"], uid, by["name"], object_id)
        return {**row, "by": {**by, "user": self._users[uid]}, "operations": operations}


def _path(context: Context, text: str) -> str:
    return text if is_object_id(text) else context.path(text)


async def _history(context: Context, options: HistoryOptions) -> Value:
    people, count, more = _People(context), 0, False
    rows = context.engine.history(
        _path(context, options.path), context.session, state=options.state,
        everything=options.all,
    )
    async with aclosing(rows):
        async for row in rows:
            if options.limit is not None and count >= options.limit:
                more = True
                break
            count += 1
            await context.reply.item(await people.completed(row, row["id"]))
    return {"changes": count, "more": more}


async def _blame(context: Context, options: BlameOptions) -> Value:
    people, count = _People(context), 0
    rows = context.engine.blame(
        _path(context, options.path), context.session, state=options.state
    )
    async with aclosing(rows):
        async for row in rows:
            count += 1
            object_id = row.pop("id")
            await context.reply.item(await people.completed(row, object_id))
    return {"fields": count}


_WHO = (
    Field("state", "State", FieldKind.STATE),
    Field("time_ns", "Time", FieldKind.TIME),
    Field("by.user", "By"),
    Field("by.name", "With"),
    Field("commit", "Commit", FieldKind.COUNT, wide=True),
)

HISTORY = Command(
    name="history",
    kind=Kind.QUERY,
    role=Role.ADMIN,
    group=_GROUP,
    summary="every kept state in which a file changed, by whom and with what",
    description=(
        "The object is followed by its id through renames. A row stands for a state in which it is "
        "not as in the state before: what changed (content, name, mode, owner, xattrs ...), and "
        "who changed it last before that state, by which program or command. Without a state, the "
        "row is about the working one. What `log` knows of the command comes with it."
    ),
    options=HistoryOptions,
    run=_history,
    result=Schema(
        Shape.STREAM,
        (
            *_WHO,
            Field("kind", "Kind"),
            Field("what", "What", FieldKind.LIST),
            Field("path", "Path", FieldKind.PATH),
            Field("from", "From", FieldKind.PATH),
            Field("size_before", "Size before", FieldKind.SIZE),
            Field("size", "Size", FieldKind.SIZE),
        ),
        summary=(
            Field("changes", "changes", FieldKind.COUNT), Field("more", "more", FieldKind.FLAG),
        ),
    ),
    errors=("record.not_found", "record.denied", "record.path", "state.not_found",
            "state.ambiguous"),
    examples=(
        Example("history /etc/app.conf", "who changed it, and when?"),
        Example("history /people/anna --all --limit 20", "also what was rolled back"),
    ),
)

BLAME = Command(
    name="blame",
    kind=Kind.QUERY,
    role=Role.ADMIN,
    group=_GROUP,
    summary="of each field of a record, the kept state that gave it its value, and who",
    description=(
        "For each leaf (a scalar, or what is empty): its place, its value, and the first state "
        "since which it has been so without a break, with who changed the record last before that "
        "state. Elements of Arrays are compared by their index."
    ),
    options=BlameOptions,
    run=_blame,
    result=Schema(
        Shape.STREAM,
        (Field("place", "Field"), Field("value", "Value"), *_WHO),
        summary=(Field("fields", "fields", FieldKind.COUNT),),
    ),
    errors=("record.not_found", "record.denied", "record.path", "record.no_file", "record.syntax",
            "record.too_large", "state.not_found", "state.ambiguous"),
    examples=(Example("blame /people/anna", "since when is she 31?"),),
)
