"""Changes of one record: set, unset, merge and append at places inside it (docs/specs/Records.md).

A change makes a new value and leaves the old one as it is. A place is a chain of keys and indexes;
Objects that are missing on the way are made, anything else that is in the way is an error with the
place, so nothing is lost by a slip.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from affs_fuse.auv import INT64_MAX, Value
from affs_fuse.errors import AffsError, Category
from affs_fuse.query.lexer import Lexer, Token
from affs_fuse.query.ordering import text_type

__all__ = ["VERBS", "Change", "edited", "parse_changes", "parse_place", "split_changes"]

STEPS_MAX = 100

Key = str | int
Place = tuple[Key, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """verb: set, unset, merge, append. text: the place as it was written."""

    verb: str
    place: Place
    text: str
    value: Value = None


def split_changes(
    words: list[Value], takes: Mapping[str, str], alone: str, wrong: Callable[[str], AffsError]
) -> list[tuple[str, str, Value]]:
    """(verb, place, operand) of each change in a flat list. takes: for people, what each verb
    takes. alone: the verb that has a place and no operand. wrong: makes the error."""
    found = []
    at = 0
    while at < len(words):
        word = words[at]
        verb = word.lower() if isinstance(word, str) else ""
        if verb not in takes:
            shown = repr(word) if isinstance(word, str) else text_type(word)
            raise wrong(f"expected {', '.join(takes)}, found {shown}")
        count = 1 if verb == alone else 2
        operands = words[at + 1 : at + 1 + count]
        if len(operands) < count or not isinstance(operands[0], str):
            raise wrong(f"{verb} takes {takes[verb]}")
        found.append((verb, operands[0], operands[1] if count == 2 else None))
        at += 1 + count
    if not found:
        raise wrong(f"there is nothing to change: {', '.join(takes)}")
    return found


def parse_changes(words: list[Value]) -> list[Change]:
    """From a flat list: each verb, its place, and but for unset its value. Errors:
    record.change."""
    takes = {verb: "a place" if verb == "unset" else "a place and a value" for verb in VERBS}
    changes = []
    for verb, text, value in split_changes(words, takes, "unset", _wrong):
        if verb == "merge" and type(value) is not dict:
            raise _wrong(f"merge takes an Object, not {text_type(value)}")
        changes.append(Change(verb, parse_place(text), text, value))
    return changes


def parse_place(text: str) -> Place:
    """`$` alone is the whole record; `a.b[0]["key"]` goes into it. Errors: record.change."""
    lexer = Lexer(text)
    place: list[Key] = []
    try:
        if lexer.peek().text != "$":
            place.append(_name(lexer.next()))
        else:
            lexer.next()
        while (token := lexer.next()).kind != "end":
            if token.text == ".":
                place.append(_name(lexer.next()))
            elif token.text == "[":
                place.append(_index(lexer))
            else:
                raise _wrong(f"{text!r} is no place: {token.shown} is not expected there")
            if len(place) > STEPS_MAX:
                raise _wrong(f"a place has at most {STEPS_MAX} steps")
    except AffsError as error:
        if error.code == "record.change":
            raise
        raise _wrong(f"{text!r} is no place: {error.message}") from None
    return tuple(place)


def _name(token: Token) -> str:
    if token.kind not in ("name", "quoted", "keyword"):
        raise _wrong(f"expected the name of a field, found {token.shown}")
    return token.text


def _index(lexer: Lexer) -> Key:
    minus = lexer.peek().text == "-"
    if minus:
        lexer.next()
    token, closer = lexer.next(), lexer.next()
    value = token.value
    number = type(value) is int and value <= INT64_MAX
    if token.kind != "literal" or closer.text != "]" or not (number or isinstance(value, str)):
        raise _wrong('a step in brackets is [0], [-1] or ["key"]')
    key: Key = -value if minus else value
    return key


def edited(value: Value, changes: list[Change]) -> Value:
    """The record after all changes, one after the other. Errors: record.change."""
    for change in changes:
        value = _at(value, change.place, 0, change)
    return value


def _at(value: Value, place: Place, depth: int, change: Change) -> Value:
    """The value with the change made below it."""
    if depth == len(place):
        return VERBS[change.verb](value, change)
    key = place[depth]
    last = depth + 1 == len(place)
    if isinstance(key, int):
        return _in_array(value, key, last, depth, change)
    if change.verb == "unset" and (value is None or (type(value) is dict and key not in value)):
        return value
    if value is None:
        value = {}
    if type(value) is not dict:
        raise _in_the_way(change, depth, f"{text_type(value)} has no fields")
    if last and change.verb == "unset":
        return {other: member for other, member in value.items() if other != key}
    return {**value, key: _at(value.get(key), change.place, depth + 1, change)}


def _in_array(value: Value, index: int, last: bool, depth: int, change: Change) -> Value:
    if type(value) is not list:
        raise _in_the_way(change, depth, f"{text_type(value)} has no elements")
    if not -len(value) <= index < len(value):
        if last and change.verb == "unset":
            return value
        raise _in_the_way(change, depth, f"the Array has {len(value)} elements; append adds one")
    made = list(value)
    if last and change.verb == "unset":
        del made[index]
    else:
        made[index] = _at(value[index], change.place, depth + 1, change)
    return made


def _set(value: Value, change: Change) -> Value:
    return change.value


def _unset(value: Value, change: Change) -> Value:
    raise _wrong("the whole record cannot be unset; erase takes it away")


def _merge(value: Value, change: Change) -> Value:
    if value is not None and type(value) is not dict:
        depth = len(change.place)
        raise _in_the_way(change, depth, f"merge goes into an Object, not {text_type(value)}")
    return _merged({} if value is None else value, change.value)


def _merged(base: Value, other: Value) -> Value:
    made = dict(base)
    for key, member in other.items():
        known = made.get(key)
        both = type(known) is dict and type(member) is dict
        made[key] = _merged(known, member) if both else member
    return made


def _append(value: Value, change: Change) -> Value:
    if value is not None and type(value) is not list:
        depth = len(change.place)
        raise _in_the_way(change, depth, f"append goes into an Array, not {text_type(value)}")
    return [*(value or []), change.value]


VERBS: dict[str, Callable[[Value, Change], Value]] = {
    "set": _set,
    "unset": _unset,
    "merge": _merge,
    "append": _append,
}


def _wrong(message: str) -> AffsError:
    return AffsError("record.change", Category.INVALID, message)


def _in_the_way(change: Change, depth: int, what: str) -> AffsError:
    shown = "$" + "".join(
        f"[{key}]" if isinstance(key, int) else f".{key}" for key in change.place[:depth]
    )
    return AffsError(
        "record.change", Category.INVALID, f"{change.verb} {change.text}: {what} (at {shown})",
        details={"place": change.text},
    )  # fmt: skip
