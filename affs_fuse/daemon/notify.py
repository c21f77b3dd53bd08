"""Telling the service manager how things stand: sd_notify(3) without libsystemd.

Invariant: a missing or broken socket never disturbs the mount; the first failure is the last try.
"""

import logging
import socket

__all__ = ["Notifier"]

_log = logging.getLogger("affs.daemon")


class Notifier:
    """Datagrams to NOTIFY_SOCKET; with path "" every method does nothing."""

    def __init__(self, path: str) -> None:
        self._address = "\0" + path[1:] if path.startswith("@") else path

    def ready(self, status: str) -> None:
        """The mount answers."""
        self._send(f"READY=1\nSTATUS={status}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def stopping(self, status: str, extend_s: float) -> None:
        """Shutting down; ask for extend_s seconds before the manager loses patience."""
        self._send(f"STOPPING=1\nSTATUS={status}\nEXTEND_TIMEOUT_USEC={int(extend_s * 1e6)}")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.sendto(text.encode(), self._address)
        except OSError as error:
            _log.warning("cannot tell the service manager at %s: %s", self._address, error)
            self._address = ""
