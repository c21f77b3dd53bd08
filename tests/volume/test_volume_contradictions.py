"""Defects that damaged and crafted images found, each with its smallest case (docs/reliability.md).

Everything here has right checksums, and contradicts itself."""

import re
from collections.abc import Callable

import pytest
from volume_harness import Harness

from affs_fuse.core.codec import Inode, State
from affs_fuse.core.constants import (
    BLOCK_SIZE,
    INTENT_SMALL,
    ITEM_INODE,
    ITEM_SEGMENT,
    ITEM_STATE,
    OBJECT_FIRST,
)
from affs_fuse.errors import AffsError, Category
from affs_fuse.posix import inodes
from affs_fuse.posix.loaded_blocks import LoadedBlocks
from affs_fuse.posix.namespace import Namespace
from affs_fuse.volume import layout, verbs
from affs_fuse.volume.half_done import Contradiction
from affs_fuse.volume.missing import BlockRead
from affs_fuse.volume.space_tree import read_segments
from affs_fuse.volume.verify import verify_volume
from affs_tools.crashsim.check import open_state, walk_state
from affs_tools.crashsim.crafted import explore_crafted, tell
from affs_tools.crashsim.damage import BASE
from affs_tools.crashsim.device import Recorder
from affs_tools.crashsim.explore import Tally, base_of


def kept() -> Harness:
    harness = Harness()
    for fill in (50, 52, 54):
        harness.write(0, 0, 2, fill)
        harness.keep()
    return harness


def test_giving_back_a_free_block_ends_the_writing() -> None:
    """A bitmap that says less than the trees: freed twice in the middle of an operation."""
    harness = kept()
    volume = harness.volume
    segment, first, count = volume.space.allocate_data(INTENT_SMALL, 2, volume.generation)[0]
    volume.space.free(layout.logical(segment, first), count)
    with pytest.raises(Contradiction) as caught:
        volume.run(volume.space.free, layout.logical(segment, first), count)
    assert caught.value.code == "volume.contradiction"
    assert volume.read_only_reason
    with pytest.raises(AffsError, match="read-only"):
        volume.commit()


@pytest.mark.parametrize("address", [layout.logical(40, 8), layout.logical((1 << 22) - 1, 1)])
def test_giving_back_blocks_of_no_segment_is_an_error_with_a_name(address: int) -> None:
    with pytest.raises(Contradiction):
        kept().volume.space.free(address, 1)


def change_states(harness: Harness, change: Callable[[int, State], State]) -> None:
    volume = harness.volume
    for state in volume.states.all():
        payload = state.pack()
        fixed = change(state.number, State.unpack(payload))
        volume.trees.checkpoint.put(
            state.number, ITEM_STATE, 0, fixed.pack() + payload[State.SIZE :]
        )
    volume.commit()


@pytest.mark.parametrize("parent", [3, 99], ids=["a younger one", "none"])
def test_states_that_descend_from_what_cannot_be_are_read_only(parent: int) -> None:
    harness = kept()
    change_states(
        harness, lambda number, state: state._replace(parent=parent) if number == 2 else state
    )
    content = dict(harness.content)
    harness.open()
    assert "descends from" in harness.volume.read_only_reason
    assert len(harness.volume.states.listed()) == 3
    for state in harness.volume.states.listed():
        with pytest.raises(AffsError, match="read-only"):
            verbs.rollback(harness.volume, state)
    assert harness.content == content


def test_a_label_that_is_not_utf8_is_shown_and_not_written_over() -> None:
    harness = kept()
    payload = harness.volume.states.all()[0].pack()
    fixed = State.unpack(payload)._replace(label_length=2)
    harness.volume.trees.checkpoint.put(1, ITEM_STATE, 0, fixed.pack() + b"\xff\xfe")
    harness.volume.commit()
    harness.open()
    assert "UTF-8" in harness.volume.read_only_reason
    assert harness.volume.states[1].label == "\ufffd\ufffd"


def test_what_a_segment_holds_is_counted_not_believed() -> None:
    harness = kept()
    tree = harness.volume.trees.space
    wrong = 0
    for segment in list(read_segments(tree, harness.volume.geometry)):
        payload = tree.get(segment.number, ITEM_SEGMENT, 0)
        assert payload is not None
        if segment.used > 2:
            tree.put(segment.number, ITEM_SEGMENT, 0, payload[:4] + bytes(4) + payload[8:])
            wrong += 1
            found = {one.number: one for one in read_segments(tree, harness.volume.geometry)}
            assert found[segment.number].used == segment.used
            assert found[segment.number].bits[0] & 1
    assert wrong


def test_counts_of_an_inode_stay_in_their_range() -> None:
    harness = Harness()
    harness.make_inodes(0, 1)
    tree, number = harness.volume.working.tree, OBJECT_FIRST + 1000
    payload = tree.get(number, ITEM_INODE, 0)
    assert payload is not None
    inode = Inode.unpack(payload)
    inodes.save(tree, number, inode._replace(size=-1, blocks=-5, nlink=-1, change=1 << 64))
    saved = inodes.load(tree, number)
    assert (saved.size, saved.blocks, saved.nlink, saved.change) == (0, 0, 0, 0)
    inodes.save(tree, number, inode._replace(size=1 << 63, blocks=1 << 60, nlink=1 << 32))
    saved = inodes.load(tree, number)
    assert (saved.size, saved.nlink) == ((1 << 63) - 1, (1 << 32) - 1)


def test_one_operation_that_takes_the_same_blocks_twice_is_told_so() -> None:
    loaded = LoadedBlocks(1 << 20)
    read = BlockRead(layout.logical(1, 4), 1, bytes(4))
    loaded.put(read, bytes(BLOCK_SIZE))
    assert loaded.take(read) == bytes(BLOCK_SIZE)
    with pytest.raises(Contradiction, match="same blocks"):
        loaded.take(read)


@pytest.mark.parametrize(
    "name",
    [
        "record/seq-18446744073709551615", "record/seq-9223372036854775807",  # no number is left
        "extent/overlapping", "extent/of-another-file", "extent/at-40.8", "gone/segment.1",
        "state/cycle", "state/label-fffefd-3", "space/used-0", "inode/change",
        "inode/directory-size-1", "inode/directory-size-9223372036854775807",
        "dentry/name-612f62-3", "seed/4883",
    ],
)  # fmt: skip
def test_images_that_once_raised_what_has_no_name(name: str) -> None:
    tally = Tally()
    explore_crafted([name], tally)
    assert not tally.failures


def test_the_check_looks_at_shared_nodes_under_each_parent() -> None:
    """Two states share a leaf, and one of them gives it a range of keys that does not fit: checked
    by difference, the leaf was not looked at again."""
    tally = Tally()
    explore_crafted([f"n{node}.key.object=less" for node in ("9.e5", "15.e4", "18.e4")], tally)
    assert not tally.failures


def test_the_check_names_the_copy_that_is_missing() -> None:
    harness = kept()
    harness.volume.close()
    content = harness.device.content
    newest = harness.volume.durable_seq
    for offset in (layout.owner_offset(1), layout.ring_offset(1, newest)):
        content[offset : offset + BLOCK_SIZE] = bytes(BLOCK_SIZE)
    found = {one.block: one.code for one in verify_volume(harness.device).findings}
    assert found[f"@{layout.owner_offset(1) // BLOCK_SIZE}"] == "verify.owner"
    assert found[f"@{layout.ring_offset(1, newest) // BLOCK_SIZE}"] == "verify.rings_differ"


def test_keys_outside_of_what_the_node_above_says_are_refused_on_access() -> None:
    """Each node is whole, and its checksum right; the two do not belong together."""
    image = base_of(BASE).image
    mark = image.mark()
    try:
        tell("n3.e4.key.object=more")
        volume = open_state(Recorder(image))
        with pytest.raises(AffsError) as caught:
            walk_state(volume, Namespace(volume), 1)
        told = {one.message for one in verify_volume(image).findings}
    finally:
        image.revert(mark)
    assert caught.value.category is Category.CORRUPT
    assert "outside the range that the node above" in caught.value.message
    (found,) = (one for one in told if "outside the range" in one)
    assert re.search(r"from object \d+, .* to object \d+, .*, not from object \d+, .*", found)


@pytest.mark.parametrize("name", [
    "index/page-inner-no-rows", "collection/indexes-is-text", "collection/next_index-0",
    "collection/index-id-None", "collection/index-id-2147483648", "index/page-short-row",
    "index/every-key-5000d800", "index/every-key-3000",
])  # fmt: skip
def test_lies_about_indexes_are_found_and_end_no_query(name: str) -> None:
    """An inner page without rows divided by zero, a key that no value has ended the query that an
    index answered alone; of what a declaration says of indexes nobody had looked at the form."""
    tally = Tally()
    explore_crafted([name], tally)
    assert not tally.failures, tally.failures
