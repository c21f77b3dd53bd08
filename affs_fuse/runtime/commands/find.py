"""`find`, `list` and `get`: queries over records and files (docs/specs/QueryLanguage.md)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import Integer, QueryText, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["FIND", "GET", "LIST", "QUERY_ERRORS", "QueryOptions", "asker_of"]

MEMORY_MIB_MAX = 192
MEMORY_MIB = 64

QUERY_ERRORS = (
    "query.syntax", "query.field", "query.function", "query.type", "query.value", "query.overflow",
    "query.pattern", "query.limit", "query.memory", "record.not_found", "record.denied",
    "record.path", "state.not_found", "state.ambiguous",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class QueryOptions:
    query: str = argument(QueryText(), "the path, and what is to be done with what is found there")
    memory: int = option(
        Integer(minimum=1, maximum=MEMORY_MIB_MAX),
        "MiB that the query may keep in memory",
        default=MEMORY_MIB,
    )


def asker_of(context: Context, options: QueryOptions) -> Asker:
    """Whoever gave this command."""
    return Asker(context.session.identity, context.role, context.directory, options.memory << 20)


def _runner(verb: str) -> Callable[[Context, QueryOptions], Awaitable[Value]]:
    async def run(context: Context, options: QueryOptions) -> Value:
        line = f"{verb} {options.query}"
        return await context.engine.query(line, asker_of(context, options), context.reply.item)

    return run


_RESULT = Schema(
    Shape.STREAM,
    (Field("", "Row", FieldKind.ENTRY),),
    summary=(
        Field("rows", "rows", FieldKind.COUNT),
        Field("files", "files", FieldKind.COUNT),
        Field("refused", "no records", FieldKind.COUNT),
        Field("denied", "denied", FieldKind.COUNT),
        Field("index", "by index"),
        Field("note", "note"),
    ),
)


def _query(
    verb: str, summary: str, description: str, examples: tuple[Example, ...], *errors: str
) -> Command[QueryOptions]:
    return Command(
        name=verb,
        kind=Kind.QUERY,
        role=Role.OBSERVER,
        group="Records and queries",
        summary=summary,
        description=description,
        options=QueryOptions,
        run=_runner(verb),
        result=_RESULT,
        errors=QUERY_ERRORS + errors,
        examples=examples,
    )


FIND = _query(
    "find",
    "records below a directory, or files: filtered, sorted, grouped, joined",
    "Rows are the records below PATH, or with `files` in front of it everything that lies there. "
    "Stages follow, parted by `|`: where, select, sort, limit, skip, distinct, count, group, join. "
    "The language is in docs/specs/QueryLanguage.md. In a shell the query is one word in single "
    "quotes. Files that are no records are counted and told, with line and column.",
    (
        Example(
            'find /people where age >= 30 and name like "A%" | sort age desc | limit 10',
            "the oldest ten of some",
        ),
        Example(
            "find files / where size > 10MiB | sort size desc | select path, size",
            "what takes the room?",
        ),
        Example("find /people | group count() as n, avg(age) by home.city", "figures by city"),
        Example("find /people changed since @ | select @path, @change", "what is new"),
    ),
)

LIST = _query(
    "list",
    "the entries of one directory, or the records among them",
    "As find, but not below the directories in it, and rows are files unless `records` stands in "
    "front of PATH.",
    (
        Example("list /people", "what is there?"),
        Example("list records /people | sort name | select name, age", "a table"),
    ),
)

GET = _query(
    "get",
    "one record, by its path or by its id",
    "What PATH names has to be there and to be a record (with `files` in front, anything). In "
    "place of the path an object's id may stand, which stays when the file is renamed. Stages may "
    "follow, as with find. The row has the record's version, which changes with its content.",
    (
        Example("get /people/anna", "the record, its id and its version"),
        Example("get /people/anna as of before-upgrade | select home.city", "as it was"),
    ),
    "record.no_file",
    "record.syntax",
    "record.too_large",
)
