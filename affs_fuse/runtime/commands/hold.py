"""`hold`: keep a state from being reclaimed for as long as a reader renews the hold.

A query of the role observer: whoever may look at the volume may look at a state of it in peace.
Nothing on the volume changes, and what an observer can hold up by it is bounded: it ends with the
lease and never outlives the daemon.
"""

from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.holds import LEASE_DEFAULT_S, LEASE_MAX_S
from affs_fuse.runtime.parameters import Integer, StateReference, Text, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["HOLD"]


@dataclass(frozen=True, slots=True)
class Options:
    state: str | None = argument(StateReference(), "which one", default=None)
    renew: str = option(Text(), "renew the hold ID, which `hold` gave", default="")
    release: str = option(Text(), "end the hold ID", default="")
    lease: int = option(
        Integer(minimum=1, maximum=LEASE_MAX_S),
        "how many seconds it lasts unless it is renewed",
        default=LEASE_DEFAULT_S,
    )


async def _run(context: Context, options: Options) -> Value:
    given = [word for word in (options.state, options.renew, options.release) if word]
    if len(given) != 1:
        raise AffsError(
            "command.contradiction",
            Category.INVALID,
            "hold takes a state, or --renew ID, or --release ID: one of the three",
        )
    if options.renew:
        return await context.engine.renew_hold(options.renew, options.lease)
    if options.release:
        return await context.engine.release_hold(options.release)
    assert options.state
    return await context.engine.hold(options.state, options.lease)


HOLD = Command(
    name="hold",
    kind=Kind.QUERY,
    role=Role.OBSERVER,
    group="Keeping",
    summary="keep a state readable for a while, for a reader of the volume's file",
    description=(
        "A leased hold, for programs that read a kept state from the volume's file or device while "
        "this daemon goes on changing it; `mount.affs -o ro,view=published` is one. The state may "
        "be deleted meanwhile, but its blocks stay until the hold is released or its lease has "
        "passed. Every answer names the published state. Holds end with the daemon; what is to be "
        "kept for good is pinned."
    ),
    options=Options,
    run=_run,
    essential=True,
    result=Schema(
        Shape.DOCUMENT,
        (
            Field("hold", "Hold"),
            Field("state", "State", FieldKind.ID),
            Field("seq", "Of commit", FieldKind.COUNT),
            Field("lease_s", "For", FieldKind.DURATION),
            Field("published", "Published", FieldKind.ID),
        ),
    ),
    errors=(
        "state.not_found", "state.ambiguous", "state.none_published", "hold.not_found",
        "hold.too_many", "hold.not_owner", "command.contradiction",
    ),
    examples=(
        Example("hold published --lease 60", "keep what is published readable for a minute"),
        Example("hold --renew 0f1e2d3c4b5a6978", "go on keeping it"),
    ),
)
