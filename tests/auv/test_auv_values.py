"""Values, limits, equality and the total order (docs/specs/AUV.md)."""

import math
import pickle
from collections import OrderedDict
from enum import IntEnum, StrEnum

import pytest
from auv_strategies import PROFILE, small_values, values
from hypothesis import given, settings

from affs_fuse import auv
from affs_fuse.auv import Char, Limits, Type, ValueFault

LADDER = [
    None,
    False,
    True,
    auv.INT64_MIN,
    -1,
    0,
    1,
    2,
    auv.INT64_MAX,
    -math.inf,
    -1.5,
    -5e-324,
    0.0,
    5e-324,
    1.0,
    math.inf,
    math.nan,
    Char("\0"),
    Char("A"),
    Char("\ue000"),
    Char("\U0001f600"),
    "",
    "A",
    "Aa",
    "B",
    "\ue000",
    "\U0001f600",
    b"",
    b"\0",
    b"\0\0",
    b"\xff",
    [],
    [None],
    [None, None],
    [False],
    [1],
    [1, None],
    [1.0],
    {},
    {"a": 9},
    {"a": 1, "b": 0},
    {"a": 1, "b": 1},
    {"a": 2, "b": 0},
    {"b": None},
    {"\ue000": 0},
    {"\U0001f600": 0},
]


def test_every_type_has_its_place() -> None:
    kinds = [auv.type_of(value) for value in LADDER]
    assert kinds == sorted(kinds)
    assert set(kinds) == set(Type)


@pytest.mark.parametrize("first", range(len(LADDER)))
def test_the_order_is_that_of_the_specification(first: int) -> None:
    for second in range(len(LADDER)):
        expected = (first > second) - (first < second)
        assert auv.compare(LADDER[first], LADDER[second]) == expected, (first, second)


def test_sorting_uses_the_order() -> None:
    result = sorted(LADDER[::2] + LADDER[1::2][::-1], key=auv.sort_key)
    for value, expected in zip(result, LADDER, strict=True):
        assert auv.equal(value, expected)


@pytest.mark.parametrize(
    ("first", "second"),
    [(0.0, -0.0), (math.nan, -math.nan), ([0.0], [-0.0]), ({"a": 1, "b": 2}, {"b": 2, "a": 1})],
)
def test_equal(first: object, second: object) -> None:
    assert auv.equal(first, second)
    assert auv.encode_canonical(first) == auv.encode_canonical(second)
    assert auv.format_canonical(first) == auv.format_canonical(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (1, 1.0), (1, True), (0, False), (0.0, False), (None, False), ("A", Char("A")),
        ("A", b"A"), ([], {}), ({"a": 1}, {"a": 1.0}), ([1], [True]),
    ],
)  # fmt: skip
def test_nothing_is_equal_across_types(first: object, second: object) -> None:
    assert not auv.equal(first, second)
    assert auv.encode_canonical(first) != auv.encode_canonical(second)


@PROFILE
@given(small_values, small_values)
def test_canonical_encodings_are_equal_exactly_when_values_are(
    first: object, second: object
) -> None:
    equal = auv.equal(first, second)
    assert equal == (auv.compare(first, second) == 0)
    assert equal == (auv.encode_canonical(first) == auv.encode_canonical(second))
    assert equal == (auv.format_canonical(first) == auv.format_canonical(second))


@settings(PROFILE, max_examples=600)
@given(small_values, small_values, small_values)
def test_the_order_is_total(one: object, two: object, three: object) -> None:
    assert auv.compare(one, one) == 0
    assert auv.compare(one, two) == -auv.compare(two, one)
    low, middle, high = sorted((one, two, three), key=auv.sort_key)
    assert auv.compare(low, middle) <= 0
    assert auv.compare(middle, high) <= 0
    assert auv.compare(low, high) <= 0
    if auv.compare(low, high) == 0:
        assert auv.equal(low, middle)


@PROFILE
@given(values)
def test_a_normal_copy_is_equal_and_shares_nothing(value: object) -> None:
    copy = auv.normal(value)
    assert auv.equal(copy, value)
    assert auv.equal(auv.normal(value, canonical=True), value)
    if isinstance(copy, list | dict):
        assert copy is not value


@pytest.mark.parametrize("text", ["", "AB", "\ud800", "e\u0301"])
def test_a_char_is_one_scalar(text: str) -> None:
    with pytest.raises(ValueFault) as caught:
        Char(text)
    assert caught.value.reason == "char"


def test_a_char_is_a_value_of_its_own() -> None:
    char = Char("é")
    assert (char.text, char.code_point, str(char)) == ("é", 0xE9, "é")
    assert char == Char("\xe9")
    assert char != "é"
    assert len({char, Char("é"), "é"}) == 2
    assert pickle.loads(pickle.dumps(char)) == char
    with pytest.raises(AttributeError):
        char.text = "b"  # type: ignore[misc]


class _Word(StrEnum):
    ONE = "one"


class _Number(IntEnum):
    ONE = 1


def test_subclasses_are_read_as_their_plain_types() -> None:
    value = OrderedDict(word=_Word.ONE, number=_Number.ONE, both=(_Word.ONE, _Number.ONE))
    copy = auv.decode(auv.encode(value))
    assert copy == {"word": "one", "number": 1, "both": ["one", 1]}
    assert type(copy["word"]) is str
    assert auv.format_canonical(value) == '{"both":["one",1],"number":1,"word":"one"}'


@pytest.mark.parametrize(
    ("value", "reason", "path"),
    [
        ({1}, "type", "$"),
        ([1, {"a": object()}], "type", "$[1].a"),
        (1 << 63, "integer", "$"),
        ([[], [-(1 << 63) - 1]], "integer", "$[1][0]"),
        ("\ud800", "unicode", "$"),
        ({"a": {"\udfff": 1}}, "unicode", "$.a"),
        ({"a": {1: 1}}, "key", "$.a"),
        ([1, 2, {None: 1}], "key", "$[2]"),
        (bytearray(b"a"), "type", "$"),
    ],
)
def test_what_is_no_value_is_named_with_its_path(value: object, reason: str, path: str) -> None:
    for use in (auv.check, auv.encode, auv.encode_canonical, auv.format_canonical, auv.format_json):
        with pytest.raises(ValueFault) as caught:
            use(value)
        assert (caught.value.reason, caught.value.path) == (reason, path)
        assert caught.value.code == "auv.value"
        auv.check(caught.value.to_auv())


def test_limits_hold_at_their_edge() -> None:
    limits = Limits(
        depth_max=2, string_bytes_max=4, binary_bytes_max=3, elements_max=5, key_bytes_max=2
    )
    for good in (
        [[]],
        "éé",
        b"abc",
        [1, 2, 3, 4, 5],
        {"é": 1},
        [[1, 2], [3]],
        {"a": [1], "b": [2]},
    ):
        auv.check(good, limits)
        assert auv.equal(auv.decode(auv.encode(good), limits), good)
        assert auv.equal(auv.parse(auv.format_canonical(good), limits), good)
    for bad, reason in (
        ([[[]]], "depth"),
        ("ééa", "string_size"),
        (b"abcd", "binary_size"),
        ([1, 2, 3, 4, 5, 6], "elements"),
        ([[1, 2], [3, 4]], "elements"),
        ({"a": [1, 2], "b": [3, 4]}, "elements"),
        ({"éa": 1}, "key_size"),
    ):
        with pytest.raises(ValueFault) as fault:
            auv.check(bad, limits)
        with pytest.raises(auv.WireError) as wire:
            auv.decode(auv.encode(bad), limits)
        with pytest.raises(auv.TextError) as text:
            auv.parse(auv.format_canonical(bad), limits)
        assert {fault.value.reason, wire.value.reason, text.value.reason} == {reason}


def nested(depth: int) -> object:
    value: object = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize("depth", [256, auv.DEPTH_SUPPORTED_MAX])
def test_depth_goes_up_to_the_limit_in_every_form(depth: int) -> None:
    limits = Limits(depth_max=depth)
    value = nested(depth)
    assert auv.equal(auv.decode(auv.encode(value, limits), limits), value)
    assert auv.equal(auv.parse(auv.format_pretty(value, 2, limits), limits), value)
    assert auv.encode_canonical(value, limits) == auv.encode(value, limits)
    with pytest.raises(ValueFault, match="nested deeper"):
        auv.check(nested(depth + 1), limits)


def test_a_cyclic_value_is_too_deep() -> None:
    cyclic: list[object] = []
    cyclic.append({"again": cyclic})
    with pytest.raises(ValueFault) as caught:
        auv.encode(cyclic)
    assert caught.value.reason == "depth"


def test_deep_values_are_compared_without_recursion() -> None:
    assert auv.compare(nested(5_000), nested(5_000)) == 0
    assert auv.compare(nested(5_001), nested(5_000)) == 1


def test_no_limits_beyond_what_the_coder_can_write() -> None:
    with pytest.raises(AssertionError):
        Limits(depth_max=auv.DEPTH_SUPPORTED_MAX + 1)
