"""Splitting a line into words, and quoting words so that splitting gives them back."""

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.words import LINE_CHARACTERS_MAX, quote, split


def texts(line: str) -> list[str]:
    return [word.text for word in split(line)]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  \t\n ", []),
        ("status", ["status"]),
        ("  publish   -m  x ", ["publish", "-m", "x"]),
        ("publish -m 'two words'", ["publish", "-m", "two words"]),
        (r'publish -m "tab\tquote\" \u0041"', ["publish", "-m", 'tab\tquote" A']),
        (r"a\ b c\'d", ["a b", "c'd"]),
        ("--message='a b'c", ["--message=a bc"]),
        ("''", [""]),
        ('x {"a": [1, "] }"]} y', ["x", '{"a": [1, "] }"]}', "y"]),
        ("x ['\\'', ']'] y", ["x", "['\\'', ']']", "y"]),
        ("find /a|where x", ["find", "/a", "|", "where", "x"]),
        ("find '|'", ["find", "|"]),
        ("grüße ü", ["grüße", "ü"]),
    ],
)
def test_words_of_a_line(line: str, words: list[str]) -> None:
    assert texts(line) == words


def test_only_a_bare_bar_is_a_pipe() -> None:
    assert [word.pipe for word in split("a | '|' \\|")] == [False, True, False, False]


def test_places_count_characters() -> None:
    words = split("ü  'a b' -x")
    assert [(word.start, word.end) for word in words] == [(0, 1), (3, 8), (9, 11)]
    assert words[1].source == "'a b'"
    assert [word.bare for word in words] == [True, False, True]


@pytest.mark.parametrize(
    ("line", "column"),
    [
        ("publish -m 'open", 12),
        ('publish -m "open', 12),
        ('publish -m "bad \\q"', 17),
        ("x {'a': 1", 3),
        ("x [1}", 5),
        ('x {"a": "b}', 9),
        ("x [1]y", 6),
        ("x \\", 3),
    ],
)
def test_an_unfinished_line_says_where(line: str, column: int) -> None:
    with pytest.raises(AffsError) as caught:
        split(line)
    assert caught.value.code == "command.syntax"
    assert caught.value.category is Category.INVALID
    assert caught.value.details["line"] == line
    assert caught.value.details["column"] == column
    assert caught.value.details["length"] >= 1


def test_a_line_has_a_limit() -> None:
    assert len(split("a" * LINE_CHARACTERS_MAX)) == 1
    with pytest.raises(AffsError, match="65537"):
        split("a" * (LINE_CHARACTERS_MAX + 1))


@pytest.mark.parametrize(
    ("source", "is_option"),
    [
        ("-m", True),
        ("--dry-run", True),
        ("-", False),
        ("-5", False),
        ("-.5", False),
        ("'-m'", False),
    ],
)
def test_what_looks_like_an_option(source: str, is_option: bool) -> None:
    (word,) = split(source)
    assert word.option_like is is_option


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=12), max_size=5))
def test_quoting_is_undone_by_splitting(words: list[str]) -> None:
    assert texts(" ".join(quote(word) for word in words)) == words


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_the_shells_quoting_is_understood(word: str) -> None:
    assert texts(shlex.quote(word)) == [word]


@given(st.text(alphabet="ab -'\"\\[]{}|=\n\u00e9", max_size=30))
def test_any_line_gives_words_or_one_error(line: str) -> None:
    try:
        words = split(line)
    except AffsError as caught:
        column = caught.details["column"]
        words = []
    else:
        column = 1
    assert 1 <= column <= len(line) + 1
    for word in words:
        assert line[word.start : word.end] == word.source
