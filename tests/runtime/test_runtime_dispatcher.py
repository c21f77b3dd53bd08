"""Requests through the dispatcher: roles, plans, deadlines, cancellation, idempotency, the
operation log."""

import logging
from typing import Any

import pytest
import trio
from runtime_fake import OTHER, Desk, FakeRuntime
from trio.testing import wait_all_tasks_blocked

from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Answer, Failure, Request
from affs_fuse.runtime.policy import Identity


@pytest.fixture
def desk() -> Desk:
    runtime = FakeRuntime()
    runtime.engine.files = {"/a": b"one", "/b": b"two"}
    return Desk(runtime)


async def test_a_line_and_a_command_give_the_same(desk: Desk) -> None:
    by_line = await desk.ok("CHECKPOINT -l first --message 'a word'")
    assert (by_line["label"], by_line["message"], by_line["author"]) == ("first", "a word", "ann")
    shown = await desk.ok(command="show", args={"state": "first"})
    assert shown == {**by_line, "frees_bytes": by_line["bytes"]} == await desk.ok("show first")


async def test_the_story_of_a_volume(desk: Desk) -> None:
    engine = desk.runtime.engine
    published = await desk.ok("publish -m release")
    assert published["published"]
    assert published["previous"] is None
    engine.files = {"/a": b"ruined", "/c": b""}
    await desk.ok("diff")
    assert [(one["kind"], one["path"]) for one in desk.reply.items] == [
        ("changed", "/a"),
        ("removed", "/b"),
        ("added", "/c"),
    ]
    done = await desk.ok("rollback")
    assert engine.files == {"/a": b"one", "/b": b"two"}
    assert (done["added"], done["removed"], done["changed"]) == (1, 1, 1)
    assert done["abandoned"]["flags"] == ["automatic"]
    await desk.ok("rollback --undo")
    assert engine.files == {"/a": b"ruined", "/c": b""}
    assert [one["label"] for one in await desk.ok("checkpoints")] == ["", "", ""]


async def test_diff_counts_and_stops_at_the_limit(desk: Desk) -> None:
    summary = await desk.ok("diff --limit 1 --exit-code")
    assert (summary["count"], summary["more"], summary["exit_status"]) == (1, True, 4)
    desk.reply.items.clear()
    summary = await desk.ok("diff --limit 2")
    assert (summary["added"], summary["bytes"], summary["more"]) == (2, 6, False)
    assert "exit_status" not in summary
    await desk.ok("publish")
    assert "exit_status" not in await desk.ok("diff --exit-code")


@pytest.mark.parametrize(
    ("line", "role"),
    [("commit", "operator"), ("publish", "operator"), ("rollback", "admin"), ("unpin x", "admin")],
)
async def test_a_denial_names_the_role(
    line: str, role: str, caplog: pytest.LogCaptureFixture
) -> None:
    desk = Desk(FakeRuntime(), OTHER)
    error = await desk.error(line)
    assert (error["code"], error["category"]) == ("policy.role", "denied")
    assert role in error["message"]
    assert error["details"]["needed"] == role
    assert desk.runtime.engine.calls == []
    assert desk.runtime.engine.log == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert await desk.ok("ping")


@pytest.mark.parametrize("line", ["delete old", "rollback old --discard"])
async def test_what_cannot_be_undone_is_confirmed_first(desk: Desk, line: str) -> None:
    await desk.ok("checkpoint -l old")
    await desk.ok("checkpoint -l new")
    desk.runtime.engine.calls.clear()
    error = await desk.error(line)
    assert (error["code"], error["category"]) == ("plan.unconfirmed", "conflict")
    assert error["details"]["plan"]
    assert not {"delete", "rollback"} & set(desk.runtime.engine.calls)
    dry = await desk.ok(f"{line} --dry-run")
    assert dry["token"] == error["details"]["token"]
    for plan in (dry["plan"], error["details"]["plan"]):
        del plan["undo"]  # its date moves on
    assert dry["plan"] == error["details"]["plan"]
    assert dry["danger"] == "destructive"
    await desk.ok(error["details"]["confirmed_line"])
    assert desk.runtime.engine.calls[-1] in ("delete", "rollback")


async def test_yes_needs_no_plan(desk: Desk) -> None:
    await desk.ok("checkpoint -l old")
    await desk.ok("delete old --yes")
    assert "plan" not in desk.runtime.engine.calls
    assert await desk.ok("checkpoints") == []


async def test_what_can_be_undone_needs_no_confirmation(desk: Desk) -> None:
    await desk.ok("publish")
    desk.runtime.engine.files["/a"] = b"changed"
    before = dict(desk.runtime.engine.files)
    assert (await desk.ok("rollback -n"))["danger"] == "reversible"
    assert desk.runtime.engine.files == before
    await desk.ok("rollback")
    assert desk.runtime.engine.files["/a"] == b"one"


async def test_a_stale_token(desk: Desk) -> None:
    await desk.ok("publish")
    desk.runtime.engine.files["/a"] = b"changed"
    token = (await desk.ok("rollback --discard --dry-run"))["token"]
    await desk.ok("commit")
    desk.runtime.engine.files["/a"] = b"changed again"
    error = await desk.error(f"rollback --discard --token {token}")
    assert (error["code"], error["category"]) == ("plan.stale", "conflict")
    assert desk.runtime.engine.files["/a"] == b"changed again"
    await desk.ok(f"rollback --discard --token {error['details']['token']}")
    assert desk.runtime.engine.files["/a"] == b"one"


async def test_what_changes_after_the_token_was_checked_makes_it_stale(desk: Desk) -> None:
    engine = desk.runtime.engine
    await desk.ok("publish")
    token = (await desk.ok("rollback --discard --dry-run"))["token"]

    def write(verb: str) -> None:
        if verb == "rollback":
            engine.files["/late"] = b"not in the plan"

    engine.meanwhile = write
    error = await desk.error(f"rollback --discard --token {token}")
    assert (error["code"], error["category"]) == ("plan.stale", "conflict")
    assert error["details"]["plan"]["removed"] == 1, "the new plan comes with the refusal"
    assert engine.files["/late"] == b"not in the plan"
    assert engine.log[-1]["error"] == "plan.stale"
    await desk.ok(f"rollback --discard --token {error['details']['token']}")
    assert "/late" not in engine.files


async def test_a_token_holds_for_its_own_arguments(desk: Desk) -> None:
    await desk.ok("checkpoint -l one")
    await desk.ok("checkpoint -l two")
    token = (await desk.ok("delete one --dry-run"))["token"]
    assert (await desk.error(f"delete two --token {token}"))["code"] == "plan.stale"
    assert len(await desk.ok("checkpoints")) == 2


@pytest.mark.parametrize(
    ("prepare", "code"), [("publish x", "state.published"), ("pin x", "state.pinned")]
)
async def test_the_plan_of_a_deletion_that_is_refused(desk: Desk, prepare: str, code: str) -> None:
    await desk.ok("checkpoint -l x")
    await desk.ok(prepare)
    error = await desk.error("delete x --dry-run")
    assert (error["code"], error["category"]) == (code, "conflict")


async def test_rollback_takes_a_state_or_undo(desk: Desk) -> None:
    assert (await desk.error("rollback x --undo"))["code"] == "command.contradiction"


async def test_a_deadline(desk: Desk, autojump_clock: Any) -> None:
    desk.runtime.engine.gate = trio.Event()
    error = await desk.error("commit", deadline_ms=50)
    assert (error["code"], error["category"], error["retryable"]) == (
        "request.deadline",
        "deadline",
        True,
    )
    assert (await desk.error("watch", deadline_ms=0))["category"] == "deadline"


async def test_cancel_reaches_one_request_of_one_session(desk: Desk) -> None:
    runtime = desk.runtime
    stranger = Desk(runtime, OTHER)
    answers: list[Any] = []

    async def watch(who: Desk) -> None:
        answers.append((who, await who.send("watch")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch, desk)
        nursery.start_soon(watch, stranger)
        await wait_all_tasks_blocked()
        assert runtime.dispatcher.statistics().running == 2
        assert runtime.dispatcher.cancel(desk.session, 1)
        await wait_all_tasks_blocked()
        (who, failure), *rest = answers
        assert rest == []
        assert who is desk
        assert failure.error["category"] == "cancelled"
        assert not runtime.dispatcher.cancel(desk.session, 1)
        assert runtime.dispatcher.cancel(stranger.session, 1)
    assert runtime.events.statistics().subscribers == 0


async def test_a_cancel_that_comes_before_the_work_begins(desk: Desk) -> None:
    dispatcher = desk.runtime.dispatcher
    running = dispatcher.admit(desk.session, Request(id=7, line="commit"))
    assert dispatcher.cancel(desk.session, 7)
    desk.runtime.engine.gate = trio.Event()
    answer = await dispatcher.serve(running, desk.reply)
    assert isinstance(answer, Failure)
    assert answer.error["code"] == "request.cancelled"


async def test_a_client_that_goes_leaves_nothing_running(desk: Desk) -> None:
    desk.runtime.engine.gate = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(desk.send, "commit")
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert desk.runtime.dispatcher.statistics().running == 0
    assert desk.runtime.engine.log == []


async def test_idempotency_the_first_answer_again(desk: Desk) -> None:
    first = await desk.ok("checkpoint -l x", idempotency_key="k")
    again = await desk.ok(command="checkpoint", args={"label": "x"}, idempotency_key="k")
    assert again == first
    assert len(desk.runtime.engine.log) == 1
    other_session = Desk(desk.runtime)
    assert await other_session.ok("checkpoint -l x", idempotency_key="k") == first
    assert desk.runtime.dispatcher.statistics().repeated == 2


async def test_idempotency_of_errors(desk: Desk) -> None:
    await desk.ok("checkpoint -l x")
    error = await desk.error("checkpoint -l x", idempotency_key="k", trace="first")
    desk.runtime.engine.kept.clear()
    again = await desk.error("checkpoint -l x", idempotency_key="k", trace="second")
    assert error["code"] == again["code"] == "state.label_taken"
    assert again["trace"] == "second"
    engine = desk.runtime.engine
    engine.failure = AffsError("engine.busy", Category.BUSY, "later", retryable=True)
    assert (await desk.error("commit", idempotency_key="b"))["category"] == "busy"
    engine.failure = None
    assert await desk.ok("commit", idempotency_key="b")


async def test_idempotency_keys_are_of_one_request_and_one_user(desk: Desk) -> None:
    await desk.ok("commit", idempotency_key="k")
    error = await desk.error("publish", idempotency_key="k")
    assert (error["code"], error["category"]) == ("request.key_reused", "conflict")
    root = Desk(desk.runtime, Identity(uid=0, gid=0, user="root"))
    assert (await root.ok("publish", idempotency_key="k"))["published"]


async def test_idempotency_keeps_no_questions(desk: Desk) -> None:
    await desk.ok("checkpoint -l x")
    assert (await desk.ok("delete x -n", idempotency_key="k"))["danger"] == "destructive"
    error = await desk.error("delete x", idempotency_key="k")
    line = error["details"]["confirmed_line"]
    first = await desk.ok(line, idempotency_key="k")
    assert await desk.ok(line, idempotency_key="k") == first
    assert desk.runtime.engine.calls.count("delete") == 1


async def test_idempotency_while_the_first_is_still_at_it(desk: Desk) -> None:
    engine = desk.runtime.engine
    engine.gate = trio.Event()
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await desk.ok("checkpoint -l x", idempotency_key="k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert engine.calls == ["checkpoint"]
        engine.gate.set()
    assert answers[0] == answers[1]
    assert engine.calls == ["checkpoint"]


async def test_idempotency_when_the_first_is_cancelled_the_second_does_it(desk: Desk) -> None:
    engine = desk.runtime.engine
    engine.gate = trio.Event()
    answers: list[Any] = []

    async def ask() -> None:
        answers.append(await desk.send("checkpoint -l x", idempotency_key="k"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        desk.runtime.dispatcher.cancel(desk.session, 1)
        await wait_all_tasks_blocked()
        engine.gate.set()
    assert isinstance(answers[0], Failure)
    assert isinstance(answers[1], Answer)
    assert engine.calls == ["checkpoint", "checkpoint"]


async def test_the_operation_log(desk: Desk) -> None:
    await desk.ok("CHECKPOINT  -l 'two words'", trace="my.trace")
    await desk.error("delete nothing --yes")
    await desk.ok("status")
    first, second = await desk.ok("log")
    assert first["line"] == "checkpoint --label='two words'"
    assert (first["user"], first["role"], first["trace"]) == ("ann", "admin", "my.trace")
    assert first["result"]["label"] == "two words"
    assert first["session"] == desk.session.id
    assert (second["ok"], second["error"]) == (False, "state.not_found")
    assert [entry["number"] for entry in await desk.ok("log --limit 1")] == [2]


async def test_a_log_that_cannot_be_written_does_not_undo_the_command(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    async def full(entry: dict[str, Any]) -> None:
        raise AffsError("volume.no_space", Category.NO_SPACE, "full")

    desk.runtime.engine.record_operation = full  # type: ignore[method-assign]
    assert (await desk.ok("commit"))["seq"] == 2
    assert "operation log" in caplog.text


async def test_a_bug_becomes_an_internal_error(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.runtime.engine.failure = ZeroDivisionError("a bug")
    error = await desk.error("commit", trace="t1")
    assert (error["code"], error["category"]) == ("runtime.internal", "internal")
    assert error["trace"] == "t1"
    assert "a bug" not in error["message"]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.trace == "t1"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("failure", "category"),
    [
        (OSError(28, "No space left on device"), "no_space"),
        (OSError(5, "Input/output error"), "io"),
        (ExceptionGroup("", [AffsError("x.y", Category.CORRUPT, "bad")]), "corrupt"),
    ],
)
async def test_other_failures_have_their_category(
    desk: Desk, failure: Exception, category: str
) -> None:
    desk.runtime.engine.failure = failure
    assert (await desk.error("commit"))["category"] == category


async def test_every_error_has_a_trace(desk: Desk) -> None:
    made = (await desk.error("nonsense"))["trace"]
    assert len(made) == 32
    assert (await desk.error("nonsense", trace="bad\ntrace"))["trace"] != "bad\ntrace"
    assert (await desk.error("nonsense", trace="good-1"))["trace"] == "good-1"


async def test_watch_streams_what_was_asked_for(desk: Desk) -> None:
    events = desk.runtime.events
    events.publish("commit", seq=1)
    cursor = events.cursor
    events.publish("commit", seq=2)
    events.publish("publish", seq=3)
    result = await desk.ok(f"watch PUBLISH --after {cursor} --count 1")
    assert [event["seq"] for event in desk.reply.events] == [3]
    assert result == {"count": 1, "cursor": events.cursor}
    assert events.statistics().subscribers == 0
    assert (await desk.error("watch nonsense"))["code"] == "command.value"
    assert (await desk.error("watch --after x"))["code"] == "event.cursor"


async def test_status_tells_of_the_runtime_too(desk: Desk) -> None:
    await desk.error("nonsense")
    await desk.ok("ping")
    status = await desk.ok("status")
    assert status["label"] == "fake"
    runtime = status["runtime"]
    assert runtime["sessions"] == {"open": 1, "detached": 0, "opened": 1}
    assert runtime["requests"]["failed"] == {"invalid": 1}
    assert runtime["requests"]["commands"]["ping"]["count"] == 1
    assert runtime["requests"]["running"] == 1
    assert runtime["events"]["cursor"] == desk.runtime.events.cursor


async def test_paths_that_are_not_utf_8(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = await desk.runtime.engine.status()

    async def odd() -> dict[str, Any]:
        return {**plain, "mount": "/mnt/\udcff", "backends": ["/srv/\udcfe"]}

    monkeypatch.setattr(desk.runtime.engine, "status", odd)
    status = await desk.ok("status")
    assert (status["mount"], status["mount_b64"]) == ("/mnt/\ufffd", "L21udC//")
    assert status["backends"] == ["/srv/\ufffd"]


async def test_df_and_pins(desk: Desk) -> None:
    assert (await desk.ok("df"))["used"] == 6
    await desk.ok("checkpoint -l x")
    assert (await desk.ok("pin x"))["pins"] == 1
    assert (await desk.ok("unpin x"))["pins"] == 0
    assert (await desk.error("unpin x"))["category"] == "conflict"
