"""A client of the control channel for trio, with the features of the blocking one
(docs/specs/ControlProtocol.md).

    async with connect(find("/srv/work").socket) as client:
        state = await client.run('checkpoint -m "all tests green"')
        async with await client.start("diff") as call:
            async for part in call:
                ...

Many tasks may use one client. Timeouts are trio's (`trio.move_on_after`): a wait that is cancelled
loses nothing. `run` and `command`, and a call used as a context manager, also cancel the request on
the server when they are left before its answer. Invariants: frames are never cut, whoever is
cancelled; after the connection has ended every wait raises; a call that nobody reads holds at most
PARTS_WAITING_MAX parts, then the whole connection waits for its reader.
"""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from types import TracebackType
from typing import Any, Self

import trio

from affs_ctl.exchange import (
    READ_BYTES,
    WINDOW_ITEMS,
    CallState,
    Exchange,
    Part,
    check_path,
    closed,
    connect_error,
)
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Cancel, Event, Hello, Item, Progress, RequestId, Welcome

__all__ = ["PARTS_WAITING_MAX", "Call", "Client", "Part", "connect"]

PARTS_WAITING_MAX = 1024
"""Four windows: only events, and items without a window, can come to it."""

OUTGOING_BYTES_MAX = 1 << 20
"""Beyond it `start` waits until the server has taken some."""

_BACKLOG_WAIT_S = 0.02


class Call:
    """One request in flight. Iterating gives its parts as they come and ends with the answer.

    As an asynchronous context manager it cancels the request when it is left before the answer.
    """

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

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        """Progress, items and events in order, until the answer is here. Of progress that was not
        read in time only the newest is left. AffsError "client.closed" when the connection ends.
        """
        await trio.lowlevel.checkpoint()
        while (part := self._state.take()) is None:
            if self.finished:
                raise StopAsyncIteration
            await self._client._wait()
        self._client._taken(self._state, part)
        return part

    async def result(
        self,
        *,
        progress: Callable[[Progress], Awaitable[object]] | None = None,
        item: Callable[[Value], Awaitable[object]] | None = None,
    ) -> Value:
        """Wait for the answer and return its value; RemoteError when it is an error.

        Items go to item, or into `items` without one. May be called again; a wait that is cancelled
        leaves the request alone.
        """
        async for part in self:
            if isinstance(part, Progress) and progress is not None:
                await progress(part)
            elif isinstance(part, Item) and item is not None:
                await item(part.item)
            elif isinstance(part, Item):
                self.items.append(part.item)
        return self._state.value()

    def cancel(self) -> None:
        """Ask the server to stop; the answer still comes and is still to be waited for. Does not
        wait."""
        if not self.finished:
            self._client._put(Cancel(self.id))

    def abandon(self) -> None:
        """Ask the server to stop, and drop whatever still comes. Does not wait."""
        if not self.finished and self._client.ended is None:
            self.cancel()
        self._client._forget(self._state)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.abandon()


@asynccontextmanager
async def connect(
    path: str,
    *,
    name: str = "affs_ctl trio",
    session: str = "",
    auth: dict[str, Value] | None = None,
    timeout_s: float = 10.0,
) -> AsyncIterator["Client"]:
    """A client that is connected to the socket at path and welcomed, for the length of the block;
    what is in flight at its end is cancelled.

    timeout_s: for the connection and the welcome together. AffsError "client.socket_path" (a path
    that is too long), "client.unreachable" (nobody listens, or no answer), "client.denied" (no
    right to connect); RemoteError when the server refuses. What the block raises comes out as it
    is, in no group.
    """
    failure: BaseException | None = None
    stream = await _connected(path, timeout_s)
    async with stream, trio.open_nursery() as nursery:
        client = Client(stream)
        nursery.start_soon(client._write)
        nursery.start_soon(client._read)
        try:
            await client._greet(Hello(client=name, session=session, auth=auth), path, timeout_s)
            yield client
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again below
            failure = error
        client._exchange.end(closed("the client has closed the connection"))
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


class Client:
    """A connection; `connect` makes it. Of one trio run, for any number of its tasks."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self._stream = stream
        self._exchange = Exchange()
        self._news = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._sent = trio.lowlevel.ParkingLot()
        self._to_send = trio.lowlevel.ParkingLot()
        self._outgoing: list[bytes] = []
        self._outgoing_bytes = 0

    @property
    def welcome(self) -> Welcome:
        """What the server said about itself, the volume and this client's role."""
        assert self._exchange.welcome is not None, "connect gives a client that is welcome"
        return self._exchange.welcome

    @property
    def ended(self) -> AffsError | None:
        """Why the connection is of no more use; None while it is."""
        return self._exchange.ended

    async def start(
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
        """Send a request, as a line or as a command with args; the fields are those of `Request`.

        It waits only while OUTGOING_BYTES_MAX wait to be sent; cancelled then, nothing was sent.
        """
        await trio.lowlevel.checkpoint()
        while self._outgoing_bytes >= OUTGOING_BYTES_MAX and self._exchange.ended is None:
            await self._sent.park()
        self._check_open()
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
        self._queue(frame)
        return Call(self, state)

    async def run(self, line: str, **options: Any) -> Value:
        """The answer to a line; options are those of `start`. Cancelled, it cancels the request."""
        async with await self.start(line, **options) as call:
            return await call.result()

    async def command(
        self, name: str, args: dict[str, Value] | None = None, **options: Any
    ) -> Value:
        """The answer to a command with arguments; else as `run`."""
        async with await self.start(command=name, args=args, **options) as call:
            return await call.result()

    async def next_event(self) -> Event:
        """The next event that belongs to no request. The oldest go when 1024 wait."""
        await trio.lowlevel.checkpoint()
        while not self._exchange.events:
            await self._wait()
        return self._exchange.events.popleft()

    # ---- for calls and connect ----

    async def _greet(self, hello: Hello, path: str, timeout_s: float) -> None:
        self._put(hello)
        with trio.move_on_after(timeout_s):
            while self._exchange.welcome is None:
                self._exchange.check_refusal()
                await self._wait()
            return
        raise connect_error(path, OSError(f"no welcome within {timeout_s:g} s"))

    def _put(self, message: Hello | Cancel) -> None:
        self._check_open()
        self._queue(self._exchange.encode(message))

    def _taken(self, state: CallState, part: Part) -> None:
        self._room.unpark_all()
        credit = state.credit() if isinstance(part, Item) else None
        if credit is not None and self._exchange.ended is None:
            self._queue(self._exchange.encode(credit))

    def _forget(self, state: CallState) -> None:
        self._exchange.forget(state.request.id)
        self._room.unpark_all()

    async def _wait(self) -> None:
        """Until something has come."""
        if self._exchange.ended is not None:
            raise self._exchange.ended
        await self._news.park()

    def _check_open(self) -> None:
        if self._exchange.ended is not None:
            raise self._exchange.ended

    def _queue(self, frame: bytes) -> None:
        self._outgoing.append(frame)
        self._outgoing_bytes += len(frame)
        self._to_send.unpark_all()

    # ---- the two tasks of a connection ----

    async def _write(self) -> None:
        while True:
            while not self._outgoing:
                await self._to_send.park()
            frames = b"".join(self._outgoing)
            self._outgoing.clear()
            try:
                await self._stream.send_all(frames)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # What the server said before it closed, such as a refusal, is still to be read.
                return
            self._outgoing_bytes -= len(frames)
            self._sent.unpark_all()

    async def _read(self) -> None:
        while self._exchange.ended is None:
            while self._exchange.fullest() >= PARTS_WAITING_MAX:
                await self._room.park()
            try:
                data = bytes(await self._stream.receive_some(READ_BYTES))
                with suppress(AffsError):  # kept in the exchange: every wait raises it
                    self._exchange.receive(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._exchange.end(closed(f"receiving failed: {error.__cause__ or error}"))
            self._news.unpark_all()
        self._sent.unpark_all()


async def _connected(path: str, timeout_s: float) -> trio.SocketStream:
    check_path(path)
    with trio.move_on_after(timeout_s):
        while True:
            # Of a Unix socket connect never goes on in the background, so nothing here blocks; and
            # trio's own takes a full backlog (EAGAIN) for a connection.
            stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            stream.setblocking(False)
            try:
                stream.connect(path)
                return trio.SocketStream(trio.socket.from_stdlib_socket(stream))
            except BlockingIOError:
                stream.close()  # the server's backlog is full
            except OSError as error:
                stream.close()
                raise connect_error(path, error) from None
            await trio.sleep(_BACKLOG_WAIT_S)
    raise connect_error(path, OSError(f"its backlog was full for {timeout_s:g} s"))
