"""Reading again what is known to be damaged: where that lies, and what of it was read.

Of every entry the objects in which it was found are read whole, in the state in which it was or in
another that has the same blocks. Invariant: an entry is settled only if its block was read again,
is in use no longer, or is none of the namespace's; whoever finds it damaged again puts it anew.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

from affs_fuse.core import bitmap
from affs_fuse.core.constants import TREE_NAMESPACE
from affs_fuse.volume.layout import block_of, segment_of
from affs_fuse.volume.scrub import NodeRead, Read
from affs_fuse.volume.scrub_indexes import INDEX
from affs_fuse.volume.space import Space

__all__ = ["KnownDamage", "Range"]

Plain = dict[str, Any]
Range = tuple[int, int, int]
"""(number of the state, first object, last object)."""


class KnownDamage:
    """entries: damage as it is kept (DiskLayout.md, "System tree"). states: number by name."""

    def __init__(self, entries: Sequence[Plain], states: dict[str, int], space: Space) -> None:
        self._space = space
        self._read: set[str] = set()
        self._wanted: set[str] = set()
        last: dict[tuple[int, int], int] = {}
        for entry in entries:
            if _place(entry) is not None:
                self._wanted.add(entry["block"])
            elif entry.get("code") != INDEX or "objects" not in entry:
                continue
            names = [entry["state"], *entry.get("states", ())]
            found = [states[name] for name in names if name in states]
            if found:
                low, high = entry["objects"]
                last[found[0], low] = max(high, last.get((found[0], low), 0))
        self.ranges = deque((state, low, high) for (state, low), high in sorted(last.items()))

    def note(self, reads: Sequence[Read]) -> None:
        """These were read just now; what is damaged of them is told apart from this."""
        for read in reads:
            if not isinstance(read, NodeRead):
                address, blocks = read.extent.address + read.first, read.blocks
            elif read.branch.pointer.tree == TREE_NAMESPACE:
                address, blocks = read.branch.pointer.address, 1
            else:
                continue
            segment, first = segment_of(address), block_of(address)
            found = {f"{segment}:{block}" for block in range(first, first + blocks)}
            self._read |= found & self._wanted

    def settled(self, entry: Plain) -> bool:
        """Whether an entry that was not put anew may be forgotten."""
        place = _place(entry)
        if place is None or entry["block"] in self._read:
            return True  # headers and system trees are read whole, indexes with their directory
        segment = self._space.segments.get(place[0])
        if segment is None or place[1] >= self._space.geometry.segment_blocks:
            return True
        return not bitmap.count(segment.bits, place[1], 1)


def _place(entry: Plain) -> tuple[int, int] | None:
    """(segment, block) of an entry that says where in the namespace it is."""
    number, colon, first = str(entry.get("block")).partition(":")
    if not colon or "objects" not in entry:
        return None
    return int(number), int(first)
