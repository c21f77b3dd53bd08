"""Changes structures of a volume in place and makes every checksum right again.

A node's checksum stands in the pointer that leads to it, so a changed node changes its parents, up
to the commit record, which is sealed anew in both rings. Pointers are found by their bytes: all 48
of them, wherever they stand. So a lie may go anywhere; the surgeon does not know what is a lie.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from affs_fuse.core.codec import NodeHeader, Pointer, Slot, seal
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    KIND_COMMIT,
    KIND_NODE,
    KIND_SUPERBLOCK,
    MAGIC_COMMIT,
    MAGIC_NODE,
    MAGIC_SUPERBLOCK,
    NODE_HEADER_SIZE,
    NODE_SIZE,
    RING_SLOTS,
    SLOT_SIZE,
)
from affs_fuse.core.tree import Item
from affs_fuse.volume import layout
from affs_tools.crashsim.device import Image
from affs_tools.crashsim.pieces import Piece, pieces_of

__all__ = ["Surgeon", "Target"]


@dataclass(slots=True)
class Target:
    """A node: where it is, and the pointer that leads to it now."""

    offset: int
    pointer: Pointer


class Surgeon:
    """Works on an image that holds a whole volume; changes stay until the image is reverted.
    pieces: of the image, where they are known."""

    def __init__(self, image: Image, pieces: Sequence[Piece] = ()) -> None:
        self.image = image
        self.pieces = list(pieces or pieces_of(image))
        self.nodes = [
            Target(piece.offset, piece.pointer)
            for piece in self.pieces
            if piece.pointer is not None
        ]
        records = [piece for piece in self.pieces if piece.kind == "record" and piece.needed]
        self.record_offsets = [piece.offset for piece in records]
        self.superblock_offset = layout.superblock_offset(0)
        self._under_the_knife: set[int] = set()

    def node(self, index: int) -> bytearray:
        """A copy of a node's bytes."""
        return self._bytes(self.nodes[index].offset, NODE_SIZE)

    def _bytes(self, offset: int, length: int) -> bytearray:
        return bytearray(self.image.content[offset : offset + length])

    def put_node(self, index: int, image: bytearray, pointer: Pointer | None = None) -> None:
        """Put a node's new bytes, and make all that lead to it agree. pointer: what they shall say
        of it besides its checksum; by default what they said."""
        if index in self._under_the_knife:
            return  # it leads to itself: no checksum can be right
        target = self.nodes[index]
        seal(image, MAGIC_NODE, KIND_NODE)
        self.image.put(target.offset, image)
        said = pointer if pointer is not None else target.pointer
        said = said._replace(checksum=bytes(image[8:12]).ljust(16, b"\0"))
        old, target.pointer = target.pointer, said
        self._under_the_knife.add(index)
        self._tell(old.pack(), said.pack())
        self._under_the_knife.discard(index)

    def items(self, index: int) -> list[Item]:
        """Of a leaf; where an earlier lie counts more than there is room for, those that fit."""
        image = self.node(index)
        header = NodeHeader.unpack(image)
        found = []
        room = (NODE_SIZE - NODE_HEADER_SIZE) // SLOT_SIZE
        for number in range(min(header.item_count, room)):
            slot = Slot.unpack(image, NODE_HEADER_SIZE + number * SLOT_SIZE)
            payload = bytes(image[slot.data_offset : slot.data_offset + slot.data_length])
            found.append((slot.object, slot.type, slot.offset, payload))
        return found

    def put_items(self, index: int, items: Sequence[Item]) -> None:
        """A leaf anew, with these items in this order; what does not fit is left out."""
        old = self.node(index)
        header = NodeHeader.unpack(old)
        image = bytearray(NODE_SIZE)
        at, length, count = NODE_SIZE, 0, 0
        for number, kind, offset, payload in items:
            slot_at = NODE_HEADER_SIZE + count * SLOT_SIZE
            if at - len(payload) < slot_at + SLOT_SIZE:
                break
            at -= len(payload)
            image[at : at + len(payload)] = payload
            slot = Slot(number, offset, kind, 0, at, len(payload))
            image[slot_at : slot_at + SLOT_SIZE] = slot.pack()
            length, count = length + len(payload), count + 1
        header = header._replace(item_count=count, data_start=at, data_length=length)
        packed = header.pack()
        image[16:NODE_HEADER_SIZE] = packed[16:]
        self.put_node(index, image)

    def _tell(self, old: bytes, new: bytes) -> None:
        """Whoever says `old` says `new`; a node that does is changed by that."""
        if old == new:
            return
        for index, target in enumerate(self.nodes):
            image = self._bytes(target.offset, NODE_SIZE)
            if old in image:
                self.put_node(index, image.replace(old, new))
        for offset in self.record_offsets:
            record = self._bytes(offset, BLOCK_SIZE)
            if old in record:
                self._put_sealed(offset, record.replace(old, new), MAGIC_COMMIT, KIND_COMMIT)

    def change_record(self, at: int, data: bytes) -> None:
        """Other bytes in the newest commit record, in both rings; it stays in its slot."""
        for offset in self.record_offsets:
            record = self._bytes(offset, BLOCK_SIZE)
            record[at : at + len(data)] = data
            self._put_sealed(offset, record, MAGIC_COMMIT, KIND_COMMIT)

    def move_record(self, seq: int) -> None:
        """The newest record says another seq, and lies where that belongs."""
        record = self._bytes(self.record_offsets[0], BLOCK_SIZE)
        record[32:40] = seq.to_bytes(8, "little")
        for region, offset in enumerate(self.record_offsets):
            self.image.put(offset, bytes(BLOCK_SIZE))
            self.record_offsets[region] = layout.ring_offset(region, seq % RING_SLOTS)
            self._put_sealed(self.record_offsets[region], record, MAGIC_COMMIT, KIND_COMMIT)

    def change_superblock(self, at: int, data: bytes) -> None:
        """Other bytes in both superblocks."""
        for region in range(len(layout.REGIONS)):
            offset = layout.superblock_offset(region)
            block = self._bytes(offset, BLOCK_SIZE)
            block[at : at + len(data)] = data
            self._put_sealed(offset, block, MAGIC_SUPERBLOCK, KIND_SUPERBLOCK)

    def _put_sealed(self, offset: int, block: bytearray, magic: int, kind: int) -> None:
        seal(block, magic, kind)
        self.image.put(offset, block)
