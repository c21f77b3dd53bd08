"""From a line, or from a command name with arguments, to an `Invocation`
(docs/specs/CommandGrammar.md).

Both ways end in the same options object, checked by the same types. Errors of a line carry the
column and length of what is wrong; errors of arguments carry the argument's name.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.runtime.command import Command, Danger, Safety
from affs_fuse.runtime.parameters import Parameter, ValueProblem
from affs_fuse.runtime.words import Word, quote, read_word, split, syntax_error

__all__ = [
    "Invocation",
    "closest",
    "did_you_mean",
    "first_word",
    "option_named",
    "parse_arguments",
    "parse_words",
    "split_for",
    "write_line",
]

SUGGESTIONS_MAX = 3

_BARE_WORD = re.compile(r"[A-Za-z]+\s+")


@dataclass(frozen=True, slots=True)
class Invocation:
    """A command that may run: options is an instance of its options type, arguments what was really
    given, by name. wants_help: the line asked for the command's help in its place."""

    command: Command[Any]
    options: Any
    safety: Safety
    arguments: dict[str, Value]
    wants_help: bool = False

    @property
    def danger(self) -> Danger:
        return self.command.danger_of(self.options)

    @property
    def line(self) -> str:
        """The canonical line of this invocation."""
        return write_line(self.command, self.arguments)


def closest(name: str, known: Iterable[str]) -> list[str]:
    """The known names that a slip of the finger could have meant, best first."""
    return difflib.get_close_matches(name.lower(), list(known), n=SUGGESTIONS_MAX, cutoff=0.6)


def did_you_mean(candidates: list[str]) -> str:
    return f"did you mean {' or '.join(candidates)}?" if candidates else ""


def option_named(command: Command[Any], name: str) -> Parameter | None:
    """The option that `--name` (in any letter case) or `-n` stands for."""
    for parameter in command.parameters:
        if parameter.positional:
            continue
        if name == parameter.short or name.lower() == parameter.word:
            return parameter
    return None


def parse_words(line: str, words: list[Word], command: Command[Any]) -> Invocation:
    """words: all of the line, the command's name first. invalid: command.option_unknown,
    command.option_value, command.value, command.missing, command.unexpected, command.repeated."""
    parser = _WordParser(line, words, command)
    parser.run()
    if parser.wants_help:
        return Invocation(command, None, Safety(), {}, wants_help=True)
    for parameter in command.parameters:
        if parameter.required and parameter.name not in parser.values:
            raise syntax_error(
                line,
                len(line),
                len(line),
                f"{command.name} needs {parameter.word}: {parameter.help}",
                code="command.missing",
                hint=f"usage: {command.usage}",
            )
    return _invocation(command, parser.values)


def parse_arguments(command: Command[Any], arguments: Mapping[str, Value]) -> Invocation:
    """Arguments that came as values. The same codes, with details.argument in place of a column."""
    known = {parameter.name: parameter for parameter in command.parameters}
    values: dict[str, Value] = {}
    for name, value in arguments.items():
        parameter = known.get(name)
        if parameter is None:
            candidates = closest(name, known)
            raise _argument_error(
                "command.option_unknown",
                name,
                f"{command.name} has no argument {name!r}",
                did_you_mean(candidates),
            )
        if value is None and not parameter.required:
            continue
        try:
            values[name] = _check(parameter, value)
        except ValueProblem as problem:
            raise _argument_error(
                "command.value", name, f"{name} {problem.message}", problem.hint
            ) from None
    for parameter in command.parameters:
        if parameter.required and parameter.name not in values:
            raise _argument_error(
                "command.missing",
                parameter.name,
                f"{command.name} needs {parameter.name}: {parameter.help}",
                f"usage: {command.usage}",
            )
    return _invocation(command, values)


def write_line(command: Command[Any], arguments: Mapping[str, Value]) -> str:
    """A line that parses into these arguments: options first, then `--` if it is needed, then
    positionals."""
    words = [command.name]
    places: list[str] = []
    rest: list[str] = []
    for parameter in command.parameters:
        if parameter.name not in arguments:
            continue
        value = arguments[parameter.name]
        if parameter.positional:
            if parameter.type.takes_rest:
                rest.append(_rest_source(value))
                continue
            values = value if parameter.repeated else [value]
            places += [quote(parameter.type.write(one)) for one in values]
        elif parameter.type.takes_value:
            words.append(f"{parameter.word}={quote(parameter.type.write(value))}")
        elif value:
            words.append(parameter.word)
    if any(place.startswith("-") for place in places):
        words.append("--")
    return " ".join(words + places + rest)


def _rest_source(text: str) -> str:
    """How a rest stands in a line; what would be taken for options or one quoted word is quoted."""
    front = _BARE_WORD.match(text)
    behind = text[front.end() :] if front is not None else ""
    return quote(text) if text.startswith(("-", "'")) or behind.startswith("'") else text


def _check(parameter: Parameter, value: Value) -> Value:
    if not parameter.repeated:
        return parameter.type.check(value)
    if not isinstance(value, list):
        raise ValueProblem("takes an Array")
    return [parameter.type.check(one) for one in value]


def _argument_error(code: str, name: str, message: str, hint: str) -> AffsError:
    return AffsError(code, Category.INVALID, message, hint=hint, details={"argument": name})


def _invocation(command: Command[Any], values: dict[str, Value]) -> Invocation:
    guarded = command.danger is not Danger.NONE  # else such a name is the command's own
    safety_names = Safety.__dataclass_fields__.keys() if guarded else set()
    own = {name: value for name, value in values.items() if name not in safety_names}
    safety = {name: value for name, value in values.items() if name in safety_names}
    for parameter in command.parameters:
        if parameter.repeated and parameter.name in own:
            own[parameter.name] = tuple(own[parameter.name])
    return Invocation(command, command.options(**own), Safety(**safety), values)


class _WordParser:
    """One pass over the words behind the command's name."""

    def __init__(self, line: str, words: list[Word], command: Command[Any]) -> None:
        self._line = line
        self._words = words
        self._command = command
        self._at = 1
        self._places = list(command.positionals)
        self.values: dict[str, Value] = {}
        self.wants_help = False

    def run(self) -> None:
        options_end = False
        while self._at < len(self._words) and not self.wants_help:
            word = self._words[self._at]
            self._at += 1
            if word.pipe:
                raise self._error(
                    "command.pipe", word, "this command does not take part in a pipeline"
                )
            if not options_end and word.source == "--":
                options_end = True
            elif not options_end and word.option_like:
                self._option(word)
            else:
                self._place(word)

    def _place(self, word: Word) -> None:
        if not self._places:
            raise self._error(
                "command.unexpected",
                word,
                f"{self._command.name} does not take {word.text!r}",
                f"usage: {self._command.usage}",
            )
        parameter = self._places[0]
        value = self._read(parameter, word)
        if parameter.repeated:
            self.values.setdefault(parameter.name, []).append(value)
        else:
            self.values[parameter.name] = value
            del self._places[0]

    def _option(self, word: Word) -> None:
        if word.source.startswith("--"):
            name, equals, value = word.text.partition("=")
            self._long(word, name, value if equals else None)
            return
        # Letters in one word: flags up to the first that takes a value, which takes the rest.
        for index in range(1, len(word.text)):
            parameter = self._known(word, "-" + word.text[index])
            if parameter is None:
                return
            rest = word.text[index + 1 :]
            if parameter.type.takes_value:
                self._set(parameter, word, self._value(parameter, word, rest or None))
                return
            self._set(parameter, word, True)

    def _long(self, word: Word, name: str, value: str | None) -> None:
        parameter = self._known(word, name)
        if parameter is None:
            return
        if parameter.type.takes_value:
            self._set(parameter, word, self._value(parameter, word, value))
        elif value is not None:
            raise self._error("command.option_value", word, f"{parameter.word} takes no value")
        else:
            self._set(parameter, word, True)

    def _known(self, word: Word, name: str) -> Parameter | None:
        """The option; None when help is asked for instead."""
        if name.lower() == "--help" or name == "-h":
            self.wants_help = True
            return None
        parameter = option_named(self._command, name)
        if parameter is None:
            names = [p.word for p in self._command.parameters if not p.positional]
            raise self._error(
                "command.option_unknown",
                word,
                f"{self._command.name} has no option {name}",
                did_you_mean(closest(name, names)) or f"usage: {self._command.usage}",
            )
        return parameter

    def _value(self, parameter: Parameter, word: Word, attached: str | None) -> Value:
        if attached is not None:
            # The value's own source: what stands behind the name, with its quotes.
            shift = word.source.find("=") + 1 if word.source.startswith("--") else 0
            source = word.source[shift:] if shift else attached
            return self._read(
                parameter, Word(attached, source, word.start + shift, word.end, word.bare)
            )
        following = self._words[self._at] if self._at < len(self._words) else None
        if following is None or following.pipe or following.option_like or following.source == "--":
            raise self._error(
                "command.option_value",
                word,
                f"{parameter.word} needs a value",
                f"write {parameter.word}=VALUE" if following is not None else "",
            )
        self._at += 1
        return self._read(parameter, following)

    def _set(self, parameter: Parameter, word: Word, value: Value) -> None:
        if parameter.name in self.values and parameter.type.takes_value:
            raise self._error("command.repeated", word, f"{parameter.word} is given twice")
        self.values[parameter.name] = value

    def _read(self, parameter: Parameter, word: Word) -> Value:
        try:
            return parameter.type.read(word)
        except ValueProblem as problem:
            start = word.start + problem.offset
            raise syntax_error(
                self._line,
                start,
                start + problem.length if problem.length else word.end,
                f"{parameter.word} {problem.message}",
                code="command.value",
                hint=problem.hint,
            ) from None

    def _error(self, code: str, word: Word, message: str, hint: str = "") -> AffsError:
        return syntax_error(self._line, word.start, word.end, message, code=code, hint=hint)


def first_word(line: str) -> Word:
    """The command's name; invalid: command.empty and what `split` raises."""
    word = read_word(line, 0)
    if word is None or word.pipe:
        raise syntax_error(
            line, 0, 0, "no command", code="command.empty", hint="`help` lists the commands"
        )
    return word


def split_for(line: str, command: Command[Any]) -> list[Word]:
    """The words of a line of this command. If it takes a rest, they are the name, the options and
    the rest as one word. invalid: what `split` raises."""
    if not command.takes_rest:
        return split(line)
    words = [first_word(line)]
    while (word := read_word(line, words[-1].end)) is not None:
        if not word.option_like:
            if word.source == "--":
                words.append(word)
            rest = _rest(line, words[-1].end)
            return words if rest is None else [*words, rest]
        words.append(word)
        option = option_named(command, word.source.partition("=")[0])
        if option is not None and option.type.takes_value and "=" not in word.source:
            value = read_word(line, word.end)
            words += [value] if value is not None else []
    return words


def _rest(line: str, after: int) -> Word | None:
    """Everything behind the options. A rest that is one word in single quotes, as a shell's user
    has to write it, is what stands between them; also behind one bare word (`explain find '...'`).
    """
    source = line[after:].strip()
    if not source:
        return None
    start = line.index(source, after)
    end = start + len(source)
    front = _BARE_WORD.match(source)
    quoted = source[front.end() :] if front is not None else source
    if quoted.startswith("'"):
        word = read_word(line, end - len(quoted))
        if word is not None and word.end == end:
            text = source[: len(source) - len(quoted)] + word.text
            return Word(text, source, start, end, bare=False)
    return Word(source, source, start, end)
