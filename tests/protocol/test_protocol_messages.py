"""Messages: each type reads back what it writes; odd shapes are refused, unknown fields are not."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse import auv
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
    RemoteProtocolError,
    Request,
    Welcome,
    error_from_auv,
    error_to_auv,
    parse_client,
    parse_server,
)

PROFILE = settings(derandomize=True, deadline=None, database=None, max_examples=400)

CLIENT_MESSAGES = [
    Hello("affsctl 1"),
    Hello("x", protocol=3, minimum=1, session="s-1", auth={"token": "t"}),
    Request(1, line="status"),
    Request("a", command="rollback", args={"dry_run": True}),
    Request(2, line="", session={"directory": "/a"}, trace="t", deadline_ms=5, idempotency_key="k"),
    Request(-3, command="watch", window=0),
    Cancel(7),
    Credit("a", 12),
]
SERVER_MESSAGES = [
    Welcome("affs 0.1", "s-1", 1, {"uuid": "u"}, {"uid": 0}, "admin", {"frame_bytes": 1}),
    Welcome("affs 0.1", "s-1", resumed=True),
    Answer(1, None),
    Answer("a", {"error": 1, "ok": [auv.Char("x")]}),
    Failure(1, {"code": "a.b"}),
    Failure(None, {}),
    Progress(1, 5),
    Progress(1, 5, 10, "bytes", "half"),
    Item(1, None),
    Item(1, b"x"),
    Event({"kind": "commit"}),
    Event({"kind": "commit"}, 4),
]


@pytest.mark.parametrize("message", CLIENT_MESSAGES, ids=repr)
def test_client_messages_read_back(message: object) -> None:
    image = auv.encode(message.to_auv())  # type: ignore[attr-defined]
    assert parse_client(auv.decode(image)) == message
    assert parse_client({**auv.decode(image), "later": [1]}) == message


@pytest.mark.parametrize("message", SERVER_MESSAGES, ids=repr)
def test_server_messages_read_back(message: object) -> None:
    image = auv.encode(message.to_auv())  # type: ignore[attr-defined]
    assert parse_server(auv.decode(image)) == message
    assert parse_server({**auv.decode(image), "later": [1]}) == message


@pytest.mark.parametrize(
    ("value", "code", "category"),
    [
        (None, "protocol.message_shape", Category.INVALID),
        ([], "protocol.message_shape", Category.INVALID),
        ({}, "protocol.message_unknown", Category.UNSUPPORTED),
        ({"id": 1}, "protocol.message_unknown", Category.UNSUPPORTED),
        ({"id": 1, "ok": 2}, "protocol.message_unknown", Category.UNSUPPORTED),
        ({"subscribe": 1}, "protocol.message_unknown", Category.UNSUPPORTED),
        ({"line": "status"}, "protocol.message_field", Category.INVALID),
        ({"id": None, "line": "status"}, "protocol.message_field", Category.INVALID),
        ({"id": 1.0, "line": "status"}, "protocol.message_field", Category.INVALID),
        ({"id": True, "line": "status"}, "protocol.message_field", Category.INVALID),
        ({"id": "", "line": "status"}, "protocol.message_field", Category.INVALID),
        ({"id": "a" * 257, "line": "status"}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": 5}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": None}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": "a", "command": "a"}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": "a" * ((1 << 20) + 1)}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "command": "a", "args": []}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": "a", "deadline_ms": -1}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": "a", "deadline_ms": 1.0}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": "a", "session": "s"}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": "a", "trace": 1}, "protocol.message_field", Category.INVALID),
        ({"id": 1, "line": "a", "window": "9"}, "protocol.message_field", Category.INVALID),
        ({"hello": 1}, "protocol.message_field", Category.INVALID),
        ({"hello": {}}, "protocol.message_field", Category.INVALID),
        ({"hello": {"protocol": "1"}}, "protocol.message_field", Category.INVALID),
        ({"hello": {"protocol": 1, "client": 5}}, "protocol.message_field", Category.INVALID),
        ({"cancel": None}, "protocol.message_field", Category.INVALID),
        ({"credit": 1}, "protocol.message_field", Category.INVALID),
    ],
)
def test_odd_shapes_are_refused(value: object, code: str, category: Category) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_client(value)
    assert (caught.value.code, caught.value.category) == (code, category)
    auv.check(error_to_auv(caught.value))


FIELDS = st.sampled_from(
    [
        *("id", "hello", "welcome", "line", "command", "args", "session", "trace", "deadline_ms"),
        *(
            "cancel",
            "credit",
            "count",
            "ok",
            "error",
            "progress",
            "item",
            "event",
            "protocol",
            "done",
        ),
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3)
SHAPES = st.dictionaries(
    FIELDS,
    st.recursive(SCALARS, lambda inner: st.dictionaries(FIELDS, inner, max_size=3)),
    max_size=5,
)


@PROFILE
@given(SHAPES)
def test_any_shape_is_a_message_or_the_typed_error(value: dict[str, object]) -> None:
    for parse in (parse_client, parse_server):
        try:
            message = parse(value)
        except RemoteProtocolError as error:
            auv.check(error_to_auv(error))
        else:
            assert parse(auv.decode(auv.encode(message.to_auv()))) == message


def test_error_values_read_back() -> None:
    error = AffsError(
        "space.full", Category.NO_SPACE, "no room", hint="delete", retryable=True, details={"a": 1}
    )
    copy = error_from_auv(error_to_auv(error, "t-1"))
    assert (copy.code, copy.category, copy.message) == ("space.full", Category.NO_SPACE, "no room")
    assert (copy.hint, copy.retryable, copy.details, copy.trace) == (
        "delete",
        True,
        {"a": 1},
        "t-1",
    )


@pytest.mark.parametrize("value", [None, 5, {}, {"category": "new"}, {"code": 1, "details": []}])
def test_odd_error_values_are_filled_in(value: object) -> None:
    error = error_from_auv(value)
    assert error.category is Category.INTERNAL
    assert error.code == "protocol.error_value"
    assert error.message
    assert error.details == {}


def test_error_values_can_always_be_sent() -> None:
    error = AffsError(
        "name.odd", Category.INVALID, "name '\udcff'", hint="\ud800" * 50_000, details={"x": {1}}
    )
    value = auv.decode(auv.encode(error_to_auv(error)))
    assert value["message"] == "name '\\udcff'"
    assert value["details"] == {"unsendable": "$.x: a Python set is no AUV value"}
