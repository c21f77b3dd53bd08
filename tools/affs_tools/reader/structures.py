"""Every structure of the format as a list of fields, copied from the tables of DiskLayout by hand.

A structure decodes to a dict, in the order of its table; reserved fields must be zero and are left
out. Numbers are little-endian. Nothing is trusted: a buffer too short, a reserved byte that is set,
a length past the end is a `Damage`.
"""

import struct
from typing import Any

__all__ = [
    "ALL",
    "COMMIT",
    "COPY",
    "ENTRY",
    "EXTENT",
    "INODE",
    "NAME",
    "NODE_HEADER",
    "OWNER",
    "POINTER",
    "SEGMENT",
    "SEGMENT_HEADER",
    "SLOT",
    "STATE",
    "STATE_POINTER",
    "SUPERBLOCK",
    "XATTR",
    "Damage",
    "Record",
    "Structure",
]

Record = dict[str, Any]


class Damage(Exception):
    """What was found is not what the format allows. The text says where and what."""


class Structure:
    """A fixed layout. fields: "name code" words; a code is one of struct's, or a nested
    Structure."""

    def __init__(self, name: str, *fields: tuple[str, "str | Structure"]) -> None:
        self.name = name
        self.fields = fields
        self.size: int = sum(
            code.size if isinstance(code, Structure) else struct.calcsize("<" + code)
            for _, code in fields
        )

    def decode(self, data: bytes, offset: int = 0) -> Record:
        """The fields at offset. Errors: Damage."""
        if offset < 0 or offset + self.size > len(data):
            raise Damage(f"{self.name}: {len(data) - offset} bytes where {self.size} are needed")
        record: Record = {}
        for name, code in self.fields:
            if isinstance(code, Structure):
                record[name] = code.decode(data, offset)
                offset += code.size
                continue
            (value,) = struct.unpack_from("<" + code, data, offset)
            offset += struct.calcsize("<" + code)
            if not name.startswith("reserved"):
                record[name] = value
            elif value not in (0, bytes(struct.calcsize("<" + code))):
                raise Damage(f"{self.name}: reserved bytes are not zero")
        return record


HEADER = Structure(
    "header", ("magic", "4s"), ("version", "H"), ("kind", "H"), ("checksum", "I"), ("length", "I")
)

POINTER = Structure(
    "pointer",
    ("address", "Q"), ("mirror_address", "Q"), ("birth", "Q"),
    ("checksum", "I"), ("reserved_checksum", "12s"),
    ("checksum_kind", "B"), ("level", "B"), ("tree", "B"), ("flags", "B"), ("reserved", "I"),
)

KEY = Structure("key", ("object", "Q"), ("offset", "Q"), ("type", "B"), ("reserved", "7s"))

NODE_HEADER = Structure(
    "node",
    ("header", HEADER), ("uuid", "16s"), ("salt", "16s"),
    ("address", "Q"), ("mirror_address", "Q"), ("birth", "Q"),
    ("tree", "B"), ("level", "B"), ("item_count", "H"), ("data_start", "H"), ("data_length", "H"),
    ("reserved", "16s"),
)

SLOT = Structure(
    "slot",
    ("object", "Q"), ("offset", "Q"), ("type", "B"), ("flags", "B"),
    ("data_offset", "H"), ("data_length", "H"), ("reserved", "H"),
)

ENTRY = Structure("entry", ("key", KEY), ("child", POINTER))

SUPERBLOCK = Structure(
    "superblock",
    ("header", HEADER), ("update_counter", "Q"),
    ("format_uuid", "16s"), ("user_uuid", "16s"), ("backend_uuid", "16s"),
    ("hash_key", "16s"), ("salt", "16s"),
    ("features_compatible", "Q"), ("features_readonly", "Q"), ("features_incompatible", "Q"),
    ("created_ns", "q"), ("device_blocks", "Q"), ("place_count", "Q"),
    ("segment_count", "Q"), ("segment_count_max", "Q"),
    ("backend_index", "H"), ("backend_count", "H"),
    ("block_shift", "B"), ("node_shift", "B"), ("segment_shift", "B"), ("ring_shift", "B"),
    ("label_length", "B"), ("reserved1", "7s"), ("label", "64s"), ("reserved", "3848s"),
)

OWNER = Structure(
    "owner",
    ("header", HEADER), ("uuid", "16s"), ("session", "16s"),
    ("machine_id", "16s"), ("boot_id", "16s"),
    ("pid", "Q"), ("heartbeat", "Q"), ("time_ns", "q"), ("state", "I"), ("reserved1", "I"),
    ("host", "64s"), ("reserved", "3920s"),
)

OPEN_SEGMENT = Structure("open segment", ("segment", "I"), ("next_block", "I"))

COMMIT = Structure(
    "commit",
    ("header", HEADER), ("uuid", "16s"), ("seq", "Q"), ("parent_seq", "Q"),
    ("parent_checksum", "I"), ("flags", "I"), ("time_ns", "q"), ("session", "16s"),
    ("backends", "Q"),
    ("namespace_root", POINTER), ("checkpoint_root", POINTER),
    ("system_root", POINTER), ("space_root", POINTER),
    ("next_object", "Q"), ("next_state", "Q"), ("ancestor", "Q"), ("segment_count", "Q"),
    ("used_blocks", "Q"), ("object_count", "Q"),
    *((f"open_segment_{intent}", OPEN_SEGMENT) for intent in range(8)),
    ("log_address", "Q"), ("log_address_mirror", "Q"), ("log_seed", "Q"), ("log_length", "Q"),
    ("reserved", "3672s"),
)

SEGMENT_HEADER = Structure(
    "segment header",
    ("header", HEADER), ("uuid", "16s"), ("salt", "16s"),
    ("segment", "Q"), ("copy_generation", "Q"), ("place", "Q"),
    ("intent", "B"), ("reserved1", "7s"), ("reserved", "4016s"),
)

INODE = Structure(
    "inode item",
    ("size", "Q"), ("blocks", "Q"),
    ("atime_ns", "q"), ("mtime_ns", "q"), ("ctime_ns", "q"), ("btime_ns", "q"),
    ("mode", "I"), ("uid", "I"), ("gid", "I"), ("nlink", "I"), ("rdev", "Q"),
    ("flags", "I"), ("generation", "I"), ("object_id", "16s"), ("change", "Q"), ("parent", "Q"),
    ("data_kind", "B"), ("reserved", "3s"), ("changed_by", "I"), ("created_commit", "Q"),
    ("changed_commit", "Q"),
)

NAME = Structure(
    "name item", ("object", "Q"), ("name_length", "H"), ("kind", "B"), ("reserved", "5s")
)

EXTENT = Structure(
    "extent item",
    ("address", "Q"), ("birth", "Q"), ("blocks", "I"), ("stored_length", "I"),
    ("logical_length", "I"), ("offset_within", "I"), ("length", "I"),
    ("compression", "B"), ("checksum_kind", "B"), ("checksum_shift", "B"), ("flags", "B"),
)

XATTR = Structure(
    "extended attribute item",
    ("value_length", "I"), ("name_length", "H"), ("storage", "B"), ("reserved", "B"),
)

COPY = Structure(
    "copy",
    ("backend", "H"), ("kind", "B"), ("state", "B"), ("reserved", "I"),
    ("place", "Q"), ("generation", "Q"),
)

SEGMENT = Structure(
    "segment item",
    ("intent", "B"), ("copy_count", "B"), ("reserved", "H"), ("used_blocks", "I"), ("birth", "Q"),
    ("copies_0", COPY), ("copies_1", COPY),
)

STATE = Structure(
    "state item",
    ("root", POINTER), ("seq", "Q"), ("parent", "Q"), ("time_ns", "q"), ("id", "16s"),
    ("flags", "I"), ("pins", "I"), ("object_count", "Q"), ("used_blocks", "Q"),
    ("label_length", "H"), ("author_length", "H"), ("message_length", "H"), ("reserved1", "H"),
    ("reclaim_ns", "q"),
)

STATE_POINTER = Structure("state pointer item", ("state", "Q"), ("time_ns", "q"))

ALL: dict[str, Structure] = {
    "header": HEADER, "pointer": POINTER, "key": KEY, "node_header": NODE_HEADER, "slot": SLOT,
    "entry": ENTRY, "superblock": SUPERBLOCK, "owner": OWNER, "open_segment": OPEN_SEGMENT,
    "commit": COMMIT, "segment_header": SEGMENT_HEADER, "inode": INODE, "name": NAME,
    "extent": EXTENT, "xattr": XATTR, "copy": COPY, "segment": SEGMENT, "state": STATE,
    "state_pointer": STATE_POINTER,
}
"""By the names that DiskLayout gives them."""
