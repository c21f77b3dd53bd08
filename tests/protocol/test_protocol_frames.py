"""Frames: any split of the bytes gives the same payloads; too large and cut ones are refused."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse.errors import Category
from affs_fuse.protocol import (
    FRAME_BYTES_MAX,
    FrameReader,
    LocalProtocolError,
    RemoteProtocolError,
    encode_frame,
)

PROFILE = settings(derandomize=True, deadline=None, database=None, max_examples=200)


def test_a_frame_is_a_length_and_its_bytes() -> None:
    assert encode_frame(b"abc") == b"\0\0\0\x03abc"


@PROFILE
@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6), st.data())
def test_any_split_gives_the_same_payloads(payloads: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(encode_frame(payload) for payload in payloads)
    reader = FrameReader()
    found: list[bytes] = []
    start = 0
    while start < len(stream):
        end = data.draw(st.integers(start + 1, len(stream)))
        found += reader.receive(stream[start:end])
        start = end
    assert found == payloads
    assert reader.pending_bytes == 0
    reader.end()


def test_the_limit_holds_before_the_bytes_come() -> None:
    reader = FrameReader(100)
    assert list(reader.receive(b"\0\0\0\x64" + b"a" * 100)) == [b"a" * 100]
    with pytest.raises(RemoteProtocolError) as caught:
        list(reader.receive(b"\0\0\0\x65"))
    assert (caught.value.code, caught.value.category) == ("protocol.frame_size", Category.INVALID)
    assert caught.value.details == {"size": 101, "limit": 100}
    assert reader.pending_bytes == 0
    with pytest.raises(LocalProtocolError):
        list(reader.receive(b"\0"))


def test_frames_before_a_broken_one_are_given_out() -> None:
    payloads = FrameReader().receive(encode_frame(b"a") + b"\xff\xff\xff\xff")
    assert next(payloads) == b"a"
    with pytest.raises(RemoteProtocolError) as caught:
        next(payloads)
    assert caught.value.details["limit"] == FRAME_BYTES_MAX


def test_an_empty_frame_holds_no_value() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        list(FrameReader().receive(bytes(4)))
    assert caught.value.code == "protocol.frame_empty"


@pytest.mark.parametrize("part", [b"\0", b"\0\0\0\x02", b"\0\0\0\x02a"])
def test_the_end_inside_a_frame_is_an_error(part: bytes) -> None:
    reader = FrameReader()
    assert list(reader.receive(part)) == []
    assert reader.pending_bytes == len(part)
    with pytest.raises(RemoteProtocolError) as caught:
        reader.end()
    assert caught.value.code == "protocol.frame_cut"


def test_what_the_peer_would_refuse_is_not_sent() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        encode_frame(b"a" * 11, 10)
    assert caught.value.code == "protocol.frame_size"
