"""The interactive shell: its prompt, help while typing, history, results, and Ctrl-C."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from terminal import PROGRAM, Terminal, await_watcher, environment

from affs_ctl.assist import Assist
from affs_ctl.client import Client
from affs_ctl.conversation import Conversation, Leave, joined
from affs_ctl.history import History
from affs_ctl.interrupt import Interrupts
from affs_ctl.link import Link
from affs_ctl.output import make_output
from affs_ctl.shell import Shell
from affs_fuse.clock import SYSTEM_CLOCK
from affs_fuse.errors import AffsError, Category


class Desk:
    """A conversation with the served runtime."""

    def __init__(self, served: Any) -> None:
        self.path: str = served.path
        self.sessions: list[str] = []
        interrupts = Interrupts()
        self.history = History("", SYSTEM_CLOCK)
        self.link = Link(self._connect)
        self.conversation = Conversation(
            self.link,
            lambda form, expanded: make_output(
                form, quiet=False, color=False, expanded=expanded, program=""
            ),
            interrupts,
            history=self.history,
        )

    def _connect(self, session: str) -> Client:
        self.sessions.append(session)
        return Client.connect(self.path, name="test")

    def take(self, *lines: str) -> list[int]:
        return [self.conversation.take(line) for line in lines]


@pytest.fixture
def desk(served: Any) -> Iterator[Desk]:
    found = Desk(served)
    yield found
    found.link.close()


def test_results_can_be_used_again(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.take("checkpoint -l one", "nonsense", "checkpoint -l two") == [0, 2, 0]
    capsys.readouterr()
    assert desk.take("show _1.id", "diff _1.id _2.id", "\\json", "diff working _2.id") == [0] * 4
    assert "Label      one" in capsys.readouterr().out
    assert desk.take("\\results") == [0]
    shown = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in shown] == ["_1", "_2", "_3", "_4", "_5"]
    assert all(len(row) < 80 for row in shown)
    assert desk.take("show _7.id") == [16]
    error = json.loads(capsys.readouterr().err)["error"]
    assert (error["code"], error["details"]["column"]) == ("shell.result", 6)


def test_a_stream_is_a_result_too(
    desk: Desk, served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.take("diff", "checkpoint -m _.items[1].path")
    assert served.runtime.engine.kept[-1]["message"] == "/b"


def test_views(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.take("checkpoint -l one", "checkpoint -l two")
    capsys.readouterr()
    desk.take("\\x", "checkpoints")
    expanded = capsys.readouterr().out
    assert "-- 1 --\n" in expanded
    assert "-- 2 --\n" in expanded
    desk.take("\\X", "\\jsonl", "checkpoints", "\\text", "checkpoints")
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[1])["label"] == "one"
    assert lines[3].startswith("ID ")


def test_lines_that_are_not_for_the_runtime(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert desk.take("", "   ", "# a remark", "\\?") == [0, 0, 0, 0]
    assert "\\history" in capsys.readouterr().out
    assert desk.take("rollback ?", "help rollback") == [0, 0]
    out = capsys.readouterr().out
    assert out == 2 * out[: len(out) // 2]
    assert out.startswith("rollback: ")
    assert desk.take("\\nonsense", "\\history -n x", "\\history 'open") == [2, 2, 2]
    for line in ("\\q", "exit", "quit"):
        with pytest.raises(Leave):
            desk.take(line)


def test_history_with_filters(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.take("checkpoint -l one", "show nothing", " show secret", "show one")
    capsys.readouterr()

    def found(line: str) -> list[str]:
        desk.take(line)
        return [
            row.split("  ", 3)[-1].split("  ")[-1] for row in capsys.readouterr().out.splitlines()
        ]

    assert found("\\history show") == ["show nothing", "show one"]
    assert found("\\history --failed") == ["show nothing"]
    assert found("\\history --here --ok -n 1 one") == ["show one"]
    assert found("\\history --session ffff") == []
    assert desk.history.lines()[-1] == "checkpoint -l one"


def test_the_signature_of_what_is_being_typed(desk: Desk) -> None:
    assist = Assist(desk.link)

    def here(text: str) -> str:
        found = assist.signature(text)
        assert found is not None
        return found.here

    assert here("show ") == "STATE"
    assert here("checkpoint --label=x") == here("checkpoint -l ") == "[--label LABEL]"
    assert (
        here("checkpoint -m 'two wor") == here('checkpoint --message="x') == "[--message MESSAGE]"
    )
    assert here("watch publish com") == "[KINDS...]"
    assert here("rollback ") == "[STATE]"
    found = assist.signature("rollback --dry-run")
    assert found is not None
    assert found.before.startswith("rollback [STATE]")
    assert found.here == "[--dry-run]"
    assert found.help == "show what would happen and change nothing"
    bare = assist.signature("ping ")
    assert bare is not None
    assert (bare.before, bare.here, bare.help) == ("ping", "", "see whether the runtime answers")
    assert assist.signature("") is assist.signature("nonsense x") is None


def test_candidates_are_asked_again_after_a_line(desk: Desk) -> None:
    assist = Assist(desk.link)
    assert "new" not in [one.source for one in assist.candidates("show ")]
    desk.take("checkpoint -l new")
    assist.forget()
    [found] = [one for one in assist.candidates("show n") if one.kind == "state"]
    assert (found.start, found.source) == (5, "new")


def test_a_connection_that_ended_is_made_again(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    session = desk.link.session
    desk.link.close()
    assert desk.link.ask("status", {}) is None
    assert desk.take("ping") == [0]
    assert desk.sessions == ["", session]
    desk.link.close()
    os.unlink(desk.path)
    assert desk.take("ping") == [17]
    assert "no daemon answers" in capsys.readouterr().err


def test_a_session_that_is_forgotten_begins_anew(served: Any) -> None:
    asked: list[str] = []

    def connect(session: str) -> Client:
        asked.append(session)
        if session:
            raise AffsError("session.unknown", Category.NOT_FOUND, "no such session")
        return Client.connect(served.path)

    link = Link(connect)
    first = link.session
    link.close()
    with link.client() as client:
        assert client.run("ping") is not None
    assert asked == ["", first, ""]
    link.close()


def test_a_line_goes_on_behind_a_backslash() -> None:
    lines = ["a \\\n", "b\n", "c\\\\\n", "# d \\\n", "e \\\n"]
    assert list(joined(lines)) == [(1, "a \nb"), (3, "c\\\\"), (4, "# d \\"), (5, "e \n")]


@pytest.fixture
def typed(desk: Desk) -> Iterator[Any]:
    """Type keys into a shell, and see it run to its end."""
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):

        def run(text: str) -> Shell:
            shell = Shell(desk.conversation, desk.history)
            keys.send_text(text)
            shell.run()
            return shell

        yield run


def test_keys(desk: Desk, typed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    typed("checkpoint -l one\rshow o\x03show one\r\x1b[A\x1b[A\x05 -m again\x15ping\r\x04")
    assert desk.history.lines() == ["ping", "show one", "checkpoint -l one"]


def test_a_line_break_in_a_line(desk: Desk, typed: Any, served: Any) -> None:
    typed("checkpoint -m 'two\x1b\rlines'\r\\q\r")
    assert served.runtime.engine.kept[-1]["message"] == "two\nlines"


def test_the_prompt_tells_role_and_uncommitted_changes(desk: Desk, typed: Any) -> None:
    shell = typed("\x04")

    def prompt() -> str:
        return "".join(text for _, text, *_ in shell._prompt())

    assert prompt() == "affs:fake admin *> "
    desk.take("commit")
    assert prompt() == "affs:fake admin> "


def test_the_completer(desk: Desk, typed: Any) -> None:
    completer = typed("\x04").session.completer

    def sources(text: str) -> list[str]:
        return [one.text for one in completer.get_completions(Document(text), CompleteEvent())]

    assert sources("rollb") == ["rollback"]
    assert sources("rollback --d") == ["--discard", "--dry-run"]
    assert sources("\\j") == ["\\json", "\\jsonl"]
    assert sources("show _") == []
    desk.take("checkpoint -l one")
    assert sources("show _") == ["_", "_1"]
    assert sources("diff --limit=_.s") == ["_.seq"]


def test_on_a_terminal(served: Any, tmp_path: Path) -> None:
    """The whole program, as a person uses it."""
    (tmp_path / ".affsrc").write_text("checkpoint -l at-start\n")
    terminal = Terminal(
        served, "shell", HOME=str(tmp_path), XDG_STATE_HOME=str(tmp_path), AFFS_PAGER=""
    )
    terminal.expect("role admin.")
    terminal.expect("Kept as at-start")
    terminal.expect("affs:fake admin>")
    terminal.type("show at")
    terminal.expect("show STATE")
    terminal.type("\t")
    terminal.expect("-start")
    terminal.type("\r")
    terminal.expect("Author")
    terminal.expect("admin>")
    terminal.type("watch\r")
    await_watcher(served)
    served.publish("publish", seq=5)
    terminal.expect("seq=5")
    terminal.type("\x03")
    terminal.expect("admin>")
    assert served.runtime.events.statistics().subscribers == 0
    terminal.type("delete at-start\r")
    terminal.expect("[y/N]")
    terminal.type("y\r")
    terminal.expect("Deleted")
    terminal.expect("admin")
    terminal.type("show _.x\r")
    terminal.expect("^^^")
    terminal.expect("admin")
    terminal.type("\x04")
    assert terminal.end() == 0
    history = tmp_path / "affs" / "history"
    assert history.stat().st_mode & 0o777 == 0o600
    entries = [json.loads(line) for line in history.read_text().splitlines()]
    assert [(one["line"], one["status"]) for one in entries] == [
        ("show at-start", 0),
        ("watch", 130),
        ("delete at-start", 0),
        ("show _.x", 16),
    ]


def test_without_the_library_it_says_what_to_install(served: Any, tmp_path: Path) -> None:
    (tmp_path / "prompt_toolkit.py").write_text("raise ImportError('not here')\n")
    paths = environment()["PYTHONPATH"]
    terminal = Terminal(served, "shell", PYTHONPATH=f"{tmp_path}:{paths}")
    assert terminal.end() == 2
    assert "install affs[shell]" in terminal.plain


def test_affsctl_itself_does_not_load_the_shell(served: Any) -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", *PROGRAM[1:], "-f", "-"],
        env=environment(served),
        input="ping\n",
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0
    assert "prompt_toolkit" not in found.stderr
    assert "asyncio" not in found.stderr
