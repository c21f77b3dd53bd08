"""Those who attack: processes, of this user or another, that send until they have sent enough.

    python -m affs_tools.siege.attackers SOCKET SEED MESSAGES UID

prints one JSON object at the end: messages sent, answers read, connections made.
"""

import contextlib
import json
import os
import random
import socket
import struct
import sys
import time
from collections.abc import Callable

from affs_tools.parent import end_with_parent
from affs_tools.siege.messages import bomb, frame, hello, honest, hostile

__all__ = ["main"]

CROWD = 1000
WAIT_S = 0.3


class Attacker:
    """path: of the socket."""

    def __init__(self, path: str, seed: int) -> None:
        self._path = path
        self._chance = random.Random(seed)
        self.sent = self.read_bytes = self.connections = 0
        self._idle: list[socket.socket] = []

    def connect(self) -> socket.socket | None:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # A full backlog is waited for, which a socket with a timeout of Python's own would not.
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 2, 0))
        try:
            connected.connect(self._path)
        except OSError:
            connected.close()
            return None
        self.connections += 1
        connected.settimeout(WAIT_S)
        return connected

    def run(self, messages: int) -> None:
        """Until so many were sent."""
        ways: list[tuple[Callable[[], None], int]] = [
            (self._talk, 60), (self._talk_without_hello, 10), (self._never_read, 4),
            (self._hang_up, 10), (self._slow, 2), (self._bombs, 1), (self._stay, 3),
        ]
        choices = [way for way, weight in ways for _ in range(weight)]
        self._crowd()
        while self.sent < messages:
            with contextlib.suppress(OSError):
                self._chance.choice(choices)()
        for connected in self._idle:
            connected.close()

    def _send(self, connected: socket.socket, data: bytes) -> None:
        self.sent += 1
        connected.sendall(data)

    def _drain(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while data := connected.recv(1 << 16):
                self.read_bytes += len(data)
        connected.settimeout(WAIT_S)

    def _talk(self) -> None:
        """Hostile messages among honest ones, as an accepted client."""
        self._converse(greet=True)

    def _talk_without_hello(self) -> None:
        self._converse(greet=False)

    def _converse(self, *, greet: bool) -> None:
        connected = self.connect()
        if connected is None:
            return
        with connected:
            if greet:
                self._send(connected, hello())
            for number in range(1 + self._chance.randrange(80)):
                make = honest if self._chance.random() < 0.1 else hostile
                self._send(connected, make(self._chance, number))
                if number % 8 == 0:
                    self._drain(connected)
            connected.shutdown(socket.SHUT_WR)
            while data := connected.recv(1 << 16):
                self.read_bytes += len(data)

    def _never_read(self) -> None:
        """Ask for much and take nothing."""
        connected = self.connect()
        if connected is None:
            return
        with connected:
            self._send(connected, hello())
            for number in range(300):
                self._send(connected, honest(self._chance, number))

    def _hang_up(self) -> None:
        for _ in range(5):
            connected = self.connect()
            if connected is not None:
                with connected:
                    self._send(connected, hello()[: self._chance.randrange(30)])

    def _slow(self) -> None:
        """A frame byte by byte, and never its end."""
        connected = self.connect()
        if connected is None:
            return
        data = frame(b"\xc0" * 5000)
        for at in range(20):
            connected.sendall(data[at : at + 1])
            time.sleep(0.002)
        self.sent += 1
        self._keep(connected)

    def _bombs(self) -> None:
        connected = self.connect()
        if connected is None:
            return
        with connected:
            self._send(connected, hello())
            self._send(connected, bomb(self._chance))
            connected.settimeout(2)
            self.read_bytes += len(connected.recv(1 << 16))

    def _stay(self) -> None:
        """Half of a large frame, and silence."""
        connected = self.connect()
        if connected is not None:
            self._send(connected, hello())
            connected.sendall(frame(b"\xc0" * (1 << 20))[: 1 << 19])
            self._keep(connected)

    def _keep(self, connected: socket.socket) -> None:
        self._idle.append(connected)
        if len(self._idle) > 200:
            self._idle.pop(0).close()

    def _crowd(self) -> None:
        """A thousand connections at once, some of them greeted."""
        crowd = []
        for number in range(CROWD):
            connected = self.connect()
            if connected is None:
                continue
            crowd.append(connected)
            if number % 3 == 0:
                with contextlib.suppress(OSError):
                    self._send(connected, hello())
        for connected in crowd:
            with contextlib.suppress(OSError):
                self._drain(connected)
            connected.close()


def main(path: str, seed: int, messages: int, uid: int) -> None:
    end_with_parent()
    os.nice(19)  # what they take of the processors is not the daemon's doing
    if uid != os.geteuid():
        os.setgroups([])
        os.setgid(uid)
        os.setuid(uid)
    attacker = Attacker(path, seed)
    attacker.run(messages)
    print(json.dumps({
        "messages": attacker.sent, "read_bytes": attacker.read_bytes,
        "connections": attacker.connections,
    }))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
