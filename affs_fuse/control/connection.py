"""One client: its frames, its session, its requests.

Invariants: one reader, one writer, a task per request; whatever a client does or leaves undone
holds up its own requests alone; when it goes, its requests are cancelled; no exception leaves
`Connection.run`.
"""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

import trio

from affs_fuse import __version__
from affs_fuse.auv import AuvError, Value
from affs_fuse.control.outbox import Outbox
from affs_fuse.control.turns import Turns, pieces
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import (
    Answer,
    Cancel,
    Credit,
    Event,
    Failure,
    Hello,
    Item,
    Malformed,
    Progress,
    Received,
    Request,
    RequestId,
    ServerConnection,
    ServerMessage,
    Welcome,
)
from affs_fuse.runtime.dispatcher import Dispatcher, Running
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.session import Session

__all__ = ["Connection", "ConnectionLimits"]

_log = logging.getLogger("affs.control")

_READ_BYTES = 64 << 10
_FAREWELL_S = 2.0
_CLIENT_NAME_CHARACTERS_MAX = 64


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """hello_s: from connect to a valid hello. frame_s: from the first byte of a frame to its last.
    send_s: for the client to take what waits for it (a person in a pager may take a while).
    Seconds."""

    frame_bytes_max: int = 16 << 20
    requests_max: int = 64
    hello_s: float = 10.0
    frame_s: float = 30.0
    send_s: float = 600.0


class _RequestReply:
    """The way back of one request (runtime.command.Reply). window: items the client has room
    for."""

    def __init__(
        self,
        request: Request,
        put: Callable[[ServerMessage], Awaitable[None]],
    ) -> None:
        self._id = request.id
        self._put = put
        self._room = request.window
        self._credited = trio.Event()

    def credit(self, count: int) -> None:
        if self._room is not None:
            self._room += count
            self._credited.set()

    async def item(self, value: Value) -> None:
        while self._room is not None and self._room <= 0:
            self._credited = trio.Event()
            await self._credited.wait()
        if self._room is not None:
            self._room -= 1
        await self._put(Item(self._id, value))

    async def progress(self, done: int, total: int | None, unit: str, note: str = "") -> None:
        await self._put(Progress(self._id, done, total, unit, note))

    async def event(self, event: Plain) -> None:
        await self._put(Event(event, self._id))


class Connection:
    """pending: told of the bytes that this connection holds of an unfinished frame; False means
    that the server has no room for them."""

    def __init__(
        self,
        stream: trio.SocketStream,
        identity: Identity,
        dispatcher: Dispatcher,
        volume: Plain,
        limits: ConnectionLimits,
        pending: Callable[["Connection", int], bool],
        turns: Turns,
    ) -> None:
        self._stream = stream
        self._identity = identity
        self._dispatcher = dispatcher
        self._volume = volume
        self._limits = limits
        self._pending = pending
        self._turns = turns
        self._protocol = ServerConnection(
            frame_bytes_max=limits.frame_bytes_max, requests_max=limits.requests_max
        )
        self._outbox = Outbox()
        self._replies: dict[RequestId, _RequestReply] = {}
        self._session: Session | None = None
        self._read_deadline = trio.current_time() + limits.hello_s

    async def run(self) -> None:
        """Until the client goes, breaks the protocol or falls asleep. Raises only trio's
        cancellation."""
        try:
            async with trio.open_nursery() as nursery:
                scope = nursery.cancel_scope
                nursery.start_soon(self._guarded, scope, self._write, scope)
                await self._guarded(scope, self._converse)
                with trio.move_on_after(_FAREWELL_S):
                    await self._outbox.wait_drained()
                scope.cancel()
        finally:
            self._pending(self, 0)
            if self._session is not None:
                self._dispatcher.sessions.detach(self._session)
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(self._stream)

    async def _guarded(
        self, scope: trio.CancelScope, function: Callable[..., Awaitable[None]], *arguments: object
    ) -> None:
        """Whatever goes wrong in here ends this connection and nothing else."""
        try:
            await function(*arguments)
        except Exception:  # noqa: BLE001 - a failure of ours, logged with its traceback
            _log.exception("a control connection failed", extra={"fields": self._fields()})
            scope.cancel()

    async def _converse(self) -> None:
        """Read to the end; requests that still run are then cancelled."""
        async with trio.open_nursery() as requests:
            await self._read(requests)
            requests.cancel_scope.cancel()

    def _fields(self) -> dict[str, object]:
        return {"uid": self._identity.uid, "pid": self._identity.pid}

    async def _read(self, requests: trio.Nursery) -> None:
        while True:
            data = await self._receive()
            if data is None:
                return
            came = False
            for piece in pieces(data, self._protocol.pending_bytes):
                take_in = partial(self._take_in, piece, requests)
                messages, rest = await self._turns.take(self._identity.uid, take_in)
                came = came or bool(messages)
                for message in rest:
                    if not await self._handle(message, requests):
                        return
            if not data:
                return
            self._set_read_deadline(came)
            if not self._pending(self, self._protocol.pending_bytes):
                await self._refuse(
                    AffsError(
                        "control.memory",
                        Category.BUSY,
                        "too many large requests are arriving at once",
                        hint="try again in a moment",
                        retryable=True,
                    )
                )
                return

    def _take_in(
        self, piece: bytes, requests: trio.Nursery
    ) -> tuple[list[Received], list[Received]]:
        """(messages that the piece ends, those of them that are still to be handled). A request
        that comes alone, as most do, is on its way already: nothing else begins in this turn."""
        messages = self._protocol.receive(piece)
        if len(messages) == 1 and isinstance(messages[0], Request):
            self._begin(messages[0], requests, alone=True)
            return messages, []
        return messages, messages

    def _begin(self, request: Request, requests: trio.Nursery, *, alone: bool) -> None:
        assert self._session is not None, "the protocol lets nothing pass before hello"
        reply = self._replies[request.id] = _RequestReply(request, self._put)
        running = self._dispatcher.admit(self._session, request)
        scope = requests.cancel_scope
        requests.start_soon(self._guarded, scope, self._serve, running, reply, alone)

    async def _receive(self) -> bytes | None:
        """What the client sent, b"" at its end; None when it is too slow or gone."""
        before = self._protocol.pending_bytes
        try:
            with trio.move_on_at(self._read_deadline) as scope:
                data = await self._stream.receive_some(_READ_BYTES)
        except trio.BrokenResourceError:
            return None
        if scope.cancelled_caught:
            what = "hello" if not self._protocol.greeted else "the rest of a frame"
            await self._refuse(
                AffsError(
                    "control.too_slow",
                    Category.DEADLINE,
                    f"{what} did not come in time",
                    details={"pending_bytes": before},
                )
            )
            return None
        return bytes(data)

    def _set_read_deadline(self, message_came: bool) -> None:
        """A greeted client may be silent for ever, but not inside a frame."""
        if not self._protocol.greeted:
            return
        if not self._protocol.pending_bytes:
            self._read_deadline = float("inf")
        elif message_came or self._read_deadline == float("inf"):
            self._read_deadline = trio.current_time() + self._limits.frame_s

    async def _refuse(self, error: AffsError) -> None:
        """An error about the connection as a whole; it is closed next."""
        with trio.move_on_after(_FAREWELL_S):
            await self._put(Failure(None, error.to_auv()))

    async def _handle(self, message: Received, requests: trio.Nursery) -> bool:
        """False: the connection is at its end."""
        if isinstance(message, Malformed):
            await self._put(message.reply)
            return not message.fatal
        if isinstance(message, Hello):
            return await self._greet(message)
        if isinstance(message, Request):
            self._begin(message, requests, alone=False)
        elif isinstance(message, Credit):
            if (found := self._replies.get(message.id)) is not None:
                found.credit(message.count)
        elif isinstance(message, Cancel):
            assert self._session is not None, "the protocol lets nothing pass before hello"
            self._dispatcher.cancel(self._session, message.id)
        return True

    async def _greet(self, hello: Hello) -> bool:
        """False: it is not who it says, or the session is taken; the connection is at its end."""
        client = hello.client[:_CLIENT_NAME_CHARACTERS_MAX]
        try:
            session, resumed = self._dispatcher.sessions.greet(
                self._identity, client, hello.session, hello.auth
            )
        except AffsError as error:
            _log.warning("a hello was refused: %s", error.message, extra={"fields": self._fields()})
            await self._refuse(error)
            return False
        self._session = session
        identity = session.identity
        await self._put(
            Welcome(
                server=f"affs {__version__}",
                session=session.id,
                resumed=resumed,
                volume=self._volume,
                identity={"uid": identity.uid, "gid": identity.gid, "user": identity.user},
                role=session.role.word,
                limits={
                    "frame_bytes": self._limits.frame_bytes_max,
                    "requests": self._limits.requests_max,
                },
            )
        )
        return True

    async def _serve(self, running: Running, reply: _RequestReply, alone: bool) -> None:
        try:
            await self._turns.begin(self._identity.uid, alone=alone)
            answer = await self._dispatcher.serve(running, reply)
        finally:
            del self._replies[running.request.id]
        await self._answer(answer)

    async def _answer(self, answer: Answer | Failure) -> None:
        try:
            await self._put(answer)
        except AffsError as error:
            await self._put(Failure(answer.id, error.to_auv()))

    async def _put(self, message: ServerMessage) -> None:
        """AffsError when the message cannot be sent as it is: it is too large, or (internal) what a
        command gave is no value. It then counts as not sent."""
        try:
            frame = self._protocol.send(message)
        except AuvError as error:
            _log.error("a command gave what is no value: %s", error.message)
            raise AffsError(
                "runtime.internal", Category.INTERNAL, "the answer cannot be written as a value"
            ) from error
        await self._outbox.put(frame)

    async def _write(self, connection_scope: trio.CancelScope) -> None:
        """Until the client takes no more; the connection ends with it."""
        try:
            while True:
                data = await self._outbox.take()
                with trio.fail_after(self._limits.send_s):
                    await self._stream.send_all(data)
                self._outbox.sent(len(data))
        except trio.TooSlowError:
            _log.info("a control client stopped reading", extra={"fields": self._fields()})
        except trio.BrokenResourceError:
            _log.debug("a control client went away", extra={"fields": self._fields()})
        connection_scope.cancel()
