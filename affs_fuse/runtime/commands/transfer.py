"""`import`, `imports`, `drop-import`, `export`, and `input`: records from and to files of the
client (docs/specs/Transfer.md).

The daemon opens no file for a client: events say which file is meant, and the client moves the
bytes (docs/specs/ControlProtocol.md, "Files").
"""

from dataclasses import dataclass, field

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.formats import FORMATS, make_writer
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.command import Command, Context, Example, Kind, NoOptions
from affs_fuse.runtime.commands.find import MEMORY_MIB, MEMORY_MIB_MAX, QUERY_ERRORS
from affs_fuse.runtime.import_order import CONFLICTS, SUFFIXES, ImportOrder
from affs_fuse.runtime.inputs import PIECE_BYTES
from affs_fuse.runtime.parameters import (
    AnyValue,
    Choice,
    Flag,
    HostFile,
    Integer,
    PathText,
    QueryText,
    Text,
    argument,
    option,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["DROP_IMPORT", "EXPORT", "IMPORT", "IMPORTS", "INPUT"]

_GROUP = "Records and queries"
TEXT_BYTES_MAX = 1024
NAME_BYTES_MAX = 64
OUT_BYTES = 64 << 10
_DELIMITER = Text(4)
_FORMAT = Choice(FORMATS)


@dataclass(frozen=True, slots=True)
class ImportOptions:
    source: str = argument(HostFile(), "a file of yours; - is the standard input")
    path: str = argument(PathText(), "of the directory that gets the records; it has to be there")
    format: str | None = option(_FORMAT, "of the file; its name may tell it", short="-f")
    name: str | None = option(
        Text(TEXT_BYTES_MAX), "an expression that gives each record's name; else its number"
    )
    on_conflict: str | None = option(
        Choice(CONFLICTS), "what becomes of a record whose name is there already (refuse)"
    )
    delimiter: str | None = option(_DELIMITER, "between the fields of CSV (a comma)")
    types: str | None = option(
        Text(TEXT_BYTES_MAX), "of the fields of CSV: string, guess, ajis, or guess,id=string,..."
    )
    report: str = option(HostFile(), "a file of yours for what is refused", default="")
    resume: bool = option(Flag(), "go on where an import of the same file broke off")
    dry_run: bool = option(Flag(), "read and check everything, and change nothing", short="-n")
    all_or_nothing: bool = option(
        Flag(), "at most 1000 records, in one step; nothing if one is refused"
    )


@dataclass(frozen=True, slots=True)
class ExportOptions:
    query: str = argument(
        QueryText(), "of find, list or get, such as `find /people where age > 30 | sort age`"
    )
    output: str = option(
        HostFile(), "a file of yours; without it the standard output", short="-o", default=""
    )
    overwrite: bool = option(Flag(), "the file may be there already")
    format: str | None = option(_FORMAT, "of the file; its name may tell it (jsonl)", short="-f")
    columns: str = option(
        Text(TEXT_BYTES_MAX), "of CSV, parted by commas; else the fields of the first row",
        default="",
    )
    delimiter: str | None = option(_DELIMITER, "between the fields of CSV (a comma)")
    types: str = option(
        Choice({"string": "Strings as they stand", "ajis": "every value as AJIS text"}),
        "how values stand in CSV",
        default="string",
    )
    memory: int = option(
        Integer(minimum=1, maximum=MEMORY_MIB_MAX), "MiB that the query may keep in memory",
        default=MEMORY_MIB,
    )


@dataclass(frozen=True, slots=True)
class PathOptions:
    path: str = argument(PathText(), "of the directory")


@dataclass(frozen=True, slots=True)
class InputOptions:
    input: str = argument(Text(NAME_BYTES_MAX), "as the event names it")
    data: Value = option(AnyValue(), "Binary: the next bytes", default=None)  # noqa: RUF009
    end: bool = option(Flag(), "nothing follows")
    total: int | None = option(Integer(minimum=0), "bytes in all, where that is known")


async def _import(context: Context, options: ImportOptions) -> Value:
    order = ImportOrder(
        options.source, context.path(options.path), options.format, options.name,
        options.on_conflict, options.delimiter, options.types, options.resume, options.dry_run,
        options.all_or_nothing,
    )  # fmt: skip
    with context.session.inputs.open() as (name, input):

        async def begin() -> None:
            if options.report:
                await context.reply.event(
                    {"kind": "output", "file": options.report, "overwrite": True,
                     "append": options.resume}
                )  # fmt: skip
            await context.reply.event(
                {"kind": "input", "input": name, "file": options.source, "bytes": PIECE_BYTES}
            )
            context.effects.note({}, {})

        return await context.engine.import_records(
            order, context.session, input, context.reply, begin, context.effects.entry
        )


async def _input(context: Context, options: InputOptions) -> Value:
    data = options.data
    if data is None:
        data = b""
    if not isinstance(data, bytes):
        raise AffsError("input.data", Category.INVALID, "the bytes of an input are Binary")
    input = context.session.inputs.find(options.input)
    if options.total is not None:
        input.total_bytes = options.total
    await input.send(data, end=options.end)
    return {}


async def _imports(context: Context, options: NoOptions) -> Value:
    return await context.engine.imports(context.session)


async def _drop(context: Context, options: PathOptions) -> Value:
    return await context.engine.drop_import(context.path(options.path), context.session)


@dataclass(slots=True)
class _Pieces:
    """Rows on their way out, as bytes."""

    context: Context
    waiting: bytearray = field(default_factory=bytearray)
    count: int = 0

    async def add(self, data: bytes) -> None:
        self.waiting += data
        if len(self.waiting) >= OUT_BYTES:
            await self.flush()

    async def flush(self) -> None:
        if self.waiting:
            self.count += len(self.waiting)
            await self.context.reply.item(bytes(self.waiting))
            self.waiting.clear()


async def _export(context: Context, options: ExportOptions) -> Value:
    suffix = options.output.rpartition(".")[2].lower()
    format = options.format or SUFFIXES.get(suffix, "jsonl")
    delimiter = options.delimiter
    if delimiter is None:
        delimiter = "\t" if suffix == "tsv" and options.format is None else ","
    columns = [name.strip() for name in options.columns.split(",")] if options.columns else []
    writer = make_writer(format, delimiter, columns, options.types)
    if options.output:
        await context.reply.event(
            {"kind": "output", "file": options.output, "overwrite": options.overwrite,
             "append": False}
        )  # fmt: skip
    pieces = _Pieces(context)

    async def emit(row: Value) -> None:
        await pieces.add(writer.add(row))

    asker = Asker(
        context.session.identity, context.role, context.directory, options.memory << 20
    )
    summary = await context.engine.query(options.query, asker, emit, bare=True)
    await pieces.add(writer.end())
    await pieces.flush()
    missing = summary["refused"] or summary["denied"]
    return {
        **summary, "format": format, "bytes": pieces.count, "exit_status": 1 if missing else 0,
    }  # fmt: skip


_COUNTS = (
    Field("created", "created", FieldKind.COUNT),
    Field("replaced", "replaced", FieldKind.COUNT),
    Field("skipped", "skipped", FieldKind.COUNT),
    Field("refused", "refused", FieldKind.COUNT),
)
_ERRORS = (
    "import.format", "import.types", "import.delimiter", "import.syntax", "import.header",
    "import.too_large", "import.unfinished", "import.nothing", "import.running", "import.changed",
    "import.terms", "import.terms_size", "import.directory", "import.too_many", "import.refused",
    "import.damaged", "record.not_found", "record.denied", "record.path", "query.syntax",
    "query.field", "query.function",
)  # fmt: skip

IMPORT = Command(
    name="import",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="records from a file of yours: JSON lines, JSON, CSV, AJIS",
    description=(
        "Each record becomes a file of the directory. What cannot be one is told with its line and "
        "column, and the rest goes on. What was imported is durable as it goes; when an import "
        "broke off, the same line with --resume goes on where it was, with nothing twice and "
        "nothing left out. The whole file is read again for that, and compared."
    ),
    options=ImportOptions,
    run=_import,
    result=Schema(
        Shape.STREAM,
        (
            Field("line", "Line", FieldKind.COUNT),
            Field("column", "Column", FieldKind.COUNT),
            Field("message", "Refused because"),
            Field("name", "Name"),
            Field("text", "Text"),
        ),
        summary=(Field("records", "records", FieldKind.COUNT), *_COUNTS),
    ),
    errors=_ERRORS,
    examples=(
        Example("import people.csv /people --name id --types guess", "a table"),
        Example("import - /events --format jsonl --name 'at + \"-\" + kind'", "from a pipe"),
        Example("import people.csv /people --resume", "go on"),
    ),
)

IMPORTS = Command(
    name="imports",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group=_GROUP,
    summary="imports that have not come to their end",
    description="They belong to the working state: a rollback takes them back with their records.",
    options=NoOptions,
    run=_imports,
    result=Schema(
        Shape.TABLE,
        (
            Field("path", "Into", FieldKind.PATH),
            Field("source", "From"),
            Field("format", "Format"),
            Field("offset", "Read", FieldKind.SIZE),
            Field("records", "Records", FieldKind.COUNT),
            *(Field(one.path, one.title.capitalize(), one.kind, wide=True) for one in _COUNTS),
            Field("started_ns", "Begun", FieldKind.TIME),
            Field("user", "By"),
            Field("damaged", "Damaged", FieldKind.FLAG, wide=True),
        ),
    ),
    examples=(Example("imports", "what can be resumed?"),),
)

DROP_IMPORT = Command(
    name="drop-import",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="forget an unfinished import; its records stay",
    description="A new import into the directory can begin then.",
    options=PathOptions,
    run=_drop,
    result=Schema(Shape.DOCUMENT, headline="Forgot the import into {path}."),
    errors=("import.nothing", "import.running", "record.not_found", "record.denied", "record.path"),
    examples=(Example("drop-import /people", "it will not go on"),),
)

EXPORT = Command(
    name="export",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group=_GROUP,
    summary="the rows of a query into a file of yours: JSON lines, JSON, CSV, AJIS",
    description=(
        "Records go out as they are, other rows as the query gives them, in its order, so the same "
        "state gives the same bytes. A file gets its name when all of it is there. The exit status "
        "is 1 if files below the path could not be read or are no records."
    ),
    options=ExportOptions,
    run=_export,
    result=Schema(
        Shape.BYTES,
        summary=(
            Field("rows", "rows", FieldKind.COUNT),
            Field("bytes", "size", FieldKind.SIZE),
            Field("refused", "no records", FieldKind.COUNT),
            Field("denied", "denied", FieldKind.COUNT),
        ),
    ),
    errors=(*QUERY_ERRORS, "export.row", "import.types", "import.delimiter"),
    examples=(
        Example("export -o people.jsonl find /people", "the records as they are"),
        Example(
            "export -o people.csv 'find /people as of @ | sort age | select name, age'",
            "a table, as it was",
        ),
    ),
)

INPUT = Command(
    name="input",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group=_GROUP,
    summary="bytes for a command that asked for them",
    description=(
        "What an `input` event of another request of this session asks for, in pieces, one after "
        "the other. The answer comes when the command has taken the piece."
    ),
    options=InputOptions,
    run=_input,
    result=Schema(Shape.DOCUMENT),
    errors=("input.closed", "input.data", "input.size"),
    examples=(Example('input i1 --data hex"7B7D0A" --end', "a line, and no more"),),
    hidden=True,
    essential=True,
    unremembered=True,
)
