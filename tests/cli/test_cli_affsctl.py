"""affsctl end to end over a real socket: what it prints, where, and its exit status."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from terminal import PROGRAM, Terminal, await_watcher, environment

from affs_ctl.cli import main
from affs_fuse import __version__
from affs_fuse.auv import parse
from affs_fuse.errors import AffsError, Category


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main(words)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_the_story_for_people(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "publish", "-m", "release 'one'")
    assert (status, err) == (0, "")
    assert out == "Published a00000010000.\n"
    assert "release 'one'" in run(capsys, "show", "published")[1]
    served.runtime.engine.files = {"/a": b"ruined" * 1000, "/c": b""}
    status, out, err = run(capsys, "diff")
    assert status == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["changed", "data", "+5.86", "KiB", "/a"]
    assert [line[0] for line in lines] == ["changed", "removed", "added"]
    assert err == "added 1, removed 1, changed 1, renamed 0, growth +5.85 KiB\n"
    status, out, _ = run(capsys, "rollback")
    assert status == 0
    assert out.startswith("Rolled back to a00000010000.\n")
    assert "Put aside as" in out
    assert served.runtime.engine.files == {"/a": b"one", "/b": b"two"}


def test_programs_get_everything(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--json", "checkpoint", "-l", "x")
    assert status == 0
    state = json.loads(out)
    assert (state["label"], state["bytes"], state["pins"]) == ("x", 6, 0)
    _, out, _ = run(capsys, "checkpoints", "--json")
    assert json.loads(out) == [state]
    _, out, _ = run(capsys, "--jsonl", "checkpoints")
    assert [json.loads(line) for line in out.splitlines()] == [state]
    _, out, _ = run(capsys, "--ajis", "show", "x")
    assert parse(out.rstrip("\n")).items() >= state.items()  # and what it would free
    assert out.startswith('{"author":')


@pytest.mark.parametrize("empty", [False, True])
def test_a_stream_has_one_form_whether_it_is_empty_or_not(
    served: Any, capsys: pytest.CaptureFixture[str], empty: bool
) -> None:
    if empty:
        served.runtime.engine.files = {}
    for form in ("--json", "--ajis"):
        _, out, _ = run(capsys, form, "diff")
        document = parse(out.rstrip("\n"))
        assert [one["path"] for one in document["items"]] == ([] if empty else ["/a", "/b"])
        assert document["result"]["count"] == (0 if empty else 2)
    _, out, _ = run(capsys, "--jsonl", "diff")
    assert len(out.splitlines()) == (0 if empty else 2)


@pytest.mark.parametrize(
    ("failure", "status"),
    [
        (AffsError("x.y", category, "a message", hint="a hint"), category.exit_status)
        for category in Category
    ],
    ids=lambda value: str(value.category) if isinstance(value, AffsError) else str(value),
)
def test_each_category_has_its_exit_status(
    served: Any, capsys: pytest.CaptureFixture[str], failure: AffsError, status: int
) -> None:
    served.runtime.engine.failure = failure
    assert run(capsys, "commit") == (status, "", "affsctl: a message\nhint: a hint\n")
    code, out, err = run(capsys, "--json", "commit")
    assert (code, out) == (status, "")
    error = json.loads(err)["error"]
    assert (error["code"], error["category"]) == ("x.y", str(failure.category))
    assert len(error["trace"]) == 32


def test_differences_are_no_failure_unless_asked(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(capsys, "diff")[0] == 0
    assert run(capsys, "diff", "--exit-code")[0] == 4
    run(capsys, "publish")
    assert run(capsys, "diff", "--exit-code")[0] == 0


def test_mistakes_in_a_line_are_underlined(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "show", "published", "two words")
    assert (status, out) == (2, "")
    line, marks = err.splitlines()[1:3]
    assert line == "  show published 'two words'"
    assert line[marks.index("^") : len(marks)] == "'two words'"
    status, _, err = run(capsys, "stauts")
    assert (status, err.splitlines()[-1]) == (2, "hint: did you mean status?")


@pytest.mark.parametrize(
    "message",
    [
        "",
        "two words",
        "it's",
        'a "quote"',
        "--yes",
        "-x",
        "$HOME `x`",
        "ü\nline",
        "{}",
        "a|b",
        "\\",
    ],
)
def test_words_arrive_as_the_shell_gave_them(
    served: Any, capsys: pytest.CaptureFixture[str], message: str
) -> None:
    assert run(capsys, "checkpoint", f"--message={message}")[0] == 0
    assert served.runtime.engine.kept[-1]["message"] == message
    if not message.startswith("-"):
        assert run(capsys, "checkpoint", "-m", message)[0] == 0
        assert served.runtime.engine.kept[-1]["message"] == message
        if message:
            assert run(capsys, "checkpoint", f"-m{message}")[0] == 0
            assert served.runtime.engine.kept[-1]["message"] == message


def test_a_whole_line(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "-c", "Checkpoint -l 'a b'")[0] == 0
    assert served.runtime.engine.kept[-1]["label"] == "a b"
    assert run(capsys, "-c", "  ")[0] == 2


def test_help_comes_from_the_runtime(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "help")
    rows = [line.split(None, 1) for line in out.splitlines() if line.startswith("  ")]
    assert ["rollback", "make the working state what a kept state is"] in rows
    by_option = run(capsys, "rollback", "--help")
    assert by_option == run(capsys, "help", "rollback")
    assert by_option[1].startswith("rollback: ")


def test_help_without_any_volume(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AFFS_SOCKET", raising=False)
    monkeypatch.delenv("AFFS_VOLUME", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("affs_ctl.cli.runtime_directories", lambda *_: [str(tmp_path)])
    monkeypatch.setattr("affs_ctl.discover.RUNTIME_DIRECTORY", str(tmp_path))
    status, out, err = run(capsys, "help")
    assert status == 10
    assert "comes from the runtime of a mounted volume, and none is mounted" in err
    assert out.startswith("usage: affsctl")
    status, out, err = run(capsys, "status")
    assert (status, out) == (10, "")


def test_about_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "--version") == (0, f"affsctl {__version__}\n", "")
    assert json.loads(run(capsys, "--version", "--json")[1]) == {"affsctl": __version__}
    status, out, _ = run(capsys, "--help")
    assert (status, out.splitlines()[0]) == (
        0,
        "usage: affsctl [-V VOLUME] [OPTION...] COMMAND [ARGUMENT...]",
    )
    assert run(capsys)[0] == 2


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--nonsense", "status"], "--nonsense"),
        (["-V"], "needs a value"),
        (["--timeout", "0", "status"], "seconds"),
        (["--timeout", "x", "status"], "seconds"),
        (["--json", "--ajis", "status"], "exclude"),
        (["-c", "status", "extra"], "-c takes"),
        (["checkpoint", "-m", "\udcff"], "not UTF-8"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: list[str], what: str) -> None:
    status, out, err = run(capsys, *words)
    assert (status, out) == (2, "")
    assert what in err


def test_nobody_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AFFS_SOCKET", str(tmp_path / "none.sock"))
    assert run(capsys, "ping")[0] == 17


def test_what_cannot_be_undone_needs_a_word(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys, "checkpoint", "-l", "old")
    status, _, err = run(capsys, "delete", "old")
    assert status == 14
    assert "--yes" in err
    status, out, _ = run(capsys, "delete", "old", "--dry-run")
    assert status == 0
    assert re.search(r"Would delete +old \(a00000010000\)", out)
    token = out.split()[-1]
    status, out, _ = run(capsys, "delete", "old", "--token", token)
    assert (status, out.splitlines()[0]) == (0, "Deleted old (a00000010000).")
    assert served.runtime.engine.kept == []


def test_out_of_time(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    status, _, err = run(capsys, "--timeout", "0.05", "watch")
    assert status == 18
    assert "50 ms" in err


def test_quiet(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = run(capsys, "-q", "publish")
    assert "Published" not in out
    assert run(capsys, "-q", "diff") == (0, "", "")


def test_names_cannot_speak_to_the_terminal(
    served: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    served.runtime.engine.files = {"/\x1b[2Jevil\n": b""}
    _, out, _ = run(capsys, "diff")
    assert "\x1b" not in out
    assert len(out.splitlines()) == 1
    assert "/\\x1b[2Jevil\\n" in out


def test_a_locale_that_cannot_show_a_name(served: Any) -> None:
    served.runtime.engine.files = {"/\u00fc": b""}
    found = subprocess.run(
        [*PROGRAM, "diff"], env=environment(served, PYTHONIOENCODING="ascii"), capture_output=True
    )
    assert (found.returncode, found.stdout.split()[-1]) == (0, b"/\\xfc")


def test_completion(served: Any, capsys: pytest.CaptureFixture[str]) -> None:
    run(capsys, "checkpoint", "-l", "nightly")
    assert run(capsys, "__complete", "affsctl roll", "roll")[1] == "rollback\n"
    assert run(capsys, "__complete", "affsctl -V /x --json show ni", "ni")[1] == ""
    assert run(capsys, "__complete", "affsctl --json show ni", "ni")[1] == "nightly\n"
    assert run(capsys, "__complete", "affsctl checkpoint --lab", "--lab")[1] == "--label\n"
    assert run(capsys, "__complete", "affsctl delete --token=", "=")[1] == ""
    assert run(capsys, "__complete", "affsctl --js", "--js")[1] == "--json\n--jsonl\n"
    assert run(capsys, "__complete", "affsctl -V ", "")[1] == ""


def test_completion_in_a_real_bash(served: Any, tmp_path: Path) -> None:
    script = subprocess.run(
        [*PROGRAM, "--completion", "bash"], env=environment(), capture_output=True, text=True
    )
    program = tmp_path / "affsctl"
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    asking = (
        f"{script.stdout}\n"
        "COMP_WORDS=(affsctl rollback --d); COMP_CWORD=2\n"
        "COMP_LINE='affsctl rollback --d'; COMP_POINT=${#COMP_LINE}\n"
        '_affsctl; echo "${COMPREPLY[@]}"\n'
    )
    search = f"{tmp_path}:{os.environ['PATH']}"
    found = subprocess.run(
        ["bash", "-c", asking],
        env=environment(served, PATH=search),
        capture_output=True,
        text=True,
    )
    assert found.stdout.split() == ["--discard", "--dry-run"]


@pytest.mark.parametrize(("answer", "left"), [("y", 0), ("n", 1), ("", 1)])
def test_a_terminal_shows_the_plan_and_asks(served: Any, answer: str, left: int) -> None:
    main(["-q", "checkpoint", "-l", "old"])
    terminal = Terminal(served, "delete", "old")
    terminal.expect("[y/N]")
    assert "Would delete" in terminal.text
    terminal.type(answer + "\n")
    assert terminal.end() == (14 if left else 0)
    assert len(served.runtime.engine.kept) == left


def test_colour_only_where_it_is_wanted(served: Any) -> None:
    terminal = Terminal(served, "nonsense")
    assert terminal.end() == 2
    assert "\x1b[31" in terminal.text
    for plain in (
        Terminal(served, "nonsense", NO_COLOR="1"),
        Terminal(served, "--no-color", "nonsense"),
    ):
        assert plain.end() == 2
        assert "\x1b" not in plain.text


def test_watch_until_interrupted(served: Any) -> None:
    process = subprocess.Popen(
        [*PROGRAM, "--jsonl", "watch", "publish"],
        env=environment(served),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        await_watcher(served)
        served.publish("publish", seq=5)
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["seq"] == 5
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    finally:
        process.kill()
        process.wait()
    assert (process.returncode, out, err) == (130, "", "")
    assert served.runtime.events.statistics().subscribers == 0


def test_a_reader_that_goes_is_no_error(served: Any) -> None:
    served.runtime.engine.files = {f"/{n:06}": b"" for n in range(20_000)}
    command = " ".join(PROGRAM) + " diff | head -n 1; echo ${PIPESTATUS[0]}"
    found = subprocess.run(
        ["bash", "-c", command], env=environment(served), capture_output=True, text=True
    )
    assert found.stdout.splitlines()[-1] == "141"
    assert found.stderr == ""


def test_it_starts_at_once_and_imports_little(served: Any) -> None:
    found = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "affs_ctl", "ping"],
        env=environment(served),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0
    modules = {line.rpartition("|")[2].strip() for line in found.stderr.splitlines()}
    assert "affs_ctl.client" in modules
    assert not modules & {"trio", "anyio", "pyfuse3", "affs_fuse.runtime", "argparse", "rich"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([*PROGRAM, "ping"], env=environment(served), capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # Of the processor: how long it waits for one depends on what else the machine does.
    used_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used_s < 0.15
