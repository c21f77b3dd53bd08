"""What the blocking and the trio client have in common: requests in flight and what has come for
them, without I/O (docs/specs/ControlProtocol.md).

Bytes to send come out of `hello`, `request` and `cancel`, bytes received go into `receive`.
Invariants: a message goes to the call of its id alone; the parts of a call keep their order and
end with its answer, progress that nobody has read yet apart: of that the newest is enough; after
the connection has ended, `ended` says why.
"""

from collections import deque
from typing import TypeAlias

from affs_fuse.auv import AuvError, Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import (
    Answer,
    Cancel,
    ClientConnection,
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

__all__ = [
    "EVENTS_KEPT_MAX",
    "READ_BYTES",
    "SOCKET_PATH_BYTES_MAX",
    "WINDOW_ITEMS",
    "CallState",
    "Exchange",
    "Part",
    "check_path",
    "closed",
    "connect_error",
]

SOCKET_PATH_BYTES_MAX = 107
"""What Linux takes in sockaddr_un, the final zero apart."""

EVENTS_KEPT_MAX = 1024
"""Events that belong to no request; the oldest go when more wait."""

WINDOW_ITEMS = 256
READ_BYTES = 64 << 10

Part: TypeAlias = Progress | Item | Event
"""What comes for a request before its answer."""


class CallState:
    """One request in flight. end: its answer, None until it is here. items: of parts that `result`
    has read."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.end: Answer | Failure | None = None
        self.items: list[Value] = []
        self._parts: deque[Part] = deque()
        self._uncredited_count = 0

    @property
    def parts_waiting(self) -> int:
        return len(self._parts)

    def take(self) -> Part | None:
        """The next part; None when none waits."""
        return self._parts.popleft() if self._parts else None

    def credit(self) -> Credit | None:
        """An item was taken: what to tell the server about it, half a window at a time."""
        window = self.request.window
        if window is None or self.end is not None:
            return None
        self._uncredited_count += 1
        if self._uncredited_count * 2 < window:
            return None
        credit = Credit(self.request.id, self._uncredited_count)
        self._uncredited_count = 0
        return credit

    def value(self) -> Value:
        """Of the answer, which has to be here; RemoteError when it is an error."""
        assert self.end is not None, "parts end with the answer"
        if isinstance(self.end, Failure):
            raise error_from_auv(self.end.error)
        return self.end.ok

    def deliver(self, message: Part | Answer | Failure) -> None:
        if isinstance(message, Answer | Failure):
            self.end = message
            return
        newest = self._parts[-1] if self._parts else None
        if isinstance(message, Progress) and isinstance(newest, Progress):
            self._parts[-1] = message
        else:
            self._parts.append(message)


class Exchange:
    """One connection. welcome: None until the server has said it."""

    def __init__(self) -> None:
        self._connection = ClientConnection()
        self._calls: dict[RequestId, CallState] = {}
        self._refusal: Failure | None = None
        self.welcome: Welcome | None = None
        self.events: deque[Event] = deque(maxlen=EVENTS_KEPT_MAX)
        self.ended: AffsError | None = None

    def encode(self, message: Hello | Cancel | Credit) -> bytes:
        """The bytes of a message that is no request."""
        return self._connection.send(message)

    def request(
        self,
        *,
        line: str | None,
        command: str | None,
        args: dict[str, Value] | None,
        session: dict[str, Value] | None,
        trace: str,
        deadline_ms: int | None,
        idempotency_key: str,
        window: int | None,
    ) -> tuple[CallState, bytes]:
        """A new request and its bytes; AffsError when it cannot go as it is."""
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
        frame = self._connection.send(request)
        state = CallState(request)
        self._calls[request.id] = state
        return state, frame

    def check_refusal(self) -> None:
        """RemoteError when the server has said something about the connection as a whole."""
        if self._refusal is not None:
            raise error_from_auv(self._refusal.error)

    def forget(self, number: RequestId) -> None:
        """Whatever still comes for this request is dropped."""
        self._calls.pop(number, None)

    def fullest(self) -> int:
        """Parts that wait in the call where most do."""
        return max((state.parts_waiting for state in self._calls.values()), default=0)

    def receive(self, data: bytes) -> None:
        """Bytes from the server, b"" at their end. AffsError, which `ended` then keeps: what the
        server said when it refused, else "client.closed"."""
        try:
            for message in self._connection.receive(data):
                self._dispatch(message)
        except (AuvError, RemoteProtocolError) as error:
            raise self.end(closed(f"the server sent nonsense: {error.message}")) from None
        if data:
            return
        if self._refusal is not None:
            raise self.end(error_from_auv(self._refusal.error))
        raise self.end(closed("the server has closed the connection"))

    def end(self, error: AffsError) -> AffsError:
        """No more will come: every later wait raises this. Gives the error that stands."""
        if self.ended is None:
            self.ended = error
        return self.ended

    def _dispatch(self, message: ServerMessage) -> None:
        if isinstance(message, Welcome):
            self.welcome = message
        elif message.id is None:
            if isinstance(message, Event):
                self.events.append(message)
            elif isinstance(message, Failure):
                self._refusal = message
        else:
            state = self._calls.get(message.id)
            if state is None:
                return
            state.deliver(message)
            if state.end is not None:
                del self._calls[message.id]


def check_path(path: str) -> None:
    """AffsError "client.socket_path" when the path is longer than a socket's may be."""
    if len(path.encode("utf-8", "surrogateescape")) > SOCKET_PATH_BYTES_MAX:
        raise AffsError(
            "client.socket_path",
            Category.INVALID,
            f"the socket's path has more than {SOCKET_PATH_BYTES_MAX} bytes: {path!r}",
            hint="choose a shorter one by the mount option control=PATH",
        )


def connect_error(path: str, problem: OSError) -> AffsError:
    """Why there is no connection: "client.denied" or "client.unreachable"."""
    if isinstance(problem, PermissionError):
        return AffsError(
            "client.denied",
            Category.DENIED,
            f"no right to connect to {path!r}",
            hint="ask the mount's owner, or use the mount options control_mode and control_group",
        )
    return AffsError(
        "client.unreachable",
        Category.IO,
        f"no daemon answers at {path!r}: {problem.strerror or problem}",
        hint="is the volume mounted? findmnt -t fuse.affs lists the mounts",
        retryable=True,
    )


def closed(problem: str) -> AffsError:
    return AffsError("client.closed", Category.IO, problem, retryable=True)
