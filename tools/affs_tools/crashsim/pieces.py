"""What a volume's newest commit lives on: every piece of metadata and data, and where it lies.

The map is made from a volume that is whole, with the engine's own readers; whoever damages a piece
judges by the model, not by this map.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from affs_fuse.core.codec import Pointer
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    ITEM_EXTENT,
    ITEM_XATTR,
    NODE_SIZE,
    TREE_NAMESPACE,
    TREE_SYSTEM,
)
from affs_fuse.core.tree import Item, Tree, Walk
from affs_fuse.volume import layout
from affs_fuse.volume.reclaim import extents_of
from affs_fuse.volume.ring import read_ring
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.check import open_state
from affs_tools.crashsim.device import Image

__all__ = ["Piece", "pieces_of"]


@dataclass(frozen=True, slots=True)
class Piece:
    """kind: "superblock", "owner", "record", "segment header", "node" or "data". copies: 2 where
    another one of it holds the same. needed: a reader of all files comes by it. pointer: of a
    node. block: as fsck.affs names it."""

    kind: str
    offset: int
    length: int
    block: str
    needed: bool
    copies: int = 1
    pointer: Pointer | None = None

    def __str__(self) -> str:
        return f"{self.kind} {self.block}"


def pieces_of(image: Image) -> list[Piece]:
    """All of them, once each; the image stays as it is."""
    mark = image.mark()
    volume = open_state(image)
    image.revert(mark)
    found = [*_headers(image, volume), *_nodes(volume), *_data(volume)]
    image.revert(mark)
    unique: dict[int, Piece] = {}
    for piece in found:
        before = unique.setdefault(piece.offset, piece)
        if piece.needed and not before.needed:
            unique[piece.offset] = replace(before, needed=True)
    return list(unique.values())


def _at(offset: int) -> str:
    return f"@{offset // BLOCK_SIZE}"


def _headers(image: Image, volume: Volume) -> Iterator[Piece]:
    newest = volume.durable_seq
    for region in range(len(layout.REGIONS)):
        offset = layout.superblock_offset(region)
        yield Piece("superblock", offset, BLOCK_SIZE, _at(offset), needed=True, copies=2)
        offset = layout.owner_offset(region)
        yield Piece("owner", offset, BLOCK_SIZE, _at(offset), needed=False, copies=2)
    for slot in read_ring(image, volume.superblock.format_uuid).slots:
        if slot.record is not None:
            offset = layout.ring_offset(slot.region, slot.index)
            needed = slot.record.seq == newest
            yield Piece("record", offset, BLOCK_SIZE, _at(offset), needed=needed, copies=2)
    for segment in volume.space.segments.values():
        offset = volume.geometry.place_offset(segment.place)
        yield Piece("segment header", offset, BLOCK_SIZE, f"{segment.number}:0", needed=False)


def _trees(volume: Volume) -> Iterator[Tree]:
    yield from volume.trees.all
    yield volume.working.tree
    for state in volume.states.listed():
        yield volume.open_state(state)


def _nodes(volume: Volume) -> Iterator[Piece]:
    for tree in _trees(volume):
        root = tree.root
        assert root is not None
        walk = Walk(tree.cache, root, 0)
        while (pointer := volume.run(_next, walk)) is not None:
            if pointer.tree == TREE_NAMESPACE:
                address = pointer.address
                block = f"{layout.segment_of(address)}:{layout.block_of(address)}"
                offset = _offset(volume, address)
            else:
                offset = layout.physical_block(pointer.address) * BLOCK_SIZE
                block = _at(offset)
            needed = pointer.tree != TREE_SYSTEM
            yield Piece("node", offset, NODE_SIZE, block, needed=needed, pointer=pointer)


def _offset(volume: Volume, address: int) -> int:
    place = volume.space.segments[layout.segment_of(address)].place
    return volume.geometry.place_offset(place) + (layout.block_of(address) << BLOCK_SHIFT)


def _items(tree: Tree) -> list[Item]:
    return list(tree.iterate((0, 0, 0), ((1 << 64) - 1, 255, 0)))


def _next(walk: Walk) -> Pointer | None:
    try:
        return next(walk)
    except StopIteration:
        return None


def _data(volume: Volume) -> Iterator[Piece]:
    for tree in [volume.working.tree, *map(volume.open_state, volume.states.listed())]:
        items = volume.run(_items, tree)
        for _, kind, _, payload in items:
            if kind not in (ITEM_EXTENT, ITEM_XATTR):
                continue
            for address, blocks, _ in extents_of(kind, payload):
                for block in range(blocks):
                    text = f"{layout.segment_of(address)}:{layout.block_of(address) + block}"
                    offset = _offset(volume, address) + (block << BLOCK_SHIFT)
                    yield Piece("data", offset, BLOCK_SIZE, text, needed=True)
