"""The node cache: what it evicts, what it tells apart, what it refuses."""

import pytest
from oracle.tree import SALT, UUID, Device, everything, fill

from affs_fuse.core import constants
from affs_fuse.core.codec import Pointer, seal
from affs_fuse.core.errors import StructureError
from affs_fuse.core.tree import Diff, NodeCache, NodeMissing, Tree, Walk

OPERATION = constants.ITEM_OPERATION


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
    second.put(4, constants.ITEM_SYMLINK, 0, b"dirty too")
    first.set_root(roots[0])
    assert first.get(2, OPERATION, 0) is None
    assert second.get(4, constants.ITEM_SYMLINK, 0) == b"dirty too"


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
        with pytest.raises(StructureError, match="outside the range"):
            device.run(look)
    assert tree.root == forged
    with pytest.raises(StructureError, match="outside the range"):
        device.collect(Walk(device.cache, forged))
    whole = Tree(device.cache, tree.kind, None)
    with pytest.raises(StructureError, match="outside the range"):
        device.collect(Diff(tree, whole))


def reseal(pointer: Pointer, image: bytearray) -> Pointer:
    """A right checksum for a forged image, and the pointer to it."""
    seal(image, constants.MAGIC_NODE, constants.KIND_NODE)
    return pointer._replace(checksum=bytes(image[8:12]) + bytes(12))


def test_reserve_makes_changes_need_no_memory(cache: NodeCache, tree: Tree) -> None:
    cache.reserve(500)
    before = cache.statistics()
    fill(tree, 500, 4096)
    assert before.node_count <= cache.statistics().node_count <= 500
