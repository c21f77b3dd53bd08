"""A blocking client of the control channel (docs/specs/ControlProtocol.md).

One thread, many requests in flight: `Client.start` sends a request and gives a `Call`; whoever
waits on a call reads the socket and hands messages of other calls to them. Invariants: a call with
a window never holds more items than that; after the connection has ended every wait raises.
Imports neither trio nor anyio; `affs_ctl.trio_client` is the same for trio.

    with Client.connect(find("/srv/work").socket) as client:
        state = client.run('checkpoint -m "all tests green"')
        client.command("show", {"state": state["id"]})
"""

import socket
import struct
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from affs_ctl.exchange import (
    READ_BYTES,
    SOCKET_PATH_BYTES_MAX,
    WINDOW_ITEMS,
    CallState,
    Exchange,
    Part,
    check_path,
    closed,
    connect_error,
)
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Cancel, Event, Hello, Item, Progress, RequestId, Welcome

__all__ = ["SOCKET_PATH_BYTES_MAX", "Call", "Client", "Part"]


class Call:
    """One request in flight. Iterating gives its parts as they come and ends with the answer."""

    def __init__(self, client: "Client", state: CallState) -> None:
        self._client = client
        self._state = state

    @property
    def id(self) -> RequestId:
        return self._state.request.id

    @property
    def items(self) -> list[Value]:
        """What `result` has gathered when it was given no other place for items."""
        return self._state.items

    @property
    def finished(self) -> bool:
        """Whether the answer is here; parts may still wait to be read."""
        return self._state.end is not None

    def __iter__(self) -> Iterator[Part]:
        return self.parts()

    def parts(
        self, timeout_s: float | None = None, meanwhile: Callable[[], object] | None = None
    ) -> Iterator[Part]:
        """Progress, items and events in order, until the answer is here. Of progress that was not
        read in time only the newest is left. meanwhile: called in front of each wait for bytes.

        timeout_s bounds each wait for bytes: AffsError "client.timeout", after which the call goes
        on and can be waited for again. AffsError "client.closed" when the connection ends.
        """
        while True:
            while (part := self._state.take()) is not None:
                if isinstance(part, Item) and (credit := self._state.credit()) is not None:
                    self._client._send(self._client._exchange.encode(credit))
                yield part
            if self.finished:
                return
            if meanwhile is not None:
                meanwhile()
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
        return self._state.value()

    def cancel(self) -> None:
        """Ask the server to stop; the answer still comes and is still to be waited for."""
        if not self.finished:
            self._client._send(self._client._exchange.encode(Cancel(self.id)))

    def abandon(self) -> None:
        """Ask the server to stop, and drop whatever still comes."""
        self.cancel()
        self._client._exchange.forget(self.id)


class Client:
    """A connection that has been welcomed. Not thread-safe. Use as a context manager, or
    close().
    """

    def __init__(
        self,
        stream: socket.socket,
        wait: Callable[[int, float | None], bool] | None = None,
    ) -> None:
        """stream: a connected Unix socket, owned from here on. `greet` must follow.

        wait(fileno, timeout_s): how to wait for bytes, False when none came in time; without it the
        socket itself waits. It may raise at will: nothing has been read then.
        """
        self._stream = stream
        self._wait = wait
        self._exchange = Exchange()
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
        wait: Callable[[int, float | None], bool] | None = None,
    ) -> Self:
        """Connect to the socket at path and say hello.

        timeout_s holds for each step. AffsError "client.socket_path" (a path that is too long),
        "client.unreachable" (nobody listens, or no answer), "client.denied" (no right to connect);
        RemoteError when the server refuses.
        """
        client = cls(_connected(path, timeout_s), wait)
        try:
            client.greet(Hello(client=name, session=session, auth=auth), timeout_s)
        except BaseException:
            client.close()
            raise
        return client

    def greet(self, hello: Hello, timeout_s: float | None = None) -> Welcome:
        """Say hello and wait for the welcome; RemoteError when the server refuses."""
        self._send(self._exchange.encode(hello))
        while self._exchange.welcome is None:
            self._exchange.check_refusal()
            self._read(timeout_s)
        return self._exchange.welcome

    @property
    def welcome(self) -> Welcome:
        """What the server said about itself, the volume and this client's role."""
        assert self._exchange.welcome is not None, "greet comes first"
        return self._exchange.welcome

    @property
    def ended(self) -> AffsError | None:
        """Why the connection is of no more use; None while it is."""
        return self._exchange.ended

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
        state, frame = self._exchange.request(
            line=line,
            command=command,
            args=args,
            session=session,
            trace=trace,
            deadline_ms=deadline_ms,
            idempotency_key=idempotency_key,
            window=window,
        )
        self._send(frame)
        return Call(self, state)

    def run(self, line: str, **options: Any) -> Value:
        """`start(line, ...).result()`."""
        return self.start(line, **options).result()

    def command(self, name: str, args: dict[str, Value] | None = None, **options: Any) -> Value:
        """`start(command=name, args=args, ...).result()`."""
        return self.start(command=name, args=args, **options).result()

    def events(self, timeout_s: float | None = None) -> Iterator[Event]:
        """Events that belong to no request; without end. The oldest go when 1024 wait."""
        while True:
            while self._exchange.events:
                yield self._exchange.events.popleft()
            self._read(timeout_s)

    def fileno(self) -> int:
        """For select and poll; readable means that a wait on a call may get further."""
        return self._stream.fileno()

    def close(self) -> None:
        """End the connection; the server cancels what is in flight. May be called again."""
        self._exchange.end(closed("the client has closed the connection"))
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

    def _send(self, frame: bytes) -> None:
        if self._exchange.ended is not None:
            raise self._exchange.ended
        if self._sending_failed:
            raise closed("the server has closed the connection")
        try:
            self._stream.settimeout(None)
            self._stream.sendall(frame)
        except (BrokenPipeError, ConnectionResetError):
            # What the server said before it closed, such as a refusal, is still to be read.
            self._sending_failed = True
        except BaseException as error:
            # An interrupt may have cut the frame in two: nothing sensible can follow it.
            self._exchange.end(closed(f"sending failed: {error}"))
            self._stream.close()
            raise

    def _read(self, timeout_s: float | None) -> None:
        """Wait for bytes and hand out the messages that they complete."""
        if self._exchange.ended is not None:
            raise self._exchange.ended
        data = self._receive(timeout_s)
        try:
            self._exchange.receive(data)
        finally:
            if self._exchange.ended is not None:
                self._stream.close()

    def _receive(self, timeout_s: float | None) -> bytes:
        try:
            if self._wait is not None and not self._wait(self._stream.fileno(), timeout_s):
                raise TimeoutError
            self._stream.settimeout(timeout_s)
            return self._stream.recv(READ_BYTES)
        except TimeoutError:
            raise AffsError(
                "client.timeout",
                Category.DEADLINE,
                f"no answer from the server within {timeout_s:g} s",
                hint="the request goes on; cancel it or wait longer",
                retryable=True,
            ) from None
        except OSError as error:
            self._stream.close()
            raise self._exchange.end(closed(f"receiving failed: {error.strerror}")) from None


def _connected(path: str, timeout_s: float) -> socket.socket:
    check_path(path)
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # Blocking, so that the kernel waits for room in a full backlog; else it refuses at once.
        _set_send_timeout(stream, timeout_s)
        stream.connect(path)
        _set_send_timeout(stream, 0)
    except OSError as error:
        stream.close()
        raise connect_error(path, error) from None
    except BaseException:
        stream.close()
        raise
    return stream


def _set_send_timeout(stream: socket.socket, seconds: float) -> None:
    """How long connect and send may block; 0: for ever."""
    whole = int(seconds)
    value = struct.pack("@ll", whole, int((seconds - whole) * 1e6))
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, value)
