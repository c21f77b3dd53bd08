"""The pruned difference of two trees against that of two dicts, and what it costs."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle.tree import SALT, UUID, Device, ItemKey, TreeOracle

from affs_fuse.core import constants
from affs_fuse.core.codec import Pointer
from affs_fuse.core.tree import Diff, DiffEvent, NodeCache, NodeMissing, Tree

OPERATION = constants.ITEM_OPERATION
NODE_EVENTS = (constants.DIFF_NODE_A, constants.DIFF_NODE_B)


class Pair:
    """Two trees over one cache and device."""

    def __init__(self) -> None:
        self.cache = NodeCache(1 << 30, UUID, SALT)
        self.device = Device(self.cache)

    def tree(self, root: Pointer | None = None, writable: bool = True) -> Tree:
        return Tree(self.cache, constants.TREE_SYSTEM, root, writable)

    def diff(self, a: Pointer, b: Pointer) -> list[DiffEvent]:
        """From an empty cache, so that every node read is counted in device.loads."""
        self.cache.drop_clean()
        self.device.loads = 0
        return self.device.collect(Diff(self.tree(a, False), self.tree(b, False)))


@pytest.fixture
def pair() -> Pair:
    return Pair()


def differences(events: list[DiffEvent]) -> list[tuple[ItemKey, bytes | None, bytes | None]]:
    """The item events in the oracle's form, after checking that their kinds say the same."""
    found = []
    for event in events:
        if event.kind in NODE_EVENTS:
            assert event.node is not None
            assert (event.a, event.b) == (None, None)
            continue
        assert event.node is None
        kinds = {
            (True, False): constants.DIFF_ONLY_A,
            (False, True): constants.DIFF_ONLY_B,
            (True, True): constants.DIFF_CHANGED,
        }
        assert event.kind == kinds[event.a is not None, event.b is not None]
        found.append(((event.object, event.type, event.offset), event.a, event.b))
    return found


def visited(events: list[DiffEvent], kind: int) -> set[tuple[int, int]]:
    """(address, birth) of the nodes that one side was descended through; each only once."""
    nodes = [(e.node.address, e.node.birth) for e in events if e.kind == kind and e.node]
    assert len(nodes) == len(set(nodes))
    return set(nodes)


def check_diff(
    pair: Pair, roots: tuple[Pointer, Pointer], oracles: tuple[TreeOracle, TreeOracle]
) -> int:
    """Compare in both directions; gives how many nodes were read."""
    events = pair.diff(*roots)
    loads = pair.device.loads
    assert differences(events) == oracles[0].difference(oracles[1])
    for root, other, kind in (
        (roots[0], roots[1], constants.DIFF_NODE_A),
        (roots[1], roots[0], constants.DIFF_NODE_B),
    ):
        mine, theirs = (
            {(node.address, node.birth) for node in pair.device.nodes(end)} for end in (root, other)
        )
        assert mine - theirs <= visited(events, kind) <= mine
    swapped = differences(pair.diff(roots[1], roots[0]))
    assert [(key, b, a) for key, a, b in swapped] == oracles[0].difference(oracles[1])
    return loads


def build(pair: Pair, numbers: list[int], size: int) -> tuple[Tree, TreeOracle]:
    tree, oracle = pair.tree(), TreeOracle()
    for number in numbers:
        payload = b"%d." % number * (size // 8 + 1)
        tree.put(number, OPERATION, 0, payload)
        oracle.items[number, OPERATION, 0] = payload
    return tree, oracle


def change(tree: Tree, oracle: TreeOracle, key: ItemKey, payload: bytes | None) -> None:
    if payload is None:
        tree.delete(*key)
        oracle.items.pop(key, None)
    else:
        tree.put(*key, payload)
        oracle.items[key] = payload


edits = st.lists(
    st.tuples(
        st.integers(0, 1500),
        st.integers(0, 2),
        st.one_of(st.none(), st.builds(bytes, st.integers(1, constants.ITEM_MAX))),
        st.integers(1, 40),
    ),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(count=st.sampled_from([0, 1, 50, 1500]), before=edits, after=edits, evict=st.booleans())
def test_difference_is_the_oracles(
    count: int, before: list[tuple], after: list[tuple], evict: bool
) -> None:
    """A state, and one that grew from it by edits of runs of items."""
    pair = Pair()
    tree, oracle = build(pair, list(range(count)), 200)
    roots, oracles = [], []
    for batch in (before, after):
        for number, offset, payload, run in batch:
            for step in range(run):
                key = (number + step, OPERATION, offset)
                pair.device.run(change, tree, oracle, key, payload)
        roots.append(pair.device.freeze(tree))
        oracles.append(TreeOracle(oracle.items))
        if evict:
            pair.cache.drop_clean()
    check_diff(pair, (roots[0], roots[1]), (oracles[0], oracles[1]))


@settings(max_examples=25, deadline=None)
@given(
    counts=st.tuples(st.integers(0, 3000), st.integers(0, 3000)),
    steps=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    sizes=st.tuples(st.integers(1, 900), st.integers(1, 900)),
)
def test_trees_that_share_nothing(
    counts: tuple[int, int], steps: tuple[int, int], sizes: tuple[int, int]
) -> None:
    """Of different heights, with keys that interleave."""
    pair = Pair()
    roots, oracles = [], []
    for count, step, size in zip(counts, steps, sizes, strict=True):
        tree, oracle = build(pair, [number * step for number in range(count)], size)
        roots.append(pair.device.freeze(tree))
        oracles.append(oracle)
    check_diff(pair, (roots[0], roots[1]), (oracles[0], oracles[1]))


def test_equal_roots_cost_nothing(pair: Pair) -> None:
    tree, _ = build(pair, list(range(3_000)), 100)
    root = pair.device.freeze(tree)
    assert pair.diff(root, root) == []
    assert pair.device.loads == 0


def test_cost_is_that_of_the_difference(pair: Pair) -> None:
    """100,000 items of which 10 differ: a path for each on each side, not a tree."""
    tree, oracle = build(pair, list(range(100_000)), 80)
    first, before = pair.device.freeze(tree), TreeOracle(oracle.items)
    source = random.Random(11)
    for number in source.sample(range(100_000), 10):
        change(tree, oracle, (number, OPERATION, 0), b"changed")
    second = pair.device.freeze(tree)
    assert len(pair.device.nodes(first)) > 500
    events = pair.diff(first, second)
    assert len(differences(events)) == 10
    nodes = sum(event.kind in NODE_EVENTS for event in events)
    assert nodes == pair.device.loads <= 2 * (10 * first.level + 1)
    assert check_diff(pair, (first, second), (before, oracle)) < 100


@pytest.mark.parametrize("place", [0, 50_000, 100_000])
def test_shifted_siblings_are_still_shared(pair: Pair, place: int) -> None:
    """A run of new leaves in one tree moves all later ones in their parents, and changes none."""
    numbers = [number * 10_000 for number in range(60_000)]
    tree, oracle = build(pair, numbers, 200)
    first, before = pair.device.freeze(tree), TreeOracle(oracle.items)
    assert first.level == 2
    added = 3_000
    for number in range(added):
        change(tree, oracle, (place * 5_000 + number + 1, OPERATION, 0), b"new" * 60)
    second = pair.device.freeze(tree)
    loads = check_diff(pair, (first, second), (before, oracle))
    old, new = ({(n.address, n.birth) for n in pair.device.nodes(root)} for root in (first, second))
    assert len(new - old) >= added // 90
    assert loads == len(new ^ old)  # no shared node was read


def test_heights_differ(pair: Pair) -> None:
    """Most items gone, so that one tree's root is a node deep in the other."""
    tree, oracle = build(pair, list(range(60_000)), 200)
    first, before = pair.device.freeze(tree), TreeOracle(oracle.items)
    keep = 59_000
    for number in range(keep):
        change(tree, oracle, (number, OPERATION, 0), None)
    second = pair.device.freeze(tree)
    assert second.level < first.level
    shared = {(n.address, n.birth) for n in pair.device.nodes(second)} & {
        (n.address, n.birth) for n in pair.device.nodes(first)
    }
    assert shared
    check_diff(pair, (first, second), (before, oracle))
    assert not shared & visited(pair.diff(first, second), constants.DIFF_NODE_B)


def test_one_root_deep_in_the_other_tree(pair: Pair) -> None:
    """The smaller tree's root is found below the larger one's; nothing below it is read."""
    tree, oracle = build(pair, list(range(40_000)), 190)
    first, before = pair.device.freeze(tree), TreeOracle(oracle.items)
    second_child = pair.device.nodes(first)[0].items[1][0]
    for number in range(second_child[0]):
        change(tree, oracle, (number, OPERATION, 0), None)
    assert tree.dirty_count == 0
    second = tree.root
    assert second is not None
    assert second.level == first.level - 1
    gone = len(pair.device.nodes(first)) - len(pair.device.nodes(second))
    assert check_diff(pair, (first, second), (before, oracle)) == gone + 1
    assert visited(pair.diff(first, second), constants.DIFF_NODE_B) == set()


def test_an_address_used_again_is_another_node(pair: Pair) -> None:
    roots, oracles = [], []
    for birth in (1, 2):
        tree, oracle = build(pair, [birth], 100)
        root, nodes = tree.freeze(birth, [4])
        pair.device.images[4, birth] = bytes(next(iter(nodes)).image)
        pair.cache.written(nodes)
        roots.append(root)
        oracles.append(oracle)
    check_diff(pair, (roots[0], roots[1]), (oracles[0], oracles[1]))


def test_a_dirty_tree_can_be_compared(pair: Pair) -> None:
    tree, oracle = build(pair, list(range(5_000)), 100)
    root, before = pair.device.freeze(tree), TreeOracle(oracle.items)
    for number in range(0, 5_000, 500):
        change(tree, oracle, (number, OPERATION, 1), b"added")
    pair.cache.drop_clean()
    pair.device.loads = 0
    events = pair.device.collect(Diff(pair.tree(root, False), tree))
    assert differences(events) == before.difference(oracle)
    assert pair.device.loads < 15
    # A new tree is dirty and empty.
    events = pair.device.collect(Diff(pair.tree(), pair.tree(root, False)))
    assert differences(events) == TreeOracle().difference(before)


def test_an_empty_tree_can_be_compared(pair: Pair) -> None:
    tree, oracle = build(pair, list(range(2_000)), 100)
    pair.device.freeze(tree)
    empty = pair.tree(None, writable=False)
    assert differences(pair.device.collect(Diff(tree, empty))) == oracle.difference(TreeOracle())
    assert pair.device.collect(Diff(empty, empty)) == []


def test_goes_on_after_missing_and_eviction(pair: Pair) -> None:
    """Two nodes are all that has to be in memory at once."""
    tree, oracle = build(pair, list(range(4_000)), 300)
    first, before = pair.device.freeze(tree), TreeOracle(oracle.items)
    for number in range(0, 4_000, 40):
        change(tree, oracle, (number, OPERATION, 0), b"changed")
    second = pair.device.freeze(tree)
    diff = Diff(pair.tree(first, False), pair.tree(second, False))
    events = []
    while True:
        pair.cache.drop_clean()
        try:
            events.append(pair.device.run(next, diff))
        except StopIteration:
            break
    assert differences(events) == before.difference(oracle)


@pytest.mark.parametrize(
    "action",
    [
        lambda pair, tree: tree.put(1, OPERATION, 5, b"x"),
        lambda pair, tree: tree.delete(1, OPERATION, 0),
        lambda pair, tree: pair.device.freeze(tree),
        lambda pair, tree: tree.set_root(None),
        lambda pair, tree: tree.close(),
    ],
)
def test_a_change_meanwhile_is_noticed(pair: Pair, action: Callable[[Pair, Tree], object]) -> None:
    tree, _ = build(pair, list(range(2_000)), 100)
    root = pair.device.freeze(tree)
    tree.put(5, OPERATION, 5, b"dirty")
    diff = Diff(pair.tree(root, False), tree)
    next(diff)
    action(pair, tree)
    with pytest.raises(ValueError, match="refused"):
        next(diff)


def test_only_trees_of_one_kind_and_cache(pair: Pair) -> None:
    other = Tree(NodeCache(0, UUID, SALT), constants.TREE_SYSTEM, None)
    with pytest.raises(ValueError, match="one kind"):
        Diff(pair.tree(), other)
    with pytest.raises(ValueError, match="one kind"):
        Diff(pair.tree(), Tree(pair.cache, constants.TREE_SPACE, None))


def test_missing_names_the_node(pair: Pair) -> None:
    tree, _ = build(pair, list(range(2_000)), 100)
    first = pair.device.freeze(tree)
    tree.put(5, OPERATION, 5, b"x")
    second = pair.device.freeze(tree)
    pair.cache.drop_clean()
    diff = Diff(pair.tree(first, False), pair.tree(second, False))
    for root in (first, second):
        with pytest.raises(NodeMissing) as caught:
            next(diff)
        assert caught.value.pointer == root
        pair.device.load(root)
    assert next(diff).node == first
