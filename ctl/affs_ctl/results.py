"""Earlier results in a line: `_` is the newest, `_3` the third, `_3.items[0].path` a part of it.

A reference is a word of its own, the value of an option (`--state=_.id`), or an element of an AJIS
literal; in quotes it is text like any other. It is replaced by the value as AJIS text before the
line is sent, so the runtime never sees it. This is the one thing that the shell does to a line.
"""

import re
from collections import OrderedDict

from affs_fuse.auv import Value, format_canonical
from affs_fuse.errors import AffsError, Category

__all__ = ["RESULTS_KEPT_MAX", "Results"]

RESULTS_KEPT_MAX = 100

_TOKEN = re.compile(
    r"""(?P<text>'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|\\.)"""
    r"""|(?P<reference>_(?P<number>\d*)(?P<path>(?:\.[A-Za-z_][\w-]*|\[\d+\])*))"""
    r"""|(?P<open>[\[{])|(?P<close>[\]}])|(?P<word>\w+)|.""",
    re.DOTALL,
)
_REFERENCE = re.compile(r"_\d*(?:\.[A-Za-z_][\w-]*|\[\d+\])*")
_STEP = re.compile(r"\.([A-Za-z_][\w-]*)|\[(\d+)\]")
_SPACE = " \t\r\n|"


class Results:
    """The newest RESULTS_KEPT_MAX, by their number from 1 on."""

    def __init__(self) -> None:
        self._values: OrderedDict[int, Value] = OrderedDict()
        self.next_number = 1

    def add(self, value: Value) -> int:
        number = self.next_number
        self._values[number] = value
        self.next_number += 1
        while len(self._values) > RESULTS_KEPT_MAX:
            self._values.popitem(last=False)
        return number

    def all(self) -> list[tuple[int, Value]]:
        return list(self._values.items())

    def substitute(self, line: str) -> str:
        """The line with every reference replaced. not_found: shell.result; the error points at
        it."""
        parts: list[str] = []
        depth = 0
        for found in _TOKEN.finditer(line):
            text = found.group()
            depth = max(0, depth + bool(found["open"]) - bool(found["close"]))
            before = line[found.start() - 1 : found.start()] or " "
            after = line[found.end() : found.end() + 1] or " "
            in_place = before in _SPACE + ("[{,:" if depth else "=")
            if found["reference"] and in_place and after in _SPACE + (",:]}" if depth else ""):
                text = self._text(found, line, plain=depth == 0 and before == "=")
            parts.append(text)
        return "".join(parts)

    def paths(self, start: str) -> list[str]:
        """References that begin with start, which ends in front of a key or a name."""
        base, dot, _ = start.rpartition(".")
        if not dot:
            names = ["_", *(f"_{number}" for number in self._values)] if self._values else []
            return [name for name in names if name.startswith(start)]
        if _REFERENCE.fullmatch(base) is None:
            return []
        try:
            value = self._value(base)
        except LookupError:
            return []
        keys = value if isinstance(value, dict) else {}
        return [name for key in keys if (name := f"{base}.{key}").startswith(start)]

    def _text(self, found: re.Match[str], line: str, plain: bool) -> str:
        try:
            text = format_canonical(self._value(found["reference"]))
        except LookupError as problem:
            raise AffsError(
                "shell.result",
                Category.NOT_FOUND,
                f"{found['reference']}: {problem.args[0]}",
                hint="\\results lists them; in quotes it is just text",
                details={
                    "line": line,
                    "column": found.start() + 1,
                    "length": len(found["reference"]),
                },
            ) from None
        # Behind `=` brackets open no literal, so the text is quoted as one word.
        return "'" + text.replace("'", "'\\''") + "'" if plain else text

    def _value(self, reference: str) -> Value:
        found = re.match(r"_(\d*)", reference)
        assert found is not None, "the tokens say so"
        if not self._values:
            raise LookupError("there is no result yet")
        number = int(found[1]) if found[1] else next(reversed(self._values))
        if number not in self._values:
            raise LookupError("there is no such result (any more)")
        value: Value = self._values[number]
        for step in _STEP.finditer(reference, found.end()):
            key, index = step.groups()
            if key is not None:
                if not isinstance(value, dict) or key not in value:
                    raise LookupError(f"there is no {key}")
                value = value[key]
            else:
                if not isinstance(value, list) or int(index) >= len(value):
                    raise LookupError(f"there is no element {index}")
                value = value[int(index)]
        return value
