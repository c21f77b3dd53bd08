"""Converting a value to the type that a rule demands (docs/specs/Collections.md, "Conversions").

A conversion loses nothing: what cannot be said exactly in the other type is a problem, and the
value stays as it is.
"""

from collections.abc import Callable

from affs_fuse.auv import INT64_MAX, INT64_MIN, Char, TextError, Value, format_compact, parse
from affs_fuse.query.editing import Place
from affs_fuse.query.ordering import text_type
from affs_fuse.query.schema import Rule, short_text
from affs_fuse.query.schema_check import Violation

__all__ = ["converted"]


def converted(rule: Rule, value: Value, place: Place, problems: list[Violation]) -> Value:
    """The value as one of the rule's types; as it is, with a problem, where none is possible."""
    if rule.types is not None and type(value) not in rule.types:
        for kind, convert in _CONVERTERS.items():
            made = convert(value) if kind in rule.types else _NOTHING
            if made is not _NOTHING:
                value = made
                break
        else:
            if value is None and rule.default:
                return rule.default[0]
            problems.append(
                Violation(
                    place, "convert", f"what can become {rule.type_words}",
                    f"{text_type(value)} {short_text(value)}",
                )
            )  # fmt: skip
            return value
    if type(value) is list and rule.items is not None:
        items = rule.items
        return [
            converted(items, member, (*place, index), problems)
            for index, member in enumerate(value)
        ]
    if type(value) is dict:
        return {
            name: converted(rule.fields[name], member, (*place, name), problems)
            if name in rule.fields
            else member
            for name, member in value.items()
        }
    return value


_NOTHING = object()


def _to_string(value: Value) -> Value:
    if type(value) is Char:
        return value.text
    return format_compact(value) if type(value) in (bool, int, float) else _NOTHING


def _literal(value: Value) -> Value:
    """What a String says as AJIS text."""
    if type(value) is not str:
        return value
    try:
        return parse(value)
    except TextError:
        return _NOTHING


def _to_integer(value: Value) -> Value:
    value = _literal(value)
    if type(value) is int:
        return value
    if type(value) is float and value.is_integer() and INT64_MIN <= value <= INT64_MAX:
        return int(value) if INT64_MIN <= int(value) <= INT64_MAX else _NOTHING
    return _NOTHING


def _to_float(value: Value) -> Value:
    value = _literal(value)
    if type(value) is float:
        return value
    return float(value) if type(value) is int and int(float(value)) == value else _NOTHING


def _to_bool(value: Value) -> Value:
    if type(value) is int:
        return bool(value) if value in (0, 1) else _NOTHING
    value = _literal(value)
    return value if type(value) is bool else _NOTHING


def _to_char(value: Value) -> Value:
    return Char(value) if type(value) is str and len(value) == 1 else _NOTHING


def _to_array(value: Value) -> Value:
    return [] if value is None else [value]


_CONVERTERS: dict[type, Callable[[Value], Value]] = {
    bool: _to_bool,
    int: _to_integer,
    float: _to_float,
    Char: _to_char,
    str: _to_string,
    list: _to_array,
}
"""In the order of the types: where a rule allows several, the first that is possible."""
