"""What a rebuild preserved, passed over and lost, as values; words are fsck.affs's."""

from dataclasses import dataclass, field
from typing import Any

__all__ = ["ENTRIES_MAX", "UNMATCHED", "Loss", "RebuildReport", "StateReport"]

ENTRIES_MAX = 10_000
"""Losses named for each state; more are only counted."""


UNMATCHED = "the blocks do not match their checksums"


@dataclass(frozen=True, slots=True)
class Loss:
    """kind: "path" (a name whose object is gone), "data" (bytes offset to offset + length are a
    hole now), "attributes" (the object was there without its inode), "xattr", "unnamed" (put into
    the directory for lost things), "stale" (older than what contradicts it, left out), "removed"
    (had no name any more), "restored" (a name that only one side still had), "collection" (a
    declaration), "import" (where an unfinished one stood), "index" (its pages are left out: the
    daemon makes those of the working state anew)."""

    kind: str
    path: str
    object: int
    offset: int = 0
    length: int = 0
    detail: str = ""

    def to_auv(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "path": self.path,
            "object": self.object,
            "offset": self.offset,
            "length": self.length,
            "detail": self.detail,
        }

    def __str__(self) -> str:
        where = f" bytes {self.offset} to {self.offset + self.length}" if self.length else ""
        return f"{self.kind}: {self.path}{where}" + (f": {self.detail}" if self.detail else "")


@dataclass(slots=True)
class StateReport:
    """One state. exact: every node was reached by pointers and is there."""

    name: str
    number: int
    seq: int
    exact: bool = False
    by_births: bool = False
    leaves: int = 0
    leaves_lost: int = 0
    objects: int = 0
    names: int = 0
    data_bytes: int = 0
    lost_data_bytes: int = 0
    objects_expected: int | None = None
    lost_directory: str = ""
    losses: list[Loss] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def lose(
        self, kind: str, path: str, number: int, *, offset: int = 0, length: int = 0,
        detail: str = "",
    ) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if len(self.losses) < ENTRIES_MAX:
            self.losses.append(Loss(kind, path, number, offset, length, detail))

    @property
    def whole(self) -> bool:
        """Everything that this state had is there again."""
        expected = self.objects_expected in (None, self.objects)
        quiet = not self.counts.keys() - {"removed", "stale", "index"}
        return not self.leaves_lost and expected and quiet

    def to_auv(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "number": self.number,
            "seq": self.seq,
            "exact": self.exact,
            "by_births": self.by_births,
            "whole": self.whole,
            "leaves": self.leaves,
            "leaves_lost": self.leaves_lost,
            "objects": self.objects,
            "objects_expected": self.objects_expected,
            "names": self.names,
            "data_bytes": self.data_bytes,
            "lost_data_bytes": self.lost_data_bytes,
            "lost_directory": self.lost_directory,
            "counts": dict(self.counts),
            "losses": [loss.to_auv() for loss in self.losses],
        }


@dataclass(slots=True)
class RebuildReport:
    """Of the whole. notes: how identity and layout were found. ambiguous: choices that the bytes do
    not force. lost_states: kept states of which nothing is there. nodes_gone: nodes of namespaces
    that the newest commit reaches and that were not found, None where that is not known.
    system_items: settings and entries of the operation log that were carried over; authors: those
    of whom it is known who they are."""

    format_uuid: str = ""
    label: str = ""
    seq: int = 0
    nodes: int = 0
    nodes_misplaced: int = 0
    nodes_gone: int | None = None
    unreadable_blocks: int = 0
    system_items: int = 0
    authors: int = 0
    notes: list[str] = field(default_factory=list)
    ambiguous: list[str] = field(default_factory=list)
    lost_states: list[str] = field(default_factory=list)
    states: list[StateReport] = field(default_factory=list)

    def doubt(self, no_leaf_gone: bool) -> None:
        """At the end: say where births alone decided, and a leaf may be gone that no pointer tells
        of. no_leaf_gone: it is known that there is none."""
        if no_leaf_gone:
            return
        for state in self.states:
            if state.by_births:
                self.ambiguous.append(
                    f"state {state.name}: where a leaf is gone that no pointer tells of, an older"
                    " version of what it had may have taken its place"
                )

    @property
    def whole(self) -> bool:
        return not self.lost_states and all(state.whole for state in self.states)

    def to_auv(self) -> dict[str, Any]:
        return {
            "format_uuid": self.format_uuid,
            "label": self.label,
            "seq": self.seq,
            "whole": self.whole,
            "nodes": self.nodes,
            "nodes_misplaced": self.nodes_misplaced,
            "nodes_gone": self.nodes_gone,
            "unreadable_blocks": self.unreadable_blocks,
            "system_items": self.system_items,
            "authors": self.authors,
            "notes": list(self.notes),
            "ambiguous": list(self.ambiguous),
            "lost_states": list(self.lost_states),
            "states": [state.to_auv() for state in self.states],
        }
