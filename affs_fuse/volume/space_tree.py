"""The space tree's items: from the allocator to the tree at a cut, and back at opening.

docs/specs/DiskLayout.md, "Space tree". A segment in partial use has its head and its bitmap in
chunks; a full or an empty one has its head alone; a system segment's blocks are not recorded at
all.
"""

from collections.abc import Iterator

from affs_fuse.core.codec import Copy
from affs_fuse.core.codec import Segment as SegmentItem
from affs_fuse.core.constants import (
    BITMAP_CHUNK_SIZE,
    INTENT_SYSTEM,
    ITEM_BITMAP,
    ITEM_SEGMENT,
    NODE_BLOCKS,
)
from affs_fuse.core.tree import Tree
from affs_fuse.volume.layout import Geometry
from affs_fuse.volume.space import CLASS_DATA, Segment, Space, class_of

__all__ = ["read_segments", "record"]

_EMPTY_COPY = Copy(0, 0, 0, 0, 0)
_END = ((1 << 64) - 1, 255, (1 << 64) - 1)


def record(space: Space, tree: Tree) -> None:
    """Bring the tree up to what `space` says now, for the segments that changed. Needs no node
    that is not in memory (working.SystemTrees)."""
    for number in sorted(space.removed):
        _delete_from(tree, number, 0)
        tree.delete(number, ITEM_SEGMENT, 0)
    space.removed.clear()
    for segment in list(space.recorded()):
        _record_segment(space, tree, segment)
    space.changed.clear()


def _record_segment(space: Space, tree: Tree, segment: Segment) -> None:
    copy = Copy(0, 0, 0, segment.place, segment.copy_generation)
    system = segment.intent == INTENT_SYSTEM
    item = SegmentItem(
        segment.intent, 1, 0 if system else segment.used, segment.birth, (copy, _EMPTY_COPY)
    )
    tree.put(segment.number, ITEM_SEGMENT, 0, item.pack())
    if system or segment.used in (0, space.capacity(segment.intent)):
        _delete_from(tree, segment.number, 0)
        return
    for index, start in enumerate(range(0, len(segment.bits), BITMAP_CHUNK_SIZE)):
        chunk = bytes(segment.bits[start : start + BITMAP_CHUNK_SIZE])
        tree.put(segment.number, ITEM_BITMAP, index, chunk)


def _delete_from(tree: Tree, number: int, index: int) -> None:
    while tree.delete(number, ITEM_BITMAP, index):
        index += 1


def read_segments(tree: Tree, geometry: Geometry) -> Iterator[Segment]:
    """The segments that a space tree records, by number. How much of one is used is counted, not
    believed. Raises NodeMissing."""
    current: Segment | None = None
    chunks: list[bytes] = []
    for number, kind, _, payload in tree.iterate((0, 0, 0), _END):
        if kind == ITEM_SEGMENT:
            if current is not None:
                yield _finish(current, chunks, geometry)
            item = SegmentItem.unpack(payload)
            copy = item.copies[0]
            current = Segment(
                number,
                item.intent,
                copy.place,
                item.birth,
                bytearray(),
                used=item.used_blocks,
                copy_generation=copy.generation,
            )
            chunks = []
        elif kind == ITEM_BITMAP:
            chunks.append(payload)
    if current is not None:
        yield _finish(current, chunks, geometry)


def _finish(segment: Segment, chunks: list[bytes], geometry: Geometry) -> Segment:
    size = geometry.segment_blocks // 8
    if chunks:
        segment.bits = bytearray(b"".join(chunks)[:size].ljust(size, b"\0"))
    elif segment.intent == INTENT_SYSTEM or segment.used == 0:
        segment.bits = bytearray(size)
        segment.bits[0] = 1
    else:
        segment.bits = bytearray(b"\xff" * size)
        if class_of(segment.intent) != CLASS_DATA:
            segment.bits[0] &= ~(2**NODE_BLOCKS - 2) & 0xFF
    segment.bits[0] |= 1  # the segment's header, which nobody may overwrite
    if segment.intent != INTENT_SYSTEM:
        segment.used = int.from_bytes(segment.bits, "little").bit_count() - 1
    return segment
