"""CRC32C of data, and the keyed hash of names (DiskLayout.md, "Checksums" and "Name hash").

Every function takes any contiguous buffer (bytes, bytearray, memoryview) without copying it, is a
pure function of its arguments, and lets other threads run while C works.
"""

from typing import TYPE_CHECKING, TypeAlias

from affs_fuse._core import ffi, lib
from affs_fuse.core.constants import BLOCK_SIZE

if TYPE_CHECKING:
    from affs_fuse._core import CData

__all__ = [
    "CHECKSUM_SIZE", "Buffer", "block_checksums", "copy_blocks", "crc32c", "first_bad_block",
    "implementation", "name_hash", "select",
]  # fmt: skip

Buffer: TypeAlias = bytes | bytearray | memoryview

CHECKSUM_SIZE = 4
KEY_SIZE = 16

_SUMS = ffi.typeof("uint32_t[]")
_BYTES = ffi.typeof("uint8_t[]")


def _view(data: Buffer) -> "bytes | CData":
    """What C takes for data, without a copy: bytes as they are (which is quickest). For an argument
    only, never for a name: see core/abi.py."""
    return data if type(data) is bytes else ffi.from_buffer(_BYTES, data)


def _size(data: Buffer) -> int:
    """In bytes."""
    return data.nbytes if type(data) is memoryview else len(data)


def crc32c(data: Buffer, seed: int = 0) -> int:
    """CRC32C of data. With seed = crc32c(a), crc32c(b, seed) is that of a followed by b."""
    return lib.affs_crc32c(seed, _view(data), _size(data))


def block_checksums(data: Buffer) -> bytes:
    """One little-endian CRC32C for each 4 KiB block of data; a short last block counts as one."""
    size = _size(data)
    if 0 < size <= BLOCK_SIZE:
        return lib.affs_crc32c(0, _view(data), size).to_bytes(CHECKSUM_SIZE, "little")
    sums = ffi.new(_SUMS, -(-size // BLOCK_SIZE))
    lib.affs_crc32c_blocks(_view(data), size, BLOCK_SIZE, sums)
    return ffi.buffer(sums)[:]


def copy_blocks(data: Buffer, target: memoryview) -> bytes:
    """Copy whole 4 KiB blocks to the beginning of target, and block_checksums() of the copy."""
    size = _size(data)
    if size % BLOCK_SIZE or size > target.nbytes:
        raise ValueError("whole blocks, and room for them")
    sums = ffi.new(_SUMS, size // BLOCK_SIZE)
    with ffi.from_buffer(_BYTES, target, require_writable=True) as into:
        lib.affs_crc32c_copy(into, _view(data), size, BLOCK_SIZE, sums)
    return ffi.buffer(sums)[:]


def first_bad_block(data: Buffer, checksums: Buffer) -> int | None:
    """Index of the first 4 KiB block of data whose CRC32C is not the one in checksums, or None.

    Raises ValueError if there are fewer checksums than blocks.
    """
    size = _size(data)
    if _size(checksums) < -(-size // BLOCK_SIZE) * CHECKSUM_SIZE:
        raise ValueError("fewer checksums than blocks")
    index = lib.affs_crc32c_first_bad(_view(data), size, BLOCK_SIZE, _view(checksums))
    return None if index < 0 else index


def name_hash(key: bytes, prefix: int, name: bytes) -> int:
    """59-bit keyed hash (1 .. 2^59 - 1) of name; prefix: the parent's object number, 0 for none."""
    if len(key) != KEY_SIZE:
        raise ValueError("the name hash's key has 16 bytes")
    return lib.affs_name_hash(key, prefix, name, len(name))


def implementation() -> str:
    """Which CRC32C runs: "sse42", "arm" or "portable"."""
    return ffi.string(lib.affs_crc32c_implementation()).decode("ascii")


def select(name: str) -> None:
    """Choose an implementation by name ("auto": the best). For tests and measurements.

    Raises ValueError where the machine lacks it.
    """
    if lib.affs_crc32c_select(name.encode("ascii")) != lib.AFFS_OK:
        raise ValueError(f"no CRC32C implementation {name!r} on this machine")
