"""The blocking client against a small real server: a thread plays a script on a Unix socket."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from peer_harness import WELCOME, Peer, Script, Serve, gone

from affs_ctl.client import SOCKET_PATH_BYTES_MAX, Client
from affs_fuse.auv import Char
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import (
    Answer,
    Cancel,
    Credit,
    Event,
    Failure,
    Hello,
    Item,
    Malformed,
    Progress,
    RemoteError,
    Request,
)


def test_a_request_by_line_and_by_command(serve: Serve) -> None:
    seen: list[Any] = []

    def script(peer: Peer) -> None:
        seen.append(peer.greet())
        for _ in range(2):
            request = peer.next()
            seen.append(request)
            peer.send(Answer(request.id, {"char": Char("x"), "id": request.id}))
        gone(peer)

    with Client.connect(serve(script), name="test 1", session="s-0") as client:
        assert client.welcome == WELCOME
        assert client.run("status --all", trace="t") == {"char": Char("x"), "id": 1}
        options = {"deadline_ms": 50, "idempotency_key": "k", "window": None}
        assert client.command("commit", {"message": "é"}, **options)["id"] == 2
    assert seen == [
        Hello("test 1", session="s-0"),
        Request(1, line="status --all", trace="t", window=256),
        Request(2, command="commit", args={"message": "é"}, deadline_ms=50, idempotency_key="k"),
    ]


def test_an_error_value_is_raised(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        error = AffsError("state.unknown", Category.NOT_FOUND, "no state x", hint="checkpoints")
        peer.send(Failure(peer.next().id, error.to_auv("t-1")))
        gone(peer)

    with Client.connect(serve(script)) as client:
        call = client.start("show x")
        for _ in range(2):
            with pytest.raises(RemoteError) as caught:
                call.result()
            assert (caught.value.code, caught.value.category) == (
                "state.unknown",
                Category.NOT_FOUND,
            )
            assert (caught.value.hint, caught.value.trace) == ("checkpoints", "t-1")


def test_progress_items_and_credit(serve: Serve) -> None:
    credits: list[int] = []

    def script(peer: Peer) -> None:
        peer.greet()
        request = peer.next()
        room = request.window
        for number in range(10):
            while room == 0:
                credit = peer.next()
                assert isinstance(credit, Credit)
                credits.append(credit.count)
                room += credit.count
            peer.send(Progress(request.id, number, 10, "files"), Item(request.id, number))
            room -= 1
        peer.send(Answer(request.id, "done"))

    with Client.connect(serve(script)) as client:
        steps: list[int] = []
        call = client.start("diff", window=4)
        assert call.result(progress=lambda step: steps.append(step.done)) == "done"
        assert steps == call.items == list(range(10))
        assert call.finished
        assert call.result() == "done"
    assert credits == [2, 2, 2]


def test_a_client_that_does_not_read_holds_the_server_at_its_window(serve: Serve) -> None:
    sent = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        slow = peer.next()
        peer.send(*(Item(slow.id, number) for number in range(slow.window)))
        sent.set()
        quick = peer.next()
        assert quick.line == "ping"
        peer.send(Answer(quick.id, "pong"))
        assert isinstance(peer.next(), Credit)
        peer.send(Answer(slow.id, None))
        gone(peer)

    with Client.connect(serve(script)) as client:
        slow = client.start("diff", window=3)
        assert sent.wait(10)
        assert client.run("ping") == "pong"
        slow.result()
        assert slow.items == [0, 1, 2]


def test_answers_come_in_any_order(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        requests = [peer.next() for _ in range(3)]
        for request in reversed(requests):
            peer.send(Item(request.id, request.line), Answer(request.id, request.line))

    with Client.connect(serve(script)) as client:
        calls = [client.start(line) for line in "abc"]
        assert [call.result() for call in calls] == ["a", "b", "c"]
        assert [call.items for call in calls] == [["a"], ["b"], ["c"]]


def test_events(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        watch = peer.next()
        peer.send(Event({"kind": "commit"}, watch.id), Event({"kind": "space"}))
        cancel = peer.next()
        assert cancel == Cancel(watch.id)
        peer.send(Failure(watch.id, {"code": "request.cancelled", "category": "cancelled"}))
        gone(peer)

    with Client.connect(serve(script)) as client:
        call = client.start("watch")
        parts = iter(call)
        assert next(parts) == Event({"kind": "commit"}, call.id)
        assert next(client.events()) == Event({"kind": "space"})
        call.cancel()
        with pytest.raises(RemoteError) as caught:
            call.result()
        assert caught.value.category is Category.CANCELLED


def test_a_wait_can_end_and_go_on(serve: Serve) -> None:
    late = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        request = peer.next()
        assert late.wait(10)
        peer.send(Answer(request.id, 1))

    with Client.connect(serve(script)) as client:
        call = client.start("slow")
        with pytest.raises(AffsError) as caught:
            call.result(timeout_s=0.05)
        assert (caught.value.code, caught.value.category) == ("client.timeout", Category.DEADLINE)
        late.set()
        assert call.result(timeout_s=10) == 1


def test_the_server_refuses_the_version(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.next()
        error = AffsError("protocol.version", Category.UNSUPPORTED, "too new")
        peer.send(Failure(None, error.to_auv()))

    path = serve(script)
    with pytest.raises(RemoteError) as caught:
        Client.connect(path)
    assert caught.value.code == "protocol.version"


def test_a_refusal_without_hello_is_shown(serve: Serve) -> None:
    """A full server answers and closes before it has read anything."""

    def script(peer: Peer) -> None:
        peer.send(Failure(None, AffsError("control.full", Category.BUSY, "full").to_auv()))

    path = serve(script)
    with pytest.raises(AffsError) as caught:
        Client.connect(path)
    assert caught.value.code == "control.full"


def _nonsense(peer: Peer) -> None:
    peer.stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _cut(peer: Peer) -> None:
    peer.stream.sendall(b"\0\0\0\x05ab")


@pytest.mark.parametrize("end", [lambda peer: None, _nonsense, _cut])
def test_every_wait_ends_with_the_connection(serve: Serve, end: Script) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.next()
        end(peer)

    with Client.connect(serve(script)) as client:
        call = client.start("status")
        for _ in range(2):
            with pytest.raises(AffsError) as caught:
                call.result(timeout_s=10)
            assert (caught.value.code, caught.value.category) == ("client.closed", Category.IO)
        with pytest.raises(AffsError, match=r"clos|nonsense"):
            client.run("again")


def test_a_malformed_request_gets_an_error_and_the_connection_lives(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        wrong = peer.next()
        assert isinstance(wrong, Malformed)
        peer.send(wrong.reply)
        peer.send(Answer(peer.next().id, "fine"))

    with Client.connect(serve(script)) as client:
        with pytest.raises(RemoteError) as caught:
            client.run("a" * ((1 << 20) + 1))
        assert caught.value.code == "protocol.message_field"
        assert client.run("status") == "fine"


def test_nobody_listens(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "dead"))
    listener.close()
    for name in ("dead", "absent"):
        with pytest.raises(AffsError) as caught:
            Client.connect(str(tmp_path / name))
        assert (caught.value.code, caught.value.category) == ("client.unreachable", Category.IO)


def test_a_silent_server_is_not_waited_for_for_ever(serve: Serve) -> None:
    path = serve(gone_after_hello)
    with pytest.raises(AffsError) as caught:
        Client.connect(path, timeout_s=0.1)
    assert caught.value.code == "client.timeout"


def test_a_full_backlog_is_waited_for(tmp_path: Path) -> None:
    path = str(tmp_path / "busy.sock")
    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as held:
        listener.bind(path)
        listener.listen(0)
        first = held.enter_context(socket.socket(socket.AF_UNIX))
        first.connect(path)

        def accept() -> None:
            for _ in range(2):
                stream, _ = listener.accept()
                held.enter_context(stream)
            Peer(stream).greet()

        late = threading.Timer(0.2, accept)
        late.start()
        Client.connect(path, timeout_s=20).close()
        late.join(20)
        assert not late.is_alive()


def test_a_backlog_that_stays_full_is_an_error(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as first:
        listener.bind(path)
        listener.listen(0)
        first.connect(path)
        with pytest.raises(AffsError) as caught:
            Client.connect(path, timeout_s=0.1)
        assert caught.value.code == "client.unreachable"


def gone_after_hello(peer: Peer) -> None:
    assert isinstance(peer.next(), Hello)
    gone(peer)


def test_long_socket_paths_are_named_as_such() -> None:
    path = "/" + "a" * SOCKET_PATH_BYTES_MAX
    with pytest.raises(AffsError, match="more than 107 bytes") as caught:
        Client.connect(path)
    assert caught.value.code == "client.socket_path"


def test_the_client_starts_without_an_event_loop() -> None:
    check = (
        "import sys, affs_ctl.client, affs_ctl.discover; "
        "sys.exit(' '.join({'trio', 'anyio', 'asyncio', 'pyfuse3'} & sys.modules.keys()) or 0)"
    )
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", check], env=paths, capture_output=True, text=True, check=False
    )
    assert (result.returncode, result.stderr) == (0, "")
