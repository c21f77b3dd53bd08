"""The reference page is what the registry says; the grammar's pages keep to the code."""

import re
from pathlib import Path

import pytest

from affs_fuse.runtime.command import RESERVED_OPTIONS
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.reference import commands_page, main
from affs_fuse.runtime.results import FieldKind, Shape

DOCS = Path(__file__).parents[2] / "docs"
GRAMMAR = (DOCS / "specs/CommandGrammar.md").read_text()


def section(title: str) -> str:
    return re.split(r"^##+ ", GRAMMAR.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]


def words(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def test_the_commands_page_is_current() -> None:
    made = commands_page(COMMANDS)
    assert (DOCS / "commands.md").read_text() == made, (
        "run: python -m affs_fuse.runtime.reference docs/commands.md"
    )


def test_the_tool_writes_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "commands.md"
    assert main([str(page)]) == 0
    assert page.read_text() == commands_page(COMMANDS)
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_types_in_the_grammar_are_those_of_the_parameters() -> None:
    used = {parameter.type.name for command in COMMANDS for parameter in command.parameters}
    rows = {
        line.split("|")[1].strip(" `") for line in section("Types").splitlines() if "| `" in line
    }
    assert used == rows


def test_reserved_names_in_the_grammar() -> None:
    named = {word for word in words(section("Reserved names")) if word.startswith("--")} - {"--"}
    assert named == {"--" + name.replace("_", "-") for name in RESERVED_OPTIONS}


def test_shapes_kinds_and_fields_of_a_description_in_the_grammar() -> None:
    text = words(section("Description"))
    assert {str(shape) for shape in Shape} <= text
    assert {str(kind) for kind in FieldKind} <= text
    for command in COMMANDS:
        described = command.describe()
        assert described.keys() <= text
        assert described["result"].keys() <= text
        for parameter in described["parameters"]:
            assert parameter.keys() <= text


def test_error_codes_of_the_grammar_are_those_of_the_code() -> None:
    room = Path(__file__).parents[2] / "affs_fuse/runtime"
    source = "".join(path.read_text() for path in room.rglob("*.py"))
    assert words(section("Errors")) >= set(re.findall(r'"(command\.[a-z_]+)"', source))
    listed = {word for word in words(section("Errors")) if word.startswith("command.")}
    assert listed == set(re.findall(r'"(command\.[a-z_]+)"', source))
