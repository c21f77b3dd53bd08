"""Files of the client that a command reads or writes: the runtime asks by events, and here bytes
are moved (docs/specs/ControlProtocol.md, "Files").
"""

from typing import Any

from affs_ctl.client import Call, Client
from affs_ctl.transfer_files import SourceFile, TargetFile
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError

__all__ = ["Transfer"]


class Transfer:
    """Of one command. Use: `event` and `item` for each part, `step` in front of each wait, and
    `finish` at the end. They raise AffsError cli.file."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._source: _Source | None = None
        self._target: TargetFile | None = None

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
            self._target = TargetFile(event)
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
    """A file that is sent: one piece is on its way at a time."""

    def __init__(self, client: Client, event: dict[str, Any]) -> None:
        self._client = client
        self._file = SourceFile(event)
        self._call: Call | None = None

    def step(self) -> None:
        if self._call is not None:
            if not self._call.finished:
                return
            try:
                self._call.result()
            except AffsError as error:
                if error.code != "input.closed":
                    raise
                self._file.ended = True  # the command's own answer says why
            self._call = None
        if not self._file.ended:
            self._call = self._client.start(command="input", args=self._file.piece())

    def close(self) -> None:
        self._file.close()
        if self._call is not None and not self._call.finished and self._client.ended is None:
            self._call.abandon()
