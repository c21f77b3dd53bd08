"""Every field of every structure, with values that a writer would not choose: the plain lies.

Where a field is comes from the compiler (core.abi). A lie has a name, so that it can be told again:
`n4.i2.inode.nlink=max`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from affs_fuse.core import abi
from affs_fuse.core.codec import NodeHeader, Slot
from affs_fuse.core.constants import (
    ENTRY_SIZE,
    ITEM_BITMAP,
    ITEM_COLLECTION,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INODE,
    ITEM_PARENT,
    ITEM_SEGMENT,
    ITEM_STATE,
    ITEM_STATE_POINTER,
    ITEM_XATTR,
    NODE_HEADER_SIZE,
    SLOT_SIZE,
)
from affs_tools.crashsim.surgeon import Surgeon

__all__ = ["Lie", "lies"]

STRUCTURES = {
    ITEM_INODE: "affs_inode", ITEM_PARENT: "affs_name", ITEM_DENTRY: "affs_name",
    ITEM_XATTR: "affs_xattr", ITEM_EXTENT: "affs_extent", ITEM_SEGMENT: "affs_segment",
    ITEM_STATE: "affs_state", ITEM_STATE_POINTER: "affs_state_pointer",
}  # fmt: skip
LOOSE = {ITEM_COLLECTION: "collection", ITEM_INDEX: "index", ITEM_INDEX_KEYS: "keys"}
LOOSE_VALUES = ("0", "more", "max", "odd")
PAGE_MASK = 0xFFFFFFFF
VALUES = ("0", "1", "less", "more", "half", "max", "high", "odd")


@dataclass(frozen=True, slots=True)
class Lie:
    """At byte `at` of a structure (node number, or -1 the record, -2 the superblock) stands another
    value of `size` bytes."""

    name: str
    node: int
    at: int
    size: int
    value: str

    def tell(self, surgeon: Surgeon) -> None:
        """Put it into the image."""
        if self.node >= 0:
            image = surgeon.node(self.node)
            image[self.at : self.at + self.size] = self._new(bytes(image))
            surgeon.put_node(self.node, image)
            return
        offset = surgeon.record_offsets[0] if self.node == -1 else surgeon.superblock_offset
        block = surgeon.image.content[offset : offset + 4096]
        change = surgeon.change_record if self.node == -1 else surgeon.change_superblock
        change(self.at, self._new(bytes(block)))

    def _new(self, image: bytes) -> bytes:
        old = int.from_bytes(image[self.at : self.at + self.size], "little")
        bits = 8 * self.size
        top = (1 << bits) - 1
        chosen = {
            "0": 0, "1": 1, "less": old - 1, "more": old + 1, "half": top >> 1, "max": top,
            "high": old | 1 << (bits - 1), "odd": old ^ 0x5A,
        }  # fmt: skip
        return (chosen[self.value] & top).to_bytes(self.size, "little")


def _of(structure: str, prefix: str, node: int, base: int) -> Iterator[Lie]:
    for field in abi.fields(structure):
        if field.name == "header":
            continue
        if field.c_type.startswith("affs_") and "[" not in field.c_type:
            inner = f"{prefix}.{field.name}"
            yield from _of(field.c_type, inner, node, base + field.offset)
            continue
        size = min(field.size, 8)
        for value in VALUES:
            name = f"{prefix}.{field.name}={value}"
            yield Lie(name, node, base + field.offset, size, value)


def lies(surgeon: Surgeon) -> Iterator[Lie]:
    """All of them, of the image as it is now: each kind of item once in each node."""
    yield from _of("affs_commit", "record", -1, 0)
    yield from _of("affs_superblock", "superblock", -2, 0)
    for index in range(len(surgeon.nodes)):
        image = surgeon.node(index)
        header = NodeHeader.unpack(image)
        yield from _of("affs_node_header", f"n{index}", index, 0)
        if header.level:
            for number in sorted({0, header.item_count - 1}):
                at = NODE_HEADER_SIZE + number * ENTRY_SIZE
                yield from _of("affs_entry", f"n{index}.e{number}", index, at)
            continue
        seen: set[tuple[int, bool]] = set()
        for number in range(header.item_count):
            slot_at = NODE_HEADER_SIZE + number * SLOT_SIZE
            slot = Slot.unpack(image, slot_at)
            kind = slot.type, slot.type == ITEM_INDEX and not slot.offset & PAGE_MASK
            if kind in seen:
                continue
            seen.add(kind)
            prefix = f"n{index}.i{number}"
            yield from _of("affs_slot", f"{prefix}.slot", index, slot_at)
            if slot.type in STRUCTURES:
                structure = STRUCTURES[slot.type]
                within = f"{prefix}.{structure.removeprefix('affs_')}"
                yield from _of(structure, within, index, slot.data_offset)
            elif slot.type == ITEM_BITMAP:
                for value in VALUES:
                    name = f"{prefix}.bitmap={value}"
                    yield Lie(name, index, slot.data_offset + 8, 8, value)
            elif slot.type in LOOSE:
                yield from _loose(f"{prefix}.{LOOSE[slot.type]}", index, slot)


def _loose(prefix: str, node: int, slot: Slot) -> Iterator[Lie]:
    """Of payloads that are no C structure: where the pages and keys of an index have their fields,
    and what ends them."""
    ends = slot.data_length - 6, 6
    for at, size in ((0, 1), (1, 1), (2, 2), (4, 2), (6, 8), ends):
        if at >= 0 and at + size <= slot.data_length:
            for value in LOOSE_VALUES:
                yield Lie(f"{prefix}.{at}={value}", node, slot.data_offset + at, size, value)
