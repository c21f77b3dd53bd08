"""The control socket end to end over a real Unix socket: good clients, bad clients, slow clients,
many clients."""

import os
import random
import struct
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from control_harness import RawClient, Served, serving
from trio.testing import wait_all_tasks_blocked

from affs_fuse.auv import encode
from affs_fuse.control import ControlLimits
from affs_fuse.control.connection import ConnectionLimits

ROOT = Path(__file__).parents[2]


async def until_gone(served: Served) -> None:
    """Until no connection is left; a last turn may be resting."""
    with trio.fail_after(20):
        while served.server.statistics().connections:
            await trio.sleep(0.001)


async def test_hello_tells_who_one_is(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client(greet=False)
        welcome = await client.hello()
        assert welcome["protocol"] == 1
        assert welcome["volume"]["label"] == "fake"
        assert welcome["identity"]["uid"] == os.getuid()
        assert welcome["role"] == ("admin" if os.getuid() in (0, 1000) else "observer")
        assert welcome["session"] == served.runtime.sessions.list()[0].id
        assert welcome["limits"]["requests"] == 64


async def test_requests_in_flight_are_answered_as_they_end(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        gate = served.runtime.engine.gate = trio.Event()
        await client.send({"id": 1, "line": "commit"}, {"id": "two", "line": "ping"})
        assert (await client.read())["id"] == "two"
        gate.set()
        assert (await client.read())["ok"]["seq"] == 1


async def test_items_come_before_the_answer(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.runtime.engine.files = {f"/{n:03}": b"x" for n in range(300)}
        client = await served.client()
        await client.send({"id": 1, "line": "diff"})
        messages = [await client.read() for _ in range(301)]
        assert [message["item"]["path"] for message in messages[:-1]] == sorted(
            served.runtime.engine.files
        )
        assert messages[-1]["ok"]["count"] == 300


async def test_a_window_holds_items_back_until_there_is_credit(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.runtime.engine.files = {f"/{n}": b"x" for n in range(5)}
        client = await served.client()
        await client.send({"id": 1, "line": "diff", "window": 2})
        assert ["item" in await client.read() for _ in range(2)] == [True, True]
        assert (await client.ask("ping", 2))["ok"]
        await client.send({"credit": 1, "count": 10})
        assert ["item" in await client.read() for _ in range(4)] == [True, True, True, False]


async def test_events_reach_who_watches(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        await client.send({"id": 9, "line": "watch"})
        await wait_all_tasks_blocked()
        served.runtime.events.publish("publish", seq=3)
        message = await client.read()
        assert (message["id"], message["event"]["seq"]) == (9, 3)
        await client.send({"cancel": 9})
        assert (await client.read())["error"]["category"] == "cancelled"


async def test_cancel_right_behind_the_request(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        await client.send({"id": 1, "line": "watch"}, {"cancel": 1})
        assert (await client.read())["error"]["code"] == "request.cancelled"
        await client.send({"cancel": 1}, {"cancel": "never was"})
        assert (await client.ask("ping"))["ok"]


async def test_a_deadline_over_the_wire(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        answer = await client.ask("watch", deadline_ms=10)
        assert answer["error"]["code"] == "request.deadline"


async def test_a_repeated_key_over_another_connection(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        first = await served.client()
        answer = await first.ask("checkpoint -l x", idempotency_key="k")
        await first.stream.aclose()
        second = await served.client()
        again = await second.ask("checkpoint -l x", idempotency_key="k")
        assert again["ok"] == answer["ok"]
        assert served.runtime.engine.calls == ["checkpoint"]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"id": 1, "line": "nonsense"}, "command.unknown"),
        ({"id": 1, "command": "commit", "args": {"x": 1}}, "command.option_unknown"),
        ({"id": 1, "line": "ping", "command": "ping"}, "protocol.message_field"),
        ({"id": 1, "line": 5}, "protocol.message_field"),
        ({"id": 1, "line": "ping", "deadline_ms": -1}, "protocol.message_field"),
        ({"surprise": 1}, "protocol.message_unknown"),
        ([1, 2], "protocol.message_shape"),
        ({"hello": {"protocol": 1}}, "protocol.hello_again"),
    ],
)
async def test_bad_messages_cost_an_error_and_nothing_else(
    tmp_path: Path, message: Any, code: str
) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        await client.send(message)
        assert (await client.read())["error"]["code"] == code
        assert (await client.ask("ping", 2))["ok"]


@pytest.mark.parametrize(
    "payload", [b"\xc1", b"\xa5ab", b"\x82\xa1a\x01\xa1a\x02", b"\xca\0\0\0\0"]
)
async def test_bytes_that_are_no_value(tmp_path: Path, payload: bytes) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        await client.stream.send_all(struct.pack(">I", len(payload)) + payload)
        error = (await client.read())["error"]
        assert (error["code"], error["category"]) == ("auv.wire", "invalid")
        assert (await client.ask("ping"))["ok"]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (struct.pack(">I", 0), "protocol.frame_empty"),
        (struct.pack(">I", (16 << 20) + 1), "protocol.frame_size"),
        (b"GET / HTTP/1.1\r\n\r\n", "protocol.frame_size"),
    ],
)
async def test_a_broken_frame_ends_the_connection_with_a_reason(
    tmp_path: Path, data: bytes, code: str
) -> None:
    async with serving(tmp_path) as served:
        for greet in (True, False):
            client = await served.client(greet=greet)
            await client.stream.send_all(data)
            assert (await client.read())["error"]["code"] == code
            assert await client.read() is None
        assert (await (await served.client()).ask("ping"))["ok"]


async def test_a_cut_frame(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        await client.stream.send_all(b"\0\0\0\x20abc")
        await client.stream.send_eof()
        assert (await client.read())["error"]["code"] == "protocol.frame_cut"
        assert await client.read() is None


async def test_nothing_before_hello(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client(greet=False)
        assert (await client.ask("commit"))["error"]["code"] == "protocol.hello_first"
        assert served.runtime.engine.calls == []
        await client.send({"hello": {"protocol": 9, "minimum": 8, "client": "future"}})
        error = (await client.read())["error"]
        assert error["code"] == "protocol.version"
        assert error["details"] == {"minimum": 1, "maximum": 1}
        assert await client.hello()


async def test_who_says_no_hello_has_to_go(tmp_path: Path) -> None:
    limits = ControlLimits(connection=ConnectionLimits(hello_s=0.05))
    async with serving(tmp_path, limits) as served:
        client = await served.client(greet=False)
        assert (await client.read())["error"]["code"] == "control.too_slow"
        assert await client.read() is None
        await until_gone(served)


async def test_who_stops_inside_a_frame_has_to_go_but_silence_is_fine(tmp_path: Path) -> None:
    limits = ControlLimits(connection=ConnectionLimits(hello_s=5, frame_s=0.05))
    async with serving(tmp_path, limits) as served:
        silent, cut = await served.client(), await served.client()
        await cut.stream.send_all(b"\0\0\1\0abc")
        assert (await cut.read())["error"]["code"] == "control.too_slow"
        assert await cut.read() is None
        assert (await silent.ask("ping"))["ok"]


async def test_many_requests_at_once_are_bounded(tmp_path: Path) -> None:
    limits = ControlLimits(connection=ConnectionLimits(requests_max=3))
    async with serving(tmp_path, limits) as served:
        client = await served.client()
        await client.send(*({"id": number, "line": "watch"} for number in range(4)))
        answer = await client.read()
        assert (answer["id"], answer["error"]["category"]) == (3, "busy")
        await client.send({"cancel": 0})
        assert (await client.read())["error"]["category"] == "cancelled"
        assert (await client.ask("ping", 3))["ok"]


async def test_a_client_that_does_not_read_stalls_itself_alone(tmp_path: Path) -> None:
    """Its requests wait, what is kept for it is bounded, and everybody else is served meanwhile."""
    async with serving(tmp_path) as served:
        served.runtime.engine.files = {f"/{n:05}{'x' * 1000}": b"" for n in range(5000)}
        stalled = await served.client(buffer=4096)
        await stalled.send({"id": 1, "line": "diff"})
        quick = await served.client()
        with trio.fail_after(5):
            for number in range(20):
                assert (await quick.ask("ping", number))["ok"]
            # Two seconds would do to send all 5 MB if nothing held the request back.
            await trio.sleep(0.3)
        running = served.runtime.dispatcher.statistics().running
        assert running == 1
        count = 0
        with trio.fail_after(20):
            while "item" in await stalled.read():
                count += 1
        assert count == 5000


async def test_a_stalled_request_can_be_cancelled(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        served.runtime.engine.files = {f"/{n:05}{'x' * 1000}": b"" for n in range(5000)}
        client = await served.client(buffer=4096)
        await client.send({"id": 1, "line": "diff"})
        await trio.sleep(0.05)
        await client.send({"cancel": 1})
        count = 0
        with trio.fail_after(10):
            while "item" in (message := await client.read()):
                count += 1
        assert message["error"]["category"] == "cancelled"
        assert count < 5000


async def test_a_client_that_never_reads_again_is_dropped(tmp_path: Path) -> None:
    limits = ControlLimits(connection=ConnectionLimits(send_s=0.1))
    async with serving(tmp_path, limits) as served:
        served.runtime.engine.files = {f"/{n:05}{'x' * 1000}": b"" for n in range(5000)}
        client = await served.client(buffer=4096)
        await client.send({"id": 1, "line": "diff"})
        await until_gone(served)
        assert served.runtime.dispatcher.statistics().running == 0
        assert not any(session.attached for session in served.runtime.sessions.list())


async def test_a_client_that_goes_takes_its_requests_along(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        served.runtime.engine.gate = trio.Event()
        await client.send({"id": 1, "line": "commit"}, {"id": 2, "line": "watch"})
        await wait_all_tasks_blocked()
        assert served.runtime.dispatcher.statistics().running == 2
        await client.stream.aclose()
        await until_gone(served)
        assert served.runtime.dispatcher.statistics().running == 0
        assert served.runtime.events.statistics().subscribers == 0


async def test_places_are_bounded_and_come_back(tmp_path: Path) -> None:
    limits = ControlLimits(connections_max=3, root_connections=0, connections_per_uid_max=2)
    places = 3 if os.getuid() == 0 else 2
    async with serving(tmp_path, limits) as served:
        clients = [await served.client() for _ in range(places)]
        refused = await served.client(greet=False)
        error = (await refused.read())["error"]
        assert (error["code"], error["category"], error["retryable"]) == (
            "control.connections",
            "busy",
            True,
        )
        assert await refused.read() is None
        await clients[0].stream.aclose()
        await wait_all_tasks_blocked()
        assert await served.client()
        assert served.server.statistics().refused == 1


async def test_memory_for_unfinished_frames_is_bounded_over_all(tmp_path: Path) -> None:
    limits = ControlLimits(pending_bytes_max=300_000, pending_bytes_small=1000)
    async with serving(tmp_path, limits) as served:
        huge = struct.pack(">I", 10 << 20) + b"\xda" + b"x" * 200_000
        first = await served.client()
        await first.stream.send_all(huge)
        await wait_all_tasks_blocked()
        assert 200_000 <= served.server.statistics().pending_bytes < 300_000
        second = await served.client()
        await second.stream.send_all(huge)
        error = (await second.read())["error"]
        assert (error["code"], error["category"]) == ("control.memory", "busy")
        assert (await (await served.client()).ask("ping"))["ok"]
        await first.stream.aclose()
        await wait_all_tasks_blocked()
        assert served.server.statistics().pending_bytes == 0


async def test_an_answer_that_is_too_large_is_an_error(tmp_path: Path) -> None:
    limits = ControlLimits(connection=ConnectionLimits(frame_bytes_max=20_000))
    async with serving(tmp_path, limits) as served:
        client = await served.client()
        served.runtime.engine.log = [
            {"line": "x" * 100, "number": number, "time_ns": 0} for number in range(1, 1001)
        ]
        assert (await client.ask("log --limit 1000"))["error"]["code"] == "protocol.frame_size"
        assert len((await client.ask("log --limit 10"))["ok"]) == 10


async def test_an_answer_that_is_no_value_is_our_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        served.runtime.engine.log = [{"line": object()}]
        assert (await client.ask("log"))["error"]["category"] == "internal"
        served.runtime.engine.files = {"/\udcff": b""}
        assert (await client.ask("diff"))["error"]["category"] == "internal"
        assert (await client.ask("ping"))["ok"]
        assert "no value" in caplog.text


async def test_a_bug_in_a_command_ends_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path) as served:
        client = await served.client()
        served.runtime.engine.failure = RuntimeError("a bug")
        error = (await client.ask("commit"))["error"]
        assert error["category"] == "internal"
        assert error["trace"] in {getattr(record, "trace", "") for record in caplog.records}
        served.runtime.engine.failure = None
        assert (await client.ask("commit"))["ok"]


async def test_a_hundred_clients(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        done = 0

        async def one() -> None:
            nonlocal done
            client: RawClient = await served.client()
            for number in range(5):
                answer = await client.ask("status", number)
                assert answer["ok"]["label"] == "fake"
            await client.stream.aclose()
            done += 1

        with trio.fail_after(20):
            async with trio.open_nursery() as nursery:
                for _ in range(100):
                    nursery.start_soon(one)
        assert done == 100
        await until_gone(served)


ASK_AS_ANOTHER = """
import os, sys
sys.path[:0] = sys.argv[4:]
from affs_ctl.client import Client
from affs_fuse.errors import AffsError
os.setgroups([]); os.setgid(77); os.setuid(int(sys.argv[2]))
with Client.connect(sys.argv[1]) as client:
    print(client.welcome.role, client.welcome.identity["uid"])
    for line in sys.argv[3].split(";"):
        try:
            client.run(line)
            print("ok")
        except AffsError as error:
            print(error.code, error.category)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="becomes another user")
@pytest.mark.parametrize(
    ("uid", "said"),
    [
        (1000, ["admin 1000", "ok", "ok", "ok"]),
        (4242, ["observer 4242", "policy.role denied", "policy.role denied", "ok"]),
    ],
)
async def test_other_users_have_their_role(
    public_tmp_path: Path, uid: int, said: list[str]
) -> None:
    async with serving(public_tmp_path, mode=0o666) as served:
        paths = [str(ROOT), str(ROOT / "ctl")]
        command = [sys.executable, "-c", ASK_AS_ANOTHER, served.path, str(uid)]
        done = await trio.run_process(
            [*command, "publish;rollback;status", *paths], capture_stdout=True
        )
        assert done.stdout.decode().splitlines() == said
        assert ("rollback" in served.runtime.engine.calls) is (uid == 1000)


async def test_random_bytes_never_end_the_server(tmp_path: Path) -> None:
    chance = random.Random(7)
    async with serving(tmp_path) as served:
        for round_number in range(60):
            client = await served.client(greet=round_number % 2 == 0)
            payload = chance.randbytes(chance.randrange(1, 80))
            if round_number % 3:
                payload = bytearray(encode({"id": 1, "line": "diff", "args": {"a": [1, None]}}))
                for _ in range(chance.randrange(1, 4)):
                    payload[chance.randrange(len(payload))] = chance.randrange(256)
            await client.stream.send_all(struct.pack(">I", len(payload)) + bytes(payload))
            if chance.random() < 0.5:
                with trio.move_on_after(0.02):
                    await client.read()
            await client.stream.aclose()
        assert (await (await served.client()).ask("ping"))["ok"]
