"""The types that parameters of commands can have, and how a command declares its parameters.

A type does everything that is particular to its values: reads one from a word of a line, checks one
that came as an AUV value, writes one back into a line, says what it accepts. The parser, help,
completion and the reference pages know types by this interface alone.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from affs_fuse.auv import INT64_MAX, INT64_MIN, AuvError, TextError, Value, format_canonical, parse
from affs_fuse.errors import AffsError
from affs_fuse.query.paths import path_bytes
from affs_fuse.runtime.words import Word
from affs_fuse.volume.moments import MomentError, parse_moment, parse_span
from affs_fuse.volume.states import LABEL_BYTES_MAX, MESSAGE_BYTES_MAX, check_label

__all__ = [
    "REQUIRED",
    "SOURCE_COMMANDS",
    "SOURCE_HOOKS",
    "SOURCE_PERSONALITIES",
    "SOURCE_STATES",
    "AnyValue",
    "Choice",
    "CommandName",
    "Flag",
    "HookName",
    "HostFile",
    "Integer",
    "Label",
    "Moment",
    "Parameter",
    "ParameterType",
    "PathText",
    "QueryText",
    "Span",
    "StateReference",
    "Text",
    "ValueProblem",
    "argument",
    "option",
    "parameters_of",
]

STATE_TEXT_BYTES_MAX = 128
"""Longer than any label, id or expression such as `published~12`."""

STATE_WORDS = ("published", "working", "@")
"""Words that name a state in every volume."""

SOURCE_STATES = "states"
SOURCE_COMMANDS = "commands"
SOURCE_HOOKS = "hooks"
SOURCE_PERSONALITIES = "personalities"


PATH_BYTES_MAX = 4095


class ValueProblem(Exception):
    """A value that its parameter does not take; the parser adds the place and makes it an error
    value."""

    def __init__(self, message: str, *, hint: str = "", offset: int = 0, length: int = 0) -> None:
        """offset, length: of the bad part in the word's source; length 0 means the whole word."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.offset = offset
        self.length = length


class ParameterType:
    """Base: a String of any content."""

    name: ClassVar[str] = "string"
    source: ClassVar[str] = ""
    """What the completer takes candidates from: one of the SOURCE_ words, or "" for `choices`."""
    takes_value: ClassVar[bool] = True
    takes_rest: ClassVar[bool] = False
    """Of a positional that is all of the line behind the options, as it stands."""

    def read(self, word: Word) -> Value:
        """The value that a word of a line spells; ValueProblem."""
        return self.check(word.text)

    def check(self, value: Value) -> Value:
        """A value that came in `args`; ValueProblem. The result is what the command gets."""
        if not isinstance(value, str):
            raise ValueProblem(f"takes a String, not {_type_word(value)}")
        return value

    def write(self, value: Value) -> str:
        """The text of a word that `read` turns into the value again."""
        return str(value)

    def choices(self) -> Mapping[str, str]:
        """Fixed values with a word about each, for completion and help; mostly none."""
        return {}

    def describe(self) -> dict[str, Value]:
        """For `describe`: the type's name and its bounds."""
        return {"type": self.name}


def _type_word(value: Value) -> str:
    if isinstance(value, bool):
        return "a Bool"
    words = {int: "an integer", float: "a Float64", bytes: "Binary", str: "a String"}
    words |= {list: "an Array", dict: "an Object"}
    return words.get(type(value), "this type")


@dataclass(frozen=True, slots=True)
class Text(ParameterType):
    """Free text of at most bytes_max bytes in UTF-8, without NUL."""

    bytes_max: int = MESSAGE_BYTES_MAX

    def check(self, value: Value) -> Value:
        text = ParameterType.check(self, value)
        if "\0" in text:
            raise ValueProblem("holds a NUL character")
        size = len(text.encode("utf-8"))
        if size > self.bytes_max:
            raise ValueProblem(f"has {size} bytes, the limit is {self.bytes_max}")
        return text

    def describe(self) -> dict[str, Value]:
        return {"type": self.name, "bytes_max": self.bytes_max}


@dataclass(frozen=True, slots=True)
class Label(ParameterType):
    """The name of a kept state: it is also a name under `.affs/checkpoints/`."""

    name: ClassVar[str] = "label"

    def check(self, value: Value) -> Value:
        text = Text(LABEL_BYTES_MAX).check(value)
        if not text:
            raise ValueProblem("is empty")
        try:
            check_label(text, ())
        except AffsError as error:
            raise ValueProblem(f"is no label: {error.message}", hint=error.hint) from None
        return text

    def describe(self) -> dict[str, Value]:
        return {"type": self.name, "bytes_max": LABEL_BYTES_MAX}


@dataclass(frozen=True, slots=True)
class StateReference(ParameterType):
    """The name of a state in any of its forms; the engine finds it."""

    name: ClassVar[str] = "state"
    source: ClassVar[str] = SOURCE_STATES

    def check(self, value: Value) -> Value:
        text = Text(STATE_TEXT_BYTES_MAX).check(value)
        if not text:
            raise ValueProblem(
                "is empty", hint="a state is an id, a label, `published`, `@` or `#17`"
            )
        return text


@dataclass(frozen=True, slots=True)
class CommandName(ParameterType):
    """The name of a command, in any letter case."""

    name: ClassVar[str] = "command"
    source: ClassVar[str] = SOURCE_COMMANDS


@dataclass(frozen=True, slots=True)
class HookName(ParameterType):
    """The name of a hook of the volume."""

    name: ClassVar[str] = "hook"
    source: ClassVar[str] = SOURCE_HOOKS


@dataclass(frozen=True, slots=True)
class PersonalityName(ParameterType):
    """The name of a package, or `none`; where the command takes one, a manifest as text."""

    name: ClassVar[str] = "personality"
    source: ClassVar[str] = SOURCE_PERSONALITIES


@dataclass(frozen=True, slots=True)
class Flag(ParameterType):
    """Given or not; in `args` a Bool."""

    name: ClassVar[str] = "flag"
    takes_value: ClassVar[bool] = False

    def check(self, value: Value) -> Value:
        if not isinstance(value, bool):
            raise ValueProblem(f"takes a Bool, not {_type_word(value)}")
        return value


@dataclass(frozen=True, slots=True)
class Integer(ParameterType):
    """An Int64 between minimum and maximum, in any AJIS spelling: 1000, 1_000, 0x3e8."""

    name: ClassVar[str] = "integer"
    minimum: int = INT64_MIN
    maximum: int = INT64_MAX

    def read(self, word: Word) -> Value:
        try:
            return self.check(parse(word.text))
        except AuvError:
            raise ValueProblem(f"{word.text!r} is no integer") from None

    def check(self, value: Value) -> Value:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueProblem(f"takes an integer, not {_type_word(value)}")
        if not self.minimum <= value <= self.maximum:
            raise ValueProblem(f"{value} is outside {self.minimum} to {self.maximum}")
        return value

    def describe(self) -> dict[str, Value]:
        return {"type": self.name, "minimum": self.minimum, "maximum": self.maximum}


@dataclass(frozen=True, slots=True)
class Choice(ParameterType):
    """One of a closed set of keywords, in any letter case."""

    name: ClassVar[str] = "choice"
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def check(self, value: Value) -> Value:
        text = ParameterType.check(self, value).lower()
        if text not in self.values:
            raise ValueProblem(f"{text!r} is none of: {', '.join(self.values)}")
        return text

    def choices(self) -> Mapping[str, str]:
        return self.values

    def describe(self) -> dict[str, Value]:
        return {"type": self.name, "values": list(self.values)}


@dataclass(frozen=True, slots=True)
class PathText(ParameterType):
    """A path of the volume, absolute or from the session's directory on, or its bytes in base64
    behind `b64:` (query/paths.py). Rules about roles may be
    for certain paths, so what a command does must lie below the paths it is given by this type."""

    name: ClassVar[str] = "path"

    def check(self, value: Value) -> Value:
        text = Text(PATH_BYTES_MAX).check(value)
        if not text:
            raise ValueProblem("is empty", hint="`/` is the whole volume")
        try:
            path_bytes(text)
        except AffsError as error:
            raise ValueProblem(error.message, hint=error.hint) from None
        return text


@dataclass(frozen=True, slots=True)
class HostFile(ParameterType):
    """A file of the client, which alone opens it; `-` is its standard input."""

    name: ClassVar[str] = "file"

    def check(self, value: Value) -> Value:
        text = Text(PATH_BYTES_MAX).check(value)
        if not text:
            raise ValueProblem("is empty")
        return text


@dataclass(frozen=True, slots=True)
class Span(ParameterType):
    """A span of time (docs/specs/CommandGrammar.md, "Times"); the command reads it."""

    name: ClassVar[str] = "span"

    def check(self, value: Value) -> Value:
        text = Text(STATE_TEXT_BYTES_MAX).check(value)
        try:
            parse_span(str(text))
        except MomentError as error:
            raise ValueProblem(str(error)) from None
        return text


@dataclass(frozen=True, slots=True)
class Moment(ParameterType):
    """A time, absolute or so long ago; the command reads it."""

    name: ClassVar[str] = "time"

    def check(self, value: Value) -> Value:
        text = Text(STATE_TEXT_BYTES_MAX).check(value)
        try:
            parse_moment(str(text), 0)
        except MomentError as error:
            raise ValueProblem(str(error)) from None
        return text


@dataclass(frozen=True, slots=True)
class AnyValue(ParameterType):
    """Any AUV value: a word whose source is AJIS is that value; else one whose text is (what
    affsctl quoted); else it is a String (docs/specs/CommandGrammar.md, "Values")."""

    name: ClassVar[str] = "value"

    def read(self, word: Word) -> Value:
        for text in (word.source, word.text):
            try:
                return parse(text)
            except TextError as error:
                problem = error
        if word.source[0] in "[{":
            raise ValueProblem(f"expected {problem.expected}", offset=problem.offset, length=1)
        if word.text[:1] in ("[", "{"):  # a slip in a literal, rather than such a String
            raise ValueProblem(
                f"at character {problem.offset + 1} of it: expected {problem.expected}",
                hint=f"for a String that begins with {word.text[0]} put it in double quotes",
            )
        return word.text

    def check(self, value: Value) -> Value:
        return value

    def write(self, value: Value) -> str:
        return format_canonical(value)


@dataclass(frozen=True, slots=True)
class QueryText(ParameterType):
    """The rest of the line, in a language of its own (docs/specs/QueryLanguage.md)."""

    name: ClassVar[str] = "query"
    takes_rest: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a command, as `parameters_of` reads it from the command's options type.

    name: the key in `args`; in a line its `_` are `-`. short: one letter with its dash, or "".
    positional: given by place. repeated: a positional that takes all words that are left; its value
    is an Array in `args` and a tuple in the options.
    """

    name: str
    type: ParameterType
    help: str
    positional: bool
    required: bool
    default: Value
    short: str = ""
    repeated: bool = False

    @property
    def word(self) -> str:
        """How a person writes it: `--dry-run`, or STATE for a positional."""
        if self.positional:
            return self.name.upper()
        return "--" + self.name.replace("_", "-")

    def describe(self) -> dict[str, Value]:
        """For `describe` (docs/specs/CommandGrammar.md, "Description")."""
        result = {
            "name": self.name,
            "word": self.word,
            "help": self.help,
            "positional": self.positional,
            "required": self.required,
            "repeated": self.repeated,
            **self.type.describe(),
        }
        if self.short:
            result["short"] = self.short
        if not self.required and self.default not in (None, "", False, ()):
            result["default"] = self.default
        return result


class _Required:
    """The default of a parameter that has none."""


REQUIRED = _Required()


def argument(
    type: ParameterType,
    help: str,
    *,
    default: Value | _Required = REQUIRED,
    repeated: bool = False,
) -> Any:
    """A field of an options dataclass that a line gives by place."""
    metadata = {"type": type, "help": help, "positional": True, "repeated": repeated}
    if repeated:
        return dataclasses.field(default=(), metadata=metadata)
    if isinstance(default, _Required):
        return dataclasses.field(metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def option(type: ParameterType, help: str, *, short: str = "", default: Value = None) -> Any:
    """A field of an options dataclass that a line gives by name. A Flag's default is False."""
    if isinstance(type, Flag):
        default = False
    metadata = {"type": type, "help": help, "positional": False, "short": short}
    return dataclasses.field(default=default, metadata=metadata)


def parameters_of(options: type) -> tuple[Parameter, ...]:
    """The parameters that an options dataclass declares, positionals in their order."""
    parameters = []
    for field in dataclasses.fields(options):
        assert "type" in field.metadata, f"{field.name} is declared by neither argument nor option"
        repeated = field.metadata.get("repeated", False)
        missing = field.default is dataclasses.MISSING
        parameters.append(
            Parameter(
                name=field.name,
                type=field.metadata["type"],
                help=field.metadata["help"],
                positional=field.metadata["positional"],
                required=missing and not repeated,
                default=None if missing else field.default,
                short=field.metadata.get("short", ""),
                repeated=repeated,
            )
        )
    return tuple(parameters)
