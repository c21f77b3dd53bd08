"""The on-disk structures as named tuples (DiskLayout.md, one section for each).

Invariants: the bytes are declared once, in `native/include/affs_api.h`. A tuple's fields are the C
struct's, in its order, but for frame headers and reserved bytes, which packing fills with zeros;
where the two differ this module fails to import. `unpack` decodes and does not judge: bytes from a
device go through a `verify_*` function of `core.verify` (or the node cache, which verifies) first.

Framed structures (`Superblock`, `Owner`, `Commit`, `SegmentHeader`) pack to a sealed image: header
filled in, checksum right. The others pack to their bytes, or to the fixed part of their item's
payload; `pack_name` and its like make and take apart whole payloads.
"""

import struct
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

from affs_fuse._core import ffi, lib
from affs_fuse.core import abi, constants
from affs_fuse.core.checksum import Buffer
from affs_fuse.core.verify import (
    verify_commit,
    verify_item,
    verify_node,
    verify_owner,
    verify_segment_header,
    verify_superblock,
)

__all__ = [
    "NO_POINTER", "Commit", "Copy", "Entry", "Extent", "Header", "Inode", "Key", "Name",
    "NodeHeader", "OpenSegment", "Owner", "Pointer", "Segment", "SegmentHeader", "Slot", "State",
    "StatePointer", "Superblock", "Xattr", "frame_checksum", "object_of_name", "pack_extent",
    "pack_name", "pack_state", "pack_xattr", "seal", "unpack_extent", "unpack_name",
    "unpack_state", "unpack_xattr", "verify_commit", "verify_item", "verify_node", "verify_owner",
    "verify_segment_header", "verify_superblock",
]  # fmt: skip

_CODES = {
    "uint8_t": "B", "uint16_t": "H", "uint32_t": "I", "uint64_t": "Q", "int64_t": "q",
}  # fmt: skip

_new_tuple: Callable[..., Any] = tuple.__new__


def _code(field: abi.Field) -> str:
    """struct's code for one field; an array or a struct within is taken as its bytes."""
    if field.name == "header" or field.name.startswith("reserved"):
        return f"{field.size}x"
    return _CODES.get(field.c_type, f"{field.size}s")


class _Struct:
    """What the tuples below have in common; the class argument c is the C struct's name."""

    __slots__ = ()
    SIZE: ClassVar[int]
    _codec: ClassVar[struct.Struct]

    def __init_subclass__(cls, c: str, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        codes = [(field.name, _code(field)) for field in abi.fields(c)]
        shown = tuple(name for name, code in codes if not code.endswith("x"))
        fields: tuple[str, ...] = getattr(cls, "_fields", ())
        cls._codec = struct.Struct("<" + "".join(code for _, code in codes))
        cls.SIZE = cls._codec.size
        if shown != fields or abi.size(c) != cls.SIZE:
            raise TypeError(f"{cls.__name__} is not {c}: {fields} but {shown}")

    @classmethod
    def unpack(cls, buffer: Buffer, offset: int = 0) -> Self:
        """Decode SIZE bytes at offset; what follows is not looked at. struct.error if too short."""
        made: Self = _new_tuple(cls, cls._codec.unpack_from(buffer, offset))
        return made

    def pack(self) -> bytes:
        """The SIZE bytes, reserved ones zero. struct.error for a value out of its field's range."""
        values: Any = self
        return self._codec.pack(*values)


class _Header(NamedTuple):
    magic: int
    version: int
    kind: int
    checksum: int
    length: int


class Header(_Header, _Struct, c="affs_header"):
    """Begins every framed structure."""

    __slots__ = ()


class _Pointer(NamedTuple):
    address: int
    mirror_address: int
    birth: int
    checksum: bytes
    checksum_kind: int
    level: int
    tree: int
    flags: int = 0


class Pointer(_Pointer, _Struct, c="affs_pointer"):
    """Where a tree node lies and what it must be. checksum: 16 bytes. birth 0: there is no node."""

    __slots__ = ()


NO_POINTER = Pointer(0, 0, 0, bytes(16), 0, 0, 0)


class _Key(NamedTuple):
    object: int
    offset: int
    type: int


class Key(_Key, _Struct, c="affs_key"):
    """An item's key. Beware: the order of keys is object, type, offset."""

    __slots__ = ()


class _NodeHeader(NamedTuple):
    uuid: bytes
    salt: bytes
    address: int
    mirror_address: int
    birth: int
    tree: int
    level: int
    item_count: int
    data_start: int
    data_length: int


class NodeHeader(_NodeHeader, _Struct, c="affs_node_header"):
    """Begins every tree node."""

    __slots__ = ()


class _Slot(NamedTuple):
    object: int
    offset: int
    type: int
    flags: int
    data_offset: int
    data_length: int


class Slot(_Slot, _Struct, c="affs_slot"):
    """Key of an item in a leaf, and where in the node its payload is."""

    __slots__ = ()


class _Extent(NamedTuple):
    address: int
    birth: int
    blocks: int
    stored_length: int
    logical_length: int
    offset_within: int
    length: int
    compression: int = constants.COMPRESSION_NONE
    checksum_kind: int = constants.CHECKSUM_CRC32C
    checksum_shift: int = constants.BLOCK_SHIFT
    flags: int = 0


class Extent(_Extent, _Struct, c="affs_extent"):
    """Where a range of a file lies. Lengths in bytes; 4 checksum bytes for each block follow."""

    __slots__ = ()


class _Inode(NamedTuple):
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    btime_ns: int
    mode: int
    uid: int
    gid: int
    nlink: int
    rdev: int
    flags: int
    generation: int
    object_id: bytes
    change: int
    parent: int
    data_kind: int = 0
    changed_by: int = 0
    created_commit: int = 0
    changed_commit: int = 0


class Inode(_Inode, _Struct, c="affs_inode"):
    """Attributes of an object. size in bytes (of a directory: its entries), blocks of 4 KiB."""

    __slots__ = ()


class _Name(NamedTuple):
    object: int
    name_length: int
    kind: int


class Name(_Name, _Struct, c="affs_name"):
    """Payload of DENTRY and PARENT items; the name follows. kind: DT_* of the named object."""

    __slots__ = ()


class _Xattr(NamedTuple):
    value_length: int
    name_length: int
    storage: int


class Xattr(_Xattr, _Struct, c="affs_xattr"):
    """An extended attribute; its name follows, then its value or the extent that holds it."""

    __slots__ = ()


class _Copy(NamedTuple):
    backend: int
    kind: int
    state: int
    place: int
    generation: int


class Copy(_Copy, _Struct, c="affs_copy"):
    """One physical copy of a segment."""

    __slots__ = ()


class _OpenSegment(NamedTuple):
    segment: int
    next_block: int


class OpenSegment(_OpenSegment, _Struct, c="affs_open_segment"):
    """Where the next allocation of an intent begins; next_block 0: no segment is open."""

    __slots__ = ()


class _StatePointer(NamedTuple):
    state: int
    time_ns: int


class StatePointer(_StatePointer, _Struct, c="affs_state_pointer"):
    """Payload of STATE_POINTER items: which kept state, and when it was set."""

    __slots__ = ()


_NO_COPY = Copy(0, 0, 0, 0, 0)


class _Segment(NamedTuple):
    intent: int
    copy_count: int
    used_blocks: int
    birth: int
    copies: tuple[Copy, Copy] = (_NO_COPY, _NO_COPY)


class Segment(_Segment, _Struct, c="affs_segment"):
    """Payload of SEGMENT items: what a segment is for and where its copies are."""

    __slots__ = ()

    @classmethod
    def unpack(cls, buffer: Buffer, offset: int = 0) -> Self:
        """Decode 64 bytes at offset. struct.error if too short."""
        raw = _Segment._make(cls._codec.unpack_from(buffer, offset))
        packed: Any = raw.copies
        return cls(*raw[:-1], (Copy.unpack(packed), Copy.unpack(packed, Copy.SIZE)))

    def pack(self) -> bytes:
        """The 64 bytes. struct.error for a value out of its field's range."""
        first, second = self.copies
        return self._codec.pack(*self[:-1], first.pack() + second.pack())


class _Entry(NamedTuple):
    key: Key
    child: Pointer


class Entry(_Entry, _Struct, c="affs_entry"):
    """A child of an inner node: the lowest key that may be below, and the pointer."""

    __slots__ = ()

    @classmethod
    def unpack(cls, buffer: Buffer, offset: int = 0) -> Self:
        """Decode 72 bytes at offset. struct.error if too short."""
        return cls(Key.unpack(buffer, offset), Pointer.unpack(buffer, offset + Key.SIZE))

    def pack(self) -> bytes:
        """The 72 bytes. struct.error for a value out of its field's range."""
        return self.key.pack() + self.child.pack()


class _State(NamedTuple):
    root: Pointer
    seq: int
    parent: int
    time_ns: int
    id: bytes
    flags: int
    pins: int
    object_count: int
    used_blocks: int
    label_length: int = 0
    author_length: int = 0
    message_length: int = 0
    reclaim_ns: int = 0


class State(_State, _Struct, c="affs_state"):
    """Payload of STATE items: a kept state; label, author and message follow (`pack_state`)."""

    __slots__ = ()

    @classmethod
    def unpack(cls, buffer: Buffer, offset: int = 0) -> Self:
        """Decode 128 bytes at offset. struct.error if too short."""
        root, *rest = cls._codec.unpack_from(buffer, offset)
        return cls(Pointer.unpack(root), *rest)

    def pack(self) -> bytes:
        """The 128 bytes. struct.error for a value out of its field's range."""
        return self._codec.pack(self.root.pack(), *self[1:])


class _Superblock(NamedTuple):
    update_counter: int
    format_uuid: bytes
    user_uuid: bytes
    backend_uuid: bytes
    hash_key: bytes
    salt: bytes
    features_compatible: int
    features_readonly: int
    features_incompatible: int
    created_ns: int
    device_blocks: int
    place_count: int
    segment_count: int
    segment_count_max: int
    backend_index: int
    backend_count: int
    block_shift: int
    node_shift: int
    segment_shift: int
    ring_shift: int
    label_length: int
    label: bytes


class Superblock(_Superblock, _Struct, c="affs_superblock"):
    """Identity and geometry of a backend. label: 64 bytes, padded with zeros."""

    __slots__ = ()

    def pack(self) -> bytes:
        """The sealed block. struct.error for a value out of its field's range."""
        return _sealed(super().pack(), constants.MAGIC_SUPERBLOCK, constants.KIND_SUPERBLOCK)


class _Owner(NamedTuple):
    uuid: bytes
    session: bytes
    machine_id: bytes
    boot_id: bytes
    pid: int
    heartbeat: int
    time_ns: int
    state: int
    host: bytes


class Owner(_Owner, _Struct, c="affs_owner"):
    """Who has the volume open. host: 64 bytes, zero-padded. state: 0 clean, 1 open for writing."""

    __slots__ = ()

    def pack(self) -> bytes:
        """The sealed block. struct.error for a value out of its field's range."""
        return _sealed(super().pack(), constants.MAGIC_OWNER, constants.KIND_OWNER)


class _SegmentHeader(NamedTuple):
    uuid: bytes
    salt: bytes
    segment: int
    copy_generation: int
    place: int
    intent: int


class SegmentHeader(_SegmentHeader, _Struct, c="affs_segment_header"):
    """First block of a segment; for scans, the segment table rules."""

    __slots__ = ()

    def pack(self) -> bytes:
        """The sealed block. struct.error for a value out of its field's range."""
        return _sealed(super().pack(), constants.MAGIC_SEGMENT, constants.KIND_SEGMENT)


_NO_OPEN_SEGMENT = OpenSegment(0, 0)
_ROOTS = ("namespace_root", "checkpoint_root", "system_root", "space_root")


class _Commit(NamedTuple):
    uuid: bytes
    seq: int
    parent_seq: int
    parent_checksum: int
    flags: int
    time_ns: int
    session: bytes
    backends: int
    namespace_root: Pointer
    checkpoint_root: Pointer
    system_root: Pointer
    space_root: Pointer
    next_object: int
    next_state: int
    ancestor: int
    segment_count: int
    used_blocks: int
    object_count: int
    open_segments: tuple[OpenSegment, ...] = (_NO_OPEN_SEGMENT,) * constants.INTENTS
    log_address: tuple[int, int] = (0, 0)
    log_seed: int = 0
    log_length: int = 0


class Commit(_Commit, _Struct, c="affs_commit"):
    """A commit record. open_segments: one for each intent, by its number."""

    __slots__ = ()

    @classmethod
    def unpack(cls, buffer: Buffer, offset: int = 0) -> Self:
        """Decode 4096 bytes at offset. struct.error if too short."""
        raw = _Commit._make(cls._codec.unpack_from(buffer, offset))
        opened: Any = raw.open_segments
        logs: Any = raw.log_address
        log_head, log_mirror = struct.unpack("<QQ", logs)
        roots: dict[str, Any] = {name: Pointer.unpack(getattr(raw, name)) for name in _ROOTS}
        return cls(*raw)._replace(
            **roots,
            open_segments=tuple(
                OpenSegment.unpack(opened, at) for at in range(0, len(opened), OpenSegment.SIZE)
            ),
            log_address=(log_head, log_mirror),
        )

    def pack(self) -> bytes:
        """The sealed block. struct.error for a value out of its field's range."""
        if len(self.open_segments) != constants.INTENTS:
            raise ValueError("a commit record has one open segment for each intent")
        packed: dict[str, Any] = {name: getattr(self, name).pack() for name in _ROOTS}
        packed["open_segments"] = b"".join(segment.pack() for segment in self.open_segments)
        packed["log_address"] = struct.pack("<QQ", *self.log_address)
        image = self._codec.pack(*self._replace(**packed))
        return _sealed(image, constants.MAGIC_COMMIT, constants.KIND_COMMIT)


def seal(image: bytearray, magic: int, kind: int) -> None:
    """Fill in the frame header of a structure that takes up all of image, its checksum last."""
    if len(image) < Header.SIZE:
        raise ValueError("shorter than its header")
    lib.affs_seal(ffi.from_buffer(image), len(image), magic, kind)


def _sealed(image: bytes, magic: int, kind: int) -> bytes:
    buffer = bytearray(image)
    seal(buffer, magic, kind)
    return bytes(buffer)


def frame_checksum(image: Buffer) -> int:
    """The checksum that a framed structure's header carries (a commit's parent_checksum)."""
    return Header.unpack(image).checksum


def pack_name(object_number: int, kind: int, name: bytes) -> bytes:
    """Payload of a DENTRY item (the child) or a PARENT item (the parent directory)."""
    return Name(object_number, len(name), kind).pack() + name


def unpack_name(payload: bytes) -> tuple[Name, bytes]:
    """(fixed part, name) of a DENTRY or PARENT payload."""
    fixed = Name.unpack(payload)
    return fixed, payload[Name.SIZE : Name.SIZE + fixed.name_length]


_first_u64 = struct.Struct("<Q").unpack_from


def object_of_name(payload: bytes) -> int:
    """The object of a DENTRY or PARENT payload alone: `Name.object`, which comes first."""
    found: int = _first_u64(payload)[0]
    return found


def pack_extent(extent: Extent, checksums: bytes) -> bytes:
    """Payload of an EXTENT item. Raises ValueError unless there are 4 checksum bytes a block."""
    if len(checksums) != 4 * extent.blocks:
        raise ValueError(f"{len(checksums)} checksum bytes for {extent.blocks} blocks")
    return extent.pack() + checksums


def unpack_extent(payload: bytes) -> tuple[Extent, bytes]:
    """(fixed part, checksums) of an EXTENT payload."""
    return Extent.unpack(payload), payload[Extent.SIZE :]


def pack_xattr(name: bytes, value_length: int, storage: int, body: bytes) -> bytes:
    """Payload of an XATTR item.

    body: the value (storage XATTR_INLINE) or what `pack_extent` gives (XATTR_EXTENT).
    """
    return Xattr(value_length, len(name), storage).pack() + name + body


def unpack_xattr(payload: bytes) -> tuple[Xattr, bytes, bytes]:
    """(fixed part, name, body) of an XATTR payload; body as for `pack_xattr`."""
    fixed = Xattr.unpack(payload)
    end = Xattr.SIZE + fixed.name_length
    return fixed, payload[Xattr.SIZE : end], payload[end:]


def pack_state(state: State, label: bytes, author: bytes, message: bytes) -> bytes:
    """Payload of a STATE item; the lengths in state are set from the texts."""
    fixed = state._replace(
        label_length=len(label), author_length=len(author), message_length=len(message)
    )
    return fixed.pack() + label + author + message


def unpack_state(payload: bytes) -> tuple[State, bytes, bytes, bytes]:
    """(fixed part, label, author, message) of a STATE payload."""
    state = State.unpack(payload)
    author_at = State.SIZE + state.label_length
    message_at = author_at + state.author_length
    end = message_at + state.message_length
    return (
        state, payload[State.SIZE : author_at], payload[author_at:message_at],
        payload[message_at:end],
    )  # fmt: skip
