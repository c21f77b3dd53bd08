"""Where answers go: as text for people, or as JSON, JSON lines or AJIS for programs.

An output gets items as they come, then the result or an error. Results go to standard output,
errors, questions and progress to standard error; progress only to a terminal.
"""

import os
import shutil
import sys
from typing import Any, Protocol, TextIO

from affs_ctl import render
from affs_fuse.auv import Value, format_canonical, format_json
from affs_fuse.errors import AffsError
from affs_fuse.protocol import Progress, RemoteError

__all__ = ["Output", "People", "make_output"]

_BOLD = "\x1b[1m"
_RED = "\x1b[31;1m"
_PLAIN = "\x1b[0m"
_ITEMS = '{"items":['
_ERASE_LINE = "\r\x1b[K"


class Output(Protocol):
    """One answer: the schema of its result if there is one, items, then result or error."""

    def schema(self, description: dict[str, Any]) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def item(self, value: Value) -> None: ...

    def result(self, value: Value) -> None: ...

    def error(self, error: AffsError) -> None: ...


def _streams(description: dict[str, Any]) -> bool:
    schema = description.get("result")
    return isinstance(schema, dict) and schema.get("shape") == "stream"


def make_output(name: str, *, quiet: bool, color: bool) -> Output:
    """name: json, jsonl, ajis, or "" for people."""
    meter = _Meter(quiet)
    if name == "jsonl":
        return _Lines(meter)
    if name in ("json", "ajis"):
        return _Document(meter, name == "json")
    return People(meter, quiet=quiet, color=color)


def error_value(error: AffsError) -> Value:
    """The error as answers carry it; one of affsctl's own has the same shape."""
    return {"error": error.to_auv(error.trace if isinstance(error, RemoteError) else "")}


class _Meter:
    """Progress on one line of a terminal."""

    def __init__(self, quiet: bool) -> None:
        self._shown = False
        self._on = not quiet and sys.stderr.isatty()

    def show(self, progress: Progress) -> None:
        if not self._on:
            return
        done, total = progress.done, progress.total
        if progress.unit == "bytes":
            amount = render.size(done) + (f" of {render.size(total)}" if total else "")
        else:
            amount = f"{done}" + (f" of {total}" if total else "") + f" {progress.unit}"
        percent = f"{100 * done // total:3} %  " if total else ""
        note = f"  {render.clean(progress.note)}" if progress.note else ""
        sys.stderr.write(f"{_ERASE_LINE}{percent}{amount}{note}")
        sys.stderr.flush()
        self._shown = True

    def clear(self) -> None:
        if self._shown:
            sys.stderr.write(_ERASE_LINE)
            sys.stderr.flush()
            self._shown = False


class _Lines:
    """--jsonl: a line for each item, event, or row of a table; else one for the result."""

    def __init__(self, meter: _Meter) -> None:
        self._meter = meter
        self._streams = False

    def schema(self, description: dict[str, Any]) -> None:
        self._streams = _streams(description)

    def progress(self, progress: Progress) -> None:
        self._meter.show(progress)

    def item(self, value: Value) -> None:
        self._meter.clear()
        print(format_json(value), flush=True)

    def result(self, value: Value) -> None:
        self._meter.clear()
        if isinstance(value, list):
            for row in value:
                print(format_json(row))
        elif not self._streams:
            print(format_json(value))

    def error(self, error: AffsError) -> None:
        self._meter.clear()
        print(format_json(error_value(error)), file=sys.stderr)


class _Document:
    """--json, --ajis: one document. A stream becomes {"items": [...], "result": {...}}, written as
    it comes."""

    def __init__(self, meter: _Meter, json: bool) -> None:
        self._meter = meter
        self._write = format_json if json else format_canonical
        self._count = 0
        self._streams = False

    def schema(self, description: dict[str, Any]) -> None:
        self._streams = _streams(description)

    def progress(self, progress: Progress) -> None:
        self._meter.show(progress)

    def item(self, value: Value) -> None:
        self._meter.clear()
        sys.stdout.write(("," if self._count else _ITEMS) + self._write(value))
        self._count += 1

    def result(self, value: Value) -> None:
        self._meter.clear()
        if self._count or self._streams:
            front = "" if self._count else _ITEMS
            print(f'{front}],"result":{self._write(value)}}}')
        else:
            print(self._write(value))

    def error(self, error: AffsError) -> None:
        self._meter.clear()
        if self._count:
            print('],"result":null}')
        print(self._write(error_value(error)), file=sys.stderr)


class People:
    """Text, laid out by the schema of the command's description."""

    def __init__(self, meter: _Meter, *, quiet: bool, color: bool) -> None:
        self._meter = meter
        self._quiet = quiet
        self._color = color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._schema: dict[str, Any] = {}
        self._count = 0

    def schema(self, description: dict[str, Any]) -> None:
        schema = description.get("result")
        self._schema = schema if isinstance(schema, dict) else {}

    def progress(self, progress: Progress) -> None:
        self._meter.show(progress)

    def item(self, value: Value) -> None:
        self._meter.clear()
        fields = self._schema.get("fields") or []
        if fields:
            print(render.row(value, fields), flush=True)
        else:
            print(render.clean(format_canonical(value)), flush=True)
        self._count += 1

    def result(self, value: Value) -> None:
        self._meter.clear()
        fields = self._schema.get("fields") or []
        shape = self._schema.get("shape")
        if isinstance(value, dict) and "plan" in value and "token" in value:
            self._print(render.document(value["plan"], self._schema.get("plan") or []))
            self._note(f"Nothing was done. The token of this plan: {value['token']}")
        elif shape == "text" and isinstance(value, dict):
            print(value.get("text", ""))
        elif shape == "table" and isinstance(value, list):
            self._table(value, fields)
        elif shape == "stream":
            self._summary(value)
        else:
            template = self._schema.get("headline")
            if template:
                self._note(render.headline(template, value, fields))
            if fields or not template:
                self._print(render.document(value, fields))

    def plan(self, plan: Value) -> None:
        """What a command would do, before the question whether it shall; on standard error."""
        self._print(render.document(plan, self._schema.get("plan") or []), sys.stderr)

    def error(self, error: AffsError) -> None:
        self._meter.clear()
        self._put(sys.stderr, f"affsctl: {render.clean(error.message)}", _RED)
        for line in _pointer(error.details):
            print(line, file=sys.stderr)
        if error.hint:
            print(f"hint: {render.clean(error.hint)}", file=sys.stderr)

    def _table(self, rows: list[Value], fields: list[Any]) -> None:
        if not fields:
            self._print([render.clean(format_canonical(row)) for row in rows])
            return
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        title, *lines = render.table(rows, fields, width)
        if rows:
            self._put(sys.stdout, title, _BOLD)
        self._print(lines)

    def _summary(self, value: Value) -> None:
        fields = self._schema.get("summary") or []
        if self._quiet or not isinstance(value, dict) or not fields:
            return
        parts = []
        for field in fields:
            found = render.lookup(value, field["path"])
            if field["kind"] != "flag":
                parts.append(f"{field['title']} {render.text_of(found, field['kind'])}")
            elif found:
                parts.append(field["title"])
        print(", ".join(parts), file=sys.stderr)

    def _note(self, text: str) -> None:
        if not self._quiet:
            print(text)

    def _print(self, lines: list[str], stream: TextIO | None = None) -> None:
        for line in lines:
            print(line, file=stream or sys.stdout)

    def _put(self, stream: TextIO, text: str, style: str) -> None:
        coloured = self._color and stream.isatty()
        print(f"{style}{text}{_PLAIN}" if coloured else text, file=stream)


def _pointer(details: dict[str, Any]) -> list[str]:
    """The line with the wrong part underlined, when the error says where it is."""
    line, column, length = details.get("line"), details.get("column"), details.get("length")
    if not isinstance(line, str) or not isinstance(column, int) or not isinstance(length, int):
        return []
    front, part = (
        render.clean(line[: column - 1]),
        render.clean(line[column - 1 : column - 1 + length]),
    )
    return [f"  {render.clean(line)}", "  " + " " * len(front) + "^" * max(1, len(part))]
