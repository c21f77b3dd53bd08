"""The daemon that has a volume mounted for writing, as another daemon on the same machine sees it:
where its socket is, and one request after the other (docs/specs/ControlProtocol.md).
"""

import os
import stat
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import (
    Announcement,
    Answer,
    ClientConnection,
    ClientMessage,
    Failure,
    Hello,
    Request,
    ServerMessage,
    Welcome,
    error_from_auv,
)
from affs_fuse.protocol.announcement import ANNOUNCEMENT_BYTES_MAX

__all__ = ["ANSWER_TIMEOUT_S", "Owner", "connect_owner", "find_owner"]

ANSWER_TIMEOUT_S = 10.0
READ_BYTES = 64 << 10


def find_owner(paths: Sequence[str], uuid: str) -> str:
    """The socket that one of these announcements names, "" if none does. Only files of root or of
    our own user are believed."""
    for path in paths:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            continue
        with open(handle, "rb") as file:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode) or found.st_uid not in (0, os.geteuid()):
                continue
            data = file.read(ANNOUNCEMENT_BYTES_MAX + 1)
        try:
            announced = Announcement.parse(data)
        except AffsError:
            continue
        if announced.uuid == uuid and not announced.view:
            return announced.socket
    return ""


class Owner:
    """A connection, for any number of tasks; their requests go one after the other."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._protocol = ClientConnection()
        self._received: deque[ServerMessage] = deque()
        self._turn = trio.Lock()

    async def greet(self, name: str, uuid: str) -> None:
        """Errors: owner.lost; owner.other (another volume's daemon); what the daemon says."""
        await self._send(Hello(client=name))
        welcome = await self._receive()
        if isinstance(welcome, Failure):
            raise error_from_auv(welcome.error)
        volume = welcome.volume if isinstance(welcome, Welcome) else {}
        if volume.get("uuid") != uuid:
            raise AffsError(
                "owner.other", Category.CONFLICT, "the socket belongs to another volume's daemon"
            )

    async def ask(self, command: str, args: dict[str, Value]) -> dict[str, Any]:
        """The answer, an object. Errors: owner.lost; what the daemon says (RemoteError)."""
        async with self._turn:
            request = Request(self._protocol.next_id(), command=command, args=args)
            await self._send(request)
            while True:
                message = await self._receive()
                if isinstance(message, Failure):
                    raise error_from_auv(message.error)
                if isinstance(message, Answer):
                    if not isinstance(message.ok, dict):
                        raise _lost(f"no object answers {command}")
                    return message.ok

    async def _send(self, message: ClientMessage) -> None:
        try:
            with trio.fail_after(ANSWER_TIMEOUT_S):
                await self._stream.send_all(self._protocol.send(message))
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            raise _lost(f"it takes nothing: {error}") from error

    async def _receive(self) -> ServerMessage:
        while not self._received:
            try:
                with trio.fail_after(ANSWER_TIMEOUT_S):
                    data = bytes(await self._stream.receive_some(READ_BYTES))
            except (trio.BrokenResourceError, trio.TooSlowError) as error:
                raise _lost(f"no answer: {error}") from error
            if not data:
                raise _lost("it has closed the connection")
            self._received.extend(self._protocol.receive(data))
        return self._received.popleft()


def _lost(problem: str) -> AffsError:
    return AffsError(
        "owner.lost", Category.IO, f"the daemon that has the volume: {problem}", retryable=True
    )


@asynccontextmanager
async def connect_owner(path: str, name: str, uuid: str) -> AsyncIterator[Owner]:
    """Errors: owner.lost when nobody answers there, owner.other, and what the daemon says."""
    try:
        with trio.fail_after(ANSWER_TIMEOUT_S):
            stream = await trio.open_unix_socket(path)
    except (OSError, ValueError, trio.TooSlowError) as error:
        raise _lost(f"{path}: {error}") from error
    async with stream:
        owner = Owner(stream)
        await owner.greet(name, uuid)
        yield owner
