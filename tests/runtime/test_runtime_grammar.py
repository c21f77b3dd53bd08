"""From lines and arguments to invocations, with the declared types, and the errors that point at
the place."""

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affs_fuse.auv import Char, Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Context, Kind
from affs_fuse.runtime.commands import COMMANDS
from affs_fuse.runtime.grammar import write_line
from affs_fuse.runtime.parameters import (
    AnyValue,
    Choice,
    Flag,
    Integer,
    Label,
    Text,
    argument,
    option,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.registry import Registry
from affs_fuse.runtime.results import Schema, Shape

REGISTRY = Registry(COMMANDS)


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    first: str = argument(Text(), "a text")
    rest: tuple[Value, ...] = argument(AnyValue(), "values", repeated=True)
    count: int = option(Integer(0, 5000), "a number", short="-c", default=7)
    fast: bool = option(Flag(), "a flag", short="-f")
    quiet_one: bool = option(Flag(), "another", short="-x")
    color: str = option(Choice({"red": "", "blue": ""}), "a choice", short="-k", default="red")


async def _run(context: Context, options: ProbeOptions) -> Value:
    return None


PROBE = Registry(
    [
        Command(
            name="probe",
            kind=Kind.QUERY,
            role=Role.OBSERVER,
            group="Testing",
            summary="a command of every type",
            description="For tests.",
            options=ProbeOptions,
            run=_run,
            result=Schema(Shape.DOCUMENT),
        )
    ]
)


def error_of(registry: Registry, line: str) -> AffsError:
    with pytest.raises(AffsError) as caught:
        registry.parse_line(line)
    assert caught.value.category is Category.INVALID
    return caught.value


def underlined(error: AffsError) -> str:
    start = error.details["column"] - 1
    return str(error.details["line"])[start : start + error.details["length"]]


def test_every_type_from_a_line() -> None:
    options = PROBE.parse_line(
        "PROBE --Count=0x3e8 a -f --color BLUE -- 1_000 -x 'c' [1,2] word \"7\" U+0041"
    ).options
    assert options == ProbeOptions(
        first="a",
        rest=(1000, "-x", Char("c"), [1, 2], "word", "7", Char("A")),
        count=1000,
        fast=True,
        color="blue",
    )


def test_what_affsctl_quotes_is_read_as_if_it_had_not() -> None:
    options = PROBE.parse_line("""probe a '{"b": 1}' '30' 'two words'""").options
    assert options.rest == ({"b": 1}, 30, "two words")


def test_defaults() -> None:
    assert PROBE.parse_line("probe a").options == ProbeOptions(first="a")


@pytest.mark.parametrize(
    "line", ["probe a -fxc9", "probe -fx -c 9 a", "probe -f -x -c9 a", "probe a --count 9 -xf"]
)
def test_short_options_in_one_word(line: str) -> None:
    options = PROBE.parse_line(line).options
    assert (options.fast, options.quiet_one, options.count) == (True, True, 9)


def test_a_negative_number_is_no_option() -> None:
    assert PROBE.parse_line("probe a -5 -0.5").options.rest == (-5, -0.5)


@pytest.mark.parametrize(
    ("line", "code", "place"),
    [
        ("prob a", "command.unknown", "prob"),
        ("  Prbe a", "command.unknown", "Prbe"),
        ("probe", "command.missing", ""),
        ("probe a --coutn 3", "command.option_unknown", "--coutn"),
        ("probe a -fz", "command.option_unknown", "-fz"),
        ("probe a --fast=yes", "command.option_value", "--fast=yes"),
        ("probe a --count", "command.option_value", "--count"),
        ("probe a --count --fast", "command.option_value", "--count"),
        ("probe a --count 9999", "command.value", "9999"),
        ("probe a --count=9999", "command.value", "9999"),
        ("probe a --count many", "command.value", "many"),
        ("probe a -k green", "command.value", "green"),
        ("probe a -c 1 -c 2", "command.repeated", "-c"),
        ("probe a {x}", "command.value", "x"),
        ("probe a | count", "command.pipe", "|"),
        ("", "command.empty", ""),
        ("| x", "command.empty", ""),
    ],
)
def test_errors_point_at_the_place(line: str, code: str, place: str) -> None:
    error = error_of(PROBE, line)
    assert error.code == code
    if place:
        assert underlined(error) == place
    else:
        assert error.details["length"] == 1


def test_slips_of_the_finger_get_a_suggestion() -> None:
    assert "did you mean rollback?" in error_of(REGISTRY, "rolback").hint
    assert "affsctl -c" in error_of(REGISTRY, "'frobnicate the lot'").hint
    assert "did you mean --dry-run?" in error_of(REGISTRY, "rollback --dryrun").hint
    assert "usage: status" in error_of(REGISTRY, "status --everything").hint
    assert "`help`" in error_of(REGISTRY, "xyzzy").hint


def test_too_many_words() -> None:
    error = error_of(REGISTRY, "show one two")
    assert (error.code, underlined(error)) == ("command.unexpected", "two")


@pytest.mark.parametrize("line", ["rollback --help", "rollback -h", "Rollback x --HELP --nonsense"])
def test_help_in_any_command_line(line: str) -> None:
    invocation = REGISTRY.parse_line(line)
    assert (invocation.command.name, invocation.options.topic) == ("help", "rollback")


def test_arguments_as_values() -> None:
    invocation = PROBE.parse_arguments(
        "Probe", {"first": "a", "rest": [1, {"b": None}], "fast": True, "count": None}
    )
    assert invocation.options == ProbeOptions(first="a", rest=(1, {"b": None}), fast=True)


def test_a_slip_in_a_literal_that_a_shell_quoted_is_no_string() -> None:
    for text, at in (('{name: "Anna"}', 2), ("[1, 2", 6), ('{"a": 1,}', 9)):
        with pytest.raises(AffsError) as caught:
            PROBE.parse_line(f"probe a '{text}'")
        assert caught.value.code == "command.value"
        assert f"at character {at} of it" in caught.value.message
        assert "double quotes" in caught.value.hint
    line = """probe a "{name: 1}" '"[draft] plan"' '' 'a {b'"""
    assert PROBE.parse_line(line).options.rest == ("{name: 1}", "[draft] plan", "", "a {b")


@pytest.mark.parametrize(
    ("arguments", "code", "name"),
    [
        ({}, "command.missing", "first"),
        ({"first": 1}, "command.value", "first"),
        ({"first": "a\0"}, "command.value", "first"),
        ({"first": "a", "fast": 1}, "command.value", "fast"),
        ({"first": "a", "count": True}, "command.value", "count"),
        ({"first": "a", "count": 1.0}, "command.value", "count"),
        ({"first": "a", "rest": "b"}, "command.value", "rest"),
        ({"first": "a", "color": "green"}, "command.value", "color"),
        ({"first": "a", "cuont": 1}, "command.option_unknown", "cuont"),
        ({"first": None}, "command.value", "first"),
    ],
)
def test_arguments_that_do_not_fit(arguments: dict[str, Any], code: str, name: str) -> None:
    with pytest.raises(AffsError) as caught:
        PROBE.parse_arguments("probe", arguments)
    assert (caught.value.code, caught.value.details) == (code, {"argument": name})


def test_safety_parameters_are_not_the_commands_own() -> None:
    invocation = REGISTRY.parse_line("delete old -n --token abc")
    assert invocation.options.state == "old"
    assert (invocation.safety.dry_run, invocation.safety.token) == (True, "abc")
    assert error_of(REGISTRY, "checkpoint --dry-run").code == "command.option_unknown"


@pytest.mark.parametrize(
    "label",
    ["", "published", "working", "@x", "#1", "a/b", "a~1", ".", "..", " a", "a\n", "x" * 256],
)
def test_labels_that_would_mean_something_else(label: str) -> None:
    with pytest.raises(AffsError) as caught:
        REGISTRY.parse_arguments("checkpoint", {"label": label})
    assert caught.value.code == "command.value"


@pytest.mark.parametrize("label", ["v1.0", "2026-11-23", "größer", "a b", "-x", "x" * 255])
def test_labels(label: str) -> None:
    assert Label().check(label) == label


VALUES: st.SearchStrategy[Value] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
    | st.binary(max_size=8)
    | st.characters(exclude_categories=["Cs"]).map(Char),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@given(
    st.fixed_dictionaries(
        {
            "first": st.text(
                st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=9
            )
        },
        optional={
            "rest": st.lists(VALUES, min_size=1, max_size=4),
            "count": st.integers(0, 5000),
            "fast": st.just(True),
            "color": st.sampled_from(["red", "blue"]),
        },
    )
)
def test_a_written_line_means_its_arguments(arguments: dict[str, Value]) -> None:
    invocation = PROBE.parse_arguments("probe", arguments)
    line = write_line(invocation.command, invocation.arguments)
    again = PROBE.parse_line(line)
    assert again.arguments == invocation.arguments
    assert again.line == line


@pytest.mark.parametrize(
    "line",
    [
        "explain find /people where age = 7 | limit 2",
        "explain 'find /people where age = 7 | limit 2'",
        "explain find '/people where age = 7 | limit 2'",
    ],
)
def test_a_query_in_single_quotes(line: str) -> None:
    """As a shell's user has to write it, with the source inside of them or in front."""
    queries = Registry(COMMANDS)
    asked = queries.parse_line(line)
    assert asked.arguments == {"query": "find /people where age = 7 | limit 2"}
    assert queries.parse_line(asked.line).arguments == asked.arguments


@pytest.mark.parametrize("query", ["find 'x'", "'x'", "find\t'it''s' 'x'", "find 'x"])
def test_a_query_that_looks_quoted_is_written_as_it_is(query: str) -> None:
    queries = Registry(COMMANDS)
    asked = queries.parse_arguments("explain", {"query": query})
    assert queries.parse_line(asked.line).arguments == {"query": query}
