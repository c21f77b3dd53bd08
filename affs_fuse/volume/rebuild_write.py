"""Writing recovered states into a volume that is being made.

States are written one after the other, each as the difference to the one that it descends from, so
they share in the new volume what they shared in the old one. Only blocks whose checksums match are
taken over. The engine's own trees, allocator and commits do the work: the birth rule and all the
others hold as in any volume.

An object is the unit: one whose signature is the same in the state before is left alone, else its
items are written anew, and of its blocks those are used again that its old items already refer to.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from affs_fuse.core.checksum import first_bad_block, name_hash
from affs_fuse.core.codec import (
    Extent,
    Xattr,
    pack_extent,
    pack_name,
    pack_xattr,
)
from affs_fuse.core.constants import (
    BLOCK_SHIFT,
    BLOCK_SIZE,
    COLLECTION_PART_SIZE,
    INTENT_APPEND,
    INTENT_MEDIUM,
    INTENT_SMALL,
    ITEM_COLLECTION,
    ITEM_DENTRY,
    ITEM_EXTENT,
    ITEM_INLINE,
    ITEM_INODE,
    ITEM_PARENT,
    ITEM_SYMLINK,
    ITEM_XATTR,
    OBJECT_COLLECTIONS,
    OBJECT_ROOT,
    XATTR_EXTENT,
    XATTR_INLINE,
)
from affs_fuse.core.tree import Tree
from affs_fuse.device.device import Device
from affs_fuse.volume.rebuild_objects import Piece, Spec
from affs_fuse.volume.rebuild_places import Places
from affs_fuse.volume.rebuild_report import UNMATCHED, StateReport
from affs_fuse.volume.reclaim import extents_of
from affs_fuse.volume.volume import Volume

__all__ = ["Blocks", "Copied", "ObjectWriter", "check_pieces"]

WAITING_BYTES_MAX = 16 << 20
ORDINALS = 16

ItemKey = tuple[int, int]
"""(type, offset) within one object."""


class Blocks:
    """The source's data blocks, taken only where their checksums match."""

    def __init__(self, device: Device, places: Places) -> None:
        self._device = device
        self._places = places

    def runs(self, address: int, count: int, sums: bytes) -> Iterator[tuple[int, bytes]]:
        """(first block, bytes) of every run of good blocks, in order."""
        data: list[bytes | None] = [None] * count
        for place in self._places.candidates(address >> 32):
            missing = [index for index in range(count) if data[index] is None]
            if not missing:
                break
            self._read(self._places.offset(place, address), missing, sums, data)
        first = 0
        for index in range(count + 1):
            if index < count and data[index] is not None:
                continue
            good = [block for block in data[first:index] if block is not None]
            if good:
                yield first, b"".join(good)
            first = index + 1

    def whole(self, extent: Extent, sums: bytes) -> bytes | None:
        """All of it, or None."""
        runs = list(self.runs(extent.address, extent.blocks, sums))
        if len(runs) != 1 or len(runs[0][1]) != extent.blocks << BLOCK_SHIFT:
            return None
        return runs[0][1]

    def _read(
        self, offset: int, missing: list[int], sums: bytes, data: list[bytes | None]
    ) -> None:
        """Fill in what is found at one place: all at once, or what can be read block by block."""
        start, end = missing[0], missing[-1] + 1
        whole, result = self._device.read(
            offset + (start << BLOCK_SHIFT), (end - start) << BLOCK_SHIFT
        )
        for index in missing:
            if result.ok:
                block = whole[(index - start) << BLOCK_SHIFT :][:BLOCK_SIZE]
            else:
                block, one = self._device.read(offset + (index << BLOCK_SHIFT), BLOCK_SIZE)
                if not one.ok:
                    continue
            if first_bad_block(block, sums[4 * index : 4 * index + 4]) is None:
                data[index] = block


class Copied:
    """Where runs of the source's blocks were put, by source address and birth."""

    def __init__(self) -> None:
        self._starts: list[tuple[int, int]] = []
        self._runs: list[tuple[int, int, int]] = []

    def note(self, address: int, birth: int, blocks: int, placed: int, born: int) -> None:
        key = (birth, address)
        index = bisect_right(self._starts, key)
        self._starts.insert(index, key)
        self._runs.insert(index, (blocks, placed, born))

    def find(self, address: int, birth: int, blocks: int) -> tuple[int, int] | None:
        """(address, birth) in the new volume of a run that was copied as a whole."""
        index = bisect_right(self._starts, (birth, address)) - 1
        if index < 0 or self._starts[index][0] != birth:
            return None
        within = address - self._starts[index][1]
        count, placed, born = self._runs[index]
        return (placed + within, born) if within + blocks <= count else None


@dataclass(slots=True)
class _Reusable:
    """The runs of new blocks that an object's items refer to so far."""

    runs: list[tuple[int, int, int]]
    used: list[tuple[int, int]] = field(default_factory=list)

    def take(self, address: int, blocks: int) -> bool:
        """May the object go on using these? Not twice."""
        end = address + blocks
        inside = any(start <= address and end <= start + count for start, count, _ in self.runs)
        if not inside or any(start < end and address < stop for start, stop in self.used):
            return False
        self.used.append((address, end))
        return True

    def rest(self) -> Iterator[tuple[int, int, int]]:
        """Runs that are used no longer: address, blocks, birth."""
        for start, count, birth in self.runs:
            at = start
            for first, stop in sorted(self.used):
                if first < start or first >= start + count:
                    continue
                if first > at:
                    yield at, first - at, birth
                at = stop
            if at < start + count:
                yield at, start + count - at, birth


class ObjectWriter:
    """Writes objects of one state after the other into the working state of a volume."""

    def __init__(
        self, volume: Volume, blocks: Blocks, commit: Callable[[], object]
    ) -> None:
        self._volume = volume
        self._blocks = blocks
        self._commit = commit
        self._copied = Copied()
        self._key = volume.hash_key

    @property
    def _tree(self) -> Tree:
        return self._volume.working.tree

    def write(self, spec: Spec, path: Callable[[], str], report: StateReport) -> None:
        """Make the object what the spec says. Errors: volume.no_space, device.io."""
        before = self._items(spec.number)
        old = [run for (kind, _), payload in before.items() for run in extents_of(kind, payload)]
        reusable = _Reusable(old)
        items: dict[ItemKey, bytes] = {}
        self._put_names(spec, items)
        if spec.target:
            items[ITEM_SYMLINK, 0] = spec.target
        if spec.inline:
            items[ITEM_INLINE, 0] = spec.inline
        for index in range(0, len(spec.declaration), COLLECTION_PART_SIZE):
            part = spec.declaration[index : index + COLLECTION_PART_SIZE]
            items[ITEM_COLLECTION, index // COLLECTION_PART_SIZE] = part
        self._put_xattrs(spec, items, reusable, path, report)
        blocks = sum(
            self._put_piece(spec, piece, items, reusable, path, report)
            for piece in spec.pieces
        )
        items[ITEM_INODE, 0] = spec.inode._replace(blocks=blocks).pack()
        for address, count, birth in reusable.rest():
            self._volume.drop_blocks(address, count, birth)
        self._replace(spec.number, before, items)
        self._relieve()

    def remove(self, number: int) -> None:
        """The object is not in this state."""
        before = self._items(number)
        for (kind, _), payload in before.items():
            for address, count, birth in extents_of(kind, payload):
                self._volume.drop_blocks(address, count, birth)
        self._replace(number, before, {})
        self._relieve()

    def _items(self, number: int) -> dict[ItemKey, bytes]:
        def read() -> dict[ItemKey, bytes]:
            found = self._tree.iterate((number, 0, 0), (number + 1, 0, 0))
            return {(kind, offset): payload for _, kind, offset, payload in found}

        return self._volume.run(read)

    def _replace(
        self, number: int, before: dict[ItemKey, bytes], items: dict[ItemKey, bytes]
    ) -> None:
        for kind, offset in before.keys() - items.keys():
            self._volume.run(self._tree.delete, number, kind, offset)
        for (kind, offset), payload in sorted(items.items()):
            if before.get((kind, offset)) != payload:
                self._volume.run(self._tree.put, number, kind, offset, payload)
        self._list(number, (ITEM_COLLECTION, 0) in before, (ITEM_COLLECTION, 0) in items)

    def _list(self, number: int, was: bool, will: bool) -> None:
        """Keep the list of collections."""
        key = OBJECT_COLLECTIONS, ITEM_COLLECTION, number
        if will and not was:
            self._volume.run(self._tree.put, *key, b"")
        elif was and not will:
            self._volume.run(self._tree.delete, *key)

    def _relieve(self) -> None:
        """Bound what is in memory: write data out, commit when too much is dirty."""
        if self._volume.waiting_bytes > WAITING_BYTES_MAX:
            batch = self._volume.take_batch()
            if batch is not None:
                batch.execute()
                self._volume.end_batch(batch)
        if self._volume.wants_commit:
            self._commit()

    # ---- items ----

    def _put_names(self, spec: Spec, items: dict[ItemKey, bytes]) -> None:
        kind = spec.inode.mode >> 12
        for parent, name in spec.names if spec.number != OBJECT_ROOT else ():
            self._hashed(items, ITEM_PARENT, parent, name, pack_name(parent, kind, name))
        for name, child, child_kind in spec.children:
            self._hashed(items, ITEM_DENTRY, 0, name, pack_name(child, child_kind, name))

    def _hashed(
        self, items: dict[ItemKey, bytes], kind: int, prefix: int, name: bytes, payload: bytes
    ) -> None:
        offset = name_hash(self._key, prefix, name) * ORDINALS
        while (kind, offset) in items:
            offset += 1
        items[kind, offset] = payload

    def _put_xattrs(
        self,
        spec: Spec,
        items: dict[ItemKey, bytes],
        reusable: _Reusable,
        path: Callable[[], str],
        report: StateReport,
    ) -> None:
        for name, fixed, body in spec.xattrs:
            made = self._value(fixed, body, reusable)
            if made is None:
                lose_xattr(spec, name, path, report)
                continue
            payload = pack_xattr(name, fixed.value_length, fixed.storage, made)
            self._hashed(items, ITEM_XATTR, 0, name, payload)

    def _value(self, fixed: Xattr, body: bytes, reusable: _Reusable) -> bytes | None:
        """The body of an attribute in the new volume; None if its data is damaged."""
        if fixed.storage == XATTR_INLINE:
            return body
        assert fixed.storage == XATTR_EXTENT
        extent, sums = Extent.unpack(body), body[Extent.SIZE :]
        known = self._copied.find(extent.address, extent.birth, extent.blocks)
        if known is not None and reusable.take(known[0], extent.blocks):
            made = _extent(known[0], known[1], extent.blocks)
            return pack_extent(made._replace(length=extent.length), sums)
        data = self._blocks.whole(extent, sums)
        if data is None:
            return None
        self._volume.reserve_data(extent.blocks)
        placed = self._volume.store(data, INTENT_SMALL)
        if len(placed) != 1:  # a value lies in one piece; there is none of this size left
            for each in placed:
                self._volume.drop_blocks(each.address, each.blocks, each.birth)
            return None
        at, born = placed[0].address, placed[0].birth
        self._copied.note(extent.address, extent.birth, extent.blocks, at, born)
        made = _extent(at, born, extent.blocks)
        return pack_extent(made._replace(length=extent.length), sums)

    def _put_piece(
        self,
        spec: Spec,
        piece: Piece,
        items: dict[ItemKey, bytes],
        reusable: _Reusable,
        path: Callable[[], str],
        report: StateReport,
    ) -> int:
        """Place the good blocks of a piece and report the others; how many were placed."""
        data_kind = spec.inode.data_kind
        intent = data_kind if INTENT_SMALL <= data_kind <= INTENT_APPEND else INTENT_MEDIUM
        good: list[tuple[int, int]] = []
        for first, extent, sums in self._place(piece.extent, piece.sums, intent, reusable):
            length = min(extent.blocks << BLOCK_SHIFT, piece.extent.length - (first << BLOCK_SHIFT))
            offset = piece.offset + (first << BLOCK_SHIFT)
            items[ITEM_EXTENT, offset] = pack_extent(extent._replace(length=length), sums)
            good.append((first, extent.blocks))
        note_gaps(piece, good, spec, path, report)
        return sum(count for _, count in good)

    def _place(
        self, source: Extent, sums: bytes, intent: int, reusable: _Reusable
    ) -> Iterator[tuple[int, Extent, bytes]]:
        """(first block in the source's run, extent, checksums) of everything that is good."""
        known = self._copied.find(source.address, source.birth, source.blocks)
        if known is not None and reusable.take(known[0], source.blocks):
            yield 0, _extent(known[0], known[1], source.blocks), sums
            return
        for first, data in self._blocks.runs(source.address, source.blocks, sums):
            self._volume.reserve_data(len(data) >> BLOCK_SHIFT)
            at = first
            for placed in self._volume.store(data, intent):
                self._copied.note(
                    source.address + at, source.birth, placed.blocks, placed.address, placed.birth
                )
                extent = _extent(placed.address, placed.birth, placed.blocks)
                yield at, extent, placed.checksums
                at += placed.blocks


def _extent(address: int, birth: int, blocks: int) -> Extent:
    size = blocks << BLOCK_SHIFT
    return Extent(address, birth, blocks, size, size, 0, size)


def lose_xattr(spec: Spec, name: bytes, path: Callable[[], str], report: StateReport) -> None:
    detail = f"the value of {name!r} does not match its checksums"
    report.lose("xattr", path(), spec.number, detail=detail)


def note_gaps(
    piece: Piece, good: list[tuple[int, int]], spec: Spec, path: Callable[[], str],
    report: StateReport,
) -> None:
    """Report what the good runs (first block, blocks; in order) leave of a piece."""
    at = 0
    for first, count in [*good, (piece.extent.blocks, 0)]:
        if first > at:
            length = min(first << BLOCK_SHIFT, piece.extent.length) - (at << BLOCK_SHIFT)
            report.data_bytes -= length
            report.lost_data_bytes += length
            report.lose(
                "data", path(), spec.number,
                offset=piece.offset + (at << BLOCK_SHIFT), length=length,
                detail=UNMATCHED,
            )
        at = first + count


def check_pieces(
    blocks: Blocks, spec: Spec, path: Callable[[], str], report: StateReport
) -> None:
    """For a plan: read an object's data, write none, and report what does not match."""
    for name, fixed, body in spec.xattrs:
        if fixed.storage == XATTR_EXTENT:
            extent, sums = Extent.unpack(body), body[Extent.SIZE :]
            if blocks.whole(extent, sums) is None:
                lose_xattr(spec, name, path, report)
    for piece in spec.pieces:
        extent = piece.extent
        runs = blocks.runs(extent.address, extent.blocks, piece.sums)
        good = [(first, len(data) >> BLOCK_SHIFT) for first, data in runs]
        note_gaps(piece, good, spec, path, report)
