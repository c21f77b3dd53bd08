"""`delete`: a kept state goes."""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.runtime.command import Command, Context, Danger, Example, Kind, Plan
from affs_fuse.runtime.parameters import StateReference, argument
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["DELETE"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str = argument(StateReference(), "which one")


async def _run(context: Context, options: Options) -> Value:
    return await context.engine.delete_state(options.state, expect=context.expect)


async def _plan(context: Context, options: Options) -> Plan:
    return Plan.made(await context.engine.delete_state(options.state, dry_run=True))


DELETE = Command(
    name="delete",
    kind=Kind.COMMAND,
    role=Role.ADMIN,
    group="Keeping",
    summary="delete a kept state and free what it alone holds",
    description=(
        "Frees the blocks that no other kept state needs. A state from which two others descend "
        "disappears at once but frees nothing until one of them is left; the answer names for "
        "which it waits. The published state and pinned ones cannot be deleted."
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
        ),
        headline="Deleted {state}.",
        plan=(
            Field("state", "Would delete", FieldKind.STATE),
            Field("state.time_ns", "Made", FieldKind.TIME),
            Field("state.message", "Message"),
            Field("state.bytes", "Refers to", FieldKind.SIZE),
            Field("descendants", "Descendants", FieldKind.LIST),
        ),
    ),
    errors=("state.not_found", "state.ambiguous", "state.published", "state.pinned"),
    examples=(
        Example("delete --dry-run before-upgrade", "what would go?"),
        Example("delete before-upgrade --yes", "let it go"),
    ),
)
