"""The short way for small values gives what the long way gives: bytes, values and errors."""

import msgpack
import pytest
from auv_strategies import PROFILE, values
from hypothesis import example, given
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.auv import DEFAULT_LIMITS, Char, Limits, WireError
from affs_fuse.auv.scan import scan
from affs_fuse.auv.values import normal
from affs_fuse.auv.wire_quick import DOUBTFUL, pack_quick, unpack_quick

TIGHT = Limits(
    depth_max=2, string_bytes_max=4, binary_bytes_max=4, elements_max=3, key_bytes_max=2
)
SMALL = Limits(
    depth_max=3, string_bytes_max=40, binary_bytes_max=40, elements_max=40, key_bytes_max=40
)
LIMITS = pytest.mark.parametrize("limits", [DEFAULT_LIMITS, TIGHT, SMALL])


def long_way(value, limits):
    def char(one):
        return msgpack.ExtType(1, one.text.encode())

    return msgpack.packb(normal(value, limits, char=char), use_bin_type=True)


def outcome(make, given_to_it, limits):
    try:
        return make(given_to_it, limits)
    except auv.ValueFault as error:
        return error.reason, error.path
    except WireError as error:
        return error.reason, error.offset


@LIMITS
@PROFILE
@given(value=values)
@example(value=float("nan"))
@example(value=-0.0)
@example(value=(1, 2))
@example(value={"a": [2**63]})
@example(value=[-(2**63), 2**63 - 1])
@example(value={"k" * 5000: 1})
@example(value={1: 2})
@example(value={b"a": 2})
@example(value=["\ud800"])
@example(value=[[[[[1]]]]])
@example(value=["x" * 5000])
@example(value=object())
def test_values_are_packed_alike(limits: Limits, value: auv.Value) -> None:
    assert outcome(auv.encode, value, limits) == outcome(long_way, value, limits)


def check_bytes(data: bytes, limits: Limits) -> None:
    """The short way refuses whatever the long way refuses, and gives the same value."""
    found = unpack_quick(data, limits)
    if found is DOUBTFUL:
        return
    scan(data, limits)
    assert auv.equal(found, msgpack.unpackb(data, raw=False, strict_map_key=True))
    assert auv.encode(found, limits) == data


@LIMITS
@PROFILE
@given(data=st.binary(max_size=24))
@example(data=b"\xd9\x01a")  # not the shortest form
@example(data=b"\xcc\x01")
@example(data=b"\xca\x3f\x80\x00\x00")
@example(data=b"\x82\xa1a\x01\xa1a\x02")
@example(data=b"\x81\xc4\x01a\x01")
@example(data=b"\x81\x01\x01")
@example(data=b"\xcf" + b"\xff" * 8)
@example(data=b"\xd6\xff\x00\x00\x00\x01")  # a time, which msgpack knows and the profile does not
@example(data=b"\xa1\xff")
@example(data=b"\x01\x01")
@example(data=b"")
@example(data=b"\x91" * 60 + b"\x01")
@example(data=b"\xdd\xff\xff\xff\xff")
def test_any_bytes_are_read_alike(limits: Limits, data: bytes) -> None:
    check_bytes(data, limits)


@LIMITS
@PROFILE
@given(value=values, at=st.integers(0, 200), byte=st.integers(0, 255))
def test_bytes_that_were_a_value_are_read_alike(
    limits: Limits, value: auv.Value, at: int, byte: int
) -> None:
    data = bytearray(auv.encode(value))
    check_bytes(bytes(data), limits)
    if at < len(data):
        data[at] = byte
    check_bytes(bytes(data), limits)


def test_the_short_way_is_taken() -> None:
    value = {"item": {"name": "anna", "age": 31, "tags": ["a", None, True, 1.5, b"x"]}}
    packed = pack_quick(value, DEFAULT_LIMITS)
    assert packed == auv.encode(value)
    assert unpack_quick(packed, DEFAULT_LIMITS) == value
    assert pack_quick([Char("a")], DEFAULT_LIMITS) is None
