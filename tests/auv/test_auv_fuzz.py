"""Both decoders under mutated input, each beside another reading of the same bytes.

Wire: the second reader (tools/affs_tools/reader/values.py), which takes longer forms too, so what
the decoder takes must be the same value there. Text: JSON's reader for what is JSON, a grammar of
numbers written down once more, and the quick way for stored records. Seeded; the long form:

    python tests/auv/test_auv_fuzz.py ROUNDS SEED
"""

import json
import math
import random
import re
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from affs_fuse import auv
from affs_fuse.auv.ajis_quick import parse_quick
from affs_tools.reader.values import Character, read_value

ROUNDS = 6000

WIRE_SEEDS: tuple[auv.Value, ...] = (
    {"id": 7, "line": "rollback --dry-run", "deadline_ms": 5000, "trace": "0" * 32},
    [None, True, False, -1, -33, 2**63 - 1, -(2**63), 1.5, math.inf, math.nan, -0.0],
    [auv.Char("A"), auv.Char("é"), auv.Char("€"), auv.Char("😀"), "é" * 40, b"\x00" * 300],
    {"a": {"b": {"c": [[[[[[]]]]]]}}, "é": {}, "": []},
    ["x" * 31, "x" * 32, "x" * 255, "x" * 256, list(range(20)), {str(n): n for n in range(20)}],
)

TEXT_SEEDS = (
    '{"a": [1, -2.5e10, true, null, "\\u00e9\\ud83d\\ude00"], "b": {"c": {}}}',
    "[1_000_000, 1 000, 0xDE_AD, 0x123_4567, 0b1_0000, 0o7 777, -0x10, 1f, 1_000.5e-3F]",
    "// a comment\n[inf, -inf, nan, NULL, True, /* x */ 'A', U+1F600, '\\'', '\\n']",
    'hex"DE AD be ef"',
    '["b64", b64"3q2+7w==", hex"", "//", "/* no */", "\\"", \'"\', U+0041]',
    '{"k": "v", "n": 9223372036854775807, "m": -9223372036854775808, "z": 0.1}\r\n',
    "[[[[[[[[[[1]]]]]]]]]]",
)

TOKENS = (
    "0x", "0b", "0o", "_", " ", "f", "F", "e", "E+", ".", "-", "+", "inf", "nan", "null", "TRUE",
    ",", ":", "[", "]", "{", "}", '"', "'", "\\", "\\u", "\\ud800", "\\udc00", 'hex"', 'b64"', "U+",
    "//", "/*", "*/", "\n", "\r", "\t", "\0", "é", "\u2028", "\ufeff", "😀", "9" * 25, "0", "1",
    "000", '"a":1,', "\\'", "/", "=",
)  # fmt: skip


LEADS = b"\xc1\xc4\xc6\xc7\xca\xcf\xd4\xdb\xdd\xdf\x81\x91"


def read(
    reader: Callable[[Any], auv.Value], image: str | bytes
) -> tuple[auv.Value, auv.AuvError | None]:
    """The value, or the typed error. Any other error passes through."""
    try:
        return reader(image), None
    except auv.AuvError as error:
        return None, error


def mutated_bytes(chance: random.Random, image: bytes) -> bytes:
    data = bytearray(image)
    for _ in range(chance.choice((1, 1, 2, 4, 9))):
        at = chance.randrange(len(data) + 1)
        kind = chance.randrange(6)
        if kind == 0:
            data[at:at] = chance.randbytes(chance.randrange(1, 6))
        elif kind == 1:
            del data[at : at + chance.randrange(1, 9)]
        elif kind == 2 and data:
            data[at % len(data)] = chance.randrange(256)
        elif kind == 3 and data:
            data[at % len(data)] ^= 1 << chance.randrange(8)
        elif kind == 4:
            data[at:at] = bytes([chance.choice(LEADS)])
        else:
            start = chance.randrange(len(data) + 1)
            data[at:at] = data[start : start + chance.randrange(24)]
    return bytes(data)


def mutated_text(chance: random.Random, text: str) -> str:
    for _ in range(chance.choice((1, 1, 2, 4, 9))):
        at = chance.randrange(len(text) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            text = text[:at] + chance.choice(TOKENS) + text[at:]
        elif kind == 1:
            text = text[:at] + text[at + chance.randrange(1, 5) :]
        elif kind == 2:
            text = text[:at] + chr(chance.choice((chance.randrange(128), 0x2028, 0xE9))) + text[at:]
        else:
            start = chance.randrange(len(text) + 1)
            text = text[:at] + text[start : start + chance.randrange(12)] + text[at:]
    return text


def same_as_second(value: object, other: object) -> bool:
    """Whether the second reader's value is this one."""
    if isinstance(value, auv.Char):
        return isinstance(other, Character) and value.text == str(other)
    if isinstance(value, list):
        return isinstance(other, list) and len(value) == len(other) and all(
            map(same_as_second, value, other)
        )
    if isinstance(value, dict):
        return isinstance(other, dict) and [*value] == [*other] and all(
            same_as_second(one, other[key]) for key, one in value.items()
        )
    return not isinstance(other, Character) and auv.equal(value, other)  # type: ignore[arg-type]


def check_wire(image: bytes) -> bool:
    """Whether it was taken."""
    value, error = read(auv.decode, image)
    if error is not None:
        assert isinstance(error, auv.WireError)
        assert 0 <= error.offset <= len(image)
        return False
    assert same_as_second(value, read_value(image))
    again = auv.encode(value)
    assert auv.equal(auv.decode(again), value)
    assert len(again) == len(image)  # one form for each value, in this order of keys
    assert auv.equal(auv.parse(auv.format_canonical(value)), value)
    return True


def strict_json(text: str) -> auv.Value:
    """As JSON, where AJIS must agree. ValueError where it is no JSON, or may differ."""

    def refuse(found: object) -> None:
        raise ValueError(found)

    def once(pairs: list[tuple[str, auv.Value]]) -> dict[str, auv.Value]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    value: auv.Value = json.loads(text, parse_constant=refuse, object_pairs_hook=once)
    auv.check(value)  # surrogates and numbers out of range are no values
    if "inf" in repr(value).replace("'", ""):
        raise ValueError("a number out of range")
    return value


def check_text(text: str) -> bool:
    value, error = read(auv.parse, text)
    quick, other = read(parse_quick, text)
    assert (error and error.reason) == (other and other.reason), text
    if error is not None:
        assert isinstance(error, auv.TextError)
        assert 0 <= error.offset <= len(text)
        assert min(error.line, error.column) >= 1
        assert error.expected
    else:
        assert auv.equal(auv.parse(auv.format_canonical(value)), value)
        assert auv.equal(auv.parse(auv.format_pretty(value)), value)
        assert auv.format_compact(quick) == auv.format_compact(value), text
    try:
        plain = strict_json(text)
    except (ValueError, auv.AuvError, RecursionError):
        return error is None
    assert error is None, f"JSON takes {text!r}: {error}"
    assert auv.equal(plain, value), text
    return True


# ---- numbers, by a grammar of their own ----


def number_grammar() -> re.Pattern[str]:
    """docs/specs/AJIS.md, "Numbers", once more: one alternative for each way of grouping."""
    grouped = []
    for mark in ("_", " "):
        grouped.append(rf"[1-9][0-9]{{0,2}}(?:{mark}[0-9]{{3}})+")
    decimal = "(?:0|[1-9][0-9]*|" + "|".join(grouped) + ")"
    tail = r"(?:\.[0-9]+(?:[eE][+-]?[0-9]+)?[fF]?|[eE][+-]?[0-9]+[fF]?|[fF])"
    others = [r"0x[0-9A-Fa-f]+", r"0o[0-7]+", r"0b[01]+"]
    for mark in ("_", " "):
        others += [
            rf"0x[0-9A-Fa-f]{{1,2}}(?:{mark}[0-9A-Fa-f]{{2}})+",
            rf"0x[0-9A-Fa-f]{{3,4}}(?:{mark}[0-9A-Fa-f]{{4}})+",
            rf"0o(?!0+{mark})[0-7]{{1,3}}(?:{mark}[0-7]{{3}})+",
            rf"0b[01]{{1,4}}(?:{mark}[01]{{4}})+",
        ]
    base = "(?P<based>" + "|".join(others) + ")"
    return re.compile(rf"(?P<sign>-?)(?:{base}|(?P<whole>{decimal})(?P<tail>{tail})?)")


GRAMMAR = number_grammar()


def number_of(text: str) -> int | float | None:
    """None: it is no number, or does not fit."""
    match = GRAMMAR.fullmatch(text)
    if match is None:
        return None
    sign = -1 if match["sign"] else 1
    if match["based"] is not None:
        digits = re.sub("[_ ]", "", match["based"])
        whole = sign * int(digits[2:], {"x": 16, "o": 8, "b": 2}[digits[1]])
    elif match["tail"] is None:
        whole = sign * int(re.sub("[_ ]", "", match["whole"]))
    else:
        number = float(re.sub("[_ ]", "", match["whole"]) + match["tail"].rstrip("fF"))
        return None if math.isinf(number) else sign * number
    return whole if -(2**63) <= whole < 2**63 else None


def check_number(text: str) -> bool:
    wanted = number_of(text)
    try:
        value = auv.parse(text)
    except auv.TextError:
        assert wanted is None, text
        return False
    assert type(value) is type(wanted), text
    assert auv.format_compact(value) == auv.format_compact(wanted), text
    return True


def number_texts(chance: random.Random, rounds: int) -> Iterator[str]:
    """Made of what numbers are made of, mostly near to one."""
    pieces = ("0", "00", "1", "12", "123", "1234", "000", "_", " ", "a", "F", "f", "8", ".", "e",
              "E-", "+")  # fmt: skip
    for _ in range(rounds):
        start = chance.choice(("", "", "-", "0x", "-0x", "0o", "0b", "0b1", "1", "12"))
        parts = [chance.choice(pieces) for _ in range(chance.randrange(1, 7))]
        text = start + "".join(parts)
        if text == text.strip() and text.strip("+"):  # white space around is no part of it
            yield text


def run_wire(rounds: int, seed: int) -> int:
    chance = random.Random(seed)
    images = [auv.encode(value) for value in WIRE_SEEDS]
    return sum(check_wire(mutated_bytes(chance, chance.choice(images))) for _ in range(rounds))


def run_text(rounds: int, seed: int) -> int:
    chance = random.Random(seed)
    return sum(check_text(mutated_text(chance, chance.choice(TEXT_SEEDS))) for _ in range(rounds))


def run_numbers(rounds: int, seed: int) -> int:
    return sum(map(check_number, number_texts(random.Random(seed), rounds)))


@pytest.mark.parametrize("run", [run_wire, run_text, run_numbers])
def test_mutations(run: Callable[[int, int], int]) -> None:
    taken = run(ROUNDS, 1)
    assert ROUNDS // 100 < taken < ROUNDS * 9 // 10  # some are taken, and many are not


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 000 000", 10**6), ("0b1111 0000", 240), ("0xdead beef", 0xDEADBEEF), ("0x0", 0),
        ("0x00", 0), ("0b0", 0), ("0o0", 0), ("0b0_0000", 0), ("0o01_755", 1005),
        ("0xFF_FF_FF", 0xFFFFFF), ("-0b1", -1), ("0e0", 0.0), ("0f", 0.0), ("1e+5", 1e5),
        ("1E5F", 1e5), ("1.0f", 1.0), ("123_456f", 123456.0), ("12 345.678e-2f", 123.45678),
        ("0x1e5", 0x1E5), ("0x1f", 31), ("0x7FFF_FFFF_FFFF_FFFF", 2**63 - 1),
        ("-0x8000 0000 0000 0000", -(2**63)), ("0b" + "0" * 500 + "1", 1),
        ("0." + "0" * 400 + "1", 0.0), ("1" + "0" * 400 + "e-400", 1.0),
    ],
)  # fmt: skip
def test_numbers_that_are(text: str, wanted: int | float) -> None:
    assert number_of(text) == wanted
    assert check_number(text)


@pytest.mark.parametrize(
    "text",
    [
        "1  000", "1\t000", "1\n000", "1 00", "1 0000", "1_000 000", "1 000_000", "_1", "1_",
        "1 000_", "00", "01", "-01", "0_000", "0 000", "000_000", "0x", "0x_1", "0x1_", "0x 1",
        "0b2", "0o8", "0X1", "0B1", "0O7", "0x1.0", "0x1p3", "0b1f", "0o7f", "0b1e1",
        "1.", ".1", "1.e1", "1e",
        "1e+", "1e1.0", "1.5.5", "1.0_0", "1e1_0", "1._0", "1_.0", "1e_1", "1_e1", "1 e1", "1 f",
        "1_f", "1ff", "1fF", "1d", "1L", "--1", "+1", "- 1", "-", "-f", "inff", "inf f", "-inff",
        "-nan", "+inf", "Inf", "NaN", "infinity", "-Infinity", "1,000", "1'000", "\u0661",
        "1\u00a0000", "0xG", "0x1_234_5", "0x12_345", "0x1234_56", "0x12345_6789", "0b11111_0000",
        "0b1_000", "1000_000", "1_0000", "0o1234_567", "0o000_001", "1e309", "-1e309",
        "9" * 400, "1" * 20,
        "0x1" + "0" * 16, "-0x8000000000000001", "0b1" + "0" * 63, "1/**/000", "1 /**/000",
    ],
)  # fmt: skip
def test_numbers_that_are_not(text: str) -> None:
    assert number_of(text) is None
    with pytest.raises(auv.TextError):
        auv.parse(text)


@pytest.mark.parametrize(
    ("text", "reason", "line", "column"),
    [
        ('{"a":1,"b":{"c":2,"c":3}}', "duplicate_key", 1, 19),
        ('{"\\u0061":1,\n "a":2}', "duplicate_key", 2, 2),
        ('"\\udc00\\ud800"', "unicode", 1, 2), ('"\\ud800\\ud800"', "unicode", 1, 2),
        ('"\\ud800x"', "unicode", 1, 2), ("'\\ud800'", "unicode", 1, 2),
        ('"\\u12g4"', "escape", 1, 2), ("'a", "unfinished", 1, 3),
        ('"\\x41"', "escape", 1, 2), ('"a\nb"', "control", 1, 3), ('"a\x1f"', "control", 1, 3),
        ("'\x00'", "control", 1, 2), ("'ab'", "char", 1, 3), ("'", "unfinished", 1, 2),
        ("'\\'", "unfinished", 1, 4), ("U+110000", "char", 1, 1), ("U+DFFF", "char", 1, 1),
        ("U+0041F600", "char", 1, 1), ("u+0041", "value", 1, 1), ("U+ 0041", "char", 1, 1),
        ('hex"ABC"', "binary", 1, 8), ('hex"0x1"', "binary", 1, 6), ('HEX"00"', "value", 1, 1),
        ('b64"A==="', "binary", 1, 8), ('b64"AB C="', "binary", 1, 7),
        ('b64"AAB="', "binary", 1, 7),
        ("/* /* */ */ 1", "value", 1, 10), ("1 /* x", "comment", 1, 3), ("[1,,2]", "value", 1, 4),
        ("[1\n,\r\n2\r3]", "structure", 4, 1), ("\r\r\n\n  ?", "value", 4, 3), ("", "value", 1, 1),
        ("😀", "value", 1, 1), ('["😀", ?]', "value", 1, 7), ("\ufeff1", "value", 1, 1),
        ("[1] ]", "trailing", 1, 5), ("{\"a\" 1}", "structure", 1, 6), ("tru", "value", 1, 1),
        ("truee", "value", 1, 1), ("[true false]", "structure", 1, 7),
    ],
)  # fmt: skip
def test_the_place_of_what_is_wrong(text: str, reason: str, line: int, column: int) -> None:
    with pytest.raises(auv.TextError) as caught:
        auv.parse(text)
    assert (caught.value.reason, caught.value.line, caught.value.column) == (reason, line, column)
    check_text(text)


@pytest.mark.parametrize("text", ['"\ud800"', '{"\udfff": 1}', "'\ud800'", "\ud800"])
def test_text_that_is_none(text: str) -> None:
    """Python's strings may hold half a scalar."""
    for reader in (auv.parse, parse_quick):
        _, error = read(reader, text)
        assert error is not None
        assert error.reason == "unicode"


@pytest.mark.parametrize(
    "text",
    [
        "1" * 60_000, "0." + "1" * 60_000, "1e" + "9" * 60_000, "0x" + "f" * 60_000,
        "1" + "_000" * 16_000, "[" * 60_000, '{"a":' * 16_000, '"' + "\\n" * 30_000 + '"',
        '"' + "\\ud83d\\ude00" * 5_000 + '"', "/**/" * 16_000 + "1", "//\n" * 20_000 + "1",
        "'" * 60_000, 'hex"' + "0 " * 30_000 + '"', 'b64"' + "A" * 60_000, "[0," * 20_000,
        "[" + "0," * 30_000 + "0]", "-" * 60_000, "\\" * 60_000, "nul" * 20_000,
        '{"' + "a" * 60_000 + '":1}', " " * 60_000,
    ],
    ids=lambda text: text[:8],
)  # fmt: skip
def test_memory_is_bounded_by_the_text(text: str) -> None:
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        _, error = read(auv.parse, text)
        assert len(str(error)) < 300
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak < 24 * len(text) + 65_536


if __name__ == "__main__":
    count, first = int(sys.argv[1]), int(sys.argv[2])
    for which in (run_wire, run_text, run_numbers):
        print(which.__name__, which(count, first), "of", count, "taken")
