"""The messages of the control channel as frozen types (docs/specs/ControlProtocol.md, "Messages").

A message is an AUV Object that is told apart by the field it holds: hello, welcome, line or
command, cancel, credit, ok, error, progress, item, event. `parse_client` and `parse_server` read
what a client and a server send; fields they do not know are ignored. Each type writes itself by
`to_auv`, leaving out what has its default.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from affs_fuse.auv import Value
from affs_fuse.errors import Category
from affs_fuse.protocol.errors import RemoteProtocolError

__all__ = [
    "PROTOCOL_MAX",
    "PROTOCOL_MIN",
    "Answer",
    "Cancel",
    "ClientMessage",
    "Credit",
    "Event",
    "Failure",
    "Hello",
    "Item",
    "Progress",
    "Request",
    "RequestId",
    "ServerMessage",
    "Welcome",
    "parse_client",
    "parse_server",
    "request_id_of",
]

PROTOCOL_MIN = 1
PROTOCOL_MAX = 1
"""The versions this code speaks, both included."""

NAME_BYTES_MAX = 256
LINE_BYTES_MAX = 1 << 20

RequestId: TypeAlias = int | str
"""Chosen by the client, unique among its requests in flight: an Int64, or a String of 1 to 256
bytes.
"""


@dataclass(frozen=True, slots=True)
class Hello:
    """The client's first message. protocol: the highest version it speaks, minimum: the lowest.

    client: name and version. session: id of a session to resume, or "". auth: for an authentication
    provider other than the peer's credentials, or None.
    """

    client: str
    protocol: int = PROTOCOL_MAX
    minimum: int = PROTOCOL_MIN
    session: str = ""
    auth: dict[str, Value] | None = None

    def to_auv(self) -> dict[str, Value]:
        body: dict[str, Value] = {"protocol": self.protocol, "client": self.client}
        if self.minimum != self.protocol:
            body["minimum"] = self.minimum
        if self.session:
            body["session"] = self.session
        if self.auth is not None:
            body["auth"] = self.auth
        return {"hello": body}


@dataclass(frozen=True, slots=True)
class Welcome:
    """The server's answer to hello. protocol: the version both now speak.

    resumed: the session is the one that hello asked for. volume: {uuid, label, mountpoint ...}.
    identity: {uid, gid, user} as a provider found it. role: observer, operator or admin. limits:
    {frame_bytes, requests ...}.
    """

    server: str
    session: str
    protocol: int = PROTOCOL_MAX
    volume: dict[str, Value] = field(default_factory=dict)
    identity: dict[str, Value] = field(default_factory=dict)
    role: str = ""
    limits: dict[str, Value] = field(default_factory=dict)
    resumed: bool = False

    def to_auv(self) -> dict[str, Value]:
        return {
            "welcome": {
                "protocol": self.protocol,
                "server": self.server,
                "volume": self.volume,
                "session": self.session,
                "resumed": self.resumed,
                "identity": self.identity,
                "role": self.role,
                "limits": self.limits,
            }
        }


@dataclass(frozen=True, slots=True)
class Request:
    """A command: as a text line, or by name with args. Exactly one of line and command is not None.

    session: context that holds for this request alone (such as {"directory": "/a"}), or None.
    trace: the client's trace id, or "" for the server to choose. deadline_ms: from its arrival, or
    None. idempotency_key: "" or a key; a repeated key returns the first answer and does nothing
    again. window: items the server may send before the first credit, or None for no bound but the
    socket's.
    """

    id: RequestId
    line: str | None = None
    command: str | None = None
    args: dict[str, Value] = field(default_factory=dict)
    session: dict[str, Value] | None = None
    trace: str = ""
    deadline_ms: int | None = None
    idempotency_key: str = ""
    window: int | None = None

    def to_auv(self) -> dict[str, Value]:
        result: dict[str, Value] = {"id": self.id}
        if self.line is not None:
            result["line"] = self.line
        if self.command is not None:
            result["command"] = self.command
            result["args"] = self.args
        if self.session is not None:
            result["session"] = self.session
        if self.trace:
            result["trace"] = self.trace
        if self.deadline_ms is not None:
            result["deadline_ms"] = self.deadline_ms
        if self.idempotency_key:
            result["idempotency_key"] = self.idempotency_key
        if self.window is not None:
            result["window"] = self.window
        return result


@dataclass(frozen=True, slots=True)
class Cancel:
    """Stop a request; its answer still comes, with an error of category cancelled or a result."""

    id: RequestId

    def to_auv(self) -> dict[str, Value]:
        return {"cancel": self.id}


@dataclass(frozen=True, slots=True)
class Credit:
    """The client has room for count more items of a request with a window."""

    id: RequestId
    count: int

    def to_auv(self) -> dict[str, Value]:
        return {"credit": self.id, "count": self.count}


@dataclass(frozen=True, slots=True)
class Answer:
    """The result; the last message of its request."""

    id: RequestId
    ok: Value

    def to_auv(self) -> dict[str, Value]:
        return {"id": self.id, "ok": self.ok}


@dataclass(frozen=True, slots=True)
class Failure:
    """An error value (docs/specs/Errors.md); the last message of its request.

    id None: the error is about the connection, or about a message whose id could not be read.
    """

    id: RequestId | None
    error: dict[str, Value]

    def to_auv(self) -> dict[str, Value]:
        return {"id": self.id, "error": self.error}


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request is. done and total in unit ("bytes", "files", "nodes"); total None:
    unknown.
    """

    id: RequestId
    done: int
    total: int | None = None
    unit: str = ""
    note: str = ""

    def to_auv(self) -> dict[str, Value]:
        body = {"done": self.done, "total": self.total, "unit": self.unit, "note": self.note}
        return {"id": self.id, "progress": body}


@dataclass(frozen=True, slots=True)
class Item:
    """One part of a streamed result, in order, before the answer."""

    id: RequestId
    item: Value

    def to_auv(self) -> dict[str, Value]:
        return {"id": self.id, "item": self.item}


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened. id: of the `watch` request that asked for it, or None.

    event: an Object with at least {kind}; with {cursor, time_ns, trace} where the server keeps
    them.
    """

    event: dict[str, Value]
    id: RequestId | None = None

    def to_auv(self) -> dict[str, Value]:
        if self.id is None:
            return {"event": self.event}
        return {"id": self.id, "event": self.event}


ClientMessage: TypeAlias = Hello | Request | Cancel | Credit
ServerMessage: TypeAlias = Welcome | Answer | Failure | Progress | Item | Event


def request_id_of(message: Value) -> RequestId | None:
    """The id that an answer about this message, whatever its shape, should carry."""
    value: Any = message.get("id") if isinstance(message, dict) else None
    return value if _is_id(value) else None


def parse_client(message: Value) -> ClientMessage:
    """What a client sent; RemoteProtocolError of category invalid or unsupported otherwise."""
    fields = _object(message)
    if "hello" in fields:
        return _hello(_Fields(fields["hello"], "hello"))
    if "cancel" in fields:
        return Cancel(_Fields(fields, "cancel").id("cancel"))
    if "credit" in fields:
        reader = _Fields(fields, "credit")
        return Credit(reader.id("credit"), reader.count("count"))
    if "line" in fields or "command" in fields:
        return _request(_Fields(fields, "request"))
    raise _unknown_shape(fields, "hello, line, command, cancel or credit")


def parse_server(message: Value) -> ServerMessage:
    """What a server sent; RemoteProtocolError of category invalid or unsupported otherwise."""
    fields = _object(message)
    for name, read in _SERVER_SHAPES:
        if name in fields:
            return read(_Fields(fields, name))
    raise _unknown_shape(fields, "welcome, ok, error, progress, item or event")


def _hello(reader: "_Fields") -> Hello:
    protocol = reader.count("protocol")
    return Hello(
        client=reader.text("client", ""),
        protocol=protocol,
        minimum=reader.count("minimum", protocol),
        session=reader.text("session", ""),
        auth=reader.object("auth", None),
    )


def _request(reader: "_Fields") -> Request:
    line = reader.text("line", None, LINE_BYTES_MAX)
    command = reader.text("command", None)
    if (line is None) == (command is None):
        raise reader.fault("exactly one of line and command is wanted")
    return Request(
        id=reader.id("id"),
        line=line,
        command=command,
        args=reader.object("args", None) or {},
        session=reader.object("session", None),
        trace=reader.text("trace", ""),
        deadline_ms=reader.count("deadline_ms", None),
        idempotency_key=reader.text("idempotency_key", ""),
        window=reader.count("window", None),
    )


def _welcome(outer: "_Fields") -> Welcome:
    reader = _Fields(outer.value("welcome"), "welcome")
    return Welcome(
        server=reader.text("server", ""),
        session=reader.text("session", ""),
        protocol=reader.count("protocol"),
        volume=reader.object("volume", None) or {},
        identity=reader.object("identity", None) or {},
        role=reader.text("role", ""),
        limits=reader.object("limits", None) or {},
        resumed=reader.has("resumed") and reader.value("resumed") is True,
    )


def _failure(reader: "_Fields") -> Failure:
    number = reader.value("id") if reader.has("id") else None
    error = reader.object("error", None)
    if error is None:
        raise reader.fault("error is no Object")
    return Failure(None if number is None else reader.id("id"), error)


def _progress(outer: "_Fields") -> Progress:
    reader = _Fields(outer.value("progress"), "progress")
    return Progress(
        id=outer.id("id"),
        done=reader.count("done"),
        total=reader.count("total", None),
        unit=reader.text("unit", ""),
        note=reader.text("note", "", LINE_BYTES_MAX),
    )


def _event(reader: "_Fields") -> Event:
    event = reader.object("event", None)
    if event is None:
        raise reader.fault("event is no Object")
    return Event(event, reader.id("id") if reader.has("id") else None)


_SERVER_SHAPES: tuple[tuple[str, Callable[["_Fields"], ServerMessage]], ...] = (
    ("ok", lambda reader: Answer(reader.id("id"), reader.value("ok"))),
    ("error", _failure),
    ("item", lambda reader: Item(reader.id("id"), reader.value("item"))),
    ("progress", _progress),
    ("event", _event),
    ("welcome", _welcome),
)

_REQUIRED: Any = object()


class _Fields:
    """Typed look-ups in one Object of a message; a field that is null counts as absent."""

    def __init__(self, fields: Value, where: str) -> None:
        self._where = where
        if not isinstance(fields, dict):
            raise self.fault("an Object is wanted")
        self._fields: dict[str, Any] = fields

    def fault(self, problem: str) -> RemoteProtocolError:
        return RemoteProtocolError(
            "protocol.message_field",
            Category.INVALID,
            f"{self._where}: {problem}",
            hint="docs/specs/ControlProtocol.md lists the fields of each message",
        )

    def has(self, name: str) -> bool:
        return self._fields.get(name) is not None

    def value(self, name: str) -> Value:
        return self._fields.get(name)

    def id(self, name: str) -> RequestId:
        value: Any = self._fields.get(name)
        if not _is_id(value):
            raise self.fault(f"{name} must be an Int64 or a String of 1 to {NAME_BYTES_MAX} bytes")
        number: RequestId = value
        return number

    def count(self, name: str, default: Any = _REQUIRED) -> Any:
        """A non-negative Int64."""
        value = self._fields.get(name)
        if value is None and default is not _REQUIRED:
            return default
        if type(value) is not int or value < 0:
            raise self.fault(f"{name} must be an Int64 from 0")
        return value

    def text(self, name: str, default: Any, bytes_max: int = NAME_BYTES_MAX) -> Any:
        value = self._fields.get(name)
        if value is None:
            return default
        if not isinstance(value, str) or len(value.encode()) > bytes_max:
            raise self.fault(f"{name} must be a String of at most {bytes_max} bytes")
        return value

    def object(self, name: str, default: Any) -> Any:
        value = self._fields.get(name)
        if value is None:
            return default
        if not isinstance(value, dict):
            raise self.fault(f"{name} must be an Object")
        return value


def _is_id(value: Value) -> bool:
    if isinstance(value, str):
        return 0 < len(value.encode()) <= NAME_BYTES_MAX
    return type(value) is int


def _object(message: Value) -> dict[str, Value]:
    if isinstance(message, dict):
        return message
    raise RemoteProtocolError(
        "protocol.message_shape", Category.INVALID, "a message must be an Object"
    )


def _unknown_shape(fields: dict[str, Value], wanted: str) -> RemoteProtocolError:
    names = ", ".join(sorted(fields)[:8])[:200] or "no field"
    return RemoteProtocolError(
        "protocol.message_unknown",
        Category.UNSUPPORTED,
        f"a message with {names} is none of this protocol version",
        hint=f"a message holds one of {wanted}",
    )
