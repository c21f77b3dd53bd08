"""The freeze: what it checks, names and writes, and what stays until it is written."""

import random

import pytest
from oracle.tree import SALT, UUID, Device, everything, fill

from affs_fuse.core import constants
from affs_fuse.core.codec import Pointer
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import NodeCache, Tree

OPERATION = constants.ITEM_OPERATION
SIZES = [1, 2, 7, 8, 40, 100, 500, 1000, 2000, 4351, constants.ITEM_MAX]


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
