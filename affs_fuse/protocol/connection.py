"""The two ends of a control connection, without I/O (docs/specs/ControlProtocol.md, "States").

Bytes in by `receive`, messages out; messages in by `send`, bytes out. Invariants: nothing but
hello is accepted before hello; an id is in flight from its request to its answer, and only then
may anything be sent for it; a malformed message costs an error value, a broken frame the
connection.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from affs_fuse.auv import ANSWER_LIMITS, REQUEST_LIMITS, AuvError, Limits, decode, encode
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol.errors import LocalProtocolError, RemoteProtocolError, error_to_auv
from affs_fuse.protocol.frames import FRAME_BYTES_MAX, FrameReader, encode_frame
from affs_fuse.protocol.messages import (
    PROTOCOL_MAX,
    PROTOCOL_MIN,
    Answer,
    Cancel,
    ClientMessage,
    Credit,
    Failure,
    Hello,
    Request,
    RequestId,
    ServerMessage,
    Welcome,
    parse_client,
    parse_server,
    request_id_of,
)

__all__ = ["REQUESTS_MAX", "ClientConnection", "Malformed", "Received", "ServerConnection"]

REQUESTS_MAX = 64
"""Requests in flight per connection. Precedents: HTTP/2 100 streams, NFSv4 sessions 64 slots."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """Something a client sent that is no valid message.

    The server sends `reply`; when `fatal` it then closes the connection: nothing more can be read.
    """

    id: RequestId | None
    error: AffsError
    fatal: bool

    @property
    def reply(self) -> Failure:
        return Failure(self.id, error_to_auv(self.error))


Received: TypeAlias = ClientMessage | Malformed


class ServerConnection:
    """The server's end. One object per accepted socket; not thread-safe."""

    def __init__(
        self,
        *,
        frame_bytes_max: int = FRAME_BYTES_MAX,
        limits: Limits = REQUEST_LIMITS,
        requests_max: int = REQUESTS_MAX,
    ) -> None:
        self._reader = FrameReader(frame_bytes_max)
        self._frame_bytes_max = frame_bytes_max
        self._limits = limits
        self._requests_max = requests_max
        self._greeted = False
        self._in_flight: set[RequestId] = set()
        self._failed = False

    @property
    def in_flight(self) -> frozenset[RequestId]:
        """Ids of requests that have no answer yet."""
        return frozenset(self._in_flight)

    @property
    def greeted(self) -> bool:
        """Whether a valid hello has come."""
        return self._greeted

    @property
    def pending_bytes(self) -> int:
        """Bytes held of an unfinished frame: for the read deadline of a slow client."""
        return self._reader.pending_bytes

    def receive(self, data: bytes) -> list[Received]:
        """What data completes, in order. b"" means that the peer has closed its side.

        After a fatal Malformed the connection takes no more bytes (LocalProtocolError). A cancel or
        credit for a request that is no longer in flight has crossed its answer and is left out.
        """
        if self._failed:
            raise LocalProtocolError("the connection has failed and takes no more bytes")
        result: list[Received] = []
        try:
            if not data:
                self._reader.end()
            for payload in self._reader.receive(data):
                message = self._message(payload)
                if isinstance(message, Cancel | Credit) and message.id not in self._in_flight:
                    continue
                result.append(message)
        except RemoteProtocolError as error:
            self._failed = True
            result.append(Malformed(None, error, fatal=True))
        return result

    def send(self, message: ServerMessage) -> bytes:
        """The bytes to send.

        AffsError when the message cannot go as it is (a value outside AUV, a frame over the limit):
        nothing has changed then, the request still wants its answer. LocalProtocolError for a
        message about a request that is not in flight.
        """
        number = None if isinstance(message, Welcome) else message.id
        if number is not None and number not in self._in_flight:
            raise LocalProtocolError(f"request {number!r} is not in flight")
        frame = encode_frame(encode(message.to_auv(), ANSWER_LIMITS), self._frame_bytes_max)
        if number is not None and isinstance(message, Answer | Failure):
            self._in_flight.discard(number)
        return frame

    def _message(self, payload: bytes) -> Received:
        number: RequestId | None = None
        try:
            value = decode(payload, self._limits)
            number = request_id_of(value)
            message = parse_client(value)
            self._admit(message)
        except (AuvError, RemoteProtocolError) as error:
            # With the id of a request in flight the error would pass for that request's answer.
            if number in self._in_flight:
                number = None
            if number is not None:
                self._in_flight.add(number)
            return Malformed(number, error, fatal=False)
        return message

    def _admit(self, message: ClientMessage) -> None:
        if isinstance(message, Hello):
            self._greet(message)
        elif not self._greeted:
            raise RemoteProtocolError(
                "protocol.hello_first", Category.INVALID, "the first message must be hello"
            )
        elif isinstance(message, Request):
            self._begin(message.id)

    def _greet(self, hello: Hello) -> None:
        if self._greeted:
            raise RemoteProtocolError(
                "protocol.hello_again", Category.INVALID, "hello was already said"
            )
        if hello.minimum > PROTOCOL_MAX or hello.protocol < PROTOCOL_MIN:
            raise RemoteProtocolError(
                "protocol.version",
                Category.UNSUPPORTED,
                f"protocol versions {hello.minimum} to {hello.protocol} are not spoken here, "
                f"{PROTOCOL_MIN} to {PROTOCOL_MAX} are",
                hint="use a client of the server's version",
                details={"minimum": PROTOCOL_MIN, "maximum": PROTOCOL_MAX},
            )
        self._greeted = True

    def _begin(self, number: RequestId) -> None:
        if number in self._in_flight:
            raise RemoteProtocolError(
                "protocol.id_in_use", Category.INVALID, f"request {number!r} is already in flight"
            )
        if len(self._in_flight) >= self._requests_max:
            raise RemoteProtocolError(
                "protocol.requests",
                Category.BUSY,
                f"{self._requests_max} requests are already in flight on this connection",
                hint="wait for an answer first",
                retryable=True,
            )
        self._in_flight.add(number)


class ClientConnection:
    """The client's end. One object per connected socket; not thread-safe."""

    def __init__(
        self, *, frame_bytes_max: int = FRAME_BYTES_MAX, limits: Limits = ANSWER_LIMITS
    ) -> None:
        self._reader = FrameReader(frame_bytes_max)
        self._frame_bytes_max = frame_bytes_max
        self._limits = limits
        self._in_flight: set[RequestId] = set()
        self._next_id = 1

    @property
    def in_flight(self) -> frozenset[RequestId]:
        return frozenset(self._in_flight)

    def next_id(self) -> int:
        """An id that this connection has not used; ids ascend from 1."""
        number = self._next_id
        self._next_id += 1
        return number

    def send(self, message: ClientMessage) -> bytes:
        """The bytes to send; AffsError when the message cannot go as it is, LocalProtocolError when
        a request's id is already in flight."""
        if isinstance(message, Request) and message.id in self._in_flight:
            raise LocalProtocolError(f"request {message.id!r} is already in flight")
        frame = encode_frame(encode(message.to_auv(), REQUEST_LIMITS), self._frame_bytes_max)
        if isinstance(message, Request):
            self._in_flight.add(message.id)
        return frame

    def receive(self, data: bytes) -> Iterator[ServerMessage]:
        """What data completes; b"" means that the server has closed. Exhaust it before the next
        call.

        Messages of a kind that this version does not know, and messages for requests that are not
        in flight, are left out. RemoteProtocolError or WireError when the bytes make no sense: the
        connection is then of no more use.
        """
        if not data:
            self._reader.end()
        for payload in self._reader.receive(data):
            message = self._message(payload)
            if message is not None:
                yield message

    def _message(self, payload: bytes) -> ServerMessage | None:
        try:
            message = parse_server(decode(payload, self._limits))
        except RemoteProtocolError as error:
            if error.category is Category.UNSUPPORTED:
                return None
            raise
        number = None if isinstance(message, Welcome) else message.id
        if number is not None and number not in self._in_flight:
            return None
        if number is not None and isinstance(message, Answer | Failure):
            self._in_flight.discard(number)
        return message
