"""Changing a value inside its AJIS text, so that everything else of the text stays as it is.

`edited_text` compares what the text says with what it is to say, from the outside in, and replaces
the text of those values alone that differ. Comments, the order of keys, line breaks, indentation
and the way in which other values are written stay byte for byte; of an entry that goes its comma
goes along, and its line if nothing else is on it.
Invariant: the text that comes back is read as exactly the value that was asked for.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from affs_fuse.auv.ajis import Frame, Parser
from affs_fuse.auv.ajis_quick import format_quick, parse_quick
from affs_fuse.auv.ajis_source import Source
from affs_fuse.auv.ajis_tokens import read_key
from affs_fuse.auv.errors import TextError
from affs_fuse.auv.limits import DEFAULT_LIMITS
from affs_fuse.auv.values import Value

__all__ = ["edited_text"]

_BLANK = " \t"


def edited_text(text: str, value: Value) -> str:
    """text: one document. Errors: TextError where it is none."""
    source = Source(text, DEFAULT_LIMITS, True)
    parser = _SpanParser(source)
    parser.run(source.skip(0))
    edits: list[_Edit] = []
    assert parser.last is not None, "a document has a value"
    _Editor(source, edits).change(parser.last, value)
    made = _applied(text, edits)
    if made is None or not _says(made, value):
        made = _applied(text, [_Edit(parser.last.start, parser.last.end, format_quick(value))])
    assert made is not None, "one edit overlaps with no other"
    return made


class _Edit(NamedTuple):
    """text in place of what stands from start up to, without, end."""

    start: int
    end: int
    text: str


class _Span:
    """Where a value stands. members: of an Array or Object, in order."""

    __slots__ = ("end", "members", "start", "value")

    def __init__(self, start: int, end: int = 0, value: Value = None) -> None:
        self.start = start
        self.end = end
        self.value = value
        self.members: list[_Member] = []


class _Member(NamedTuple):
    """start: of the key, or of the value in an Array."""

    key: str | None
    start: int
    span: _Span


class _SpanParser(Parser):
    """last: the value that was read last; the document's, at the end."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.last: _Span | None = None
        self._open_spans: list[_Span] = []
        self._key_starts: list[int] = []

    def _open(self, offset: int) -> int | None:
        depth = len(self._frames)
        self._open_spans.append(_Span(offset))
        self._key_starts.append(0)
        inside = super()._open(offset)
        if len(self._frames) == depth:
            self._open_spans.pop()
            self._key_starts.pop()
        return inside

    def _leaf(self, offset: int) -> tuple[Value, int]:
        value, end = super()._leaf(offset)
        self.last = _Span(offset, end, value)
        return value, end

    def _add(self, value: Value, offset: int) -> int | None:
        frame, span = self._frames[-1], self.last
        assert span is not None, "a value was read"
        if frame.entries is None:
            member = _Member(None, span.start, span)
        else:
            member = _Member(frame.key, self._key_starts[-1], span)
        self._open_spans[-1].members.append(member)
        return super()._add(value, offset)

    def _close(self, offset: int) -> tuple[Value, int]:
        value, end = super()._close(offset)
        self._key_starts.pop()
        self.last = self._open_spans.pop()
        self.last.end, self.last.value = end, value
        return value, end

    def _key(self, offset: int, frame: Frame) -> int:
        self._key_starts[-1] = offset
        return super()._key(offset, frame)


class _Editor:
    """Collects what is to be done with a text."""

    def __init__(self, source: Source, edits: list[_Edit]) -> None:
        self._source = source
        self._text = source.text
        self._edits = edits

    def change(self, span: _Span, value: Value) -> None:
        """Let the text of a value say another one."""
        old = span.value
        if isinstance(old, dict) and isinstance(value, dict):
            self._change_object(span, value)
        elif isinstance(old, list) and isinstance(value, list | tuple):
            self._change_array(span, value)
        elif not _same(old, value):
            self._edits.append(_Edit(span.start, span.end, format_quick(value)))

    def _change_object(self, span: _Span, value: dict[str, Value]) -> None:
        stays = [member.key in value for member in span.members]
        for member, kept in zip(span.members, stays, strict=True):
            if kept and member.key is not None:
                self.change(member.span, value[member.key])
        old = {member.key for member in span.members}
        for index, (member, key) in enumerate(zip(span.members, value, strict=False)):
            if not stays[index] and key not in old:  # another one in its place
                end = read_key(self._source, member.start)[1]
                self._edits.append(_Edit(member.start, end, format_quick(key)))
                self.change(member.span, value[key])
                stays[index] = True
                old.add(key)
        colon = self._colon(span)
        added = [
            format_quick(key) + colon + format_quick(one)
            for key, one in value.items() if key not in old
        ]  # fmt: skip
        if added and span.members and not stays[-1]:
            last = span.members[-1]  # its place is taken
            texts = ("," + self._gap(span)).join(added)
            self._edits.append(_Edit(last.start, last.span.end, texts))
            stays[-1], added = True, []
        self._drop(span, stays)
        self._append(span, stays, added)

    def _change_array(self, span: _Span, value: Sequence[Value]) -> None:
        """What is the same at both ends stays; of the middle the first ones become others."""
        members = span.members
        shorter = min(len(members), len(value))
        head = 0
        while head < shorter and _same(members[head].span.value, value[head]):
            head += 1
        tail = 0
        while tail < shorter - head and _same(members[-1 - tail].span.value, value[-1 - tail]):
            tail += 1
        old, new = len(members) - head - tail, len(value) - head - tail
        for index in range(head, head + min(old, new)):
            self.change(members[index].span, value[index])
        stays = [not head + new <= index < head + old for index in range(len(members))]
        self._drop(span, stays)
        added = [format_quick(one) for one in value[head + old : head + new]]
        if tail and added:
            before = members[-tail].start
            gap = "," + self._gap(span)
            self._edits.append(_Edit(before, before, gap.join([*added, ""])))
        else:
            self._append(span, stays, added)

    # ---- members that go ----

    def _drop(self, span: _Span, stays: list[bool]) -> None:
        last_kept = max((index for index, kept in enumerate(stays) if kept), default=-1)
        for index, kept in enumerate(stays):
            member = span.members[index]
            if index > max(last_kept, 0):  # a comma less in front of it
                comma = self._source.skip(span.members[index - 1].span.end)
                self._edits.append(_Edit(comma, comma + 1, ""))
            if kept:
                continue
            end = member.span.end
            if index < last_kept:
                comma = self._source.skip(end)
                if self._text[end:comma].strip():
                    self._edits.append(_Edit(comma, comma + 1, ""))
                else:
                    end = comma + 1
            self._take_out(member.start, end, trailing=index > last_kept)

    def _take_out(self, start: int, end: int, *, trailing: bool) -> None:
        """With its line, if nothing else is on it; else with the blanks behind it, or of what
        stands last those before it."""
        text = self._text
        first, last = self._line_around(start, end)
        if first is not None and last is not None:
            start, end = first, last
        elif trailing and first is None:
            while text[start - 1] in _BLANK:
                start -= 1
        else:
            while text[end] in _BLANK:
                end += 1
        self._edits.append(_Edit(start, end, ""))

    def _line_around(self, start: int, end: int) -> tuple[int | None, int | None]:
        """Where the line begins and the next one does, None where there is something else."""
        text = self._text
        while start and text[start - 1] in _BLANK:
            start -= 1
        while text[end : end + 1] and text[end] in _BLANK:
            end += 1
        begins = start == 0 or text[start - 1] == "\n"
        if text.startswith("\r\n", end):
            end += 1
        ends = text.startswith("\n", end)
        return (start if begins else None), (end + 1 if ends else None)

    # ---- members that come ----

    def _append(self, span: _Span, stays: list[bool], added: list[str]) -> None:
        """At the end, behind what comments are there."""
        if not added:
            return
        kept = [member for member, kept in zip(span.members, stays, strict=True) if kept]
        gap = self._gap(span)
        close = span.end - 1
        begin = span.members[-1].span.end if span.members else span.start + 1
        place = close
        while place > begin and self._text[place - 1] in " \t\r\n":
            place -= 1
        behind_comment = place > begin
        ends_line = not {*"\r\n"}.isdisjoint(self._text[place:close])
        if behind_comment and "\n" not in gap and ends_line:
            gap = self._break(span)
        elif behind_comment:
            gap = gap or " "
        texts = ("," + gap).join(added)
        if kept:
            comma = kept[-1].span.end
            if comma == place:
                texts = "," + gap + texts
            else:
                self._edits.append(_Edit(comma, comma, ","))
                texts = gap + texts
        elif behind_comment or "\n" in gap:
            texts = gap + texts
        self._edits.append(_Edit(place, place, texts))

    def _gap(self, span: _Span) -> str:
        """What stands between two members: as in front of the last one."""
        text, members = self._text, span.members
        if not members:
            return self._break(span) if "\n" in text[span.start : span.end] else ""
        before = members[-2].span.end if len(members) > 1 else span.start + 1
        start = members[-1].start
        if "\n" in text[before:start]:
            return self._newline() + self._blanks_before(start)
        if len(members) > 1:
            return self._blanks_before(start)
        return " " if self._colon(span).endswith(" ") else ""

    def _blanks_before(self, offset: int) -> str:
        start = offset
        while start and self._text[start - 1] in _BLANK:
            start -= 1
        return self._text[start:offset]

    def _break(self, span: _Span) -> str:
        """A new line, one step further in than the line on which the container begins."""
        start = self._text.rfind("\n", 0, span.start) + 1
        line = self._text[start : span.start]
        return self._newline() + line[: len(line) - len(line.lstrip(_BLANK))] + "  "

    def _newline(self) -> str:
        return "\r\n" if "\r\n" in self._text else "\n"

    def _colon(self, span: _Span) -> str:
        """As in the last entry of the Object; of others as in the first of the document."""
        source, text = self._source, self._text
        for member in reversed(span.members):
            if member.key is not None:
                between = text[member.start : member.span.start]
                tail = between[between.rfind('"') + 1 :]
                if not tail.replace(":", "", 1).strip(_BLANK):
                    return tail
        first = source.skip(0)
        outer = text[first + 1 : first + 2].isspace() or '": ' in text
        return ": " if outer else ":"


def _applied(text: str, edits: list[_Edit]) -> str | None:
    """None if two of them overlap."""
    pieces: list[str] = []
    at = 0
    for start, end, new in sorted(edits, key=lambda one: (one.start, one.end)):
        if start < at:
            return None
        pieces += (text[at:start], new)
        at = end
    return "".join([*pieces, text[at:]])


def _says(text: str, value: Value) -> bool:
    try:
        return _same(parse_quick(text), value)
    except TextError:
        return False


def _same(one: Value, other: Value) -> bool:
    """Exactly, so that 0.0 is not -0.0; in Objects whatever the order."""
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if type(one) is not type(other):
        return False
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float):
        if math.isnan(one):
            return math.isnan(other)
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)
