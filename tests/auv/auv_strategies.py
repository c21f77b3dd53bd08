"""Hypothesis strategies for AUV values, shared by the tests of this folder."""

import math
import struct

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from affs_fuse.auv import INT64_MAX, INT64_MIN, Char

PROFILE = settings(
    derandomize=True,
    deadline=None,
    database=None,
    max_examples=300,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

EDGE_INTS = [
    sign * (1 << power) + near
    for power in (0, 5, 7, 8, 15, 16, 31, 32, 53, 63)
    for near in (-1, 0, 1)
    for sign in (1, -1)
]


def _bits(number: int) -> float:
    result: float = struct.unpack(">d", struct.pack(">Q", number))[0]
    return result


ints = st.one_of(
    st.integers(INT64_MIN, INT64_MAX),
    st.sampled_from([n for n in EDGE_INTS if INT64_MIN <= n <= INT64_MAX]),
)
floats = st.one_of(
    st.floats(),
    st.sampled_from([0.0, -0.0, math.inf, -math.inf, math.nan, 1e16, 1e-5, 5e-324, 1e22, 0.1]),
    st.integers(0, (1 << 64) - 1).map(_bits),
)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
chars = st.characters(exclude_categories=["Cs"]).map(Char)
scalars = st.one_of(st.none(), st.booleans(), ints, floats, chars, texts, st.binary(max_size=40))


def _containers(children: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(
        st.lists(children, max_size=5),
        st.lists(children, max_size=3).map(tuple),
        st.dictionaries(st.one_of(texts, st.sampled_from("abc")), children, max_size=5),
    )


values = st.recursive(scalars, _containers, max_leaves=20)
small_values = st.recursive(
    st.sampled_from([None, False, True, 0, 1, -1, 0.0, -0.0, 1.0, math.nan, math.inf])
    | st.sampled_from([Char("a"), Char("b"), "", "a", "b", "\ue000", "\U0001f600", b"", b"a"]),
    lambda children: (
        st.lists(children, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "b", "\uffff", "\U00010000"]), children, max_size=2)
    ),
    max_leaves=4,
)
