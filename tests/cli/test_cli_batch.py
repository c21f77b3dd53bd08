"""Batches, frames as output and the pager."""

import io
import json
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from terminal import PROGRAM, Terminal, await_watcher, environment

from affs_ctl.cli import main
from affs_ctl.client import Client
from affs_ctl.trio_client import connect
from affs_fuse.auv import decode
from affs_fuse.protocol import FrameReader


def test_lines_of_a_file(served: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_text(
        "# first of all\n\ncheckpoint -l one \\\n   -m 'two words'\n"
        "nonsense\nshow _.id\n\\json\nshow one\n"
    )
    assert main(["-f", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out.startswith("Kept as one (a00000010000).\nId ")
    assert json.loads(captured.out.splitlines()[-1])["message"] == "two words"
    assert f"{path}:5: status 2\n" in captured.err
    assert main(["--stop-on-error", "-f", str(path)]) == 1  # the label is taken
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("status")) == ("", 1)


def test_lines_of_the_standard_input_are_answered_one_by_one(served: Any) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--jsonl", "-f", "-"],
        env=environment(served),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        for label in ("x", "y"):
            process.stdin.write(f"checkpoint -l {label}\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["label"] == label
        out, _ = process.communicate("\\q\ncheckpoint -l z\n", timeout=10)
    finally:
        process.kill()
        process.wait()
    assert (out, process.returncode) == ("", 0)
    assert len(served.runtime.engine.kept) == 2


def test_a_shell_without_a_terminal_takes_lines(
    served: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("checkpoint -l x\nexit\nnonsense\n"))
    assert main(["shell", "-q"]) == 0
    assert [state["label"] for state in served.runtime.engine.kept] == ["x"]


def test_nobody_is_asked_in_a_batch(
    served: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "lines"
    path.write_text("checkpoint -l old\ndelete old\n")
    assert main(["-f", str(path)]) == 14
    assert len(served.runtime.engine.kept) == 1
    path.write_text("delete old --dry-run\ndelete old --token _.token\n")
    assert main(["-f", str(path)]) == 0
    assert served.runtime.engine.kept == []


def test_a_file_that_cannot_be_read(
    served: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    binary = tmp_path / "binary"
    binary.write_bytes(b"status\n\xff\xfe\n")
    for path in (tmp_path / "none", binary):
        assert main(["-q", "-f", str(path)]) == 2
        assert "cannot read lines from" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["-f", "x", "status"], "no command"),
        (["shell", "status"], "takes no command"),
        (["--stop-on-error", "status"], "is for -f"),
        (["--completion", "csh"], "bash, zsh, fish"),
        (["--json=1", "status"], "takes no value"),
    ],
)
def test_what_does_not_go_together(
    capsys: pytest.CaptureFixture[str], words: list[str], what: str
) -> None:
    assert main(words) == 2
    assert what in capsys.readouterr().err


def frames(data: bytes) -> list[Any]:
    return [decode(payload) for payload in FrameReader().receive(data)]


def wire(served: Any, *words: str) -> tuple[int, list[Any]]:
    found = subprocess.run(
        [*PROGRAM, "--wire", *words], env=environment(served), capture_output=True
    )
    assert found.stderr == b""
    return found.returncode, frames(found.stdout)


def test_frames_as_the_channel_carries_them(served: Any) -> None:
    status, messages = wire(served, "diff")
    assert status == 0
    assert [message["item"]["path"] for message in messages[:-1]] == ["/a", "/b"]
    assert messages[-1]["ok"]["count"] == 2
    assert all(message["id"] == 1 for message in messages)
    status, [message] = wire(served, "show", "nothing")
    assert status == 16
    assert (message["error"]["code"], message["id"]) == ("state.not_found", 1)
    found = subprocess.run(
        [*PROGRAM, "--wire", "ping"],
        env=environment(AFFS_SOCKET=f"{served.path}.none"),
        capture_output=True,
    )
    [message] = frames(found.stdout)
    assert (found.returncode, message["error"]["code"]) == (17, "client.unreachable")


def test_the_same_answer_in_every_way(
    served: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main(["-q", "checkpoint", "-l", "x", "-m", "ü 'quoted'"])
    capsys.readouterr()
    _, [message] = wire(served, "show", "x")
    assert main(["--json", "show", "x"]) == 0
    assert json.loads(capsys.readouterr().out) == message["ok"]
    batch = tmp_path / "lines"
    batch.write_text("\\json\nshow x\n")
    assert main(["-f", str(batch)]) == 0
    assert json.loads(capsys.readouterr().out) == message["ok"]
    with Client.connect(served.path) as client:
        assert client.run("show x") == client.command("show", {"state": "x"}) == message["ok"]

    async def by_trio() -> Any:
        async with connect(served.path) as client:
            assert await client.run("show x") == await client.command("show", {"state": "x"})
            return await client.run("show x")

    assert trio.run(by_trio) == message["ok"]
    with socket.socket(socket.AF_UNIX) as raw:
        raw.connect(served.path)
        reader = FrameReader()
        for payload in (
            b"\x81\xa5hello\x82\xa8protocol\x01\xa6client\xa3raw",
            b"\x82\xa2id\x01\xa4line\xa6show x",
        ):
            raw.sendall(len(payload).to_bytes(4, "big") + payload)
            answers: list[Any] = []
            while not answers:
                answers = [decode(one) for one in reader.receive(raw.recv(65536))]
    assert answers == [message]


PAGER = 'sh -c \'echo "<<"; cat; echo ">>"\''


def test_what_fits_the_screen_is_printed_and_what_does_not_is_paged(served: Any) -> None:
    served.runtime.engine.files = {f"/{number}": b"" for number in range(10)}
    terminal = Terminal(served, "diff", AFFS_PAGER=PAGER)
    assert terminal.end() == 0
    assert "<<" not in terminal.plain
    assert terminal.plain.count("added") == 11  # ten rows and the summary
    served.runtime.engine.files = {f"/{number}": b"" for number in range(300)}
    terminal = Terminal(served, "diff", AFFS_PAGER=PAGER, PAGER="false")
    assert terminal.end() == 0
    head, _, rest = terminal.plain.partition("<<")
    paged, _, tail = rest.partition(">>")
    assert (head.count("added"), paged.count("added  "), tail.count("added")) == (0, 300, 1)
    for more in (["--no-pager"], []):
        terminal = Terminal(served, *more, "diff", AFFS_PAGER=PAGER if more else "")
        assert terminal.end() == 0
        assert "<<" not in terminal.plain
        assert terminal.plain.count("added") == 301


def test_leaving_the_pager_cancels_the_request(served: Any) -> None:
    served.runtime.engine.files = {f"/{number:06}": b"" for number in range(50_000)}
    terminal = Terminal(served, "diff", AFFS_PAGER="head -n 2")
    assert terminal.end() == 0
    assert terminal.plain.startswith("CHANGE ")
    assert terminal.plain.count("added  ") == 1
    assert served.runtime.dispatcher.statistics().failed["cancelled"] == 1


def test_rows_that_come_slowly_are_shown_before_the_screen_is_full(served: Any) -> None:
    """Events are never held back; they have no end to wait for."""
    terminal = Terminal(served, "watch", "publish", AFFS_PAGER=PAGER)
    await_watcher(served)
    served.publish("publish", seq=5)
    terminal.expect("publish")
    terminal.type("\x03")
    assert terminal.end() == 130
    assert "<<" not in terminal.plain
