"""Frames: a 4-byte big-endian length, then that many bytes of one AUV value in wire form.

No I/O: `FrameReader` takes bytes as they come and gives payloads out. Invariants: it never holds
more than one unfinished frame, never more than the limit, and a length over the limit is refused
before a byte of that frame is kept (docs/specs/ControlProtocol.md, "Frames").
"""

from collections.abc import Iterator

from affs_fuse.errors import Category
from affs_fuse.protocol.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["FRAME_BYTES_MAX", "LENGTH_BYTES", "FrameReader", "encode_frame"]

LENGTH_BYTES = 4
FRAME_BYTES_MAX = 16 << 20
"""Default limit of a payload. Precedents: etcd 1.5 MiB, gRPC 4 MiB, Redis 512 MiB per string."""


def encode_frame(payload: bytes, frame_bytes_max: int = FRAME_BYTES_MAX) -> bytes:
    """The bytes to send; RemoteProtocolError ("protocol.frame_size") when the peer would refuse
    them.
    """
    if len(payload) > frame_bytes_max:
        raise RemoteProtocolError(
            "protocol.frame_size",
            Category.INVALID,
            f"a message of {len(payload)} bytes is over the limit of {frame_bytes_max}",
            hint="ask for less at once, or for a stream of items",
            details={"size": len(payload), "limit": frame_bytes_max},
        )
    return len(payload).to_bytes(LENGTH_BYTES, "big") + payload


class FrameReader:
    """Bytes in, payloads out. After an error it refuses further use."""

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._limit = frame_bytes_max
        self._buffer = bytearray()
        self._failed = False

    @property
    def pending_bytes(self) -> int:
        """How much of an unfinished frame is held."""
        return len(self._buffer)

    def receive(self, data: bytes) -> Iterator[bytes]:
        """The payloads that data completes, lazily; exhaust the iterator before the next call.

        RemoteProtocolError "protocol.frame_size" or "protocol.frame_empty" ends the reader;
        payloads completed before it have been given out.
        """
        if self._failed:
            raise LocalProtocolError("the frame reader has failed and takes no more bytes")
        self._buffer += data
        start = 0
        try:
            while len(self._buffer) - start >= LENGTH_BYTES:
                length = int.from_bytes(self._buffer[start : start + LENGTH_BYTES], "big")
                self._check(length)
                end = start + LENGTH_BYTES + length
                if len(self._buffer) < end:
                    break
                yield bytes(self._buffer[start + LENGTH_BYTES : end])
                start = end
        finally:
            del self._buffer[:start]

    def end(self) -> None:
        """The peer has closed. RemoteProtocolError "protocol.frame_cut" if a frame is
        unfinished.
        """
        if self._buffer and not self._failed:
            self._failed = True
            raise RemoteProtocolError(
                "protocol.frame_cut",
                Category.INVALID,
                f"the connection ended inside a frame, {len(self._buffer)} bytes into it",
            )

    def _check(self, length: int) -> None:
        if 0 < length <= self._limit:
            return
        self._failed = True
        self._buffer.clear()
        if length == 0:
            raise RemoteProtocolError(
                "protocol.frame_empty", Category.INVALID, "a frame of 0 bytes holds no value"
            )
        raise RemoteProtocolError(
            "protocol.frame_size",
            Category.INVALID,
            f"a frame of {length} bytes is over the limit of {self._limit}",
            hint="each frame is a 4-byte big-endian length and one value",
            details={"size": length, "limit": self._limit},
        )
