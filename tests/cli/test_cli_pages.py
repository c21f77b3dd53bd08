"""What is made from the registry of commands: manual pages and completion scripts, in real
shells."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from terminal import PROGRAM, ROOT, Terminal, environment

from affs_ctl.cli import main
from affs_ctl.options import OWN_OPTIONS, SHELLS
from affs_fuse.runtime.command import RESERVED_OPTIONS
from affs_fuse.runtime.commands import COMMANDS
from affs_tools.pages import main as write_pages
from affs_tools.pages import pages, stale

REMEDY = "run: python -m affs_tools.pages"


def test_the_pages_are_current() -> None:
    made = pages()
    for name, text in made.items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: {REMEDY}"
    assert stale(ROOT, made) == [], REMEDY


def test_the_tool_writes_and_removes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_pages([str(tmp_path)]) == 0
    gone = tmp_path / "docs/man/affsctl-gone.1"
    gone.write_text("")
    changed = tmp_path / "docs/man/affsctl.1"
    changed.write_text("")
    capsys.readouterr()
    assert write_pages([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote docs/man/affsctl.1",
        "removed docs/man/affsctl-gone.1",
    ]
    assert not gone.exists()
    assert changed.read_text() == pages()["docs/man/affsctl.1"]


def test_every_command_and_parameter_has_its_place() -> None:
    made = pages()
    for command in COMMANDS:
        page = made[f"docs/man/affsctl-{command.name}.1"].replace("\\-", "-")
        assert command.summary.replace("`", "") in page.replace("\\(aq", "'").replace("`", "")
        for parameter in command.parameters:
            assert parameter.word in page
        if not command.hidden:
            assert f"affsctl-{command.name}\\fR(1)" in made["docs/man/affsctl.1"].replace(
                "\\-", "-"
            )
    for one in OWN_OPTIONS:
        assert (one.long or one.short).replace("-", "\\-") in made["docs/man/affsctl.1"]


def test_reserved_names_are_affsctls_own() -> None:
    """What may stand behind a command must be no option of a command, and no command is called as
    the shell."""
    anywhere = {one.long[2:].replace("-", "_") for one in OWN_OPTIONS if not one.leading}
    assert anywhere == RESERVED_OPTIONS
    assert not {"shell", "sh"} & {command.name for command in COMMANDS}


def test_groff_has_nothing_to_say_about_the_manual() -> None:
    found = subprocess.run(
        ["groff", "-man", "-ww", "-Tutf8", "-z", *sorted(map(str, ROOT.glob("docs/man/*.1")))],
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")


@pytest.mark.parametrize("shell", SHELLS)
def test_affsctl_prints_the_scripts(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--completion", shell]) == 0
    assert capsys.readouterr().out in pages().values()


@pytest.fixture
def search_path(tmp_path: Path) -> str:
    program = tmp_path / "bin" / "affsctl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {" ".join(PROGRAM)} "$@"\n')
    program.chmod(0o755)
    return f"{program.parent}:/usr/local/bin:/usr/bin:/bin"


LINES = [
    ("affsctl rollb", ["rollback"]),
    ("affsctl rollback --d", ["--discard", "--dry-run"]),
    ("affsctl --json show ni", ["nightly"]),
    ("affsctl ROLLBACK --und", ["--undo"]),
    ("affsctl --jso", ["--json", "--jsonl"]),
    ("affsctl --completion z", ["zsh"]),
    ("affsctl watch publ", ["publish"]),
]


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line for line, _ in LINES])
def test_in_a_real_bash(served: Any, search_path: str, line: str, expected: list[str]) -> None:
    main(["-q", "checkpoint", "-l", "nightly"])
    words = " ".join(line.split(" "))
    asking = (
        f"source <(affsctl --completion bash)\n"
        f"COMP_WORDS=({words}); COMP_CWORD={line.count(' ')}\n"
        f"COMP_LINE='{line}'; COMP_POINT=${{#COMP_LINE}}\n"
        '_affsctl; printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    found = subprocess.run(
        ["bash", "-c", asking],
        env=environment(served, PATH=search_path),
        capture_output=True,
        text=True,
    )
    assert (found.stdout.split(), found.stderr) == (expected, "")


@pytest.mark.parametrize(("line", "expected"), LINES, ids=[line for line, _ in LINES])
def test_in_a_real_fish(
    served: Any, search_path: str, tmp_path: Path, line: str, expected: list[str]
) -> None:
    main(["-q", "checkpoint", "-l", "nightly"])
    asking = f"affsctl --completion fish | source; complete -C '{line}'"
    found = subprocess.run(
        ["fish", "--no-config", "-c", asking],
        env=environment(served, PATH=search_path, HOME=str(tmp_path)),
        capture_output=True,
        text=True,
    )
    got = [row.split("\t")[0] for row in found.stdout.splitlines()]
    assert (sorted(got), found.stderr) == (sorted(expected), "")
    assert all("\t" in row for row in found.stdout.splitlines() if row.startswith("--"))


def test_in_a_real_zsh(served: Any, search_path: str, tmp_path: Path) -> None:
    main(["-q", "checkpoint", "-l", "nightly"])
    terminal = Terminal(
        served, program=["zsh", "-f", "-i"], PATH=search_path, HOME=str(tmp_path), PS1="$ "
    )
    terminal.type(
        "autoload -Uz compinit && compinit -u && source <(affsctl --completion zsh)"
        "; PS1='ready''> '\n"
    )
    terminal.expect("ready> ")
    for typed, expected in (
        ("affsctl rollb\t", "rollback "),
        ("affsctl show ni\t", "show nightly "),
        ("affsctl rollback --und\t", "rollback --undo "),
        ("affsctl --completion z\t", "--completion zsh "),
    ):
        terminal.type(typed)
        terminal.expect(expected)
        terminal.type("\x15")
    terminal.type("affsctl rollback --d\t\t")
    terminal.expect("do not keep what is abandoned")
    terminal.type("\x15exit\n")
    assert terminal.end() == 0


def test_the_zsh_script_is_sound(search_path: str, served: Any, tmp_path: Path) -> None:
    """Its syntax, and that each command of the registry has its options in it."""
    path = ROOT / "ctl/affs_ctl/completions/_affsctl"
    found = subprocess.run(["zsh", "-n", str(path)], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (0, "")
    text = path.read_text()
    for command in COMMANDS:
        if not command.hidden:
            assert f"'{command.name}:" in text
            for parameter in command.parameters:
                assert parameter.positional or f"'{parameter.word}:" in text
