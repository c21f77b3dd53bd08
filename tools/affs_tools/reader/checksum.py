"""CRC32C and the name hash, written out plainly (docs/specs/DiskLayout.md, "Checksums", "Name
hash").

Slow (about 10 MB/s) and meant to be: an oracle is easier to believe than to speed up. Readers of
large volumes may hand another `Crc` to the image.
"""

import struct
from collections.abc import Callable

__all__ = ["Crc", "crc32c", "name_hash"]

Crc = Callable[[bytes], int]

POLYNOMIAL = 0x82F63B78
"""Castagnoli's, bits reversed."""

MASK = (1 << 64) - 1


def _tables() -> list[list[int]]:
    """Slicing by eight: table n gives the effect of a byte that n more bytes follow."""
    first = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (POLYNOMIAL if value & 1 else 0)
        first.append(value)
    tables = [first]
    for _ in range(7):
        before = tables[-1]
        tables.append([value >> 8 ^ first[value & 0xFF] for value in before])
    return tables


_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7 = _tables()


def crc32c(data: bytes) -> int:
    """CRC32C of data: initial value and final exclusive-or are all ones."""
    crc = 0xFFFFFFFF
    whole = len(data) & ~7
    for (word,) in struct.iter_unpack("<Q", data[:whole]):
        word ^= crc
        crc = (
            _T7[word & 0xFF]
            ^ _T6[word >> 8 & 0xFF]
            ^ _T5[word >> 16 & 0xFF]
            ^ _T4[word >> 24 & 0xFF]
            ^ _T3[word >> 32 & 0xFF]
            ^ _T2[word >> 40 & 0xFF]
            ^ _T1[word >> 48 & 0xFF]
            ^ _T0[word >> 56]
        )
    for byte in data[whole:]:
        crc = crc >> 8 ^ _T0[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def name_hash(key: bytes, prefix: int, name: bytes) -> int:
    """The upper 59 bits of SipHash-2-4 of prefix (8 bytes, none when 0) and name; never 0."""
    message = (struct.pack("<Q", prefix) if prefix else b"") + name
    value = _siphash(key, message) >> 5
    return value or 1


def _siphash(key: bytes, message: bytes) -> int:
    k0, k1 = struct.unpack("<QQ", key)
    state: list[int] = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]
    padded = message + bytes(-(len(message) + 1) % 8) + bytes([len(message) & 0xFF])
    for (word,) in struct.iter_unpack("<Q", padded):
        state[3] ^= word
        _rounds(state, 2)
        state[0] ^= word
    state[2] ^= 0xFF
    _rounds(state, 4)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _rounds(state: list[int], count: int) -> None:
    a, b, c, d = state
    for _ in range(count):
        a = a + b & MASK
        b = (b << 13 | b >> 51) & MASK ^ a
        a = (a << 32 | a >> 32) & MASK
        c = c + d & MASK
        d = (d << 16 | d >> 48) & MASK ^ c
        a = a + d & MASK
        d = (d << 21 | d >> 43) & MASK ^ a
        c = c + b & MASK
        b = (b << 17 | b >> 47) & MASK ^ c
        c = (c << 32 | c >> 32) & MASK
    state[:] = [a, b, c, d]
