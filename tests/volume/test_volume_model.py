"""Random sequences of writes, commits, checkpoints, rollbacks, deletions, crashes against a plain
model.

After every step the allocator equals what a walk reaches, every reachable block verifies, and
every kept state shows what it showed when it was kept.
"""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from volume_harness import Harness

FILES = 5
BLOCKS = 30

step = st.one_of(
    st.tuples(
        st.just("write"),
        st.integers(0, FILES - 1),
        st.integers(0, BLOCKS - 1),
        st.sampled_from([1, 1, 2, 5]),
        st.integers(1, 255),
    ),
    st.tuples(st.just("remove"), st.integers(0, FILES - 1), st.integers(0, BLOCKS - 1)),
    st.tuples(st.just("make_inodes"), st.integers(0, 300), st.sampled_from([3, 150])),
    st.tuples(st.just("commit")),
    st.tuples(st.just("keep")),
    st.tuples(st.just("rollback"), st.integers(0, 20), st.booleans()),
    st.tuples(st.just("delete"), st.integers(0, 20)),
    st.tuples(st.just("reclaim")),
    st.tuples(
        st.just("reclaim_slowly"),
        st.integers(0, FILES - 1),
        st.integers(0, BLOCKS - 1),
        st.integers(1, 255),
    ),
    st.tuples(st.just("fall_back"), st.integers(1, 2)),
    st.tuples(st.just("reopen"), st.booleans()),
)


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(step, min_size=20, max_size=60))
def test_the_allocator_equals_reachability(steps: list[tuple[object, ...]]) -> None:
    harness = Harness()
    for name, *arguments in steps:
        getattr(harness, str(name))(*arguments)
        harness.check()
