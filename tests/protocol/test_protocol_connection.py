"""The two ends of a connection: order of messages, ids in flight, what a fault costs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.auv import Limits
from affs_fuse.errors import Category
from affs_fuse.protocol import (
    Answer,
    Cancel,
    ClientConnection,
    Credit,
    Event,
    Failure,
    Hello,
    Item,
    LocalProtocolError,
    Malformed,
    Progress,
    RemoteProtocolError,
    Request,
    ServerConnection,
    Welcome,
    encode_frame,
)

PROFILE = settings(derandomize=True, deadline=None, database=None, max_examples=300)


def greeted(**options: object) -> tuple[ClientConnection, ServerConnection]:
    client, server = ClientConnection(), ServerConnection(**options)  # type: ignore[arg-type]
    assert server.receive(client.send(Hello("test"))) == [Hello("test")]
    welcome = Welcome("server", "session")
    assert list(client.receive(server.send(welcome))) == [welcome]
    return client, server


def raw(value: object) -> bytes:
    return encode_frame(auv.encode(value))


def test_a_conversation() -> None:
    client, server = greeted()
    first = Request(client.next_id(), line="status")
    second = Request(client.next_id(), command="diff", args={"a": 1}, window=1)
    data = client.send(first) + client.send(second)
    assert server.receive(data[:9]) == []
    assert server.pending_bytes == 9
    assert server.receive(data[9:]) == [first, second]
    assert server.in_flight == client.in_flight == {1, 2}
    parts = [Progress(2, 1, 2, "nodes"), Item(2, {"path": "a"}), Event({"kind": "x"}, 2)]
    data = b"".join(server.send(part) for part in parts) + server.send(Answer(1, "fine"))
    assert list(client.receive(data)) == [*parts, Answer(1, "fine")]
    assert server.receive(client.send(Credit(2, 1)) + client.send(Cancel(2))) == [
        Credit(2, 1),
        Cancel(2),
    ]
    failure = Failure(2, {"code": "a.b", "category": "cancelled"})
    assert list(client.receive(server.send(failure))) == [failure]
    assert server.in_flight == client.in_flight == frozenset()
    assert server.receive(client.send(Cancel(2)) + client.send(Credit(1, 1))) == []


def malformed(server: ServerConnection, value: object) -> Malformed:
    found = server.receive(raw(value))
    assert len(found) == 1
    assert isinstance(found[0], Malformed)
    return found[0]


@pytest.mark.parametrize(
    ("value", "number", "code"),
    [
        (5, None, "protocol.message_shape"),
        ({"id": 9, "what": 1}, 9, "protocol.message_unknown"),
        ({"id": 9, "line": 5}, 9, "protocol.message_field"),
        ({"id": [], "line": "a"}, None, "protocol.message_field"),
        ({"hello": {"protocol": 1, "client": "again"}}, None, "protocol.hello_again"),
    ],
)
def test_a_malformed_message_costs_an_error_value(value: object, number: object, code: str) -> None:
    client, server = greeted()
    wrong = malformed(server, value)
    assert (wrong.id, wrong.error.code, wrong.fatal) == (number, code, False)
    reply = auv.decode(server.send(wrong.reply)[4:])
    assert reply["id"] == number
    assert reply["error"]["code"] == code
    request = Request(9, line="status")
    assert server.receive(client.send(request)) == [request]


def test_bytes_that_are_no_value_cost_an_error_value() -> None:
    _, server = greeted()
    nonsense = encode_frame(b"\xc1") + encode_frame(b"\x81\xa1a")
    found = server.receive(nonsense + raw({"id": 1, "line": "a"}))
    assert [type(one) for one in found] == [Malformed, Malformed, Request]
    codes = [one.error.code for one in found if isinstance(one, Malformed)]
    assert codes == ["auv.wire", "auv.wire"]


def test_hello_comes_first_and_once() -> None:
    server = ServerConnection()
    wrong = malformed(server, {"id": 3, "line": "status"})
    assert (wrong.id, wrong.error.code) == (3, "protocol.hello_first")
    server.send(wrong.reply)
    assert not server.greeted
    assert server.receive(raw({"hello": {"protocol": 1}})) == [Hello("", 1)]
    assert server.greeted


@pytest.mark.parametrize(
    ("low", "high", "good"), [(0, 0, False), (2, 5, False), (1, 5, True), (0, 1, True)]
)
def test_versions(low: int, high: int, good: bool) -> None:
    server = ServerConnection()
    [found] = server.receive(raw({"hello": {"protocol": high, "minimum": low}}))
    assert isinstance(found, Hello) == good
    assert server.greeted == good
    if isinstance(found, Malformed):
        assert (found.error.code, found.error.category) == (
            "protocol.version",
            Category.UNSUPPORTED,
        )
        assert found.error.details == {"minimum": 1, "maximum": 1}
        assert not found.fatal


def test_an_id_is_used_by_one_request_at_a_time() -> None:
    client, server = greeted()
    server.receive(client.send(Request(1, line="a")))
    with pytest.raises(LocalProtocolError):
        client.send(Request(1, line="b"))
    wrong = malformed(server, {"id": 1, "line": "b"})
    # An error with id 1 would look like the answer of the request that runs.
    assert (wrong.id, wrong.error.code) == (None, "protocol.id_in_use")
    assert list(client.receive(server.send(wrong.reply))) == [wrong.reply]
    assert list(client.receive(server.send(Answer(1, 5)))) == [Answer(1, 5)]
    request = Request(1, line="c")
    assert server.receive(client.send(request)) == [request]


def test_requests_in_flight_are_bounded() -> None:
    client, server = greeted(requests_max=2)
    for number in (1, 2):
        server.receive(client.send(Request(number, line="a")))
    [wrong] = server.receive(client.send(Request(3, line="a")))
    assert isinstance(wrong, Malformed)
    assert (wrong.id, wrong.error.category, wrong.error.retryable) == (3, Category.BUSY, True)
    assert list(client.receive(server.send(wrong.reply))) == [wrong.reply]
    server.send(Answer(1, None))
    assert server.receive(client.send(Request(4, line="a"))) == [Request(4, line="a")]


@pytest.mark.parametrize(
    ("data", "code"),
    [(b"\xff\xff\xff\xff", "protocol.frame_size"), (bytes(4), "protocol.frame_empty")],
)
def test_a_broken_frame_ends_the_connection(data: bytes, code: str) -> None:
    client, server = greeted()
    found = server.receive(client.send(Request(1, line="a")) + data)
    assert found[0] == Request(1, line="a")
    assert isinstance(found[1], Malformed)
    assert (found[1].id, found[1].error.code, found[1].fatal) == (None, code, True)
    assert list(client.receive(server.send(found[1].reply))) == [found[1].reply]
    with pytest.raises(LocalProtocolError):
        server.receive(b"a")


def test_the_end_of_the_peer() -> None:
    client, server = greeted()
    assert server.receive(b"") == []
    assert server.receive(client.send(Request(1, line="a"))[:-1]) == []
    [cut] = server.receive(b"")
    assert isinstance(cut, Malformed)
    assert (cut.error.code, cut.fatal) == ("protocol.frame_cut", True)
    assert list(client.receive(raw({"id": 1, "ok": 2})[:-1])) == []
    with pytest.raises(RemoteProtocolError):
        list(client.receive(b""))


@pytest.mark.parametrize(
    "message", [Answer(1, 0), Failure(1, {}), Progress(1, 0), Item(1, 0), Event({}, 1)], ids=repr
)
def test_nothing_is_sent_for_a_request_that_is_not_in_flight(message: object) -> None:
    client, server = greeted()
    with pytest.raises(LocalProtocolError):
        server.send(message)  # type: ignore[arg-type]
    server.receive(client.send(Request(1, line="a")))
    server.send(Answer(1, 0))
    with pytest.raises(LocalProtocolError):
        server.send(message)  # type: ignore[arg-type]


def test_what_cannot_be_sent_changes_nothing() -> None:
    client, server = greeted(frame_bytes_max=1000)
    server.receive(client.send(Request(1, line="a")))
    for value, code in ((object(), "auv.value"), ("a" * 1000, "protocol.frame_size")):
        with pytest.raises((auv.AuvError, RemoteProtocolError)) as caught:
            server.send(Answer(1, value))
        assert caught.value.code == code
        assert server.in_flight == {1}
    assert list(client.receive(server.send(Failure(1, {"code": "x"})))) == [
        Failure(1, {"code": "x"})
    ]


def test_requests_keep_tighter_limits() -> None:
    _, server = greeted(limits=Limits(depth_max=3, elements_max=20))
    wrong = malformed(server, {"id": 1, "command": "a", "args": {"x": [[1]]}})
    assert wrong.error.details["reason"] == "depth"


def test_a_client_passes_over_what_it_does_not_know() -> None:
    client, _ = greeted()
    client.send(Request(1, line="a"))
    data = raw({"weather": 1}) + raw({"id": 1, "weather": 2}) + raw({"id": 5, "ok": 1})
    assert list(client.receive(data + raw({"id": 1, "ok": 2, "more": 3}))) == [Answer(1, 2)]


@pytest.mark.parametrize(
    "data", [raw(5), raw({"id": [], "ok": 1}), encode_frame(b"\xc1"), b"\xff" * 4]
)
def test_a_client_refuses_nonsense(data: bytes) -> None:
    client, _ = greeted()
    with pytest.raises((auv.AuvError, RemoteProtocolError)):
        list(client.receive(data))


@PROFILE
@given(st.lists(st.binary(max_size=30), max_size=8))
def test_random_bytes_never_raise(chunks: list[bytes]) -> None:
    server = ServerConnection(frame_bytes_max=2000)
    for chunk in chunks:
        if not chunk:
            continue
        for found in server.receive(chunk):
            if isinstance(found, Malformed):
                server.send(found.reply)
                if found.fatal:
                    return
        assert server.pending_bytes <= 2003


MESSAGES = st.sampled_from(
    [
        {"hello": {"protocol": 1}}, {"id": 1, "line": "a"}, {"id": 2, "command": "b"},
        {"cancel": 1}, {"credit": 2, "count": 1}, {"id": 1, "x": 0}, {"id": 2, "line": 0},
        {"id": "s", "line": "a"}, 7,
    ]
)  # fmt: skip


@PROFILE
@given(st.lists(MESSAGES | st.integers(0, 3), max_size=30))
def test_every_request_is_in_flight_until_its_one_answer(steps: list[object]) -> None:
    """A model of ids beside the connection; an int step answers one of the requests in flight."""
    server = ServerConnection(requests_max=3)
    model: list[object] = []
    for step in steps:
        if isinstance(step, int) and step != 7:
            if model:
                server.send(Answer(model.pop(step % len(model)), None))  # type: ignore[arg-type]
        else:
            for found in server.receive(raw(step)):
                if isinstance(found, Request):
                    assert found.id not in model
                    model.append(found.id)
                elif isinstance(found, Malformed):
                    assert found.id is None or found.id not in model
                    server.send(found.reply)
                elif isinstance(found, Cancel | Credit):
                    assert found.id in model
        assert server.in_flight == set(model)
        assert len(model) <= 3
