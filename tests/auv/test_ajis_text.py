"""AJIS text: what each rule lets pass and what it refuses, with line, column and reason."""

import json
import math

import pytest
from auv_strategies import PROFILE, values
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.auv import Char, TextError

GOOD = [
    ("null", None), ("NULL", None), ("Null", None), ("nULL", None),
    ("true", True), ("TRUE", True), ("tRuE", True), ("false", False), ("False", False),
    ("inf", math.inf), ("-inf", -math.inf), ("nan", math.nan),
    ("0", 0), ("-0", 0), ("7", 7), ("-7", -7), ("10", 10),
    ("9223372036854775807", auv.INT64_MAX), ("-9223372036854775808", auv.INT64_MIN),
    ("0x0", 0), ("0xff", 255), ("0xFf", 255), ("-0x10", -16), ("0x00ff", 255),
    ("0x" + "0" * 100 + "1", 1),
    ("0x7FFFFFFFFFFFFFFF", auv.INT64_MAX), ("-0x8000000000000000", auv.INT64_MIN),
    ("0b0", 0), ("0b101", 5), ("-0b1", -1), ("0b" + "1" * 63, auv.INT64_MAX),
    ("0o17", 15), ("0o007", 7), ("-0o17", -15), ("0o777777777777777777777", auv.INT64_MAX),
    ("0.0", 0.0), ("-0.0", -0.0), ("1.5", 1.5), ("-1.5e3", -1500.0), ("1e5", 1e5), ("1E5", 1e5),
    ("1e+5", 1e5), ("1e-5", 1e-5), ("1E05", 1e5), ("0e0", 0.0), ("0.5f", 0.5), ("1f", 1.0),
    ("1F", 1.0), ("-0f", -0.0), ("1e5f", 1e5), ("1.5F", 1.5), ("1e-400", 0.0),
    ("1.7976931348623157e308", 1.7976931348623157e308),
    ("123456789012345678901234567890.0", 1.2345678901234568e29),
    ("1_000", 1000), ("1 000", 1000), ("12_345_678", 12345678), ("123 456 789", 123456789),
    ("-1 000", -1000), ("1_000.5", 1000.5), ("1 000.5e3", 1000500.0), ("1_000e3", 1e6),
    ("1 000f", 1000.0), ("9_223_372_036_854_775_807", auv.INT64_MAX),
    ("0o1_777", 0o1777), ("0o12 345", 0o12345), ("0o001_777", 0o1777),
    ("0b1_0000", 16), ("0b0000 1111", 15), ("0b10_1010_1010", 0b1010101010),
    ("0xA_BC", 0xABC), ("0xAB CD", 0xABCD), ("0x12_34_56", 0x123456), ("0x1_23", 0x123),
    ("0x123_4567", 0x1234567), ("0x1234 5678 9abc", 0x123456789ABC), ("0x00_ff", 255),
    ("-0x1_00", -256),
    ('""', ""), ('"a"', "a"), (r'"\"\\\/\b\f\n\r\t"', '"\\/\b\f\n\r\t'), (r'"\u0041\u00e9"', "Aé"),
    (r'"\ud83d\ude00"', "😀"), (r'"\uD83D\uDE00x"', "😀x"), ('"é😀"', "é😀"),
    ('"\x7f\x80"', "\x7f\x80"),
    ('"// no comment /* */"', "// no comment /* */"), (r'"\u0000"', "\0"), ('"\'"', "'"),
    ('"\u2028"', "\u2028"), ('"\ufeff"', "\ufeff"),
    ("'A'", Char("A")), ("'é'", Char("é")), ("'😀'", Char("😀")), ("' '", Char(" ")),
    (r"'\n'", Char("\n")), (r"'\\'", Char("\\")), (r"'\"'", Char('"')), ("'\"'", Char('"')),
    (r"'\u0041'", Char("A")), (r"'\ud83d\ude00'", Char("😀")), (r"'\/'", Char("/")),
    (r"'\''", Char("'")),
    ("U+0041", Char("A")), ("U+1F600", Char("😀")), ("U+00e9", Char("é")),
    ("U+10FFFF", Char("\U0010ffff")),
    ("U+000041", Char("A")), ("U+0000", Char("\0")),
    ('hex""', b""), ('hex"DE AD be ef"', b"\xde\xad\xbe\xef"), ('hex"D E A D"', b"\xde\xad"),
    ('hex" \t\r\n00 "', b"\0"),
    ('b64""', b""), ('b64"3q2+7w=="', b"\xde\xad\xbe\xef"), ('b64"AAA="', b"\0\0"),
    ('b64"////"', b"\xff" * 3),
    ("[]", []), ("[ ]", []), ("[1]", [1]), ("[1,2]", [1, 2]), ("[1 000, 2]", [1000, 2]),
    ("[[],[[]],{}]", [[], [[]], {}]), ("[1 ,2 ]", [1, 2]), ("[1\n,\r\n2\t]", [1, 2]),
    ("{}", {}), ("{ }", {}), ('{"a":1}', {"a": 1}), ('{ "a" : 1 , "b" : [ ] }', {"a": 1, "b": []}),
    ('{"":0}', {"": 0}), (r'{"\u0061":1}', {"a": 1}),
    ("// c\n1", 1), ("1// c", 1), ("1 // c", 1), ("1 /* c */", 1), ("/**/1/**/", 1), ("/***/1", 1),
    ("/* /* */1", 1), ("[1/*c*/,/*c*/2]", [1, 2]), ('{/*a*/"a"/*b*/:/*c*/1/*d*/}', {"a": 1}),
    ("// a\r\n// b\r1", 1), ("[1, // one\n 2 // two\n]", [1, 2]), ("1 000/**/", 1000), ("  1\n", 1),
    ("//\n1", 1), ("/* é 😀 \n */ 1", 1), ("1 //", 1),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), GOOD)
def test_accepted(text: str, value: object) -> None:
    assert auv.equal(auv.parse(text), value)
    assert auv.equal(auv.parse(text.encode()), value)
    if isinstance(value, float):
        assert math.copysign(1, auv.parse(text)) == math.copysign(1, value) or value != value


# text, reason, line, column
BAD = [
    ("", "value", 1, 1), ("   ", "value", 1, 4), ("// c", "value", 1, 5), ("/* c", "comment", 1, 1),
    ("1 /* c", "comment", 1, 3), ("/*/", "comment", 1, 1), ("/ 1", "value", 1, 1),
    ("1 /", "trailing", 1, 3),
    ("# c\n1", "value", 1, 1), ("\ufeff1", "value", 1, 1), ("\x0b1", "value", 1, 1),
    ("\xa01", "value", 1, 1),
    ("1 2", "separator", 1, 3), ("1\n2", "trailing", 2, 1), ("null null", "trailing", 1, 6),
    ("1\t000", "trailing", 1, 3), ("1  000", "trailing", 1, 4),
    ("nul", "value", 1, 1), ("nulll", "value", 1, 1), ("True1", "value", 1, 1),
    ("yes", "value", 1, 1),
    ("INF", "value", 1, 1), ("NaN", "value", 1, 1), ("Infinity", "value", 1, 1),
    ("-nan", "number", 1, 2),
    ("+inf", "value", 1, 1), ("-Inf", "number", 1, 2), ("infinity", "value", 1, 1),
    ("-infinity", "number", 1, 5),
    ("tr/**/ue", "value", 1, 1), ("1/**/2", "trailing", 1, 6), ("n/**/ull", "value", 1, 1),
    ("+1", "value", 1, 1), ("-", "number", 1, 2), ("--1", "number", 1, 2), ("- 1", "number", 1, 2),
    ("01", "leading_zero", 1, 1), ("-01", "leading_zero", 1, 2), ("00", "leading_zero", 1, 1),
    ("01.5", "leading_zero", 1, 1), ("0_123", "leading_zero", 1, 1),
    ("0 123", "leading_zero", 1, 1),
    ("000_123", "leading_zero", 1, 1), ("0o000_755", "leading_zero", 1, 3),
    ("0o0 755", "leading_zero", 1, 3),
    ("9223372036854775808", "number_range", 1, 1), ("-9223372036854775809", "number_range", 1, 1),
    ("0x8000000000000000", "number_range", 1, 1), ("0xFFFFFFFFFFFFFFFF", "number_range", 1, 1),
    ("0b1" + "0" * 63, "number_range", 1, 1), ("1" * 5000, "number_range", 1, 1),
    ("1e309", "number_range", 1, 1), ("-1e309", "number_range", 1, 1),
    ("1" * 400 + ".0", "number_range", 1, 1),
    ("1.", "number", 1, 3), (".5", "value", 1, 1), ("1.e5", "number", 1, 3), ("1e", "number", 1, 3),
    ("1e+", "number", 1, 4), ("1e5.5", "number", 1, 4), ("1.5.5", "number", 1, 4),
    ("1ff", "number", 1, 3),
    ("1d", "number", 1, 2), ("1.f", "number", 1, 3), ("1x", "number", 1, 2),
    ("123abc", "number", 1, 4),
    ("1é", "trailing", 1, 2), ("\u0661", "value", 1, 1), ("1\u0661", "trailing", 1, 2),
    ("0x", "number", 1, 3), ("0xg", "number", 1, 3), ("0b2", "number", 1, 3),
    ("0o8", "number", 1, 3),
    ("0b12", "number", 1, 4), ("0o18", "number", 1, 4), ("0x1g", "number", 1, 4),
    ("0x1.5", "number", 1, 4),
    ("0b1f", "number", 1, 4), ("0o1e5", "number", 1, 4), ("0X1", "number", 1, 2),
    ("0B1", "number", 1, 2),
    ("0O1", "number", 1, 2), ("0x-1", "number", 1, 3), ("00x1", "leading_zero", 1, 1),
    ("1_", "separator", 1, 3), ("_1", "value", 1, 1), ("1__000", "separator", 1, 3),
    ("1_00", "separator", 1, 3),
    ("1_0000", "separator", 1, 3), ("1000_000", "separator", 1, 1), ("1_000_00", "separator", 1, 7),
    ("1_000 000", "separator", 1, 6), ("1 000_000", "separator", 1, 6), ("1_.5", "separator", 1, 3),
    ("1_000_.5", "separator", 1, 7), ("1_000.5_0", "separator", 1, 8),
    ("1.000_1", "separator", 1, 6),
    ("1 .5", "trailing", 1, 3), ("1. 5", "number", 1, 3), ("1.5 000", "trailing", 1, 5),
    ("1e1_000", "separator", 1, 4),
    ("1_e5", "separator", 1, 3), ("1 e5", "trailing", 1, 3), ("1_f", "separator", 1, 3),
    ("1e_5", "number", 1, 3),
    ("1,000", "trailing", 1, 2), ("1'000", "trailing", 1, 2), ("1_ 000", "separator", 1, 3),
    ("1 _000", "trailing", 1, 3),
    ("0x_1", "number", 1, 3), ("0x 1", "number", 1, 3), ("0_x1", "leading_zero", 1, 1),
    ("0b_1", "number", 1, 3),
    ("0b1_000", "separator", 1, 5), ("0b11111_0000", "separator", 1, 3),
    ("0b1_00000", "separator", 1, 5),
    ("0o1_77", "separator", 1, 5), ("0o1777_777", "separator", 1, 3),
    ("0x1_2345", "separator", 1, 5), ("0x123_45", "separator", 1, 7),
    ("0x12345_6789", "separator", 1, 3),
    ("0x12_34_5678", "separator", 1, 9), ("0x1234_56", "separator", 1, 8),
    ("0xAB_CD EF", "separator", 1, 8),
    ("[1 2]", "separator", 1, 4), ("[1,000]", "leading_zero", 1, 4),
    ('"', "unfinished", 1, 2), ('"a', "unfinished", 1, 3), ('"\\', "escape", 1, 2),
    ('"\\"', "unfinished", 1, 4),
    ('"a\nb"', "control", 1, 3), ('"\t"', "control", 1, 2), ('"\0"', "control", 1, 2),
    ('"\x1f"', "control", 1, 2),
    (r'"\x41"', "escape", 1, 2), (r'"\'"', "escape", 1, 2), (r'"\u12"', "escape", 1, 2),
    (r'"\u00g0"', "escape", 1, 2),
    (r'"\U0041"', "escape", 1, 2), (r'"\u{41}"', "escape", 1, 2), (r'"\u+041"', "escape", 1, 2),
    (r'"\ud800"', "unicode", 1, 2), (r'"a\udc00"', "unicode", 1, 3),
    (r'"\ud800\u0041"', "unicode", 1, 2),
    (r'"\ud800\ud800"', "unicode", 1, 2), (r'"\ud800\n"', "unicode", 1, 2),
    (r'"\ude00\ud83d"', "unicode", 1, 2),
    (r'"\ud83d\u"', "escape", 1, 8),
    ('"\ud800"', "unicode", 1, 2), ("// \udfff\n1", "unicode", 1, 4),
    ("'", "unfinished", 1, 2), ("''", "char", 1, 1), ("'AB'", "char", 1, 3),
    ("'A", "unfinished", 1, 3), ("'''", "char", 1, 1),
    ("'\n'", "control", 1, 2), (r"'\ud800'", "unicode", 1, 2), (r"'\x41'", "escape", 1, 2),
    ("'e\u0301'", "char", 1, 3),
    ("U+41", "char", 1, 1), ("U+", "char", 1, 1), ("U+D800", "char", 1, 1),
    ("U+DFFF", "char", 1, 1),
    ("U+110000", "char", 1, 1), ("U+0000041", "char", 1, 1), ("u+0041", "value", 1, 1),
    ("U 0041", "value", 1, 1),
    ("U+0041G", "char", 1, 1), ("U+004g", "char", 1, 1),
    ('hex"D"', "binary", 1, 6), ('hex"DG"', "binary", 1, 6), ('hex"DE', "binary", 1, 7),
    ('hex "DE"', "value", 1, 1),
    ('HEX"DE"', "value", 1, 1), ("hex'DE'", "value", 1, 1), ('hex"D\\u0045"', "binary", 1, 6),
    ('hex"D_E"', "binary", 1, 6),
    ('b64"A"', "binary", 1, 6), ('b64"AAA"', "binary", 1, 8), ('b64"A==="', "binary", 1, 8),
    ('b64"AB=="', "binary", 1, 6),
    ('b64"AAB="', "binary", 1, 7), ('b64"AA=A"', "binary", 1, 8), ('b64"AA AA"', "binary", 1, 7),
    ('b64"_-AA"', "binary", 1, 5),
    ('b64"===="', "binary", 1, 7), ('b64"AAAA====', "binary", 1, 11), ('B64"AAAA"', "value", 1, 1),
    ('b64"AA', "binary", 1, 7),
    ("[", "value", 1, 2), ("[1", "structure", 1, 3), ("[1,", "value", 1, 4),
    ("[1,]", "value", 1, 4), ("[,1]", "value", 1, 2),
    ("[1,,2]", "value", 1, 4), ("[1}", "structure", 1, 3), ("]", "value", 1, 1),
    ("[]]", "trailing", 1, 3),
    ("[1:2]", "structure", 1, 3), ('["a" "b"]', "structure", 1, 6),
    ("[true false]", "structure", 1, 7),
    ("{", "key", 1, 2), ("{1:2}", "key", 1, 2), ("{a:1}", "key", 1, 2), ("{'a':1}", "key", 1, 2),
    ('{"a"}', "structure", 1, 5),
    ('{"a":}', "value", 1, 6), ('{"a":1', "structure", 1, 7), ('{"a":1,}', "key", 1, 8),
    ('{"a":1]', "structure", 1, 7),
    ('{"a" 1}', "structure", 1, 6), ('{"a"=1}', "structure", 1, 5), ('{,"a":1}', "key", 1, 2),
    ('{"a":1 "b":2}', "structure", 1, 8),
    ('{"a":1,"a":1}', "duplicate_key", 1, 8), (r'{"a":1,"\u0061":2}', "duplicate_key", 1, 8),
    ('{"a":{"b":1,"b":2}}', "duplicate_key", 1, 13),
    ("[\n1,\n  x]", "value", 3, 3), ("[1,\r\n2,\rx]", "value", 3, 1), ('["é😀", x]', "value", 1, 8),
    ("[\n\n\n", "value", 4, 1),
    ("[" * 257 + "]" * 257, "depth", 1, 257), ('{"a":' * 257 + "1" + "}" * 257, "depth", 1, 1281),
    ("[" * 100_000, "depth", 1, 257),
]  # fmt: skip


@pytest.mark.parametrize(("text", "reason", "line", "column"), BAD)
def test_refused(text: str, reason: str, line: int, column: int) -> None:
    with pytest.raises(TextError) as caught:
        auv.parse(text)
    error = caught.value
    assert (error.reason, error.line, error.column) == (reason, line, column), str(error)
    assert error.expected
    details = error.to_auv()["details"]
    assert {"reason", "line", "column", "expected", "found"} == set(details)
    auv.check(error.to_auv())


def test_a_message_says_what_was_expected_and_found() -> None:
    with pytest.raises(TextError) as caught:
        auv.parse('{"a": [1, 2\n  }')
    assert caught.value.message == "line 2, column 3: expected ',' or ']', found '}'"
    with pytest.raises(TextError, match="line 1, column 3: expected ',' or ']', found the end"):
        auv.parse("[1")


@pytest.mark.parametrize(
    ("data", "line", "column"),
    [
        (b"\xff", 1, 1),
        (b'["a",\n"\xc3"]', 2, 2),
        (b'"\xed\xa0\x80"', 1, 2),
        (b'"\xc3\xa9\x80"', 1, 3),
    ],
)
def test_bytes_that_are_no_utf8(data: bytes, line: int, column: int) -> None:
    with pytest.raises(TextError) as caught:
        auv.parse(data)
    assert (caught.value.reason, caught.value.line, caught.value.column) == (
        "unicode",
        line,
        column,
    )


CANONICAL = [
    (None, "null"), (True, "true"), (0, "0"), (-5, "-5"), (auv.INT64_MIN, "-9223372036854775808"),
    (0.0, "0.0"), (-0.0, "0.0"), (1.0, "1.0"), (-1.5, "-1.5"), (0.1, "0.1"),
    (1e15, "1000000000000000.0"),
    (1e16, "1e16"), (1.5e300, "1.5e300"), (1e-4, "0.0001"), (1e-5, "1e-5"), (5e-324, "5e-324"),
    (math.inf, "inf"), (-math.inf, "-inf"), (math.nan, "nan"),
    (Char("A"), "'A'"), (Char("'"), r"'\u0027'"), (Char('"'), "'\"'"), (Char("\n"), r"'\n'"),
    (Char("\\"), r"'\\'"),
    (Char("\0"), r"'\u0000'"), (Char("😀"), "'😀'"),
    ("", '""'), ('"\\/\b\f\n\r\t\x1f\x7fé', '"\\"\\\\/\\b\\f\\n\\r\\t\\u001f\x7fé"'),
    (b"", 'hex""'), (b"\xde\xad", 'hex"DEAD"'),
    ([], "[]"), ([1, [2, []]], "[1,[2,[]]]"), ({}, "{}"),
    ({"b": 1, "a": {"d": 0, "c": 0}}, '{"a":{"c":0,"d":0},"b":1}'),
    ({"\U00010000": 1, "\uffff": 2, "é": 3, "z": 4}, '{"z":4,"é":3,"\uffff":2,"\U00010000":1}'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "text"), CANONICAL)
def test_canonical_text(value: object, text: str) -> None:
    assert auv.format_canonical(value) == text


def test_other_forms() -> None:
    value = {"b": [1, {}], "a": "\x1b[31m\x9b\u202e", "c": []}
    assert auv.format_compact(value) == '{"b":[1,{}],"a":"\\u001b[31m\x9b\u202e","c":[]}'
    assert auv.format_pretty(value) == (
        '{\n  "b": [\n    1,\n    {}\n  ],\n  "a": "\\u001b[31m\\u009b\\u202e",\n  "c": []\n}'
    )
    assert auv.format_compact(-0.0) == "-0.0"
    assert auv.format_json([Char("A"), b"\0", math.nan, -math.inf, -0.0]) == (
        '[{"$t":"char","$v":"A"},{"$t":"binary","$v":"AA=="},'
        '{"$t":"float","$v":"nan"},{"$t":"float","$v":"-inf"},-0.0]'
    )


@PROFILE
@given(values)
def test_round_trip(value: object) -> None:
    for form in (auv.format_canonical, auv.format_compact, auv.format_pretty):
        assert auv.equal(auv.parse(form(value)), value)
    canonical = auv.format_canonical(value)
    assert auv.format_canonical(auv.parse(canonical)) == canonical


def _json_to_auv(value: object) -> object:
    if isinstance(value, list):
        return [_json_to_auv(member) for member in value]
    if isinstance(value, dict):
        return {key: _json_to_auv(member) for key, member in value.items()}
    return value


@PROFILE
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(auv.INT64_MIN, auv.INT64_MAX)
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=4)
        | st.dictionaries(st.text("ab\n\"é", max_size=3), inner, max_size=4),
        max_leaves=15,
    ),
    st.sampled_from([None, 0, 3]),
    st.booleans(),
)  # fmt: skip
def test_json_means_the_same(value: object, indent: int | None, ascii_only: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only)
    assert auv.equal(auv.parse(text), value)
    assert auv.equal(auv.parse(text), _json_to_auv(json.loads(text)))
    assert auv.equal(json.loads(auv.format_json(value, indent)), value)


JSON_PIECES = st.sampled_from(
    [*'[]{},:" \n-+.eE01', "0", "12", '"a"', '"b":', "true", "null", "\\n", "\\u0041", "[]", "1e5"]
)


def _json_or_none(text: str) -> tuple[bool, object]:
    """Whether text is JSON that AUV can hold (each key once, numbers that fit), and its value."""

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key twice")
        return dict(pairs)

    def constant(word: str) -> float:
        raise ValueError(f"{word} is no JSON")

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=constant)
        auv.check(value)
        return "inf" not in auv.format_canonical(value), value
    except (ValueError, auv.ValueFault):
        return False, None


@settings(PROFILE, max_examples=3000)
@given(st.lists(JSON_PIECES, min_size=1, max_size=9).map("".join))
def test_what_a_json_reader_takes_is_ajis(text: str) -> None:
    is_json, value = _json_or_none(text)
    if is_json:
        assert auv.equal(auv.parse(text), value)


@settings(PROFILE, max_examples=400)
@given(values)
def test_format_json_is_json(value: object) -> None:
    text = auv.format_json(value)
    assert text.isprintable() or not any(ord(letter) < 32 for letter in text)
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


PIECES = st.sampled_from(
    [
        *"[]{},:\"'\\ \n\r_-+.eEf01=é\ud800\0",
        *(
            "\\u",
            "d800",
            "dc00",
            "0x",
            "0b",
            "0o",
            "hex",
            "b64",
            "U+",
            "//",
            "/*",
            "*/",
            "12",
            "999",
        ),
        *("inf", "nan", "true", "NULL"),
    ]
)


@settings(PROFILE, max_examples=1500)
@given(st.lists(PIECES, max_size=12).map("".join) | st.text(max_size=30))
def test_any_text_gives_a_value_or_the_typed_error(text: str) -> None:
    value, error = _parsed(text)
    if error is None:
        assert auv.equal(auv.parse(auv.format_canonical(value)), value)
    else:
        assert 0 <= error.offset <= len(text)
        auv.check(error.to_auv())


def _parsed(text: str | bytes) -> tuple[object, TextError | None]:
    """The value, or the typed error; any other exception fails the test."""
    try:
        return auv.parse(text), None
    except TextError as error:
        return None, error


@settings(PROFILE, max_examples=300)
@given(st.binary(max_size=40))
def test_any_bytes_give_a_value_or_the_typed_error(data: bytes) -> None:
    error = _parsed(data)[1]
    if error is not None:
        auv.check(error.to_auv())


MEGABYTE = 1 << 20
LONG_TEXTS = [
    "1" * MEGABYTE,
    "0." + "1" * MEGABYTE,
    "1" * MEGABYTE + "e-" + "1" * 6,
    "1e" + "9" * MEGABYTE,
    "0x" + "F" * MEGABYTE,
    "0b" + "1" * MEGABYTE,
    "1" + "_000" * (MEGABYTE // 4),
    "1" + " 000" * (MEGABYTE // 4) + ".5",
    '"' + "a" * MEGABYTE,
    '"' + "\\u0041" * (MEGABYTE // 6) + '"',
    '"' + "\\" * MEGABYTE,
    "/*" * (MEGABYTE // 2),
    "/**/" * (MEGABYTE // 4),
    "//\n" * (MEGABYTE // 3),
    " " * MEGABYTE,
    "\n" * MEGABYTE + "x",
    "[" * MEGABYTE,
    "[" + "1," * (MEGABYTE // 2),
    'hex"' + "A" * MEGABYTE,
    'b64"' + "A" * MEGABYTE,
    "a" * MEGABYTE,
    "U+" + "0" * MEGABYTE,
    "-" * MEGABYTE,
]


@pytest.mark.parametrize("text", LONG_TEXTS, ids=lambda text: text[:8])
def test_long_texts_take_linear_time(text: str) -> None:
    """What looks back for each character of a MiB does not end within the test's limit."""
    _parsed(text)


def test_a_value_inside_another_grammar() -> None:
    line = 'where age >= 30 and name like "A b" | limit 1 000'
    assert auv.parse_prefix(line, line.index("30")) == (30, line.index(" and"))
    assert auv.parse_prefix(line, line.index('"')) == ("A b", line.index(" |"))
    at = line.index("1 000")
    assert auv.parse_prefix(line, at) == (1000, len(line))
    assert auv.parse_prefix(line, at, space_separators=False) == (1, at + 1)
    assert auv.parse_prefix("x=[1, 2] y", 2) == ([1, 2], 8)
    with pytest.raises(TextError) as caught:
        auv.parse_prefix("set a = }", 8)
    assert caught.value.column == 9
