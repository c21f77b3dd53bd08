"""Extent items: which blocks a range of a file has, and cutting pieces out of them.

DiskLayout.md, "Extent item". Invariants: items of a file do not overlap; each begins at a multiple
of 4 KiB and has blocks == ceil(length / 4096); an item is cut at block boundaries only, except
that its length in bytes may end anywhere in its last block; beyond the length the file reads as
zero. A block that an item no longer names is given back in the same operation.
"""

from typing import NamedTuple

from affs_fuse.core.checksum import CHECKSUM_SIZE
from affs_fuse.core.codec import Extent
from affs_fuse.core.constants import BLOCK_SHIFT, BLOCK_SIZE, ITEM_EXTENT
from affs_fuse.core.tree import Tree

__all__ = ["OFFSET_END", "Edits", "Piece", "extent_payload", "overlapping"]

OFFSET_END = 1 << 63
"""Beyond every byte of a file."""


class Piece(NamedTuple):
    """One extent item: offset in the file, the fixed part, checksums of its blocks."""

    offset: int
    extent: Extent
    checksums: bytes

    @property
    def span_end(self) -> int:
        """Where in the file its blocks end, bytes."""
        return self.offset + (self.extent.blocks << BLOCK_SHIFT)

    @property
    def data_end(self) -> int:
        """Where in the file its bytes end."""
        return self.offset + self.extent.length


def _piece(offset: int, payload: bytes) -> Piece:
    return Piece(offset, Extent.unpack(payload), payload[Extent.SIZE :])


def overlapping(
    tree: Tree, number: int, start: int, end: int, count_max: int = 1 << 62
) -> list[Piece]:
    """The items whose blocks meet [start, end), in order, the first `count_max`. Errors:
    NodeMissing.
    """
    found: list[Piece] = []
    item = tree.seek(number, ITEM_EXTENT, start, True)
    if item is not None and item[0] == number and item[1] == ITEM_EXTENT:
        piece = _piece(item[2], item[3])
        reached = piece.span_end
        if reached > start:
            found.append(piece)
            if reached >= end:
                return found
    first, limit = (number, ITEM_EXTENT, start + 1), (number, ITEM_EXTENT, end)
    for _, _, offset, payload in tree.iterate(first, limit):
        if len(found) >= count_max:
            break
        found.append(_piece(offset, payload))
    return found


def extent_payload(address: int, birth: int, blocks: int, length: int, checksums: bytes) -> bytes:
    """Payload of an item of uncompressed data. length: bytes of the file that it covers."""
    size = blocks << BLOCK_SHIFT
    return Extent(address, birth, blocks, size, size, 0, length).pack() + checksums


class Edits:
    """What cutting ranges out of a file's items does to the tree: planned first, applied later.

    dropped_blocks: count of blocks given back.
    """

    __slots__ = ("_deletes", "_drops", "_puts", "dropped_blocks")

    def __init__(self) -> None:
        self._deletes: list[int] = []
        self._puts: list[tuple[int, bytes]] = []
        self._drops: list[tuple[int, int, int]] = []
        self.dropped_blocks = 0

    def __bool__(self) -> bool:
        return bool(self._deletes or self._puts)

    def cut(self, piece: Piece, start: int, end: int) -> None:
        """Take [start, end), multiples of 4 KiB, out of one item that meets it.

        An item that two ranges are cut out of must be given as the parts that the first cut leaves.
        """
        offset, extent = piece.offset, piece.extent
        first = max(0, start - offset) >> BLOCK_SHIFT
        last = min(extent.blocks, (end - offset) >> BLOCK_SHIFT)
        if first:
            self._keep(piece, 0, first)
        else:
            self._deletes.append(offset)
        if last < extent.blocks:
            self._keep(piece, last, extent.blocks)
        self._drops.append((extent.address + first, last - first, extent.birth))
        self.dropped_blocks += last - first

    def shorten(self, piece: Piece, size: int) -> None:
        """Let an item end at `size`, which lies within its bytes or its blocks."""
        keep = (size - piece.offset + BLOCK_SIZE - 1) >> BLOCK_SHIFT
        rest = piece.extent.blocks - keep
        length = min(piece.extent.length, size - piece.offset)
        if not rest and length == piece.extent.length:
            return
        self._puts.append((piece.offset, _part(piece, 0, keep, length)))
        if rest:
            self._drops.append((piece.extent.address + keep, rest, piece.extent.birth))
            self.dropped_blocks += rest

    def remove(self, piece: Piece) -> None:
        """Take away a whole item."""
        self._deletes.append(piece.offset)
        self._drops.append((piece.extent.address, piece.extent.blocks, piece.extent.birth))
        self.dropped_blocks += piece.extent.blocks

    def _keep(self, piece: Piece, first: int, last: int) -> None:
        start = first << BLOCK_SHIFT
        length = min(piece.extent.length - start, (last - first) << BLOCK_SHIFT)
        self._puts.append((piece.offset + start, _part(piece, first, last, length)))

    def touch(self, tree: Tree, number: int) -> None:
        """Load-check all that apply() will change. Errors: NodeMissing."""
        for offset in self._deletes:
            tree.touch(number, ITEM_EXTENT, offset)
        for offset, _ in self._puts:
            tree.touch(number, ITEM_EXTENT, offset)

    def apply(self, tree: Tree, number: int) -> list[tuple[int, int, int]]:
        """Change the tree; what is to be dropped: (address, blocks, birth)."""
        for offset in self._deletes:
            tree.delete(number, ITEM_EXTENT, offset)
        for offset, payload in self._puts:
            tree.put(number, ITEM_EXTENT, offset, payload)
        return self._drops


def _part(piece: Piece, first: int, last: int, length: int) -> bytes:
    """Payload of blocks [first, last) of an item. A piece keeps the extent's birth."""
    extent = piece.extent
    return extent_payload(
        extent.address + first,
        extent.birth,
        last - first,
        length,
        piece.checksums[first * CHECKSUM_SIZE : last * CHECKSUM_SIZE],
    )
