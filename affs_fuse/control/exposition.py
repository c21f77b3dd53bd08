"""Metrics for Prometheus: by HTTP on a loopback address or a Unix socket, or in a file.

Invariants:
- It answers GET and HEAD of /metrics with text, and changes nothing; nobody can ask anything else.
- Clients, the size of a request and the time that one may take are bounded, and no client and no
  failure of the file ends the task that serves.
- Only loopback addresses: there is no authentication, so who may ask is whoever is on this host
  (docs/security.md).
"""

import errno
import ipaddress
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

import trio

from affs_fuse.control.socket_file import SocketFile
from affs_fuse.errors import AffsError, Category

__all__ = ["Exposition", "Target", "parse_target"]

_log = logging.getLogger("affs.metrics")

CLIENTS_MAX = 16
REQUEST_BYTES_MAX = 8192
REQUEST_S = 5.0
FILE_PERIOD_S = 15.0
FILE_SUFFIX = ".prom"

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Target:
    """Where to: a port of host, a Unix socket, or a file; the others are "" or 0."""

    host: str = ""
    port: int = 0
    socket: str = ""
    file: str = ""


def parse_target(text: str) -> Target:
    """PORT, ADDRESS:PORT with a loopback address, /PATH.prom (a file), or /PATH (a Unix socket).

    Errors: mount.option.
    """
    if text.startswith("/"):
        if text.endswith(FILE_SUFFIX):
            return Target(file=text)
        return Target(socket=text)
    host, colon, digits = text.rpartition(":")
    host = host.strip("[]") if colon else "127.0.0.1"
    if not digits.isascii() or not digits.isdecimal() or not 0 < int(digits) < 65536:
        raise _bad(text, "a port, 127.0.0.1:PORT, /PATH of a socket, or /PATH.prom")
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise _bad(text, "only a loopback address: 127.0.0.1 or [::1]")
    return Target(host=host, port=int(digits))


def _bad(text: str, hint: str) -> AffsError:
    return AffsError(
        "mount.option", Category.INVALID, f"option metrics={text} is not understood", hint=hint
    )


class Exposition:
    """text: gives the metrics. ended_text: what stands in a file after the end. mode, group: of a
    Unix socket."""

    def __init__(
        self, target: Target, text: Callable[[], str], *, ended_text: str, mode: int, group: str
    ) -> None:
        self._target = target
        self._text = text
        self._ended_text = ended_text
        self._mode = mode
        self._group = group
        self._socket_file: SocketFile | None = None
        self._socket: socket.socket | None = None
        self._clients = 0

    @property
    def address(self) -> str:
        """For people and tests."""
        target = self._target
        return target.file or target.socket or f"http://{_bracketed(target.host)}:{target.port}"

    def open(self) -> None:
        """Before the mount: take the place. Errors: mount.metrics; control.* of a socket's path."""
        target = self._target
        try:
            if target.file:
                self._write(self._text())
            elif target.socket:
                self._socket_file = SocketFile.open(
                    target.socket, mode=self._mode, group=self._group
                )
                self._socket = self._socket_file.socket
            else:
                self._socket = _listen(target.host, target.port)
        except OSError as error:
            raise AffsError(
                "mount.metrics",
                Category.BUSY if error.errno == errno.EADDRINUSE else Category.IO,
                f"cannot offer metrics at {self.address}: {error.strerror}",
                hint="choose another place with -o metrics=...",
            ) from error

    async def serve(self) -> None:
        """Until cancelled, or at once where there is nothing to do."""
        if self._socket is None:
            await self._keep_file()
            return
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(self._socket))
        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(self._client, [listener], handler_nursery=nursery)

    def close(self) -> None:
        """After `serve`: nothing stays behind but a file that says that the mount is gone."""
        if self._socket_file is not None:
            self._socket_file.close()
        elif self._socket is not None:
            self._socket.close()
        if self._target.file:
            try:
                self._write(self._ended_text)
            except OSError as error:
                _log.warning("cannot write %s: %s", self._target.file, error.strerror)

    # ---- a file ----

    async def _keep_file(self) -> None:
        told = False
        while True:
            try:
                await trio.to_thread.run_sync(self._write, self._text())
                told = False
            except OSError as error:
                if not told:
                    _log.warning("cannot write %s: %s", self._target.file, error.strerror)
                told = True
            await trio.sleep(FILE_PERIOD_S)

    def _write(self, text: str) -> None:
        """Whole or not at all: a collector may read at any moment."""
        temporary = f"{self._target.file}.{os.getpid()}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        with open(os.open(temporary, flags, 0o644), "wb") as file:
            file.write(text.encode("utf-8"))
        os.replace(temporary, self._target.file)

    # ---- HTTP ----

    async def _client(self, stream: trio.SocketStream) -> None:
        try:
            if self._clients < CLIENTS_MAX:
                self._clients += 1
                try:
                    with trio.move_on_after(REQUEST_S):
                        await stream.send_all(self._answer(await _request(stream)))
                        await stream.send_eof()
                finally:
                    self._clients -= 1
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            _log.debug("a reader of metrics went away")
        except Exception:  # noqa: BLE001 - a failure of ours, logged with its traceback
            _log.exception("metrics could not be given")
        finally:
            with trio.CancelScope(shield=True):
                await trio.aclose_forcefully(stream)

    def _answer(self, head: bytes) -> bytes:
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "only GET\n", headers="Allow: GET, HEAD\r\n")
        if path != b"/metrics":
            return _response("404 Not Found", "the metrics are at /metrics\n")
        return _response("200 OK", self._text(), body=method == b"GET")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(CLIENTS_MAX)
    except BaseException:
        listening.close()
        raise
    return listening


async def _request(stream: trio.SocketStream) -> bytes:
    """The first line of a request, read to the end of its head; what is too long is cut off."""
    head = b""
    while b"\r\n\r\n" not in head and len(head) < REQUEST_BYTES_MAX:
        piece = bytes(await stream.receive_some(REQUEST_BYTES_MAX))
        if not piece:
            break
        head += piece
    return head.partition(b"\r\n")[0]


def _response(status: str, text: str, *, headers: str = "", body: bool = True) -> bytes:
    data = text.encode("utf-8")
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {CONTENT_TYPE}\r\nContent-Length: {len(data)}\r\n"
        f"{headers}Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (data if body else b"")
