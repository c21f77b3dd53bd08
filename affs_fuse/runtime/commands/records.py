"""`create`, `update`, `move`, `erase` and `batch`: changing records (docs/specs/Records.md)."""

from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.query.editing import parse_changes
from affs_fuse.query.parser import is_object_id
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.parameters import AnyValue, Flag, PathText, Text, argument, option
from affs_fuse.runtime.plans import UNDO_FIELDS
from affs_fuse.runtime.policy import Policy, Role
from affs_fuse.runtime.record_operations import Operation
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["BATCH", "CREATE", "ERASE", "MOVE", "UPDATE"]

VERSION_BYTES_MAX = 64
_GROUP = "Records and queries"
_PATH = PathText()
_ERRORS = (
    "record.not_found", "record.exists", "record.denied", "record.path", "record.no_file",
    "record.syntax", "record.too_large", "record.change", "record.version", "record.busy",
)  # fmt: skip
_VERSION_HELP = "only if the record has this version, as get tells it"


@dataclass(frozen=True, slots=True)
class CreateOptions:
    path: str = argument(_PATH, "of the new file")
    value: Value = argument(AnyValue(), "what the record is")  # noqa: RUF009 - a field


@dataclass(frozen=True, slots=True)
class UpdateOptions:
    path: str = argument(_PATH, "of the record, or its id")
    changes: tuple[Value, ...] = argument(
        AnyValue(),
        "set PLACE VALUE, unset PLACE, merge PLACE OBJECT, append PLACE VALUE, one after the other",
        repeated=True,
    )
    if_version: str = option(Text(VERSION_BYTES_MAX), _VERSION_HELP, default="")


@dataclass(frozen=True, slots=True)
class MoveOptions:
    path: str = argument(_PATH, "of the record, or its id")
    target: str = argument(_PATH, "the new path, which is free")
    if_version: str = option(Text(VERSION_BYTES_MAX), _VERSION_HELP, default="")


@dataclass(frozen=True, slots=True)
class EraseOptions:
    path: str = argument(_PATH, "of the record, or its id")
    if_version: str = option(Text(VERSION_BYTES_MAX), _VERSION_HELP, default="")


@dataclass(frozen=True, slots=True)
class BatchOptions:
    operations: Value = argument(AnyValue(), "an Array of operations")  # noqa: RUF009 - a field
    erasures: bool = option(Flag(), "erasing is meant, where it is among them")


def _path(context: Context, command: str, text: str) -> str:
    """The path that is meant, or an object's id as it is. Rules of roles that are for certain paths
    know nothing of ids, so they do not count for one."""
    if not is_object_id(text):
        return context.path(text)
    session = context.session
    role = session.policy.role_for(session.identity, command, ())
    Policy.demand(Role.OPERATOR, role, "changing a record by its id", session.identity.user)
    return text


def _create(context: Context, options: CreateOptions) -> Operation:
    return Operation("create", context.path(options.path), options.value)


def _update(context: Context, options: UpdateOptions) -> Operation:
    return Operation(
        "update", _path(context, "update", options.path),
        changes=tuple(parse_changes(list(options.changes))), if_version=options.if_version,
    )  # fmt: skip


def _move(context: Context, options: MoveOptions) -> Operation:
    path, target = _path(context, "move", options.path), context.path(options.target)
    return Operation("move", path, target=target, if_version=options.if_version)


def _erase(context: Context, options: EraseOptions) -> Operation:
    return Operation("erase", _path(context, "erase", options.path), if_version=options.if_version)


async def _apply(context: Context, operations: list[Operation]) -> list[dict[str, Any]]:
    return await context.engine.change_records(
        operations, context.session, context.expect, context.effects.entry
    )


async def _planned(context: Context, operations: list[Operation]) -> Plan:
    return Plan.made(await context.engine.plan_records(operations, context.session))


async def _run_create(context: Context, options: CreateOptions) -> Value:
    return (await _apply(context, [_create(context, options)]))[0]


async def _run_update(context: Context, options: UpdateOptions) -> Value:
    return (await _apply(context, [_update(context, options)]))[0]


async def _run_move(context: Context, options: MoveOptions) -> Value:
    return (await _apply(context, [_move(context, options)]))[0]


async def _run_erase(context: Context, options: EraseOptions) -> Value:
    return (await _apply(context, [_erase(context, options)]))[0]


async def _run_batch(context: Context, options: BatchOptions) -> Value:
    changed = await _apply(context, _operations(context, options))
    return {"count": len(changed), "records": [_brief(one) for one in changed]}


def _brief(row: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key != "before"}


_KEYS = {
    "create": {"value"},
    "update": {"changes", "if_version"},
    "move": {"to", "if_version"},
    "erase": {"if_version"},
}


def _operations(context: Context, options: BatchOptions) -> list[Operation]:
    given = options.operations
    if not isinstance(given, list) or not given:
        raise _wrong("a batch is an Array of at least one operation")
    found = [_operation(context, one, index) for index, one in enumerate(given)]
    if not options.erasures and any(one.verb == "erase" for one in found):
        raise _wrong("records would be erased", "say so with --erasures")
    return found


def _operation(context: Context, given: Value, index: int) -> Operation:
    verbs = [verb for verb in _KEYS if isinstance(given, dict) and verb in given]
    if len(verbs) != 1:
        raise _wrong(f"operation {index} is an Object with one of {', '.join(_KEYS)}")
    verb = verbs[0]
    odd = given.keys() - _KEYS[verb] - {verb}
    if odd:
        raise _wrong(f"operation {index}: {verb} has no {sorted(odd)[0]!r}")
    texts = [given[verb], given.get("to", ""), given.get("if_version", "")]
    if not all(isinstance(text, str) for text in texts):
        raise _wrong(f"operation {index}: paths and versions are Strings")
    if verb == "create" and "value" not in given:
        raise _wrong(f"operation {index}: create takes a value")
    changes = given.get("changes", [])
    if not isinstance(changes, list):
        raise _wrong(f"operation {index}: changes are an Array")
    path, target, version = texts
    return Operation(
        verb, _path(context, "batch", path), given.get("value"),
        tuple(parse_changes(changes)) if verb == "update" else (),
        context.path(target) if target else "", version,
    )  # fmt: skip


def _wrong(message: str, hint: str = "") -> AffsError:
    return AffsError("record.batch", Category.INVALID, message, hint=hint)


_FIELDS = (
    Field("action", "Action"),
    Field("path", "Path", FieldKind.PATH),
    Field("id", "Id", FieldKind.ID),
    Field("version", "Version"),
)
_PLAN = (Field("changes", "Would change", FieldKind.LIST), *UNDO_FIELDS)


def _result(headline: str) -> Schema:
    return Schema(Shape.DOCUMENT, _FIELDS, headline=headline, plan=_PLAN)


CREATE = Command(
    name="create",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="a new record: a file whose content is a value",
    description=(
        "The directory has to be there, and nothing at the path. The file holds the value as AJIS "
        "text on one line, which is JSON where the value has only what JSON has. When the command "
        "returns, the record is durable and the mount shows it."
    ),
    options=CreateOptions,
    run=_run_create,
    result=_result("Created {path}, version {version}."),
    errors=_ERRORS,
    examples=(Example('create /people/anna {"name": "Anna", "age": 31}', "a record"),),
)

UPDATE = Command(
    name="update",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="change a record: set, unset, merge, append at places inside it",
    description=(
        "All changes happen in one step. A place is a field, and parts of it: home.city, "
        'tags[0], ["any key"]; $ is the whole record. Objects that are missing on the way are '
        "made. Of the text, only that of changed values is replaced: comments and layout stay. The "
        "answer has what it was before, and `undo` brings it back."
    ),
    options=UpdateOptions,
    run=_run_update,
    plan=lambda context, options: _planned(context, [_update(context, options)]),
    danger=Danger.REVERSIBLE,
    result=_result("Updated {path}, version {version}."),
    errors=_ERRORS,
    examples=(
        Example('update /people/anna set age 32 append tags "new"', "two changes in one step"),
        Example("update /people/anna unset home.zip --if-version 0a1b2c3d4e5f6071", "only if ..."),
    ),
)

MOVE = Command(
    name="move",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="give a record another path; it keeps its id",
    description="The new path has to be free, and its directory has to be there.",
    options=MoveOptions,
    run=_run_move,
    plan=lambda context, options: _planned(context, [_move(context, options)]),
    danger=Danger.REVERSIBLE,
    result=_result("Moved {from} to {path}."),
    errors=_ERRORS,
    examples=(Example("move /people/anna /former/anna", "elsewhere"),),
)

ERASE = Command(
    name="erase",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="take a record away",
    description=(
        "It stays in the kept states that have it. (`delete` is about kept states themselves.) "
        "The answer has what it was, and `undo` brings it back as it was."
    ),
    options=EraseOptions,
    run=_run_erase,
    plan=lambda context, options: _planned(context, [_erase(context, options)]),
    danger=Danger.DESTRUCTIVE,
    result=_result("Erased {path}."),
    errors=_ERRORS,
    examples=(Example("erase /people/anna --yes", "gone from the working state"),),
)

BATCH = Command(
    name="batch",
    kind=Kind.COMMAND,
    role=Role.OPERATOR,
    group=_GROUP,
    summary="many changes of records in one step: all of them, or none",
    description=(
        'Operations are {"create": PATH, "value": V}, {"update": PATH, "changes": [...]}, '
        '{"move": PATH, "to": PATH} and {"erase": PATH}, the last three also with '
        '"if_version". No record and no path may be named twice. At most 1000 in one batch.'
    ),
    options=BatchOptions,
    run=_run_batch,
    plan=lambda context, options: _planned(context, _operations(context, options)),
    danger=Danger.REVERSIBLE,
    destructive_with=("erasures",),
    result=Schema(
        Shape.DOCUMENT,
        (Field("count", "Changed", FieldKind.COUNT),),
        headline="Changed {count} records.",
        plan=_PLAN,
    ),
    errors=(*_ERRORS, "record.batch", "record.twice"),
    examples=(
        Example(
            'batch [{"create": "/a", "value": 1}, {"update": "/b", "changes": ["set", "n", 2]}]',
            "both or none",
        ),
    ),
)
