"""Parts of the query room by themselves: keys, patterns, tokens, and texts that are no queries."""

import re
from collections.abc import Callable
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.errors import AffsError
from affs_fuse.query.like import compile_like
from affs_fuse.query.ordering import Descending, compare_values, key_of
from affs_fuse.query.parser import parse_query
from affs_fuse.query.planning import plan_query
from affs_fuse.query.regex import Pattern, PatternProblem, WorkLimit

PROFILE = settings(max_examples=250, deadline=None, derandomize=True, database=None)

leaves = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 2), st.sampled_from([0.0, -0.0, 1.0, float("nan")]),
    st.sampled_from(["", "a", "\uffff", "\U00010000", b"", b"a", auv.Char("a"), auv.Char("b")]),
)  # fmt: skip
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2)
    ),
    max_leaves=6,
)


@PROFILE
@given(values, values)
def test_keys_have_the_order_and_equality_of_values(one: auv.Value, other: auv.Value) -> None:
    order = auv.compare(one, other)
    left, right = key_of(one), key_of(other)
    assert (left > right) - (left < right) == order
    assert (left == right) is (order == 0)
    if order == 0:
        assert hash(left) == hash(right)
    assert (Descending(left) < Descending(right)) is (order > 0)
    assert compare_values(one, other) == order


pieces = st.sampled_from(
    [
        "a",
        "b",
        ".",
        "a*",
        "b+",
        "a?",
        "[ab]",
        "[^a]",
        "a{1,2}",
        "b{2}",
        r"\w",
        r"\S",
        r"\b",
        r"\B",
        "^",
        "$",
        r"\d*",
        "(?:ab)",
        "a*?",
        r"\.",
        "[a-c]*",
    ]
)
patterns = st.recursive(
    st.lists(pieces, max_size=3).map("".join),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=2).map("|".join),
        st.tuples(inner, st.sampled_from(["", "*", "+", "?", "{0,2}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
        st.lists(inner, max_size=3).map("".join),
    ),
    max_leaves=5,
)


@PROFILE
@given(patterns, st.text("ab. \n1_", max_size=8))
@example("(a|b)*$", "ab\n")
def test_regular_expressions_match_what_python_matches(pattern: str, text: str) -> None:
    # For Python `$` also stands before a last line feed, and \B in no empty text.
    theirs = pattern.replace("$", r"\Z")
    if r"\B" in pattern and not text:
        return
    assert Pattern(pattern).found_in(text) is bool(re.search(theirs, text))


def test_no_pattern_explodes() -> None:
    text = "a" * 100_000 + "b"
    for pattern in ("(a+)+$", "^(a|a)*$", "^(a*)*$", "^(a?){50}a{50}$", "(.*)(.*)(.*)c"):
        assert Pattern(pattern).found_in(text) is False
    # Each step leads to a set that was not there before, so nothing that is remembered helps.
    with pytest.raises(WorkLimit):
        Pattern("[ab]*a[ab]{500}c").found_in("".join(Random(1).choices("ab", k=20_000)))


@pytest.mark.parametrize(
    ("pattern", "at"),
    [
        ("(", 0), (")", 0), ("a)", 1), ("[a", 0), ("*", 0), ("a{2", 1), ("a{3,2}", 0),
        ("a{1001}", 0), ("\\", 1), (r"\1", 0), (r"\q", 0), ("(?=a)", 0), ("(?P<n>a)", 0),
        ("[b-a]", 0), ("^*", 0), ("(" * 50 + ")" * 50, 40), ("((a{100}){100})", 1), ("a" * 2001, 0),
    ],
)  # fmt: skip
def test_wrong_patterns_say_where(pattern: str, at: int) -> None:
    with pytest.raises(PatternProblem) as caught:
        Pattern(pattern)
    assert caught.value.at == at


@PROFILE
@given(st.text("ab%_\\", max_size=6), st.text("ab%_\\", max_size=8))
def test_like_is_what_a_regular_expression_says(pattern: str, text: str) -> None:
    wanted = ""
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            escaped = next(letters, None)
            if escaped is None:
                with pytest.raises(ValueError, match="backslash"):
                    compile_like(pattern)
                return
            wanted += re.escape(escaped)
        else:
            wanted += {"%": "(?s:.*)", "_": "(?s:.)"}.get(letter, re.escape(letter))
    assert compile_like(pattern)(text) is bool(re.fullmatch(wanted, text))


WORD_LINE = (
    "find list get files records /a '/b c' as of changed since where and or not like matches in "
    "exists between select * , sort asc desc limit skip 3 -1 2.5 distinct count group by ( ) [ ] "
    "{ } : . | = != < <= + - / div % $ @path @nope name `q u` 'text' \"a\" null true nan 10KiB "
    "outer join on lower ( count ( ) sum ( if ( 9223372036854775808 \"open 'open ` @ ~ \\ ü"
)


def error_of(run: Callable[[], object]) -> AffsError | None:
    try:
        run()
    except AffsError as error:
        return error
    return None


@settings(PROFILE, max_examples=700)
@given(st.lists(st.sampled_from(WORD_LINE.split()), max_size=14))
def test_no_text_gives_anything_but_a_query_or_an_error_in_its_place(words: list[str]) -> None:
    line = "find /a where " + " ".join(words) if len(words) % 2 else " ".join(words)
    error = error_of(lambda: plan_query(line, parse_query(line), 0))
    if error is not None:
        assert error.code.startswith("query.")
        assert error.details["line"] == line
        assert 1 <= error.details["column"] <= len(line) + 1
        assert error.details["length"] >= 1
        assert error.message


@pytest.mark.parametrize(
    "expression",
    ["(" * 2000 + "1" + ")" * 2000, "not " * 2000 + "a", "-" * 2000 + "a", "[" * 2000,
     "a" + "+a" * 5000, "a" + ".b" * 5000, "lower(" * 2000, "a and (" * 2000],
)  # fmt: skip
def test_deep_expressions_are_refused(expression: str) -> None:
    line = f"find /a where {expression}"
    with pytest.raises(AffsError) as caught:
        plan_query(line, parse_query(line), 0)
    assert caught.value.code == "query.syntax"
    assert "levels" in caught.value.message or "deeper" in caught.value.message


def test_expressions_at_the_limits_work() -> None:
    for expression in ("(" * 39 + "1" + ")" * 39, "1" + "+1" * 198, "not " * 39 + "a"):
        line = f"find /a | select {expression} as x"
        plan_query(line, parse_query(line), 0)


def test_suggestions() -> None:
    for line, hint in [
        ("find /a | gruop count()", "did you mean group?"),
        ("find /a | group cuont()", "did you mean count?"),
        ("list /a where sise = 1", "did you mean size?"),
        ("find /a where @mtim = 1", "did you mean mtime or atime or btime?"),
        ("find /a where lenght(x) = 1", "did you mean length?"),
    ]:
        with pytest.raises(AffsError) as caught:
            plan_query(line, parse_query(line), 0)
        assert hint.split(" or ")[0].rstrip("?") in caught.value.hint, caught.value.hint


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("find / | order by a", "`sort EXPRESSION"),
        ("find / | top 3", "`limit NUMBER`"),
        ("find / | sum a", "`group sum(EXPRESSION)`"),
        ("find / | sort by a", "without by"),
        ("find / | count by a", "`group count() by FIELD`"),
        ("find / where a in (1, 2)", "[1, 2]"),
    ],
)
def test_words_of_other_languages_are_told_apart(line: str, hint: str) -> None:
    with pytest.raises(AffsError) as caught:
        parse_query(line)
    assert caught.value.code == "query.syntax"
    assert hint in caught.value.hint
