"""A small real server: a thread plays a script on a Unix socket."""

import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from peer_harness import Peer, Script, Serve


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start a server that plays script for its one client; fails the test if the script fails."""
    threads: list[threading.Thread] = []
    failures: list[BaseException] = []
    listeners: list[socket.socket] = []

    def start(script: Script) -> str:
        path = str(tmp_path / f"{len(threads)}.sock")
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(path)
        listener.listen()
        listeners.append(listener)

        def play() -> None:
            try:
                stream, _ = listener.accept()
                stream.settimeout(20)
                with stream:
                    script(Peer(stream))
            except BaseException as error:  # noqa: BLE001 - handed to the test
                failures.append(error)

        thread = threading.Thread(target=play)
        thread.start()
        threads.append(thread)
        return path

    yield start
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive()
    for listener in listeners:
        listener.close()
    assert not failures, failures
