"""Trees over a node cache, as the volume uses them (DiskLayout.md, "Trees").

A thin face over `native/src/btree_*.c`. Rules:

- One thread at a time may call a cache and all its trees, walks and diffs. Images of frozen nodes
  may be read (written to a device) by others until `NodeCache.written`.
- A look-up that needs a node which is not cached raises `NodeMissing`, having changed nothing;
  `install` the node and call again. After `touch` of a key its `put` and `delete` do not raise it.
- Nothing but `trim` and `drop_clean` evicts, so what an operation has loaded stays until it ends.
- A node that is damaged or in the wrong place raises `StructureError`; an argument that no item may
  have raises ValueError (a number that does not fit its field: struct.error). Nothing is changed.

Keys are (object, type, offset) in this order; payloads are bytes.
"""

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self, TypeAlias

from affs_fuse._core import ffi, lib
from affs_fuse.core import constants
from affs_fuse.core.checksum import Buffer
from affs_fuse.core.codec import Pointer
from affs_fuse.core.errors import check

if TYPE_CHECKING:
    from affs_fuse._core import CData

__all__ = [
    "CacheStatistics",
    "Diff",
    "DiffEvent",
    "FrozenNode",
    "FrozenNodes",
    "Item",
    "ItemKey",
    "NodeCache",
    "NodeMissing",
    "Tree",
    "Walk",
]  # fmt: skip

ItemKey: TypeAlias = tuple[int, int, int]
"""(object, type, offset)."""
Item: TypeAlias = tuple[int, int, int, bytes]
"""(object, type, offset, payload)."""

SCAN_BYTES_MIN = 8192
"""Any item fits: the largest takes 32 + 4352 bytes of a scan's buffer."""

GATHER_BYTES = 64 << 10
"""Room for what one `gather` gives."""

_pack_key = struct.Struct("<QQB").pack_into
_unpack_item = struct.Struct("<QQB7xI4x").unpack_from
_unpack_type = struct.Struct("<16xB7xI4x").unpack_from
_ITEM_HEADER_SIZE = 32
_unpack = ffi.unpack
_OK: Final = constants.OK
_NOT_FOUND: Final = constants.R_NOT_FOUND
_CLOSED: Any = None


class NodeMissing(Exception):
    """A node has to be loaded before the operation can be done. pointer: which one."""

    def __init__(self, pointer: Pointer) -> None:
        super().__init__(pointer)
        self.pointer = pointer


def _read_pointer(pointer: "CData") -> Pointer:
    return Pointer.unpack(ffi.buffer(pointer)[:])


def _new_pointer(pointer: Pointer) -> "CData":
    made = ffi.new("affs_pointer *")
    ffi.buffer(made)[:] = pointer.pack()
    return made


@dataclass(frozen=True, slots=True)
class CacheStatistics:
    """What a node cache holds and did."""

    node_count: int
    """Nodes of all kinds in memory."""
    dirty_count: int
    """Changed nodes that no freeze has given an address."""
    frozen_count: int
    """Nodes that wait to be written."""
    bytes_max: int
    """Size that `trim` keeps to, as far as pinned nodes allow."""
    hits: int
    """Look-ups of nodes that were there."""
    misses: int
    """Look-ups of nodes that were not."""
    evictions: int
    """Clean nodes that gave way."""


class FrozenNode(NamedTuple):
    """A node ready to be written. address, mirror_address (0: none): where; image: its 16 KiB."""

    address: int
    mirror_address: int
    image: memoryview


class FrozenNodes:
    """The nodes of one freeze, children before parents; iterable until `NodeCache.written`."""

    __slots__ = ("_cache", "_count", "_images")

    def __init__(self, cache: "NodeCache", images: "CData", count: int) -> None:
        self._cache = cache
        self._images = images
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[FrozenNode]:
        for index in range(self._count):
            row = self._images[index]
            image = memoryview(ffi.buffer(row.image, constants.NODE_SIZE)).toreadonly()
            yield FrozenNode(row.address, row.mirror_address, image)

    def settle(self, cache: "NodeCache") -> None:
        """Tell the C cache that the nodes are on the device. Called by `NodeCache.written`."""
        if cache is not self._cache:
            raise ValueError("nodes of another cache")
        lib.affs_cache_written(cache._handle, self._images, self._count)
        self._count = 0


class NodeCache:
    """Nodes of one volume's trees in memory. bytes_max: what `trim` shrinks it to (1 MiB at least).

    uuid, salt: 16 bytes each, which every node of the volume carries.
    """

    __slots__ = ("_handle", "_keepers")

    def __init__(self, bytes_max: int, uuid: bytes, salt: bytes) -> None:
        if len(uuid) != 16 or len(salt) != 16:
            raise ValueError("uuid and salt have 16 bytes each")
        made = lib.affs_cache_new(bytes_max, uuid, salt)
        if not made:
            raise MemoryError("node cache")
        self._handle: CData = ffi.gc(made, lib.affs_cache_free)
        self._keepers = 0

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Inside, `trim` evicts nothing: for an operation that needs many nodes at once."""
        self._keepers += 1
        try:
            yield
        finally:
            self._keepers -= 1

    def reserve(self, nodes: int) -> None:
        """Take memory now, so that changes which make up to `nodes` dirty nodes need no more.

        Raises MemoryError.
        """
        check(lib.affs_cache_reserve(self._handle, nodes), "node cache")

    def install(self, pointer: Pointer, image: Buffer) -> None:
        """Put in the node that a device gave for this pointer. StructureError if it is not it."""
        made = _new_pointer(pointer)
        with ffi.from_buffer(image) as view:
            outcome = lib.affs_cache_install(self._handle, made, view, len(view))
        check(outcome, f"node at {pointer.address:#x}")

    def trim(self) -> None:
        """Evict clean nodes, least recently used first, down to bytes_max."""
        if not self._keepers:
            lib.affs_cache_trim(self._handle)

    def drop_clean(self) -> None:
        """Evict all clean nodes."""
        lib.affs_cache_drop_clean(self._handle)

    def forget(self, pointer: Pointer) -> None:
        """Evict this node, if it is here and clean."""
        lib.affs_cache_forget(self._handle, pointer.address, pointer.birth, pointer.tree)

    def forget_replaced(self, kind: int, replaced: Iterable[tuple[int, int]]) -> None:
        """Evict these nodes of a kind of tree, (address, birth) each, that are here and clean: what
        changes have replaced is read again by nobody but those who read older states."""
        for address, birth in replaced:
            lib.affs_cache_forget(self._handle, address, birth, kind)

    def written(self, nodes: FrozenNodes) -> None:
        """These nodes are on the device; from now on they may be evicted, and `nodes` is empty."""
        nodes.settle(self)

    def statistics(self) -> CacheStatistics:
        made = ffi.new("affs_cache_statistics *")
        lib.affs_cache_get_statistics(self._handle, made)
        return CacheStatistics(
            node_count=made.node_count,
            dirty_count=made.dirty_count,
            frozen_count=made.frozen_count,
            bytes_max=made.bytes_max,
            hits=made.hits,
            misses=made.misses,
            evictions=made.evictions,
        )


class Tree:
    """A copy-on-write tree. kind: TREE_*. root None: empty. Trees of one cache are independent.

    Raises StructureError for a root pointer that cannot be one.
    """

    __slots__ = (
        "_count",
        "_end",
        "_end_bytes",
        "_handle",
        "_item",
        "_key",
        "_key_bytes",
        "_payload",
        "_room",
        "_used",
        "cache",
        "kind",
    )  # fmt: skip

    def __init__(
        self, cache: NodeCache, kind: int, root: Pointer | None, writable: bool = True
    ) -> None:
        if not constants.TREE_NAMESPACE <= kind <= constants.TREE_SPACE:
            raise ValueError(f"no kind of tree: {kind}")
        made = lib.affs_tree_new(cache._handle, kind, ffi.NULL, writable)
        if not made:
            raise MemoryError(f"tree of kind {kind}")
        self.cache = cache
        self.kind = kind
        self._handle: CData = ffi.gc(made, lib.affs_tree_free)
        self._key_bytes = bytearray(24)
        self._key = ffi.from_buffer("affs_key *", self._key_bytes)
        self._end_bytes = bytearray(24)
        self._end = ffi.from_buffer("affs_key *", self._end_bytes)
        self._item = ffi.new("affs_item *")
        # The payload's address as char *, which unpack turns into bytes in one step.
        self._payload = ffi.cast("const char **", ffi.addressof(self._item, "payload"))
        self._used = ffi.new("size_t *")
        self._count = ffi.new("uint32_t *")
        self._room: CData | None = None
        if root is not None:
            self.set_root(root)

    def get(self, object_number: int, item_type: int, offset: int) -> bytes | None:
        """The item's payload. Raises NodeMissing."""
        _pack_key(self._key_bytes, 0, object_number, offset, item_type)
        result = lib.affs_tree_get(self._handle, self._key, self._item)
        if result == _OK:
            payload: bytes = _unpack(self._payload[0], self._item.length)
            return payload
        if result == _NOT_FOUND:
            return None
        raise self._failure(result)

    def seek(
        self, object_number: int, item_type: int, offset: int, backward: bool = False
    ) -> Item | None:
        """First item at or after the key; backward: last one at or before. Raises NodeMissing."""
        _pack_key(self._key_bytes, 0, object_number, offset, item_type)
        item = self._item
        result = lib.affs_tree_seek(self._handle, self._key, backward, item)
        if result == _OK:
            key = item.key
            return key.object, key.type, key.offset, _unpack(self._payload[0], item.length)
        if result == _NOT_FOUND:
            return None
        raise self._failure(result)

    def put(
        self,
        object_number: int,
        item_type: int,
        offset: int,
        payload: bytes,
        mode: int = constants.PUT_ANY,
    ) -> bool:
        """Insert or replace the item. False: PUT_INSERT found one, or PUT_REPLACE found none.

        Raises NodeMissing, MemoryError, or ValueError for a payload or key that no item may have.
        """
        _pack_key(self._key_bytes, 0, object_number, offset, item_type)
        result = lib.affs_tree_put(self._handle, self._key, payload, len(payload), mode)
        if result == _OK:
            return True
        if result in (constants.R_EXISTS, _NOT_FOUND):
            return False
        raise self._failure(result)

    def delete(self, object_number: int, item_type: int, offset: int) -> bool:
        """Remove the item. False: there is none. Raises NodeMissing, MemoryError."""
        _pack_key(self._key_bytes, 0, object_number, offset, item_type)
        result = lib.affs_tree_delete(self._handle, self._key)
        if result == _OK:
            return True
        if result == _NOT_FOUND:
            return False
        raise self._failure(result)

    def touch(self, object_number: int, item_type: int, offset: int) -> None:
        """See that put and delete of this key find all nodes they need. Raises NodeMissing."""
        _pack_key(self._key_bytes, 0, object_number, offset, item_type)
        result = lib.affs_tree_touch(self._handle, self._key)
        if result != _OK:
            raise self._failure(result)

    def scan(self, first: ItemKey, end: ItemKey, limit_bytes: int = 65536) -> list[Item]:
        """Items from first up to, not including, end: all, or as many as fit into limit_bytes.

        At least one item if there is any, so who wants the rest goes on after the last one until
        nothing comes (as `iterate` does). An item counts 32 bytes and its payload.
        Raises NodeMissing.
        """
        _pack_key(self._key_bytes, 0, first[0], first[2], first[1])
        _pack_key(self._end_bytes, 0, end[0], end[2], end[1])
        room = max(limit_bytes, SCAN_BYTES_MIN)
        if self._room is None or len(self._room) < room:
            self._room = ffi.new("char[]", room)
        result = lib.affs_tree_scan(
            self._handle, self._key, self._end, self._room, room, self._used, self._count
        )
        if result not in (_OK, constants.R_MORE):
            raise self._failure(result)
        buffer = ffi.buffer(self._room)
        items: list[Item] = []
        at = 0
        for _ in range(self._count[0]):
            object_number, offset, item_type, length = _unpack_item(buffer, at)
            at += _ITEM_HEADER_SIZE
            items.append((object_number, item_type, offset, buffer[at : at + length]))
            at += (length + 7) & ~7
        return items

    def gather(
        self, objects: Sequence[int], first_type: int, end_type: int
    ) -> list[list[tuple[int, bytes]] | None]:
        """Of each object (type, payload) of its items from first_type up to, not including,
        end_type; None where these have more than GATHER_BYTES. At least of one object, and of fewer
        than were asked where they are too much for one call. Raises NodeMissing.
        """
        count = len(objects)
        if self._room is None or len(self._room) < GATHER_BYTES:
            self._room = ffi.new("char[]", GATHER_BYTES)
        counts = ffi.new("uint32_t[]", count)
        result = lib.affs_tree_gather(
            self._handle, ffi.new("uint64_t[]", objects), count, first_type, end_type,
            self._room, len(self._room), counts, self._count,
        )  # fmt: skip
        if result != _OK:
            raise self._failure(result)
        buffer = ffi.buffer(self._room)
        found: list[list[tuple[int, bytes]] | None] = []
        at = 0
        for item_count in _unpack(counts, self._count[0]):
            if item_count == constants.GATHER_MANY:
                found.append(None)
                continue
            items = []
            for _ in range(item_count):
                item_type, length = _unpack_type(buffer, at)
                at += _ITEM_HEADER_SIZE
                items.append((item_type, buffer[at : at + length]))
                at += (length + 7) & ~7
            found.append(items)
        return found

    def iterate(self, first: ItemKey, end: ItemKey, limit_bytes: int = 65536) -> Iterator[Item]:
        """All items from first up to, not including, end, read limit_bytes at a time.

        The tree may change meanwhile: each part shows it as it then is. Raises NodeMissing, which
        ends the iterator.
        """
        start: ItemKey | None = first
        while start and (items := self.scan(start, end, limit_bytes)):
            yield from items
            start = _successor(items[-1][:3])

    @property
    def root(self) -> Pointer | None:
        """The root's pointer; None while it is dirty. birth 0: empty, opened for reading."""
        made = ffi.new("affs_pointer *")
        if lib.affs_tree_get_root(self._handle, made) != _OK:
            return None
        return _read_pointer(made)

    def set_root(self, root: Pointer | None) -> None:
        """Point the tree elsewhere. Its dirty nodes, and drops not yet taken, are thrown away.

        Raises StructureError, with nothing changed, for a pointer that cannot be a root.
        """
        made = ffi.NULL if root is None else _new_pointer(root)
        check(lib.affs_tree_set_root(self._handle, made), "root pointer")

    @property
    def dirty_count(self) -> int:
        """How many addresses a freeze needs now."""
        return lib.affs_tree_dirty_count(self._handle)

    def freeze(
        self, birth: int, addresses: Sequence[int], mirrors: Sequence[int] | None = None
    ) -> tuple[Pointer, FrozenNodes]:
        """Give the dirty nodes these addresses (dirty_count of them) and make them immutable.

        Gives the root's pointer and the images to write. Raises ValueError, with nothing changed,
        for addresses that are too few or many, no addresses of nodes, given twice or in use.
        """
        count = len(addresses)
        if mirrors is not None and len(mirrors) != count:
            raise ValueError("as many mirror addresses as addresses")
        images = ffi.new("affs_image[]", count)
        root = ffi.new("affs_pointer *")
        result = lib.affs_tree_freeze(
            self._handle, birth,
            ffi.new("uint64_t[]", addresses),
            ffi.NULL if mirrors is None else ffi.new("uint64_t[]", mirrors),
            count, images, root,
        )  # fmt: skip
        check(result, "freeze")
        return _read_pointer(root), FrozenNodes(self.cache, images, count)

    def take_dropped(self) -> list[tuple[int, int]]:
        """(address, birth) of durable or frozen nodes that changes replaced since last asked."""
        taken: list[tuple[int, int]] = []
        rows = ffi.new("affs_dropped[]", 256)
        while count := lib.affs_tree_take_dropped(self._handle, rows, 256):
            taken.extend((rows[index].address, rows[index].birth) for index in range(count))
        return taken

    def close(self) -> None:
        """Give everything back, dirty nodes too. What is called afterwards raises TypeError."""
        handle, self._handle = self._handle, _CLOSED
        if handle is not _CLOSED:
            ffi.release(handle)

    def _failure(self, result: int) -> Exception:
        return _failure(result, lib.affs_tree_missing, self._handle)


class Walk:
    """Iterates over the pointers of all nodes below a root, parents before children, in key order.

    Nodes of level >= level_min are read when the iteration goes on below (leaves: past) them, so
    pointers down to level_min - 1 are given: with level_min 1 those of all leaves, none of which is
    read. Raises NodeMissing: go on with the same iterator once the node is installed; or
    StructureError, for a root pointer that cannot be one, or a node in the wrong place.
    """

    __slots__ = ("_handle", "_pointer", "cache")

    def __init__(self, cache: NodeCache, root: Pointer, level_min: int = 0) -> None:
        # A tree that could have this root says whether it is one.
        Tree(cache, root.tree or constants.TREE_NAMESPACE, root, writable=False).close()
        made = lib.affs_walk_new(cache._handle, _new_pointer(root), level_min)
        if not made:
            raise MemoryError("walk")
        self.cache = cache
        self._handle = ffi.gc(made, lib.affs_walk_free)
        self._pointer = ffi.new("affs_pointer *")

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Pointer:
        result = lib.affs_walk_next(self._handle, self._pointer)
        if result == _OK:
            return _read_pointer(self._pointer)
        if result == constants.R_END:
            raise StopIteration
        raise _failure(result, lib.affs_walk_missing, self._handle)

    def prune(self) -> None:
        """Do not go below the node just given."""
        lib.affs_walk_prune(self._handle)


class DiffEvent(NamedTuple):
    """One difference. kind: DIFF_*.

    ONLY_A, ONLY_B, CHANGED: the key, and the payloads on the sides that have it. NODE_A, NODE_B:
    node is one that this side was descended through, so it is not shared at this place; the key is
    the lowest that can be below it.
    """

    kind: int
    object: int
    type: int
    offset: int
    a: bytes | None
    b: bytes | None
    node: Pointer | None


class Diff:
    """Iterates over what differs between two trees of one cache in key order, reading only that.

    The trees may be dirty but must not change meanwhile (ValueError). Raises NodeMissing: go on
    with the same iterator once the node is installed.
    """

    __slots__ = ("_event", "_handle", "_payload_a", "_payload_b", "trees")

    def __init__(self, a: Tree, b: Tree) -> None:
        if a.cache is not b.cache or a.kind != b.kind:
            raise ValueError("only trees of one kind in one cache can be compared")
        made = lib.affs_diff_new(a._handle, b._handle)
        if not made:
            raise MemoryError("diff")
        self.trees = (a, b)
        self._handle = ffi.gc(made, lib.affs_diff_free)
        self._event = ffi.new("affs_diff_event *")
        self._payload_a = ffi.cast("const char **", ffi.addressof(self._event, "a_payload"))
        self._payload_b = ffi.cast("const char **", ffi.addressof(self._event, "b_payload"))

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> DiffEvent:
        event = self._event
        result = lib.affs_diff_next(self._handle, event)
        if result == constants.R_END:
            raise StopIteration
        if result != _OK:
            raise _failure(result, lib.affs_diff_missing, self._handle)
        kind: int = event.kind
        key = event.key
        a = b = node = None
        if kind in _NODE_EVENTS:
            node = _read_pointer(ffi.addressof(event, "node"))
        if kind in (constants.DIFF_ONLY_A, constants.DIFF_CHANGED):
            a = _unpack(self._payload_a[0], event.a_length)
        if kind in (constants.DIFF_ONLY_B, constants.DIFF_CHANGED):
            b = _unpack(self._payload_b[0], event.b_length)
        return DiffEvent(kind, key.object, key.type, key.offset, a, b, node)


_NODE_EVENTS = (constants.DIFF_NODE_A, constants.DIFF_NODE_B)


def _successor(key: ItemKey) -> ItemKey | None:
    """The least key above this one; None after the greatest."""
    object_number, item_type, offset = key
    if offset < 2**64 - 1:
        return object_number, item_type, offset + 1
    if item_type < 2**8 - 1:
        return object_number, item_type + 1, 0
    return (object_number + 1, 0, 0) if object_number < 2**64 - 1 else None


def _failure(
    result: int, missing: Callable[["CData", "CData"], None], handle: "CData"
) -> Exception:
    """NodeMissing with what `missing` tells about handle; raises what an error code stands for."""
    if result == constants.R_MISSING:
        made = ffi.new("affs_pointer *")
        missing(handle, made)
        return NodeMissing(_read_pointer(made))
    check(result, "tree operation" if result == constants.E_INVALID else "tree node")
    return AssertionError(f"unexpected outcome {result}")
