"""Reading a tree and its data back from the medium, a bounded piece at a time.

What `affsctl verify` is made of (docs/internals/checking.md, "Online"). A TreeScan says what to
read next, a Batch reads and verifies it in a worker, and take() gives the outcome back. Invariants:
- Nothing of the engine's memory is believed: nodes and data come from the device, nodes are decoded
  anew, and what a batch found good was good on the medium.
- Key order, so that the key of what comes next is all that a later scan needs to go on, also in
  another version of the tree.
- Nodes born at or before `born_after` are left out with all that is below them: a child is never
  younger than its parent. So are data blocks, and those born later than `until`.
"""

from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from affs_fuse.core.checksum import first_bad_block
from affs_fuse.core.codec import Extent, Pointer, verify_node
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    ITEM_EXTENT,
    ITEM_XATTR,
    NODE_BLOCKS,
    NODE_SIZE,
    TREE_NAMESPACE,
)
from affs_fuse.core.errors import StructureError
from affs_fuse.device.device import Device, MediumDevice, Result
from affs_fuse.volume.layout import block_of, physical_block, segment_of
from affs_fuse.volume.space import Space
from affs_fuse.volume.verify_nodes import (
    FIRST_KEY,
    LAST_KEY,
    Branch,
    Key,
    Node,
    address_text,
    decode_node,
    key_bounds,
)
from affs_fuse.volume.verify_object import extents_of_item

__all__ = ["Batch", "Damage", "DataRead", "Memory", "NodeRead", "Read", "TreeScan", "read_medium"]

PIECE_BLOCKS = 256
"""Of data in one read: 1 MiB, which a slow disk has in a few milliseconds."""

BATCH_BLOCKS = 256
LEAVES_MAX = 8
"""Read in one batch."""

UNREADABLE, NODE, KEY_RANGE = "verify.unreadable", "verify.node", "verify.key_range"
DATA, ADDRESS = "verify.data", "verify.address"


@dataclass(frozen=True, slots=True)
class NodeRead:
    """offset: on the device, -1 where the address leads nowhere."""

    branch: Branch
    offset: int

    @property
    def blocks(self) -> int:
        return NODE_BLOCKS


@dataclass(frozen=True, slots=True)
class DataRead:
    """Blocks `first` to `first + blocks` of the extent under a key."""

    key: Key
    extent: Extent
    first: int
    blocks: int
    sums: bytes
    offset: int


Read: TypeAlias = NodeRead | DataRead


class Trouble(NamedTuple):
    """What is wrong with a read. bad: the blocks of it that are, counted from its first."""

    code: str
    message: str
    bad: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Damage:
    """One damaged node or block. block: its address in words. low, high: the keys [low, high) that
    the node covers; of data the item's key twice. data_offset: in the file, -1 of nodes."""

    code: str
    message: str
    block: str
    tree: int
    low: Key
    high: Key
    segment: int
    data_offset: int = -1
    address: int = 0


def read_medium(device: Device, offset: int, length: int) -> tuple[bytes, Result]:
    """From the medium itself, as far as the device can tell."""
    if isinstance(device, MediumDevice):
        return device.read_medium(offset, length)
    return device.read(offset, length)


@dataclass(slots=True, eq=False)
class Batch:
    """A few reads for one call of a worker. outcomes: in their order; the image of a good node,
    None for good data. rereads: how often a second reading was good where the first was not."""

    device: Device
    uuid: bytes
    salt: bytes
    reads: list[Read]
    outcomes: list[bytes | Trouble | None] = field(default_factory=list)
    rereads: int = 0

    def execute(self) -> None:
        """In a worker: I/O and checksums. Raises only what is no matter of the device."""
        for read in self.reads:
            outcome = self._check(read)
            if isinstance(outcome, Trouble) and read.offset >= 0:
                again = self._check(read)
                self.rereads += not isinstance(again, Trouble)
                outcome = again
            self.outcomes.append(outcome)

    def _check(self, read: Read) -> bytes | Trouble | None:
        if read.offset < 0:
            return Trouble(ADDRESS, "an address that leads nowhere")
        data, result = read_medium(self.device, read.offset, read.blocks << BLOCK_SHIFT)
        if not result.ok:
            text = f"byte {read.offset + result.bytes_done} cannot be read (errno {result.errno})"
            return Trouble(UNREADABLE, text, tuple(range(read.blocks)))
        if isinstance(read, NodeRead):
            try:
                verify_node(data, self.uuid, self.salt, read.branch.pointer.pack())
            except StructureError as error:
                return Trouble(NODE, error.message)
            return data
        bad = tuple(_bad_blocks(data, read.sums))
        return Trouble(DATA, "data that does not match its checksum", bad) if bad else None


def _bad_blocks(data: bytes, sums: bytes) -> list[int]:
    found: list[int] = []
    view, at = memoryview(data), 0
    while (bad := first_bad_block(view[at << BLOCK_SHIFT :], sums[4 * at :])) is not None:
        found.append(at + bad)
        at += bad + 1
    return found


class Memory:
    """The nodes that were read last, decoded: going on with a scan, or with the next object of a
    directory, need not read the same inner nodes again. One memory a verification."""

    def __init__(self, nodes_max: int = 128) -> None:
        self._nodes: OrderedDict[tuple[int, int, int], Node] = OrderedDict()
        self._nodes_max = nodes_max

    def get(self, pointer: Pointer) -> Node | None:
        key = pointer.tree, pointer.address, pointer.birth
        node = self._nodes.get(key)
        if node is not None:
            self._nodes.move_to_end(key)
        return node

    def put(self, pointer: Pointer, node: Node) -> None:
        self._nodes[pointer.tree, pointer.address, pointer.birth] = node
        if len(self._nodes) > self._nodes_max:
            self._nodes.popitem(last=False)


class TreeScan:
    """Everything of one tree with start <= key < end. space: where segments lie, as of now; the
    scan is to be made anew when the loop has had a turn without a reader (Volume.begin_reading).
    data: whether to read file data too. on_item: told of every item of a leaf that is met."""

    def __init__(
        self,
        root: Pointer,
        space: Space,
        memory: Memory,
        *,
        start: Key = FIRST_KEY,
        end: Key = LAST_KEY,
        born_after: int = 0,
        until: int = 1 << 64,
        data: bool = True,
        on_item: Callable[[Key, bytes], object] | None = None,
    ) -> None:
        self._space = space
        self._memory = memory
        self._start, self._end = start, end
        self._born_after, self._until = born_after, until
        self._data = data
        self._on_item = on_item
        self._branches: list[Branch] = []
        self._pieces: deque[DataRead] = deque()
        self.tree = root.tree
        if root.birth > born_after:
            self._branches.append(Branch(root))

    @property
    def done(self) -> bool:
        return not self._branches and not self._pieces

    @property
    def position(self) -> Key:
        """Where another scan would go on; ask between batches only."""
        if self._pieces:
            return self._pieces[0].key
        return max(self._start, self._branches[-1].low) if self._branches else self._end

    def stop(self) -> None:
        """There is no need to go on."""
        self._branches.clear()
        self._pieces.clear()

    def next_reads(self) -> list[Read]:
        """What to read now; may be nothing although there is more (call again)."""
        if self._pieces:
            return list(self._next_pieces())
        reads: list[Read] = []
        while self._branches and len(reads) < LEAVES_MAX:
            branch = self._branches[-1]
            known = self._memory.get(branch.pointer)
            if known is not None:
                if not reads:
                    self._expand(self._branches.pop(), known)
                break
            if reads and branch.pointer.level:
                break
            reads.append(NodeRead(self._branches.pop(), self._offset(branch.pointer)))
            if branch.pointer.level:
                break
        return reads

    def _next_pieces(self) -> list[DataRead]:
        taken: list[DataRead] = []
        blocks = 0
        while self._pieces and (not taken or blocks + self._pieces[0].blocks <= BATCH_BLOCKS):
            taken.append(self._pieces.popleft())
            blocks += taken[-1].blocks
        return taken

    def take(self, read: Read, outcome: bytes | Trouble | None) -> list[Damage]:
        """The outcome of a read, in the order in which they were given; the damage in it."""
        if isinstance(outcome, Trouble):
            return self._damage(read, outcome)
        if not isinstance(read, NodeRead):
            return []
        assert outcome is not None
        node = decode_node(outcome, read.branch)
        self._memory.put(read.branch.pointer, node)
        self._expand(read.branch, node)
        first, last = key_bounds(node)
        if first is None or last is None or read.branch.low <= first <= last < read.branch.high:
            return []
        text = f"keys {first} to {last} outside the range that the node above gives"
        return self._damage(read, Trouble(KEY_RANGE, text))

    def _damage(self, read: Read, trouble: Trouble) -> list[Damage]:
        if isinstance(read, NodeRead):
            pointer = read.branch.pointer
            segment = self._segment_of(pointer)
            where = address_text(pointer)
            return [
                Damage(trouble.code, trouble.message, where, pointer.tree, read.branch.low,
                       read.branch.high, segment)
            ]
        bad = trouble.bad or tuple(range(read.blocks))
        found = []
        for index in bad:
            address = read.extent.address + read.first + index
            segment = segment_of(address)
            where = f"{segment}:{block_of(address)}"
            # Of an attribute's value there is no offset in the file.
            offset = (read.first + index) << BLOCK_SHIFT
            offset += read.key[2] if read.key[1] == ITEM_EXTENT else 0
            found.append(
                Damage(trouble.code, trouble.message, where, self.tree, read.key, read.key,
                       segment, offset, address)
            )
        return found

    def _segment_of(self, pointer: Pointer) -> int:
        if pointer.tree == TREE_NAMESPACE:
            return segment_of(pointer.address)
        run = self._space.locate(physical_block(pointer.address), NODE_BLOCKS)
        return run[0] if run is not None else -1

    def _expand(self, branch: Branch, node: Node) -> None:
        """Put what a node leads to in the place of it."""
        start, end = self._start, self._end
        self._branches.extend(
            child
            for child in reversed(node.branches)
            if child.high > start and child.low < end and child.pointer.birth > self._born_after
        )
        for key, payload in node.items:
            if not start <= key < end:
                continue
            if self._on_item is not None:
                self._on_item(key, payload)
            if self._data and key[1] in (ITEM_EXTENT, ITEM_XATTR) and self.tree == TREE_NAMESPACE:
                found = extents_of_item((key, payload))
                if found is not None and self._born_after < found[0].birth <= self._until:
                    self._add_pieces(key, *found)

    def _add_pieces(self, key: Key, extent: Extent, sums: bytes) -> None:
        for first in range(0, extent.blocks, PIECE_BLOCKS):
            blocks = min(PIECE_BLOCKS, extent.blocks - first)
            offset = self._data_offset(extent.address + first, blocks)
            part = sums[4 * first : 4 * (first + blocks)]
            self._pieces.append(DataRead(key, extent, first, blocks, part, offset))

    def _offset(self, pointer: Pointer) -> int:
        if pointer.tree == TREE_NAMESPACE:
            return self._data_offset(pointer.address, NODE_SIZE >> BLOCK_SHIFT)
        return physical_block(pointer.address) << BLOCK_SHIFT

    def _data_offset(self, address: int, blocks: int) -> int:
        """-1 where no segment has these blocks."""
        segment = self._space.segments.get(segment_of(address))
        first = block_of(address)
        if segment is None or first + blocks > self._space.geometry.segment_blocks:
            return -1
        return self._space.geometry.place_offset(segment.place) + (first << BLOCK_SHIFT)
