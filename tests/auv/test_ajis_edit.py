"""Changing values inside their text: random documents with comments, random changes, and what
stays."""

import random
import re

import pytest

from affs_fuse.auv import Value, ajis_edit, format_compact, parse
from affs_fuse.auv.ajis_edit import edited_text

SETTINGS = """\
// settings of the press
{
  "speed": 0x10,      // in steps
  "name": "left one", /* as painted on it */
  "heads": [
    1, // outer
    2,
    3  // inner
  ],

  "limits": { "low": 1_000, "high": 9 000 }
}
// the end
"""


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"speed": 17}, [("0x10", "17")]),
        ({"name": "right"}, [('"left one"', '"right"')]),
        ({"heads": [1, 2]}, [("    2,\n    3  // inner", "    2\n    // inner")]),
        ({"heads": [1, 3]}, [("    2,\n", "")]),
        ({"heads": [1, 2, 3, 4]}, [("    3  // inner", "    3,  // inner\n    4")]),
        ({"heads": [1, 5, 3]}, [("    2,", "    5,")]),
        ({"limits": {"low": 1000}}, [(', "high": 9 000 }', " }")]),
        ({"limits": {"high": 9000}}, [('"low": 1_000, ', "")]),
        ({"limits": {"low": 1000, "high": 9000, "x": []}}, [("9 000 ", '9 000, "x": [] ')]),
        ({"limits": {"low": 1000, "top": 9}}, [('"high": 9 000', '"top": 9')]),
        ({"limits": {"least": 1000, "high": 9000}}, [('"low"', '"least"')]),
        ({"limits": None}, [('{ "low": 1_000, "high": 9 000 }', "null")]),
        ({"more": True}, [('9 000 }\n}', '9 000 },\n  "more": true\n}')]),
        ({}, []),
    ],
)
def test_only_what_changes_is_written(
    change: dict[str, Value], wanted: list[tuple[str, str]]
) -> None:
    before = parse(SETTINGS)
    assert isinstance(before, dict)
    text = SETTINGS
    for old, new in wanted:
        assert text.count(old) == 1
        text = text.replace(old, new)
    assert edited_text(SETTINGS, {**before, **change}) == text


@pytest.mark.parametrize(
    ("text", "value", "wanted"),
    [
        ('{"a": 1, "b": 2}', {"b": 2}, '{"b": 2}'),
        ('{"a": 1, "b": 2}', {"a": 1}, '{"a": 1}'),
        ('{"a": 1}', {}, "{}"),
        ("{}", {"a": 1}, '{"a":1}'),
        ("{ /* none */ }", {"a": 1}, '{ /* none */ "a": 1 }'),
        ("{ // none\n}", {"a": 1}, '{ // none\n  "a": 1\n}'),
        ("{ // none\r}", {"a": 1}, '{ // none\n  "a": 1\r}'),
        ('{"a":1}\n', {"a": 1, "b": 2}, '{"a":1,"b":2}\n'),
        ("[1, 2]", [1, 2, 3], "[1, 2, 3]"),
        ("[1, 2, 3]", [2, 3], "[2, 3]"),
        ("[1, 3]", [1, 2, 3], "[1, 2, 3]"),
        ("[]", [1, 2], "[1,2]"),
        ("7 // seven\n", "x", '"x" // seven\n'),
        ('{"a": 0.0}', {"a": -0.0}, '{"a": -0.0}'),
        ('{"\\u0061": 1}', {"a": 2}, '{"\\u0061": 2}'),
        ('{\r\n  "a": 1\r\n}', {"a": 1, "b": 2}, '{\r\n  "a": 1,\r\n  "b": 2\r\n}'),
        ('{"a": 1 /* one */, "b": 2}', {"b": 2}, '{/* one */ "b": 2}'),
    ],
)
def test_short_texts(text: str, value: Value, wanted: str) -> None:
    assert edited_text(text, value) == wanted


# ---- at random ----

COMMENT = re.compile(r"/\*.*?\*/|//[^\r\n]*", re.DOTALL)


class Writer:
    """Values written in a random hand: comments with a number each, line breaks, odd numbers."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._comments = 0

    def space(self) -> str:
        parts = []
        while self._chance.random() < 0.4:
            self._comments += 1
            number = self._comments
            blanks = [" ", "\n  ", "\t", "\r", "\r\n"]
            comments = [f"/* {number} */", f'// {number} "{{\n', f"/*{number}\r\n*/"]
            parts.append(self._chance.choice([*blanks, *comments, f"//{number}\r"]))
        return "".join(parts)

    def text(self, value: Value) -> str:
        space = self.space
        if isinstance(value, list):
            inside = f"{space()},{space()}".join(map(self.text, value))
            return f"[{space()}{inside}{space()}]"
        if isinstance(value, dict):
            entries = [
                f"{format_compact(key)}{space()}:{space()}{self.text(one)}"
                for key, one in value.items()
            ]
            return "{" + space() + f"{space()},{space()}".join(entries) + space() + "}"
        if type(value) is int and value >= 0 and self._chance.random() < 0.3:
            return hex(value)
        return format_compact(value)


def random_value(chance: random.Random, depth: int = 0) -> Value:
    kind = chance.randrange(8 if depth < 3 else 5)
    if kind < 5:
        return chance.choice([None, True, 1, 10**6, -3, 0.5, -0.0, "", 'a"\\/*', "ü//", b"\1"])
    if kind == 5:
        return [random_value(chance, depth + 1) for _ in range(chance.randrange(5))]
    return {key: random_value(chance, depth + 1) for key in chance.sample("abcdef", 3)}


def random_change(chance: random.Random, value: Value) -> Value:
    """The value with something else at a random place in it."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        key = chance.choice([*value])
        what = chance.randrange(4)
        if what == 0:
            return {one: value[one] for one in value if one != key}
        if what == 1:
            return {**value, chance.choice("abcdefgh"): random_value(chance, 2)}
        return {**value, key: random_change(chance, value[key])}
    if isinstance(value, list) and value and chance.random() < 0.8:
        at = chance.randrange(len(value))
        what = chance.randrange(4)
        if what == 0:
            return [*value[:at], *value[at + 1 :]]
        if what == 1:
            return [*value[:at], random_value(chance, 2), *value[at:]]
        return [*value[:at], random_change(chance, value[at]), *value[at + 1 :]]
    return random_value(chance, 1)


@pytest.mark.parametrize("seed", range(40))
def test_random_changes_of_random_texts(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text says the new value, without a last resort, and no comment outside of what was
    replaced is lost."""
    says = ajis_edit._says

    def surely(text: str, value: Value) -> bool:
        assert says(text, value), text
        return True

    monkeypatch.setattr(ajis_edit, "_says", surely)
    chance = random.Random(seed)
    for _ in range(40):
        value = random_value(chance)
        writer = Writer(chance)
        text = writer.space() + writer.text(value) + writer.space()
        for _ in range(3):
            changed = random_change(chance, value)
            new = edited_text(text, changed)
            assert format_compact(parse(new)) == format_compact(reordered(changed, parse(new)))
            gone = lost_text(value, changed)
            kept = len(COMMENT.findall(strip_strings(new)))
            if not gone:
                assert kept == len(COMMENT.findall(strip_strings(text))), (text, new)
            assert edited_text(text, value) == text
            text, value = new, changed


STRING = re.compile(r'"(?:[^"\\]|\\.)*"|(/\*.*?\*/|//[^\r\n]*)', re.DOTALL)


def strip_strings(text: str) -> str:
    return STRING.sub(lambda found: found.group(1) or "0", text)


def reordered(value: Value, like: Value) -> Value:
    """The value with its keys in the order of another one."""
    if isinstance(value, dict) and isinstance(like, dict):
        assert value.keys() == like.keys()
        return {key: reordered(value[key], like[key]) for key in like}
    if isinstance(value, list) and isinstance(like, list):
        assert len(value) == len(like)
        return [reordered(*pair) for pair in zip(value, like, strict=True)]
    return value


def lost_text(old: Value, new: Value) -> bool:
    """Whether a container, which may have comments in it, is replaced or goes as a whole."""
    if isinstance(old, dict) and isinstance(new, dict):
        return any(
            isinstance(one, dict | list) if key not in new else lost_text(one, new[key])
            for key, one in old.items()
        ) or bool(old.keys() - new.keys())
    if isinstance(old, list) and isinstance(new, list):
        return len(old) > len(new) or any(map(lost_text, old, new))
    return isinstance(old, dict | list) and format_compact(old) != format_compact(new)
