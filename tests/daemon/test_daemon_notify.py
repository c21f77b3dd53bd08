"""What a service manager is told, and that it can never hold the daemon up."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from affs_fuse.daemon.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "n"))
        receiver.settimeout(5)
        yield receiver


def test_messages(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    notifier.ready("mounted on /a\nMAINPID=1")
    notifier.status("fine")
    notifier.stopping("committing", 2.5)
    notifier.watchdog()
    assert [manager.recv(4096).decode() for _ in range(4)] == [
        "READY=1\nSTATUS=mounted on /a MAINPID=1",
        "STATUS=fine",
        "STOPPING=1\nSTATUS=committing\nEXTEND_TIMEOUT_USEC=2500000",
        "WATCHDOG=1",
    ]


def test_a_manager_that_does_not_read_costs_messages_only(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    for _ in range(5000):  # far beyond what a socket queues; a blocking send would never return
        notifier.watchdog()
    assert notifier.listened_to
    manager.recv(4096)
    notifier.status("still here")


def test_a_manager_that_has_gone_is_not_asked_again(
    manager: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = Notifier(manager.getsockname())
    manager.close()
    notifier.watchdog()
    notifier.watchdog()
    assert not notifier.listened_to
    assert len(caplog.records) == 1


def test_nobody_to_tell() -> None:
    notifier = Notifier("")
    notifier.ready("x")
    assert not notifier.listened_to
