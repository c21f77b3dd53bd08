"""The shell's connection: one client, shared by the line that runs and by questions about lines
that are still being typed, and made anew after it has ended.

Invariant: one thread at a time uses the client, and a question does not wait for long.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from affs_ctl.client import Client
from affs_fuse.auv import Value
from affs_fuse.errors import AffsError

__all__ = ["Link"]

_ANSWER_S = 1.0


class Link:
    """connect(session): a new client, which resumes the session if it can ("" for a new one)."""

    def __init__(self, connect: Callable[[str], Client]) -> None:
        self._connect = connect
        self._client = connect("")
        self._lock = threading.Lock()
        self._commands: dict[str, dict[str, Any]] | None = None

    @property
    def session(self) -> str:
        return self._client.welcome.session

    @property
    def role(self) -> str:
        return self._client.welcome.role

    @property
    def volume(self) -> dict[str, Value]:
        return self._client.welcome.volume

    @contextmanager
    def client(self) -> Iterator[Client]:
        """The client, for this thread alone. AffsError when there is no daemon to be reached."""
        with self._lock:
            if self._client.ended is not None:
                session = self._client.welcome.session
                try:
                    self._client = self._connect(session)
                except AffsError as error:
                    if error.code.startswith("client."):
                        raise
                    self._client = self._connect("")  # the runtime has forgotten the session
                self._commands = None
            yield self._client

    def ask(self, command: str, args: dict[str, Value]) -> Any:
        """The answer to a query, None when there is none within a second, or the client is busy for
        longer."""
        if not self._lock.acquire(timeout=_ANSWER_S):
            return None
        try:
            if self._client.ended is not None:
                return None
            call = self._client.start(command=command, args=args, deadline_ms=int(_ANSWER_S * 1000))
            try:
                return call.result(timeout_s=2 * _ANSWER_S)
            except AffsError:
                call.abandon()
                return None
        except AffsError:
            return None
        finally:
            self._lock.release()

    def commands(self) -> dict[str, dict[str, Any]]:
        """Every command's description by name, as the runtime gave them when the connection was
        made."""
        if self._commands is None:
            answer = self.ask("describe", {})
            if not isinstance(answer, dict):
                return {}
            self._commands = {one["name"]: one for one in answer["commands"]}
        return self._commands

    def close(self) -> None:
        self._client.close()
