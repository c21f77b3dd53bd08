"""Reading trees straight from the device, for checks: no cache in between, nothing believed twice.

Invariants: a node is handed out only after it verified against the pointer that leads to it; a
damaged one is reported once for each state that reaches it and its subtree is left out.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from affs_fuse.core.codec import Entry, NodeHeader, Pointer, Slot, Superblock, verify_node
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    ITEM_INODE,
    NODE_HEADER_SIZE,
    NODE_SIZE,
    SLOT_SIZE,
    TREE_NAMESPACE,
)
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device, device_error
from affs_fuse.errors import AffsError, Category
from affs_fuse.volume import layout
from affs_fuse.volume.verify_report import Progress, Report

__all__ = [
    "FIRST_KEY", "LAST_KEY", "Branch", "Item", "Key", "Node", "NodeReader", "address_text",
    "last_object",
]  # fmt: skip

Key = tuple[int, int, int]
"""(object, type, offset), which sorts as the format does."""

Item = tuple[Key, bytes]

FIRST_KEY: Key = (0, 0, 0)
LAST_KEY: Key = (1 << 64, 0, 0)

NODES_KEPT = 256
PROGRESS_NODES = 128


@dataclass(frozen=True, slots=True)
class Branch:
    """A node to visit: its pointer, and the range [low, high) of keys that its parent gives it."""

    pointer: Pointer
    low: Key = FIRST_KEY
    high: Key = LAST_KEY

    @property
    def identity(self) -> tuple[int, int]:
        return self.pointer.address, self.pointer.birth


@dataclass(frozen=True, slots=True)
class Node:
    """A verified node, decoded. Of branches and items one is empty."""

    level: int
    branches: tuple[Branch, ...]
    items: tuple[Item, ...]


def key_text(key: Key) -> str:
    return "object {}, type {}, offset {}".format(*key)


def last_object(high: Key) -> int:
    """The last object that may have items below this key; an inode item is an object's first."""
    return high[0] - (high[1:] <= (ITEM_INODE, 0))


def address_text(pointer: Pointer) -> str:
    if pointer.tree == TREE_NAMESPACE:
        return f"{layout.segment_of(pointer.address)}:{layout.block_of(pointer.address)}"
    return f"@{layout.physical_block(pointer.address)}"


class NodeReader:
    """Reads and verifies nodes. places: segment number -> place, filled in once it is known.

    damage_count: nodes that could not be had so far. lost: those of them that a check of one state
    met; emptied by it. on_new_node: called with each node met first.
    """

    def __init__(
        self, device: Device, superblock: Superblock, geometry: layout.Geometry, report: Report
    ) -> None:
        self._device = device
        self._superblock = superblock
        self._geometry = geometry
        self._report = report
        self._recent: OrderedDict[Branch, Node] = OrderedDict()
        self.places: dict[int, int] = {}
        self.nodes_expected = 0
        self.on_new_node: Callable[[Pointer], None] = lambda pointer: None
        self.damage_count = 0
        self.lost: list[Branch] = []
        self._seen: set[tuple[int, int, int]] = set()

    def data_offset(self, address: int, blocks: int) -> int:
        """Device offset of a run of blocks. Errors: volume.address."""
        place = self.places.get(layout.segment_of(address))
        first = layout.block_of(address)
        if place is None or first + blocks > self._geometry.segment_blocks:
            raise AffsError(
                "volume.address",
                Category.CORRUPT,
                f"an address names block {first} of segment {layout.segment_of(address)},"
                " which is not there",
            )
        return self._geometry.place_offset(place) + (first << BLOCK_SHIFT)

    def offset(self, pointer: Pointer) -> int:
        """Device offset of a node. Errors: volume.address."""
        if pointer.tree == TREE_NAMESPACE:
            return self.data_offset(pointer.address, NODE_SIZE >> BLOCK_SHIFT)
        return layout.physical_block(pointer.address) << BLOCK_SHIFT

    def read(self, branch: Branch) -> Node:
        """The node of a branch. Errors: volume.structure, volume.address, device.io."""
        node = self._recent.get(branch)
        if node is not None:
            self._recent.move_to_end(branch)
            return node
        pointer = branch.pointer
        offset = self.offset(pointer)
        image, result = self._device.read(offset, NODE_SIZE)
        if not result.ok:
            raise device_error("reading", self._device.identity, offset, result)
        superblock = self._superblock
        verify_node(image, superblock.format_uuid, superblock.salt, pointer.pack())
        node = decode_node(image, branch)
        self._count((pointer.tree, *branch.identity), pointer)
        self._recent[branch] = node
        if len(self._recent) > NODES_KEPT:
            self._recent.popitem(last=False)
        return node

    def _count(self, known: tuple[int, int, int], pointer: Pointer) -> None:
        if known in self._seen:
            return
        self._seen.add(known)
        self._report.nodes += 1
        self.on_new_node(pointer)
        if self._report.nodes % PROGRESS_NODES == 0:
            self._report.progress(
                Progress("checking trees", self._report.nodes, self.nodes_expected, "nodes")
            )

    def attempt(self, branch: Branch, state: str) -> Node | None:
        """The node, or None after reporting why there is none. Keys outside the branch are
        reported.
        """
        where = address_text(branch.pointer)
        try:
            node = self.read(branch)
        except AffsError as error:
            code = "verify.node" if isinstance(error, StructureError) else "verify.unreadable"
            self.damage_count += 1
            self.lost.append(branch)
            self._report.error(code, error.message, state=state, block=where)
            return None
        first, last = key_bounds(node)
        if first is not None and last is not None and not branch.low <= first <= last < branch.high:
            self._report.error(
                "verify.key_range",
                f"a node's keys lie outside the range that the node above gives it: they go from"
                f" {key_text(first)} to {key_text(last)}, not from {key_text(branch.low)} on"
                + (f" and below {key_text(branch.high)}" if branch.high != LAST_KEY else ""),
                state=state,
                block=where,
            )
        return node

    def items(self, root: Pointer, state: str) -> Iterator[Item]:
        """All items below a root in key order; damaged nodes are reported and left out."""
        if root.birth == 0:
            return
        pending = [Branch(root)]
        while pending:
            node = self.attempt(pending.pop(), state)
            if node is not None:
                yield from node.items
                pending.extend(reversed(node.branches))

    def range(self, root: Pointer, first: Key, end: Key) -> Iterator[Item]:
        """Items with first <= key < end; damaged nodes are left out silently (reported before)."""
        pending = [Branch(root)]
        while pending:
            node = self._quietly(pending.pop())
            if node is None:
                continue
            yield from (item for item in node.items if first <= item[0] < end)
            pending.extend(
                branch
                for branch in reversed(node.branches)
                if branch.high > first and branch.low < end
            )

    def _quietly(self, branch: Branch) -> Node | None:
        try:
            return self.read(branch)
        except AffsError:
            return None


def key_bounds(node: Node) -> tuple[Key | None, Key | None]:
    if node.items:
        return node.items[0][0], node.items[-1][0]
    if node.branches:
        return node.branches[0].low, node.branches[-1].low
    return None, None


def decode_node(image: bytes, branch: Branch) -> Node:
    """The contents of an image that has been verified."""
    header = NodeHeader.unpack(image)
    if header.level == 0:
        items = []
        for index in range(header.item_count):
            slot = Slot.unpack(image, NODE_HEADER_SIZE + index * SLOT_SIZE)
            payload = image[slot.data_offset : slot.data_offset + slot.data_length]
            items.append(((slot.object, slot.type, slot.offset), payload))
        return Node(0, (), tuple(items))
    entries = [
        Entry.unpack(image, NODE_HEADER_SIZE + index * Entry.SIZE)
        for index in range(header.item_count)
    ]
    lows = [(entry.key.object, entry.key.type, entry.key.offset) for entry in entries]
    highs = [*lows[1:], branch.high]
    branches = tuple(
        Branch(entry.child, low, high)
        for entry, low, high in zip(entries, lows, highs, strict=True)
    )
    return Node(header.level, branches, ())
