"""Trees whose bytes were all read before: the same bytes need not be read again.

What a state shows follows from the bytes of its nodes and data, from where its segments lie, and
from the keys in the superblock. Most states after a crash have the tree of the commit before, to
the byte. So when a tree was walked, all bytes that it lives on are kept beside what it showed; in
another state the walk is left out if every one of them is as it was. No checksum and no digest
stands for bytes here, and who judges thoroughly walks whatever is known.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import cache

from affs_fuse.core.codec import Pointer, Xattr
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    ITEM_EXTENT,
    ITEM_XATTR,
    NODE_BLOCKS,
    TREE_NAMESPACE,
)
from affs_fuse.core.tree import Tree, Walk
from affs_fuse.volume import layout
from affs_fuse.volume.reclaim import extents_of
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.device import Image, Recorder
from affs_tools.crashsim.model import Collections, Snapshot

__all__ = ["KnownTree", "TreesOf", "image_of", "read_with"]

KNOWN_BYTES_MAX = 48 << 20
"""Of all trees that are kept; half of it of one."""

LAST_KEY = (1 << 64) - 1, 255, 0


@dataclass(slots=True)
class KnownTree:
    """size: bytes of it. live: of each segment, the blocks of the tree's nodes and of the data that
    its items name. shown, collections: what it was found to show, and to hold of collections; None:
    nobody has looked yet. answered: its indexes answer as its records do."""

    bytes_at: list[tuple[int, bytes]]
    live: dict[int, int]
    size: int = 0
    shown: Snapshot | None = None
    collections: Collections | None = None
    answered: bool = False


@cache
def _known() -> "OrderedDict[object, KnownTree]":
    """Of this process, by all that a tree is read with."""
    return OrderedDict()


class TreesOf:
    """Of a volume whose trees do not change meanwhile. believe: what is known counts."""

    def __init__(self, volume: Volume, *, believe: bool) -> None:
        self._volume = volume
        self._image = image_of(volume)
        self._believe = believe
        self._read_with = read_with(volume)
        self._trees: dict[Pointer, KnownTree] = {}

    def get(self, root: Pointer) -> KnownTree:
        """Errors: AffsError of damage."""
        found = self._trees.get(root)
        if found is None:
            found = self._trees[root] = self._find(root)
        return found

    def _find(self, root: Pointer) -> KnownTree:
        content = self._image.content
        key = root, self._read_with
        known = _known().get(key)
        same = known is not None and all(
            content[at : at + len(data)] == data for at, data in known.bytes_at
        )
        if known is not None and same and self._believe:
            _known().move_to_end(key)
            return known
        made = self._read(root)
        if not same:
            _keep(key, made)
        return made

    def _read(self, root: Pointer) -> KnownTree:
        volume, content = self._volume, self._image.content
        made = KnownTree([], {})
        for address, blocks in _runs_of(volume, root):
            number, block = layout.segment_of(address), layout.block_of(address)
            made.live[number] = made.live.get(number, 0) | ((1 << blocks) - 1) << block
            segment = volume.space.segments.get(number)
            if segment is not None:
                at = volume.geometry.place_offset(segment.place) + (block << BLOCK_SHIFT)
                made.bytes_at.append((at, bytes(content[at : at + (blocks << BLOCK_SHIFT)])))
                made.size += blocks << BLOCK_SHIFT
        return made


def _keep(key: object, made: KnownTree) -> None:
    """The oldest make room."""
    known = _known()
    known.pop(key, None)
    if made.size > KNOWN_BYTES_MAX // 2:
        return
    known[key] = made
    total = sum(one.size for one in known.values())
    while total > KNOWN_BYTES_MAX:
        _, oldest = known.popitem(last=False)
        total -= oldest.size


def read_with(volume: Volume) -> object:
    """All that reading a tree goes by, besides its root."""
    superblock = volume.superblock
    places = tuple((one.number, one.place) for one in volume.space.segments.values())
    return places, superblock.format_uuid, superblock.salt, superblock.hash_key


def image_of(volume: Volume) -> Image:
    device = volume.device
    found = device.image if isinstance(device, Recorder) else device
    assert isinstance(found, Image)
    return found


def _runs_of(volume: Volume, root: Pointer) -> list[tuple[int, int]]:
    """(address, blocks) of all nodes, and of all data that items name. Errors: AffsError."""
    found = []
    walk = Walk(volume.cache, root, 0)
    while (address := volume.run(_next_node, walk)) is not None:
        found.append((address, NODE_BLOCKS))
    tree = Tree(volume.cache, TREE_NAMESPACE, root, writable=False)
    for _, kind, _, payload in volume.run(lambda: list(tree.iterate((0, 0, 0), LAST_KEY))):
        if kind in (ITEM_EXTENT, ITEM_XATTR) and len(payload) >= Xattr.SIZE:
            found += [(address, blocks) for address, blocks, _ in extents_of(kind, payload)]
    tree.close()
    return found


def _next_node(walk: Walk) -> int | None:
    try:
        return next(walk).address
    except StopIteration:
        return None
