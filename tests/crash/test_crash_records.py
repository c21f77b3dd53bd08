"""The judge of collections and indexes: its oracle says what Indexes.md says, and what is wrong on
a volume does not pass."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from affs_fuse.core.constants import (
    ITEM_COLLECTION,
    ITEM_INDEX,
    ITEM_INDEX_KEYS,
    ITEM_INDEX_PENDING,
    OBJECT_COLLECTIONS,
)
from affs_fuse.query.index_values import keys_of_content
from affs_fuse.volume.volume import Volume
from affs_tools.crashsim.asking import answer, answers
from affs_tools.crashsim.bounds import Violation
from affs_tools.crashsim.check import open_state
from affs_tools.crashsim.check_records import check_collections
from affs_tools.crashsim.device import Recorder
from affs_tools.crashsim.explore import Explorer, Tally, base_of, explore_points
from affs_tools.crashsim.known_trees import TreesOf
from affs_tools.crashsim.memory import judge_shortage, shortages_of
from affs_tools.crashsim.record_keys import EXPRESSIONS, key_of_content
from affs_tools.crashsim.states import Depth
from affs_tools.crashsim.workloads import Workload, find

CONTENTS = [
    b'{"n": 5, "t": "X"}', b'{"n": -1}', b'{"n": 2.5, "t": null}', b"{}", b"[1, 2]", b"7", b"",
    b'{"n": 1', b'{"t": 7}', b'{"t": "' + b"k" * 300 + b'"}', b'{"n": true, "t": "\\u0000a"}',
    b'{"n": [1, "x", {"a": null}], "t": "\xc3\x84"}', b'{"n": -0.0}', b"\xff",
]  # fmt: skip

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=9)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)  # fmt: skip


@pytest.mark.parametrize("content", CONTENTS)
def test_the_oracle_of_keys_agrees_with_the_engine(content: bytes) -> None:
    expected = [key_of_content(text, content) for text in EXPRESSIONS]
    assert keys_of_content(list(EXPRESSIONS), content) == expected


@given(values, values)
def test_it_agrees_on_any_record(n: object, t: object) -> None:
    content = json.dumps({"n": n, "t": t}).encode()
    expected = [key_of_content(text, content) for text in EXPRESSIONS]
    assert keys_of_content(list(EXPRESSIONS), content) == expected


@pytest.fixture
def volume():  # type: ignore[no-untyped-def]
    base = base_of("kept-records")
    mark = base.image.mark()
    yield open_state(Recorder(base.image))
    base.image.revert(mark)


def judged(volume: Volume) -> None:
    base = base_of("kept-records")
    wanted = base.expected[base.durable].collections
    check_collections(volume, volume.working.tree, wanted[0], "the working state")


def first_of(volume: Volume, kind: int) -> tuple[int, int, int, bytes]:
    number = volume.run(volume.working.tree.seek, OBJECT_COLLECTIONS, ITEM_COLLECTION, 0)[2]
    return volume.run(volume.working.tree.seek, number, kind, 0)


def test_a_volume_in_order_passes(volume: Volume) -> None:
    judged(volume)


@pytest.mark.parametrize("kind", [ITEM_COLLECTION, ITEM_INDEX, ITEM_INDEX_KEYS, ITEM_INDEX_PENDING])
def test_what_is_missing_does_not_pass(volume: Volume, kind: int) -> None:
    volume.working.tree.delete(*first_of(volume, kind)[:3])
    with pytest.raises(Violation):
        judged(volume)


def test_what_the_list_does_not_know_does_not_pass(volume: Volume) -> None:
    number = first_of(volume, ITEM_INDEX)[0]
    volume.working.tree.delete(OBJECT_COLLECTIONS, ITEM_COLLECTION, number)
    with pytest.raises(Violation, match="declared are"):
        judged(volume)


def test_a_wrong_key_does_not_pass(volume: Volume) -> None:
    number, kind, file, payload = first_of(volume, ITEM_INDEX_KEYS)
    volume.working.tree.put(number, kind, file, payload[:-1] + bytes([payload[-1] ^ 1]))
    with pytest.raises(Violation, match="index"):
        judged(volume)


def test_an_index_that_waits_for_ever_does_not_pass() -> None:
    """Everything was taken in before the commit, says the model."""
    base = base_of("kept-records")
    mark = base.image.mark()
    volume = open_state(Recorder(base.image))
    wanted = base.expected[base.durable].collections[0]
    settled = {path: one._replace(settled=True) for path, one in wanted.items()}
    with pytest.raises(Violation, match="wait"):
        check_collections(volume, volume.working.tree, settled, "the working state")
    base.image.revert(mark)


def test_indexes_are_asked(volume: Volume) -> None:
    found = list(answers(volume, volume.working.tree))
    assert any(one.asked for _, one in found)
    for line, one in found:
        right = answer(volume, volume.working.tree, line, indexes=False)
        assert (right.text, right.asked) == (one.text, "")


def test_a_tree_is_known_as_long_as_no_byte_of_it_changes() -> None:
    base = base_of("small")
    mark = base.image.mark()
    volume = open_state(Recorder(base.image))
    root = volume.working.tree.root
    assert root is not None
    known = TreesOf(volume, believe=False).get(root)
    assert TreesOf(volume, believe=True).get(root) is TreesOf(volume, believe=True).get(root)
    assert TreesOf(volume, believe=False).get(root) is not known
    offset, data = known.bytes_at[-1]
    base.image.put(offset + len(data) - 1, bytes([data[-1] ^ 1]))
    again = TreesOf(volume, believe=True).get(root)
    assert again.bytes_at[-1] != (offset, data)
    assert again.shown is None
    base.image.revert(mark)


def test_a_shortage_between_cut_and_commit_is_judged() -> None:
    """The cut that is under way is written first; then nothing may be committed any more."""
    steps = (
        ("mkdir", "/c/x"), ("begin_commit",), ("index_work",), ("mkdir", "/c/y"),
        ("end_commit",), ("commit",),
    )  # fmt: skip
    workload = replace(find("record/record-update"), name="fault/test", steps=steps)
    tally = Tally()
    points = shortages_of(workload)
    explore_points(workload, tally, points[::9], judge_shortage)
    assert not tally.failures, tally.failures[:3]
    assert any("read-only" in outcome for outcome in tally.outcomes)


def test_a_story_of_records_holds() -> None:
    story = find("records/evolution")
    tally = Tally()
    depth = Depth(6, 3)
    Explorer(tally).explore(Workload(story.name, story.base, story.steps, depth, depth, 12))
    assert not tally.failures, tally.failures[:3]
    assert tally.thorough
