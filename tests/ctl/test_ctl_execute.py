"""One line from its sending to its status, against a server that plays a script."""

import json
import os
import signal
from typing import Any

import pytest
from peer_harness import Peer, Serve, gone

from affs_ctl import execute
from affs_ctl.client import Client
from affs_ctl.execute import Executor
from affs_ctl.interrupt import Interrupts
from affs_ctl.output import make_output
from affs_fuse.errors import AffsError, Category
from affs_fuse.protocol import Answer, Cancel, Failure, Item


def run(
    path: str, line: str, *, timeout_s: float | None = None, ask: Any = None
) -> execute.Outcome:
    interrupts = Interrupts()
    with Client.connect(path, wait=interrupts.wait) as client:
        executor = Executor(client, interrupts, timeout_s=timeout_s, ask=ask, items_kept_max=2)
        return executor.run(line, make_output("json", quiet=True, color=False))


def test_a_server_that_never_answers(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        assert peer.next().command == "describe"
        assert peer.next().deadline_ms == 50
        gone(peer)

    monkeypatch.setattr(execute, "_GRACE_S", 0.05)
    outcome = run(serve(script), "status", timeout_s=0.05)
    assert outcome.status == 18
    assert "client.timeout" in capsys.readouterr().err


def test_an_answer_that_was_there_before_its_schema(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        described, asked = peer.next(), peer.next()
        peer.send(*(Item(asked.id, number) for number in range(3)), Answer(asked.id, {"count": 3}))
        peer.send(Answer(described.id, {"result": {"shape": "stream"}}))
        gone(peer)

    outcome = run(serve(script), "diff")
    assert (outcome.value, outcome.items, outcome.status) == ({"count": 3}, [0, 1], 0)
    assert json.loads(capsys.readouterr().out) == {"items": [0, 1, 2], "result": {"count": 3}}


@pytest.mark.parametrize("agreed", [True, False])
def test_a_plan_is_confirmed(
    serve: Serve, capsys: pytest.CaptureFixture[str], agreed: bool
) -> None:
    details = {"confirmed_line": "delete x --token=t", "danger": "destructive", "plan": {}}
    error = AffsError("plan.unconfirmed", Category.CONFLICT, "cannot be undone", details=details)

    def script(peer: Peer) -> None:
        peer.greet()
        described, asked = peer.next(), peer.next()
        peer.send(Answer(described.id, {}), Failure(asked.id, error.to_auv()))
        if agreed:
            peer.send(Answer(peer.next().id, {}))
            confirmed = peer.next()
            assert confirmed.line == "delete x --token=t"
            peer.send(Answer(confirmed.id, {"exit_status": 4}))
        gone(peer)

    questions: list[str] = []

    def ask(question: str) -> bool:
        questions.append(question)
        return agreed

    assert run(serve(script), "delete x", ask=ask).status == (4 if agreed else 14)
    assert questions == ["Do it? It cannot be undone. [y/N] "]


def test_an_interrupt_cancels_and_waits_for_the_answer(
    serve: Serve, capsys: pytest.CaptureFixture[str]
) -> None:
    def script(peer: Peer) -> None:
        peer.greet()
        described, asked = peer.next(), peer.next()
        peer.send(Answer(described.id, {}))
        os.kill(os.getpid(), signal.SIGINT)  # the process: its main thread gets it
        assert peer.next() == Cancel(asked.id)
        cancelled = AffsError("request.cancelled", Category.CANCELLED, "cancelled")
        peer.send(Failure(asked.id, cancelled.to_auv()))
        gone(peer)

    outcome = run(serve(script), "watch")
    assert (outcome.interrupted, outcome.status) == (True, 130)
    assert capsys.readouterr().err == ""
