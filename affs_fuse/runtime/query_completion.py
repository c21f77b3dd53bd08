"""Candidates inside a query: paths of collections, stages, fields of the schema, functions.

The query room says what can stand there (completing.py), this adds what the volume knows of it.
"""

import re
from collections.abc import Callable, Iterator

from affs_fuse.auv import Value
from affs_fuse.errors import AffsError
from affs_fuse.query.completing import STAGE_WORDS, Expected, expected_at_end
from affs_fuse.query.functions import FUNCTIONS
from affs_fuse.query.parser import AGGREGATES, SOURCES
from affs_fuse.query.rows import ATTRIBUTES
from affs_fuse.query.schema import RecordSchema, Rule, place_text, rules_on_way
from affs_fuse.runtime.collections_port import CollectionsPort
from affs_fuse.runtime.command import Catalogue
from affs_fuse.runtime.completion import CANDIDATES_MAX
from affs_fuse.runtime.parameters import STATE_WORDS
from affs_fuse.runtime.policy import Identity
from affs_fuse.runtime.ports import Plain

__all__ = ["query_completions"]

_COMMAND = re.compile(r"\s*([\w-]+)(?=\s)")
_OPEN_QUOTE = re.compile(r"\s*'(?=[^']*\Z)")
_VERB = re.compile(rf"(?:^|\s)({'|'.join(SOURCES)})(?=\s)", re.IGNORECASE)

Named = tuple[str, str, str]
"""(text, kind, a word about it)."""


async def query_completions(
    catalogue: Catalogue,
    states: list[Plain],
    line: str,
    collections: CollectionsPort,
    identity: Identity,
    absolute: Callable[[str], str],
) -> dict[str, Value] | None:
    """column, length, candidates, as `completions`; None where the line has no query at its end.
    absolute: a path as it is meant in this session."""
    begins = _query_in(catalogue, line)
    if begins is None:
        return None
    verb, start = begins
    expected = expected_at_end(line, start, verb)
    if expected.prefix.startswith("-"):
        return None
    paths = await collections.paths(identity) if "path" in expected.kinds else ()
    schema = None
    if expected.path and not expected.files and {"value", "member"} & set(expected.kinds):
        path = absolute(expected.path)
        schema = await collections.schema_of(path, identity)
    named = _named(expected, list(paths), states, schema)
    found = [
        {"text": text, "source": text, "kind": kind, "help": about}
        for text, kind, about in named
        if text.lower().startswith(expected.prefix.lower())
    ]
    return {
        "column": expected.start + 1, "length": len(line) - expected.start,
        "candidates": found[:CANDIDATES_MAX],
    }  # fmt: skip


def _query_in(catalogue: Catalogue, line: str) -> tuple[str, int] | None:
    """(verb of the query, where what follows it begins)."""
    command = _COMMAND.match(line)
    if command is None:
        return None
    try:
        declared = catalogue.find(command[1])
    except AffsError:
        return None
    if not declared.takes_rest:
        return None
    name, start = declared.name, command.end()
    if name not in SOURCES:
        verb = _VERB.search(line, start)
        if verb is None:
            return None
        name, start = verb[1].lower(), verb.end()
    quote = _OPEN_QUOTE.match(line, start)  # a query in single quotes, which it does not use itself
    return name, quote.end() if quote is not None else start


def _named(
    expected: Expected, paths: list[str], states: list[Plain], schema: RecordSchema | None
) -> Iterator[Named]:
    kinds = expected.kinds
    if "path" in kinds:
        yield from ((path, "value", "a collection") for path in paths)
    if "stage" in kinds:
        yield from ((name, "keyword", about) for name, about in STAGE_WORDS.items())
    if "state" in kinds:
        yield from _states(states)
    if "member" in kinds and schema is not None:
        *_, rule = rules_on_way(schema.record, expected.chain)
        yield from _fields(rule)
    if "value" in kinds:
        yield from _values(expected, schema)
    if "attribute" in kinds:
        yield from (("@" + one.name, "value", one.about) for one in ATTRIBUTES.values())
    if "keyword" in kinds:
        yield from ((word, "keyword", "") for word in expected.words)


def _states(states: list[Plain]) -> Iterator[Named]:
    yield from ((word, "state", "") for word in STATE_WORDS)
    for state in reversed(states):
        yield state["label"] or state["id"], "state", state["message"].partition("\n")[0]


def _values(expected: Expected, schema: RecordSchema | None) -> Iterator[Named]:
    if expected.names is not None:
        yield from ((name, "value", "") for name in expected.names)
    elif expected.files:
        yield from ((one.name, "value", one.about) for one in ATTRIBUTES.values())
    elif schema is not None:
        yield from _fields(schema.record)
    calls = sorted({*FUNCTIONS, *AGGREGATES, "now"})
    yield from ((f"{name}(", "value", "") for name in calls)


def _fields(rule: Rule | None) -> Iterator[Named]:
    for name, below in rule.fields.items() if rule is not None else ():
        about = below.type_words if below.types is not None else ""
        yield place_text((name,)), "value", about
