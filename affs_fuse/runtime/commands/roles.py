"""`roles`, `grant` and `revoke`: the volume's rules about who may do what."""

from dataclasses import dataclass
from typing import Any

import trio

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, NoOptions, Plan
from affs_fuse.runtime.effects import change_settings
from affs_fuse.runtime.parameters import Choice, Integer, PathText, Text, argument, option
from affs_fuse.runtime.plans import UNDO_FIELDS, undo_possible
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.roles import rule_of
from affs_fuse.volume.settings import SettingKind

__all__ = ["GRANT", "REVOKE", "ROLES"]

WORDS_MAX = 64
ROLE_CHOICE = Choice(
    {
        "observer": "may ask",
        "operator": "may also commit, keep and publish states",
        "admin": "may do everything",
    }
)
_FIELDS = (
    Field("number", "No", FieldKind.COUNT),
    Field("kind", "Kind"),
    Field("name", "Name"),
    Field("role", "Role"),
    Field("commands", "Only for", FieldKind.LIST),
    Field("paths", "Only below", FieldKind.LIST),
    Field("id", "Uid or gid", FieldKind.COUNT, wide=True),
)


def _shown(number: int, value: Value) -> Plain:
    found: Plain = value if isinstance(value, dict) else {}
    if rule_of(value) is None:
        found = {"kind": "", "id": None, "name": "(cannot be read)", "role": ""}
    return {
        "number": number, **found, "commands": found.get("commands", []),
        "paths": found.get("paths", []),
    }  # fmt: skip


async def _roles(context: Context, options: NoOptions) -> Value:
    return [_shown(*one) for one in context.engine.settings.items(SettingKind.ROLES)]


@dataclass(frozen=True, slots=True)
class GrantOptions:
    who: str = argument(Text(256), "a user, or `group:NAME`; a number is a uid or gid")
    role: str = argument(ROLE_CHOICE, "which role")
    commands: str = option(Text(1024), "only for these commands, parted by commas", default="")
    path: str | None = option(PathText(), "only for what lies below this path")


async def _subject(context: Context, text: str) -> tuple[str, int, str]:
    """Kind, number and name."""
    kind, colon, name = text.partition(":")
    if not colon:
        kind, name = "user", text
    accounts = context.accounts
    numbers: Any = {"user": accounts.user_id, "group": accounts.group_id}.get(kind)
    names: Any = {"user": accounts.user_name, "group": accounts.group_name}.get(kind)
    if numbers is None or not name:
        raise _no_account(f"{text!r} is neither USER, user:USER nor group:GROUP")
    if name.isascii() and name.isdecimal() and len(name) <= 10:
        number = int(name)
        return kind, number, await trio.to_thread.run_sync(names, number)
    found = await trio.to_thread.run_sync(numbers, name)
    if found is None:
        raise _no_account(f"this system has no {kind} {name!r}")
    return kind, found, name


def _no_account(message: str) -> AffsError:
    return AffsError(
        "policy.account", Category.NOT_FOUND, message, hint="a number is taken as it is"
    )


async def _rule(context: Context, options: GrantOptions) -> Plain:
    kind, number, name = await _subject(context, options.who)
    rule: Plain = {"kind": kind, "id": number, "name": name, "role": options.role}
    words = [word.strip() for word in options.commands.split(",") if word.strip()]
    if words:
        rule["commands"] = [context.catalogue.find(word).name for word in words[:WORDS_MAX]]
    if options.path is not None:
        rule["paths"] = [context.path(options.path)]
    return rule


def _same_place(context: Context, rule: Plain) -> tuple[int, Value]:
    """The rule that this one takes the place of: of the same who and what for. Else a new
    number."""
    keys = ("kind", "id", "commands", "paths")
    numbers = [0]
    for number, value in context.engine.settings.items(SettingKind.ROLES):
        numbers.append(number)
        if isinstance(value, dict) and all(value.get(key) == rule.get(key) for key in keys):
            return number, value
    return max(numbers) + 1, None


async def _grant(context: Context, options: GrantOptions) -> Value:
    rule = await _rule(context, options)
    number, _ = _same_place(context, rule)
    changes = {(SettingKind.ROLES, number): rule}
    await change_settings(context.engine, context.effects, changes, expect=context.expect)
    return _shown(number, rule)


async def _plan_grant(context: Context, options: GrantOptions) -> Plan:
    rule = await _rule(context, options)
    number, former = _same_place(context, rule)
    shown = {
        "rule": _shown(number, rule),
        "former": _shown(number, former) if former is not None else None,
        "undo": undo_possible("sets the rule back", None),
    }
    return Plan(shown, [[int(SettingKind.ROLES), number, former]])


@dataclass(frozen=True, slots=True)
class RevokeOptions:
    number: int = argument(Integer(minimum=0), "which rule, by its number in `roles`")


def _found(context: Context, number: int) -> Value:
    value = context.engine.settings.get(SettingKind.ROLES, number)
    if value is None:
        raise AffsError(
            "policy.no_rule", Category.NOT_FOUND, f"there is no rule {number}",
            hint="`roles` shows them",
        )
    return value


async def _revoke(context: Context, options: RevokeOptions) -> Value:
    value = _found(context, options.number)
    changes: dict[tuple[SettingKind, int], Value] = {(SettingKind.ROLES, options.number): None}
    await change_settings(context.engine, context.effects, changes, expect=context.expect)
    return _shown(options.number, value)


async def _plan_revoke(context: Context, options: RevokeOptions) -> Plan:
    value = _found(context, options.number)
    shown = {
        "rule": _shown(options.number, value),
        "former": None,
        "undo": undo_possible("sets the rule again", None),
    }
    return Plan(shown, [[int(SettingKind.ROLES), options.number, value]])


_PLAN_FIELDS = (
    Field("rule.name", "Whom"),
    Field("rule.role", "Role"),
    Field("rule.commands", "Only for", FieldKind.LIST),
    Field("rule.paths", "Only below", FieldKind.LIST),
    Field("former.role", "In place of"),
    *UNDO_FIELDS,
)

ROLES = Command(
    name="roles",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Access",
    summary="the volume's rules about who may do what",
    description=(
        "Root and the owner of the mount are admin. Whoever else reaches the socket is an "
        "observer, or has the highest role that a rule gives to the user or one of the groups. A "
        "change of rules counts from the next request on, also in open sessions."
    ),
    options=NoOptions,
    run=_roles,
    result=Schema(Shape.TABLE, _FIELDS),
    errors=("setting.damaged",),
    examples=(Example("roles", "who may do what?"),),
)

GRANT = Command(
    name="grant",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Access",
    summary="give a user or a group a role",
    description=(
        "For all commands, or for some, or for what lies below a path: then it counts only for "
        "commands that name a path, all of them below it. A rule for the same user or group, "
        "commands and path is replaced. The rule goes with the volume, by number; names are those "
        "of this system."
    ),
    options=GrantOptions,
    run=_grant,
    plan=_plan_grant,
    danger=Danger.REVERSIBLE,
    result=Schema(Shape.DOCUMENT, _FIELDS, plan=_PLAN_FIELDS),
    errors=("policy.account", "command.unknown", "setting.too_long", "setting.too_many"),
    examples=(
        Example("grant ann operator", "ann may commit and publish"),
        Example("grant group:staff operator --commands commit,checkpoint", "but not publish"),
        Example("grant bob admin --dry-run", "what would change?"),
    ),
)

REVOKE = Command(
    name="revoke",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Access",
    summary="take a rule about roles away",
    description="From the next request on, also in open sessions.",
    options=RevokeOptions,
    run=_revoke,
    plan=_plan_revoke,
    danger=Danger.REVERSIBLE,
    result=Schema(Shape.DOCUMENT, headline="Took away rule {number} ({name}: {role}).",
                  plan=_PLAN_FIELDS),
    errors=("policy.no_rule",),
    examples=(Example("revoke 3", "by its number in `roles`"),),
)
