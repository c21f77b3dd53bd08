"""What a command is: one declaration that parsing, validation, help, completion, the reference
pages and every client are made from.

A module in commands/ declares an options dataclass (its fields are the parameters), a coroutine
that does the work, and a `Command` that joins them. Nothing else in the project knows a command by
name.
"""

import dataclasses
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from typing import Any, Generic, Protocol, TypeVar

from affs_fuse.auv import Value
from affs_fuse.clock import Clock, Entropy
from affs_fuse.query.paths import absolute_path
from affs_fuse.runtime.accounts import Accounts
from affs_fuse.runtime.effects import Effects
from affs_fuse.runtime.events import EventBus
from affs_fuse.runtime.expectation import Basis
from affs_fuse.runtime.observation import Observation
from affs_fuse.runtime.parameters import (
    Flag,
    Parameter,
    ParameterType,
    option,
    parameters_of,
)
from affs_fuse.runtime.policy import Role
from affs_fuse.runtime.ports import EnginePort, Plain, SettingKey
from affs_fuse.runtime.results import Schema
from affs_fuse.runtime.session import Session, Sessions

__all__ = [
    "RESERVED_OPTIONS",
    "Catalogue",
    "Command",
    "Context",
    "Danger",
    "Example",
    "Kind",
    "NoOptions",
    "Parsed",
    "Plan",
    "Reply",
    "Safety",
]

RESERVED_OPTIONS = frozenset(
    {"help", "version", "volume", "json", "jsonl", "ajis", "wire"}
    | {"no_color", "no_pager", "quiet", "timeout"}
)
"""Names that belong to the clients in every command line; no command may declare one."""


class Kind(StrEnum):
    """A query changes nothing, so it is not logged as an operation and may be repeated at will."""

    QUERY = "query"
    COMMAND = "command"


class Danger(IntEnum):
    """NONE: adds, or changes nothing. REVERSIBLE: replaces something, and the answer says how to
    get it back. DESTRUCTIVE: something goes, and `undo` brings it back for a while at most, so it
    takes --yes or the token of a plan."""

    NONE = 0
    REVERSIBLE = 1
    DESTRUCTIVE = 2

    @property
    def word(self) -> str:
        return self.name.lower()


class Reply(Protocol):
    """The way back to the client while a command runs. Both wait until the client has room for
    more, so a client that does not read holds up its own request."""

    async def item(self, value: Value) -> None:
        """One element of a streamed result."""

    async def progress(self, done: int, total: int | None, unit: str, note: str = "") -> None:
        """How far long work is; total None when it is not known."""

    async def event(self, event: Plain) -> None:
        """One event of a subscription (`watch`)."""


class Parsed(Protocol):
    """An invocation as commands see it."""

    @property
    def command(self) -> "Command[Any]": ...


class Catalogue(Protocol):
    """The registry as commands see it (help, describe, complete)."""

    def find(self, name: str) -> "Command[Any]":
        """By name in any letter case; invalid: command.unknown."""

    def all(self) -> "Iterable[Command[Any]]":
        """In the order of the help page."""

    def parse_line(self, line: str) -> "Parsed":
        """What a line means; invalid as docs/specs/CommandGrammar.md says."""


class PersonalitiesPort(Protocol):
    """The packages of the volume as commands see them (personalities.py has what each gives)."""

    def list(self) -> list[Plain]: ...

    def show(self, name: str | None) -> Plain: ...

    def installation(self, source: str) -> Mapping[SettingKey, Value]: ...

    def upgrade_plan(self, source: str) -> Plain: ...

    def upgrade(self, source: str) -> Mapping[SettingKey, Value]: ...

    def remove_plan(self, name: str) -> Plain: ...

    def removal(self, name: str) -> Mapping[SettingKey, Value]: ...

    def use_plan(self, name: str) -> Plain: ...

    def choice(self, name: str) -> Mapping[SettingKey, Value]: ...


@dataclass(frozen=True, slots=True)
class Context:
    """What a command has at hand. runtime_status: counters of sessions, requests and events, for
    `status`. expect: basis of the plan that was confirmed; the engine compares it in the turn of
    the change. observation: figures of the daemon itself. effects: where a command that changes
    something notes what it changed. role: what the session may for this invocation. directory: what
    relative paths begin at. begun_seq: of the last
    durable commit when it began. sessions, accounts, entropy: for commands about who is who."""

    engine: EnginePort
    events: EventBus
    clock: Clock
    session: Session
    reply: Reply
    catalogue: Catalogue
    runtime_status: Callable[[], Plain]
    observation: Observation
    personalities: PersonalitiesPort
    role: Role
    directory: str
    sessions: Sessions
    accounts: Accounts
    entropy: Entropy
    expect: Basis = None
    begun_seq: int = 0
    effects: Effects = dataclasses.field(default_factory=Effects)

    @property
    def author(self) -> str:
        """Who stands behind a state made now."""
        return self.session.identity.user

    def path(self, text: str) -> str:
        """A path of the volume as it is meant here: absolute, without `.` and `..`."""
        return absolute_path(self.directory, text)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a command would do. shown: for the client. basis: whatever the plan depends on; when it
    differs later, so does the token, and the plan is stale."""

    shown: Plain
    basis: Basis

    @classmethod
    def made(cls, answer: Plain) -> "Plan":
        """Of what a dry run of the engine answered."""
        return cls({key: value for key, value in answer.items() if key != "basis"}, answer["basis"])


@dataclass(frozen=True, slots=True)
class Safety:
    """Parameters that every command of some danger gets besides its own."""

    dry_run: bool = option(Flag(), "show what would happen and change nothing", short="-n")
    yes: bool = option(Flag(), "do it without asking", short="-y")
    token: str = option(
        ParameterType(),
        "do it if nothing has changed since the dry run that gave TOKEN",
        default="",
    )


@dataclass(frozen=True, slots=True)
class NoOptions:
    """Of a command without parameters."""


@dataclass(frozen=True, slots=True)
class Example:
    """A line, and what it is good for."""

    line: str
    help: str


O = TypeVar("O")  # noqa: E741 - the options type


@dataclass(frozen=True)
class Command(Generic[O]):
    """One entry of the registry.

    group: heading on the help page. options: dataclass of the parameters. destructive_with: flags
    that raise the danger to DESTRUCTIVE. plan: required when danger is not NONE. errors: codes that
    are its own, beside those that every command can give. hidden: left out of the help page.
    endless: runs until its client has enough, so its time says nothing. essential: no personality
    leaves it out. unremembered: not in the history of the session.
    """

    name: str
    kind: Kind
    role: Role
    group: str
    summary: str
    description: str
    options: type[O]
    run: Callable[[Context, O], Awaitable[Value]]
    result: Schema
    danger: Danger = Danger.NONE
    destructive_with: tuple[str, ...] = ()
    plan: Callable[[Context, O], Awaitable[Plan]] | None = None
    examples: tuple[Example, ...] = ()
    errors: tuple[str, ...] = ()
    hidden: bool = False
    endless: bool = False
    essential: bool = False
    unremembered: bool = False

    def __post_init__(self) -> None:
        assert self.name == self.name.lower(), f"{self.name}: names are declared in lower case"
        assert (self.plan is None) == (self.danger is Danger.NONE), f"{self.name}: danger or plan?"
        names = [parameter.name for parameter in self.parameters]
        assert len({*names}) == len(names), f"{self.name}: a parameter is declared twice"
        assert not RESERVED_OPTIONS.intersection(names), f"{self.name}: reserved option"
        assert {*self.destructive_with} <= {*names}, f"{self.name}: destructive_with"
        optional = False
        for parameter in self.positionals:
            assert not (optional and parameter.required), f"{self.name}: {parameter.name}"
            optional = not parameter.required

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """Positionals first, then options, then those of `Safety`."""
        own = parameters_of(self.options)
        safety = parameters_of(Safety) if self.danger is not Danger.NONE else ()
        positional = tuple(parameter for parameter in own if parameter.positional)
        return positional + tuple(p for p in own if not p.positional) + safety

    @cached_property
    def positionals(self) -> tuple[Parameter, ...]:
        return tuple(parameter for parameter in self.parameters if parameter.positional)

    @cached_property
    def takes_rest(self) -> bool:
        """Whether the line behind the options is one text that is not split into words."""
        return any(parameter.type.takes_rest for parameter in self.positionals)

    def danger_of(self, options: O) -> Danger:
        """Of this call."""
        if any(getattr(options, name) for name in self.destructive_with):
            return Danger.DESTRUCTIVE
        return self.danger

    @property
    def usage(self) -> str:
        """One line: the name, positionals, options; what may be left out in brackets. What takes
        the rest of a line stands last."""
        parts = [self.name]
        for parameter in sorted(self.parameters, key=lambda one: one.type.takes_rest):
            if parameter.positional:
                word = parameter.word + ("..." if parameter.repeated else "")
            else:
                word = parameter.short or parameter.word
                if parameter.type.takes_value:
                    word += " " + parameter.name.upper()
            parts.append(word if parameter.required else f"[{word}]")
        return " ".join(parts)

    def describe(self) -> dict[str, Value]:
        """Everything about it as one value (docs/specs/CommandGrammar.md, "Description")."""
        return {
            "name": self.name,
            "kind": str(self.kind),
            "role": self.role.word,
            "danger": self.danger.word,
            "destructive_with": list(self.destructive_with),
            "group": self.group,
            "usage": self.usage,
            "summary": self.summary,
            "description": self.description,
            "parameters": [parameter.describe() for parameter in self.parameters],
            "result": self.result.describe(),
            "errors": list(self.errors),
            "examples": [dataclasses.asdict(example) for example in self.examples],
            "hidden": self.hidden,
            "essential": self.essential,
        }
