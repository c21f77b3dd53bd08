"""Files of the client that a command reads or writes (docs/specs/ControlProtocol.md, "Files").

Nothing is known of what is in them. A file that is written gets its name when the command has come
to its end; what was there before is replaced only if the event says so.
"""

import os
import sys
import tempfile
from typing import Any, BinaryIO

from affs_fuse.auv import Value, format_json
from affs_fuse.errors import AffsError, Category

__all__ = ["SourceFile", "TargetFile"]

PIECE_BYTES = 256 << 10


class SourceFile:
    """A file that is read. event: of the kind `input`. ended: nothing more is to be sent."""

    def __init__(self, event: dict[str, Any]) -> None:
        self._name = str(event.get("file", ""))
        self._input = str(event.get("input", ""))
        bytes_max = event.get("bytes")
        self._bytes_max = bytes_max if isinstance(bytes_max, int) else PIECE_BYTES
        self.ended = False
        self._total: int | None = None
        try:
            if self._name == "-":
                self._file = os.dup(sys.stdin.fileno())
            else:
                self._file = os.open(self._name, os.O_RDONLY | os.O_CLOEXEC)
                self._total = os.fstat(self._file).st_size or None
        except OSError as error:
            raise _file_error("read", self._name, error) from None

    def piece(self) -> dict[str, Value]:
        """The arguments of the next `input` request; waits for a pipe, and gives what comes."""
        try:
            data = os.read(self._file, self._bytes_max)
        except OSError as error:
            raise _file_error("read", self._name, error) from None
        self.ended = not data
        args: dict[str, Value] = {"input": self._input, "data": data, "end": self.ended}
        if self._total is not None:
            args["total"], self._total = self._total, None
        return args

    def fileno(self) -> int:
        return self._file

    def close(self) -> None:
        os.close(self._file)


class TargetFile:
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
