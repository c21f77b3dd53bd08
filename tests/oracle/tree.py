"""What a tree is, in plain Python: a sorted dict; and a device that remembers every frozen node.

Nothing here calls the code under test but to drive it: nodes are decoded from their bytes as
docs/specs/DiskLayout.md has them, so a writer's and a reader's common mistake does not go unseen.
"""

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from affs_fuse.core import constants
from affs_fuse.core.codec import Pointer
from affs_fuse.core.tree import NodeCache, NodeMissing, Tree

ItemKey = tuple[int, int, int]
LOWEST: ItemKey = (0, 0, 0)
HIGHEST: ItemKey = (2**64 - 1, 255, 2**64 - 1)

UUID = bytes(range(16))
SALT = bytes(range(16, 32))


class TreeOracle:
    """Items as a dict; every answer that a tree gives, computed the obvious way."""

    def __init__(self, items: dict[ItemKey, bytes] | None = None) -> None:
        self.items = dict(items or {})

    def keys(self) -> list[ItemKey]:
        return sorted(self.items)

    def seek(self, key: ItemKey, backward: bool) -> tuple[int, int, int, bytes] | None:
        keys = self.keys()
        index = bisect_right(keys, key) - 1 if backward else bisect_left(keys, key)
        if not 0 <= index < len(keys):
            return None
        return (*keys[index], self.items[keys[index]])

    def scan(self, first: ItemKey, end: ItemKey) -> list[tuple[int, int, int, bytes]]:
        return [(*key, self.items[key]) for key in self.keys() if first <= key < end]

    def difference(self, other: "TreeOracle") -> list[tuple[ItemKey, bytes | None, bytes | None]]:
        """(key, here, there) for each key whose payloads are not the same."""
        keys = sorted(self.items.keys() | other.items.keys())
        pairs = [(key, self.items.get(key), other.items.get(key)) for key in keys]
        return [pair for pair in pairs if pair[1] != pair[2]]


class NodeView(NamedTuple):
    """A node as its bytes say. items: leaf: (key, payload); inner: (key, child's 48 bytes)."""

    level: int
    tree: int
    birth: int
    address: int
    items: list[tuple[ItemKey, bytes]]


def decode_node(image: bytes) -> NodeView:
    """DiskLayout "Node header", "Leaf slot", "Inner entry"; the parts that the tests look at."""
    assert len(image) == 16384
    assert image[:4] == b"AFR1"
    assert image[16:48] == UUID + SALT
    address, _, birth, tree, level, count, data_start, data_length = struct.unpack_from(
        "<QQQBBHHH", image, 48
    )
    items = []
    used_end = 96
    for _ in range(count):
        object_number, offset, item_type = struct.unpack_from("<QQB", image, used_end)
        if level:
            items.append(((object_number, item_type, offset), image[used_end + 24 : used_end + 72]))
            used_end += 72
        else:
            at, length = struct.unpack_from("<HH", image, used_end + 18)
            items.append(((object_number, item_type, offset), image[at : at + length]))
            used_end += 24
    unused_end = 16384 if level else data_start
    assert not any(image[used_end:unused_end]), "unused bytes are not zero"
    assert data_length == (0 if level else sum(len(payload) for _, payload in items))
    return NodeView(level, tree, birth, address, items)


class Device:
    """Every node ever frozen, by address and birth; gives out addresses; loads what is missing."""

    def __init__(self, cache: NodeCache) -> None:
        self.cache = cache
        self.images: dict[tuple[int, int], bytes] = {}
        self.next_address = 4
        self.birth = 0
        self.loads = 0

    def addresses(self, count: int) -> list[int]:
        """Addresses that both a logical and a physical block may have."""
        first, self.next_address = self.next_address, self.next_address + 4 * count
        return list(range(first, self.next_address, 4))

    def freeze(self, tree: Tree) -> Pointer:
        """Freeze and write: what is dirty gets the next birth."""
        self.birth += 1
        root, nodes = tree.freeze(self.birth, self.addresses(tree.dirty_count))
        for node in nodes:
            self.images[node.address, self.birth] = bytes(node.image)
        self.cache.written(nodes)
        return root

    def load(self, pointer: Pointer) -> None:
        self.loads += 1
        self.cache.install(pointer, self.images[pointer.address, pointer.birth])

    def run(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call again and again, loading what is missing."""
        while True:
            try:
                return function(*args)
            except NodeMissing as missing:
                self.load(missing.pointer)

    def collect(self, iterator: Iterator[Any]) -> list[Any]:
        """All that an iterator which survives NodeMissing gives."""
        found = []
        while True:
            try:
                found.append(next(iterator))
            except StopIteration:
                return found
            except NodeMissing as missing:
                self.load(missing.pointer)

    def nodes(self, root: Pointer) -> list[NodeView]:
        """All nodes below root, parents first, decoded here, with their places checked."""
        found: list[NodeView] = []
        stack = [(root, LOWEST, HIGHEST)]
        while stack:
            pointer, low, high = stack.pop()
            node = decode_node(self.images[pointer.address, pointer.birth])
            assert (node.level, node.address, node.birth) == pointer[5:6] + pointer[0:3:2]
            assert node.items or (node.level == 0 and len(found) == 0), "empty node"
            keys = [key for key, _ in node.items]
            assert keys == sorted(set(keys))
            assert all(low <= key <= high for key in keys)
            found.append(node)
            if node.level:
                bounds = [*keys[1:], high]
                children = [Pointer.unpack(child) for _, child in node.items]
                assert all(child.birth <= node.birth for child in children)
                assert all(child.level == node.level - 1 for child in children)
                stack.extend(reversed(list(zip(children, keys, bounds, strict=True))))
        return found

    def items(self, root: Pointer) -> dict[ItemKey, bytes]:
        """What the leaves below root hold."""
        return {
            key: data for node in self.nodes(root) if not node.level for key, data in node.items
        }


def fill(tree: Tree, count: int, size: int = 60) -> TreeOracle:
    """count items of about size bytes, keys ascending."""
    oracle = TreeOracle()
    for number in range(count):
        payload = number.to_bytes(8, "little") * (size // 8)
        tree.put(number, constants.ITEM_OPERATION, 0, payload)
        oracle.items[number, constants.ITEM_OPERATION, 0] = payload
    return oracle


def everything(tree: Tree) -> dict[ItemKey, bytes]:
    return {(o, t, f): payload for o, t, f, payload in tree.iterate(LOWEST, HIGHEST)}
