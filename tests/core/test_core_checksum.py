"""CRC32C and the name hash from Python: vectors, splits, kinds of buffer, all implementations."""

import struct
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affs_fuse.core import checksum

IMPLEMENTATIONS = ["portable", "sse42", "arm"]
BLOCK = 4096


def available(name: str) -> bool:
    try:
        checksum.select(name)
    except ValueError:
        return False
    checksum.select("auto")
    return True


@pytest.fixture(params=IMPLEMENTATIONS)
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Runs the test once for each implementation that this machine has."""
    name: str = request.param
    if not available(name):
        pytest.skip(f"this machine has no {name} path")
    checksum.select(name)
    yield name
    checksum.select("auto")


def by_bits(data: bytes, crc: int = 0) -> int:
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def sample(size: int) -> bytes:
    """size bytes that look random, the same each time."""
    words = (zlib.crc32(number.to_bytes(4, "little")) for number in range(-(-size // 4)))
    return struct.pack(f"<{-(-size // 4)}I", *words)[:size]


def test_published_vectors(implementation: str) -> None:
    assert checksum.implementation() == implementation
    assert checksum.crc32c(b"") == 0
    assert checksum.crc32c(b"123456789") == 0xE3069283
    assert checksum.crc32c(bytes(32)) == 0x8A9136AA
    assert checksum.crc32c(b"\xff" * 32) == 0x62A8AB43
    assert checksum.crc32c(bytes(range(32))) == 0x46DD794E
    assert checksum.crc32c(bytes(range(31, -1, -1))) == 0x113FDB5C


def test_every_split_of_a_buffer(implementation: str) -> None:
    data = sample(700)
    whole = by_bits(data)
    for at in range(len(data) + 1):
        assert checksum.crc32c(data[at:], checksum.crc32c(data[:at])) == whole


@pytest.mark.parametrize("size", [767, 768, 4079, 4080, 4096, 4097, 12287, 12288, 20000])
def test_around_the_lengths_of_the_streams(implementation: str, size: int) -> None:
    data = sample(size)
    assert checksum.crc32c(data) == by_bits(data)


@given(st.binary(max_size=300), st.integers(0, 0xFFFFFFFF))
def test_any_bytes_and_seed(data: bytes, seed: int) -> None:
    assert checksum.crc32c(data, seed) == by_bits(data, seed)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
@pytest.mark.parametrize("size", [0, 1, BLOCK, BLOCK + 1, 3 * BLOCK, 5 * BLOCK - 1])
def test_one_checksum_for_each_block(kind: type, size: int) -> None:
    data = sample(size)
    sums = checksum.block_checksums(kind(data))
    expected = [by_bits(data[at : at + BLOCK]) for at in range(0, size, BLOCK)]
    assert sums == struct.pack(f"<{len(expected)}I", *expected)
    assert checksum.first_bad_block(kind(data), kind(sums)) is None
    assert checksum.first_bad_block(kind(data), sums + b"more") is None


def test_the_first_bad_block_is_told() -> None:
    data = bytearray(sample(4 * BLOCK))
    sums = checksum.block_checksums(data)
    for block in (3, 2, 0):
        data[block * BLOCK + 17] ^= 1
        assert checksum.first_bad_block(data, sums) == block
        assert checksum.first_bad_block(memoryview(data), memoryview(sums)) == block


def test_too_few_checksums_are_refused() -> None:
    with pytest.raises(ValueError, match="fewer"):
        checksum.first_bad_block(bytes(2 * BLOCK), bytes(7))


def test_a_view_is_counted_in_bytes() -> None:
    """A memoryview of words has fewer elements than bytes."""
    words = memoryview(sample(2 * BLOCK)).cast("I")
    assert checksum.crc32c(words) == by_bits(bytes(words))
    assert len(checksum.block_checksums(words)) == 8


def test_a_buffer_with_holes_is_refused() -> None:
    with pytest.raises(BufferError):
        checksum.crc32c(memoryview(bytes(10))[::2])


def test_unknown_implementations_are_refused() -> None:
    before = checksum.implementation()
    with pytest.raises(ValueError, match="abacus"):
        checksum.select("abacus")
    assert checksum.implementation() == before


def siphash(key: bytes, data: bytes) -> int:
    """SipHash-2-4 from its paper, to compare with."""
    mask = (1 << 64) - 1
    k0, k1 = struct.unpack("<QQ", key)
    v = [
        k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261, k1 ^ 0x7465646279746573,
    ]  # fmt: skip

    def turn(value: int, bits: int) -> int:
        return (value << bits | value >> (64 - bits)) & mask

    def half(a: int, b: int, left: int, right: int) -> None:
        v[a] = (v[a] + v[b]) & mask
        v[b] = turn(v[b], left) ^ v[a]
        if right:
            v[a] = turn(v[a], right)

    def rounds(count: int) -> None:
        for _ in range(count):
            half(0, 1, 13, 32)
            half(2, 3, 16, 0)
            half(0, 3, 21, 0)
            half(2, 1, 17, 32)

    padded = data + bytes(7 - len(data) % 8) + bytes([len(data) & 255])
    for (word,) in struct.iter_unpack("<Q", padded):
        v[3] ^= word
        rounds(2)
        v[0] ^= word
    v[2] ^= 0xFF
    rounds(4)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def test_the_name_hash_is_siphash() -> None:
    assert siphash(bytes(range(16)), bytes(range(15))) == 0xA129CA6149BE45E5  # the paper's example
    for length in range(0, 256, 5):
        name, key = sample(length), sample(40)[length % 8 :][:16]
        assert checksum.name_hash(key, 0, name) == siphash(key, name) >> 5
        prefixed = (7 << 40 | length).to_bytes(8, "little")
        expected = siphash(key, prefixed + name) >> 5
        assert checksum.name_hash(key, 7 << 40 | length, name) == expected


def test_the_name_hash_takes_a_whole_key() -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        checksum.name_hash(bytes(15), 0, b"name")
