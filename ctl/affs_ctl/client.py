"""A blocking client of the control channel (docs/specs/ControlProtocol.md).

One thread, many requests in flight: `Client.start` sends a request and gives a `Call`; whoever
waits on a call reads the socket and hands messages of other calls to them. Invariants: a message
goes to the call of its id alone; a call with a window never holds more items than that; after the
connection has ended every wait raises. Imports neither trio nor anyio.
"""

import socket
import struct
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self, TypeAlias

from affs_fuse.auv import AuvError, Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import (
    Answer,
    Cancel,
    ClientConnection,
    ClientMessage,
    Credit,
    Event,
    Failure,
    Hello,
    Item,
    Progress,
    RemoteProtocolError,
    Request,
    RequestId,
    ServerMessage,
    Welcome,
    error_from_auv,
)

__all__ = ["SOCKET_PATH_BYTES_MAX", "Call", "Client", "Part"]

SOCKET_PATH_BYTES_MAX = 107
"""What Linux takes in sockaddr_un, the final zero apart."""

EVENTS_KEPT_MAX = 1024
WINDOW_ITEMS = 256
_READ_BYTES = 64 << 10

Part: TypeAlias = Progress | Item | Event
"""What comes for a request before its answer."""


class Call:
    """One request in flight. Iterating gives its parts as they come and ends with the answer."""

    def __init__(self, client: "Client", request: Request) -> None:
        self._client = client
        self._request = request
        self._parts: deque[Part] = deque()
        self._end: Answer | Failure | None = None
        self._uncredited_count = 0
        self.items: list[Value] = []

    @property
    def id(self) -> RequestId:
        return self._request.id

    @property
    def finished(self) -> bool:
        """Whether the answer is here; parts may still wait to be read."""
        return self._end is not None

    def __iter__(self) -> Iterator[Part]:
        return self.parts()

    def parts(self, timeout_s: float | None = None) -> Iterator[Part]:
        """Progress, items and events in order, until the answer is here.

        timeout_s bounds each wait for bytes: AffsError "client.timeout", after which the call goes
        on and can be waited for again. AffsError "client.closed" when the connection ends.
        """
        while True:
            while self._parts:
                part = self._parts.popleft()
                if isinstance(part, Item):
                    self._credit()
                yield part
            if self._end is not None:
                return
            self._client._read(timeout_s)

    def result(
        self,
        *,
        progress: Callable[[Progress], object] | None = None,
        item: Callable[[Value], object] | None = None,
        timeout_s: float | None = None,
    ) -> Value:
        """Wait for the answer and return its value; RemoteError when it is an error.

        Items go to item, or into `items` without one. May be called again.
        """
        for part in self.parts(timeout_s):
            if isinstance(part, Progress) and progress is not None:
                progress(part)
            elif isinstance(part, Item):
                (item or self.items.append)(part.item)
        assert self._end is not None, "parts end with the answer"
        if isinstance(self._end, Failure):
            raise error_from_auv(self._end.error)
        return self._end.ok

    def cancel(self) -> None:
        """Ask the server to stop; the answer still comes and is still to be waited for."""
        if self._end is None:
            self._client._send(Cancel(self.id))

    def _credit(self) -> None:
        """Tell the server about room for items, half a window at a time."""
        window = self._request.window
        if window is None or self._end is not None:
            return
        self._uncredited_count += 1
        if self._uncredited_count * 2 >= window:
            self._client._send(Credit(self.id, self._uncredited_count))
            self._uncredited_count = 0

    def _deliver(self, message: Part | Answer | Failure) -> None:
        if isinstance(message, Answer | Failure):
            self._end = message
        else:
            self._parts.append(message)


class Client:
    """A connection that has been welcomed. Not thread-safe. Use as a context manager, or
    close().
    """

    def __init__(self, stream: socket.socket) -> None:
        """stream: a connected Unix socket, owned from here on. `greet` must follow."""
        self._stream = stream
        self._connection = ClientConnection()
        self._calls: dict[RequestId, Call] = {}
        self._events: deque[Event] = deque(maxlen=EVENTS_KEPT_MAX)
        self._welcome: Welcome | None = None
        self._refusal: Failure | None = None
        self._closed_by: AffsError | None = None
        self._sending_failed = False

    @classmethod
    def connect(
        cls,
        path: str,
        *,
        name: str = "affs_ctl",
        session: str = "",
        auth: dict[str, Value] | None = None,
        timeout_s: float = 10.0,
    ) -> Self:
        """Connect to the socket at path and say hello.

        timeout_s holds for each step. AffsError "client.socket_path" (a path that is too long),
        "client.unreachable" (nobody listens, or no answer), "client.denied" (no right to connect);
        RemoteError when the server refuses.
        """
        client = cls(_connected(path, timeout_s))
        try:
            client.greet(Hello(client=name, session=session, auth=auth), timeout_s)
        except BaseException:
            client.close()
            raise
        return client

    def greet(self, hello: Hello, timeout_s: float | None = None) -> Welcome:
        """Say hello and wait for the welcome; RemoteError when the server refuses."""
        self._send(hello)
        while self._welcome is None:
            if self._refusal is not None:
                raise error_from_auv(self._refusal.error)
            self._read(timeout_s)
        return self._welcome

    @property
    def welcome(self) -> Welcome:
        """What the server said about itself, the volume and this client's role."""
        assert self._welcome is not None, "greet comes first"
        return self._welcome

    def start(
        self,
        line: str | None = None,
        *,
        command: str | None = None,
        args: dict[str, Value] | None = None,
        session: dict[str, Value] | None = None,
        trace: str = "",
        deadline_ms: int | None = None,
        idempotency_key: str = "",
        window: int | None = WINDOW_ITEMS,
    ) -> Call:
        """Send a request, as a line or as a command with args; the fields are those of
        `Request`.
        """
        assert (line is None) != (command is None), "exactly one of line and command is wanted"
        request = Request(
            id=self._connection.next_id(),
            line=line,
            command=command,
            args=args or {},
            session=session,
            trace=trace,
            deadline_ms=deadline_ms,
            idempotency_key=idempotency_key,
            window=window,
        )
        self._send(request)
        call = Call(self, request)
        self._calls[request.id] = call
        return call

    def run(self, line: str, **options: Any) -> Value:
        """`start(line, ...).result()`."""
        return self.start(line, **options).result()

    def command(self, name: str, args: dict[str, Value] | None = None, **options: Any) -> Value:
        """`start(command=name, args=args, ...).result()`."""
        return self.start(command=name, args=args, **options).result()

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """Events that belong to no request; without end. The oldest go when 1024 wait."""
        while True:
            while self._events:
                yield self._events.popleft()
            self._read(timeout_s)

    def fileno(self) -> int:
        """For select and poll; readable means that a wait on a call may get further."""
        return self._stream.fileno()

    def close(self) -> None:
        """End the connection; the server cancels what is in flight. May be called again."""
        if self._closed_by is None:
            self._closed_by = _closed("the client has closed the connection")
        self._stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _send(self, message: ClientMessage) -> None:
        if self._closed_by is not None:
            raise self._closed_by
        if self._sending_failed:
            raise _closed("the server has closed the connection")
        frame = self._connection.send(message)
        try:
            self._stream.settimeout(None)
            self._stream.sendall(frame)
        except (BrokenPipeError, ConnectionResetError):
            # What the server said before it closed, such as a refusal, is still to be read.
            self._sending_failed = True
        except BaseException as error:
            # An interrupt may have cut the frame in two: nothing sensible can follow it.
            self._end(_closed(f"sending failed: {error}"))
            raise

    def _read(self, timeout_s: float | None) -> None:
        """Wait for bytes and hand out the messages that they complete."""
        if self._closed_by is not None:
            raise self._closed_by
        data = self._receive(timeout_s)
        try:
            for message in self._connection.receive(data):
                self._dispatch(message)
        except (AuvError, RemoteProtocolError) as error:
            raise self._end(_closed(f"the server sent nonsense: {error.message}")) from None
        if not data and self._refusal is None:
            raise self._end(_closed("the server has closed the connection"))
        if not data:
            assert self._refusal is not None, "checked above"
            raise self._end(error_from_auv(self._refusal.error))

    def _receive(self, timeout_s: float | None) -> bytes:
        try:
            self._stream.settimeout(timeout_s)
            return self._stream.recv(_READ_BYTES)
        except TimeoutError:
            raise AffsError(
                "client.timeout",
                Category.DEADLINE,
                f"no answer from the server within {timeout_s:g} s",
                hint="the request goes on; cancel it or wait longer",
                retryable=True,
            ) from None
        except OSError as error:
            raise self._end(_closed(f"receiving failed: {error.strerror}")) from None

    def _dispatch(self, message: ServerMessage) -> None:
        if isinstance(message, Welcome):
            self._welcome = message
        elif message.id is None:
            if isinstance(message, Event):
                self._events.append(message)
            elif isinstance(message, Failure):
                self._refusal = message
        else:
            call = self._calls.get(message.id)
            if call is None:
                return
            call._deliver(message)
            if call.finished:
                del self._calls[message.id]

    def _end(self, error: AffsError) -> AffsError:
        """Remember why no more will come: every later wait raises the same."""
        self._closed_by = error
        self._stream.close()
        return error


def _connected(path: str, timeout_s: float) -> socket.socket:
    if len(path.encode("utf-8", "surrogateescape")) > SOCKET_PATH_BYTES_MAX:
        raise AffsError(
            "client.socket_path",
            Category.INVALID,
            f"the socket's path has more than {SOCKET_PATH_BYTES_MAX} bytes: {path!r}",
            hint="choose a shorter one by the mount option control=PATH",
        )
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Blocking, so that the kernel waits for room in a full backlog; else it refuses at once.
        _set_send_timeout(stream, timeout_s)
        stream.connect(path)
        _set_send_timeout(stream, 0)
    except PermissionError:
        stream.close()
        raise AffsError(
            "client.denied",
            Category.DENIED,
            f"no right to connect to {path!r}",
            hint="ask the mount's owner, or use the mount options control_mode and control_group",
        ) from None
    except OSError as error:
        stream.close()
        raise AffsError(
            "client.unreachable",
            Category.IO,
            f"no daemon answers at {path!r}: {error.strerror or error}",
            hint="is the volume mounted? findmnt -t fuse.affs lists the mounts",
            retryable=True,
        ) from None
    except BaseException:
        stream.close()
        raise
    return stream


def _set_send_timeout(stream: socket.socket, seconds: float) -> None:
    """How long connect and send may block; 0: for ever."""
    whole = int(seconds)
    value = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)


def _closed(problem: str) -> AffsError:
    return AffsError("client.closed", Category.IO, problem, retryable=True)
