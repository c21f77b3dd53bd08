"""Which operation `undo` and `redo` mean: rules on entries of the operation log alone.

An entry that reverses another names it by `undoes`. An entry is in force unless one that is in
force reverses it. `undo` takes the newest entry in force that is no reversal itself; `redo` takes
the newest undo in force, as long as nobody did anything new since: so an undone operation comes
back by reversing its undo.
"""

from collections.abc import Sequence

from affs_fuse.runtime.ports import Plain

__all__ = ["changes_something", "find_redo", "find_undo", "in_force"]


def changes_something(entry: Plain) -> bool:
    """Whether there is anything that an undo would change back."""
    return bool(entry.get("ok")) and bool(entry.get("before") or entry.get("too_large"))


def in_force(entries: Sequence[Plain]) -> set[int]:
    """Numbers of entries that nothing in force reverses. entries: by rising number; a reversal
    comes after what it reverses."""
    reversed_by_force: set[int] = set()
    force: set[int] = set()
    for entry in reversed(entries):
        if entry["number"] not in reversed_by_force:
            force.add(entry["number"])
            if entry.get("ok") and "undoes" in entry:
                reversed_by_force.add(entry["undoes"])
    return force


def find_undo(entries: Sequence[Plain], count: int) -> list[Plain]:
    """At most `count` operations to be undone, newest first."""
    force = in_force(entries)
    found = [
        entry
        for entry in reversed(entries)
        if changes_something(entry) and "undoes" not in entry and entry["number"] in force
    ]
    return found[:count]


def find_redo(entries: Sequence[Plain]) -> Plain | None:
    """The undo to be reversed, or None."""
    force = in_force(entries)
    by_number = {entry["number"]: entry for entry in entries}
    for entry in reversed(entries):
        if not changes_something(entry):
            continue
        if "undoes" not in entry:
            return None
        target = by_number.get(entry["undoes"])
        is_undo = target is not None and "undoes" not in target
        if is_undo and entry["number"] in force:
            return entry
    return None
