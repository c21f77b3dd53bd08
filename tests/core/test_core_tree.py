"""Trees against a sorted dict, and the rules of look-ups and changes."""

import random
import struct

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle.tree import HIGHEST, LOWEST, SALT, UUID, Device, ItemKey, TreeOracle, everything, fill

from affs_fuse.core import constants
from affs_fuse.core.codec import NO_POINTER, Pointer
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import GATHER_BYTES, NodeCache, NodeMissing, Tree, Walk

OPERATION = constants.ITEM_OPERATION
SIZES = [1, 2, 7, 8, 40, 100, 500, 1000, 2000, 4351, constants.ITEM_MAX]


keys = st.tuples(
    st.one_of(st.integers(0, 12), st.sampled_from([2**32, 2**64 - 1])),
    st.integers(constants.ITEM_OPERATION, constants.ITEM_VERIFIED),
    st.one_of(st.integers(0, 12), st.sampled_from([2**40, 2**64 - 1])),
)
payloads = st.builds(
    lambda byte, size: bytes([byte]) * size, st.integers(0, 255), st.sampled_from(SIZES)
)


class TreeMachine(RuleBasedStateMachine):
    """Random operations on one tree, evictions and frozen roots in between; answers compared."""

    @initialize()
    def begin(self) -> None:
        self.cache = NodeCache(1 << 30, UUID, SALT)
        self.device = Device(self.cache)
        self.tree = Tree(self.cache, constants.TREE_SYSTEM, None)
        self.oracle = TreeOracle()
        self.kept: list[tuple[Pointer, TreeOracle]] = []

    @rule(key=keys, payload=payloads, mode=st.integers(0, 2))
    def put(self, key: ItemKey, payload: bytes, mode: int) -> None:
        there = key in self.oracle.items
        expected = mode == constants.PUT_ANY or (mode == constants.PUT_REPLACE) == there
        assert self.device.run(self.tree.put, *key, payload, mode) == expected
        if expected:
            self.oracle.items[key] = payload

    @rule(first=keys, count=st.integers(1, 60), size=st.sampled_from(SIZES))
    def put_many(self, first: ItemKey, count: int, size: int) -> None:
        for number in range(count):
            key = ((first[0] + number // 7) % 2**64, first[1], (first[2] + number * 5) % 2**64)
            payload = bytes([number]) * (1 + (size + number) % constants.ITEM_MAX)
            assert self.device.run(self.tree.put, *key, payload)
            self.oracle.items[key] = payload

    @rule(key=keys)
    def delete(self, key: ItemKey) -> None:
        expected = self.oracle.items.pop(key, None) is not None
        assert self.device.run(self.tree.delete, *key) == expected

    @rule(start=st.floats(0, 1), part=st.floats(0, 1))
    def delete_many(self, start: float, part: float) -> None:
        victims = self.oracle.keys()
        victims = victims[int(start * len(victims)) :]
        for key in victims[: int(part * len(victims))]:
            assert self.device.run(self.tree.delete, *key)
            del self.oracle.items[key]

    @rule(key=keys)
    def get(self, key: ItemKey) -> None:
        assert self.device.run(self.tree.get, *key) == self.oracle.items.get(key)

    @rule(key=keys, backward=st.booleans())
    def seek(self, key: ItemKey, backward: bool) -> None:
        expected = self.oracle.seek(key, backward)
        assert self.device.run(self.tree.seek, *key, backward) == expected

    @rule(first=keys, end=keys)
    def scan(self, first: ItemKey, end: ItemKey) -> None:
        found = self.device.run(lambda: list(self.tree.iterate(first, end, 9000)))
        assert found == self.oracle.scan(first, end)

    @rule()
    def freeze(self) -> None:
        root = self.device.freeze(self.tree)
        assert self.tree.dirty_count == 0
        assert self.device.items(root) == self.oracle.items
        self.kept.append((root, TreeOracle(self.oracle.items)))

    @rule()
    def evict(self) -> None:
        self.cache.drop_clean()

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        root, oracle = data.draw(st.sampled_from(self.kept))
        self.tree.set_root(root)
        self.oracle = TreeOracle(oracle.items)
        assert self.tree.root == root

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def read_kept(self, data: st.DataObject) -> None:
        root, oracle = data.draw(st.sampled_from(self.kept))
        tree = Tree(self.cache, constants.TREE_SYSTEM, root, writable=False)
        assert self.device.run(everything, tree) == oracle.items
        tree.close()

    @invariant()
    def counts(self) -> None:
        statistics = self.cache.statistics()
        assert statistics.dirty_count == self.tree.dirty_count
        assert statistics.frozen_count == 0

    def teardown(self) -> None:
        if hasattr(self, "tree"):
            assert self.device.run(everything, self.tree) == self.oracle.items
            self.tree.close()
            assert self.cache.statistics().dirty_count == 0


TestTreeMachine = TreeMachine.TestCase
TestTreeMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_ascending_keys_fill_nodes(tree: Tree, device: Device) -> None:
    oracle = fill(tree, 50_000, 200)
    root = device.freeze(tree)
    levels = [node.level for node in device.nodes(root)]
    per_leaf = (16384 - 96) // (24 + 200)
    leaves = -(-50_000 // per_leaf)
    assert levels.count(0) == leaves
    assert levels.count(1) == -(-leaves // 226)
    assert everything(tree) == oracle.items


def test_an_ascending_run_among_others_fills_leaves(tree: Tree, device: Device) -> None:
    """A file that grows while later objects stand behind it."""
    others = fill(tree, 1_000, 48)
    for offset in range(10_000):
        tree.put(500, OPERATION + 1, offset, b"run" * 16)
    root = device.freeze(tree)
    items = device.items(root)
    assert len(items) == 11_000
    assert others.items.items() <= items.items()
    leaves = [node for node in device.nodes(root) if node.level == 0]
    per_leaf = (16384 - 96) // (24 + 48)
    assert len(leaves) <= 11_000 / per_leaf + 3


def test_random_keys(tree: Tree, device: Device) -> None:
    numbers = list(range(20_000))
    random.Random(7).shuffle(numbers)
    for number in numbers:
        assert tree.put(number, OPERATION, 0, b"%d" % number, constants.PUT_INSERT)
    root = device.freeze(tree)
    assert device.items(root) == {(n, OPERATION, 0): b"%d" % n for n in sorted(numbers)}
    half = numbers[:10_000]
    for number in half:
        assert tree.delete(number, OPERATION, 0)
    assert everything(tree).keys() == {(n, OPERATION, 0) for n in numbers[10_000:]}
    nodes_before = len(device.nodes(root))
    assert len(device.nodes(device.freeze(tree))) <= nodes_before


def test_deleting_all_leaves_one_empty_leaf(tree: Tree, device: Device) -> None:
    for key in fill(tree, 5_000).items:
        assert tree.delete(*key)
    assert tree.dirty_count == 1
    root = device.freeze(tree)
    assert root.level == 0
    assert device.items(root) == {}


def test_each_operation_survives_missing_nodes(tree: Tree, device: Device) -> None:
    """The cache is emptied before every operation: each says what it misses, changing nothing."""
    oracle = fill(tree, 8_000, 200)
    device.freeze(tree)
    source = random.Random(3)
    for step in range(600):
        device.cache.drop_clean()
        key = (source.randrange(8_000), OPERATION, 0)
        if step % 3 == 0:
            payload = bytes([step % 256]) * source.choice(SIZES)
            device.run(tree.put, *key, payload)
            oracle.items[key] = payload
        elif step % 3 == 1:
            assert device.run(tree.delete, *key) == (oracle.items.pop(key, None) is not None)
        else:
            backward = source.random() < 0.5
            assert device.run(tree.seek, *key, backward) == oracle.seek(key, backward)
        if step % 50 == 0:
            device.freeze(tree)
    device.cache.drop_clean()
    assert device.run(everything, tree) == oracle.items


def test_after_touch_a_change_misses_nothing(tree: Tree, device: Device) -> None:
    fill(tree, 8_000, 200)
    device.freeze(tree)
    for number in range(0, 8_000, 97):
        device.cache.drop_clean()
        device.run(tree.touch, number, OPERATION, 1)
        tree.put(number, OPERATION, 1, b"new" * 1000)
        device.cache.drop_clean()
        device.run(tree.touch, number, OPERATION, 0)
        assert tree.delete(number, OPERATION, 0)


def test_missing_names_the_node_and_changes_nothing(tree: Tree, device: Device) -> None:
    fill(tree, 1_000)
    root = device.freeze(tree)
    device.cache.drop_clean()
    with pytest.raises(NodeMissing) as caught:
        tree.put(5, OPERATION, 5, b"x")
    assert caught.value.pointer == root
    assert tree.dirty_count == 0
    assert tree.root == root
    assert tree.take_dropped() == []


def test_putting_what_is_there_changes_nothing(tree: Tree, device: Device) -> None:
    fill(tree, 100)
    root = device.freeze(tree)
    assert tree.put(3, OPERATION, 0, tree.get(3, OPERATION, 0) or b"")
    assert tree.root == root


def test_put_modes(tree: Tree) -> None:
    assert not tree.put(1, OPERATION, 0, b"a", constants.PUT_REPLACE)
    assert tree.put(1, OPERATION, 0, b"a", constants.PUT_INSERT)
    assert not tree.put(1, OPERATION, 0, b"b", constants.PUT_INSERT)
    assert tree.get(1, OPERATION, 0) == b"a"
    assert tree.put(1, OPERATION, 0, b"c", constants.PUT_REPLACE)
    assert tree.get(1, OPERATION, 0) == b"c"
    with pytest.raises(ValueError, match="refused"):
        tree.put(1, OPERATION, 0, b"d", 3)


@pytest.mark.parametrize("payload", [b"", b"x" * (constants.ITEM_MAX + 1)])
def test_a_payload_that_could_not_be_read_back_is_refused(tree: Tree, payload: bytes) -> None:
    with pytest.raises(ValueError, match="refused"):
        tree.put(1, OPERATION, 0, payload)
    with pytest.raises(ValueError, match="refused"):
        tree.put(1, constants.ITEM_INODE, 0, b"x")
    assert everything(tree) == {}


def test_a_tree_for_reading_takes_no_changes(tree: Tree, device: Device) -> None:
    fill(tree, 10)
    reader = Tree(device.cache, tree.kind, device.freeze(tree), writable=False)
    for change in (
        lambda: reader.put(1, OPERATION, 0, b"x"),
        lambda: reader.delete(1, OPERATION, 0),
        lambda: reader.freeze(9, []),
    ):
        with pytest.raises(ValueError, match="refused"):
            change()


def test_an_empty_tree_for_reading_has_no_node(cache: NodeCache) -> None:
    for root in (None, NO_POINTER):
        reader = Tree(cache, constants.TREE_SPACE, root, writable=False)
        assert reader.root == NO_POINTER
        assert reader.get(1, OPERATION, 0) is None
        assert reader.seek(*HIGHEST, backward=True) is None
        assert reader.scan(LOWEST, HIGHEST) == []
        assert list(Walk(cache, NO_POINTER)) == []
    assert cache.statistics().node_count == 0


def test_set_root_throws_changes_away(tree: Tree, device: Device) -> None:
    fill(tree, 1_000)
    root = device.freeze(tree)
    tree.put(1, OPERATION, 1, b"x")
    tree.set_root(root)
    assert tree.dirty_count == 0
    assert tree.take_dropped() == []
    assert tree.get(1, OPERATION, 1) is None
    for bad in (
        root._replace(tree=constants.TREE_SPACE),
        root._replace(level=16),
        root._replace(address=1 << 63),
        root._replace(checksum_kind=0),
    ):
        with pytest.raises(StructureError):
            tree.set_root(bad)
        assert tree.root == root
    tree.set_root(None)
    assert everything(tree) == {}
    assert tree.dirty_count == 1


@pytest.mark.parametrize(
    "key", [(-1, OPERATION, 0), (2**64, OPERATION, 0), (1, 256, 0), (1, 64, -1)]
)
def test_numbers_out_of_range_are_refused(tree: Tree, key: ItemKey) -> None:
    with pytest.raises(struct.error):
        tree.get(*key)


def test_a_closed_tree_cannot_be_used(cache: NodeCache) -> None:
    tree = Tree(cache, constants.TREE_SYSTEM, None)
    tree.close()
    tree.close()
    with pytest.raises(TypeError):
        tree.get(1, OPERATION, 0)
    assert cache.statistics().node_count == 0
    with pytest.raises(ValueError, match="kind"):
        Tree(cache, 9, None)


def test_scan_goes_on_where_its_room_ended(tree: Tree) -> None:
    oracle = fill(tree, 3_000, 200)
    part = tree.scan(LOWEST, HIGHEST, 8192)
    assert part == oracle.scan(LOWEST, HIGHEST)[: len(part)]
    assert sum(32 + len(payload) for *_, payload in part) <= 8192
    assert len(tree.scan(LOWEST, HIGHEST, 1 << 22)) == 3_000
    last = (2**64 - 1, constants.ITEM_VERIFIED, 2**64 - 1)
    tree.put(*last, b"last")
    assert tree.scan((2_999, 0, 0), last) == oracle.scan((2_999, 0, 0), last)  # end is left out
    assert list(tree.iterate(last, HIGHEST)) == [(*last, b"last")]
    assert tree.scan((2_000, 0, 0), (2_000, 0, 0)) == []
    assert tree.scan((2_000, 0, 0), (1_000, 0, 0)) == []


def test_scan_loads_no_node_beyond_its_end(tree: Tree, device: Device) -> None:
    fill(tree, 3_000)
    root = device.freeze(tree)
    leaf = next(node for node in device.nodes(root) if not node.level)
    device.cache.drop_clean()
    device.run(tree.scan, LOWEST, (leaf.items[-1][0][0], OPERATION, 1))
    assert device.loads == root.level + 1


def test_gathering_gives_what_one_scan_of_each_object_gives(tree: Tree, device: Device) -> None:
    chance = random.Random(5)
    for number in range(1, 400):
        for offset in range(chance.randrange(4)):
            tree.put(number, OPERATION, offset, bytes([number % 256]) * chance.randrange(1, 200))
        tree.put(number, constants.ITEM_VERIFIED, 0, b"behind")
    device.freeze(tree)
    device.cache.drop_clean()
    objects = chance.sample(range(420), 100)
    found: list[list[tuple[int, bytes]] | None] = []
    while len(found) < len(objects):
        asked = objects[len(found) :]
        some = device.run(tree.gather, asked, OPERATION, OPERATION + 1)
        assert 0 < len(some) <= len(asked)
        found += some
    for number, items in zip(objects, found, strict=True):
        expected = tree.scan((number, OPERATION, 0), (number, OPERATION + 1, 0))
        assert items == [(kind, payload) for _, kind, _, payload in expected]


def test_gathering_stops_before_an_object_for_which_there_is_no_room(tree: Tree) -> None:
    half = GATHER_BYTES // 2 // 4096
    for number, count in ((1, half), (2, 2 * half + 1), (3, half), (4, half)):
        for offset in range(count):
            tree.put(number, OPERATION, offset, bytes(4096))

    def gathered(*objects: int) -> list[int | None]:
        some = tree.gather(objects, OPERATION, OPERATION + 1)
        return [len(items) if items is not None else None for items in some]

    assert gathered(1, 9, 2, 3) == [half, 0]
    assert gathered(2, 3, 4) == [None, half]
    assert gathered(2) == [None]
    assert gathered(9) == [0]
