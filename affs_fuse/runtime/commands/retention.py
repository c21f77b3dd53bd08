"""`retention`, `set-retention` and `expire`: which kept states may go, and letting them go."""

import dataclasses
from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, NoOptions, Plan
from affs_fuse.runtime.effects import change_settings
from affs_fuse.runtime.expectation import demand
from affs_fuse.runtime.parameters import Choice, Integer, Span, option
from affs_fuse.runtime.plans import UNDO_FIELDS, undo_impossible, undo_possible
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.retention import NANOSECONDS, RULES_NUMBER, Rules, expired
from affs_fuse.volume.moments import parse_span
from affs_fuse.volume.settings import SettingKind

__all__ = ["EXPIRE", "RETENTION", "SET_RETENTION"]

EXPIRED_MAX = 40
"""States of one `expire`: their effect has to fit an entry of the log."""

COUNT = Integer(minimum=0, maximum=1_000_000)
LOG_COUNT = Integer(minimum=100, maximum=100_000)
YES_NO = Choice({"yes": "they go like others", "no": "they stay"})

_RULE_FIELDS = tuple(
    Field(f"rules.{name}", title, kind)
    for name, title, kind in (
        ("keep_last", "Keep the newest", FieldKind.COUNT),
        ("keep_hourly", "Hourly", FieldKind.COUNT),
        ("keep_daily", "Daily", FieldKind.COUNT),
        ("keep_weekly", "Weekly", FieldKind.COUNT),
        ("keep_monthly", "Monthly", FieldKind.COUNT),
        ("keep_yearly", "Yearly", FieldKind.COUNT),
        ("expire_labelled", "Labelled ones go too", FieldKind.FLAG),
        ("automatic_last", "Automatic: the newest", FieldKind.COUNT),
        ("automatic_days", "Automatic: days", FieldKind.COUNT),
        ("grace_s", "Deleted can be restored for", FieldKind.DURATION),
        ("log_entries", "Log entries", FieldKind.COUNT),
        ("log_days", "Log days (0: any age)", FieldKind.COUNT),
    )
)
_WOULD_EXPIRE = Field("expires", "Would let go", FieldKind.LIST)


async def _show(context: Context, options: NoOptions) -> Value:
    rules = Rules.of(context.engine.settings)
    return {"rules": rules.to_value(), "expires": await _would_expire(context, rules)}


async def _would_expire(context: Context, rules: Rules) -> list[Plain]:
    return expired(await context.engine.states(), rules, context.clock.now_ns())


@dataclass(frozen=True, slots=True)
class Options:
    keep_last: int | None = option(COUNT, "keep the newest so many states")
    keep_hourly: int | None = option(COUNT, "and the newest of each of so many hours")
    keep_daily: int | None = option(COUNT, "of each of so many days")
    keep_weekly: int | None = option(COUNT, "of each of so many weeks")
    keep_monthly: int | None = option(COUNT, "of each of so many months")
    keep_yearly: int | None = option(COUNT, "of each of so many years")
    expire_labelled: str | None = option(YES_NO, "whether states with a label go like others")
    automatic_last: int | None = option(COUNT, "what rollbacks put aside: keep the newest so many")
    automatic_days: int | None = option(COUNT, "and all that are younger than so many days")
    grace: str | None = option(Span(), "how long a deleted state can be restored: 0s for not")
    log_entries: int | None = option(LOG_COUNT, "keep so many entries of the operation log")
    log_days: int | None = option(COUNT, "and none older than so many days; 0 for any age")


def _changed_rules(rules: Rules, options: Options) -> Rules:
    given = dataclasses.asdict(options)
    grace, labelled = given.pop("grace"), given.pop("expire_labelled")
    changes = {name: value for name, value in given.items() if value is not None}
    if grace is not None:
        changes["grace_s"] = parse_span(grace)
    if labelled is not None:
        changes["expire_labelled"] = labelled == "yes"
    return dataclasses.replace(rules, **changes)


async def _set(context: Context, options: Options) -> Value:
    old = Rules.of(context.engine.settings)
    demand(context.expect, old.to_value(), "set-retention")
    rules = _changed_rules(old, options)
    key = (SettingKind.RETENTION, RULES_NUMBER)
    await change_settings(context.engine, context.effects, {key: rules.to_value()})
    return {"rules": rules.to_value(), "expires": await _would_expire(context, rules)}


async def _plan_set(context: Context, options: Options) -> Plan:
    old = Rules.of(context.engine.settings)
    rules = _changed_rules(old, options)
    shown = {
        "rules": rules.to_value(),
        "before": old.to_value(),
        "expires": await _would_expire(context, rules),
        "undo": undo_possible("sets the rules back; states that went meanwhile stay gone", None),
    }
    return Plan(shown, old.to_value())


async def _expire(context: Context, options: NoOptions) -> Value:
    rules = Rules.of(context.engine.settings)
    now_ns = context.clock.now_ns()
    states = await context.engine.expire(
        lambda states: expired(states, rules, now_ns)[:EXPIRED_MAX], rules.grace_s,
        expect=context.expect,
    )
    if states:
        context.effects.note(
            {"kept": {state["id"]: True for state in states}},
            {"kept": {state["id"]: False for state in states}},
        )
    left = len(await _would_expire(context, rules))
    return {"expired": states, "count": len(states), "left": left}


async def _plan_expire(context: Context, options: NoOptions) -> Plan:
    rules = Rules.of(context.engine.settings)
    states = (await _would_expire(context, rules))[:EXPIRED_MAX]
    if rules.grace_s:
        until_ns = context.clock.now_ns() + rules.grace_s * NANOSECONDS
        undo = undo_possible("brings them back, unless their room was needed before", until_ns)
    else:
        undo = undo_impossible("the rules give deleted states no time of grace")
    shown = {"expires": states, "count": len(states), "undo": undo}
    return Plan(shown, [state["id"] for state in states])


RETENTION = Command(
    name="retention",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Keeping",
    summary="the rules by which kept states, and log entries, are let go",
    description=(
        "And which states they would let go now. The published state and pinned ones are never "
        "among them, nor is what `rollback --undo` returns to."
    ),
    options=NoOptions,
    run=_show,
    result=Schema(Shape.DOCUMENT, (*_RULE_FIELDS, _WOULD_EXPIRE)),
    errors=("setting.damaged",),
    examples=(Example("retention", "what goes when?"),),
)

SET_RETENTION = Command(
    name="set-retention",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Keeping",
    summary="change the rules by which kept states are let go",
    description=(
        "A state stays if any rule keeps it. Without a `--keep` rule all that people made stays. "
        "Hours, days, weeks, months and years are those of UTC, and of each the newest state "
        "counts. The rules are applied by `expire`, by hand or every ten minutes; what is not "
        "given stays as it is."
    ),
    options=Options,
    run=_set,
    plan=_plan_set,
    danger=Danger.REVERSIBLE,
    result=Schema(
        Shape.DOCUMENT,
        (*_RULE_FIELDS, _WOULD_EXPIRE),
        plan=(*_RULE_FIELDS, _WOULD_EXPIRE, *UNDO_FIELDS),
    ),
    errors=("setting.damaged",),
    examples=(
        Example("set-retention --keep-hourly 24 --keep-daily 14 --dry-run", "what would go?"),
        Example("set-retention --keep-last 100", "the newest hundred stay"),
        Example("set-retention --grace 7d", "a week to think better of a deletion"),
    ),
)

EXPIRE = Command(
    name="expire",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Keeping",
    summary="let go of the states that the rules of retention do not keep",
    description=(
        "At most 40 at once; the answer says how many are left. They can be restored for the time "
        "of grace, as with `delete`."
    ),
    options=NoOptions,
    run=_expire,
    plan=_plan_expire,
    danger=Danger.DESTRUCTIVE,
    result=Schema(
        Shape.DOCUMENT,
        (
            Field("expired", "Let go", FieldKind.LIST),
            Field("count", "Count", FieldKind.COUNT),
            Field("left", "Left to go", FieldKind.COUNT),
        ),
        plan=(_WOULD_EXPIRE, Field("count", "Count", FieldKind.COUNT), *UNDO_FIELDS),
    ),
    errors=("setting.damaged",),
    examples=(
        Example("expire --dry-run", "what would go?"),
        Example("expire --yes", "let it go now"),
    ),
)
