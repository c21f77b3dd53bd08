"""Values as people read them: sizes, times, states, tables that fit the terminal.

What is shown, and how, comes from the result schema that the runtime describes with each command
(docs/specs/CommandGrammar.md, "Description"); nothing here knows a command. Names from the volume
may hold anything, so no control character reaches the terminal.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from affs_ctl.columns import cut, pad, width_of
from affs_fuse.auv import Value, format_compact, format_pretty

__all__ = ["clean", "document", "headline", "lookup", "row", "size", "table", "text_of"]

_ID_DIGITS = 12
_COLUMN_MIN = 8
_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")
_STREAM_WIDTHS = {
    "time": 25,
    "id": 12,
    "state": 12,
    "growth": 10,
    "size": 10,
    "count": 6,
    "list": 12,
}

_ON_THE_RIGHT = ("count", "number", "size", "growth", "duration")
_ELASTIC = ("text", "list", "path", "state", "pairs")

Field = Mapping[str, Any]
"""path, title, kind, wide: one field of a schema."""


def clean(text: str) -> str:
    """Control characters, and whatever else does not print, as escapes."""
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape", "backslashreplace").decode()
        for one in text
    )


def size(count: int) -> str:
    """Bytes in binary units with three digits that count."""
    number = float(abs(count))
    unit = 0
    while number >= 1024 and unit + 1 < len(_UNITS):
        number /= 1024
        unit += 1
    sign = "-" if count < 0 else ""
    digits = 0 if unit == 0 or number >= 100 else 1 if number >= 10 else 2
    return f"{sign}{number:.{digits}f} {_UNITS[unit]}"


def lookup(value: Value, path: str) -> Value:
    """What stands at a path of keys; the value itself for ""; None where there is nothing."""
    for key in path.split(".") if path else ():
        if not isinstance(value, dict):
            return None
        value = value.get(key)
    return value


def _growth(value: Value) -> str:
    return ("+" if value > 0 else "") + size(value)


def _time(value: Value) -> str:
    try:
        moment = datetime.fromtimestamp(value // 1_000_000_000).astimezone()
    except (OverflowError, ValueError, OSError):
        return str(value)
    return moment.isoformat(timespec="seconds")


def _duration(value: Value) -> str:
    seconds = int(value)
    if seconds < 60:
        for unit, name in ((1, "s"), (1e-3, "ms"), (1e-6, "µs")):
            if value >= unit or not value:
                return f"{value / unit:.3g} {name}"
        return f"{value * 1e9:.3g} ns"
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, seconds = divmod(rest, 60)
    return (f"{days} d " if days else "") + f"{hours}:{minutes:02}:{seconds:02}"


def _state(value: Value) -> str:
    if not isinstance(value, dict):
        return clean(str(value))[:_ID_DIGITS]
    short = clean(str(value.get("id", "")))[:_ID_DIGITS]
    label = clean(str(value.get("label") or ""))
    return f"{label} ({short})" if label else short


def _member(value: Value) -> str:
    """One element of a list."""
    if not isinstance(value, dict):
        return clean(str(value))
    first = [clean(str(value[key])) for key in ("kind", "name", "path") if key in value]
    rest = [
        f"{key}={clean(str(member))}"
        for key, member in value.items()
        if key not in ("kind", "name", "path") and not isinstance(member, dict | list)
    ]
    return " ".join(first + rest)


def _number(value: Value) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"


def _pairs(value: Value) -> str:
    if not isinstance(value, dict):
        return clean(str(value))
    return " ".join(f"{clean(key)}={clean(str(member))}" for key, member in value.items())


def _entry(value: Value) -> str:
    if not isinstance(value, dict):
        return clean(format_compact(value))
    return "  ".join(f"{clean(key)}={clean(format_compact(one))}" for key, one in value.items())


def _list(value: Value) -> str:
    members = value if isinstance(value, list) else [value]
    if any(isinstance(member, dict) for member in members):
        return "\n".join(_member(member) for member in members)
    return ",".join(_member(member) for member in members)


_WRITERS: dict[str, Callable[[Value], str]] = {
    "id": lambda value: clean(str(value))[:_ID_DIGITS],
    "state": _state,
    "count": lambda value: str(value),
    "number": _number,
    "pairs": _pairs,
    "entry": _entry,
    "size": size,
    "growth": _growth,
    "time": _time,
    "duration": _duration,
    "flag": lambda value: "yes" if value else "no",
    "list": _list,
}


def text_of(value: Value, kind: str) -> str:
    """A value of a schema's kind; a value of another type than the kind wants as it is."""
    if value is None:
        return ""
    try:
        return _WRITERS.get(kind, lambda one: clean(str(one)))(value)
    except (TypeError, ValueError):
        return clean(str(value))


def headline(template: str, value: Value, fields: Iterable[Field]) -> str:
    """The schema's sentence about a result: `{path}` stands for the field there."""
    kinds = {field["path"]: field["kind"] for field in fields}
    parts = []
    for piece in template.split("{"):
        path, brace, rest = piece.partition("}")
        if not brace:
            parts.append(piece)
            continue
        found = lookup(value, path)
        kind = "state" if isinstance(found, dict) else kinds.get(path, "text")
        parts.append(text_of(found, kind) + rest)
    return "".join(parts)


def document(value: Value, fields: Sequence[Field]) -> list[str]:
    """A line for each field that has something to say (of a wide one, more than 0 or false);
    without fields, the value in full."""
    if not fields:
        return format_pretty(value).splitlines()
    shown = []
    for field in fields:
        found = lookup(value, field["path"])
        if found in (None, "", []) or (field.get("wide") and not found):
            continue
        shown.append((field["title"], text_of(found, field["kind"])))
    width = max((width_of(title) for title, _ in shown), default=0)
    lines = []
    for title, text in shown:
        first, *more = text.splitlines() or [""]
        lines.append(f"{pad(title, width)}  {first}")
        lines += [" " * (width + 2) + line for line in more]
    return lines


def table(rows: Sequence[Value], fields: Sequence[Field], width: int | None) -> list[str]:
    """Rows under their titles. width: of the terminal, or None to cut nothing. Columns without any
    content are left out, then those that are wide, then the longest are cut."""
    columns = []
    for field in fields:
        cells = [_cell(lookup(row, field["path"]), field["kind"]) for row in rows]
        if any(cells):
            columns.append((field, [field["title"].upper(), *cells]))
    if width is not None and _total(columns) > width:
        columns = [column for column in columns if not column[0].get("wide")]
    widths = [max(map(width_of, cells)) for _, cells in columns]
    if width is not None:
        _shrink(widths, columns, width - 2 * (len(columns) - 1))
    lines = []
    for index in range(len(rows) + 1):
        parts = []
        for (field, cells), cell_width in zip(columns, widths, strict=True):
            cell = cut(cells[index], cell_width)
            parts.append(pad(cell, cell_width, right=field["kind"] in _ON_THE_RIGHT))
        lines.append("  ".join(parts).rstrip())
    return lines


def _stream_width(field: Field) -> int:
    return max(_STREAM_WIDTHS.get(field["kind"], 10), len(field["title"]))


def titles(fields: Sequence[Field]) -> str:
    """What stands above rows of a stream; "" for rows of one column, which need none."""
    shown = [field for field in fields if not field.get("wide")]
    if len(shown) < 2:
        return ""
    parts = []
    for field in shown:
        width = _stream_width(field)
        parts.append(pad(field["title"].upper(), width, right=field["kind"] in _ON_THE_RIGHT))
    return "  ".join(parts).rstrip()


def row(value: Value, fields: Sequence[Field]) -> str:
    """One row of a stream, in columns of a usual width: nothing is held back, nothing is cut."""
    parts = []
    for field in fields:
        if field.get("wide"):
            continue
        width = _stream_width(field)
        if field["kind"] == "rest":
            cell = _rest(value, {other["path"] for other in fields})
        else:
            cell = _cell(lookup(value, field["path"]), field["kind"])
        parts.append(pad(cell, width, right=field["kind"] in _ON_THE_RIGHT))
    return "  ".join(parts).rstrip()


def _rest(value: Value, shown: set[str]) -> str:
    """What of a row has no column of its own."""
    if not isinstance(value, dict):
        return ""
    return " ".join(
        f"{clean(key)}={clean(str(member))}"
        for key, member in value.items()
        if key not in shown and not isinstance(member, dict | list) and member not in (None, "")
    )


def _cell(value: Value, kind: str) -> str:
    """One line; a flag that is not set is empty, so that a column of them can go."""
    if kind == "flag":
        return "yes" if value else ""
    if kind == "count" and not value:
        return "" if value is None else "0"
    return text_of(value, kind).replace("\n", " ")


def _total(columns: Sequence[tuple[Field, list[str]]]) -> int:
    return sum(max(map(width_of, cells)) for _, cells in columns) + 2 * (len(columns) - 1)


def _shrink(widths: list[int], columns: Sequence[tuple[Field, list[str]]], room: int) -> None:
    """Take from the longest of the columns that may be cut, until all fit."""
    elastic = [
        index
        for index, (field, _) in enumerate(columns)
        if field["kind"] in _ELASTIC
    ]
    while sum(widths) > room:
        longest = max(elastic, key=lambda index: widths[index], default=None)
        if longest is None or widths[longest] <= _COLUMN_MIN:
            return
        widths[longest] -= 1
