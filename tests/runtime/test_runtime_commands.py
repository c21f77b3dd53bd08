"""What is generated from the declarations: help, describe, completion; and rules that every
declaration keeps."""

from typing import Any

import pytest
from runtime_fake import Desk, FakeRuntime

from affs_fuse.auv import encode_canonical
from affs_fuse.runtime.command import Danger, Kind
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.completion import completions
from affs_fuse.runtime.helptext import command_text, overview_text
from affs_fuse.runtime.registry import Registry
from affs_fuse.runtime.results import Shape

REGISTRY = Registry(COMMANDS)
STATES: list[dict[str, Any]] = [
    {"id": "ab" * 16, "label": "", "message": "nightly\nsecond line"},
    {"id": "cd" * 16, "label": "two words", "message": ""},
]


def texts(line: str) -> list[str]:
    return [one["text"] for one in completions(REGISTRY, STATES, line)["candidates"]]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_every_declaration(command: Any) -> None:
    assert command.summary
    assert not command.summary.endswith(".")
    assert command.description.endswith(".")
    assert command.examples, "people read examples first"
    for example in command.examples:
        assert REGISTRY.parse_line(example.line).command is command
    encode_canonical(command.describe())
    assert max(map(len, command_text(command).splitlines())) <= 100
    if command.danger is not Danger.NONE:
        assert command.kind is Kind.COMMAND
        assert command.result.plan, "a plan has to be shown"
    if command.result.shape is Shape.TABLE:
        assert command.result.fields


def test_help_lists_each_visible_command_once() -> None:
    text = overview_text(COMMANDS)
    for command in COMMANDS:
        assert text.count(f"\n  {command.name} ") == (0 if command.hidden else 1)


def test_help_of_one_command_begins_with_examples() -> None:
    text = command_text(REGISTRY.find("rollback"))
    assert text.index("rollback --dry-run") < text.index("Usage:")
    for word in ("--undo", "--discard", "-y, --yes", "[STATE]", "Role: admin", "--token TOKEN"):
        assert word in text


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("roll", ["rollback"]),
        ("  ROLL", ["rollback"]),
        ("rollback --d", ["--discard", "--dry-run"]),
        ("rollback --discard --d", ["--dry-run"]),
        ("help che", ["checkpoint", "checkpoints", "check"]),
        ("show ab", ["ab" * 16]),
        ("show t", ["two words"]),
        ("watch -c 3 publish ro", ["rollback"]),
        ("checkpoint -l ", []),
        ("delete x ", ["--now", "--dry-run", "--yes", "--token"]),
        ("publish -m --", []),
        ("show -- --", []),
        ("nonsense x", []),
        ("show 'open", []),
        ("show a | wh", []),
    ],
)
def test_candidates(line: str, expected: list[str]) -> None:
    assert texts(line) == expected


def test_an_empty_line_offers_the_commands() -> None:
    assert texts("") == [command.name for command in COMMANDS if not command.hidden]


def test_states_by_the_newest_and_with_their_message() -> None:
    found = completions(REGISTRY, STATES, "rollback ")["candidates"]
    assert [one["text"] for one in found] == ["published", "working", "@", "two words", "ab" * 16]
    assert [one["help"] for one in found][-1] == "nightly"
    assert found[3]["source"] == "'two words'"


@pytest.mark.parametrize(
    ("line", "column", "length"), [("rollback --d", 10, 3), ("rollback ", 10, 0), ("st", 1, 2)]
)
def test_the_place_that_a_candidate_takes(line: str, column: int, length: int) -> None:
    found = completions(REGISTRY, STATES, line)
    assert (found["column"], found["length"]) == (column, length)


async def test_help_describe_and_complete_as_commands() -> None:
    desk = Desk(FakeRuntime())
    assert "rollback" in (await desk.ok("help"))["text"]
    assert (await desk.ok("diff --help"))["topic"] == "diff"
    described = await desk.ok("describe")
    assert [one["name"] for one in described["commands"]] == [one.name for one in COMMANDS]
    assert (await desk.ok("describe Diff"))["usage"].startswith("diff [A] [B]")
    assert (await desk.ok(command="describe", args={"line": "Diff -h"}))["name"] == "help"
    assert (await desk.error("help rolback"))["code"] == "command.unknown"
    answer = await desk.ok("complete 'status --x' --cursor 3")
    assert [one["text"] for one in answer["candidates"]] == ["status"]


async def test_names_of_hooks_and_packages_complete() -> None:
    desk = Desk(FakeRuntime())
    found = (await desk.ok("complete 'use-personality s'"))["candidates"]
    assert [one["source"] for one in found] == ["school-lab", "server"]
    found = (await desk.ok("complete 'hook x pub'"))["candidates"]
    assert [one["source"] for one in found] == ["publish"]
    answer = completions(REGISTRY, [], "unhook ", {"hooks": [("copy", "/usr/bin/copy")]})
    assert [one["source"] for one in answer["candidates"]] == ["copy"]
