"""The trio client against a small real server that plays a script, and under cancellation."""

import socket
import threading

import pytest
import trio
from peer_harness import WELCOME, Peer, Script, Serve, gone

from affs_ctl.exchange import SOCKET_PATH_BYTES_MAX
from affs_ctl.trio_client import PARTS_WAITING_MAX, connect
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
    Progress,
    RemoteError,
    Request,
)


async def test_a_request_by_line_and_by_command(serve: Serve) -> None:
    seen: list[object] = []

    def script(peer: Peer) -> None:
        seen.append(peer.greet())
        for _ in range(2):
            request = peer.next()
            seen.append(request)
            peer.send(Answer(request.id, {"char": Char("x"), "id": request.id}))
        gone(peer)

    async with connect(serve(script), name="test 1", session="s-0", auth={"a": 1}) as client:
        assert client.welcome == WELCOME
        assert await client.run("status --all", trace="t") == {"char": Char("x"), "id": 1}
        options = {"deadline_ms": 50, "idempotency_key": "k", "window": None}
        assert (await client.command("commit", {"message": "é"}, **options))["id"] == 2
    assert seen == [
        Hello("test 1", session="s-0", auth={"a": 1}),
        Request(1, line="status --all", trace="t", window=256),
        Request(2, command="commit", args={"message": "é"}, deadline_ms=50, idempotency_key="k"),
    ]


async def test_what_the_block_raises_comes_out_as_it_is(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        error = AffsError("state.unknown", Category.NOT_FOUND, "no state x", hint="checkpoints")
        peer.send(Failure(peer.next().id, error.to_auv("t-1")))
        gone(peer)

    with pytest.raises(RemoteError) as caught:
        async with connect(serve(script)) as client:
            await client.run("show x")
    assert (caught.value.code, caught.value.trace) == ("state.unknown", "t-1")


async def test_progress_items_and_credit(serve: Serve) -> None:
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

    steps: list[int] = []

    async def step(progress: Progress) -> None:
        steps.append(progress.done)

    async with connect(serve(script)) as client:
        call = await client.start("diff", window=4)
        assert await call.result(progress=step) == "done"
        assert steps == call.items == list(range(10))
        assert await call.result() == "done"
    assert credits == [2, 2, 2]


async def test_tasks_share_a_connection_and_answers_come_in_any_order(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        requests = [peer.next() for _ in range(20)]
        for request in reversed(requests):
            peer.send(Item(request.id, request.line), Answer(request.id, request.line))
        gone(peer)

    answers: dict[str, object] = {}

    async with connect(serve(script)) as client, trio.open_nursery() as nursery:

        async def ask(line: str) -> None:
            answers[line] = await client.run(line)

        for number in range(20):
            nursery.start_soon(ask, f"ping {number}")
    assert answers == {f"ping {number}": f"ping {number}" for number in range(20)}


async def test_a_run_that_is_cancelled_cancels_its_request(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        slow = peer.next()
        assert peer.next() == Cancel(slow.id)
        peer.send(Failure(slow.id, {"code": "request.cancelled", "category": "cancelled"}))
        quick = peer.next()
        peer.send(Answer(quick.id, "pong"))
        gone(peer)

    async with connect(serve(script)) as client:
        with trio.move_on_after(0.05) as scope:
            await client.run("slow")
        assert scope.cancelled_caught
        assert await client.run("ping") == "pong"


async def test_a_wait_can_end_and_go_on(serve: Serve) -> None:
    late = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        request = peer.next()
        assert late.wait(10)
        peer.send(Item(request.id, 7), Answer(request.id, 1))
        gone(peer)

    async with connect(serve(script)) as client:
        call = await client.start("slow")
        with trio.move_on_after(0.05) as scope:
            await call.result()
        assert scope.cancelled_caught
        late.set()
        assert (await call.result(), call.items) == (1, [7])


async def test_events_and_a_call_that_is_left(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        watch = peer.next()
        peer.send(Event({"kind": "commit"}, watch.id), Event({"kind": "space"}))
        gone_or_cancelled(peer)

    async with connect(serve(script)) as client:
        async with await client.start("watch") as call:
            async for part in call:
                assert part == Event({"kind": "commit"}, call.id)
                break
        assert await client.next_event() == Event({"kind": "space"})


async def test_a_call_that_nobody_reads_holds_a_bounded_number_of_parts(serve: Serve) -> None:
    total = 6_000
    blocked = threading.Event()

    def script(peer: Peer) -> None:
        peer.greet()
        watch = peer.next()
        note = "x" * 200
        peer.stream.settimeout(0.3)
        sent = 0
        waiting = b""
        while sent < total or waiting:
            if not waiting:
                waiting = peer.connection.send(Event({"kind": note, "n": sent}, watch.id))
                sent += 1
            try:
                waiting = waiting[peer.stream.send(waiting) :]
            except TimeoutError:
                blocked.set()
                peer.stream.settimeout(20)
        peer.send(Answer(watch.id, None))
        gone(peer)

    async with connect(serve(script)) as client:
        call = await client.start("watch")
        assert await trio.to_thread.run_sync(blocked.wait, 10), "the server was never held back"
        # A read may bring a whole buffer more than the bound.
        assert PARTS_WAITING_MAX <= client._exchange.fullest() < PARTS_WAITING_MAX + 1024
        numbers = [part.event["n"] async for part in call if isinstance(part, Event)]
        assert numbers == list(range(total))


async def test_the_server_refuses(serve: Serve) -> None:
    def version(peer: Peer) -> None:
        peer.next()
        error = AffsError("protocol.version", Category.UNSUPPORTED, "too new")
        peer.send(Failure(None, error.to_auv()))

    def full(peer: Peer) -> None:
        peer.send(Failure(None, AffsError("control.full", Category.BUSY, "full").to_auv()))

    for script, code in ((version, "protocol.version"), (full, "control.full")):
        with pytest.raises(AffsError) as caught:
            async with connect(serve(script)):
                pytest.fail("nobody is welcome")
        assert caught.value.code == code


def _nonsense(peer: Peer) -> None:
    peer.stream.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def _cut(peer: Peer) -> None:
    peer.stream.sendall(b"\0\0\0\x05ab")


@pytest.mark.parametrize("end", [lambda peer: None, _nonsense, _cut])
async def test_every_wait_ends_with_the_connection(serve: Serve, end: Script) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        peer.next()
        end(peer)

    async with connect(serve(script)) as client:
        call = await client.start("status")
        for _ in range(2):
            with pytest.raises(AffsError) as caught:
                await call.result()
            assert (caught.value.code, caught.value.category) == ("client.closed", Category.IO)
        with pytest.raises(AffsError, match=r"clos|nonsense"):
            await client.run("again")
        assert client.ended is not None
        call.abandon()


async def test_nobody_there(tmp_path: object) -> None:
    for path, code in (
        (f"{tmp_path}/none.sock", "client.unreachable"),
        ("/" + "a" * SOCKET_PATH_BYTES_MAX, "client.socket_path"),
    ):
        with pytest.raises(AffsError) as caught:
            async with connect(path):
                pytest.fail("nobody is there")
        assert caught.value.code == code


async def test_a_server_that_says_nothing_and_one_whose_backlog_is_full(tmp_path: object) -> None:
    path = f"{tmp_path}/mute.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)
        # The first waits in the backlog of one for its welcome, so there is no room for the second.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(refused, path, 0.3, "no welcome within")
            await trio.sleep(0.05)
            await refused(path, 0.1, "its backlog was full")


async def refused(path: str, timeout_s: float, why: str) -> None:
    with pytest.raises(AffsError, match=why) as caught:
        async with connect(path, timeout_s=timeout_s):
            pytest.fail("nobody was welcome")
    assert caught.value.code == "client.unreachable"


async def test_a_cancelled_block_ends_at_once(serve: Serve) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        assert isinstance(peer.next(), Request)
        gone_or_cancelled(peer)

    path = serve(script)
    with trio.move_on_after(0.05) as scope:
        async with connect(path) as client:
            await client.run("slow")
    assert scope.cancelled_caught


def gone_or_cancelled(peer: Peer) -> None:
    try:
        assert isinstance(peer.next(), Cancel)
    except ConnectionResetError:
        return
    gone(peer)
