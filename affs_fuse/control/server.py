"""The server of the control socket (docs/specs/ControlProtocol.md): who gets in, and how many.

Invariants: connections, and the bytes of unfinished frames over all of them, are bounded; one user
cannot take all places, and root always finds one; no client and no exception ends
`ControlServer.run`.
"""

import logging
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field, replace

import trio

from affs_fuse.control.connection import Connection, ConnectionLimits
from affs_fuse.control.peer import peer_identity, user_name
from affs_fuse.control.socket_file import SocketFile
from affs_fuse.control.turns import Turns
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Failure, ServerConnection, path_fields
from affs_fuse.runtime.dispatcher import Dispatcher
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain

__all__ = ["ControlLimits", "ControlServer", "ControlStatistics"]

_log = logging.getLogger("affs.control")

_NAME_LOOKUP_S = 2.0
_NAMES_KEPT_MAX = 256


@dataclass(frozen=True, slots=True)
class ControlLimits:
    """connections_max: of all users; root has root_connections more. connections_per_uid_max: not
    for root. pending_bytes_max: of unfinished frames of all connections; a connection that holds
    less than pending_bytes_small is never refused for it."""

    connections_max: int = 512
    connections_per_uid_max: int = 256
    root_connections: int = 16
    pending_bytes_max: int = 128 << 20
    pending_bytes_small: int = 64 << 10
    connection: ConnectionLimits = field(default_factory=ConnectionLimits)


@dataclass(frozen=True, slots=True)
class ControlStatistics:
    """connections: open now. refused: for want of a place, since the start. pending_bytes: of
    unfinished frames."""

    connections: int
    refused: int
    pending_bytes: int


class ControlServer:
    """Serves one socket. volume: what `welcome` says about the volume (uuid, label, and
    mountpoint as `os.fsdecode` gives it)."""

    def __init__(
        self, dispatcher: Dispatcher, volume: Plain, limits: ControlLimits | None = None
    ) -> None:
        self._dispatcher = dispatcher
        self._volume = {**volume, **path_fields("mountpoint", volume["mountpoint"])}
        self._limits = limits or ControlLimits()
        self._by_uid: Counter[int] = Counter()
        self._pending: dict[Connection, int] = {}
        self._pending_bytes = 0
        self._refused = 0
        self._turns = Turns()
        self._names: OrderedDict[int, str] = OrderedDict()

    def statistics(self) -> ControlStatistics:
        return ControlStatistics(self._by_uid.total(), self._refused, self._pending_bytes)

    async def run(
        self,
        socket_file: SocketFile,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serves until it is cancelled; then open connections end and their requests are cancelled.
        The socket file is the caller's to close."""
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(socket_file.socket))
        async with trio.open_nursery() as nursery:
            task_status.started()
            await trio.serve_listeners(self._client, [listener], handler_nursery=nursery)

    async def _client(self, stream: trio.SocketStream) -> None:
        try:
            identity = peer_identity(stream.socket)
        except OSError as error:
            _log.warning("a control connection without credentials: %s", error)
            await trio.aclose_forcefully(stream)
            return
        refusal = self._admit(identity)
        if refusal is not None:
            self._refused += 1
            await _turn_away(stream, refusal)
            return
        self._by_uid[identity.uid] += 1
        try:
            identity = replace(identity, user=await self._user(identity.uid))
            await Connection(
                stream,
                identity,
                self._dispatcher,
                self._volume,
                self._limits.connection,
                self._hold_pending,
                self._turns,
            ).run()
        finally:
            self._by_uid[identity.uid] -= 1
            if not self._by_uid[identity.uid]:
                del self._by_uid[identity.uid]

    def _admit(self, identity: Identity) -> AffsError | None:
        root = identity.uid == 0
        room = self._limits.connections_max + (self._limits.root_connections if root else 0)
        if self._by_uid.total() >= room:
            return _no_place(f"all {room} connections are in use")
        if not root and self._by_uid[identity.uid] >= self._limits.connections_per_uid_max:
            return _no_place(
                f"user {identity.uid} has all {self._limits.connections_per_uid_max} "
                "connections that one may have"
            )
        return None

    def _hold_pending(self, connection: Connection, size: int) -> bool:
        self._pending_bytes += size - self._pending.pop(connection, 0)
        if size:
            self._pending[connection] = size
        return (
            size <= self._limits.pending_bytes_small
            or self._pending_bytes <= self._limits.pending_bytes_max
        )

    async def _user(self, uid: int) -> str:
        name = self._names.get(uid)
        if name is not None:
            return name
        name = str(uid)
        with trio.move_on_after(_NAME_LOOKUP_S):
            name = await trio.to_thread.run_sync(user_name, uid, abandon_on_cancel=True)
            self._names[uid] = name
            if len(self._names) > _NAMES_KEPT_MAX:
                self._names.popitem(last=False)
        return name


def _no_place(problem: str) -> AffsError:
    return AffsError(
        "control.connections",
        Category.BUSY,
        problem,
        hint="close some, or use one connection for many requests",
        retryable=True,
    )


async def _turn_away(stream: trio.SocketStream, error: AffsError) -> None:
    """One small frame fits every socket buffer, so it is not waited for."""
    frame = ServerConnection().send(Failure(None, error.to_auv()))
    try:
        # Who has gone again needs no reason.
        with trio.move_on_after(1), suppress(trio.BrokenResourceError):
            await stream.send_all(frame)
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)
