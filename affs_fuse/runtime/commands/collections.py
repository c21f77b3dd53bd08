"""`collections`, `collection`, `check`, `declare`, `evolve` and `undeclare`: directories with a
schema (docs/specs/Collections.md)."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.asker import Asker
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.parameters import (
    AnyValue,
    Flag,
    PathText,
    StateReference,
    argument,
    option,
)
from affs_fuse.runtime.plans import UNDO_FIELDS, undo_impossible, undo_possible
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["CHECK", "COLLECTION", "COLLECTIONS", "DECLARE", "EVOLVE", "UNDECLARE"]

MEMORY_BYTES = 128 << 20
_GROUP = "Records and queries"
_PATH = PathText()
_AS_OF = "of this kept state, and not of the working one"
_TOLERATE = "also if records violate it; `check` tells of them"
_GONE = undo_impossible("records change; a rollback to a state that was kept before helps")
_READING = (
    "record.not_found", "record.denied", "record.path", "collection.no_directory",
    "collection.not_found", "collection.damaged", "state.not_found", "state.ambiguous",
    "query.memory",
)  # fmt: skip
_CHANGING = (
    *_READING[:6], "collection.schema", "collection.too_large", "collection.violations",
    "collection.evolving", "record.busy", "plan.stale",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ListOptions:
    as_of: str | None = option(StateReference(), _AS_OF)


@dataclass(frozen=True, slots=True)
class ShowOptions:
    path: str = argument(_PATH, "of the directory")
    as_of: str | None = option(StateReference(), _AS_OF)


@dataclass(frozen=True, slots=True)
class DeclareOptions:
    path: str = argument(_PATH, "of the directory")
    schema: Value = argument(AnyValue(), "what its records are to be")  # noqa: RUF009 - a field
    tolerate: bool = option(Flag(), _TOLERATE)


@dataclass(frozen=True, slots=True)
class EvolveOptions:
    path: str = argument(_PATH, "of the directory")
    changes: tuple[Value, ...] = argument(
        AnyValue(),
        "add FIELD RULE, rename FIELD NAME, drop FIELD, convert FIELD RULE, rule FIELD RULE, one "
        "after the other",
        repeated=True,
    )
    resume: bool = option(Flag(), "go on with one that was interrupted")
    tolerate: bool = option(Flag(), "records that cannot follow stay as they are")


@dataclass(frozen=True, slots=True)
class UndeclareOptions:
    path: str = argument(_PATH, "of the directory")


def _asker(context: Context) -> Asker:
    return Asker(context.session.identity, context.role, context.directory, MEMORY_BYTES)


async def _list(context: Context, options: ListOptions) -> Value:
    return await context.engine.collections.list(_asker(context), options.as_of or "")


async def _show(context: Context, options: ShowOptions) -> Value:
    path = context.path(options.path)
    return await context.engine.collections.show(
        path, _asker(context), options.as_of or ""
    )


async def _check(context: Context, options: ShowOptions) -> Value:
    path = context.path(options.path)
    return await context.engine.collections.check(
        path, _asker(context), options.as_of or "", context.reply.item
    )


# ---- declaring ----


async def _declare(context: Context, options: DeclareOptions) -> Value:
    answer = await context.engine.collections.declare(
        context.path(options.path), options.schema, _asker(context), tolerate=options.tolerate,
        expect=context.expect,
    )
    _note(context, answer)
    return answer


async def _plan_declare(context: Context, options: DeclareOptions) -> Plan:
    answer = await context.engine.collections.declare(
        context.path(options.path), options.schema, _asker(context), dry_run=True
    )
    return _planned(answer, undo_possible("brings back what was declared before", None))


async def _undeclare(context: Context, options: UndeclareOptions) -> Value:
    answer = await context.engine.collections.undeclare(
        context.path(options.path), _asker(context), expect=context.expect
    )
    _note(context, answer)
    return answer


async def _plan_undeclare(context: Context, options: UndeclareOptions) -> Plan:
    answer = await context.engine.collections.undeclare(
        context.path(options.path), _asker(context), dry_run=True
    )
    return _planned(answer, undo_possible("declares it again", None))


def _note(context: Context, answer: Plain) -> None:
    context.effects.note(
        {"collections": [[answer["id"], answer["before"]]]},
        {"collections": [[answer["id"], answer["declared"]]]},
    )


def _planned(answer: Plain, undo: Plain) -> Plan:
    return Plan.made({**answer, "undo": undo})


# ---- evolving ----


async def _evolve(context: Context, options: EvolveOptions) -> Value:
    collections, path = context.engine.collections, context.path(options.path)

    async def progress(done: int, total: int) -> None:
        await context.reply.progress(done, total, "records")

    if options.resume:
        return await collections.resume(path, _asker(context), progress)
    answer = await collections.evolve(
        path, list(options.changes), _asker(context), progress, tolerate=options.tolerate,
        expect=context.expect, logged=context.effects.entry,
    )
    if not answer["changed"]:
        _note(context, answer)
    return answer


async def _plan_evolve(context: Context, options: EvolveOptions) -> Plan:
    collections, path = context.engine.collections, context.path(options.path)
    if options.resume:
        shown = await collections.show(path, _asker(context), "")
        return Plan({**shown, "undo": _GONE}, [shown["schema"], shown.get("becomes")])
    answer = await collections.evolve(
        path, list(options.changes), _asker(context), _unheard, dry_run=True
    )
    kept = undo_possible("brings back the schema, and the records as they were", None)
    return _planned(answer, kept if answer["in_one_step"] else _GONE)


async def _unheard(done: int, total: int) -> None:
    """A plan tells of no progress."""


_COUNTS = (
    Field("records", "Records", FieldKind.COUNT),
    Field("invalid", "Violating it", FieldKind.COUNT),
    Field("denied", "Not readable", FieldKind.COUNT, wide=True),
    Field("examples", "The first", FieldKind.LIST),
)
_CHANGED = (
    Field("changed", "Records changed", FieldKind.COUNT),
    Field("in_one_step", "In one step", FieldKind.FLAG),
    Field("changes", "The first of them", FieldKind.LIST),
)
_SCHEMA = Field("schema", "Schema", FieldKind.ENTRY)
_OF_ONE = (
    Field("path", "Path", FieldKind.PATH),
    Field("entries", "Entries", FieldKind.COUNT),
    Field("fields", "Fields", FieldKind.COUNT),
    Field("closed", "Closed", FieldKind.FLAG),
    Field("unique", "Unique", FieldKind.LIST),
    Field("evolving", "Evolving", FieldKind.FLAG),
)

COLLECTIONS = Command(
    name="collections",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group=_GROUP,
    summary="the directories that have a schema",
    description="Those that this user can reach. Kept states (`--as-of`) take the role admin.",
    options=ListOptions,
    run=_list,
    result=Schema(Shape.TABLE, (*_OF_ONE, Field("note", "Note"))),
    errors=("state.not_found", "state.ambiguous"),
    examples=(Example("collections", "which are there?"),),
)

COLLECTION = Command(
    name="collection",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group=_GROUP,
    summary="what a collection demands of its records",
    description="The answer has the schema as `declare` takes it.",
    options=ShowOptions,
    run=_show,
    result=Schema(
        Shape.DOCUMENT, (*_OF_ONE, _SCHEMA, Field("becomes", "Becomes", FieldKind.ENTRY))
    ),
    errors=_READING,
    examples=(
        Example("collection /people", "its schema"),
        Example("collection /people --as-of before-upgrade", "as it was"),
    ),
)

CHECK = Command(
    name="check",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group=_GROUP,
    summary="records of a collection that violate its schema, and where",
    description=(
        "Files that come through the mount are never refused, so they may be anything; this finds "
        "them: what does not parse, what violates the schema, and unique keys that are there "
        "twice, each with line and column. Nothing is changed."
    ),
    options=ShowOptions,
    run=_check,
    result=Schema(
        Shape.STREAM,
        (
            Field("path", "Path", FieldKind.PATH),
            Field("line", "Line", FieldKind.COUNT),
            Field("column", "Column", FieldKind.COUNT),
            Field("field", "Field"),
            Field("expected", "Expected"),
            Field("found", "Found"),
            Field("rule", "Rule", wide=True),
        ),
        summary=(
            Field("records", "records", FieldKind.COUNT),
            Field("invalid", "invalid", FieldKind.COUNT),
            Field("denied", "denied", FieldKind.COUNT),
            Field("evolving", "evolving", FieldKind.FLAG),
        ),
    ),
    errors=_READING,
    examples=(Example("check /people", "what is wrong there?"),),
)

DECLARE = Command(
    name="declare",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="let a directory be a collection: its records are to meet a schema",
    description=(
        "From then on commands refuse a record that violates it, before anything changes. Records "
        "that are there are looked at first; if one violates the schema, nothing is declared, "
        "unless with --tolerate. A schema that was declared before is replaced; records are not "
        "changed (`evolve` does that). It takes the owner of the directory. The schema belongs to "
        "the state, as the records do."
    ),
    options=DeclareOptions,
    run=_declare,
    plan=_plan_declare,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT,
        (Field("path", "Path", FieldKind.PATH), *_COUNTS, _SCHEMA),
        headline="{path} is a collection, {records} records.",
        plan=(*_COUNTS, _SCHEMA, *UNDO_FIELDS),
    ),
    errors=_CHANGING,
    examples=(
        Example('declare /people {"fields": {"age": "Int64"}} -n', "who would violate it?"),
        Example('declare /notes {"fields": {"text": "String"}, "closed": true}', "and no other"),
    ),
)

EVOLVE = Command(
    name="evolve",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="change a collection's schema, and its records with it",
    description=(
        "All records are looked at first; if one cannot follow, nothing happens, unless with "
        "--tolerate. Up to 999 records change in one step together with the schema. More take "
        "several steps: the collection says that it is on the way, commands already write records "
        "of the new form, and what was interrupted goes on with --resume."
    ),
    options=EvolveOptions,
    run=_evolve,
    plan=_plan_evolve,
    danger=Danger.DESTRUCTIVE,
    result=Schema(
        Shape.DOCUMENT,
        (Field("path", "Path", FieldKind.PATH), _CHANGED[0], _SCHEMA),
        headline="{path} has its new schema, {changed} records changed.",
        plan=(*_COUNTS, *_CHANGED, _SCHEMA, *UNDO_FIELDS),
    ),
    errors=(*_CHANGING, "collection.settled", "collection.changed", "record.too_large"),
    examples=(
        Example("evolve /people rename name full_name drop age --dry-run", "what would change?"),
        Example('evolve /people add n {"type": "Int64", "default": 0} --yes', "do it"),
        Example("evolve /people --resume --yes", "go on after an interruption"),
    ),
)

UNDECLARE = Command(
    name="undeclare",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="let a collection be a directory like any other",
    description="Its records stay as they are. It takes the owner of the directory.",
    options=UndeclareOptions,
    run=_undeclare,
    plan=_plan_undeclare,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT,
        (Field("path", "Path", FieldKind.PATH),),
        headline="{path} demands nothing any more.",
        plan=(Field("path", "Path", FieldKind.PATH), *UNDO_FIELDS),
    ),
    errors=_CHANGING,
    examples=(Example("undeclare /people", "no schema any more"),),
)
