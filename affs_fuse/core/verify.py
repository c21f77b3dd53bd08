"""Verifying bytes that come from a device (DiskLayout.md, "Verifying").

Each function returns None or raises StructureError with the reason: "magic", "length", "checksum",
"version", "identity" or "field", in the order in which they are looked at. What has passed can be
decoded with `codec` and used without further checks.
"""

from typing import TYPE_CHECKING

from affs_fuse._core import ffi, lib
from affs_fuse.core.checksum import Buffer
from affs_fuse.core.errors import check

if TYPE_CHECKING:
    from affs_fuse._core import CData

__all__ = [
    "verify_commit", "verify_item", "verify_node", "verify_owner", "verify_segment_header",
    "verify_superblock",
]  # fmt: skip

ID_SIZE = 16


def _identity(value: bytes | None) -> "bytes | CData":
    if value is None:
        return ffi.NULL
    if len(value) != ID_SIZE:
        raise ValueError("an identity has 16 bytes")
    return value


def verify_superblock(block: Buffer) -> None:
    """One block of 4096 bytes. Unknown feature flags pass: the volume judges them."""
    with ffi.from_buffer(block) as view:
        check(lib.affs_verify_superblock(view, len(view)), "superblock")


def verify_owner(block: Buffer) -> None:
    """One block of 4096 bytes."""
    with ffi.from_buffer(block) as view:
        check(lib.affs_verify_owner(view, len(view)), "owner block")


def verify_commit(block: Buffer, uuid: bytes | None = None) -> None:
    """One block of 4096 bytes; uuid: the volume's format UUID, None to accept any."""
    with ffi.from_buffer(block) as view:
        check(lib.affs_verify_commit(view, len(view), _identity(uuid)), "commit record")


def verify_segment_header(block: Buffer, uuid: bytes | None = None) -> None:
    """One block of 4096 bytes; uuid: the volume's format UUID, None to accept any."""
    with ffi.from_buffer(block) as view:
        check(lib.affs_verify_segment_header(view, len(view), _identity(uuid)), "segment header")


def verify_node(image: Buffer, uuid: bytes, salt: bytes, pointer: bytes | None = None) -> None:
    """A whole node: frame, identity, order of keys, bounds, and every payload.

    pointer: the packed `codec.Pointer` that leads to it, None if there is none (a scan).
    """
    expected = ffi.NULL
    if pointer is not None:
        expected = ffi.new("affs_pointer *")
        ffi.memmove(expected, pointer, ffi.sizeof("affs_pointer"))
    with ffi.from_buffer(image) as view:
        check(
            lib.affs_verify_node(view, len(view), _identity(uuid), _identity(salt), expected),
            "tree node",
        )


def verify_item(tree: int, key: tuple[int, int, int], payload: Buffer) -> None:
    """One item of a tree. key: (object, type, offset), the order in which keys sort."""
    object_number, item_type, offset = key
    c_key = ffi.new("affs_key *", {"object": object_number, "type": item_type, "offset": offset})
    with ffi.from_buffer(payload) as view:
        check(lib.affs_verify_item(tree, c_key, view, len(view)), "tree item")
