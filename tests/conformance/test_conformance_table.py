"""docs/conformance.md, "Errors": the tests that the table names exist, and speak of the errno."""

import errno
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
PAGE = TESTS.parent / "docs" / "conformance.md"
TEST = re.compile(r"`(\w+):(\w+)`")


def rows_of_the_table() -> list[tuple[str, str]]:
    """(call, errnos and tests) of each row."""
    section = PAGE.read_text().split("## Errors\n")[1].split("\nWhat the pages ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [(call, what) for call, what in cells if TEST.search(what)]


def file_of(name: str) -> Path:
    if name.startswith("posix_"):
        return TESTS / "posix" / f"test_{name}.py"
    name = "test_documented_limits" if name == "limits" else f"test_conformance_{name}"
    return TESTS / "conformance" / f"{name}.py"


ROWS = rows_of_the_table()


@pytest.mark.parametrize(("call", "what"), ROWS, ids=[call for call, _ in ROWS])
def test_row(call: str, what: str) -> None:
    for part in re.split("[;,] ", what):
        tests = TEST.findall(part)
        assert tests, f"{call}: {part!r} names no test"
        for file, name in tests:
            text = file_of(file).read_text()
            assert f"\ndef test_{name}(" in text, f"{call}: there is no {file}:{name}"
            for number in re.findall(r"\bE[0-9A-Z]+\b", part):
                assert hasattr(errno, number), number
                assert f"errno.{number}" in text, f"{call}: {file} has no {number}"


def test_the_calls_are_there() -> None:
    """Those of the conformance suite; a call that is dropped from the table is missed."""
    calls = {word for call, _ in ROWS for word in re.findall(r"\w+", call)}
    wanted = (
        "open creat mkdir mknod link symlink unlink rmdir rename renameat2 truncate chmod chown "
        "utimensat access readdir setxattr getxattr listxattr removexattr ACLs"
    )
    assert set(wanted.split()) <= calls
