"""The short way for plain JSON gives what the long way gives, for every text."""

import pytest
from auv_strategies import PROFILE, values
from hypothesis import example, given
from hypothesis import strategies as st

from affs_fuse import auv

TEXTS = [
    '{"a":1,"a":2}', "[1e999]", "9223372036854775808", "-9223372036854775808", "NaN", "Infinity",
    "-Infinity", '"\\ud800"', '"\\u0041"', "01", "1.", "[1,]", "{}", "[]", " 1", "1\n", "1 \f",
    "1\u00a0", "\ufeff1", "1 // c", "/**/1", "0x1F", "1_000", "hex\"00\"", "TRUE", "nan", "'A'",
    '"\x01"', "[" * 250 + "]" * 250, "[" * 300 + "]" * 300, "{" * 10, '{"' + "k" * 5000 + '":1}',
    '{"' + "k" * 4096 + '":1}', '{"' + "\u00e9" * 3000 + '":1}', "", "1 2", "-0", "-0.0", "1E5",
    '"' + "x" * 10_000 + '"', "[1" + ",1" * 3000 + "]", '{"a":{"b":[{"c":null}]}}', '"a\\/b"',
    "[" + "[1]," * 300 + "2]", "[" + '{"a":{}},' * 300 + "2]", "[" + "[1]," * 300 + "2",
    *("[" * depth + "1" + "]" * depth + end for depth in (199, 200, 201, 256, 257) for end in " x"),
    *("[1," * depth + "[],{}" + "]" * depth for depth in (150, 199, 255, 256, 1200)),
    "tru", "nul", '"open', "[1 2]", "\u0661", "1\u0661",
]  # fmt: skip


def outcome(read, text):
    try:
        return auv.encode(read(text))
    except auv.TextError as error:
        return error.reason, error.line, error.column, error.expected


@pytest.mark.parametrize("text", TEXTS)
def test_texts_at_the_edges(text: str) -> None:
    assert outcome(auv.parse_quick, text) == outcome(auv.parse, text)
    data = text.encode("utf-8")
    assert outcome(auv.parse_quick, data) == outcome(auv.parse, data)


@PROFILE
@given(values)
def test_values_come_back(value: auv.Value) -> None:
    for text in (auv.format_compact(value), auv.format_pretty(value), auv.format_json(value)):
        assert outcome(auv.parse_quick, text) == outcome(auv.parse, text)


@PROFILE
@given(st.text('{}[]",:0123456789.eE+-truefalsn \n\\u\ud7ff', max_size=24))
@example('{"a":1}x')
def test_any_text(text: str) -> None:
    assert outcome(auv.parse_quick, text) == outcome(auv.parse, text)


def test_bytes_that_are_no_text() -> None:
    for data in (b"\xff", b'{"a":"\xff"}', b"1\xfe"):
        assert outcome(auv.parse_quick, data) == outcome(auv.parse, data)


def written(write, value):
    try:
        return write(value)
    except auv.ValueFault as error:
        return error.reason


@PROFILE
@given(values)
@example([1e16, 1e-7, 1.5, -0.0, 2**63 - 1, -(2**63), 10**18])
@example({"e+": "1e+5", "\x7f": "\u2028", "\x01": '"\\\b\f\n\r\t/', "": "\u0085"})
def test_values_are_written_alike(value: auv.Value) -> None:
    assert written(auv.format_quick, value) == written(auv.format_compact, value)
    assert written(auv.format_json_quick, value) == written(auv.format_json, value)


def test_what_is_over_a_limit_is_refused_alike() -> None:
    deep: auv.Value = 1
    mixed: auv.Value = 1
    for _ in range(300):
        deep, mixed = [deep], ({"a": mixed},)
    for value in (deep, mixed, {"k" * 5000: 1}, {"é" * 3000: 1}, [2**63], ["\ud800"], {"a": deep}):
        assert written(auv.format_quick, value) == written(auv.format_compact, value)
        assert isinstance(written(auv.format_quick, value), str)
