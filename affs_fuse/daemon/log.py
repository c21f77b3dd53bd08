"""Where the daemon's log lines go: syslog, the journal, stderr or a file; and what they look like.

One line an event. Everything that a line carries beside its text (logging's `extra` under the name
`fields`, and the trace id of the request that caused it) follows as key=value, or as fields of its
own in the journal. Invariants:
- File names and other hostile text cannot forge a line: control characters are escaped.
- Logging never raises into the code that logs, and its sockets are datagrams: no long waits.
"""

import json
import logging
import logging.handlers
import os
import socket
import struct
import sys
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from affs_fuse.clock import SYSTEM_CLOCK
from affs_fuse.daemon.log_limit import LogLimit
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.trace import TraceFilter

__all__ = ["JsonFormatter", "LineFormatter", "configure_logging", "default_target"]

_JOURNAL_SOCKET = "/run/systemd/journal/socket"
_SYSLOG_SOCKET = "/dev/log"
_PRIORITIES = {
    logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7,
}


def _fields_of(record: logging.LogRecord) -> Mapping[str, Any]:
    fields = getattr(record, "fields", None)
    found = dict(fields) if isinstance(fields, Mapping) else {}
    if trace := getattr(record, "trace", ""):
        found["trace"] = trace
    return found


def _escape(text: str) -> str:
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


class LineFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.123 warning affs.volume text key=value`, in local time; a traceback as
    one field."""

    def __init__(self, *, with_time: bool) -> None:
        super().__init__()
        self._with_time = with_time

    def format(self, record: logging.LogRecord) -> str:
        parts = [record.levelname.lower(), record.name, _escape(record.getMessage())]
        if self._with_time:
            seconds = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
            parts.insert(0, f"{seconds}.{int(record.msecs):03d}")
        parts += [f"{key}={_value(value)}" for key, value in _fields_of(record).items()]
        if record.exc_info:
            parts.append(f"traceback={json.dumps(self.formatException(record.exc_info))}")
        return " ".join(parts)


def _value(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    plain = text.isprintable() and not any(character in text for character in ' "=')
    return text if plain and text else json.dumps(text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the fields of the event, then
    traceback. A field that has the name of one of the first four gets `_` behind it."""

    def format(self, record: logging.LogRecord) -> str:
        seconds = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        entry: dict[str, Any] = {
            "time": f"{seconds}.{int(record.msecs):03d}{_offset(record.created)}",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        for key, value in _fields_of(record).items():
            entry[key + "_" * (key in entry)] = value
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=repr)


def _offset(created_s: float) -> str:
    """Of local time from UTC at that moment: `+01:00`."""
    return datetime.fromtimestamp(created_s).astimezone().isoformat()[-6:]


class _PrefixFormatter(LineFormatter):
    """Lines for a service manager that reads stderr: `<priority>` in front, no time."""

    def __init__(self) -> None:
        super().__init__(with_time=False)

    def format(self, record: logging.LogRecord) -> str:
        return f"<{_PRIORITIES.get(record.levelno, 6)}>{super().format(record)}"


class _JournalHandler(logging.Handler):
    """systemd's native journal protocol: one datagram of fields an event."""

    def __init__(self, common: Mapping[str, str]) -> None:
        super().__init__()
        self._common = common
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def emit(self, record: logging.LogRecord) -> None:
        try:
            fields: dict[str, str] = {
                "MESSAGE": _escape(record.getMessage()),
                "PRIORITY": str(_PRIORITIES.get(record.levelno, 6)),
                "SYSLOG_IDENTIFIER": "mount.affs",
                "LOGGER": record.name,
                **self._common,
            }
            for key, value in _fields_of(record).items():
                fields[f"AFFS_{key.upper()}"] = str(value)
            if record.exc_info:
                fields["TRACEBACK"] = logging.Formatter().formatException(record.exc_info)
            packet = b"".join(_journal_field(key, value) for key, value in fields.items())
            self._socket.sendto(packet, _JOURNAL_SOCKET)
        except OSError:
            self.handleError(record)

    def close(self) -> None:
        self._socket.close()
        super().close()


def _journal_field(name: str, value: str) -> bytes:
    data = value.encode(errors="replace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


def default_target(*, foreground: bool) -> str:
    """stderr in the foreground; else what is here: the journal, syslog, or nothing ("")."""
    if foreground:
        return "stderr"
    if os.path.exists(_JOURNAL_SOCKET):
        return "journal"
    return "syslog" if os.path.exists(_SYSLOG_SOCKET) else ""


def configure_logging(
    target: str,
    *,
    volume: str,
    journal_stream: bool = False,
    verbose: bool = False,
    json_lines: bool = False,
) -> None:
    """Send all log lines to target: syslog, journal, stderr, "" (nowhere), or a file's path.
    json_lines: as JSON, but in the journal, which has fields of its own.

    Errors: mount.log (IO).
    """
    root = logging.getLogger()
    root.setLevel(logging.DEBUG if verbose else logging.INFO)
    logging.getLogger("pyfuse3").setLevel(logging.INFO)
    logging.raiseExceptions = False
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    try:
        handler = _handler(target, volume=volume, journal_stream=journal_stream)
        if json_lines and target not in ("", "journal"):
            handler.setFormatter(JsonFormatter())
    except OSError as error:
        raise AffsError(
            "mount.log", Category.IO, f"cannot log to {target}: {error.strerror}",
            hint="choose another with -o log=stderr or log=FILE",
        ) from error
    handler.addFilter(TraceFilter())
    handler.addFilter(_tells_something)
    handler.addFilter(LogLimit(SYSTEM_CLOCK.monotonic))
    root.addHandler(handler)


def _tells_something(record: logging.LogRecord) -> bool:
    """Not what pyfuse3 says when the kernel did not wait for an answer (its process was killed, or
    the mount has gone): that is no fault of anybody."""
    return record.name != "pyfuse3" or "No such file or directory" not in record.getMessage()


def _handler(target: str, *, volume: str, journal_stream: bool) -> logging.Handler:
    handler: logging.Handler
    if target == "":
        return logging.NullHandler()
    if target == "journal":
        return _JournalHandler({"AFFS_VOLUME": volume, "SYSLOG_PID": str(os.getpid())})
    if target == "syslog":
        handler = logging.handlers.SysLogHandler(
            address=_SYSLOG_SOCKET, facility=logging.handlers.SysLogHandler.LOG_DAEMON
        )
        handler.ident = f"mount.affs[{os.getpid()}]: "
        handler.setFormatter(LineFormatter(with_time=False))
        return handler
    if target == "stderr":
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            _PrefixFormatter() if journal_stream else LineFormatter(with_time=True)
        )
        return handler
    handler = logging.handlers.WatchedFileHandler(target, encoding="utf-8", errors="replace")
    handler.setFormatter(LineFormatter(with_time=True))
    return handler
