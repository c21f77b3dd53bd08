"""A control server over an in-memory runtime, and a client that may misbehave."""

import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
from runtime_fake import FakeRuntime

from affs_fuse.auv import decode, encode
from affs_fuse.control import ControlLimits, ControlServer, SocketFile

VOLUME = {"uuid": "0d9bcd56-5cda-4bd4-9e0b-3cbb0f3f7d4f", "label": "fake", "mountpoint": "/mnt"}


class RawClient:
    """Sends what it is told, byte for byte, and reads frames. buffer: of the socket, to be slow
    with little."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._data = b""

    @classmethod
    async def connect(cls, path: str, *, buffer: int = 0) -> "RawClient":
        raw = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        if buffer:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        await raw.connect(path)
        return cls(trio.SocketStream(raw))

    async def send(self, *messages: Any) -> None:
        for message in messages:
            payload = encode(message)
            await self.stream.send_all(struct.pack(">I", len(payload)) + payload)

    async def read(self) -> Any:
        """The next message; None at the end of the connection."""
        while len(self._data) < 4 or len(self._data) < 4 + int.from_bytes(self._data[:4], "big"):
            try:
                more = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                return None
            if not more:
                return None
            self._data += more
        end = 4 + int.from_bytes(self._data[:4], "big")
        payload, self._data = self._data[4:end], self._data[end:]
        return decode(payload)

    async def read_for(self, number: Any) -> Any:
        """The answer of one request; what comes between is dropped."""
        while (message := await self.read()) is not None:
            if message.get("id") == number and ("ok" in message or "error" in message):
                return message
        return None

    async def hello(self) -> Any:
        await self.send({"hello": {"protocol": 1, "client": "raw"}})
        return (await self.read())["welcome"]

    async def ask(self, line: str, number: int = 1, **fields: Any) -> Any:
        await self.send({"id": number, "line": line, **fields})
        return await self.read_for(number)


class Served:
    """A running server. runtime, server: to look into."""

    def __init__(self, runtime: FakeRuntime, server: ControlServer, path: str) -> None:
        self.runtime = runtime
        self.server = server
        self.path = path
        self.clients: list[RawClient] = []

    async def client(self, *, greet: bool = True, buffer: int = 0) -> RawClient:
        client = await RawClient.connect(self.path, buffer=buffer)
        self.clients.append(client)
        if greet:
            await client.hello()
        return client


@asynccontextmanager
async def serving(
    folder: Path, limits: ControlLimits | None = None, mode: int = 0o600
) -> AsyncIterator[Served]:
    runtime = FakeRuntime()
    server = ControlServer(runtime.dispatcher, VOLUME, limits)
    path = str(folder / "c.sock")
    with SocketFile.open(path, mode=mode) as socket_file:
        async with trio.open_nursery() as nursery:
            await nursery.start(server.run, socket_file)
            served = Served(runtime, server, path)
            try:
                yield served
            finally:
                nursery.cancel_scope.cancel()
                for client in served.clients:
                    client.stream.socket.close()
