"""Where answers go: as text for people, or as JSON, JSON lines, AJIS or wire values for programs.

An output gets items and events as they come, then the result or an error. Results go to standard
output, errors, questions and progress to standard error; progress only to a terminal.
"""

import os
import sys
from typing import Any, BinaryIO, Protocol, TextIO

from affs_ctl import render
from affs_ctl.columns import width_of
from affs_ctl.pager import Page, pager_command, terminal_size
from affs_fuse.auv import ANSWER_LIMITS, Value, encode, format_canonical, format_json
from affs_fuse.errors import AffsError
from affs_fuse.protocol import (
    FRAME_BYTES_MAX,
    Answer,
    Event,
    Failure,
    Item,
    Progress,
    RemoteError,
    ServerMessage,
    encode_frame,
    error_to_auv,
)

__all__ = ["Output", "People", "make_output"]

_BOLD = "\x1b[1m"
_RED = "\x1b[31;1m"
_PLAIN = "\x1b[0m"
_ITEMS = '{"items":['
_ERASE_LINE = "\r\x1b[K"


class Output(Protocol):
    """Answers, one after the other: the schema of the result (None when there is none), items and
    events, then result or error; `end` when nothing more comes of this answer. holds_back: items
    may be kept from the screen until `idle`."""

    holds_back: bool

    def schema(self, description: Value) -> None: ...

    def progress(self, progress: Progress) -> None: ...

    def item(self, value: Value) -> None: ...

    def event(self, value: Value) -> None: ...

    def result(self, value: Value) -> None: ...

    def idle(self) -> None: ...

    def end(self) -> None: ...

    def plan(self, plan: Value) -> None:
        """What a command would do, before the question whether it shall; on standard error."""

    def error(self, error: AffsError) -> None: ...


def make_output(
    name: str,
    *,
    quiet: bool,
    color: bool,
    pager: bool = False,
    expanded: bool = False,
    program: str = "affsctl: ",
) -> Output:
    """name: json, jsonl, ajis, wire, or "" for people; the rest is for these alone. expanded: rows
    of tables and streams as documents. program: stands in front of errors."""
    meter = _Meter(quiet)
    if name == "jsonl":
        return _Lines(meter)
    if name == "wire":
        return _Wire(sys.stdout.buffer)
    if name in ("json", "ajis"):
        return _Document(meter, name == "json")
    return People(meter, quiet=quiet, color=color, pager=pager, expanded=expanded, program=program)


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

    def give_way(self) -> None:
        """A pager has the screen from here on."""
        self.clear()
        self._on = False


class _Plain:
    """What is the same in all forms for programs."""

    holds_back = False

    def __init__(self, meter: _Meter) -> None:
        self._meter = meter
        self._streams = False

    def schema(self, description: Value) -> None:
        schema = description.get("result") if isinstance(description, dict) else None
        self._streams = isinstance(schema, dict) and schema.get("shape") in ("stream", "bytes")

    def progress(self, progress: Progress) -> None:
        self._meter.show(progress)

    def idle(self) -> None:
        """Nothing is held back."""

    def end(self) -> None:
        self._meter.clear()
        sys.stdout.flush()

    def plan(self, plan: Value) -> None:
        """The error holds it."""


class _Lines(_Plain):
    """--jsonl: a line for each item, event, or row of a table; else one for the result."""

    def item(self, value: Value) -> None:
        self._meter.clear()
        print(format_json(value), flush=True)

    event = item

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


class _Document(_Plain):
    """--json, --ajis: one document. A stream becomes {"items": [...], "result": {...}}, written as
    it comes."""

    def __init__(self, meter: _Meter, json: bool) -> None:
        super().__init__(meter)
        self._write = format_json if json else format_canonical
        self._count = 0

    def item(self, value: Value) -> None:
        self._meter.clear()
        sys.stdout.write(("," if self._count else _ITEMS) + self._write(value))
        self._count += 1

    event = item

    def result(self, value: Value) -> None:
        self._meter.clear()
        if self._count or self._streams:
            front = "" if self._count else _ITEMS
            print(f'{front}],"result":{self._write(value)}}}')
        else:
            print(self._write(value))
        self._count = 0

    def end(self) -> None:
        if self._count:  # the answer broke off
            print('],"result":null}')
            self._count = 0
        super().end()

    def error(self, error: AffsError) -> None:
        self._meter.clear()
        print(self._write(error_value(error)), file=sys.stderr)


class _Wire:
    """--wire: the messages of the answer as the channel carries them, each in its frame; the last
    is ok or error. Errors go to standard output too: the reader takes frames and nothing else."""

    holds_back = False

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def schema(self, description: Value) -> None:
        """Programs know what they asked for."""

    def progress(self, progress: Progress) -> None:
        self._put(Progress(1, progress.done, progress.total, progress.unit, progress.note))

    def item(self, value: Value) -> None:
        self._put(Item(1, value))

    def event(self, value: Value) -> None:
        self._put(Event(value, 1))

    def result(self, value: Value) -> None:
        self._put(Answer(1, value))

    def idle(self) -> None:
        """Nothing is held back."""

    def end(self) -> None:
        """Each frame has left already."""

    def plan(self, plan: Value) -> None:
        """The error holds it."""

    def error(self, error: AffsError) -> None:
        trace = error.trace if isinstance(error, RemoteError) else ""
        self._put(Failure(1, error_to_auv(error, trace)))

    def _put(self, message: ServerMessage) -> None:
        self._stream.write(encode_frame(encode(message.to_auv(), ANSWER_LIMITS), FRAME_BYTES_MAX))
        self._stream.flush()


class People:
    """Text, laid out by the schema of the command's description."""

    def __init__(
        self,
        meter: _Meter,
        *,
        quiet: bool,
        color: bool,
        pager: bool,
        expanded: bool,
        program: str,
    ) -> None:
        self._meter = meter
        self._quiet = quiet
        self._color = color and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._expanded = expanded
        self._program = program
        self._schema: dict[str, Any] = {}
        self._row_number = 0
        self._titled = False
        command = pager_command(os.environ, sys.stdout) if pager else ""
        self._page = Page(command, meter.give_way)
        self.holds_back = bool(command)

    def schema(self, description: Value) -> None:
        schema = description.get("result") if isinstance(description, dict) else None
        self._schema = schema if isinstance(schema, dict) else {}
        self._row_number = 0
        self._titled = False

    def progress(self, progress: Progress) -> None:
        self._meter.show(progress)

    def item(self, value: Value) -> None:
        self._meter.clear()
        fields = self._schema.get("fields") or []
        if self._schema.get("shape") == "bytes" and isinstance(value, bytes):
            sys.stdout.buffer.write(value)
        elif self._expanded:
            self._record(value, fields)
        elif fields:
            self._title(fields)
            self._page.line(render.row(value, fields), flush=True)
        else:
            self._page.line(render.clean(format_canonical(value)), flush=True)

    def _title(self, fields: list[Any]) -> None:
        """Once above the rows of a stream, where a person looks on."""
        if self._titled or not sys.stdout.isatty():
            return
        self._titled = True
        if line := render.titles(fields):
            self._page.line(line, flush=True)

    def event(self, value: Value) -> None:
        self._page.idle()
        self._titled = True  # what happens has no end, and says itself what it is
        self.item(value)

    def result(self, value: Value) -> None:
        self._meter.clear()
        fields = self._schema.get("fields") or []
        shape = self._schema.get("shape")
        if isinstance(value, dict) and "plan" in value and "token" in value:
            self._lines(render.document(value["plan"], self._schema.get("plan") or []))
            self._note(f"Nothing was done. The token of this plan: {value['token']}")
        elif shape == "text" and isinstance(value, dict):
            self._lines(str(value.get("text", "")).removesuffix("\n").split("\n"))
        elif shape == "table" and isinstance(value, list):
            self._table(value, fields)
        elif shape in ("stream", "bytes"):
            self._page.end()
            self._summary(value)
        else:
            template = self._schema.get("headline")
            if template:
                self._note(render.headline(template, value, fields))
            if fields or not template:
                self._lines(render.document(value, fields))

    def idle(self) -> None:
        self._page.idle()

    def end(self) -> None:
        self._meter.clear()
        self._page.end()

    def plan(self, plan: Value) -> None:
        for line in render.document(plan, self._schema.get("plan") or []):
            print(line, file=sys.stderr)

    def error(self, error: AffsError) -> None:
        self._meter.clear()
        message = self._styled(f"{self._program}{render.clean(error.message)}", _RED, sys.stderr)
        print(message, file=sys.stderr)
        for line in _pointer(error.details):
            print(line, file=sys.stderr)
        if error.hint:
            print(f"hint: {render.clean(error.hint)}", file=sys.stderr)

    def _table(self, rows: list[Value], fields: list[Any]) -> None:
        if not fields:
            self._lines([render.clean(format_canonical(row)) for row in rows])
            return
        width = terminal_size()[0] if sys.stdout.isatty() else None
        title, *lines = render.table(rows, fields, width)
        too_wide = width is not None and max(map(width_of, [title, *lines])) > width
        if self._expanded or too_wide:
            for row in rows:
                self._record(row, fields)
            return
        if rows:
            self._page.line(self._styled(title, _BOLD, sys.stdout))
        self._lines(lines)

    def _record(self, value: Value, fields: list[Any]) -> None:
        self._row_number += 1
        self._page.line(self._styled(f"-- {self._row_number} --", _BOLD, sys.stdout))
        self._lines(render.document(value, fields))

    def _summary(self, value: Value) -> None:
        fields = self._schema.get("summary") or []
        if self._quiet or not isinstance(value, dict) or not fields:
            return
        parts = []
        for field in fields:
            found = render.lookup(value, field["path"])
            if field["kind"] != "flag":
                if found in (None, ""):
                    continue
                parts.append(f"{field['title']} {render.text_of(found, field['kind'])}")
            elif found:
                parts.append(field["title"])
        print(", ".join(parts), file=sys.stderr)

    def _note(self, text: str) -> None:
        if not self._quiet:
            self._page.line(text)

    def _lines(self, lines: list[str]) -> None:
        for line in lines:
            self._page.line(line)

    def _styled(self, text: str, style: str, stream: TextIO) -> str:
        return f"{style}{text}{_PLAIN}" if self._color and stream.isatty() else text


def _pointer(details: dict[str, Any]) -> list[str]:
    """The line with the wrong part underlined, when the error says where it is."""
    line, column, length = details.get("line"), details.get("column"), details.get("length")
    if not isinstance(line, str) or not isinstance(column, int) or not isinstance(length, int):
        return []
    front, part = (
        render.clean(line[: column - 1]),
        render.clean(line[column - 1 : column - 1 + length]),
    )
    marks = "^" * max(1, width_of(part))
    return [f"  {render.clean(line)}", "  " + " " * width_of(front) + marks]
