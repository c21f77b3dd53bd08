"""`rollback`: the working state becomes a kept one."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.parameters import Flag, StateReference, argument, option
from affs_fuse.runtime.plans import UNDO_FIELDS, undo_impossible, undo_possible
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape
from affs_fuse.runtime.retention import DAY_NS, Rules

__all__ = ["ROLLBACK"]

_COUNTS = (
    Field("added", "Added", FieldKind.COUNT),
    Field("removed", "Removed", FieldKind.COUNT),
    Field("changed", "Changed", FieldKind.COUNT),
    Field("renamed", "Renamed", FieldKind.COUNT),
)


@dataclass(frozen=True, slots=True)
class Options:
    state: str | None = argument(
        StateReference(), "where to; without it, the published state", default=None
    )
    undo: bool = option(Flag(), "bring back what the last rollback put aside")
    discard: bool = option(Flag(), "do not keep what is abandoned: it cannot be undone then")
    force: bool = option(Flag(), "even if something is mounted below a directory that goes")


async def _rollback(context: Context, options: Options, dry_run: bool) -> Plain:
    if options.undo and options.state is not None:
        raise AffsError(
            "command.contradiction",
            Category.INVALID,
            "rollback takes either a state or --undo",
            hint="--undo goes to what the last rollback put aside",
        )
    return await context.engine.rollback(
        options.state,
        undo=options.undo,
        discard=options.discard,
        dry_run=dry_run,
        force=options.force,
        author=context.author,
        expect=None if dry_run else context.expect,
    )


async def _run(context: Context, options: Options) -> Value:
    answer = await _rollback(context, options, dry_run=False)
    context.effects.note({"working": answer["left"]}, {"working": answer["target"]["id"]})
    return answer


async def _plan(context: Context, options: Options) -> Plan:
    answer = await _rollback(context, options, dry_run=True)
    if options.discard:
        undo = undo_impossible("--discard keeps nothing of what is abandoned")
    else:
        days = Rules.of(context.engine.settings).automatic_days
        until_ns = context.clock.now_ns() + days * DAY_NS
        undo = undo_possible("goes back to what is abandoned, kept as a checkpoint", until_ns)
    return Plan.made({**answer, "undo": undo})


ROLLBACK = Command(
    name="rollback",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Working",
    summary="make the working state what a kept state is",
    description=(
        "The whole mount shows the target at once, open files and mappings included; a file "
        "that does not exist there gives ESTALE to those who have it open. What is abandoned is "
        "kept as an automatic checkpoint, so `rollback --undo` brings it back; `--discard` "
        "waives that, and then wants --yes or the token of a dry run."
    ),
    options=Options,
    run=_run,
    plan=_plan,
    danger=Danger.REVERSIBLE,
    destructive_with=("discard",),
    result=Schema(
        Shape.DOCUMENT,
        (
            Field("abandoned", "Put aside as", FieldKind.STATE),
            *_COUNTS,
            Field("stale_handles", "Stale open files", FieldKind.COUNT),
        ),
        headline="Rolled back to {target}.",
        plan=(
            Field("target", "Would go to", FieldKind.STATE),
            *_COUNTS,
            Field("bytes", "Growth", FieldKind.GROWTH),
            Field("changes", "First changes", FieldKind.LIST),
            Field("open_files", "Open files affected", FieldKind.LIST),
            Field("mounts_below", "Mounts in the way", FieldKind.LIST),
            *UNDO_FIELDS,
        ),
    ),
    errors=(
        "state.not_found",
        "state.ambiguous",
        "state.none_published",
        "state.nothing_to_undo",
        "state.mounts_below",
    ),
    examples=(
        Example("rollback --dry-run", "what would be lost?"),
        Example("rollback", "back to what was published"),
        Example("rollback --undo", "no, I do want it"),
        Example("rollback before-upgrade --discard --yes", "and throw away what is there now"),
    ),
)
