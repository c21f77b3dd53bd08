"""An image: superblocks, ring, owner, the segment table, and the items of any tree.

Rules kept throughout: a structure counts only if its frame, checksum and identity are right; a node
must be the one its parent's pointer names; keys rise. What breaks a rule is a `Damage` that says
where.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from affs_tools.reader.checksum import Crc, crc32c
from affs_tools.reader.structures import (
    COMMIT,
    ENTRY,
    NODE_HEADER,
    OWNER,
    SEGMENT,
    SEGMENT_HEADER,
    SLOT,
    STATE,
    STATE_POINTER,
    SUPERBLOCK,
    Damage,
    Record,
    Structure,
)

__all__ = ["BLOCK", "ITEM_TYPES", "NODE", "TREES", "Image", "Item", "State", "bitmap_bits"]

BLOCK = 4096
NODE = 16384
MIB = 1 << 20
REGIONS = (0, 33 * MIB)
RING_SLOTS = 64
LEVELS_MAX = 16

TREES = {"namespace": 1, "checkpoint": 2, "system": 3, "space": 4}
ITEM_TYPES = {
    1: "inode", 2: "parent", 3: "xattr", 4: "symlink", 5: "inline", 6: "extent", 7: "dentry",
    8: "orphan", 9: "collection", 10: "index", 11: "index keys", 12: "index pending",
    13: "import", 32: "segment", 33: "bitmap", 34: "share", 48: "state", 49: "state pointer",
    64: "operation", 65: "policy", 66: "job", 67: "verified", 68: "author",
}
TYPE_SEGMENT, TYPE_STATE, TYPE_STATE_POINTER = 32, 48, 49
STATE_POINTERS = {1: "published", 2: "undo", 3: "redo"}


@dataclass(frozen=True, slots=True)
class Item:
    """One item of a leaf."""

    object: int
    type: int
    offset: int
    payload: bytes

    @property
    def key(self) -> tuple[int, int, int]:
        return self.object, self.type, self.offset


@dataclass(frozen=True, slots=True)
class State:
    """A kept state, or the working state of the newest commit (number 0)."""

    number: int
    record: Record
    label: str = ""
    author: str = ""
    message: str = ""

    @property
    def root(self) -> Record:
        root: Record = self.record["root"]
        return root


@dataclass
class Image:
    """An open image. crc: how checksums are computed; another one only for speed.

    The constructor reads the superblocks and the rings. Errors: Damage where there is no good
    superblock or no good commit record; OSError.
    """

    path: str | os.PathLike[str]
    crc: Crc = crc32c
    superblock: Record = field(init=False)
    commit: Record = field(init=False)
    _places: dict[int, int] | None = field(init=False, default=None)
    _nodes: dict[tuple[int, int, int], tuple[Record, bytes]] = field(
        init=False, default_factory=dict
    )

    def __post_init__(self) -> None:
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.size = os.lseek(self._descriptor, 0, os.SEEK_END)
            good = [copy for copy in self.superblocks() if isinstance(copy, dict)]
            if not good:
                raise Damage("no good superblock: this is no AfFS volume, or both are damaged")
            self.superblock = max(good, key=lambda copy: int(copy["update_counter"]))
            self._check_superblock()
            records = self.records()
            if not records:
                raise Damage("no good commit record in either ring")
            self.commit = records[0]
        except BaseException:
            os.close(self._descriptor)
            raise

    def _check_superblock(self) -> None:
        features = self.superblock["features_incompatible"]
        if features:
            raise Damage(f"the volume uses features that this reader does not know ({features:#x})")
        if self.size < self.superblock["device_blocks"] * BLOCK:
            raise Damage("the image is shorter than its superblock says")

    def close(self) -> None:
        os.close(self._descriptor)

    def __enter__(self) -> "Image":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- bytes ----

    def read(self, offset: int, length: int) -> bytes:
        """Exactly length bytes. Errors: Damage past the end of the image."""
        data = os.pread(self._descriptor, length, offset)
        while len(data) < length:
            more = os.pread(self._descriptor, length - len(data), offset + len(data))
            if not more:
                raise Damage(f"the image ends before byte {offset + length}")
            data += more
        return data

    def framed(self, structure: Structure, magic: bytes, kind: int, data: bytes) -> Record:
        """A structure with a header, verified by itself. Errors: Damage."""
        record = structure.decode(data)
        header = record["header"]
        name = structure.name
        if header["magic"] != magic:
            raise Damage(f"{name}: magic is {header['magic']!r}, not {magic!r}")
        if header["length"] != len(data):
            raise Damage(f"{name}: length is {header['length']}, not {len(data)}")
        if self.crc(data[:8] + bytes(4) + data[12:]) != header["checksum"]:
            raise Damage(f"{name}: checksum does not match")
        if header["version"] != 1:
            raise Damage(f"{name}: format version {header['version']}, this reads version 1")
        if header["kind"] != kind:
            raise Damage(f"{name}: kind is {header['kind']}, not {kind}")
        return record

    # ---- header regions ----

    def superblocks(self) -> list[Record | str]:
        """Both copies; for a bad one what is wrong with it."""
        return [self._try(SUPERBLOCK, b"AFSB", 1, region + BLOCK) for region in REGIONS]

    def owners(self) -> list[Record | str]:
        """Both owner blocks; for a bad one what is wrong with it."""
        return [self._try(OWNER, b"AFOW", 3, region + 2 * BLOCK) for region in REGIONS]

    def ring(self, which: int) -> list[Record | str]:
        """The 64 slots of ring 0 or 1; for a bad one what is wrong, "empty" if never used."""
        slots: list[Record | str] = []
        for index in range(RING_SLOTS):
            slot = self._try(COMMIT, b"AFCR", 2, REGIONS[which] + 16 * BLOCK + index * BLOCK)
            if isinstance(slot, dict):
                if slot["uuid"] != self.superblock["format_uuid"]:
                    slot = "commit: another volume's record"
                elif slot["seq"] % RING_SLOTS != index:
                    slot = f"commit: record of seq {slot['seq']} in the wrong slot"
            slots.append(slot)
        return slots

    def records(self) -> list[Record]:
        """The good commit records, newest first."""
        found = {}
        for which in (1, 0):
            for slot in self.ring(which):
                if isinstance(slot, dict):
                    found[slot["seq"], slot["header"]["checksum"]] = slot
        return sorted(found.values(), key=lambda record: -int(record["seq"]))

    def _try(self, structure: Structure, magic: bytes, kind: int, offset: int) -> Record | str:
        try:
            data = self.read(offset, BLOCK)
            return self.framed(structure, magic, kind, data) if any(data) else "empty"
        except Damage as damage:
            return str(damage)

    # ---- addresses ----

    @property
    def segment_size(self) -> int:
        """Bytes."""
        return 1 << int(self.superblock["segment_shift"])

    def place_offset(self, place: int) -> int:
        """Where a place begins, in bytes."""
        before = 32 * MIB // self.segment_size
        if place < before:
            return MIB + place * self.segment_size
        return 34 * MIB + (place - before) * self.segment_size

    def places(self) -> dict[int, int]:
        """The segment table: the place of every segment's first copy."""
        if self._places is None:
            self._places = {}
            for item in self.items(self.commit["space_root"]):
                if item.type == TYPE_SEGMENT:
                    segment = SEGMENT.decode(item.payload)
                    if segment["copy_count"] == 0 or segment["copies_0"]["kind"] != 0:
                        raise Damage(f"segment {item.object}: no plain copy")
                    if segment["copies_0"]["backend"] != self.superblock["backend_index"]:
                        raise Damage(f"segment {item.object} lies on another backend")
                    self._places[item.object] = segment["copies_0"]["place"]
        return self._places

    def locate(self, address: int) -> int:
        """Byte offset of a logical address (segment << 32 | block). Errors: Damage."""
        segment, block = address >> 32, address & 0xFFFFFFFF
        if segment not in self.places():
            raise Damage(f"address {segment}:{block}: the segment is not in the table")
        if not 0 < block < self.segment_size // BLOCK:
            raise Damage(f"address {segment}:{block}: no such block in a segment")
        return self.place_offset(self.places()[segment]) + block * BLOCK

    def segment_header(self, segment: int) -> Record | str:
        """The advisory header of a segment, or what is wrong with it."""
        offset = self.place_offset(self.places()[segment])
        return self._try(SEGMENT_HEADER, b"AFSG", 4, offset)

    # ---- trees ----

    def node_offset(self, pointer: Record) -> int:
        address = int(pointer["address"])
        if pointer["tree"] == TREES["namespace"]:
            return self.locate(address)
        if address >> 48 != self.superblock["backend_index"]:
            raise Damage(f"node {address:#x} lies on another backend")
        return (address & (1 << 48) - 1) * BLOCK

    def node(self, pointer: Record) -> tuple[Record, bytes]:
        """Header and image of the node that a pointer names. Errors: Damage."""
        known = pointer["tree"], pointer["address"], pointer["birth"]
        if known not in self._nodes:
            if len(self._nodes) >= 4096:
                self._nodes.clear()
            self._nodes[known] = self._read_node(pointer)
        header, image = self._nodes[known]
        if header["header"]["checksum"] != pointer["checksum"]:
            raise Damage(f"node {pointer['address']:#x}: two pointers disagree on its checksum")
        return header, image

    def _read_node(self, pointer: Record) -> tuple[Record, bytes]:
        image = self.read(self.node_offset(pointer), NODE)
        where = f"node {pointer['address']:#x} (birth {pointer['birth']})"
        try:
            header = self.framed(NODE_HEADER, b"AFR1", 5, image)
        except Damage as damage:
            raise Damage(f"{where}: {damage}") from damage
        if header["uuid"] != self.superblock["format_uuid"]:
            raise Damage(f"{where}: another volume's node")
        if header["salt"] != self.superblock["salt"]:
            raise Damage(f"{where}: wrong salt, so it is not a node of this volume")
        if header["header"]["checksum"] != pointer["checksum"]:
            raise Damage(f"{where}: not the node that its parent names")
        for name in ("address", "mirror_address", "birth", "level", "tree"):
            if header[name] != pointer[name]:
                raise Damage(f"{where}: {name} is {header[name]}, its parent says {pointer[name]}")
        return header, image

    def nodes(self, root: Record) -> Iterator[tuple[Record, Record, bytes]]:
        """Pointer, header and image of every node below a root, parents first. Errors: Damage."""
        if root["birth"] == 0:
            return
        pending = [root]
        while pending:
            pointer = pending.pop()
            header, image = self.node(pointer)
            yield pointer, header, image
            if header["level"]:
                pending += [child for _, child in reversed(self.children(header, image))]

    def children(self, header: Record, image: bytes) -> list[tuple[tuple[int, int, int], Record]]:
        """The entries of an inner node: lowest key and pointer, keys rising. Errors: Damage."""
        entries = []
        for index in range(header["item_count"]):
            entry = ENTRY.decode(image, NODE_HEADER.size + index * ENTRY.size)
            key = entry["key"]
            entries.append(((key["object"], key["type"], key["offset"]), entry["child"]))
            if entry["child"]["level"] != header["level"] - 1:
                raise Damage(f"node {header['address']:#x}: a child's level does not fit")
        if not entries or any(a[0] >= b[0] for a, b in pairwise(entries)):
            raise Damage(f"node {header['address']:#x}: its keys do not rise")
        return entries

    def leaf(self, header: Record, image: bytes) -> list[Item]:
        """The items of a leaf, keys rising. Errors: Damage."""
        items = []
        for index in range(header["item_count"]):
            slot = SLOT.decode(image, NODE_HEADER.size + index * SLOT.size)
            begin, length = slot["data_offset"], slot["data_length"]
            if begin < header["data_start"] or begin + length > NODE:
                raise Damage(f"node {header['address']:#x}: item {index} lies outside its data")
            payload = image[begin : begin + length]
            items.append(Item(slot["object"], slot["type"], slot["offset"], payload))
        if any(a.key >= b.key for a, b in pairwise(items)):
            raise Damage(f"node {header['address']:#x}: its keys do not rise")
        return items

    def items(
        self,
        root: Record,
        first: tuple[int, int, int] = (0, 0, 0),
        end: tuple[int, int, int] = (1 << 64, 0, 0),
    ) -> Iterator[Item]:
        """Items with first <= key < end, in order. Errors: Damage, at the place where it is met."""
        if root["birth"] == 0:
            return
        header, image = self.node(root)
        if header["level"] == 0:
            yield from (item for item in self.leaf(header, image) if first <= item.key < end)
            return
        entries = self.children(header, image)
        for index, (low, child) in enumerate(entries):
            high = entries[index + 1][0] if index + 1 < len(entries) else (1 << 64, 0, 0)
            if high > first and low < end:
                yield from self.items(child, first, end)

    # ---- states ----

    def working(self) -> State:
        """The working state of the newest commit, as number 0."""
        commit = self.commit
        names = ("seq", "time_ns", "object_count", "used_blocks")
        record = {"root": commit["namespace_root"], **{name: commit[name] for name in names}}
        return State(0, record, "working")

    def states(self) -> list[State]:
        """The kept states, hidden and doomed ones too, by number. Errors: Damage."""
        found = []
        for item in self.items(self.commit["checkpoint_root"]):
            if item.type == TYPE_STATE:
                record = STATE.decode(item.payload)
                texts, at = [], STATE.size
                for name in ("label_length", "author_length", "message_length"):
                    texts.append(item.payload[at : at + record[name]].decode("utf-8", "replace"))
                    at += record[name]
                found.append(State(item.object, record, *texts))
        return found

    def state_pointers(self) -> dict[str, Record]:
        """published, undo, redo: state number and time of those that are set. Errors: Damage."""
        return {
            STATE_POINTERS.get(item.object, str(item.object)): STATE_POINTER.decode(item.payload)
            for item in self.items(self.commit["checkpoint_root"])
            if item.type == TYPE_STATE_POINTER
        }

    def find_state(self, text: str) -> State:
        """By number, label, prefix of the id (8 hex digits or more), "working", "published"...

        Errors: Damage where none or several fit.
        """
        if text == "working":
            return self.working()
        states = self.states()
        pointers = self.state_pointers()
        if text in pointers:
            text = str(pointers[text]["state"])
        fitting = [state for state in states if text in (str(state.number), state.label)]
        if not fitting and len(text) >= 8:
            prefix = text.replace("-", "").lower()
            fitting = [state for state in states if state.record["id"].hex().startswith(prefix)]
        if len(fitting) != 1:
            raise Damage(f"{len(fitting)} kept states are called {text!r}")
        return fitting[0]


def bitmap_bits(payload: bytes) -> Iterator[int]:
    """Numbers of the set bits of a bitmap chunk."""
    for index, word in enumerate(struct.unpack(f"<{len(payload)}B", payload)):
        for bit in range(8):
            if word >> bit & 1:
                yield index * 8 + bit
