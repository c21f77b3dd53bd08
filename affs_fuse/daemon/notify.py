"""Telling the service manager how things stand: sd_notify(3) without libsystemd.

Invariants:
- A missing, broken or stuffed socket never disturbs the mount: nothing waits, the first failure is
  the last try, and what a reader has no room for is left out.
- A path or a reason cannot forge a field: it stays on its line.
"""

import errno
import logging
import socket

__all__ = ["Notifier"]

_log = logging.getLogger("affs.daemon")


class Notifier:
    """Datagrams to NOTIFY_SOCKET; with path "" every method does nothing."""

    def __init__(self, path: str) -> None:
        self._address = "\0" + path[1:] if path.startswith("@") else path

    @property
    def listened_to(self) -> bool:
        """Whether there is anybody to tell, and telling has worked so far."""
        return bool(self._address)

    def ready(self, status: str) -> None:
        """The mount answers."""
        self._send(f"READY=1\nSTATUS={_line(status)}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={_line(text)}")

    def stopping(self, status: str, extend_s: float) -> None:
        """Shutting down; ask for extend_s seconds before the manager loses patience."""
        extend_us = int(extend_s * 1e6)
        self._send(f"STOPPING=1\nSTATUS={_line(status)}\nEXTEND_TIMEOUT_USEC={extend_us}")

    def watchdog(self) -> None:
        """Still alive."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sender:
                sender.sendto(text.encode(errors="replace"), self._address)
        except OSError as error:
            if error.errno == errno.EAGAIN:
                return
            _log.warning("cannot tell the service manager at %s: %s", self._address, error)
            self._address = ""


def _line(text: str) -> str:
    return " ".join(text.splitlines())
