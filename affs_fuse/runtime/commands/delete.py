"""`delete`: a kept state goes."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.parameters import Flag, StateReference, argument, option
from affs_fuse.runtime.plans import (
    CHANGES_FIELDS,
    UNDO_FIELDS,
    changes_between,
    undo_impossible,
    undo_possible,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.retention import NANOSECONDS, Rules

__all__ = ["DELETE"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str = argument(StateReference(), "which one")
    now: bool = option(Flag(), "free its blocks at once: it cannot be restored then")


def _grace_s(context: Context, options: Options) -> int:
    return 0 if options.now else Rules.of(context.engine.settings).grace_s


async def _run(context: Context, options: Options) -> Value:
    answer = await context.engine.delete_state(
        options.state, grace_s=_grace_s(context, options), expect=context.expect
    )
    number = answer["state"]["id"]
    context.effects.note({"kept": {number: True}}, {"kept": {number: False}})
    return answer


async def _plan(context: Context, options: Options) -> Plan:
    answer = await context.engine.delete_state(options.state, dry_run=True)
    changes = await changes_between(context.engine, answer["beside"], answer["state"]["id"])
    grace_s = _grace_s(context, options)
    if grace_s:
        until_ns = context.clock.now_ns() + grace_s * NANOSECONDS
        undo = undo_possible("brings it back, unless its room was needed before", until_ns)
    else:
        undo = undo_impossible("its blocks are freed at once")
    return Plan.made({**answer, **changes, "undo": undo})


DELETE = Command(
    name="delete",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Keeping",
    summary="delete a kept state and free what it alone holds",
    description=(
        "Frees the blocks that no other kept state needs. A state from which two others descend "
        "disappears at once but frees nothing until one of them is left; the answer names for "
        "which it waits. The published state and pinned ones cannot be deleted. For a grace period "
        "(`retention`) `undo` and `restore` bring it back; its room is then freed as soon as a "
        "writer needs it, and at once with `--now`. Views, queries and holds that read it keep its "
        "blocks until they end. The plan counts them, and shows the state as it differs from the "
        "next newer one."
    ),
    options=Options,
    run=_run,
    plan=_plan,
    danger=Danger.DESTRUCTIVE,
    result=Schema(
        Shape.DOCUMENT,
        (
            Field("freed_bytes", "Freed", FieldKind.SIZE),
            Field("waits_for", "Space waits for", FieldKind.LIST),
            Field("reclaim_ns", "Can be restored until", FieldKind.TIME),
        ),
        headline="Deleted {state}.",
        plan=(
            Field("state", "Would delete", FieldKind.STATE),
            Field("state.time_ns", "Made", FieldKind.TIME),
            Field("state.message", "Message"),
            Field("state.bytes", "Used then", FieldKind.SIZE),
            Field("frees_bytes", "Would free", FieldKind.SIZE),
            Field("readers", "Held by readers", FieldKind.COUNT),
            Field("descendants", "Descendants", FieldKind.LIST),
            *CHANGES_FIELDS,
            *UNDO_FIELDS,
        ),
    ),
    errors=("state.not_found", "state.ambiguous", "state.published", "state.pinned"),
    examples=(
        Example("delete --dry-run before-upgrade", "what would go?"),
        Example("delete before-upgrade --yes", "let it go"),
        Example("delete before-upgrade --now --yes", "let it go, and its room with it"),
    ),
)
