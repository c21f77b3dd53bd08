"""Changes of a schema, and what they do to records that were valid before.

docs/specs/Collections.md, "Evolution". A change names places of the old schema, each at most once
in all of them; so `migrated` of a record that is migrated already leaves it as it is, and an
evolution that was interrupted is simply gone through again.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.query.conversion import converted
from affs_fuse.query.editing import parse_place, split_changes
from affs_fuse.query.schema import (
    RecordSchema,
    Rule,
    place_text,
    rules_on_way,
    schema_problem,
    short_text,
)
from affs_fuse.query.schema_check import Violation, violations, with_defaults
from affs_fuse.query.schema_reading import parse_schema

__all__ = ["SCHEMA_VERBS", "Evolution", "SchemaChange", "parse_evolution"]


Names = tuple[str, ...]
"""A place that goes through Objects alone; never empty."""


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """verb: one of SCHEMA_VERBS. operand: the rule, or the new name."""

    verb: str
    place: Names
    operand: Value = None

    @property
    def name(self) -> str:
        return self.place[-1]


@dataclass(frozen=True, slots=True)
class Evolution:
    """From one schema to another. words: as they were given."""

    words: tuple[Value, ...]
    changes: tuple[SchemaChange, ...]
    schema: RecordSchema

    def migrated(self, value: Value) -> tuple[Value, list[Violation]]:
        """A record as it will be, and what is wrong with it then. One that needs no change comes
        back equal."""
        problems: list[Violation] = []
        made = value
        for change in self.changes:
            made = _MIGRATIONS[change.verb](made, change, self.schema.record, problems)
        return made, problems or violations(self.schema.record, made)


def parse_evolution(schema: RecordSchema, words: list[Value]) -> Evolution:
    """From a flat list: each verb, its field, and but for drop a rule or a name. Errors:
    collection.schema."""
    changes = _parse(words)
    _check_apart(changes)
    value = deepcopy(schema.value)
    for change in changes:
        _EDITS[change.verb](value, change)
    return Evolution(tuple(words), tuple(changes), parse_schema(value))


def _parse(words: list[Value]) -> list[SchemaChange]:
    changes = []
    for verb, text, operand in split_changes(words, SCHEMA_VERBS, "drop", schema_problem):
        if verb == "rename" and not isinstance(operand, str):
            raise schema_problem(f"rename takes {SCHEMA_VERBS[verb]}")
        changes.append(SchemaChange(verb, _names(text), operand))
    return changes


def _names(text: str) -> Names:
    place = parse_place(text)
    names = tuple(key for key in place if isinstance(key, str))
    if not names or len(names) < len(place):
        raise schema_problem(f"{text!r} is no field")
    return names


def _check_apart(changes: list[SchemaChange]) -> None:
    named: list[Names] = []
    for change in changes:
        named.append(change.place)
        if change.verb == "rename":
            named.append(_target(change))
    for index, place in enumerate(named):
        for other in named[:index]:
            if place[: len(other)] == other or other[: len(place)] == place:
                raise schema_problem(
                    "is named by two changes, or lies in what another one changes",
                    place_text(place), "one after the other, as two evolutions",
                )  # fmt: skip


def _target(change: SchemaChange) -> Names:
    name = _names(change.operand)
    if len(name) != 1:
        raise schema_problem(
            f"rename takes a name in the same Object, not {change.operand!r}",
            place_text(change.place),
        )
    return (*change.place[:-1], name[0])


# ---- the schema ----


def _written(name: str) -> str:
    """A name as a key of `fields` is written."""
    return place_text((name,))


def _holder(schema: dict[str, Value], place: Names, *, making: bool = False) -> dict[str, Value]:
    """The `fields` that have the last name of a place."""
    at: Any = schema
    for depth, name in enumerate(place[:-1]):
        fields = at.setdefault("fields", {}) if making else at.get("fields", {})
        if _written(name) not in fields:
            if not making:
                raise _unknown(place[: depth + 1])
            fields[_written(name)] = {"type": "Object"}
        at = fields[_written(name)]
    fields = at.setdefault("fields", {}) if making else at.get("fields", {})
    assert type(fields) is dict
    return fields


def _existing(schema: dict[str, Value], place: Names) -> dict[str, Value]:
    fields = _holder(schema, place)
    if _written(place[-1]) not in fields:
        raise _unknown(place)
    return fields


def _unknown(place: Names) -> AffsError:
    hint = "`collection` shows the schema"
    return schema_problem("the schema has no such field", place_text(place), hint)


def _add(schema: dict[str, Value], change: SchemaChange) -> None:
    fields = _holder(schema, change.place, making=True)
    if _written(change.name) in fields:
        raise schema_problem(
            "the schema has this field already", place_text(change.place),
            "`rule` gives it another rule, `convert` another type",
        )  # fmt: skip
    fields[_written(change.name)] = change.operand


def _rename(schema: dict[str, Value], change: SchemaChange) -> None:
    fields = _existing(schema, change.place)
    target = _target(change)
    if _written(target[-1]) in fields:
        raise schema_problem("the schema has this field already", place_text(target))
    fields[_written(target[-1])] = fields.pop(_written(change.name))
    for key in schema.get("unique", []):
        key[:] = [_renamed(name, change.place, target) for name in key]


def _renamed(name: str, old: Names, new: Names) -> str:
    place = _names(name)
    return place_text((*new, *place[len(old) :])) if place[: len(old)] == old else name


def _drop(schema: dict[str, Value], change: SchemaChange) -> None:
    fields = _existing(schema, change.place)
    for key in schema.get("unique", []):
        if any(_names(name)[: len(change.place)] == change.place for name in key):
            raise schema_problem(
                "a unique key has this field", place_text(change.place),
                "declare a schema without the key first",
            )  # fmt: skip
    del fields[_written(change.name)]


def _rule(schema: dict[str, Value], change: SchemaChange) -> None:
    _existing(schema, change.place)[_written(change.name)] = change.operand


_EDITS: dict[str, Callable[[dict[str, Value], SchemaChange], None]] = {
    "add": _add,
    "rename": _rename,
    "drop": _drop,
    "convert": _rule,
    "rule": _rule,
}

SCHEMA_VERBS = {
    "add": "a field and its rule",
    "rename": "a field and its new name",
    "drop": "a field",
    "convert": "a field and its new rule",
    "rule": "a field and its new rule",
}
"""What each takes, for people."""


# ---- records ----


def _parent(value: Value, place: Names) -> Value:
    """The Object that has the last name of a place, if there is one."""
    for name in place[:-1]:
        value = value.get(name) if type(value) is dict else None
    return value if type(value) is dict else None


def _with_parent(value: Value, place: Names, parent: dict[str, Value]) -> Value:
    """The value with another Object in the place of that one; the old value stays as it is."""
    if len(place) == 1:
        return parent
    return {**value, place[0]: _with_parent(value[place[0]], place[1:], parent)}


def _add_default(value: Value, change: SchemaChange, record: Rule, _: list[Violation]) -> Value:
    parent = _parent(value, change.place)
    if parent is None:
        return value
    rule = Rule(fields={change.name: _rule_of(record, change.place)})
    return _with_parent(value, change.place, with_defaults(rule, parent))


def _rename_field(value: Value, change: SchemaChange, _: Rule, problems: list[Violation]) -> Value:
    parent, name = _parent(value, change.place), change.name
    if parent is None or name not in parent:
        return value
    target = _target(change)
    if target[-1] in parent:
        told = short_text(parent[target[-1]])
        problems.append(Violation(target, "rename", f"no field in the way of {name}", told))
        return value
    made = {target[-1] if key == name else key: member for key, member in parent.items()}
    return _with_parent(value, change.place, made)


def _drop_field(value: Value, change: SchemaChange, _: Rule, __: list[Violation]) -> Value:
    parent, name = _parent(value, change.place), change.name
    if parent is None or name not in parent:
        return value
    made = {key: member for key, member in parent.items() if key != name}
    return _with_parent(value, change.place, made)


def _convert_field(
    value: Value, change: SchemaChange, record: Rule, problems: list[Violation]
) -> Value:
    parent, name = _parent(value, change.place), change.name
    if parent is None or name not in parent:
        return value
    rule = _rule_of(record, change.place)
    made = converted(rule, parent[name], change.place, problems)
    return _with_parent(value, change.place, {**parent, name: made})


def _keep(value: Value, _: SchemaChange, __: Rule, ___: list[Violation]) -> Value:
    return value


def _rule_of(record: Rule, place: Names) -> Rule:
    *_, rule = rules_on_way(record, place)
    assert rule is not None, "the new schema has what was added or changed"
    return rule


_MIGRATIONS: dict[str, Callable[[Value, SchemaChange, Rule, list[Violation]], Value]] = {
    "add": _add_default,
    "rename": _rename_field,
    "drop": _drop_field,
    "convert": _convert_field,
    "rule": _keep,
}
