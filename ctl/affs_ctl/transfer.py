"""Files of the client that a command reads or writes: the runtime asks by events, and here bytes
are moved (docs/specs/ControlProtocol.md, "Files").

Nothing is known of what is in them. A file that is written gets its name when the command has come
to its end; what was there before is replaced only if the event says so.
"""

import os
import sys
import tempfile
from typing import Any, BinaryIO

from affs_ctl.client import Call, Client
from affs_fuse.auv import Value, format_json
from affs_fuse.errors import AffsError, Category

__all__ = ["Transfer"]

PIECE_BYTES = 256 << 10


class Transfer:
    """Of one command. Use: `event` and `item` for each part, `step` in front of each wait, and
    `finish` at the end. They raise AffsError cli.file."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._source: _Source | None = None
        self._target: _Target | None = None

    @property
    def writes(self) -> bool:
        """Whether items go into a file."""
        return self._target is not None

    def event(self, event: Value) -> bool:
        """Whether it was for us."""
        if not isinstance(event, dict) or event.get("kind") not in ("input", "output"):
            return False
        if event["kind"] == "input":
            self._source = _Source(self._client, event)
        else:
            self._target = _Target(event)
        return True

    def item(self, value: Value) -> bool:
        """Whether it went into a file."""
        if self._target is None:
            return False
        self._target.write(value)
        return True

    def step(self) -> None:
        """Send what the command has room for."""
        if self._source is not None:
            self._source.step()

    def finish(self, *, done: bool) -> None:
        """done: the command has come to a good end. May be called again."""
        source, self._source = self._source, None
        target, self._target = self._target, None
        if source is not None:
            source.close()
        if target is not None:
            target.close(done=done)


class _Source:
    """A file that is read: one piece is on its way at a time."""

    def __init__(self, client: Client, event: dict[str, Any]) -> None:
        self._client = client
        self._name = str(event.get("file", ""))
        self._input = str(event.get("input", ""))
        bytes_max = event.get("bytes")
        self._bytes_max = bytes_max if isinstance(bytes_max, int) else PIECE_BYTES
        self._call: Call | None = None
        self._ended = False
        self._total: int | None = None
        try:
            if self._name == "-":
                self._file = os.dup(sys.stdin.fileno())
            else:
                self._file = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC)
                self._total = os.fstat(self._file).st_size or None
        except OSError as error:
            raise _file_error("read", self._name, error) from None

    def step(self) -> None:
        if self._call is not None:
            if not self._call.finished:
                return
            try:
                self._call.result()
            except AffsError as error:
                if error.code != "input.closed":
                    raise
                self._ended = True  # the command's own answer says why
            self._call = None
        if not self._ended:
            self._send()

    def _send(self) -> None:
        data = self._read()
        self._ended = not data
        args: dict[str, Value] = {"input": self._input, "data": data, "end": self._ended}
        if self._total is not None:
            args["total"], self._total = self._total, None
        self._call = self._client.start(command="input", args=args)

    def _read(self) -> bytes:
        """What is there, of a pipe as it comes."""
        try:
            return os.read(self._file, self._bytes_max)
        except OSError as error:
            raise _file_error("read", self._name, error) from None

    def close(self) -> None:
        os.close(self._file)
        if self._call is not None and not self._call.finished and self._client.ended is None:
            self._call.abandon()


class _Target:
    """A file that is written: beside its place under another name, then renamed."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._name = str(event.get("file", ""))
        self._scratch = ""
        overwrite, append = bool(event.get("overwrite")), bool(event.get("append"))
        try:
            if self._name == "-":
                self._file: BinaryIO = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
            elif append or self._is_special():
                self._file = open(self._name, "ab" if append else "wb")  # noqa: SIM115
            elif os.path.lexists(self._name) and not overwrite:
                raise AffsError(
                    "cli.file", Category.EXISTS, f"{self._name!r} is there already",
                    hint="add --overwrite, or choose another name",
                )  # fmt: skip
            else:
                self._file = self._beside()
        except OSError as error:
            raise _file_error("write", self._name, error) from None

    def _is_special(self) -> bool:
        """A device or a pipe, which is written as it is."""
        return os.path.exists(self._name) and not os.path.isfile(self._name)

    def _beside(self) -> BinaryIO:
        directory, name = os.path.split(os.path.realpath(self._name))
        handle, self._scratch = tempfile.mkstemp(prefix=f".{name[:100]}.", dir=directory)
        mask = os.umask(0)
        os.umask(mask)
        os.fchmod(handle, 0o666 & ~mask)
        return os.fdopen(handle, "wb")

    def write(self, value: Value) -> None:
        """Binary as it is, anything else as a line of JSON."""
        data = value if isinstance(value, bytes) else format_json(value).encode() + b"\n"
        try:
            self._file.write(data)
        except OSError as error:
            raise _file_error("write", self._name, error) from None

    def close(self, *, done: bool) -> None:
        try:
            self._file.close()
            if self._scratch and done:
                os.replace(self._scratch, os.path.realpath(self._name))
                self._scratch = ""
        except OSError as error:
            raise _file_error("write", self._name, error) from None
        finally:
            if self._scratch:
                os.unlink(self._scratch)


def _file_error(what: str, name: str, error: OSError) -> AffsError:
    shown = {"-": "the standard input" if what == "read" else "the standard output"}.get(
        name, repr(name)
    )
    return AffsError(
        "cli.file", Category.INVALID, f"cannot {what} {shown}: {error.strerror or error}"
    )
