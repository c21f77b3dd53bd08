"""References to earlier results: what is replaced in a line, and what is left alone."""

import pytest

from affs_ctl.results import RESULTS_KEPT_MAX, Results
from affs_fuse.errors import AffsError


@pytest.fixture
def results() -> Results:
    found = Results()
    found.add({"id": "ab" * 16, "label": "it's", "n": 30, "items": [{"path": "/a b"}, 2.5]})
    found.add([1, "x"])
    found.add("text")
    return found


@pytest.mark.parametrize(
    ("line", "sent"),
    [
        ("show _", 'show "text"'),
        ("show _1.id", 'show "' + "ab" * 16 + '"'),
        ("show _1.label", 'show "it\'s"'),
        ("log -l _1.n", "log -l 30"),
        ("log --limit=_1.n", "log --limit='30'"),
        ("x --value=_1.label", "x --value='\"it'\\''s\"'"),
        ("get _1.items[0].path | x _2[1]", 'get "/a b" | x "x"'),
        ("create /x _2", 'create /x [1,"x"]'),
        ("create /x {a: _1.n, b: [_, _2[0]]}", 'create /x {a: 30, b: ["text", 1]}'),
        # Text, parts of words, and what only looks like a reference.
        ("x '_' \"_1\" \\_ a_ _a _1x x_1 /_ _-", "x '_' \"_1\" \\_ a_ _a _1x x_1 /_ _-"),
        ("x {\"_\": '_'}", "x {\"_\": '_'}"),
        ("checkpoint -m 'open _", "checkpoint -m 'open _"),
        ("", ""),
    ],
)
def test_what_is_replaced(results: Results, line: str, sent: str) -> None:
    assert results.substitute(line) == sent


@pytest.mark.parametrize(
    ("line", "column", "length"),
    [
        ("show _9", 6, 2),
        ("show _1.nothing", 6, 10),
        ("show _2[7]", 6, 5),
        ("show _2.id", 6, 5),
        ("show _1[0]", 6, 5),
    ],
)
def test_what_is_not_there(results: Results, line: str, column: int, length: int) -> None:
    with pytest.raises(AffsError) as caught:
        results.substitute(line)
    assert caught.value.code == "shell.result"
    assert caught.value.details == {"line": line, "column": column, "length": length}


def test_before_the_first_result() -> None:
    with pytest.raises(AffsError, match="there is no result yet"):
        Results().substitute("show _")
    assert Results().paths("_") == []


def test_only_the_newest_are_kept() -> None:
    results = Results()
    for number in range(RESULTS_KEPT_MAX + 5):
        assert results.add(number) == number + 1
    assert len(results.all()) == RESULTS_KEPT_MAX
    assert results.substitute("x _6 _") == f"x 5 {RESULTS_KEPT_MAX + 4}"
    with pytest.raises(AffsError, match="any more"):
        results.substitute("x _5")


def test_candidates_for_references(results: Results) -> None:
    assert results.paths("_") == ["_", "_1", "_2", "_3"]
    assert results.paths("_1.i") == ["_1.id", "_1.items"]
    assert results.paths("_1.items[0].") == ["_1.items[0].path"]
    assert results.paths("_.x") == results.paths("_8.x") == results.paths("x") == []
