"""The server's side of a connection, played by a test."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import pytest

from affs_fuse.protocol import Hello, ServerConnection, ServerMessage, Welcome

WELCOME = Welcome("server 1", "s-1", volume={"label": "test"}, role="admin")


class Peer:
    """The server's side of one connection, blocking; a script calls it."""

    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self.connection = ServerConnection()
        self._waiting: list[Any] = []

    def next(self) -> Any:
        while not self._waiting:
            data = self.stream.recv(1 << 16)
            if not data:
                raise ConnectionResetError("the client has gone")
            self._waiting += self.connection.receive(data)
        return self._waiting.pop(0)

    def send(self, *messages: ServerMessage) -> None:
        self.stream.sendall(b"".join(self.connection.send(message) for message in messages))

    def greet(self) -> Hello:
        hello = self.next()
        assert isinstance(hello, Hello)
        self.send(WELCOME)
        return hello


Script = Callable[[Peer], None]
Serve = Callable[[Script], str]


def gone(peer: Peer) -> None:
    """Wait until the client has closed."""
    with contextlib.suppress(ConnectionResetError):
        pytest.fail(f"unexpected {peer.next()}")
