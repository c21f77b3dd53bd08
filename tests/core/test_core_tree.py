"""The tree and its node cache against a sorted dict, and each rule of their contract."""

import random
import struct
from collections.abc import Iterator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from oracle.tree import HIGHEST, LOWEST, SALT, UUID, Device, ItemKey, TreeOracle

from affs_fuse.core import constants
from affs_fuse.core.codec import NO_POINTER, Pointer, seal
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import Diff, NodeCache, NodeMissing, Tree, Walk

OPERATION = constants.ITEM_OPERATION
SIZES = [1, 2, 7, 8, 40, 100, 500, 1000, 2000, 4351, constants.ITEM_MAX]


@pytest.fixture
def cache() -> NodeCache:
    return NodeCache(1 << 30, UUID, SALT)


@pytest.fixture
def device(cache: NodeCache) -> Device:
    return Device(cache)


@pytest.fixture
def tree(cache: NodeCache) -> Iterator[Tree]:
    made = Tree(cache, constants.TREE_SYSTEM, None)
    yield made
    made.close()


def fill(tree: Tree, count: int, size: int = 60) -> TreeOracle:
    """count items of about size bytes, keys ascending."""
    oracle = TreeOracle()
    for number in range(count):
        payload = number.to_bytes(8, "little") * (size // 8)
        tree.put(number, OPERATION, 0, payload)
        oracle.items[number, OPERATION, 0] = payload
    return oracle


def everything(tree: Tree) -> dict[ItemKey, bytes]:
    return {(o, t, f): payload for o, t, f, payload in tree.iterate(LOWEST, HIGHEST)}


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


def test_changes_copy_and_name_what_they_replace(tree: Tree, device: Device) -> None:
    fill(tree, 1_000)
    assert tree.take_dropped() == []
    before = device.freeze(tree)
    old = {(node.address, node.birth) for node in device.nodes(before)}
    tree.put(500, OPERATION, 0, b"changed")
    assert tree.root is None
    assert tree.dirty_count == before.level + 1
    dropped = tree.take_dropped()
    assert len(dropped) == before.level + 1
    assert dropped[0] == (before.address, before.birth)
    assert tree.take_dropped() == []
    tree.put(500, OPERATION, 0, b"again")
    assert tree.take_dropped() == []
    new = {(node.address, node.birth) for node in device.nodes(device.freeze(tree))}
    assert old - new == set(dropped)


def test_every_replaced_node_is_named_once(tree: Tree, device: Device) -> None:
    """Nodes reachable before = nodes reachable after + nodes dropped, through splits and merges."""
    source = random.Random(5)
    fill(tree, 3_000, 400)
    reachable = {(n.address, n.birth) for n in device.nodes(device.freeze(tree))}
    for _ in range(20):
        for _ in range(150):
            key = (source.randrange(3_000), OPERATION, source.randrange(2))
            if source.random() < 0.7:
                tree.delete(*key)
            else:
                tree.put(*key, b"y" * source.choice(SIZES))
        dropped = tree.take_dropped()
        assert len(dropped) == len(set(dropped))
        now = {(n.address, n.birth) for n in device.nodes(device.freeze(tree))}
        assert reachable - now == set(dropped)
        reachable = now


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


def test_the_same_operations_give_the_same_bytes() -> None:
    results = []
    for noise in (0, 50):
        cache = NodeCache(1 << 30, UUID, SALT)
        other = Tree(cache, constants.TREE_SPACE, None)
        spoiled = Tree(cache, constants.TREE_SYSTEM, None)
        fill(spoiled, noise * 40)
        device = Device(cache)
        tree = Tree(cache, constants.TREE_SYSTEM, None)
        fill(tree, 3_000)
        spoiled.close()
        for number in range(0, 3_000, 3):
            tree.delete(number, OPERATION, 0)
            tree.put(number, OPERATION, 7, b"z" * (number % 900 + 1))
        device.freeze(tree)
        results.append(device.images)
        other.close()
    assert results[0] == results[1]


def test_freeze_checks_everything_first(tree: Tree, device: Device) -> None:
    fill(tree, 1_000)
    count = tree.dirty_count
    good = device.addresses(count)
    taken = device.freeze(Tree(device.cache, constants.TREE_SYSTEM, None)).address
    for birth, addresses in (
        (0, good),
        (1, good[1:]),
        (1, [*good[1:], good[1]]),
        (1, [*good[1:], 0]),
        (1, [*good[1:], 1 << 63 | 5]),
        (1, [*good[1:], taken]),
    ):
        with pytest.raises(ValueError, match="freeze"):
            tree.freeze(birth, addresses)
        assert tree.dirty_count == count
        assert tree.root is None
    with pytest.raises(ValueError, match="as many"):
        tree.freeze(1, good, good[1:])
    device.birth = 7
    device.freeze(tree)
    tree.put(1, OPERATION, 1, b"x")
    with pytest.raises(ValueError, match="freeze"):
        tree.freeze(7, device.addresses(tree.dirty_count))  # its children would be younger
    assert tree.dirty_count > 0


def test_a_tree_can_shrink_to_a_clean_root(tree: Tree, device: Device) -> None:
    """All that was below the root's first child goes: the second is the root, nothing is dirty."""
    oracle = fill(tree, 32_000, 200)
    root = device.freeze(tree)
    assert root.level == 2
    top = device.nodes(root)[0]
    assert len(top.items) == 2
    for number in range(top.items[1][0][0]):
        tree.delete(number, OPERATION, 0)
        del oracle.items[number, OPERATION, 0]
    assert tree.dirty_count == 0
    assert tree.root == Pointer.unpack(top.items[1][1])
    assert tree.freeze(device.birth + 1, [])[0] == tree.root
    assert everything(tree) == oracle.items
    tree.put(1, OPERATION, 0, b"again")
    oracle.items[1, OPERATION, 0] = b"again"
    assert device.items(device.freeze(tree)) == oracle.items


def test_freeze_of_nothing_gives_the_root(tree: Tree, device: Device) -> None:
    fill(tree, 10)
    root = device.freeze(tree)
    again, nodes = tree.freeze(device.birth + 1, [])
    assert again == root
    assert len(nodes) == 0


def test_mirrors_stand_in_nodes_and_pointers(tree: Tree, device: Device) -> None:
    fill(tree, 1_000)
    addresses = device.addresses(tree.dirty_count)
    mirrors = [1 << 48 | address for address in addresses]
    root, nodes = tree.freeze(3, addresses, mirrors)
    assert [(n.address, n.mirror_address) for n in nodes] == list(
        zip(addresses, mirrors, strict=True)
    )
    images = {node.address: bytes(node.image) for node in nodes}
    assert root.mirror_address == 1 << 48 | root.address
    device.cache.written(nodes)
    device.cache.drop_clean()
    device.cache.install(root, images[root.address])
    with pytest.raises(StructureError, match="place"):
        device.cache.install(root._replace(mirror_address=0), images[root.address])


def test_frozen_nodes_stay_until_they_are_written(tree: Tree, device: Device) -> None:
    oracle = fill(tree, 2_000)
    _, nodes = tree.freeze(1, device.addresses(tree.dirty_count))
    count = len(nodes)
    images = {node.address: bytes(node.image) for node in nodes}
    tree.put(1, OPERATION, 9, b"meanwhile")
    device.cache.drop_clean()
    device.cache.trim()
    assert device.cache.statistics().frozen_count == count
    assert {node.address: bytes(node.image) for node in nodes} == images
    oracle.items[1, OPERATION, 9] = b"meanwhile"
    assert everything(tree) == oracle.items
    device.cache.written(nodes)
    assert len(nodes) == 0
    assert device.cache.statistics().frozen_count == 0
    device.cache.drop_clean()
    assert device.cache.statistics().node_count == tree.dirty_count


def test_nodes_of_another_cache_are_refused(tree: Tree, device: Device) -> None:
    _, nodes = tree.freeze(1, device.addresses(1))
    with pytest.raises(ValueError, match="another cache"):
        NodeCache(0, UUID, SALT).written(nodes)


def test_trim_keeps_the_cache_in_bounds(device: Device) -> None:
    cache = NodeCache(2 << 20, UUID, SALT)
    device.cache = cache
    tree = Tree(cache, constants.TREE_SYSTEM, None)
    oracle = fill(tree, 30_000)
    device.freeze(tree)
    assert cache.statistics().node_count * constants.NODE_SIZE > 2 << 20
    cache.trim()
    statistics = cache.statistics()
    assert statistics.node_count * constants.NODE_SIZE <= 2 << 20
    assert statistics.evictions > 0
    assert device.run(everything, tree) == oracle.items
    cache.trim()
    hot = [device.run(tree.get, number, OPERATION, 0) for number in range(5)]
    device.loads = 0
    for number in range(0, 30_000, 150):
        cache.trim()
        device.run(tree.get, number, OPERATION, 0)
        assert tree.get(0, OPERATION, 0) == hot[0]  # in use all the time: never evicted
    assert device.loads > 0


def test_forget_evicts_one_clean_node(tree: Tree, device: Device) -> None:
    fill(tree, 10)
    root, nodes = tree.freeze(1, device.addresses(1))
    device.cache.forget(root)
    assert tree.get(1, OPERATION, 0) is not None  # frozen: it stays
    device.cache.written(nodes)
    device.cache.forget(root)
    with pytest.raises(NodeMissing):
        tree.get(1, OPERATION, 0)


def test_trees_share_a_cache(cache: NodeCache, device: Device) -> None:
    """The same address and birth in the namespace and in a system tree are two nodes."""
    first = Tree(cache, constants.TREE_SYSTEM, None)
    second = Tree(cache, constants.TREE_NAMESPACE, None)
    first.put(1, OPERATION, 0, b"system")
    second.put(1, constants.ITEM_SYMLINK, 0, b"namespace")
    roots = [tree.freeze(1, [4])[0] for tree in (first, second)]
    assert roots[0][:3] == roots[1][:3]
    assert first.get(1, OPERATION, 0) == b"system"
    assert second.get(1, constants.ITEM_SYMLINK, 0) == b"namespace"
    first.put(2, OPERATION, 0, b"dirty")
    second.put(3, constants.ITEM_SYMLINK, 0, b"dirty too")
    first.set_root(roots[0])
    assert first.get(2, OPERATION, 0) is None
    assert second.get(3, constants.ITEM_SYMLINK, 0) == b"dirty too"


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


def test_a_damaged_or_foreign_node_is_refused(tree: Tree, device: Device) -> None:
    fill(tree, 1_000)
    root = device.freeze(tree)
    image = device.images[root.address, root.birth]
    device.cache.drop_clean()
    for position in (0, 9, 20, 40, 50, 70, 73, 80, 200, 16383):
        damaged = bytearray(image)
        damaged[position] ^= 1
        with pytest.raises(StructureError):
            device.cache.install(root, damaged)
    with pytest.raises(StructureError, match="length"):
        device.cache.install(root, image[:-1])
    with pytest.raises(StructureError, match="belongs"):
        device.cache.install(root._replace(birth=root.birth + 1), image)
    with pytest.raises(StructureError, match="checksum"):
        device.cache.install(root._replace(checksum=bytes(16)), image)
    with pytest.raises(StructureError, match="belongs"):
        NodeCache(0, UUID, bytes(16)).install(root, image)
    assert device.cache.statistics().node_count == 0


@pytest.mark.parametrize(("place", "taken_from"), [(1, 2), (2, 1)])
def test_a_whole_node_in_the_wrong_place_is_refused(
    tree: Tree, device: Device, place: int, taken_from: int
) -> None:
    """A leaf hangs where a later or an earlier one belongs: it is valid, found and not believed."""
    fill(tree, 1_000)
    root = device.freeze(tree)
    node = device.nodes(root)[0]
    assert node.level == 1
    image = bytearray(device.images[root.address, root.birth])
    at = 96 + 72 * place + 24
    image[at : at + 48] = node.items[taken_from][1]
    forged = reseal(root, image)
    device.cache.drop_clean()
    device.cache.install(forged, image)
    tree.set_root(forged)
    key = node.items[place][0]
    for look in (
        lambda: tree.get(*key),
        lambda: tree.touch(*key),
        lambda: tree.seek(*key),
        lambda: tree.delete(*key),
        lambda: tree.put(*key, b"x"),
        lambda: everything(tree),
    ):
        with pytest.raises(StructureError, match="belongs"):
            device.run(look)
    assert tree.root == forged
    with pytest.raises(StructureError, match="belongs"):
        device.collect(Walk(device.cache, forged))
    whole = Tree(device.cache, tree.kind, None)
    with pytest.raises(StructureError, match="belongs"):
        device.collect(Diff(tree, whole))


def reseal(pointer: Pointer, image: bytearray) -> Pointer:
    """A right checksum for a forged image, and the pointer to it."""
    seal(image, constants.MAGIC_NODE, constants.KIND_NODE)
    return pointer._replace(checksum=bytes(image[8:12]) + bytes(12))


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


def test_reserve_makes_changes_need_no_memory(cache: NodeCache, tree: Tree) -> None:
    cache.reserve(500)
    before = cache.statistics()
    fill(tree, 500, 4096)
    assert before.node_count <= cache.statistics().node_count <= 500


def test_walk_gives_parents_first(tree: Tree, device: Device) -> None:
    fill(tree, 30_000, 200)
    root = device.freeze(tree)
    nodes = [(node.address, node.birth, node.level) for node in device.nodes(root)]
    device.cache.drop_clean()

    def walk(level_min: int) -> list[tuple[int, int, int]]:
        found = device.collect(Walk(device.cache, root, level_min))
        return [(pointer.address, pointer.birth, pointer.level) for pointer in found]

    assert walk(1) == nodes
    assert device.cache.statistics().node_count == sum(level > 0 for *_, level in nodes)
    assert walk(0) == nodes
    assert device.cache.statistics().node_count == len(nodes)
    assert root.level == 2
    assert walk(2) == [node for node in nodes if node[2] >= 1]
    assert walk(3) == nodes[:1]


def test_walk_reads_nothing_below_what_is_pruned(tree: Tree, device: Device) -> None:
    fill(tree, 30_000, 200)
    root = device.freeze(tree)
    device.cache.drop_clean()
    walk = Walk(device.cache, root)
    found = []
    while True:
        try:
            found.append(next(walk))
        except StopIteration:
            break
        except NodeMissing as missing:
            device.load(missing.pointer)
            continue
        device.cache.drop_clean()  # between two steps, anything may go
        if found[-1].level == 1:
            walk.prune()
    assert [pointer.level for pointer in found] == [2] + [1] * (len(found) - 1)
    assert len(found) > 2
    with pytest.raises(StructureError):
        Walk(device.cache, root._replace(level=99))
