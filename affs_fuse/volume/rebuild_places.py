"""Where segments lie and which nodes may be alive: the space tree, segment headers, the nodes
themselves.

The space tree of a commit says exactly what that commit's working state and kept states reach. So a
node whose block it shows as free, and that was not born after it, is dead in every state that is to
be recovered.
"""

from collections import Counter
from dataclasses import dataclass, field

from affs_fuse.core.codec import Pointer, Segment
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    INTENT_METADATA,
    ITEM_BITMAP,
    ITEM_SEGMENT,
    NODE_BLOCKS,
    TREE_NAMESPACE,
    TREE_SPACE,
)
from affs_fuse.volume.layout import block_of, logical, physical, segment_of
from affs_fuse.volume.rebuild_forest import Forest, not_after
from affs_fuse.volume.rebuild_identity import Known
from affs_fuse.volume.rebuild_scan import FoundNode
from affs_fuse.volume.verify_space import recorded_bits

__all__ = ["Places", "place_system_nodes"]


@dataclass(slots=True)
class _Recorded:
    """A segment as the space tree has it. as_of: seq of the commit for which this is known."""

    item: Segment
    as_of: int
    chunks: dict[int, bytes] = field(default_factory=dict)
    bits: bytearray | None = None


def place_system_nodes(known: Known) -> list[FoundNode]:
    """Nodes of the three physical trees that lie where they say."""
    return [
        node
        for node in known.family.nodes
        if node.tree != TREE_NAMESPACE and node.address == physical(0, node.offset // BLOCK_SIZE)
    ]


class Places:
    """complete: the space tree of the newest commit is there whole."""

    def __init__(self, known: Known, forest: Forest, root: Pointer | None, seq: int) -> None:
        """root, seq: of the newest record's space tree; None and 0 where there is no record."""
        self._geometry = known.geometry
        self._segments: dict[int, _Recorded] = {}
        self.complete = False
        self._read_table(forest, root, seq)
        self._headers = {
            header.place: header
            for header in known.family.headers
            if self._geometry.place_offset(header.place) == header.offset
        }
        self._claims = self._count_claims(known.family.nodes)

    def _read_table(self, forest: Forest, root: Pointer | None, seq: int) -> None:
        assembly = forest.assemble(TREE_SPACE, root) if root is not None else None
        if assembly is None or not assembly.exact:
            limit = seq or 1 << 64
            assembly = forest.assemble(TREE_SPACE, None, not_after(limit))
        else:
            self.complete = True
        for ((number, kind, index), payload), leaf in forest.items(assembly):
            if kind == ITEM_SEGMENT:
                as_of = seq if self.complete else leaf.birth
                self._segments[number] = _Recorded(Segment.unpack(payload), as_of)
            elif kind == ITEM_BITMAP and number in self._segments:
                recorded = self._segments[number]
                recorded.chunks[index] = payload
                if not self.complete:
                    recorded.as_of = min(recorded.as_of, leaf.birth)
        for recorded in self._segments.values():
            blocks = self._geometry.segment_blocks
            chunks = recorded.chunks or None
            recorded.bits, _ = recorded_bits(blocks, recorded.item, chunks)

    def _count_claims(self, nodes: list[FoundNode]) -> dict[int, Counter[int]]:
        """By segment: at how many places nodes say that it lies."""
        claims: dict[int, Counter[int]] = {}
        for node in nodes:
            place = self._place_under(node) if node.tree == TREE_NAMESPACE else None
            if place is not None:
                claims.setdefault(segment_of(node.address), Counter())[place] += 1
        return claims

    def _place_under(self, node: FoundNode) -> int | None:
        """The place that a node of the namespace says that it lies in; None if it cannot."""
        block = block_of(node.address)
        start = node.offset - (block << BLOCK_SHIFT)
        if block + NODE_BLOCKS > self._geometry.segment_blocks or start <= 0:
            return None
        place = self._geometry.place_of_block(start >> BLOCK_SHIFT)
        return place if place >= 0 and self._geometry.place_offset(place) == start else None

    def candidates(self, segment: int) -> list[int]:
        """Places where this segment may lie, the likeliest first. Checksums decide."""
        found: list[int] = []
        recorded = self._segments.get(segment)
        if recorded is not None and recorded.item.copy_count:
            found.append(recorded.item.copies[0].place)
        found += [header.place for header in self._headers.values() if header.segment == segment]
        found += [place for place, _ in self._claims.get(segment, Counter()).most_common(2)]
        found.append(segment)
        limit = self._geometry.place_count
        return [place for place in dict.fromkeys(found) if place < limit]

    def in_place(self, node: FoundNode) -> bool:
        """Does a node of the namespace lie where its segment lies? Copies of nodes inside of file
        data do not."""
        place = self._place_under(node)
        if place is None:
            return False
        segment = segment_of(node.address)
        recorded = self._segments.get(segment)
        if recorded is not None:
            return recorded.item.copies[0].place == place
        if self.complete:
            return False
        header = self._headers.get(place)
        if header is not None:
            return header.segment == segment and header.intent == INTENT_METADATA
        return self._claims[segment].most_common(1)[0][0] == place

    def dead(self, address: int, birth: int) -> bool:
        """Is it proven that no state of the newest commit reaches this node of the namespace?"""
        recorded = self._segments.get(segment_of(address))
        if recorded is None:
            return self.complete
        if recorded.bits is None or birth > recorded.as_of:
            return False
        block = block_of(address)
        if block >= self._geometry.segment_blocks:
            return True
        return not recorded.bits[block >> 3] >> (block & 7) & 1

    def nodes_gone(self, there: set[int]) -> int | None:
        """How many nodes that the newest commit reaches are not among these addresses; None where
        that is not known."""
        if not self.complete:
            return None
        gone = 0
        for number, recorded in self._segments.items():
            if recorded.item.intent != INTENT_METADATA or recorded.bits is None:
                continue
            for first in range(NODE_BLOCKS, self._geometry.segment_blocks, NODE_BLOCKS):
                used = recorded.bits[first >> 3] >> (first & 7) & 1
                gone += used and logical(number, first) not in there
        return gone

    def offset(self, place: int, address: int) -> int:
        return self._geometry.place_offset(place) + (block_of(address) << BLOCK_SHIFT)

