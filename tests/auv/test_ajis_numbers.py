"""Numbers of AJIS text against a second reading of the rules: a regular expression per notation."""

import math
import re
from decimal import Decimal

from auv_strategies import PROFILE
from hypothesis import given, settings
from hypothesis import strategies as st

from affs_fuse import auv
from affs_fuse.auv import TextError


def _grouped(first: str, digit: str, size: int) -> str:
    """first, then groups of exactly size digits, parted by one kind of separator."""
    return f"{first}(?:(?:_{digit}{{{size}}})+|(?: {digit}{{{size}}})+)"


_DECIMAL = f"(?:0|[1-9][0-9]*|{_grouped('[1-9][0-9]{0,2}', '[0-9]', 3)})"
_NOTATIONS = (
    (10, re.compile(f"-?{_DECIMAL}")),
    (16, re.compile(f"-?0x(?:[0-9A-Fa-f]+|{_grouped('[0-9A-Fa-f]{1,2}', '[0-9A-Fa-f]', 2)}"
                    f"|{_grouped('[0-9A-Fa-f]{3,4}', '[0-9A-Fa-f]', 4)})")),
    (8, re.compile(f"-?0o(?:[0-7]+|(?!0{{1,3}}[_ ]){_grouped('[0-7]{1,3}', '[0-7]', 3)})")),
    (2, re.compile(f"-?0b(?:[01]+|{_grouped('[01]{1,4}', '[01]', 4)})")),
)  # fmt: skip
_FLOAT = re.compile(rf"-?{_DECIMAL}(?=[.eEfF])(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?[fF]?")


def expected(text: str) -> int | float | None:
    """What the rules make of text, which is one number or none; None: refused."""
    text = text.strip(" ")
    plain = text.replace("_", "").replace(" ", "")
    for radix, pattern in _NOTATIONS:
        if pattern.fullmatch(text):
            number = int(plain.replace("0x", "").replace("0o", "").replace("0b", ""), radix)
            return number if auv.INT64_MIN <= number <= auv.INT64_MAX else None
    if text in ("inf", "-inf"):
        return float(text)
    if _FLOAT.fullmatch(text):
        number = float(Decimal(plain.rstrip("fF")))
        return None if math.isinf(number) else number
    return None


def _check(text: str) -> None:
    try:
        found = auv.parse(text)
    except TextError:
        found = None
    assert auv.equal(found, expected(text)), text


@settings(PROFILE, max_examples=3000)
@given(st.text("01_ .xbo7aefE+-", min_size=1, max_size=10))
def test_short_random_texts(text: str) -> None:
    _check(text)


def _digits(alphabet: str, size_max: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=1, max_size=size_max)


@settings(PROFILE, max_examples=1000)
@given(
    st.sampled_from(["", "-"]),
    st.sampled_from([("", "0123456789"), ("0x", "019aF"), ("0o", "0127"), ("0b", "01")]),
    st.data(),
)
def test_grouped_texts(sign: str, notation: tuple[str, str], data: st.DataObject) -> None:
    prefix, alphabet = notation
    size = data.draw(st.integers(2, 4))
    groups = [data.draw(_digits(alphabet, 5))]
    separators = data.draw(st.sampled_from(["_", " ", "_ ", ""]))
    text = groups[0]
    for _ in range(data.draw(st.integers(0, 4))):
        length = data.draw(st.sampled_from([size, size, size, size - 1, size + 1]))
        group = "".join(data.draw(st.sampled_from(alphabet)) for _ in range(length))
        text += (data.draw(st.sampled_from(separators)) if separators else "") + group
    tail = data.draw(
        st.sampled_from(["", "", ".5", "e3", "f", ".", "_", "_1", " 1", ".5_0", "e1_0"])
    )
    _check(sign + prefix + text + tail)


@PROFILE
@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from("reEfg"))
def test_floats_in_any_spelling(number: float, style: str) -> None:
    text = {
        "r": repr(number),
        "e": f"{number:.17e}",
        "E": f"{number:.17E}F",
        "f": f"{number:.1100f}",
        "g": f"{number:#.17g}",
    }[style]
    found = auv.parse(text + "0" if text.endswith(".") else text)
    assert isinstance(found, float)
    assert math.copysign(1, found) == math.copysign(1, number)
    assert found == number
