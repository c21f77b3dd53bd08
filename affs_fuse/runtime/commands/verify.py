"""`verify`: read everything back from the medium while the volume is in use.

A query of the role operator: it changes nothing, but it reads a lot and names files.
"""

from contextlib import aclosing
from dataclasses import dataclass

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Context, Example, Kind
from affs_fuse.runtime.parameters import Flag, PathText, StateReference, argument, option
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.results import Field, FieldKind, Schema, Shape

__all__ = ["VERIFY"]

DAMAGED_EXIT_STATUS = 4
"""As fsck.affs."""


@dataclass(frozen=True, slots=True)
class Options:
    path: str = argument(
        PathText(), "only this file, or everything below this directory, as seen from the mount",
        default="",
    )
    state: str | None = option(
        StateReference(), "only this kept state, or the path in it", default=None
    )
    since: str | None = option(
        StateReference(), "only what is newer than this kept state", default=None
    )
    errors_only: bool = option(
        Flag(), "only where damage is known; what is sound there now is forgotten"
    )
    detach: bool = option(Flag(), "begin, and do not wait for the end")
    full_speed: bool = option(Flag(), "do not spare the mount's own requests")
    status: bool = option(Flag(), "what is known: the damage, and what is running")
    cancel: bool = option(Flag(), "end the one that is running")


async def _run(context: Context, options: Options) -> Value:
    begins = bool(options.path or options.detach or options.full_speed)
    begins = begins or options.state is not None or options.since is not None
    begins = begins or options.errors_only
    if begins + options.status + options.cancel > 1:
        raise AffsError(
            "command.contradiction", Category.INVALID,
            "verify begins something, or tells its --status, or takes --cancel: one of the three",
        )
    if options.status:
        return await _status(context)
    if options.cancel:
        return _with_status(await context.engine.cancel_verification())
    found = context.engine.verify(
        path=context.path(options.path) if options.path else "",
        state=options.state, since=options.since, author=context.author,
        errors_only=options.errors_only, detach=options.detach, full_speed=options.full_speed,
    )
    result: Plain = {}
    async with aclosing(found) as parts:
        async for part in parts:
            if "damage" in part:
                await context.reply.item(part["damage"])
            elif "progress" in part:
                now = part["progress"]
                total = now["total"] or None
                await context.reply.progress(now["done"], total, now["unit"], now["note"])
            else:
                result = part["result"]
    return _with_status(result)


async def _status(context: Context) -> Value:
    report = await context.engine.verified()
    for entry in report.pop("known"):
        await context.reply.item(entry)
    running, results = report["running"], report["results"]
    last = running or (results[0] if results else {"outcome": "never"})
    return {**report, **last, "known_damage": report["damage"]}


def _with_status(result: Plain) -> Value:
    if result["damage"]:
        return {**result, "exit_status": DAMAGED_EXIT_STATUS}
    return result


VERIFY = Command(
    name="verify",
    kind=Kind.QUERY,
    role=Role.OPERATOR,
    group="Looking",
    summary="read everything back from the medium while the volume is in use",
    description=(
        "Checks tree nodes and file data of the working state and of all kept states against "
        "their checksums, past every cache, and indexes against their rules; what is damaged is "
        "told with path, state and block. It reads as long as the mount's requests do not get "
        "slower by it. It goes on when the client leaves, and after a restart where it was; "
        "--cancel ends it. What is written after its beginning need not be read. With damage "
        "affsctl ends with 4."
    ),
    options=Options,
    run=_run,
    result=Schema(
        Shape.STREAM,
        (
            Field("code", "Damage"),
            Field("path", "Path"),
            Field("state", "State"),
            Field("block", "Block"),
            Field("states", "Also in", FieldKind.LIST, wide=True),
            Field("message", "What", wide=True),
            Field("found_ns", "Found", FieldKind.TIME, wide=True),
        ),
        summary=(
            Field("outcome", "outcome"),
            Field("scope", "scope"),
            Field("bytes", "read", FieldKind.SIZE),
            Field("damage", "damaged", FieldKind.COUNT),
            Field("unstable", "read twice", FieldKind.COUNT),
            Field("medium", "medium"),
            Field("known_damage", "known damage", FieldKind.COUNT),
            Field("oldest_ns", "everything sound at", FieldKind.TIME),
            Field("never", "segments never verified", FieldKind.COUNT),
        ),
    ),
    errors=(
        "verification.running", "verification.not_running", "verification.path",
        "verification.not_owner", "state.not_found", "state.ambiguous", "state.none_published",
        "command.contradiction",
    ),
    examples=(
        Example("verify", "is everything still what was written?"),
        Example("verify /projects --state before-upgrade", "one directory of a kept state"),
        Example("verify --since @~1 --detach", "what is new, in the background"),
        Example("verify --errors-only", "is what was damaged sound again?"),
        Example("verify --status", "what is known by now"),
    ),
)
