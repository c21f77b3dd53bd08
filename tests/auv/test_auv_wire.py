"""The wire form: bytes of the profile, refusals with their offset, limits of memory and time."""

import math
import struct
import tracemalloc

import msgpack
import pytest
from auv_strategies import PROFILE, values
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.auv import Char, Limits, WireError

HEX = "0123456789abcdef"

EXACT = [
    (None, "c0"),
    (False, "c2"),
    (True, "c3"),
    (0, "00"),
    (127, "7f"),
    (128, "cc80"),
    (255, "ccff"),
    (256, "cd0100"),
    (65535, "cdffff"),
    (65536, "ce00010000"),
    ((1 << 32) - 1, "ceffffffff"),
    (1 << 32, "cf0000000100000000"),
    ((1 << 63) - 1, "cf7fffffffffffffff"),
    (-1, "ff"),
    (-32, "e0"),
    (-33, "d0df"),
    (-128, "d080"),
    (-129, "d1ff7f"),
    (-32768, "d18000"),
    (-32769, "d2ffff7fff"),
    (-(1 << 31), "d280000000"),
    (-(1 << 31) - 1, "d3ffffffff7fffffff"),
    (-(1 << 63), "d38000000000000000"),
    (1.0, "cb3ff0000000000000"),
    (-0.0, "cb8000000000000000"),
    (math.nan, "cb7ff8000000000000"),
    (-math.inf, "cbfff0000000000000"),
    (Char("A"), "d40141"),
    (Char("é"), "d501c3a9"),
    (Char("€"), "c70301e282ac"),
    (Char("😀"), "d601f09f9880"),
    ("", "a0"),
    ("A" * 31, "bf" + "41" * 31),
    ("A" * 32, "d920" + "41" * 32),
    ("A" * 256, "da0100" + "41" * 256),
    ("A" * 65536, "db00010000" + "41" * 65536),
    (b"", "c400"),
    (b"\xff" * 255, "c4ff" + "ff" * 255),
    (b"\xff" * 256, "c50100" + "ff" * 256),
    (b"\xff" * 65536, "c600010000" + "ff" * 65536),
    ([], "90"),
    ([0] * 15, "9f" + "00" * 15),
    ([0] * 16, "dc0010" + "00" * 16),
    ([0] * 65536, "dd00010000" + "00" * 65536),
    ({}, "80"),
    ({"b": 1, "a": 2}, "82a16201a16102"),
    (dict.fromkeys(HEX, 0), "de0010" + "".join(f"a1{ord(digit):x}00" for digit in HEX)),
]  # fmt: skip


@pytest.mark.parametrize(("value", "image"), EXACT)
def test_exact_bytes(value: object, image: str) -> None:
    assert auv.encode(value) == bytes.fromhex(image)
    assert auv.equal(auv.decode(bytes.fromhex(image)), value)


def test_canonical_bytes() -> None:
    assert auv.encode_canonical({"b": 1, "a": -0.0}).hex() == "82a161cb0000000000000000a16201"
    negative_nan = struct.unpack(">d", bytes.fromhex("fff800000000beef"))[0]
    assert auv.encode(negative_nan).hex() == "cb7ff8000000000000"
    assert auv.equal(auv.decode(bytes.fromhex("cbfff800000000beef")), math.nan)


REFUSED = [
    ("", "cut", 0),
    ("92", "cut", 1),
    ("9201", "cut", 2),
    ("81a161", "cut", 3),
    ("82a16101a162", "cut", 6),
    ("cd01", "cut", 2),
    ("cb00", "cut", 2),
    ("a261", "cut", 2),
    ("d9", "cut", 1),
    ("c40561", "cut", 3),
    ("dc", "cut", 1),
    ("dd00989680", "cut", 5),
    ("dd00989681", "elements", 0),
    ("ddffffffff", "elements", 0),
    ("d401", "cut", 2),
    ("d4", "cut", 1),
    ("0000", "trailing", 1),
    ("90c0", "trailing", 1),
    ("c1", "type", 0),
    ("92c0c1", "type", 2),
    ("ca3f800000", "type", 0),
    ("91ca3f800000", "type", 1),
    ("d40041", "type", 0),
    ("d40241", "type", 0),
    ("d6ff00000000", "type", 0),
    ("c70cff" + "00" * 12, "type", 0),
    ("cf8000000000000000", "integer", 0),
    ("92c0cfffffffffffffffff", "integer", 2),
    ("cc7f", "not_shortest", 0),
    ("cd00ff", "not_shortest", 0),
    ("ce0000ffff", "not_shortest", 0),
    ("cf00000000ffffffff", "not_shortest", 0),
    ("d000", "not_shortest", 0),
    ("d0e0", "not_shortest", 0),
    ("d1ff80", "not_shortest", 0),
    ("d2ffff8000", "not_shortest", 0),
    ("d3ffffffff80000000", "not_shortest", 0),
    ("d30000000000000001", "not_shortest", 0),
    ("d90141", "not_shortest", 0),
    ("da00ff" + "41" * 255, "not_shortest", 0),
    ("db0000ffff", "not_shortest", 0),
    ("c5000141", "not_shortest", 0),
    ("c60000000141", "not_shortest", 0),
    ("dc000100", "not_shortest", 0),
    ("dd0000000100", "not_shortest", 0),
    ("de0001a16100", "not_shortest", 0),
    ("df00000001a16100", "not_shortest", 0),
    ("c7010141", "not_shortest", 0),
    ("c800030141" + "4141", "not_shortest", 0),
    ("c70001", "char", 0),
    ("c705014141414141", "char", 0),
    ("d5014141", "char", 0),
    ("d70141" + "41" * 7, "char", 0),
    ("d401c3", "unicode", 2),
    ("c70301eda080", "unicode", 3),
    ("d501c080", "unicode", 2),
    ("a1ff", "unicode", 1),
    ("a461c328ff", "unicode", 2),
    ("a3eda080", "unicode", 1),
    ("a4f4908080", "unicode", 1),
    ("81a1ff00", "unicode", 2),
    ("8100c0", "key", 1),
    ("81c0c0", "key", 1),
    ("81c4016100", "key", 1),
    ("81d40141c0", "key", 1),
    ("8190c0", "key", 1),
    ("82a16100a16101", "duplicate_key", 4),
    ("9182a16100a16101", "duplicate_key", 5),
    ("81d9016100", "not_shortest", 1),
]


@pytest.mark.parametrize(("image", "reason", "offset"), REFUSED)
def test_refused_with_reason_and_offset(image: str, reason: str, offset: int) -> None:
    with pytest.raises(WireError) as caught:
        auv.decode(bytes.fromhex(image))
    assert (caught.value.reason, caught.value.offset) == (reason, offset)
    assert caught.value.to_auv()["details"] == {"reason": reason, "offset": offset}
    assert caught.value.code == "auv.wire"


@PROFILE
@given(values)
def test_round_trip(value: object) -> None:
    image = auv.encode(value)
    copy = auv.decode(image)
    assert auv.equal(copy, value)
    assert auv.encode(copy) == image
    assert auv.equal(auv.decode(auv.encode_canonical(value)), value)
    assert auv.equal(auv.decode(bytearray(image)), auv.decode(memoryview(image)))


def _decode_or_error(image: bytes) -> object:
    """The value or its WireError; any other exception fails the test."""
    try:
        return auv.decode(image)
    except WireError as error:
        return error


def _check_decoding(image: bytes) -> None:
    result = _decode_or_error(image)
    if isinstance(result, WireError):
        assert 0 <= result.offset <= len(image)
        auv.check(result.to_auv())
    elif b"\xcb" not in image:
        # One form per value: whatever is accepted is what the encoder writes (NaN bits apart).
        assert auv.encode(result) == image


@settings(PROFILE, max_examples=1500)
@given(st.binary(max_size=60))
def test_random_bytes_give_a_value_or_the_typed_error(image: bytes) -> None:
    _check_decoding(image)


@settings(PROFILE, max_examples=600)
@given(values, st.data())
def test_mutated_bytes_give_a_value_or_the_typed_error(value: object, data: st.DataObject) -> None:
    image = bytearray(auv.encode(value))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(image) - 1))
        image[place] = data.draw(st.integers(0, 255))
    _check_decoding(bytes(image))


@PROFILE
@given(values)
def test_every_cut_is_seen(value: object) -> None:
    image = auv.encode(value)
    for length in range(min(len(image), 40)):
        with pytest.raises(WireError) as caught:
            auv.decode(image[:length])
        assert caught.value.reason == "cut"


def _one_field_values() -> list[object]:
    return [1.5, 1 << 40, {"a": [1, {"b": None}]}, "é", b"x", [True, None]]


@pytest.mark.parametrize("value", _one_field_values())
def test_plain_messagepack_reads_what_is_written(value: object) -> None:
    assert msgpack.unpackb(auv.encode(value)) == value


BOMBS = [
    ("a promise of 2^32 elements", b"\xdd\xff\xff\xff\xff"),
    ("a promise of 2^32 entries", b"\xdf\xff\xff\xff\xff" + b"\xa0" * 100),
    ("nesting", b"\x91" * 1_000_000),
    ("nested maps", b"\x81\xa0" * 500_000),
    ("a million empty arrays", b"\xdd" + (1_000_000).to_bytes(4, "big") + b"\x90" * 1_000_000),
    ("promises in promises", b"\xdc\xff\xff" * 100_000),
]


@pytest.mark.parametrize(("name", "image"), BOMBS)
def test_bombs_cost_no_memory(name: str, image: bytes) -> None:
    limits = Limits(depth_max=64, elements_max=100_000)
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            auv.decode(image, limits)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 256 << 10, f"{name}: {peak} bytes"


def test_the_worst_request_stays_small() -> None:
    entry = b"\x81\xa1a\x90"
    image = b"\xdc" + (50_000).to_bytes(2, "big") + entry * 50_000
    tracemalloc.start()
    try:
        auv.decode(image, auv.REQUEST_LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 32 << 20


def test_time_is_linear() -> None:
    """A reader that looks back for each of so many maps would not end within the test's limit."""
    count = 280_000
    found = auv.decode(b"\xdd" + count.to_bytes(4, "big") + b"\x81\xa1a\x01" * count)
    assert found == [{"a": 1}] * count
