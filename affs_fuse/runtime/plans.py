"""What plans of different commands have in common: the changes of files they show, and whether and
until when they can be undone."""

from contextlib import aclosing
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.runtime.ports import EnginePort, Plain
from affs_fuse.runtime.results import Field, FieldKind

__all__ = [
    "CHANGES_FIELDS",
    "CHANGES_SHOWN_MAX",
    "UNDO_FIELDS",
    "changes_between",
    "undo_impossible",
    "undo_possible",
]

CHANGES_SHOWN_MAX = 100
"""Of a plan; `diff` has them all."""

CHANGES_FIELDS = (
    Field("added", "Added", FieldKind.COUNT),
    Field("removed", "Removed", FieldKind.COUNT),
    Field("changed", "Changed", FieldKind.COUNT),
    Field("renamed", "Renamed", FieldKind.COUNT),
    Field("bytes", "Growth", FieldKind.GROWTH),
    Field("changes", "First changes", FieldKind.LIST),
)

UNDO_FIELDS = (
    Field("undo.possible", "Can be undone", FieldKind.FLAG),
    Field("undo.how", "By undo, which"),
    Field("undo.until_ns", "At least until", FieldKind.TIME),
    Field("undo.why", "Because"),
)


async def changes_between(engine: EnginePort, a: str | None, b: str) -> Plain:
    """Counts and bytes of all that differs, and the first changes."""
    counts: dict[str, Any] = {"added": 0, "removed": 0, "changed": 0, "renamed": 0}
    growth = 0
    first: list[Value] = []
    async with aclosing(engine.diff(a, b, None)) as changes:
        async for change in changes:
            counts[change["kind"]] += 1
            growth += change["bytes"]
            if len(first) < CHANGES_SHOWN_MAX:
                first.append(change)
    return {**counts, "bytes": growth, "changes": first}


def undo_possible(how: str, until_ns: int | None) -> Plain:
    """how: what `undo` then does. until_ns: None for as long as the states in it are kept."""
    return {"possible": True, "how": how, "until_ns": until_ns, "why": ""}


def undo_impossible(why: str) -> Plain:
    return {"possible": False, "how": "", "until_ns": None, "why": why}
