"""Candidates for the end of a line, from the registry and the states of the volume."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.runtime.command import Catalogue, Command
from affs_fuse.runtime.grammar import option_named
from affs_fuse.runtime.parameters import (
    SOURCE_COMMANDS,
    SOURCE_STATES,
    STATE_WORDS,
    Parameter,
)
from affs_fuse.runtime.ports import Plain
from affs_fuse.runtime.words import Word, quote, split

__all__ = ["CANDIDATES_MAX", "completions"]

Names = Mapping[str, Sequence[tuple[str, str]]]
"""By source: names, each with a word about it."""

CANDIDATES_MAX = 200
"""More than a person reads."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """text: the word, unquoted. kind: command, option, state or value."""

    text: str
    kind: str
    help: str


@dataclass(frozen=True, slots=True)
class _Place:
    """What the end of a line stands for. shift: how much of the last word stands in front of it
    (`--name=`). parameter: whose value it is, or whose option was just named."""

    shift: int
    parameter: Parameter | None
    candidates: Iterable[_Candidate]


@dataclass(frozen=True, slots=True)
class _Known:
    """What values are taken from."""

    catalogue: Catalogue
    states: list[Plain]
    names: Names


def completions(
    catalogue: Catalogue, states: list[Plain], line: str, names: Names | None = None
) -> dict[str, Value]:
    """names: of what is neither command nor state, by source (parameters.py).

    column (from 1) and length of what a candidate replaces; candidates: a list of {text,
    source, kind, help}, where source is text quoted for the line; command and parameter: the names
    of those at the end of the line, or "". Inside open quotes there are no candidates."""
    try:
        words = split(line)
    except AffsError as error:
        return {**_nothing(line), **_inside_quotes(catalogue, line, error)}
    if any(word.pipe for word in words):
        return _nothing(line)
    new_word = not words or line[-1].isspace()
    last = None if new_word else words.pop()
    prefix = "" if last is None else last.text
    start = len(line) if last is None else last.start
    name = ""
    place = _Place(0, None, _commands(catalogue))
    if words:
        try:
            command = catalogue.find(words[0].text)
        except AffsError:
            return _nothing(line)
        name = command.name
        known = _Known(catalogue, states, names or {})
        place = _for_command(known, command, words[1:], last)
        prefix, start = prefix[place.shift :], start + place.shift
    found = [
        {"text": one.text, "source": quote(one.text), "kind": one.kind, "help": one.help}
        for one in place.candidates
        if one.text.lower().startswith(prefix.lower())
    ]
    return {
        "column": start + 1,
        "length": len(line) - start,
        "candidates": found[:CANDIDATES_MAX],
        "command": name,
        "parameter": place.parameter.name if place.parameter else "",
    }


def _nothing(line: str) -> dict[str, Value]:
    column = len(line) + 1
    return {"column": column, "length": 0, "candidates": [], "command": "", "parameter": ""}


def _inside_quotes(catalogue: Catalogue, line: str, error: AffsError) -> dict[str, Value]:
    """Command and parameter of a line whose last word opens a quote or bracket: those of the line
    with a plain word there."""
    opened = error.details.get("column", 1) - 1
    try:
        words = split(line[:opened] + "x")
    except AffsError:
        return {}
    if len(words) < 2 or any(word.pipe for word in words):
        return {}
    try:
        command = catalogue.find(words[0].text)
    except AffsError:
        return {}
    known = _Known(catalogue, [], {})
    parameter = _for_command(known, command, words[1:-1], words[-1]).parameter
    return {"command": command.name, "parameter": parameter.name if parameter else ""}


def _for_command(
    known: _Known,
    command: Command[Any],
    words: list[Word],
    last: Word | None,
) -> _Place:
    """What fits behind words."""
    waiting, given, place_count, options_end = _read(command, words)
    if waiting is not None:
        return _Place(0, waiting, _values(known, waiting))
    if last is not None and last.option_like and not options_end:
        name, equals, _ = last.source.partition("=")
        parameter = option_named(command, name)
        if equals and parameter is not None:
            return _Place(len(name) + 1, parameter, _values(known, parameter))
        return _Place(0, parameter, _options(command, given))
    places = command.positionals
    if place_count < len(places):
        place = places[place_count]
    elif places and places[-1].repeated:
        place = places[-1]
    else:
        none = options_end or last is not None
        return _Place(0, None, () if none else _options(command, given))
    return _Place(0, place, _values(known, place))


def _read(command: Command[Any], words: list[Word]) -> tuple[Parameter | None, set[str], int, bool]:
    """The option that waits for its value, names of options given, count of positionals, whether
    `--` came. Mistakes in the line are passed over: the parser will name them."""
    waiting: Parameter | None = None
    given: set[str] = set()
    place_count = 0
    options_end = False
    for word in words:
        if waiting is not None:
            waiting = None
        elif not options_end and word.source == "--":
            options_end = True
        elif not options_end and word.option_like:
            name, equals, _ = word.source.partition("=")
            parameter = option_named(command, name)
            if parameter is not None:
                given.add(parameter.name)
                if parameter.type.takes_value and not equals:
                    waiting = parameter
        else:
            place_count += 1
    return waiting, given, place_count, options_end


def _commands(catalogue: Catalogue) -> Iterator[_Candidate]:
    for command in catalogue.all():
        if not command.hidden:
            yield _Candidate(command.name, "command", command.summary)


def _options(command: Command[Any], given: set[str]) -> Iterator[_Candidate]:
    for parameter in command.parameters:
        if not parameter.positional and parameter.name not in given:
            yield _Candidate(parameter.word, "option", parameter.help)


def _values(known: _Known, parameter: Parameter) -> Iterator[_Candidate]:
    for value, about in parameter.type.choices().items():
        yield _Candidate(value, "value", about)
    if parameter.type.source == SOURCE_COMMANDS:
        yield from _commands(known.catalogue)
    for name, about in known.names.get(parameter.type.source, ()):
        yield _Candidate(name, "value", about)
    if parameter.type.source == SOURCE_STATES:
        for word in STATE_WORDS:
            yield _Candidate(word, "state", "")
        for state in reversed(known.states):
            about = state["message"].partition("\n")[0]
            yield _Candidate(state["label"] or state["id"], "state", about)
