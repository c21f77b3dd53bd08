"""`indexes`, `index`, `unindex` and `reindex` (docs/specs/Indexes.md)."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.query.memory import QUERY_BYTES_DEFAULT
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.indexes_port import Progress
from affs_fuse.runtime.parameters import Flag, PathText, Text, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["INDEX", "INDEXES", "REINDEX", "UNINDEX"]

_GROUP = "Records and queries"
_DAMAGED_EXIT_STATUS = 4
_FIELDS = (
    Field("path", "Directory"),
    Field("name", "Name"),
    Field("expression", "Of"),
    Field("state", "State"),
    Field("entries", "Entries", FieldKind.COUNT),
    Field("pending", "Waiting", FieldKind.COUNT),
    Field("files", "Files", FieldKind.COUNT, wide=True),
)
_ERRORS = ("record.not_found", "record.denied", "record.path", "collection.damaged")


@dataclass(frozen=True, slots=True)
class ListOptions:
    path: str = argument(PathText(), "of one directory alone", default="")
    check: bool = option(Flag(), "hold them against the records, and tell what is wrong")


@dataclass(frozen=True, slots=True)
class AddOptions:
    path: str = argument(PathText(), "of the directory")
    expression: str = argument(Text(1000), "a field, or another expression about a record")
    name: str = option(Text(64), "what it is called; otherwise as its expression", default="")
    detach: bool = option(Flag(), "do not wait until it is ready")


@dataclass(frozen=True, slots=True)
class DropOptions:
    path: str = argument(PathText(), "of the directory")
    name: str = argument(Text(64), "which one")


@dataclass(frozen=True, slots=True)
class RebuildOptions:
    path: str = argument(PathText(), "of the directory")
    name: str = argument(Text(64), "which one; otherwise all", default="")
    detach: bool = option(Flag(), "do not wait until it is ready")


def _asker(context: Context) -> Asker:
    session = context.session
    return Asker(session.identity, context.role, context.directory, QUERY_BYTES_DEFAULT)


async def _list(context: Context, options: ListOptions) -> Value:
    path = context.path(options.path) if options.path else ""
    indexes = context.engine.indexes
    if not options.check:
        for row in await indexes.rows(path, _asker(context)):
            await context.reply.item(row)
        return {}
    found = await indexes.check(path, _asker(context), context.reply.item)
    return {**found, "exit_status": _DAMAGED_EXIT_STATUS} if found["problems"] else found


def _progress(context: Context) -> Progress:
    async def progress(done: int, total: int) -> None:
        await context.reply.progress(done, total, "files")

    return progress


async def _add(context: Context, options: AddOptions) -> Value:
    return await context.engine.indexes.create(
        context.path(options.path), options.expression, options.name, _asker(context),
        _progress(context), wait=not options.detach,
    )  # fmt: skip


async def _drop(context: Context, options: DropOptions) -> Value:
    path = context.path(options.path)
    return await context.engine.indexes.drop(path, options.name, _asker(context))


async def _plan(context: Context, options: DropOptions) -> Plan:
    path = context.path(options.path)
    rows = await context.engine.indexes.rows(path, _asker(context))
    chosen = [row for row in rows if row["name"] == options.name]
    row = chosen[0] if chosen else {"path": path, "name": options.name}
    return Plan(row, [path, options.name, bool(chosen)])


async def _rebuild(context: Context, options: RebuildOptions) -> Value:
    return await context.engine.indexes.rebuild(
        context.path(options.path), options.name, _asker(context), _progress(context),
        wait=not options.detach,
    )  # fmt: skip


INDEXES = Command(
    name="indexes",
    kind=Kind.QUERY,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="the indexes of a directory, or of all, and how far they are",
    description=(
        "An index is ready when every file that was there has been taken in; files that changed "
        "since then wait for a moment, and queries look at them meanwhile. --check reads all "
        "records and holds the indexes against them; with something wrong affsctl ends with 4, and "
        "`reindex` mends it."
    ),
    options=ListOptions,
    run=_list,
    result=Schema(
        Shape.STREAM,
        (*_FIELDS, Field("problem", "Problem")),
        summary=(
            Field("indexes", "indexes", FieldKind.COUNT),
            Field("files", "files", FieldKind.COUNT),
            Field("problems", "problems", FieldKind.COUNT),
        ),
    ),
    errors=_ERRORS,
    examples=(
        Example("indexes", "which are there?"),
        Example("indexes /people --check", "do they say what the records say?"),
    ),
)

INDEX = Command(
    name="index",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="declare an index of the records in a directory",
    description=(
        "Queries of that directory that compare, or sort by, the expression then read only the "
        "records that matter, and those that count, group or tell apart by it alone read hardly "
        "any. The index is kept up to date whoever changes the files, and goes with the namespace "
        "through commits, rollbacks and kept states. Building it takes turns with everything "
        "else; it goes on when the client leaves, and after a restart. Who declares an index owns "
        "the directory, or is root."
    ),
    options=AddOptions,
    run=_add,
    result=Schema(Shape.DOCUMENT, _FIELDS),
    errors=(*_ERRORS, "index.expression", "index.exists", "index.too_many", "query.syntax",
            "query.function", "query.type", "record.busy", "collection.too_large"),
    examples=(
        Example("index /people age", "by a field"),
        Example("index /people lower(name) --name by-name", "by an expression"),
    ),
)  # fmt: skip

UNINDEX = Command(
    name="unindex",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="drop an index",
    description="Its room is given back bit by bit. The answer is the index as it was; `index` "
    "makes it anew from the records.",
    options=DropOptions,
    run=_drop,
    plan=_plan,
    danger=Danger.REVERSIBLE,
    result=Schema(Shape.DOCUMENT, headline="Dropped the index {name} of {path}.", plan=_FIELDS),
    errors=(*_ERRORS, "index.not_found", "record.busy"),
    examples=(Example("unindex /people age", "it is not needed any more"),),
)

REINDEX = Command(
    name="reindex",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="make an index anew from the records",
    description="For one that is damaged. Queries go without it until it is ready.",
    options=RebuildOptions,
    run=_rebuild,
    result=Schema(Shape.TABLE, _FIELDS),
    errors=(*_ERRORS, "index.not_found", "record.busy"),
    examples=(Example("reindex /people", "all indexes of a directory"),),
)
