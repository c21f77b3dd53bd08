"""affsctl against an in-memory runtime that serves a real socket from a thread."""

import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
sys.path.insert(0, str(Path(__file__).parents[1] / "control"))

from control_harness import VOLUME
from runtime_fake import FakeRuntime

from affs_fuse.control import ControlServer, SocketFile


class ServerThread:
    """runtime: to look into, when no request runs. path: of the socket."""

    def __init__(self, folder: Path) -> None:
        self.runtime: FakeRuntime
        self.path = str(folder / "c.sock")
        self._ready = threading.Event()
        self._token: trio.lowlevel.TrioToken
        self._stop: trio.Event
        self._thread = threading.Thread(target=trio.run, args=(self._serve,))

    async def _serve(self) -> None:
        self.runtime = FakeRuntime()
        self._token = trio.lowlevel.current_trio_token()
        self._stop = trio.Event()
        server = ControlServer(self.runtime.dispatcher, VOLUME)
        with SocketFile.open(self.path) as socket_file:
            async with trio.open_nursery() as nursery:
                await nursery.start(server.run, socket_file)
                self._ready.set()
                await self._stop.wait()
                nursery.cancel_scope.cancel()

    def publish(self, kind: str, **fields: Any) -> None:
        """An event, from the test's thread."""
        trio.from_thread.run_sync(
            lambda: self.runtime.events.publish(kind, **fields), trio_token=self._token
        )

    def __enter__(self) -> "ServerThread":
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *error: object) -> None:
        trio.from_thread.run_sync(self._stop.set, trio_token=self._token)
        self._thread.join(10)


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServerThread]:
    """A server; affsctl finds it by AFFS_SOCKET."""
    with ServerThread(tmp_path) as server:
        monkeypatch.setenv("AFFS_SOCKET", server.path)
        monkeypatch.delenv("AFFS_VOLUME", raising=False)
        monkeypatch.setenv("TZ", "UTC")
        server.runtime.engine.files = {"/a": b"one", "/b": b"two"}
        yield server
